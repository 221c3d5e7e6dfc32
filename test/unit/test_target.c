/*
 * test_target.c
 *		What a URL points at, in all its spellings.
 */
#include "http/http_int.h"
#include "tap.h"

#include <locale.h>

static const struct
{
	const char *url;
	const char *host;			/* NULL: refused */
	int			port;
	bool		tls;
}			cases[] = {
	{"http://example.com", "example.com", 80, false},
	{"https://example.com/", "example.com", 443, true},
	{"https://example.com:8443/x?y#z", "example.com", 8443, true},
	{"HTTPS://EXAMPLE.com/", "example.com", 443, true},
	{"http://user:password@example.com/", "example.com", 80, false},
	{"http://example.com@evil.example/", "evil.example", 80, false},
	{"http://example.com#@evil.example/", "example.com", 80, false},
	{"http://example.com?@evil.example/", "example.com", 80, false},
	{"http://example.com./", "example.com.", 80, false},
	{"http://b\xc3\xbc" "cher.example/", "xn--bcher-kva.example", 80, false},
	{"http://127.0.0.1/", "127.0.0.1", 80, false},
	{"http://2130706433/", "127.0.0.1", 80, false},
	{"http://%32130706433/", "127.0.0.1", 80, false},
	{"http:/%30460", "0.0.1.48", 80, false},
	{"http://0x7f000001/", "127.0.0.1", 80, false},
	{"http://0x7f.1/", "127.0.0.1", 80, false},
	{"http://0177.0.0.1/", "127.0.0.1", 80, false},
	{"http://127.1/", "127.0.0.1", 80, false},
	{"http://[::1]/", "::1", 80, false},
	{"http://[::FFFF:127.0.0.1]:81/", "::ffff:127.0.0.1", 81, false},
	{"http://%31%32%37.0.0.1/", "127.0.0.1", 80, false},
	{"http://[fe80::1%25eth0]/", NULL, 0, false},
	{"ftp://example.com/", NULL, 0, false},
	{"file:///etc/passwd", NULL, 0, false},
	{"gopher://example.com/", NULL, 0, false},
	{"example.com", NULL, 0, false},
	{"//example.com/", NULL, 0, false},
	{"http:///", NULL, 0, false},
	{"http://", NULL, 0, false},
	{"", NULL, 0, false},
	{"http://example.com:0/", NULL, 0, false},
	{"http://example.com:65536/", NULL, 0, false},
	{"http://example.com:x/", NULL, 0, false},
	{"http://exa mple.com/", NULL, 0, false},
	{"http://example.com/\r\nX: y", NULL, 0, false},
	{"http://example.com\r\nX: y/", NULL, 0, false},
	{"http://exa%0d%0ample.com/", NULL, 0, false},
	{"http://exa%2fmple.com/", NULL, 0, false},
	{"http://example.com%00.evil.example/", NULL, 0, false},
	{"http://./", NULL, 0, false},
	{"http://[::1/", NULL, 0, false},
	{"http://[example.com]/", NULL, 0, false},
};

int
main(void)
{
	RxTarget	target;

	/* Without UTF-8 a name in other letters can't be converted. */
	setlocale(LC_ALL, "C.UTF-8");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const char *wrong = rx_http_target_parse(cases[i].url, &target);

		if (!cases[i].host)
			ok(wrong != NULL && !target.host, "case %zu is refused", i);
		else if (is_text(target.host, cases[i].host, "host of case %zu", i))
			ok(!wrong && target.port == cases[i].port && target.tls == cases[i].tls,
			   "port and scheme of %s", cases[i].host);
		rx_http_target_free(&target);
	}
	ok(rx_http_target_parse(NULL, &target) != NULL, "no URL is refused");
	return done();
}
