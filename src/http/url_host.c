/*
 * url_host.c
 *		The host of a URL, as libcurl understands it.  See http.h.
 *
 * libcurl's own parser and no second one: where two disagree about what the
 * host is, one of them sends where the other has not looked.
 */
#include "http/http.h"

#include <ctype.h>
#include <string.h>

#include <curl/curl.h>

static bool
copy_host(const char *from, char *host, size_t size)
{
	size_t		len = strlen(from);

	if (len >= 2 && from[0] == '[' && from[len - 1] == ']')
	{
		from++;
		len -= 2;
	}
	if (len > 1 && from[len - 1] == '.')
		len--;					/* the root of the DNS, said aloud */
	if (len == 0 || len >= size)
		return false;
	for (size_t i = 0; i < len; i++)
		host[i] = (char) tolower((unsigned char) from[i]);
	host[len] = '\0';
	return true;
}

bool
rx_http_url_host(const char *url, char *host, size_t size)
{
	CURLU	   *parsed = curl_url();
	char	   *part = NULL;
	bool		ok;

	ok = parsed != NULL &&
		curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
		curl_url_get(parsed, CURLUPART_HOST, &part, 0) == CURLUE_OK &&
		copy_host(part, host, size);
	curl_free(part);
	curl_url_cleanup(parsed);
	return ok;
}
