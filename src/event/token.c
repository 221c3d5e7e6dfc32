/*
 * token.c
 *		Tokens: the text by which a consumer names his lease on one event.
 *
 * 24 bytes as 32 characters of base64url: epoch of the shared memory (4),
 * subscription (4), position (8), lease (8).  The lease part is the counter of
 * the handing out (40 bits) and the place in the pool (24 bits), so that the
 * lease is found by index and a lease that was handed on is told by its
 * counter.
 */
#include "reflex.h"

#include "base/base64url.h"
#include "event/event_int.h"
#include "port/pg_bswap.h"

#define LEASE_INDEX_BITS 24

void
rx_token_text(const RxToken *token, char *out)
{
	uint8		raw[24];
	uint32		epoch = pg_hton32(token->epoch);
	uint32		sub = pg_hton32((uint32) token->subscription);
	uint64		seq = pg_hton64((uint64) token->seq);
	uint64		lease = pg_hton64(token->lease);

	memcpy(raw, &epoch, 4);
	memcpy(raw + 4, &sub, 4);
	memcpy(raw + 8, &seq, 8);
	memcpy(raw + 16, &lease, 8);
	rx_base64url_encode(raw, sizeof(raw), out);
}

bool
rx_token_parse(const char *in, int len, RxToken *token)
{
	uint8		raw[24];
	uint32		epoch,
				sub;
	uint64		seq,
				lease;

	if (len != RX_TOKEN_LEN || rx_base64url_decode(in, len, raw) != (long) sizeof(raw))
		return false;
	memcpy(&epoch, raw, 4);
	memcpy(&sub, raw + 4, 4);
	memcpy(&seq, raw + 8, 8);
	memcpy(&lease, raw + 16, 8);
	token->epoch = pg_ntoh32(epoch);
	token->subscription = (int32) pg_ntoh32(sub);
	token->seq = (int64) pg_ntoh64(seq);
	token->lease = pg_ntoh64(lease);
	return true;
}

/* The lease part of the tokens of a lease that is out. */
uint64
rx_token_lease(const RxLease *lease)
{
	return lease->counter << LEASE_INDEX_BITS | (uint64) (lease - rx_shared->leases);
}

/*
 * Where the token's lease would be; whether it is still that lease (same
 * counter, out, same subscription) is for the caller to see under the lock.
 */
RxLease *
rx_token_find(const RxToken *token)
{
	uint64		index = token->lease & ((UINT64CONST(1) << LEASE_INDEX_BITS) - 1);

	if (token->epoch != rx_shared->epoch || index >= rx_shared->n_leases)
		return NULL;
	return &rx_shared->leases[index];
}
