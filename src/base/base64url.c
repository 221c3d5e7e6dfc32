/*
 * base64url.c
 *		Base 64 with the URL-safe alphabet and without padding.  See base64url.h.
 */
#include "base/base64url.h"

static const char alphabet[] =
"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

size_t
rx_base64url_encode(const uint8_t *in, size_t n, char *out)
{
	char	   *p = out;
	uint32_t	bits = 0;
	int			have = 0;

	for (size_t i = 0; i < n; i++)
	{
		bits = bits << 8 | in[i];
		for (have += 8; have >= 6; have -= 6)
			*p++ = alphabet[bits >> (have - 6) & 0x3F];
	}
	if (have > 0)
		*p++ = alphabet[bits << (6 - have) & 0x3F];
	return (size_t) (p - out);
}

static int
value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* Bits beyond the last whole byte must be zero: one text per value. */
long
rx_base64url_decode(const char *in, size_t n, uint8_t *out)
{
	uint8_t    *p = out;
	uint32_t	bits = 0;
	int			have = 0;

	if (n % 4 == 1)
		return -1;
	for (size_t i = 0; i < n; i++)
	{
		int			v = value_of(in[i]);

		if (v < 0)
			return -1;
		bits = bits << 6 | (uint32_t) v;
		have += 6;
		if (have >= 8)
		{
			have -= 8;
			*p++ = (uint8_t) (bits >> have);
		}
	}
	if (have > 0 && (bits & ((1u << have) - 1)) != 0)
		return -1;
	return (long) (p - out);
}
