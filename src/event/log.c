/*
 * log.c
 *		The two logs: appending an entry, reading a range, making children.
 *
 * A log is a partitioned parent without indexes and children of 2^22 positions
 * each, event_0, event_1, ...  Appending and reading touch the child alone,
 * and directly: a heap insert with its index entries, an index range scan; no
 * SQL.  The sql worker makes the next child long before it is needed.  A
 * publisher who finds it missing asks the worker for it (children.c); only if
 * none answers he makes it himself, and others who need it then wait for the
 * end of his transaction.
 *
 * An entry is never updated.
 */
#include "reflex.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/uuid7.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_index.h"
#include "catalog/pg_namespace.h"
#include "commands/tablecmds.h"
#include "event/event_int.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/makefuncs.h"
#include "pg/compat.h"
#include "pg/spi.h"
#include "pg/wakeup.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

static const char *const log_names[RX_N_LOGS] = {"event", "effect"};
static const RxIdKind log_id_kinds[RX_N_LOGS] = {RX_ID_EVENT, RX_ID_EFFECT};

/* Seconds from the Unix epoch to PostgreSQL's, as milliseconds. */
#define EPOCH_DIFF_MS ((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * INT64CONST(86400000))

const char *
rx_log_name(RxLogId log)
{
	return log_names[log];
}

RxIdKind
rx_log_id_kind(RxLogId log)
{
	return log_id_kinds[log];
}

void
rx_id_make(pg_uuid_t *id, RxIdKind kind, int node, int64 seq, TimestampTz at)
{
	rx_uuid7_make(id->data, at / 1000 + EPOCH_DIFF_MS, kind, (unsigned) node, seq);
}

bool
rx_id_parse(const pg_uuid_t *id, RxIdKind *kind, int *node, int64 *seq)
{
	int64_t		ms,
				position;
	unsigned	k,
				n;

	if (!rx_uuid7_parse(id->data, &ms, &k, &n, &position))
		return false;
	*kind = (RxIdKind) k;
	*node = (int) n;
	*seq = position;
	return true;
}

int64
rx_log_next(RxLogId log)
{
	RxDb	   *db = rx_db();
	int64		next;

	LWLockAcquire(&db->lock, LW_SHARED);
	next = db->counter[log].next;
	LWLockRelease(&db->lock);
	return next;
}

/* ---- children ---- */

static char *
child_name(RxLogId log, int64 child)
{
	return psprintf("%s_" INT64_FORMAT, log_names[log], child);
}

static Oid
child_oid(RxLogId log, int64 child)
{
	char		name[NAMEDATALEN];

	snprintf(name, sizeof(name), "%s_" INT64_FORMAT, log_names[log], child);
	return rx_child_oid(name);
}

void
rx_log_ensure_child(RxLogId log, int64 child)
{
	const char *name = child_name(log, child);
	char	   *sql;

	sql = psprintf("CREATE TABLE reflex_internal.%s (LIKE reflex_internal.%s);"
				   "CREATE UNIQUE INDEX %s_seq ON reflex_internal.%s (seq);"
				   "CREATE INDEX %s_session ON reflex_internal.%s (session, seq) WHERE session IS NOT NULL;"
				   "ALTER TABLE reflex_internal.%s ATTACH PARTITION reflex_internal.%s"
				   " FOR VALUES FROM (" INT64_FORMAT ") TO (" INT64_FORMAT ")",
				   name, log_names[log], name, name, name, name, log_names[log], name,
				   RX_CHILD_START(child), RX_CHILD_START(child + 1));
	if (rx_child_make(name, sql))
		rx_position_release_late();
}

/*
 * Opens a child; NULL when there is none (never made, or dropped meanwhile).
 * What the caches of this backend say may be older than the positions that the
 * caller knows of: before he takes the child for missing, and its events for
 * never published, they are brought up to date.
 */
static Relation
open_child(RxLogId log, int64 child, LOCKMODE lockmode)
{
	Oid			oid = child_oid(log, child);

	if (!OidIsValid(oid))
	{
		AcceptInvalidationMessages();
		oid = child_oid(log, child);
	}
	return OidIsValid(oid) ? try_relation_open(oid, lockmode) : NULL;
}

static Relation
open_child_for_append(RxLogId log, int64 child)
{
	Relation	rel = open_child(log, child, RowExclusiveLock);

	if (rel == NULL)
	{
		if (!rx_child_made_by_worker(child_name(log, child), RX_CHILD_CURRENT, 0))
			rx_log_ensure_child(log, child);
		rel = open_child(log, child, RowExclusiveLock);
	}
	if (rel == NULL)
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_TABLE),
				errmsg("table \"%s.%s_" INT64_FORMAT "\" does not exist",
					   RX_INTERNAL_SCHEMA, log_names[log], child));
	return rel;
}

/* ---- appending ---- */

/*
 * Enters one row into one index.  Ours have one or two plain columns, so the
 * IndexInfo says no more than the access method looks at.
 */
static void
insert_index_entry(Relation rel, Relation index, HeapTuple tuple, Datum *values, bool *isnull)
{
	int			natts = index->rd_index->indnatts;
	IndexInfo	info = {.type = T_IndexInfo,
		.ii_NumIndexAttrs = natts,
		.ii_NumIndexKeyAttrs = index->rd_index->indnkeyatts,
		.ii_Unique = index->rd_index->indisunique,
		.ii_ReadyForInserts = true,
		.ii_Am = index->rd_rel->relam,
	.ii_Context = CurrentMemoryContext};
	Datum		keys[2];
	bool		nulls[2] = {false, false};

	Assert(natts <= 2);
	for (int i = 0; i < natts; i++)
	{
		int			column = index->rd_index->indkey.values[i] - 1;

		keys[i] = values[column];
		nulls[i] = isnull[column];
	}
	index_insert(index, keys, nulls, &tuple->t_self, rel,
				 info.ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, &info);
}

/* A partial index is one on session: it has the rows that have one. */
static bool
wants_row(Relation index, bool *isnull)
{
	return heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL) ||
		!isnull[RX_COL_SESSION];
}

/* Enters a row that was inserted into the indexes of its table. */
void
rx_log_index_row(Relation rel, HeapTuple tuple, Datum *values, bool *isnull)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), RowExclusiveLock);

		if (wants_row(index, isnull))
			insert_index_entry(rel, index, tuple, values, isnull);
		index_close(index, NoLock);
	}
	list_free(indexes);
}

static void
insert_row(Relation rel, Datum *values, bool *isnull)
{
	HeapTuple	tuple = heap_form_tuple(RelationGetDescr(rel), values, isnull);

	heap_insert(rel, tuple, GetCurrentCommandId(true), 0, NULL);
	rx_log_index_row(rel, tuple, values, isnull);
	heap_freetuple(tuple);
}

static Datum
text_or_null(const char *value, bool *isnull)
{
	*isnull = value == NULL;
	return value ? CStringGetTextDatum(value) : (Datum) 0;
}

int64
rx_log_append(RxLogId log, const RxEntry *entry, pg_uuid_t *id)
{
	Datum		values[RX_N_COLS];
	bool		isnull[RX_N_COLS] = {false};
	TimestampTz created_at;
	int			node;
	int64		seq;
	Relation	rel;
	bool		fresh;

	PreventCommandIfReadOnly("publishing");
	fresh = entry->session && rx_turn_take(RX_TURN_SESSION, log, entry->session);
	seq = rx_position_next(log, fresh, &created_at, &node);
	values[RX_COL_SEQ] = Int64GetDatum(seq);
	values[RX_COL_CREATED_AT] = TimestampTzGetDatum(created_at);
	values[RX_COL_NODE] = Int16GetDatum(node);
	values[RX_COL_TYPE] = CStringGetTextDatum(entry->type);
	values[RX_COL_SOURCE] = text_or_null(entry->source, &isnull[RX_COL_SOURCE]);
	values[RX_COL_SESSION] = text_or_null(entry->session, &isnull[RX_COL_SESSION]);
	values[RX_COL_ROLE] = CStringGetTextDatum(entry->role ? entry->role : GetUserNameFromId(GetOuterUserId(), false));
	values[RX_COL_PAYLOAD] = JsonbPGetDatum(entry->payload);
	isnull[RX_COL_META] = entry->meta == NULL;
	values[RX_COL_META] = entry->meta ? JsonbPGetDatum(entry->meta) : (Datum) 0;

	rel = open_child_for_append(log, RX_CHILD_OF(seq));
	insert_row(rel, values, isnull);
	relation_close(rel, NoLock);

	rx_id_make(id, log_id_kinds[log], node, seq, created_at);
	rx_stats_published(log);
	return seq;
}

/* ---- reading ---- */

/* The index on seq is the unique one. */
static Relation
open_seq_index(Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);
	Relation	found = NULL;

	for (int i = 0; i < list_length(indexes) && found == NULL; i++)
	{
		Relation	index = index_open(list_nth_oid(indexes, i), AccessShareLock);

		if (index->rd_index->indisunique)
			found = index;
		else
			index_close(index, AccessShareLock);
	}
	list_free(indexes);
	if (found == NULL)
		elog(ERROR, "table \"%s\" has no unique index", RelationGetRelationName(rel));
	return found;
}

/* Rows of one child in order; stops when the callback returns false. */
static bool
scan_child(Relation rel, RxRange range, Snapshot snapshot,
		   bool (*row) (Datum *values, bool *isnull, void *arg), void *arg)
{
	Relation	index = open_seq_index(rel);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	ScanKeyData keys[2];
	IndexScanDesc scan;
	bool		go_on = true;

	ScanKeyInit(&keys[0], 1, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(range.lo));
	ScanKeyInit(&keys[1], 1, BTLessStrategyNumber, F_INT8LT, Int64GetDatum(range.hi));
	scan = rx_index_beginscan(rel, index, snapshot, 2);
	index_rescan(scan, keys, 2, NULL, 0);
	while (go_on && index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		slot_getallattrs(slot);
		go_on = row(slot->tts_values, slot->tts_isnull, arg);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	return go_on;
}

/*
 * Calls row() for each visible entry in the range, in order of position, until
 * it returns false; returns whether the range was read to its end.
 */
bool
rx_log_scan(RxLogId log, RxRange range, Snapshot snapshot,
			bool (*row) (Datum *values, bool *isnull, void *arg), void *arg)
{
	while (range.lo < range.hi)
	{
		int64		child = RX_CHILD_OF(range.lo);
		RxRange		part = {range.lo, Min(range.hi, RX_CHILD_START(child + 1))};
		Relation	rel = open_child(log, child, AccessShareLock);

		range.lo = part.hi;
		if (rel == NULL)
			continue;
		if (!scan_child(rel, part, snapshot, row, arg))
		{
			relation_close(rel, AccessShareLock);
			return false;
		}
		relation_close(rel, AccessShareLock);
	}
	return true;
}

static text *
copy_text(Datum value, bool isnull)
{
	return isnull ? NULL : DatumGetTextPCopy(value);
}

/* Fills a record with copies in the current memory context. */
void
rx_log_record(RxLogId log, Datum *values, bool *isnull, RxRecord *record)
{
	record->seq = DatumGetInt64(values[RX_COL_SEQ]);
	record->created_at = DatumGetTimestampTz(values[RX_COL_CREATED_AT]);
	record->type = copy_text(values[RX_COL_TYPE], false);
	record->source = copy_text(values[RX_COL_SOURCE], isnull[RX_COL_SOURCE]);
	record->session = copy_text(values[RX_COL_SESSION], isnull[RX_COL_SESSION]);
	record->role = copy_text(values[RX_COL_ROLE], false);
	record->payload = DatumGetJsonbPCopy(values[RX_COL_PAYLOAD]);
	record->meta = isnull[RX_COL_META] ? NULL : DatumGetJsonbPCopy(values[RX_COL_META]);
	rx_id_make(&record->id, log_id_kinds[log], DatumGetInt16(values[RX_COL_NODE]),
			   record->seq, record->created_at);
}

typedef struct ReadOne
{
	RxLogId		log;
	RxRecord   *record;
	bool		found;
} ReadOne;

static bool
read_one(Datum *values, bool *isnull, void *arg)
{
	ReadOne    *one = arg;

	rx_log_record(one->log, values, isnull, one->record);
	one->found = true;
	return false;
}

bool
rx_log_read(RxLogId log, int64 seq, RxRecord *record)
{
	ReadOne		one = {log, record, false};
	RxRange		range = {seq, seq + 1};
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	rx_log_scan(log, range, snapshot, read_one, &one);
	UnregisterSnapshot(snapshot);
	return one.found;
}
