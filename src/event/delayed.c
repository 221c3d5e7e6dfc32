/*
 * delayed.c
 *		Events that are due later: kept aside, and moved into the log when due.
 *
 * reflex_internal.delayed holds them in children by due time, of 30 days each;
 * reflex_internal.delayed_done says which have been moved or cancelled.  Both
 * are only appended to; a child is dropped whole when its time has passed and
 * nothing in it is open.  Moving is one transaction: the entry in the log and
 * the row that says so, for up to BATCH events in the order of their due times.
 *
 * When to look is in shared memory (RxDb.delayed_due): the earliest due time
 * that nobody has looked at.  A publisher lowers it when he has committed, the
 * worker takes it and looks from there: so one who commits after his event was
 * due is not missed.  After a restart it is zero, which is to look at all.
 *
 * One worker moves at a time (a lock).  An event whose session's turn is taken
 * by a publisher that idles is left for a moment, and others go on.
 */
#include "reflex.h"

#include "access/xact.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "event/event_int.h"
#include "miscadmin.h"
#include "pg/duty.h"
#include "pg/guc.h"
#include "pg/spi.h"
#include "pg/wakeup.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define CHILD_US (30 * USECS_PER_DAY)
#define BATCH 500
#define BUSY_US (50 * 1000)
#define LOOK_AT_ALL 0
#define NOTHING PG_INT64_MAX

/* The second number of the lock on our schema: 0 is for making children. */
#define MOVER_LOCK 1

static TimestampTz my_due = NOTHING;	/* earliest that this transaction has added */

static TimestampTz
now_us(void)
{
	return GetCurrentTimestamp() + rx_clock_offset();
}

/* ---- the children ---- */

static int64
child_of(TimestampTz due)
{
	return (due + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY) / CHILD_US;
}

static char *
bound(int64 child)
{
	TimestampTz at = child * CHILD_US - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

	return quote_literal_cstr(timestamptz_to_str(at));
}

static char *
child_name(int64 child)
{
	return psprintf("delayed_" INT64_FORMAT, child);
}

/* One for what is due, and one for what of it is done. */
void
rx_delayed_make_child(int64 n)
{
	char	   *sql;

	sql = psprintf("CREATE TABLE reflex_internal.delayed_" INT64_FORMAT " (LIKE reflex_internal.delayed);"
				   "CREATE INDEX delayed_" INT64_FORMAT "_due ON reflex_internal.delayed_" INT64_FORMAT " (due, no);"
				   "CREATE INDEX delayed_" INT64_FORMAT "_no ON reflex_internal.delayed_" INT64_FORMAT " (no);"
				   "ALTER TABLE reflex_internal.delayed ATTACH PARTITION reflex_internal.delayed_" INT64_FORMAT
				   " FOR VALUES FROM (%s) TO (%s);"
				   "CREATE TABLE reflex_internal.delayed_done_" INT64_FORMAT " (LIKE reflex_internal.delayed_done);"
				   "CREATE UNIQUE INDEX delayed_done_" INT64_FORMAT "_no ON reflex_internal.delayed_done_" INT64_FORMAT " (no);"
				   "ALTER TABLE reflex_internal.delayed_done ATTACH PARTITION reflex_internal.delayed_done_" INT64_FORMAT
				   " FOR VALUES FROM (%s) TO (%s)",
				   n, n, n, n, n, n, bound(n), bound(n + 1), n, n, n, n, bound(n), bound(n + 1));
	(void) rx_child_make(child_name(n), sql);
}

static bool
has_open(int64 child)
{
	RxSpi		spi;
	uint64		n;

	rx_spi_open(&spi);
	n = rx_spi_exec(psprintf("SELECT FROM reflex_internal.delayed_" INT64_FORMAT " d WHERE NOT EXISTS"
							 " (SELECT FROM reflex_internal.delayed_done_" INT64_FORMAT " x WHERE x.no = d.no) LIMIT 1",
							 child, child), 0, NULL, NULL, NULL, SPI_OK_SELECT);
	rx_spi_close(&spi);
	return n > 0;
}

/* The oldest child, if its time has passed a day ago and nothing in it is open. */
bool
rx_delayed_drop_old(void)
{
	int64		old = rx_child_number("delayed", false);
	char	   *done = psprintf("delayed_done_" INT64_FORMAT, old);

	if (old < 0 || old >= child_of(now_us() - USECS_PER_DAY) || has_open(old) ||
		!rx_child_lock("delayed", child_name(old)) || !rx_child_lock("delayed_done", done))
		return false;
	/* Both or none: without the second one, everything in the first is due. */
	rx_child_drop(child_name(old));
	rx_child_drop(done);
	return true;
}

/* ---- adding ---- */

static void
lower_due(RxDb *db, TimestampTz due)
{
	uint64		old = pg_atomic_read_u64(&db->delayed_due);

	while ((int64) old > due &&
		   !pg_atomic_compare_exchange_u64(&db->delayed_due, &old, (uint64) due))
		;
}

static Datum
text_or_null(const char *value, char *null)
{
	*null = value ? ' ' : 'n';
	return value ? CStringGetTextDatum(value) : (Datum) 0;
}

static void
insert_row(const RxEntry *entry, TimestampTz due, int64 no, TimestampTz at)
{
	Oid			types[10] = {TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID, INT2OID, TEXTOID, TEXTOID, TEXTOID,
	TEXTOID, JSONBOID, JSONBOID};
	char		nulls[11] = "          ";
	Datum		values[10];
	const char *role = entry->role ? entry->role : GetUserNameFromId(GetOuterUserId(), false);
	RxSpi		spi;

	values[0] = TimestampTzGetDatum(due);
	values[1] = Int64GetDatum(no);
	values[2] = TimestampTzGetDatum(at);
	values[3] = Int16GetDatum(rx_guc_node_id);
	values[4] = CStringGetTextDatum(entry->type);
	values[5] = text_or_null(entry->source, &nulls[5]);
	values[6] = text_or_null(entry->session, &nulls[6]);
	values[7] = CStringGetTextDatum(role);
	values[8] = JsonbPGetDatum(entry->payload);
	nulls[9] = entry->meta ? ' ' : 'n';
	values[9] = entry->meta ? JsonbPGetDatum(entry->meta) : (Datum) 0;
	rx_spi_open(&spi);
	rx_spi_exec(psprintf("INSERT INTO reflex_internal.delayed_" INT64_FORMAT
						 " (due, no, at, node, type, source, session, role, payload, meta)"
						 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)", child_of(due)),
				10, types, values, nulls, SPI_OK_INSERT);
	rx_spi_close(&spi);
}

void
rx_delayed_append(const RxEntry *entry, TimestampTz due, pg_uuid_t *id)
{
	int64		child = child_of(due);
	TimestampTz at = GetCurrentTimestamp();
	const char *name = child_name(child);
	int64		no;

	if (TIMESTAMP_NOT_FINITE(due) || child < 0 || child > PG_INT32_MAX)
		ereport(ERROR,
				errcode(ERRCODE_RX_INVALID),
				errmsg("deliver_at is out of range"));
	if (!OidIsValid(rx_child_oid(name)) && !rx_child_made_by_worker(name, RX_CHILD_DELAYED, (uint32) child))
		rx_delayed_make_child(child);
	no = nextval_internal(get_relname_relid("delayed_no", rx_internal_namespace()), false);
	insert_row(entry, due, no, at);
	rx_id_make(id, RX_ID_DELAYED, rx_guc_node_id, no, at);
	my_due = Min(my_due, due);
	(void) rx_db();
}

static void
end_transaction(bool committed)
{
	RxDb	   *db;

	if (my_due == NOTHING)
		return;
	db = rx_db_in_use();
	if (committed && db)
	{
		lower_due(db, my_due);
		rx_wakeup_workers(MyDatabaseId, RX_WORKER_SQL);
	}
	my_due = NOTHING;
}

const RxXactHooks rx_delayed_hooks = {
	.at_end = end_transaction,
};

/* ---- moving ---- */

/*
 * delayed_lock() - nothing is moved until this transaction ends; for
 * cancel_delayed.
 */
REFLEX_FUNCTION(reflex_delayed_lock)
{
	LockDatabaseObject(NamespaceRelationId, rx_internal_namespace(), MOVER_LOCK, ExclusiveLock);
	PG_RETURN_VOID();
}

static Jsonb *
jsonb_or_null(uint64 row, int col)
{
	bool		isnull;
	Datum		value = rx_spi_get(row, col, &isnull);

	return isnull ? NULL : DatumGetJsonbPCopy(value);
}

/* One event that is due, as read. */
typedef struct Due
{
	TimestampTz due;
	int64		no;
	RxEntry		entry;
} Due;

static int
read_due(TimestampTz from, TimestampTz now, Due **out)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			types[3] = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID};
	Datum		values[3] = {TimestampTzGetDatum(from), TimestampTzGetDatum(now), Int32GetDatum(BATCH)};
	RxSpi		spi;
	int			n;

	rx_spi_open(&spi);
	n = (int) rx_spi_exec("SELECT d.due, d.no, d.type, d.source, d.session, d.role, d.payload,"
						  " coalesce(d.meta, '{}') || jsonb_build_object('delayed_id', reflex_internal.make_id(2, d.no, d.at, d.node))"
						  " FROM reflex_internal.delayed d WHERE d.due >= $1 AND d.due <= $2"
						  " AND NOT EXISTS (SELECT FROM reflex_internal.delayed_done x WHERE x.due = d.due AND x.no = d.no)"
						  " ORDER BY d.due, d.no LIMIT $3",
						  3, types, values, NULL, SPI_OK_SELECT);
	*out = MemoryContextAllocZero(caller, Max(n, 1) * sizeof(Due));
	for (int i = 0; i < n; i++)
	{
		Due		   *due = &(*out)[i];
		MemoryContext old = MemoryContextSwitchTo(caller);

		due->due = DatumGetTimestampTz(rx_spi_get(i, 1, NULL));
		due->no = DatumGetInt64(rx_spi_get(i, 2, NULL));
		due->entry.payload = jsonb_or_null(i, 7);
		due->entry.meta = jsonb_or_null(i, 8);
		MemoryContextSwitchTo(old);
		due->entry.type = rx_spi_get_cstring(i, 3);
		due->entry.source = rx_spi_get_cstring(i, 4);
		due->entry.session = rx_spi_get_cstring(i, 5);
		due->entry.role = rx_spi_get_cstring(i, 6);
	}
	rx_spi_close(&spi);
	return n;
}

static void
mark_done(const Due *due, int64 seq)
{
	Oid			types[3] = {TIMESTAMPTZOID, INT8OID, INT8OID};
	Datum		values[3] = {TimestampTzGetDatum(due->due), Int64GetDatum(due->no), Int64GetDatum(seq)};
	RxSpi		spi;

	rx_spi_open(&spi);
	rx_spi_exec("INSERT INTO reflex_internal.delayed_done (due, no, seq) VALUES ($1, $2, $3)",
				3, types, values, NULL, SPI_OK_INSERT);
	rx_spi_close(&spi);
}

/* False when its session's turn is somebody else's. */
static bool
move(const Due *due)
{
	pg_uuid_t	id;

	if (due->entry.session && rx_turn_is_taken(RX_TURN_SESSION, RX_LOG_EVENT, due->entry.session))
		return false;
	mark_done(due, rx_log_append(RX_LOG_EVENT, &due->entry, &id));
	return true;
}

/* The first that is due after a time; NOTHING if there is none. */
static TimestampTz
next_after(TimestampTz now)
{
	Oid			type = TIMESTAMPTZOID;
	Datum		value = TimestampTzGetDatum(now);
	RxSpi		spi;
	bool		isnull;
	TimestampTz next;

	rx_spi_open(&spi);
	rx_spi_exec("SELECT min(d.due) FROM reflex_internal.delayed d WHERE d.due > $1",
				1, &type, &value, NULL, SPI_OK_SELECT);
	next = DatumGetTimestampTz(rx_spi_get(0, 1, &isnull));
	rx_spi_close(&spi);
	return isnull ? NOTHING : next;
}

/* Moves a batch; returns from when on there is something to look at next. */
static TimestampTz
move_due(TimestampTz from, bool *busy)
{
	TimestampTz now = now_us();
	TimestampTz next = NOTHING;
	Due		   *due;
	int			n = read_due(from, now, &due);

	for (int i = 0; i < n; i++)
		if (!move(&due[i]))
		{
			next = Min(next, due[i].due);
			*busy = true;
		}
	if (n == BATCH)
		next = Min(next, due[n - 1].due);
	return Min(next, next_after(now));
}

static TimestampTz taken = NOTHING; /* looked at by a step that has not committed */
static int64 not_before;		/* monotonic; after a step that found turns taken */

static void
delayed_start(void)
{
	RxDb	   *db = rx_db_in_use();

	if (db)
		pg_atomic_write_u64(&db->delayed_due, LOOK_AT_ALL);
}

static int64
delayed_due(void)
{
	RxDb	   *db = rx_db_in_use();
	TimestampTz due;

	if (db == NULL || taken != NOTHING)
		return not_before;
	due = (TimestampTz) pg_atomic_read_u64(&db->delayed_due);
	if (due == NOTHING)
		return RX_NEVER;
	return Max(not_before, rx_clock_mono() + Max(due - now_us(), 0));
}

static bool
delayed_step(void)
{
	RxDb	   *db;
	bool		busy = false;
	TimestampTz next = NOTHING;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	db = rx_db();
	if (ConditionalLockDatabaseObject(NamespaceRelationId, rx_internal_namespace(), MOVER_LOCK, ExclusiveLock))
	{
		TimestampTz from = (TimestampTz) pg_atomic_exchange_u64(&db->delayed_due, (uint64) NOTHING);

		/* An earlier step of ours may have failed with what it had taken. */
		taken = Min(taken, from);
		next = move_due(taken == LOOK_AT_ALL ? DT_NOBEGIN : taken, &busy);
	}
	else
		busy = true;
	PopActiveSnapshot();
	CommitTransactionCommand();
	taken = NOTHING;
	lower_due(db, next);
	not_before = busy ? rx_clock_mono() + BUSY_US : 0;
	return false;
}

const RxDuty rx_delayed_duty = {
	.name = "delayed",
	.kind = RX_WORKER_SQL,
	.start = delayed_start,
	.next_due = delayed_due,
	.step = delayed_step,
};
