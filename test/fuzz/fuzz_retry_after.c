/*
 * fuzz_retry_after.c
 *		Any Retry-After is nothing (-1) or between now and a day.
 */
#include "http/http.h"

#include <stdlib.h>
#include <string.h>

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text = malloc(size + 1);
	long		ms;

	memcpy(text, data, size);
	text[size] = '\0';
	ms = rx_http_retry_after(text, INT64_C(784111777));
	if (ms < -1 || ms > 86400000)
		abort();
	free(text);
	return 0;
}
