/*
 * receive.c
 *		Handing out: what receive() and the workers' duties read.
 *
 * One call, in order: lapsed leases are taken back; then, until there are max
 * events or nothing is left: a retry that is due, something that was given
 * back, or a window of positions that nobody has read yet.  A window is claimed
 * under the subscription's lock, read without it under a snapshot taken after
 * the claim, and what was found becomes a lease.  Nothing is written.
 *
 * A window is as wide as what is still wanted; where windows come back empty
 * (gaps, filters) the next is wider, and the part of a wide one that was not
 * read is given back.
 *
 * In an ordered subscription every event gets a lease of its own and passes the
 * gate of its session (order.c); one process reads at a time.
 *
 * Until the transaction ends, settle.c knows what was claimed and handed out
 * and gives it back if the transaction aborts, wherever in here that happens.
 */
#include "reflex.h"

#include "access/xact.h"
#include "event/event_int.h"
#include "miscadmin.h"
#include "pg/compat.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define MAX_WINDOW 65536

/* One call of receive. */
typedef struct Receiver
{
	RxSubInfo  *info;
	RxSub	   *sub;
	RxDb	   *db;
	RxRowEmit	emit;			/* what to do with each event */
	void	   *arg;
	int64		due;			/* of the leases */
	int			max;
	int			n;				/* handed out so far */
	int			n_parked;		/* set aside so far, for their sessions are busy */
	bool		full;			/* no room to set aside more */
	RxView		view;
} Receiver;

/* The reading of one claim. */
typedef struct Reading
{
	Receiver   *r;
	RxLease    *lease;
	RxRange		window;			/* fresh: what was claimed */
	int64		stop;			/* fresh: the first position that was not read */
	bool		fresh;
	bool		parked;			/* given back one: was parked at the gate */
	uint64		found[RX_WORDS];	/* given back ones: rows that exist */
} Reading;

static void
emit_lease(Receiver *r, const RxLease *lease, Datum *values, bool *isnull)
{
	RxToken		token = {
		.epoch = rx_shared->epoch,
		.subscription = r->info->id,
		.seq = DatumGetInt64(values[RX_COL_SEQ]),
		.lease = rx_token_lease(lease),
	};

	r->n++;
	r->emit(r->info, values, isnull, lease->attempt, &token, r->arg);
}

static void
emit_row(Reading *reading, Datum *values, bool *isnull)
{
	emit_lease(reading->r, reading->lease, values, isnull);
}

/* ---- ordered subscriptions ---- */

/* So many are set aside in one call, and so much of the pool is left to others. */
#define MAX_PARKED 10000
#define POOL_RESERVE (rx_shared->n_leases / 4)

static uint64
session_of(Datum *values, bool *isnull)
{
	return rx_order_hash(isnull[RX_COL_SESSION] ? NULL : DatumGetTextPP(values[RX_COL_SESSION]));
}

/* A lease for one event of a fresh window; NULL when there is no room. */
static RxLease *
lease_for(Receiver *r, int64 seq)
{
	RxLease    *lease = NULL;

	if (r->n < r->max && r->n_parked < MAX_PARKED && rx_shared->n_free > POOL_RESERVE)
		lease = rx_lease_alloc();
	if (lease == NULL)
		return NULL;
	lease->sub = (int32) (r->sub - rx_shared->subs);
	lease->lo = seq;
	lease->width = 1;
	lease->exact = true;
	RX_BIT_SET(lease->out, 0);
	return lease;
}

/* At the gate: handed out, or parked.  From here on the lease stands for itself. */
static bool
hand_out_or_park(Receiver *r, RxLease *lease, uint64 session)
{
	bool		passed;

	rx_settle_reserve();
	LWLockAcquire(&r->sub->lock, LW_EXCLUSIVE);
	passed = rx_order_pass(r->sub, lease, session);
	if (passed)
	{
		lease->counter = pg_atomic_add_fetch_u64(&rx_shared->lease_counter, 1);
		lease->attempt++;
		rx_lease_out(r->sub, lease, r->due);
		rx_settle_received(r->sub, lease);
		r->sub->counts.delivered++;
	}
	LWLockRelease(&r->sub->lock);
	return passed;
}

/* A row of a fresh window. */
static bool
ordered_row(Datum *values, bool *isnull, void *arg)
{
	Reading    *reading = arg;
	Receiver   *r = reading->r;
	int64		seq = DatumGetInt64(values[RX_COL_SEQ]);
	RxLease    *lease;

	if (!rx_sub_wants(r->info, values, isnull))
		return true;
	lease = lease_for(r, seq);
	if (lease == NULL)
	{
		r->full = true;
		reading->stop = seq;
		return false;
	}
	if (hand_out_or_park(r, lease, session_of(values, isnull)))
	{
		rx_settle_claim_read_to(seq + 1);
		emit_lease(r, lease, values, isnull);
	}
	else
	{
		rx_settle_claim_read_to(seq + 1);
		r->n_parked++;
	}
	return true;
}

/* One that was put back, or was open before a restart, has yet to pass the gate. */
static bool
known_passes(Reading *reading, Datum *values, bool *isnull)
{
	RxSub	   *sub = reading->r->sub;
	RxLease    *lease = reading->lease;

	LWLockAcquire(&sub->lock, LW_EXCLUSIVE);
	if (!lease->is_head && !rx_order_pass(sub, lease, session_of(values, isnull)))
	{
		lease->attempt--;
		lease->counter = 0;
		reading->parked = true;
		rx_settle_claim_parked();
	}
	LWLockRelease(&sub->lock);
	return !reading->parked;
}

/* ---- all others ---- */

/* Within a fresh window: the lease begins with the first event that is wanted. */
static bool
fresh_row(Datum *values, bool *isnull, void *arg)
{
	Reading    *reading = arg;
	RxLease    *lease = reading->lease;
	int64		seq = DatumGetInt64(values[RX_COL_SEQ]);

	if (!rx_sub_wants(reading->r->info, values, isnull))
		return true;
	if (lease->width == 0)
		lease->lo = seq;
	if (reading->r->n == reading->r->max || seq - lease->lo >= RX_SPAN)
	{
		reading->stop = seq;
		return false;
	}
	lease->width = (uint16) (seq - lease->lo + 1);
	RX_BIT_SET(lease->out, seq - lease->lo);
	emit_row(reading, values, isnull);
	return true;
}

/* Of something given back: only the events that are still open in it. */
static bool
known_row(Datum *values, bool *isnull, void *arg)
{
	Reading    *reading = arg;
	int64		bit = DatumGetInt64(values[RX_COL_SEQ]) - reading->lease->lo;

	if (!RX_BIT_TEST(reading->lease->out, bit) ||
		!(reading->r->info->retry_only || rx_sub_wants(reading->r->info, values, isnull)))
		return true;
	if (reading->r->sub->ordered && !known_passes(reading, values, isnull))
		return true;
	RX_BIT_SET(reading->found, bit);
	emit_row(reading, values, isnull);
	return true;
}

/*
 * A fresh lease covers its window from edge to edge if it can, so that a batch
 * that is acked whole is settled as one range with its gaps.
 */
static void
widen_to_window(Reading *reading)
{
	RxLease    *lease = reading->lease;
	int64		shift = lease->lo - reading->window.lo;

	if (lease->width > 0 && reading->stop - reading->window.lo <= RX_SPAN && shift > 0)
	{
		uint64		moved[RX_WORDS] = {0};

		for (int bit = 0; bit < lease->width; bit++)
			if (RX_BIT_TEST(lease->out, bit))
				RX_BIT_SET(moved, bit + shift);
		memcpy(lease->out, moved, sizeof(moved));
		lease->lo = reading->window.lo;
	}
	if (lease->width > 0)
		lease->width = (uint16) Min(reading->stop - lease->lo, RX_SPAN);
}

/* What was put back from the dead letters is handed out from its letter. */
static bool
read_letter(Reading *reading)
{
	Datum		values[RX_N_COLS];
	bool		isnull[RX_N_COLS];

	if (!rx_dead_letter_read(reading->r->info, reading->lease->lo, values, isnull))
		return false;
	known_row(values, isnull, reading);
	return true;
}

static void
read_claim(Reading *reading)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	RxLease    *lease = reading->lease;

	lease->counter = pg_atomic_add_fetch_u64(&rx_shared->lease_counter, 1);
	lease->attempt++;
	if (reading->fresh)
		rx_log_scan(reading->r->info->log, reading->window, snapshot,
					reading->r->sub->ordered ? ordered_row : fresh_row, reading);
	else
	{
		RxRange		span = {lease->lo, lease->lo + lease->width};

		if (!lease->requeued || !read_letter(reading))
			rx_log_scan(reading->r->info->log, span, snapshot, known_row, reading);
		if (!reading->parked)
		{
			memcpy(lease->out, reading->found, sizeof(reading->found));
			lease->exact = true;
		}
	}
	UnregisterSnapshot(snapshot);
}

/* What was read becomes a lease, what was not goes back. */
static void
finish_claim(Reading *reading)
{
	Receiver   *r = reading->r;
	RxSub	   *sub = r->sub;
	RxLease    *lease = reading->lease;

	if (reading->fresh)
		widen_to_window(reading);
	rx_settle_claim_over();
	LWLockAcquire(&sub->lock, LW_EXCLUSIVE);
	if (sub->reader == RxMyProcNumber + 1)
		sub->reader = 0;
	if (reading->fresh && sub->id == r->info->id)
		rx_lease_claim_done(sub, (RxRange) {reading->stop, reading->window.hi});
	if (reading->parked)
		;						/* it is its head's now */
	else if (rx_lease_count(lease) > 0 && sub->id == r->info->id)
	{
		rx_lease_out(sub, lease, r->due);
		rx_settle_received(sub, lease);
		sub->counts.delivered += rx_lease_count(lease);
	}
	else
	{
		rx_order_leave(sub, lease);
		rx_lease_free(lease);
	}
	LWLockRelease(&sub->lock);
}

/* Waits for its turn to read an ordered subscription; under the lock, and back under it. */
static void
await_reader(RxSub *sub)
{
	while (sub->ordered && sub->reader != 0)
	{
		LWLockRelease(&sub->lock);
		CHECK_FOR_INTERRUPTS();
		pg_usleep(20);
		LWLockAcquire(&sub->lock, LW_EXCLUSIVE);
	}
}

/* Under the subscription's lock: the next thing to hand out, or NULL. */
static RxLease *
claim(Receiver *r, int64 want, Reading *reading)
{
	int			room = r->max - r->n;
	RxLease    *lease = rx_lease_claim_due(r->sub, rx_clock_mono(), room);

	reading->fresh = false;
	if (lease == NULL)
		lease = rx_lease_claim_returned(r->sub, room);
	if (lease == NULL)
	{
		lease = rx_lease_claim_fresh(r->sub, &r->view, want, &reading->window);
		reading->fresh = lease != NULL;
		reading->stop = reading->window.hi;
	}
	if (lease)
		lease->sub = (int32) (r->sub - rx_shared->subs);
	if (lease && r->sub->ordered)
		r->sub->reader = RxMyProcNumber + 1;
	return lease;
}

static void
receive_all(Receiver *r)
{
	int64		want = Min(r->max, RX_SPAN);

	while (r->n < r->max && !r->full)
	{
		Reading		reading = {.r = r};
		int			before = r->n;

		CHECK_FOR_INTERRUPTS();
		rx_settle_reserve();
		LWLockAcquire(&r->sub->lock, LW_EXCLUSIVE);
		await_reader(r->sub);
		rx_lease_settle_holes(r->sub, &r->view);
		reading.lease = claim(r, want, &reading);
		if (reading.lease)
			rx_settle_claimed(r->sub, reading.lease, reading.fresh ? &reading.window : NULL);
		LWLockRelease(&r->sub->lock);
		if (reading.lease == NULL)
			break;
		read_claim(&reading);
		finish_claim(&reading);
		want = r->n > before ? Min(r->max - r->n, RX_SPAN) : Min(Max(want, 64) * 2, MAX_WINDOW);
	}
}

/* When one waiter has taken its fill and something is left, it wakes the next. */
static void
pass_on(const Receiver *r)
{
	if (r->n == r->max && rx_subscription_due(r->info->id) == 0)
		rx_wait_wake(r->sub);
}

int
rx_receive_each(RxSubInfo *info, int max, int64 lease_us, RxRowEmit emit, void *arg)
{
	Receiver	r = {
		.info = info,
		.emit = emit,
		.arg = arg,
		.max = max,
	};

	rx_shared_require_read_committed();
	r.db = rx_db();
	rx_sub_prepare(info);
	r.sub = rx_sub_attach(info);
	rx_settle_expire(info, r.sub);
	if (info->paused)
		return 0;
	r.due = rx_clock_mono() + lease_us;
	rx_position_view(r.db, info->log, &r.view);
	receive_all(&r);
	pass_on(&r);
	return r.n;
}

/* The same, and if there is nothing, again until there is or the time is up. */
int
rx_receive_wait(const char *name, int max, int64 lease_us, int64 wait_us, RxRowEmit emit, void *arg)
{
	int64		until = rx_clock_mono() + wait_us;

	for (;;)
	{
		/* Looked up anew each time: it may have been altered or dropped meanwhile. */
		RxSubInfo  *info = rx_sub_by_id(rx_subscription_id(name, false));
		int			n = rx_receive_each(info, max, lease_us, emit, arg);

		if (n > 0 || rx_clock_mono() >= until)
			return n;
		rx_wait_for(info, rx_sub_attach(info), until);
	}
}

/* ---- for workers: an array of copies ---- */

typedef struct Collected
{
	RxDelivery *items;
	int			n;
	int			room;
	MemoryContext context;
} Collected;

static void
collect(RxSubInfo *info, Datum *values, bool *isnull, int attempt, const RxToken *token, void *arg)
{
	Collected  *c = arg;
	MemoryContext old = MemoryContextSwitchTo(c->context);

	if (c->n == c->room)
	{
		c->room = Max(16, c->room * 2);
		c->items = c->items ? repalloc(c->items, c->room * sizeof(RxDelivery)) :
			palloc(c->room * sizeof(RxDelivery));
	}
	rx_log_record(info->log, values, isnull, &c->items[c->n].record);
	c->items[c->n].attempt = attempt;
	c->items[c->n].token = *token;
	c->n++;
	MemoryContextSwitchTo(old);
}

int
rx_receive(int32 subscription, int max, int64 lease_us, RxDelivery **out)
{
	Collected	c = {.context = CurrentMemoryContext};

	rx_receive_each(rx_sub_require(subscription), max, lease_us, collect, &c);
	*out = c.items;
	return c.n;
}

void
rx_subscription_skip(int32 subscription, int64 before)
{
	RxSub	   *sub = rx_sub_attach(rx_sub_require(subscription));

	LWLockAcquire(&sub->lock, LW_EXCLUSIVE);
	rx_lease_skip(sub, before);
	LWLockRelease(&sub->lock);
}

/* ---- when is there something? ---- */

static bool
holes_released(RxSub *sub, const RxDb *db)
{
	RxRange		holes[RX_MAX_HOLES];
	int			n = sub->n_holes;

	memcpy(holes, sub->holes, n * sizeof(RxRange));
	return n > 0 && !rx_position_held_all(db, sub->log, holes, n);
}

int64
rx_subscription_due(int32 subscription)
{
	RxDb	   *db = rx_db_in_use();
	RxSub	   *sub = NULL;
	int64		due = RX_NEVER;
	int64		next;

	for (int i = 0; i < RX_MAX_SUBS && sub == NULL; i++)
		if (rx_shared->subs[i].id == subscription && &rx_shared->dbs[rx_shared->subs[i].db] == db)
			sub = &rx_shared->subs[i];
	if (sub == NULL || !sub->ready)
		return 0;

	LWLockAcquire(&db->lock, LW_SHARED);
	next = db->counter[sub->log].next;
	LWLockRelease(&db->lock);
	LWLockAcquire(&sub->lock, LW_SHARED);
	if (rx_shared->n_free <= (sub->ordered ? POOL_RESERVE : 0))
		due = rx_clock_mono() + 10000;	/* nothing can be handed out just now */
	else if (!dlist_is_empty(&sub->returned) || sub->n_pending > 0 ||
		(!sub->retry_only && sub->n_holes < RX_MAX_HOLES && sub->cursor < next))
		due = 0;
	else if (!pairingheap_is_empty(&sub->timers))
		due = pairingheap_container(RxLease, timer, pairingheap_first(&sub->timers))->due;
	LWLockRelease(&sub->lock);
	/* Not under both locks: db->lock comes before sub->lock. */
	if (due > 0 && holes_released(sub, db))
		due = 0;
	return due;
}
