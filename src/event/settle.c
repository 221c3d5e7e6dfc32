/*
 * settle.c
 *		Settling: ack, nack, leases that lapse, and the end of a transaction.
 *
 * A consumer's verdict counts when his transaction commits.  Until then the
 * event is pinned: its lease cannot lapse and nobody else can settle it.  What
 * must survive is written to the journal in the same transaction; shared
 * memory follows when the transaction has ended:
 *
 *				  commit							abort
 *	ack			  the event leaves its lease		the lease stands again
 *	nack		  ... and waits for its retry		the same
 *	receive		  nothing							given back, uncounted
 *	being read	  (can't be)						given back
 *
 * A worker that looks at events and does nothing about most of them settles
 * those without writing (rx_ack_lazily), and writes now and then how far it is.
 *
 * What this transaction has pinned and received is kept in two arrays of this
 * process, with the nesting level at which it happened, so that a savepoint
 * undoes its own.  The arrays grow before anything is changed: the end of a
 * transaction allocates nothing.
 */
#include "reflex.h"

#include "access/xact.h"
#include "event/event_int.h"
#include "miscadmin.h"
#include "pg/compat.h"
#include "pg/wakeup.h"
#include "utils/memutils.h"

/* One event that this transaction settles, and what becomes of it. */
typedef struct Pin
{
	RxSub	   *sub;
	int32		sub_id;
	RxLease    *lease;			/* NULL: only adds a retry */
	RxLease    *retry;			/* claimed from the pool; NULL when settled for good */
	int64		due;			/* of the retry */
	int			level;
	uint16		bit;
	bool		failed;			/* for the counts: an attempt was reported as failed */
	bool		dead;			/* ... the event becomes a dead letter */
} Pin;

/* One lease that this transaction was handed. */
typedef struct Received
{
	RxSub	   *sub;
	RxLease    *lease;
	uint64		counter;
	int			level;
} Received;

/* The window that this process is reading right now. */
typedef struct Claim
{
	RxSub	   *sub;			/* NULL: none */
	int32		sub_id;
	RxLease    *lease;
	bool		fresh;
	RxRange		window;
	int			attempt;
	int			level;
} Claim;

static Pin *pins;
static int	n_pins;
static int	room_pins;
static Received *received;
static int	n_received;
static int	room_received;
static Claim current;

bool
rx_settle_pending(void)
{
	return n_pins > 0 || n_received > 0;
}

static void
reserve_pins(int more)
{
	if (n_pins + more <= room_pins)
		return;
	room_pins = Max(n_pins + more, room_pins * 2);
	pins = pins ? repalloc(pins, room_pins * sizeof(Pin)) :
		MemoryContextAlloc(TopMemoryContext, room_pins * sizeof(Pin));
}

void
rx_settle_reserve(void)
{
	if (n_received < room_received)
		return;
	room_received = Max(64, room_received * 2);
	received = received ? repalloc(received, room_received * sizeof(Received)) :
		MemoryContextAlloc(TopMemoryContext, room_received * sizeof(Received));
}

void
rx_settle_claimed(RxSub *sub, RxLease *lease, const RxRange *window)
{
	current.sub = sub;
	current.sub_id = sub->id;
	current.lease = lease;
	current.fresh = window != NULL;
	if (window)
		current.window = *window;
	current.attempt = lease->attempt;
	current.level = GetCurrentTransactionNestLevel();
}

/* What of the window lies before this position needs no reading any more. */
void
rx_settle_claim_read_to(int64 seq)
{
	current.window.lo = seq;
}

/* The lease was parked; what is left of the claim is our turn to read. */
void
rx_settle_claim_parked(void)
{
	current.lease = NULL;
}

void
rx_settle_claim_over(void)
{
	current.sub = NULL;
}

void
rx_settle_received(RxSub *sub, RxLease *lease)
{
	received[n_received++] = (Received)
	{
		sub, lease, lease->counter, GetCurrentTransactionNestLevel()
	};
}

/* ---- tokens ---- */

/*
 * The lease that a token is good for, with its bit; NULL when it is not any
 * more.  Under the lock of sub.
 */
static RxLease *
good_lease(RxSub *sub, const RxToken *token, int *bit)
{
	RxLease    *lease = rx_token_find(token);

	if (lease == NULL || lease->counter == 0 || lease->state != RX_LEASE_OUT ||
		rx_token_lease(lease) != token->lease ||
		&rx_shared->subs[lease->sub] != sub || sub->id != token->subscription)
		return NULL;
	if (token->seq < lease->lo || token->seq >= lease->lo + lease->width)
		return NULL;
	*bit = (int) (token->seq - lease->lo);
	if (!RX_BIT_TEST(lease->out, *bit) || RX_BIT_TEST(lease->pinned, *bit))
		return NULL;
	return lease;
}

/* The shared subscription that a token is of, NULL when it can't be good. */
static RxSub *
token_sub(const RxToken *token, RxSubInfo **info)
{
	if (token->epoch != rx_shared->epoch)
		return NULL;
	*info = rx_sub_by_id(token->subscription);
	return *info ? rx_sub_attach(*info) : NULL;
}

static Pin *
pin(RxSub *sub, RxLease *lease, int bit)
{
	Pin		   *p = &pins[n_pins++];

	rx_lease_pin(sub, lease, bit);
	*p = (Pin)
	{
		.sub = sub,.sub_id = sub->id,.lease = lease,.bit = (uint16) bit,.level = GetCurrentTransactionNestLevel()
	};
	return p;
}

/* ---- ack ---- */

/*
 * The range that settling this event covers: it and, where a clear bit means
 * that there is nothing left to settle, its clear neighbours.
 */
static RxRange
settled_range(const RxLease *lease, int bit)
{
	int			lo = bit;
	int			hi = bit + 1;

	if (!lease->exact)
	{
		while (lo > 0 && !RX_BIT_TEST(lease->out, lo - 1))
			lo--;
		while (hi < lease->width && !RX_BIT_TEST(lease->out, hi))
			hi++;
	}
	return (RxRange) {lease->lo + lo, lease->lo + hi};
}

/*
 * Pins those of n tokens of one subscription that are good, and says which
 * ranges that settles; there is room for n.
 */
static int
pin_good(RxSub *sub, const RxToken *tokens, int n, bool *ok, RxRange *ranges)
{
	int			good = 0;

	reserve_pins(n);
	LWLockAcquire(&sub->lock, LW_EXCLUSIVE);
	for (int i = 0; i < n; i++)
	{
		int			bit;
		RxLease    *lease = good_lease(sub, &tokens[i], &bit);

		if (ok)
			ok[i] = lease != NULL;
		if (lease == NULL)
			continue;
		pin(sub, lease, bit);
		ranges[good++] = settled_range(lease, bit);
	}
	LWLockRelease(&sub->lock);
	return good;
}

static int
ack_some(RxSub *sub, const RxToken *tokens, int n, bool *ok)
{
	RxRange    *ranges = palloc(n * sizeof(RxRange));
	int			good = pin_good(sub, tokens, n, ok, ranges);

	if (good > 0)
		rx_journal_settled(sub, ranges, rx_ranges_join(ranges, good));
	pfree(ranges);
	return good;
}

int
rx_ack(const RxToken *tokens, int n, bool *ok)
{
	int			good = 0;

	/* Runs of one subscription; in practice there is one. */
	for (int from = 0, to; from < n; from = to)
	{
		RxSubInfo  *info;
		RxSub	   *sub = token_sub(&tokens[from], &info);

		for (to = from + 1; to < n && tokens[to].subscription == tokens[from].subscription; to++)
			;
		if (sub)
			good += ack_some(sub, tokens + from, to - from, ok ? ok + from : NULL);
		else if (ok)
			memset(ok + from, 0, to - from);
	}
	return good;
}

/* ---- ack without writing ---- */

#define MAX_LAZY 256

/*
 * What this process has settled and not written down, of one subscription.  It
 * is one range, or few; where there are more than fit, some are forgotten, and
 * come again after a crash.
 */
typedef struct Lazy
{
	RxSub	   *sub;
	int32		sub_id;
	int			n;				/* committed */
	int			n_new;			/* of this transaction, behind those */
	bool		flushing;		/* this transaction writes them down */
	RxRange		ranges[2 * MAX_LAZY];
} Lazy;

static Lazy lazy;

int
rx_ack_lazily(const RxToken *tokens, int n)
{
	RxSubInfo  *info;
	RxSub	   *sub = n > 0 ? token_sub(&tokens[0], &info) : NULL;
	RxRange    *ranges;
	int			good;
	int			joined;

	if (sub == NULL)
		return 0;
	if (lazy.sub != sub || lazy.sub_id != sub->id)
		lazy = (Lazy) {.sub = sub, .sub_id = sub->id};
	ranges = palloc(n * sizeof(RxRange));
	good = pin_good(sub, tokens, n, NULL, ranges);
	joined = rx_ranges_join(ranges, good);
	lazy.n_new = Min(joined, MAX_LAZY);
	memcpy(lazy.ranges + lazy.n, ranges, lazy.n_new * sizeof(RxRange));
	pfree(ranges);
	return good;
}

bool
rx_ack_flush(void)
{
	if (lazy.n == 0 || lazy.sub->id != lazy.sub_id)
		return false;
	rx_journal_settled(lazy.sub, lazy.ranges, lazy.n);
	lazy.flushing = true;
	return true;
}

static void
end_lazy(bool committed)
{
	if (committed && lazy.flushing)
	{
		memmove(lazy.ranges, lazy.ranges + lazy.n, lazy.n_new * sizeof(RxRange));
		lazy.n = 0;
	}
	if (committed)
		lazy.n = Min(rx_ranges_join(lazy.ranges, lazy.n + lazy.n_new), MAX_LAZY);
	lazy.n_new = 0;
	lazy.flushing = false;
}

/* ---- nack ---- */

static RxLease *
new_retry(RxSub *sub, int64 seq, int attempt)
{
	RxLease    *lease = rx_lease_alloc();

	if (lease == NULL)
		ereport(ERROR,
				errcode(ERRCODE_OUT_OF_MEMORY),
				errmsg("no shared memory left for another retry"),
				errhint("Increase reflex.shared_memory, or settle events that are out."));
	lease->sub = (int32) (sub - rx_shared->subs);
	lease->lo = seq;
	lease->width = 1;
	lease->attempt = (int16) attempt;
	lease->exact = true;
	RX_BIT_SET(lease->out, 0);
	return lease;
}

static void
wake_for(const RxSubInfo *info)
{
	rx_wakeup_workers_at_commit(info->log == RX_LOG_EFFECT ? RX_WORKER_IO : RX_WORKER_SQL);
}

/* Records a failed attempt and arranges for the retry; p says where to note it. */
static void
schedule_retry(RxSubInfo *info, Pin *p, int64 seq, int attempt, const char *error, int64 delay_us)
{
	RxSub	   *sub = p->sub;

	if (delay_us < 0)
		delay_us = rx_sub_backoff(info, attempt);
	p->retry = new_retry(sub, seq, attempt);
	p->retry->requeued = p->lease && p->lease->requeued;
	p->due = rx_clock_mono() + delay_us;
	rx_journal_failed(sub, seq, attempt,
					  GetCurrentTimestamp() + rx_clock_offset() + delay_us, error);
	wake_for(info);
}

static void
settle_one(RxSub *sub, int64 seq)
{
	RxRange		range = {seq, seq + 1};

	rx_journal_settled(sub, &range, 1);
}

/* The attempt-th attempt has failed: retry or dead letter. */
static void
fail_one(RxSubInfo *info, Pin *p, int64 seq, int attempt, const char *error,
		 int64 delay_us, bool permanent)
{
	p->failed = true;
	p->dead = permanent || attempt >= rx_sub_max_attempts(info);
	if (p->dead)
	{
		rx_dead_letter_add(info, seq, attempt, error, p->lease && p->lease->requeued);
		settle_one(p->sub, seq);
	}
	else
		schedule_retry(info, p, seq, attempt, error, delay_us);
}

bool
rx_nack(const RxToken *token, const char *error, int64 delay_us, bool permanent)
{
	RxSubInfo  *info;
	RxSub	   *sub = token_sub(token, &info);
	RxLease    *lease;
	int			bit;
	int			attempt = 0;
	int			mine = 0;

	if (sub == NULL)
		return false;
	reserve_pins(1);
	LWLockAcquire(&sub->lock, LW_EXCLUSIVE);
	lease = good_lease(sub, token, &bit);
	if (lease)
	{
		attempt = lease->attempt;
		lease->exact = true;
		mine = n_pins;
		pin(sub, lease, bit);
	}
	LWLockRelease(&sub->lock);
	if (lease == NULL)
		return false;
	fail_one(info, &pins[mine], token->seq, attempt, error, delay_us, permanent);
	return true;
}

/* A pin without a lease: only the retry that it carries takes effect. */
static Pin *
pin_nothing(RxSub *sub)
{
	reserve_pins(1);
	pins[n_pins] = (Pin)
	{
		.sub = sub,.sub_id = sub->id,.level = GetCurrentTransactionNestLevel()
	};
	return &pins[n_pins++];
}

void
rx_fail_into(int32 subscription, int64 seq, int attempt, const char *error)
{
	RxSubInfo  *info = rx_sub_require(subscription);

	fail_one(info, pin_nothing(rx_sub_attach(info)), seq, attempt, error, -1, false);
}

/* Puts back what was a dead letter, to be delivered after the delay. */
void
rx_settle_requeue(RxSubInfo *info, int64 seq, int64 delay_us)
{
	RxSub	   *sub = rx_sub_attach(info);
	Pin		   *p = pin_nothing(sub);

	p->retry = new_retry(sub, seq, 0);
	p->retry->requeued = true;
	p->due = delay_us > 0 ? rx_clock_mono() + delay_us : 0;
	rx_journal_requeued(sub, seq, delay_us > 0 ? GetCurrentTimestamp() + rx_clock_offset() + delay_us : 0);
	wake_for(info);
}

bool
rx_extend(const RxToken *token, int64 lease_us)
{
	RxSubInfo  *info;
	RxSub	   *sub = token_sub(token, &info);
	int64		due = rx_clock_mono() + lease_us;
	RxLease    *lease;
	int			bit;

	if (sub == NULL)
		return false;
	LWLockAcquire(&sub->lock, LW_EXCLUSIVE);
	lease = good_lease(sub, token, &bit);
	/* One lease may stand for a batch: extending one never shortens others. */
	if (lease && lease->due < due)
	{
		if (lease->pins > 0)
			lease->due = due;
		else
			rx_lease_out(sub, lease, due);
	}
	LWLockRelease(&sub->lock);
	return lease != NULL;
}

/* ---- leases that lapse ---- */

/* The unsettled events of a lease as ranges; at most RX_SPAN. */
static int
lease_ranges(const RxLease *lease, RxRange *ranges)
{
	int			n = 0;

	for (int bit = 0; bit < lease->width; bit++)
	{
		if (!RX_BIT_TEST(lease->out, bit))
			continue;
		if (n > 0 && ranges[n - 1].hi == lease->lo + bit)
			ranges[n - 1].hi++;
		else
			ranges[n++] = (RxRange) {lease->lo + bit, lease->lo + bit + 1};
	}
	return n;
}

static void
bury_ranges(RxSubInfo *info, RxSub *sub, const RxRange *ranges, int n, int attempt, const char *error,
			bool requeued)
{
	for (int i = 0; i < n; i++)
		for (int64 seq = ranges[i].lo; seq < ranges[i].hi; seq++)
			rx_dead_letter_add(info, seq, attempt, error, requeued);
	rx_journal_settled(sub, ranges, n);
}

/*
 * Takes back one lapsed lease: a counted attempt for each event still in it.
 * It may be handed out again at once; after the last attempt its events are
 * pinned and become dead letters with this transaction.
 */
static bool
expire_one(RxSubInfo *info, RxSub *sub, const char *error)
{
	RxRange		ranges[RX_SPAN];
	int			n = 0;
	int			attempt = 0;
	int64		no = 0;
	bool		hopeless = false;
	bool		requeued = false;
	RxLease    *lease;

	reserve_pins(RX_SPAN);
	LWLockAcquire(&sub->lock, LW_EXCLUSIVE);
	lease = rx_lease_expired(sub, rx_clock_mono());
	if (lease)
	{
		n = lease_ranges(lease, ranges);
		attempt = lease->attempt;
		hopeless = attempt >= rx_sub_max_attempts(info);
		requeued = lease->requeued;
		sub->counts.expired += rx_lease_count(lease);
		lease->exact = true;
		no = sub->next_no++;
		if (!hopeless)
			rx_lease_return(sub, lease);
		for (int bit = 0; hopeless && bit < lease->width; bit++)
			if (RX_BIT_TEST(lease->out, bit))
				pin(sub, lease, bit)->dead = true;
	}
	LWLockRelease(&sub->lock);
	if (lease == NULL)
		return false;
	if (hopeless)
		bury_ranges(info, sub, ranges, n, attempt, error, requeued);
	else
		rx_journal_expired(sub, no, ranges, n, attempt, error);
	return true;
}

int
rx_settle_expire(RxSubInfo *info, RxSub *sub)
{
	int			n = 0;

	while (n < 100 && expire_one(info, sub, "lease expired"))
		n++;
	return n;
}

/*
 * Whoever held the leases of this subscription is gone: all of them lapse now.
 * The pool is walked once; this is for a worker that starts.
 */
void
rx_release_all(int32 subscription, const char *error)
{
	RxSubInfo  *info = rx_sub_require(subscription);
	RxSub	   *sub = rx_sub_attach(info);
	int32		index = (int32) (sub - rx_shared->subs);

	LWLockAcquire(&sub->lock, LW_EXCLUSIVE);
	for (uint32 i = 0; i < rx_shared->n_leases; i++)
	{
		RxLease    *lease = &rx_shared->leases[i];

		if (lease->state == RX_LEASE_OUT && lease->sub == index && lease->pins == 0)
			rx_lease_out(sub, lease, 0);
	}
	LWLockRelease(&sub->lock);
	while (expire_one(info, sub, error))
		CHECK_FOR_INTERRUPTS();
}

/* ---- end of transaction ---- */

/* The subscription was dropped meanwhile: its last pin frees the lease. */
static void
end_orphaned_pin(Pin *p)
{
	if (p->lease)
	{
		RX_BIT_CLEAR(p->lease->pinned, p->bit);
		if (--p->lease->pins == 0)
		{
			p->lease->state = RX_LEASE_CLAIMED;
			rx_lease_free(p->lease);
		}
	}
	if (p->retry)
		rx_lease_free(p->retry);
}

static void
count_pin(const Pin *p)
{
	RxCounts   *counts = &p->sub->counts;

	if (p->failed)
		counts->failed++;
	if (p->dead)
		counts->dead++;
	if (p->lease && !p->failed && !p->dead)
		counts->acked++;
}

static void
end_pin(Pin *p, bool committed)
{
	if (p->sub->id != p->sub_id)
	{
		end_orphaned_pin(p);
		return;
	}
	if (committed)
		count_pin(p);
	if (p->lease)
		rx_lease_unpin(p->sub, p->lease, p->bit);
	if (p->lease && p->retry && committed)
		rx_order_replace(p->sub, p->lease, p->retry);
	if (p->lease && committed)
		rx_lease_clear(p->sub, p->lease, p->bit);
	if (p->retry && committed)
	{
		rx_lease_wait(p->sub, p->retry, p->due);
		rx_wait_wake(p->sub);	/* its timer may be the earliest now */
	}
	else if (p->retry)
		rx_lease_free(p->retry);
}

/* Ends the pins from the first-th on, newest first. */
static void
end_pins(int first, bool committed)
{
	RxSub	   *locked = NULL;

	while (n_pins > first)
	{
		Pin		   *p = &pins[--n_pins];

		if (p->sub != locked)
		{
			if (locked)
				LWLockRelease(&locked->lock);
			locked = p->sub;
			LWLockAcquire(&locked->lock, LW_EXCLUSIVE);
		}
		end_pin(p, committed);
	}
	if (locked)
		LWLockRelease(&locked->lock);
}

/* The receiving transaction is undone: nobody has seen these events. */
static void
give_back(const Received *r)
{
	RxLease    *lease = r->lease;

	LWLockAcquire(&r->sub->lock, LW_EXCLUSIVE);
	if (lease->counter == r->counter && lease->state == RX_LEASE_OUT)
	{
		if (lease->pins > 0)
			lease->due = 0;		/* another transaction settles some: lapses when that ends */
		else
		{
			lease->attempt--;
			rx_lease_return(r->sub, lease);
			rx_wait_wake(r->sub);
		}
	}
	LWLockRelease(&r->sub->lock);
}

/* Reading a window was broken off by an error. */
static void
abandon_claim(void)
{
	RxSub	   *sub = current.sub;

	current.sub = NULL;
	LWLockAcquire(&sub->lock, LW_EXCLUSIVE);
	if (sub->reader == RxMyProcNumber + 1)
		sub->reader = 0;
	if (current.lease == NULL)
		;
	else if (sub->id != current.sub_id)
		rx_lease_free(current.lease);
	else if (current.fresh)
	{
		rx_lease_claim_done(sub, current.window);
		rx_lease_free(current.lease);
	}
	else
	{
		current.lease->attempt = (int16) current.attempt;
		rx_lease_return(sub, current.lease);
	}
	LWLockRelease(&sub->lock);
}

static void
undo_from_level(int level)
{
	int			first = n_pins;

	while (first > 0 && pins[first - 1].level >= level)
		first--;
	if (current.sub && current.level >= level)
		abandon_claim();
	end_pins(first, false);
	while (n_received > 0 && received[n_received - 1].level >= level)
		give_back(&received[--n_received]);
}

/* What a savepoint did now belongs to its parent. */
static void
merge_level(int level)
{
	for (int i = n_pins; i > 0 && pins[i - 1].level >= level; i--)
		pins[i - 1].level = level - 1;
	for (int i = n_received; i > 0 && received[i - 1].level >= level; i--)
		received[i - 1].level = level - 1;
}

static void
end_transaction(bool committed)
{
	if (!committed)
		undo_from_level(0);
	end_pins(0, true);
	end_lazy(committed);
	n_received = 0;
}

const RxXactHooks rx_settle_hooks = {
	.at_end = end_transaction,
	.at_subabort = undo_from_level,
	.at_subcommit = merge_level,
};
