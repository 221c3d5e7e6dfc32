/*
 * dedupe.c
 *		Dedupe keys: the second publish with the same key adds nothing.
 *
 * Keys lie in children of reflex_internal.dedupe, one a day: dedupe_20420,
 * numbered by days since the Unix epoch.  Publishing looks for the key in the
 * children that reflex.dedupe_window reaches back to, and adds it to today's.
 * An old child is dropped whole.
 *
 * Two who publish the same key at once take turns (session.c), across the
 * change of days as well: the second one waits until the first has ended, and
 * finds his row or adds its own.  Looking up sees what this transaction has
 * added itself.
 */
#include "reflex.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/relation.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_namespace.h"
#include "event/event_int.h"
#include "miscadmin.h"
#include "pg/compat.h"
#include "pg/guc.h"
#include "pg/spi.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

enum							/* columns of the table, from 0 */
{
	COL_DAY, COL_LOG, COL_KEY, COL_AT, COL_ID, N_COLS
};

static int64
day_of(TimestampTz at)
{
	return (at + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY) / USECS_PER_DAY;
}

static char *
child_name(int64 day)
{
	return psprintf("dedupe_" INT64_FORMAT, day);
}

static void
make_child(int64 day)
{
	const char *name = child_name(day);

	(void) rx_child_make(name, psprintf("CREATE TABLE reflex_internal.%s (LIKE reflex_internal.dedupe);"
										"CREATE INDEX %s_key ON reflex_internal.%s (key);"
										"ALTER TABLE reflex_internal.dedupe ATTACH PARTITION reflex_internal.%s"
										" FOR VALUES IN (" INT64_FORMAT ")", name, name, name, name, day));
}

/* ---- looking up ---- */

/* Is this the row of that key and log, and young enough? */
static bool
take_row(TupleTableSlot *slot, RxLogId log, TimestampTz since, pg_uuid_t *id)
{
	bool		isnull;

	if (DatumGetInt16(slot_getattr(slot, COL_LOG + 1, &isnull)) != (int16) log ||
		DatumGetTimestampTz(slot_getattr(slot, COL_AT + 1, &isnull)) < since)
		return false;
	*id = *DatumGetUUIDP(slot_getattr(slot, COL_ID + 1, &isnull));
	return true;
}

static bool
find_in(Relation rel, text *key, RxLogId log, TimestampTz since, pg_uuid_t *id)
{
	List	   *indexes = RelationGetIndexList(rel);
	Relation	index = index_open(linitial_oid(indexes), AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	ScanKeyData scankey;
	IndexScanDesc scan;
	bool		found = false;

	ScanKeyEntryInitialize(&scankey, 0, 1, BTEqualStrategyNumber, InvalidOid,
						   rel->rd_att->attrs[COL_KEY].attcollation, F_TEXTEQ, PointerGetDatum(key));
	scan = rx_index_beginscan(rel, index, SnapshotSelf, 1);
	index_rescan(scan, &scankey, 1, NULL, 0);
	while (!found && index_getnext_slot(scan, ForwardScanDirection, slot))
		found = take_row(slot, log, since, id);
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	list_free(indexes);
	return found;
}

static bool
find(text *key, RxLogId log, TimestampTz now, pg_uuid_t *id)
{
	TimestampTz since = now - (TimestampTz) rx_guc_dedupe_window * USECS_PER_SEC;

	for (int64 day = day_of(now); day >= day_of(since); day--)
	{
		Oid			oid = rx_child_oid(child_name(day));
		Relation	rel = OidIsValid(oid) ? try_relation_open(oid, AccessShareLock) : NULL;
		bool		found;

		if (rel == NULL)
			continue;
		found = find_in(rel, key, log, since, id);
		relation_close(rel, AccessShareLock);
		if (found)
			return true;
	}
	return false;
}

/* ---- adding ---- */

static Relation
open_for_adding(int64 day)
{
	const char *name = child_name(day);

	if (!OidIsValid(rx_child_oid(name)))
	{
		rx_db()->dedupe_used = true;
		if (!rx_child_made_by_worker(name, RX_CHILD_DEDUPE, 0))
			make_child(day);
	}
	return relation_open(rx_child_oid(name), RowExclusiveLock);
}

static void
add(text *key, RxLogId log, TimestampTz now, const pg_uuid_t *id)
{
	int64		day = day_of(now);
	Relation	rel = open_for_adding(day);
	Datum		values[N_COLS];
	bool		isnull[N_COLS] = {false};
	HeapTuple	tuple;

	values[COL_DAY] = Int32GetDatum((int32) day);
	values[COL_LOG] = Int16GetDatum((int16) log);
	values[COL_KEY] = PointerGetDatum(key);
	values[COL_AT] = TimestampTzGetDatum(now);
	values[COL_ID] = UUIDPGetDatum(id);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, isnull);
	heap_insert(rel, tuple, GetCurrentCommandId(true), 0, NULL);
	rx_log_index_row(rel, tuple, values, isnull);
	heap_freetuple(tuple);
	relation_close(rel, NoLock);
}

/*
 * Appends unless the key was used within the window; *id is the entry's either
 * way.  append and arg: how it is done.
 */
void
rx_dedupe_append(RxLogId log, const char *key, RxAppend append, const RxEntry *entry, void *arg, pg_uuid_t *id)
{
	text	   *key_text = cstring_to_text(key);
	TimestampTz now;

	PreventCommandIfReadOnly("publishing");
	(void) rx_turn_take(RX_TURN_DEDUPE, log, key);
	AcceptInvalidationMessages();	/* today's child may have come while we waited */
	now = GetCurrentTimestamp() + rx_clock_offset();
	if (find(key_text, log, now, id))
		return;
	append(log, entry, arg, id);
	add(key_text, log, now, id);
}

/* ---- for the worker ---- */

/* Today's child and tomorrow's, where keys are used at all. */
void
rx_dedupe_make_children(RxDb *db)
{
	int64		today = day_of(GetCurrentTimestamp() + rx_clock_offset());

	if (!db->dedupe_used && !OidIsValid(rx_child_oid(child_name(today))))
		return;
	make_child(today);
	make_child(today + 1);
}

/* The first child that no window reaches any more, if nobody is reading there. */
bool
rx_dedupe_drop_old(void)
{
	TimestampTz now = GetCurrentTimestamp() + rx_clock_offset();
	int64		keep = day_of(now - (TimestampTz) rx_guc_dedupe_window * USECS_PER_SEC);
	int64		old = rx_child_number("dedupe", false);
	char	   *name = child_name(old);

	if (old < 0 || old >= keep || !rx_child_lock("dedupe", name))
		return false;
	rx_child_drop(name);
	return true;
}
