/*
 * base64url.h
 *		Base 64 with the URL-safe alphabet and without padding (RFC 4648 section 5).
 */
#ifndef RX_BASE_BASE64URL_H
#define RX_BASE_BASE64URL_H

#include <stddef.h>
#include <stdint.h>

/* Writes the (n * 4 + 2) / 3 characters, no terminator; returns how many. */
extern size_t rx_base64url_encode(const uint8_t *in, size_t n, char *out);

/* Writes at most n * 3 / 4 bytes; returns how many, or -1 for bad input. */
extern long rx_base64url_decode(const char *in, size_t n, uint8_t *out);

#endif							/* RX_BASE_BASE64URL_H */
