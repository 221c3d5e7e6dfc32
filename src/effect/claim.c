/*
 * claim.c
 *		The transaction before the first byte: leases effects, makes requests of
 *		them, writes down that they are about to be sent.
 *
 * An attempt is numbered by what is on record, not by what the delivery says:
 * a crash forgets leases but no attempt.  What the record says about an effect
 * that is leased again:
 *
 *	a completed outcome			it was carried out and the ack was lost: acked
 *	an attempt without outcome	its worker ended while it was out.  It becomes
 *								`unknown` here, counts, and the effect is sent
 *								again under the same Idempotency-Key, or is dead
 *								if it was the last
 *	anything else				the next attempt
 *
 * An effect of which no request can be made has failed an attempt like any
 * other, so that it shows: for good if the payload is at fault (PT422, as with
 * a secret that must not go to the host), else to be tried again (a secret, an
 * account or the key file that is missing may come).
 */
#include "reflex.h"

#include "effect/effect_int.h"
#include "pg/spi.h"
#include "pg/try.h"
#include "utils/builtins.h"

typedef struct Batch
{
	MemoryContext calls;
	dlist_head *claimed;
	int			max_attempts;
	RxHistory  *history;
	int			n_history;
	RxClaim    *claims;
	int			n_claims;
	int64	   *seqs;			/* attempts to be recorded */
	int		   *attempts;
	int			n_attempts;
	RxOutcome  *outcomes;
	int			n_outcomes;
} Batch;

static const RxHistory *
find_history(const Batch *batch, int64 seq)
{
	static const RxHistory none;

	for (int i = 0; i < batch->n_history; i++)
		if (batch->history[i].seq == seq)
			return &batch->history[i];
	return &none;
}

static void
add_outcome(Batch *batch, int64 seq, int attempt, const char *outcome, bool dead, const char *error)
{
	batch->outcomes[batch->n_outcomes++] = (RxOutcome)
	{
		.seq = seq,
		.attempt = attempt,
		.outcome = outcome,
		.dead = dead,
		.latency_us = -1,
		.error = error,
	};
}

static void
add_attempt(Batch *batch, int64 seq, int attempt)
{
	batch->seqs[batch->n_attempts] = seq;
	batch->attempts[batch->n_attempts++] = attempt;
}

/* Gives the effect back as failed; dead: for good. */
static void
fail(const RxDelivery *delivery, const char *error, bool dead)
{
	if (dead)
		rx_effect_bury(&delivery->record, error);
	rx_nack(&delivery->token, error, -1, dead);
}

typedef struct Preparation
{
	const RxRecord *record;
	int			attempt;
	RxEffectRequest *request;
} Preparation;

static void
prepare(void *arg)
{
	Preparation *p = arg;
	char	   *name = text_to_cstring(p->record->type);
	Jsonb	   *form = p->record->payload;
	RxKind		kind;

	if (strcmp(name, RX_KIND_HTTP) != 0)
	{
		rx_kind_find(name, &kind);
		if (kind.request)
			form = rx_kind_call_request(&kind, p->record);
	}
	rx_effect_request(p->request, &form->root, p->record, p->attempt);
}

static RxAttempt *
new_call(Batch *batch, const RxDelivery *delivery, int attempt, bool last, const RxEffectRequest *request)
{
	MemoryContext context = MemoryContextSwitchTo(batch->calls);
	RxAttempt	   *call = palloc0(sizeof(RxAttempt));

	call->state = RX_ATTEMPT_CLAIMED;
	call->seq = delivery->record.seq;
	call->id = delivery->record.id;
	call->token = delivery->token;
	call->kind = text_to_cstring(delivery->record.type);
	call->attempt = attempt;
	call->last = last;
	call->n_accept = request->n_accept;
	memcpy(call->accept, request->accept, sizeof(call->accept));
	dlist_push_tail(batch->claimed, &call->link);
	MemoryContextSwitchTo(context);
	return call;
}

static void
attempt_delivery(Batch *batch, const RxDelivery *delivery, int attempt, bool last)
{
	RxClaim    *claim = &batch->claims[batch->n_claims];
	Preparation p = {&delivery->record, attempt, &claim->request};
	ErrorData  *error;
	char	   *message;
	bool		dead;

	add_attempt(batch, delivery->record.seq, attempt);
	memset(&claim->request, 0, sizeof(claim->request));
	error = rx_try(prepare, &p);
	if (error == NULL)
	{
		claim->call = new_call(batch, delivery, attempt, last, &claim->request);
		batch->n_claims++;
		return;
	}
	rx_effect_request_wipe(&claim->request);
	dead = last || error->sqlerrcode == ERRCODE_RX_INVALID;
	message = rx_effect_text(error->message, strlen(error->message), RX_EFFECT_MAX_ERROR);
	add_outcome(batch, delivery->record.seq, attempt, "failed", dead, message);
	fail(delivery, message, dead);
}

static void
take_delivery(Batch *batch, const RxDelivery *delivery)
{
	const RxHistory *history = find_history(batch, delivery->record.seq);
	bool		exhausted = history->tries >= batch->max_attempts;
	const char *orphaned = "the worker ended before an answer was recorded";

	if (history->completed)
	{
		rx_ack(&delivery->token, 1, NULL);
		return;
	}
	if (history->open)
		add_outcome(batch, delivery->record.seq, history->open, "unknown", exhausted, orphaned);
	if (history->open && exhausted)
		fail(delivery, orphaned, true);
	else
		attempt_delivery(batch, delivery, history->attempts + 1,
						 history->tries + 1 >= batch->max_attempts);
}

static void
read_history(Batch *batch, const RxDelivery *deliveries, int n)
{
	int64	   *seqs = palloc(n * sizeof(int64));

	for (int i = 0; i < n; i++)
		seqs[i] = deliveries[i].record.seq;
	batch->n_history = rx_effect_history(seqs, n, &batch->history);
}

/*
 * Within a transaction.  claims has room for max; returns how many of them are
 * to be sent once the transaction has been committed.  The calls are put into
 * the list at once, so that they are found and freed if it is not.
 */
int
rx_effect_claim(int32 subscription, int max, MemoryContext calls,
				dlist_head *claimed, RxClaim *claims, int *received)
{
	Batch		batch = {.calls = calls, .claimed = claimed, .claims = claims};
	RxDelivery *deliveries;
	int			n = rx_receive(subscription, max, RX_EFFECT_LEASE_US, &deliveries);

	*received = n;
	if (n == 0)
		return 0;
	batch.max_attempts = rx_effect_max_attempts(subscription);
	batch.seqs = palloc(n * sizeof(int64));
	batch.attempts = palloc(n * sizeof(int));
	batch.outcomes = palloc(2 * n * sizeof(RxOutcome)); /* of an orphan and of itself */
	read_history(&batch, deliveries, n);
	for (int i = 0; i < n; i++)
		take_delivery(&batch, &deliveries[i]);
	rx_effect_record_attempts(batch.seqs, batch.attempts, batch.n_attempts);
	rx_effect_record_outcomes(batch.outcomes, batch.n_outcomes);
	return batch.n_claims;
}
