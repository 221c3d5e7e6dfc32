/*
 * duty.c
 *		What the sql worker does for the log: leases that lapse with nobody
 *		receiving, children of the logs made before they are needed, and the
 *		journal kept small.
 *
 * A receiver takes back lapsed leases himself; this duty sees to it that the
 * events of a consumer that is gone for good still reach the dead letters.
 */
#include "reflex.h"

#include "access/xact.h"
#include "event/event_int.h"
#include "pg/duty.h"
#include "utils/snapmgr.h"

#define UPKEEP (10 * RX_USECS_PER_SEC)
#define UPKEEP_SOON (RX_USECS_PER_SEC / 5)

static int64 next_upkeep;

static void
delivery_start(void)
{
	next_upkeep = 0;
}

/*
 * Not by the database's oid: what an extension that was dropped has left in
 * shared memory bears the same, and nobody could settle it any more.
 */
static bool
is_ours(const RxSub *sub, const RxDb *db)
{
	return sub->id != 0 && &rx_shared->dbs[sub->db] == db;
}

/* The earliest timer of this database's subscriptions. */
static int64
delivery_due(void)
{
	int64		due = next_upkeep;
	RxDb	   *db = rx_db_in_use();

	if (db && pg_atomic_read_u64(&db->wanted) != 0)
		return 0;
	for (int i = 0; i < RX_MAX_SUBS; i++)
	{
		RxSub	   *sub = &rx_shared->subs[i];

		if (!is_ours(sub, db))
			continue;
		LWLockAcquire(&sub->lock, LW_SHARED);
		if (sub->ready && !pairingheap_is_empty(&sub->timers))
		{
			RxLease    *lease = pairingheap_container(RxLease, timer, pairingheap_first(&sub->timers));

			/* A retry that is due waits for its consumer, not for us. */
			if (lease->state == RX_LEASE_OUT)
				due = Min(due, lease->due);
		}
		LWLockRelease(&sub->lock);
	}
	return due;
}

/*
 * The child in use and, from its middle on, the one after it.  An extension
 * that nobody has used yet gets none: a dump that is being restored into it
 * brings its own.
 */
static void
make_children(RxDb *db)
{
	uint64		wanted = pg_atomic_exchange_u64(&db->wanted, 0);

	if (wanted == 0 && rx_log_next(RX_LOG_EVENT) <= 1 && rx_log_next(RX_LOG_EFFECT) <= 1)
		return;
	if (wanted >> 32 == RX_CHILD_DELAYED)
		rx_delayed_make_child((uint32) wanted);
	rx_dedupe_make_children(db);
	rx_journal_ensure_child(db);
	for (int log = 0; log < RX_N_LOGS; log++)
	{
		int64		next = rx_log_next(log);

		rx_log_ensure_child(log, RX_CHILD_OF(next));
		rx_log_ensure_child(log, RX_CHILD_OF(next + RX_CHILD_START(1) / 2));
	}
}

/* What nobody needs any more, one child after the other, each in a transaction of its own. */
static void
drop_old(bool (*drop) (void))
{
	bool		dropped;

	do
	{
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		dropped = drop();
		PopActiveSnapshot();
		CommitTransactionCommand();
	} while (dropped);
}

static void
expire_all(RxDb *db)
{
	for (int i = 0; i < RX_MAX_SUBS; i++)
	{
		RxSub	   *sub = &rx_shared->subs[i];
		RxSubInfo  *info;

		if (!is_ours(sub, db))
			continue;
		info = rx_sub_by_id(sub->id);
		if (info && rx_sub_attach(info) == sub)
			rx_settle_expire(info, sub);
	}
}

static bool
delivery_step(void)
{
	int64		now = rx_clock_mono();
	bool		upkeep;
	RxDb	   *db;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	db = rx_db();
	upkeep = now >= next_upkeep || pg_atomic_read_u64(&db->wanted) != 0;
	if (upkeep)
	{
		make_children(db);
		rx_retain_move_on();
	}
	expire_all(db);
	PopActiveSnapshot();
	CommitTransactionCommand();
	if (!upkeep)
		return false;
	drop_old(rx_retain_drop_old);
	drop_old(rx_dedupe_drop_old);
	drop_old(rx_delayed_drop_old);
	next_upkeep = now + (rx_journal_compact() ? UPKEEP_SOON : UPKEEP);
	return false;
}

const RxDuty rx_delivery_duty = {
	.name = "delivery",
	.kind = RX_WORKER_SQL,
	.start = delivery_start,
	.next_due = delivery_due,
	.step = delivery_step,
};
