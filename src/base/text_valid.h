/*
 * text_valid.h
 *		Makes text that can be stored out of bytes that anybody sent.
 *
 * What peers answer may hold NULs, broken UTF-8 and any number of bytes, and a
 * failure whose text can't be stored is a failure that can't be recorded.
 */
#ifndef RX_BASE_TEXT_VALID_H
#define RX_BASE_TEXT_VALID_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Copies in to out as valid UTF-8 with a NUL at the end and returns its length
 * without it.  NULs are left out, each byte that begins no whole character
 * becomes U+FFFD, and what would exceed out_size is cut off between characters.
 * ascii_only: every other character becomes '?', for databases whose encoding
 * can't hold it.  out_size must not be 0.
 */
extern size_t rx_text_valid(const char *in, size_t in_len, char *out, size_t out_size,
							bool ascii_only);

/* Room that surely suffices for in_len bytes, each of which may become U+FFFD. */
#define RX_TEXT_VALID_ROOM(in_len) ((in_len) * 3 + 1)

#endif							/* RX_BASE_TEXT_VALID_H */
