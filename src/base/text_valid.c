/*
 * text_valid.c
 *		Makes text that can be stored out of bytes that anybody sent.  See
 *		text_valid.h.
 *
 * Validity is that of RFC 3629, which is also PostgreSQL's: no overlong forms,
 * no surrogates, nothing above U+10FFFF.
 */
#include "base/text_valid.h"

#include <string.h>

static const char replacement[] = "\xEF\xBF\xBD";

/*
 * The bounds of the second byte after a given first one; it is there that
 * overlong forms, surrogates and too large numbers show.
 */
static bool
second_byte_fits(unsigned char first, unsigned char second)
{
	switch (first)
	{
		case 0xE0:
			return second >= 0xA0 && second <= 0xBF;
		case 0xED:
			return second >= 0x80 && second <= 0x9F;
		case 0xF0:
			return second >= 0x90 && second <= 0xBF;
		case 0xF4:
			return second >= 0x80 && second <= 0x8F;
		default:
			return second >= 0x80 && second <= 0xBF;
	}
}

static size_t
length_by_first_byte(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if (first >= 0xC2 && first <= 0xDF)
		return 2;
	if (first >= 0xE0 && first <= 0xEF)
		return 3;
	if (first >= 0xF0 && first <= 0xF4)
		return 4;
	return 0;
}

/* Bytes of the whole character that s begins with, 0 if it begins with none. */
static size_t
character_length(const unsigned char *s, size_t len)
{
	size_t		need = length_by_first_byte(s[0]);

	if (need == 0 || need > len)
		return 0;
	if (need > 1 && !second_byte_fits(s[0], s[1]))
		return 0;
	for (size_t i = 2; i < need; i++)
		if ((s[i] & 0xC0) != 0x80)
			return 0;
	return need;
}

size_t
rx_text_valid(const char *in, size_t in_len, char *out, size_t out_size, bool ascii_only)
{
	const unsigned char *s = (const unsigned char *) in;
	size_t		used = 0;

	for (size_t i = 0; i < in_len;)
	{
		size_t		len = character_length(s + i, in_len - i);
		const char *from = len ? in + i : replacement;
		size_t		put = len ? len : sizeof(replacement) - 1;

		i += len ? len : 1;
		if (put == 1 && from[0] == '\0')
			continue;
		if (ascii_only && put > 1)
		{
			from = "?";
			put = 1;
		}
		if (used + put >= out_size)
			break;
		memcpy(out + used, from, put);
		used += put;
	}
	out[used] = '\0';
	return used;
}
