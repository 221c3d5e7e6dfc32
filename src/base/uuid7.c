/*
 * uuid7.c
 *		Public ids: UUIDs in version-7 form that say what they are.  See uuid7.h.
 */
#include "base/uuid7.h"

void
rx_uuid7_make(uint8_t out[16], int64_t unix_ms, unsigned kind, unsigned node, int64_t seq)
{
	for (int i = 0; i < 6; i++)
		out[i] = (uint8_t) (unix_ms >> (40 - 8 * i));
	out[6] = (uint8_t) (0x70 | (kind & 0x0F));
	out[7] = (uint8_t) (seq >> 48);
	out[8] = (uint8_t) (0x80 | ((node >> 8) & 0x3F));
	out[9] = (uint8_t) node;
	for (int i = 0; i < 6; i++)
		out[10 + i] = (uint8_t) (seq >> (40 - 8 * i));
}

bool
rx_uuid7_parse(const uint8_t in[16], int64_t *unix_ms, unsigned *kind, unsigned *node, int64_t *seq)
{
	if ((in[6] & 0xF0) != 0x70 || (in[8] & 0xC0) != 0x80)
		return false;
	*unix_ms = 0;
	for (int i = 0; i < 6; i++)
		*unix_ms = *unix_ms << 8 | in[i];
	*kind = in[6] & 0x0F;
	*node = (unsigned) (in[8] & 0x3F) << 8 | in[9];
	*seq = in[7];
	for (int i = 0; i < 6; i++)
		*seq = *seq << 8 | in[10 + i];
	return true;
}
