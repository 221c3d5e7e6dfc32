/*
 * target.c
 *		What a URL points at.
 *
 * libcurl's parser reads the URL: the policy is asked about the host it
 * found and libcurl connects from the same parsed handle, so there are no two
 * readings of one text to play against each other.  It also turns the odd
 * spellings of IPv4 (decimal, hex, octal, short) into the usual one.  Names in
 * other letters than ASCII are converted if the process runs in a UTF-8 locale
 * and are refused otherwise.
 */
#include "http/http_int.h"

#include <stdlib.h>
#include <string.h>

static bool
is_host_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || strchr("-_.:", c) != NULL;
}

/* Lower case, without brackets; false if it has what no host has. */
static bool
clean_host(char *host)
{
	size_t		length = strlen(host);

	if (host[0] == '[' && length > 2 && host[length - 1] == ']')
	{
		host[length - 1] = '\0';
		memmove(host, host + 1, length - 1);
	}
	for (char *p = host; *p; p++)
	{
		if (*p >= 'A' && *p <= 'Z')
			*p = (char) (*p + ('a' - 'A'));
		if (!is_host_char(*p))
			return false;
	}
	return host[0] != '\0' && strcmp(host, ".") != 0;
}

static bool
has_part(CURLU *url, CURLUPart what)
{
	char	   *part = NULL;
	bool		found = curl_url_get(url, what, &part, 0) == CURLUE_OK;

	curl_free(part);
	return found;
}

static const char *
read_scheme(RxTarget *target)
{
	char	   *scheme = NULL;
	bool		plain;

	if (curl_url_get(target->url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK)
		return "the URL has no scheme";
	plain = strcmp(scheme, "http") == 0;
	target->tls = strcmp(scheme, "https") == 0;
	curl_free(scheme);
	return plain || target->tls ? NULL : "the URL is neither http nor https";
}

static const char *
read_port(RxTarget *target)
{
	char	   *port = NULL;

	if (curl_url_get(target->url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK)
		return "the URL has a bad port";
	target->port = atoi(port);
	curl_free(port);
	return target->port > 0 ? NULL : "the URL has a bad port";
}

/* The host in the form that is resolved, which is also put back for libcurl. */
static const char *
read_host(RxTarget *target)
{
	char	   *host = NULL;
	const char *wrong = "the URL has a bad host";

	if (has_part(target->url, CURLUPART_ZONEID))
		return wrong;
	if (curl_url_get(target->url, CURLUPART_HOST, &host, CURLU_PUNYCODE) == CURLUE_OK &&
		curl_url_set(target->url, CURLUPART_HOST, host, 0) == CURLUE_OK && clean_host(host))
	{
		target->host = strdup(host);
		wrong = target->host ? NULL : "out of memory";
	}
	/* libcurl 7.88 gives a host also when it could not convert it. */
	curl_free(host);
	return wrong;
}

/*
 * A host may hide behind percent signs, which are taken off after the odd
 * spellings of addresses have been looked for: %30460 is 0460, and that is
 * 0.0.1.48.  Read again, it says what it is.
 */
static bool
reread(CURLU *url)
{
	char	   *plain = NULL;
	bool		same = curl_url_get(url, CURLUPART_URL, &plain, 0) == CURLUE_OK &&
		curl_url_set(url, CURLUPART_URL, plain, 0) == CURLUE_OK;

	curl_free(plain);
	return same;
}

const char *
rx_http_target_parse(const char *url, RxTarget *target)
{
	const char *wrong;

	memset(target, 0, sizeof(*target));
	target->url = curl_url();
	if (!target->url)
		return "out of memory";
	/* The parser's own message might quote the URL; none is passed on. */
	if (!url || curl_url_set(target->url, CURLUPART_URL, url, 0) != CURLUE_OK || !reread(target->url))
		wrong = "the URL is malformed or neither http nor https";
	else if (!(wrong = read_scheme(target)) && !(wrong = read_port(target)))
		wrong = read_host(target);
	if (wrong)
		rx_http_target_free(target);
	return wrong;
}

void
rx_http_target_free(RxTarget *target)
{
	curl_url_cleanup(target->url);
	free(target->host);
	memset(target, 0, sizeof(*target));
}
