/*
 * secretbox.h
 *		Seals a value so that only the holder of the key can read it, and so that
 *		a changed or exchanged one is noticed: AES-256-GCM.
 *
 * A box is one byte of version, 12 of random nonce, the ciphertext, and 16 of
 * tag.  What the value belongs to (its name) is authenticated with it, so that
 * a box copied to another name does not open.
 */
#ifndef RX_CRYPTO_SECRETBOX_H
#define RX_CRYPTO_SECRETBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RX_SECRETBOX_KEY_SIZE 32
#define RX_SECRETBOX_OVERHEAD (1 + 12 + 16)

/* Fills the bytes from the system's random source; false when it fails. */
extern bool rx_secretbox_random(uint8_t *out, size_t len);

/* out has room for len + RX_SECRETBOX_OVERHEAD bytes; false when libcrypto fails. */
extern bool rx_secretbox_seal(const uint8_t *key, const char *name,
							  const void *value, size_t len, uint8_t *out);

/*
 * out has room for box_len - RX_SECRETBOX_OVERHEAD bytes.  False when the box
 * was not sealed with this key and name, and then out is wiped.
 */
extern bool rx_secretbox_open(const uint8_t *key, const char *name,
							  const uint8_t *box, size_t box_len, void *out);

#endif							/* RX_CRYPTO_SECRETBOX_H */
