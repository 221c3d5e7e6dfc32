/*
 * fuzz_target.c
 *		Any URL is refused, or leads to a clean host and port; and what libcurl
 *		is handed says the same host when it is read again.
 */
#include "http/http_int.h"

#include <stdlib.h>
#include <string.h>

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const RxTarget *target)
{
	RxTarget	again;
	char	   *url = NULL;

	if (target->host[strspn(target->host, "abcdefghijklmnopqrstuvwxyz0123456789-_.:")] != '\0' ||
		target->host[0] == '\0' || target->port < 1 || target->port > 65535)
		abort();
	if (curl_url_get(target->url, CURLUPART_URL, &url, 0) != CURLUE_OK)
		abort();
	if (!rx_http_target_parse(url, &again))
	{
		if (strcmp(target->host, again.host) != 0 || target->port != again.port || target->tls != again.tls)
			abort();
		rx_http_target_free(&again);
	}
	curl_free(url);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text = malloc(size + 1);
	RxTarget	target;

	memcpy(text, data, size);
	text[size] = '\0';
	if (!rx_http_target_parse(text, &target))
	{
		check(&target);
		rx_http_target_free(&target);
	}
	free(text);
	return 0;
}
