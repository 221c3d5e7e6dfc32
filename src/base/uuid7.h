/*
 * uuid7.h
 *		Public ids: UUIDs in version-7 form (RFC 9562) that say what they are.
 *
 * The 74 bits that the format leaves free carry the kind of thing (4 bits),
 * the node (14 bits) and the position (56 bits):
 *
 *	unix_ts_ms (48) | 0111 | kind (4) seq[55..48] (8) | 10 | node (14) seq[47..0] (48)
 *
 * An id is computed from what is stored and never stored itself.
 */
#ifndef RX_BASE_UUID7_H
#define RX_BASE_UUID7_H

#include <stdbool.h>
#include <stdint.h>

extern void rx_uuid7_make(uint8_t out[16], int64_t unix_ms, unsigned kind, unsigned node, int64_t seq);
/* False when this is not a version-7 UUID. */
extern bool rx_uuid7_parse(const uint8_t in[16], int64_t *unix_ms, unsigned *kind, unsigned *node, int64_t *seq);

#endif							/* RX_BASE_UUID7_H */
