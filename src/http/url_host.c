/*
 * url_host.c
 *		The host of a URL, for those who decide by it.  See http.h.
 *
 * It is what the engine itself makes of the URL (target.c) and no second
 * reading: where two disagree about what the host is, one of them sends where
 * the other has not looked.
 */
#include "http/http_int.h"

#include <string.h>

bool
rx_http_url_host(const char *url, char *host, size_t size)
{
	RxTarget	target;
	size_t		len;

	if (rx_http_target_parse(url, &target) != NULL)
		return false;
	len = strlen(target.host);
	if (len > 1 && target.host[len - 1] == '.')
		len--;					/* the root of the DNS, said aloud */
	if (len < size)
	{
		memcpy(host, target.host, len);
		host[len] = '\0';
	}
	rx_http_target_free(&target);
	return len < size;
}
