/*
 * positions.c
 *		Who gets which position, and what readers may not touch yet.
 *
 * A position is handed out from shared memory in one step with registering
 * that this transaction holds it, and is let go when the transaction has ended
 * and its outcome is visible.  A reader takes the view first (what has been
 * handed out, what is held of it) and a snapshot after: whatever is below
 * view.next and not held is either visible to that snapshot or will never be.
 *
 * A transaction takes ranges of 1, 2, 4, ... positions, so that one event
 * wastes nothing and a million need few ranges.  All positions of a range bear
 * the time at which it was handed out, so that time never goes back along the
 * log.  A transaction that has used up its RX_MAX_HOLD ranges holds everything
 * from there on: readers wait for it, nobody fails.
 *
 * The counter is reserved on disk in blocks of RX_BLOCK by a sequence, whose
 * WAL is flushed before the block is used: after a crash or a promotion the
 * next block starts above everything that was ever handed out, even if the
 * commit that used it was lost.
 */
#include "reflex.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "commands/sequence.h"
#include "event/event_int.h"
#include "miscadmin.h"
#include "pg/compat.h"
#include "pg/guc.h"
#include "pg/spi.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#define MAX_RANGE 4096

/* What is left of the range that this transaction took last. */
typedef struct Mine
{
	RxDb	   *db;				/* NULL: nothing taken in this transaction */
	int64		next;
	int64		hi;
	int64		size;			/* of the range to take next */
	TimestampTz created_at;
	int			node;
} Mine;

static Mine mine[RX_N_LOGS];
static bool late;				/* let go after the locks: see rx_position_release_late */

/*
 * The end of what has been inserted into WAL.  The server tells where the next
 * record will begin, which at the start of a page is behind a header that is
 * not written yet, and can't be flushed.
 */
static XLogRecPtr
end_of_wal(void)
{
	XLogRecPtr	next = GetXLogInsertRecPtr();

	if (XLogSegmentOffset(next, wal_segment_size) == SizeOfXLogLongPHD)
		return next - SizeOfXLogLongPHD;
	if (next % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		return next - SizeOfXLogShortPHD;
	return next;
}

/* Reserves one more block on disk; returns its first position. */
static int64
reserve_block(RxLogId log)
{
	char		name[NAMEDATALEN];
	Oid			sequence;
	int64		start;

	snprintf(name, sizeof(name), "%s_position", rx_log_name(log));
	sequence = get_relname_relid(name, rx_internal_namespace());
	if (!OidIsValid(sequence))
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_OBJECT),
				errmsg("sequence \"%s.%s\" does not exist", RX_INTERNAL_SCHEMA, name));
	start = nextval_internal(sequence, false);
	XLogFlush(end_of_wal());
	return start;
}

/*
 * A block that came back after a later one was put to use is given up.  A log
 * that was empty as far as we knew, and whose first block is not the first,
 * has been filled by a restore.
 */
static void
install_block(RxDb *db, RxLogId log, int64 start)
{
	RxCounter  *counter = &db->counter[log];
	bool		restored;

	LWLockAcquire(&db->lock, LW_EXCLUSIVE);
	restored = counter->next <= 1 && start > 1;
	if (start == counter->limit)
		counter->limit += RX_BLOCK;
	else if (start > counter->limit && counter->next >= counter->limit)
	{
		counter->next = start;
		counter->limit = start + RX_BLOCK;
	}
	LWLockRelease(&db->lock);
	if (restored)
		rx_db_resync(db);
}

/* Adds [lo, hi) to what this process holds; under db->lock. */
static void
register_hold(RxDb *db, RxLogId log, int64 lo, int64 hi)
{
	pg_atomic_uint32 *count = rx_hold_count(log, RxMyProcNumber);
	RxHold	   *hold = rx_hold(log, RxMyProcNumber);
	uint32		tag = ((uint32) rx_db_index(db) + 1) << 16;
	uint32		n = pg_atomic_read_u32(count) & 0xFFFF;

	if (n == 0)
		hold->open_from = 0;
	if (n > 0 && hold->range[n - 1].hi == lo)
		hold->range[n - 1].hi = hi;
	else if (n < RX_MAX_HOLD)
	{
		hold->range[n].lo = lo;
		hold->range[n].hi = hi;
		n++;
	}
	else if (hold->open_from == 0)
		hold->open_from = lo;
	pg_atomic_write_u32(count, tag | n);
}

/* Takes up to m->size positions; false when the block is used up. */
static bool
take_range(RxDb *db, RxLogId log, Mine *m)
{
	RxCounter  *counter = &db->counter[log];
	TimestampTz now = GetCurrentTimestamp();
	bool		taken = false;

	LWLockAcquire(&db->lock, LW_EXCLUSIVE);
	if (counter->next < counter->limit)
	{
		m->next = counter->next;
		m->hi = Min(counter->next + m->size, counter->limit);
		counter->next = m->hi;
		counter->last_created = Max(counter->last_created, now);
		m->created_at = counter->last_created;
		m->node = rx_guc_node_id;
		register_hold(db, log, m->next, m->hi);
		taken = true;
	}
	LWLockRelease(&db->lock);
	return taken;
}

/*
 * The session whose turn this transaction has just taken may have got later
 * positions from others than what is left here: leave the rest unused, unless
 * nobody has taken any since.
 */
static void
drop_stale(RxDb *db, RxLogId log, Mine *m)
{
	LWLockAcquire(&db->lock, LW_SHARED);
	if (db->counter[log].next != m->hi)
		m->next = m->hi;
	LWLockRelease(&db->lock);
}

int64
rx_position_next(RxLogId log, bool fresh, TimestampTz *created_at, int *node)
{
	RxDb	   *db = rx_db();
	Mine	   *m = &mine[log];

	if (m->db == NULL)
	{
		m->db = db;
		m->next = m->hi = 0;
		m->size = 1;
	}
	if (fresh && m->next < m->hi)
		drop_stale(db, log, m);
	if (m->next == m->hi)
	{
		while (!take_range(db, log, m))
			install_block(db, log, reserve_block(log));
		m->size = Min(m->size * 2, MAX_RANGE);
	}
	*created_at = m->created_at;
	*node = m->node;
	return m->next++;
}

bool
rx_position_mine(void)
{
	for (int log = 0; log < RX_N_LOGS; log++)
		if (mine[log].db)
			return true;
	return false;
}

/*
 * Who reads this log?  The waiting receivers, and a worker of ours: for events
 * only if there is a rule.  That is asked here and not when the event was
 * published, because a rule that was made since wants what commits after it.
 */
static void
wake_readers(RxDb *db, RxLogId log)
{
	rx_wait_wake_log(db, log);
	if (log == RX_LOG_EFFECT)
		rx_wakeup_workers(MyDatabaseId, RX_WORKER_IO);
	else if (pg_atomic_read_u32(&db->quiet) == 0)
		rx_wakeup_workers(MyDatabaseId, RX_WORKER_SQL);
}

static void
release(bool committed)
{
	for (int log = 0; log < RX_N_LOGS; log++)
	{
		if (mine[log].db == NULL)
			continue;
		pg_memory_barrier();
		pg_atomic_write_u32(rx_hold_count(log, RxMyProcNumber), 0);
		if (committed)
			wake_readers(mine[log].db, log);
		mine[log].db = NULL;
	}
}

/* After visibility, at commit and abort; no lock, nothing that can fail. */
void
rx_position_release(bool committed)
{
	if (committed && late)
		return;
	late = false;
	release(committed);
}

/*
 * This transaction has made the child that its positions lie in.  Others learn
 * that the child exists from messages that are sent a little after a commit has
 * become visible: so this one lets its positions go later than that.
 */
void
rx_position_release_late(void)
{
	late = true;
}

static void
after_locks(ResourceReleasePhase phase, bool commit, bool top, void *arg)
{
	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !top || !late)
		return;
	late = false;
	release(commit);
}

void
rx_position_init(void)
{
	RegisterResourceReleaseCallback(after_locks, NULL);
}

/* ---- the view ---- */

static int
compare_ranges(const void *a, const void *b)
{
	int64		x = ((const RxRange *) a)->lo;
	int64		y = ((const RxRange *) b)->lo;

	return (x > y) - (x < y);
}

/* Copies what is held; returns how much there is, also when it did not fit. */
static int
collect_held(RxDb *db, RxLogId log, RxView *view, int room)
{
	uint32		tag = (uint32) rx_db_index(db) + 1;
	int			n = 0;

	LWLockAcquire(&db->lock, LW_SHARED);
	view->next = db->counter[log].next;
	for (int proc = 0; proc < RxTotalProcs; proc++)
	{
		uint32		count = pg_atomic_read_u32(rx_hold_count(log, proc));
		RxHold	   *hold = rx_hold(log, proc);

		if (count >> 16 != tag)
			continue;
		if (hold->open_from != 0)
			view->next = Min(view->next, hold->open_from);
		for (uint32 i = 0; i < (count & 0xFFFF); i++, n++)
			if (n < room)
				view->held[n] = hold->range[i];
	}
	LWLockRelease(&db->lock);
	return n;
}

void
rx_position_view(RxDb *db, RxLogId log, RxView *view)
{
	int			room = 64;

	view->held = palloc(room * sizeof(RxRange));
	while ((view->n = collect_held(db, log, view, room)) > room)
	{
		room = view->n + 64;
		view->held = repalloc(view->held, room * sizeof(RxRange));
	}
	qsort(view->held, view->n, sizeof(RxRange), compare_ranges);
}

/* Are all of these ranges still held by somebody?  Takes db->lock. */
bool
rx_position_held_all(const RxDb *db, RxLogId log, const RxRange *ranges, int n)
{
	uint32		tag = (uint32) rx_db_index(db) + 1;
	int			held = 0;

	LWLockAcquire((LWLock *) &db->lock, LW_SHARED);
	for (int proc = 0; proc < RxTotalProcs; proc++)
	{
		uint32		count = pg_atomic_read_u32(rx_hold_count(log, proc));
		RxHold	   *hold = rx_hold(log, proc);

		if (count >> 16 != tag)
			continue;
		for (int r = 0; r < n; r++)
			for (uint32 i = 0; i < (count & 0xFFFF); i++)
				if (hold->range[i].lo <= ranges[r].lo && hold->range[i].hi >= ranges[r].hi)
					held++;
	}
	LWLockRelease((LWLock *) &db->lock);
	return held == n;
}
