/*
 * secretbox.c
 *		AES-256-GCM on libcrypto's EVP.  See secretbox.h.
 *
 * The nonce is random: with 96 bits, one key may seal some 2^32 values before
 * a repetition becomes thinkable, and a database has a few hundred.
 */
#include "crypto/secretbox.h"

#include <limits.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#define VERSION 1
#define NONCE_SIZE 12
#define TAG_SIZE 16
#define HEAD_SIZE (1 + NONCE_SIZE)

bool
rx_secretbox_random(uint8_t *out, size_t len)
{
	return len <= INT_MAX && RAND_bytes(out, (int) len) == 1;
}

/* The version byte and the name: what is authenticated but not encrypted. */
static bool
feed_name(EVP_CIPHER_CTX *ctx, const char *name)
{
	const unsigned char version = VERSION;
	int			n;

	return EVP_CipherUpdate(ctx, NULL, &n, &version, 1) == 1 &&
		EVP_CipherUpdate(ctx, NULL, &n, (const unsigned char *) name, (int) strlen(name)) == 1;
}

static bool
seal(EVP_CIPHER_CTX *ctx, const uint8_t *key, const char *name,
	 const void *value, size_t len, uint8_t *out)
{
	int			n;

	out[0] = VERSION;
	return rx_secretbox_random(out + 1, NONCE_SIZE) &&
		EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, out + 1) == 1 &&
		feed_name(ctx, name) &&
		EVP_EncryptUpdate(ctx, out + HEAD_SIZE, &n, value, (int) len) == 1 &&
		EVP_EncryptFinal_ex(ctx, out + HEAD_SIZE + n, &n) == 1 &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_SIZE, out + HEAD_SIZE + len) == 1;
}

static bool
unseal(EVP_CIPHER_CTX *ctx, const uint8_t *key, const char *name,
	   const uint8_t *box, size_t len, uint8_t *out)
{
	uint8_t		tag[TAG_SIZE];
	int			n;

	memcpy(tag, box + HEAD_SIZE + len, TAG_SIZE);
	return EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, box + 1) == 1 &&
		feed_name(ctx, name) &&
		EVP_DecryptUpdate(ctx, out, &n, box + HEAD_SIZE, (int) len) == 1 &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_SIZE, tag) == 1 &&
		EVP_DecryptFinal_ex(ctx, out + n, &n) == 1;
}

bool
rx_secretbox_seal(const uint8_t *key, const char *name,
				  const void *value, size_t len, uint8_t *out)
{
	EVP_CIPHER_CTX *ctx;
	bool		ok;

	if (len > INT_MAX - RX_SECRETBOX_OVERHEAD || strlen(name) > INT_MAX)
		return false;
	ctx = EVP_CIPHER_CTX_new();
	ok = ctx != NULL && seal(ctx, key, name, value, len, out);
	EVP_CIPHER_CTX_free(ctx);
	return ok;
}

bool
rx_secretbox_open(const uint8_t *key, const char *name,
				  const uint8_t *box, size_t box_len, void *out)
{
	size_t		len = box_len - RX_SECRETBOX_OVERHEAD;
	EVP_CIPHER_CTX *ctx;
	bool		ok;

	if (box_len < RX_SECRETBOX_OVERHEAD || box_len > INT_MAX ||
		strlen(name) > INT_MAX || box[0] != VERSION)
		return false;
	ctx = EVP_CIPHER_CTX_new();
	ok = ctx != NULL && unseal(ctx, key, name, box, len, out);
	EVP_CIPHER_CTX_free(ctx);
	if (!ok)
		OPENSSL_cleanse(out, len);
	return ok;
}
