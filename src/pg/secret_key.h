/*
 * secret_key.h
 *		The key that secrets are encrypted with, kept in a file.
 */
#ifndef RX_PG_SECRET_KEY_H
#define RX_PG_SECRET_KEY_H

#include "postgres.h"
#include "crypto/secretbox.h"

/*
 * Reads the key.  When there is no file: may_create makes one, if its place is
 * the default; otherwise an error.  The caller wipes the key after use.
 */
extern void rx_secret_key_read(uint8 key[RX_SECRETBOX_KEY_SIZE], bool may_create);

#endif							/* RX_PG_SECRET_KEY_H */
