/*
 * test_retry_after.c
 *		Retry-After values, good, odd and absurd.
 */
#include "http/http.h"
#include "tap.h"

/* Sun, 06 Nov 1994 08:49:37 GMT, the RFC's own example */
#define NOW INT64_C(784111777)
#define DAY_MS 86400000

static const struct
{
	const char *value;
	long		ms;
}			cases[] = {
	{"0", 0}, {"1", 1000}, {"120", 120000}, {" 7 ", 7000}, {"\t2", 2000}, {"007", 7000},
	{"1.5", 1500}, {"0.25", 250}, {"0.0001", 0}, {"1.999999999999999999999", 1999}, {"2.", -1},
	{"86399", 86399000}, {"86400", DAY_MS}, {"86401", DAY_MS}, {"99999999999999999999", DAY_MS},
	{"-1", -1}, {"-0", -1}, {"+5", -1}, {"", -1}, {"   ", -1}, {"soon", -1}, {"5 apples", -1},
	{"5s", -1}, {"1e3", -1}, {"0x10", -1}, {"1,2", -1}, {"NaN", -1}, {".5", -1}, {"1.2.3", -1},
	{"Sun, 06 Nov 1994 08:49:37 GMT", 0}, {"Sun, 06 Nov 1994 08:50:37 GMT", 60000},
	{"Sunday, 06-Nov-94 08:50:37 GMT", 60000}, {"Sun Nov  6 08:50:37 1994", 60000},
	{"Sun, 06 Nov 1994 08:40:00 GMT", 0}, {"Mon, 01 Jan 1900 00:00:00 GMT", 0},
	{"Fri, 31 Dec 9999 23:59:59 GMT", DAY_MS}, {"Sun", -1}, {"Sun, soon", -1},
	{"1994-11-06T08:50:37Z", -1}, {"20261120", DAY_MS}, {"tomorrow", -1},
	{"Sun, 06 Nov 1994 08:50:37 GMT and then some more words that go on and on", -1},
};

int
main(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		is_number(rx_http_retry_after(cases[i].value, NOW), cases[i].ms, "\"%s\"", cases[i].value);
	is_number(rx_http_retry_after(NULL, NOW), -1, "no value");
	return done();
}
