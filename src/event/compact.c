/*
 * compact.c
 *		Generations of the journal: a new one begins, the old one is dropped.
 *
 *	1.	The current generation has grown: make the next, commit, and have
 *		everybody write to it from now on.
 *	2.	When nobody writes to the old one any more (its lock is free): for each
 *		subscription write down in the new one what is open, copy the failures
 *		of what is open, drop the old one; one transaction.
 *
 * The lock is only ever tried for: who settles never waits for this.  The
 * state written down is that of shared memory, where all transactions that
 * wrote to the old generation have taken effect, because they gave up their
 * lock on it later than that.  A subscription that is just being read from has
 * positions in nobody's list; then step 2 is tried again a moment later.
 *
 * Who rebuilds a subscription locks the parent first, and so reads either all
 * of the old generation or none of it.
 */
#include "reflex.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "event/event_int.h"
#include "miscadmin.h"
#include "pg/spi.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

static bool
has_grown(RxDb *db, uint32 generation)
{
	Oid			oid = rx_journal_child(generation);
	Relation	rel = OidIsValid(oid) ? try_relation_open(oid, AccessShareLock) : NULL;
	bool		grown;

	if (rel == NULL)
		return false;
	grown = RelationGetNumberOfBlocks(rel) >= rx_shared->compact_blocks;
	relation_close(rel, AccessShareLock);
	return grown;
}

/* ---- what is open ---- */

typedef struct OpenSet
{
	RxRange    *ranges;
	int			n;
	int			room;
} OpenSet;

static void
add_range(OpenSet *set, RxRange range)
{
	if (set->n > 0 && set->ranges[set->n - 1].hi == range.lo)
		set->ranges[set->n - 1].hi = range.hi;
	else if (set->n < set->room)
		set->ranges[set->n++] = range;
	else
		set->n = set->room + 1; /* too many: the caller makes room and comes again */
}

static void
add_lease(OpenSet *set, const RxLease *lease)
{
	for (int bit = 0; bit < lease->width && set->n <= set->room; bit++)
		if (RX_BIT_TEST(lease->out, bit))
			add_range(set, (RxRange) {lease->lo + bit, lease->lo + bit + 1});
}

/* Under the subscription's lock.  A retry not yet committed is a lease, too. */
static void
collect_open(RxSub *sub, OpenSet *set)
{
	int32		index = (int32) (sub - rx_shared->subs);

	set->n = 0;
	for (int i = 0; i < sub->n_pending && set->n <= set->room; i++)
		add_range(set, sub->pending[i]);
	for (int i = 0; i < sub->n_holes && set->n <= set->room; i++)
		add_range(set, sub->holes[i]);
	for (uint32 i = 0; i < rx_shared->n_leases && set->n <= set->room; i++)
	{
		RxLease    *lease = &rx_shared->leases[i];

		if (lease->state != RX_LEASE_FREE && lease->sub == index)
			add_lease(set, lease);
	}
}

/* False when somebody is reading from the subscription at this moment. */
static bool
snapshot_sub(RxSub *sub, OpenSet *set, int64 *cursor, int64 *no)
{
	set->room = 1024;
	set->ranges = palloc(set->room * sizeof(RxRange));
	for (;;)
	{
		bool		busy;

		LWLockAcquire(&sub->lock, LW_EXCLUSIVE);
		busy = sub->n_claims > 0;
		if (!busy)
			collect_open(sub, set);
		*cursor = sub->cursor;
		*no = sub->next_no++;
		LWLockRelease(&sub->lock);
		if (busy)
			return false;
		if (set->n <= set->room)
			break;
		set->room *= 4;
		set->ranges = repalloc_huge(set->ranges, set->room * sizeof(RxRange));
	}
	set->n = rx_ranges_join(set->ranges, set->n);
	return true;
}

/* ---- writing it down ---- */

static bool
write_checkpoint(RxSub *sub, uint32 old, uint32 current)
{
	Oid			types[4] = {INT4OID, INT8OID, INT8OID, INT8ARRAYOID};
	Datum		values[4];
	OpenSet		set;
	int64		cursor;
	int64		no;
	RxSpi		spi;

	if (!snapshot_sub(sub, &set, &cursor, &no))
		return false;
	values[0] = Int32GetDatum(sub->id);
	values[1] = Int64GetDatum(no);
	values[2] = Int64GetDatum(cursor);
	values[3] = rx_journal_ranges(set.ranges, set.n);
	rx_spi_open(&spi);
	rx_spi_exec(psprintf("INSERT INTO reflex_internal.delivery_%u (generation, subscription, no, kind, at, seq, ranges)"
						 " VALUES (%u, $1, $2, 'c', pg_catalog.now(), $3, $4)", current, current),
				4, types, values, NULL, SPI_OK_INSERT);
	/* $2 and $3 are used so that all parameters have a type. */
	rx_spi_exec(psprintf("INSERT INTO reflex_internal.delivery_%u"
						 " SELECT %u, d.subscription, d.no, d.kind, d.at, d.ranges, d.seq, d.attempt, d.due, d.error"
						 " FROM reflex_internal.delivery_%u d WHERE d.subscription = $1 AND d.kind IN ('f', 'e', 'r')"
						 " AND d.no < $2 AND $3 IS NOT NULL"
						 " AND EXISTS (SELECT FROM pg_catalog.generate_series(1, pg_catalog.cardinality($4), 2) i"
						 "  WHERE CASE WHEN d.kind = 'e'"
						 "   THEN EXISTS (SELECT FROM pg_catalog.generate_series(1, pg_catalog.cardinality(d.ranges), 2) j"
						 "    WHERE d.ranges[j] < $4[i + 1] AND d.ranges[j + 1] > $4[i])"
						 "   ELSE d.seq >= $4[i] AND d.seq < $4[i + 1] END)",
						 current, current, old),
				4, types, values, NULL, SPI_OK_INSERT);
	rx_spi_close(&spi);
	return true;
}

static bool
checkpoint_all(uint32 old, uint32 current)
{
	List	   *ids = rx_sub_ids();
	ListCell   *cell;

	foreach(cell, ids)
	{
		RxSubInfo  *info = rx_sub_by_id(lfirst_int(cell));

		if (info && !write_checkpoint(rx_sub_attach(info), old, current))
			return false;
	}
	return true;
}

static void
begin(void)
{
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
finish(bool commit)
{
	PopActiveSnapshot();
	if (commit)
		CommitTransactionCommand();
	else
		AbortCurrentTransaction();
}

/*
 * One step, in transactions of its own; for the worker, outside of one.
 * Returns whether there is an old generation that could not be dropped yet.
 */
bool
rx_journal_compact(void)
{
	RxDb	   *db;
	uint32		current;
	int64		old;
	char	   *child;
	bool		done;

	begin();
	db = rx_db();
	current = rx_journal_generation(db);
	old = rx_child_number("delivery", false);
	if (old < 0 || (old == current && !has_grown(db, current)))
	{
		finish(true);
		return false;
	}
	if (old == current)
	{
		rx_journal_make(current + 1);
		finish(true);
		pg_atomic_write_u32(&db->generation, current + 1);
		return true;
	}
	child = psprintf("delivery_" INT64_FORMAT, old);
	done = rx_child_lock("delivery", child) && checkpoint_all((uint32) old, current);
	if (done)
		rx_child_drop(child);
	finish(done);
	return !done;
}

/*
 * test_compact_at(blocks int) - how large a generation may grow; for tests.
 * Not declared by the extension.
 */
REFLEX_FUNCTION(reflex_test_compact_at)
{
	rx_shared->compact_blocks = (uint32) PG_GETARG_INT32(0);
	PG_RETURN_VOID();
}
