/*
 * effect.c
 *		The duty of the io worker that carries effects out.
 *
 * The life of an effect, and where each change is written:
 *
 *	pending		in the effect log, and not yet leased or waiting for its retry
 *	   | claim.c: leased, request made, attempt row, COMMIT (flushed)
 *	executing	with the HTTP engine; no transaction is open
 *	   | settle.c: outcome row and ack or nack, COMMIT
 *	completed	acked
 *	pending		nacked, to be sent again
 *	dead		nacked for good: a dead letter, which dlq_retry makes pending
 *
 *	unknown		an attempt that went out and of which no answer was recorded,
 *				because it timed out, broke off, or the worker or the server
 *				ended.  The effect is sent again with the same Idempotency-Key
 *				and the next number; the outcome row `unknown` stays.
 *
 * So what is promised is at least once, each attempt on disk before its first
 * byte, and no attempt after one that is known to have succeeded.  Order
 * between effects is not promised yet, not even within a session.
 *
 * The calls of this process are in three places that follow each other
 * (RxAttemptState): the list `claimed` until the claim is committed, the engine,
 * the list `ended` until the outcome is committed.  An error in between leaves
 * them where they are, and the next turn goes on from there.
 */
#include "reflex.h"

#include "access/xact.h"
#include "effect/effect.h"
#include "effect/effect_int.h"
#include "pg/guc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define BATCH 256
#define LOCK_TIMEOUT "20ms"

static RxHttp *http;
static MemoryContext calls;		/* RxAttempt and what hangs on it */
static MemoryContext turn;		/* of one step, across its transactions */
static dlist_head claimed = DLIST_STATIC_INIT(claimed);
static dlist_head ended = DLIST_STATIC_INIT(ended);
static int32 subscription;		/* 0 until the leases of former workers are released */

static void
start(void)
{
	if (calls == NULL)
		calls = AllocSetContextCreate(TopMemoryContext, "reflex calls", ALLOCSET_DEFAULT_SIZES);
	http = rx_http_create();
	if (http == NULL)
		ereport(ERROR,
				errcode(ERRCODE_SYSTEM_ERROR),
				errmsg("could not start the HTTP engine: %m"));
}

static void
stop(void)
{
	if (http)
		rx_http_destroy(http);
	http = NULL;
}

static void
begin(void)
{
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(turn);
}

static void
commit(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(turn);
}

static void
free_call(RxAttempt *call)
{
	dlist_delete(&call->link);
	if (call->answer)
		rx_http_answer_free(call->answer);
	pfree(call->kind);
	pfree(call);
}

/* The one place that moves a call on. */
static void
enter_state(RxAttempt *call, RxAttemptState state)
{
	Assert(state == RX_ATTEMPT_ENDED
		   ? call->state != RX_ATTEMPT_ENDED
		   : call->state == RX_ATTEMPT_CLAIMED);
	if (call->state == RX_ATTEMPT_CLAIMED)
		dlist_delete(&call->link);
	if (state == RX_ATTEMPT_ENDED)
		dlist_push_tail(&ended, &call->link);
	call->state = state;
}

/* Takes what has ended out of the engine.  Does not throw. */
static void
collect(void)
{
	RxHttpAnswer *answer;

	while ((answer = rx_http_take(http)) != NULL)
	{
		RxAttempt	   *call = answer->owner;

		call->answer = answer;
		enter_state(call, RX_ATTEMPT_ENDED);
	}
}

/*
 * Once per worker: whatever is leased was leased by a worker that is no more,
 * for there is one io worker in a database.
 */
static void
recover(void)
{
	int32		id;

	begin();
	id = rx_subscription_id(RX_EFFECTS_SUBSCRIPTION, false);
	rx_release_all(id, "the worker ended before an answer was recorded");
	rx_effect_reap(id);
	commit();
	subscription = id;
}

/* When the first call that has ended may be settled. */
static int64
ended_due(void)
{
	dlist_iter	iter;
	int64		due = RX_NEVER;

	dlist_foreach(iter, &ended)
		due = Min(due, dlist_container(RxAttempt, link, iter.cur)->not_before);
	return due;
}

static int
first_ended(RxAttempt **batch)
{
	int64		now = rx_clock_mono();
	dlist_iter	iter;
	int			n = 0;

	dlist_foreach(iter, &ended)
	{
		RxAttempt  *call = dlist_container(RxAttempt, link, iter.cur);

		if (n == BATCH)
			break;
		if (call->not_before > now)
			continue;
		call->not_before = 0;
		batch[n++] = call;
	}
	return n;
}

/* Nobody's lock may hold up this worker: see settle.c. */
static void
do_not_wait(void)
{
	(void) set_config_option("lock_timeout", LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
}

static void
settle(void)
{
	RxAttempt	   *batch[BATCH];
	int			n = first_ended(batch);

	if (n == 0)
		return;
	begin();
	do_not_wait();
	n = rx_effect_settle(batch, n);
	commit();
	for (int i = 0; i < n; i++)
		if (batch[i]->not_before == 0)
			free_call(batch[i]);
}

/* What a claim that was not committed has left. */
static void
drop_claimed(void)
{
	while (!dlist_is_empty(&claimed))
		free_call(dlist_head_element(RxAttempt, link, &claimed));
}

static void
apply_policy(void)
{
	RxHttpPolicy policy = {
		.allowed_hosts = rx_guc_allowed_hosts,
		.ca_file = rx_guc_ca_file,
		.max_inflight = rx_guc_max_inflight,
	};
	char		error[256];

	if (!rx_http_set_policy(http, &policy, error, sizeof(error)))
		ereport(ERROR,
				errcode(ERRCODE_CONFIG_FILE_ERROR),
				errmsg("effects are not sent: %s", error),
				errhint("Correct the setting and reload the configuration."));
}

/*
 * That an attempt is under way must be on disk before it is, or a crash would
 * forget it and nobody could say that it is unknown what came of it.
 */
static void
require_flush(void)
{
	if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		(void) set_config_option("synchronous_commit", "on", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
}

/* Does not throw: the attempt is on record, so it must begin or end. */
static void
send_claim(RxClaim *claim)
{
	claim->request.http.owner = claim->call;
	if (rx_http_start(http, &claim->request.http))
		enter_state(claim->call, RX_ATTEMPT_SENT);
	else
		enter_state(claim->call, RX_ATTEMPT_ENDED);
	rx_effect_request_wipe(&claim->request);
}

/* Returns whether there may be more to claim. */
static bool
claim(void)
{
	int			room = Min(rx_http_free_slots(http), BATCH);
	RxClaim    *claims;
	int			n;
	int			received;

	drop_claimed();
	claims = MemoryContextAlloc(turn, room * sizeof(RxClaim));
	begin();
	require_flush();
	n = rx_effect_claim(subscription, room, calls, &claimed, claims, &received);
	commit();
	for (int i = 0; i < n; i++)
		send_claim(&claims[i]);
	collect();
	return received == room;
}

static bool
may_claim(void)
{
	return rx_http_free_slots(http) > 0 &&
		rx_subscription_due(subscription) <= rx_clock_mono();
}

static bool
step(void)
{
	bool		more = false;

	turn = CurrentMemoryContext;
	if (subscription == 0)
		recover();
	collect();
	settle();
	apply_policy();				/* says how many slots there are */
	if (may_claim())
		more = claim();
	return more || ended_due() <= rx_clock_mono();
}

static int64
next_due(void)
{
	if (subscription == 0)
		return 0;
	return Min(ended_due(), rx_http_free_slots(http) > 0 ? rx_subscription_due(subscription) : RX_NEVER);
}

static int
poll_fd(void)
{
	return http ? rx_http_fd(http) : -1;
}

static void
poll_ready(void)
{
	rx_http_drive(http);
	collect();
}

const RxDuty rx_effects_duty = {
	.name = "effects",
	.kind = RX_WORKER_IO,
	.start = start,
	.next_due = next_due,
	.step = step,
	.poll_fd = poll_fd,
	.poll_ready = poll_ready,
	.stop = stop,
};
