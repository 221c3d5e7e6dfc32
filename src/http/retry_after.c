/*
 * retry_after.c
 *		How long a peer asks us to wait.  See http.h.
 *
 * Retry-After is a number of seconds or an HTTP date in one of the three forms
 * of RFC 9110; a fraction of a second is accepted because model providers send
 * one.  What a peer can do with it is limited here: more than a day is a day,
 * a date that has passed is now, and anything else (a negative number, words)
 * is as if the header were not there, so that the usual backoff applies.
 */
#include "http/http.h"

#include <curl/curl.h>
#include <string.h>

#define MAX_MS (24L * 60 * 60 * 1000)
#define MAX_DATE 64				/* the longest form has 33 */

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Milliseconds from digits with an optional fraction; -1 if there is more. */
static long
from_seconds(const char *text, size_t length)
{
	long		ms = 0;
	long		unit = 1000;
	size_t		i = 0;

	for (; i < length && is_digit(text[i]); i++)
		ms = ms >= MAX_MS ? MAX_MS : ms * 10 + (text[i] - '0') * 1000L;
	if (i < length && text[i] == '.' && i + 1 < length)
		for (i++; i < length && is_digit(text[i]); i++)
			ms += (text[i] - '0') * (unit /= 10);
	if (i < length)
		return -1;
	return ms < MAX_MS ? ms : MAX_MS;
}

static long
from_date(const char *text, size_t length, int64_t now_epoch_s)
{
	char		date[MAX_DATE];
	int64_t		at;

	if (length >= sizeof(date))
		return -1;
	memcpy(date, text, length);
	date[length] = '\0';
	at = (int64_t) curl_getdate(date, NULL);
	if (at == -1)
		return -1;
	if (at <= now_epoch_s)
		return 0;
	return at - now_epoch_s < MAX_MS / 1000 ? (long) (at - now_epoch_s) * 1000 : MAX_MS;
}

/* Every form of a date begins with the day of the week: curl_getdate alone takes more. */
static bool
begins_with_day(const char *text, size_t length)
{
	static const char days[] = "SunMonTueWedThuFriSat";

	if (length < 3)
		return false;
	for (const char *day = days; *day; day += 3)
		if (memcmp(text, day, 3) == 0)
			return true;
	return false;
}

long
rx_http_retry_after(const char *value, int64_t now_epoch_s)
{
	size_t		length;

	if (!value)
		return -1;
	value += strspn(value, " \t");
	length = strlen(value);
	while (length > 0 && strchr(" \t", value[length - 1]))
		length--;
	if (length == 0)
		return -1;
	if (is_digit(value[0]))
		return from_seconds(value, length);
	return begins_with_day(value, length) ? from_date(value, length, now_epoch_s) : -1;
}
