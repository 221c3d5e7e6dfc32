/*
 * fuzz_format.c
 *		The formats of JSON Schema (src/json/format.c): the first byte says
 *		which, the rest is the string, in a buffer that ends where it ends.
 *		What is said of it must not change with what follows it in memory.
 */
#include "reflex.h"

#include <strings.h>

#include "json/json_int.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The server's, for ASCII. */
int
pg_strncasecmp(const char *a, const char *b, size_t n)
{
	return strncasecmp(a, b, n);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {
		"date-time", "date", "time", "uuid", "email", "uri", "ipv4", "ipv6"
	};
	const char *name;
	RxFormat	format;
	char	   *exact;
	char	   *longer;

	if (size == 0)
		return 0;
	name = names[data[0] % lengthof(names)];
	format = rx_format_find(name, (int) strlen(name));
	exact = malloc(size - 1);
	longer = malloc(size + 1);
	memcpy(exact, data + 1, size - 1);
	memcpy(longer, data + 1, size - 1);
	longer[size - 1] = '0';
	longer[size] = '\0';
	if (format(exact, (int) size - 1) != format(longer, (int) size - 1))
		abort();
	free(exact);
	free(longer);
	return 0;
}
