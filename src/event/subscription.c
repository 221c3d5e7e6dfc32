/*
 * subscription.c
 *		Subscriptions: what the catalog says of them, and their shared state.
 *
 * Each backend keeps the rows of reflex_internal.subscription in a list of its
 * own and reads them again when the database's catalog version has moved, which
 * subscribe() and unsubscribe() see to when they commit.  The shared state of a
 * subscription is taken on first use and rebuilt from the journal.
 */
#include "reflex.h"

#include "access/xact.h"
#include "base/backoff.h"
#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "event/event_int.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pg/guc.h"
#include "pg/spi.h"
#include "pg/wakeup.h"
#include "storage/condition_variable.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

static List *infos;				/* of RxSubInfo, in infos_context */
static MemoryContext infos_context;
static uint32 infos_version;
static RxDb *infos_db;
static bool changed_here;		/* this transaction changed the catalog */

/*
 * A subscription that this transaction has made or deleted.  Its shared state
 * goes if there is no such subscription afterwards; the array grows before.
 */
typedef struct Fate
{
	int32		id;
	int			level;			/* of nesting, at which it happened */
	bool		dropped;		/* else made */
} Fate;

static Fate *fates;
static int	n_fates;
static int	room_fates;

void
rx_sub_caches_reset(void)
{
	infos_version = 0;
}

static int64
interval_us(Datum value, bool isnull)
{
	Interval   *interval;

	if (isnull)
		return -1;
	interval = DatumGetIntervalP(value);
	return interval->time + ((int64) interval->month * 30 + interval->day) * USECS_PER_DAY;
}

static void
read_types(RxSubInfo *info, Datum value, bool isnull)
{
	Datum	   *elems;
	char	  **types;
	int			n;

	info->any_type = isnull;
	if (isnull)
		return;
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT, &elems, NULL, &n);
	types = palloc_array(char *, n);
	for (int i = 0; i < n; i++)
		types[i] = TextDatumGetCString(elems[i]);
	rx_patterns_make(&info->types, types, n);
}

/* One row; allocated in infos_context, which is current. */
static RxSubInfo *
read_info(uint64 row)
{
	RxSubInfo  *info = palloc0(sizeof(RxSubInfo));
	bool		isnull;
	Datum		value;

	info->id = DatumGetInt32(rx_spi_get(row, 1, NULL));
	info->name = TextDatumGetCString(rx_spi_get(row, 2, NULL));
	info->log = (RxLogId) DatumGetInt16(rx_spi_get(row, 3, NULL));
	info->retry_only = DatumGetBool(rx_spi_get(row, 4, NULL));
	info->system = DatumGetBool(rx_spi_get(row, 5, NULL));
	value = rx_spi_get(row, 6, &isnull);
	read_types(info, value, isnull);
	value = rx_spi_get(row, 7, &isnull);
	info->max_attempts = isnull ? 0 : DatumGetInt32(value);
	value = rx_spi_get(row, 8, &isnull);
	info->retry_base_us = interval_us(value, isnull);
	value = rx_spi_get(row, 9, &isnull);
	info->retry_max_us = interval_us(value, isnull);
	info->paused = DatumGetBool(rx_spi_get(row, 10, NULL));
	info->ordered = DatumGetBool(rx_spi_get(row, 12, NULL));
	value = rx_spi_get(row, 11, &isnull);
	info->filter_json = isnull ? NULL : DatumGetJsonbPCopy(value);
	return info;
}

static void
load_infos(RxDb *db)
{
	uint32		version = pg_atomic_read_u32(&db->catalog_version);
	RxSpi		spi;
	uint64		n;

	if (infos_context == NULL)
		infos_context = AllocSetContextCreate(TopMemoryContext, "reflex subscriptions",
											  ALLOCSET_SMALL_SIZES);
	infos = NIL;
	infos_version = 0;
	MemoryContextReset(infos_context);

	rx_spi_open(&spi);
	n = rx_spi_exec("SELECT id, name, log, retry_only, system, types, max_attempts,"
					" retry_base_delay, retry_max_delay, paused, filter, ordered"
					" FROM reflex_internal.subscription ORDER BY id",
					0, NULL, NULL, NULL, SPI_OK_SELECT);
	for (uint64 row = 0; row < n; row++)
	{
		MemoryContext old = MemoryContextSwitchTo(infos_context);

		infos = lappend(infos, read_info(row));
		MemoryContextSwitchTo(old);
	}
	rx_spi_close(&spi);
	infos_db = db;
	/* What this transaction has changed may yet roll back: read again next time. */
	infos_version = changed_here ? 0 : version;
}

static void
refresh_infos(void)
{
	RxDb	   *db = rx_db();

	if (infos_version == 0 || infos_db != db ||
		infos_version != pg_atomic_read_u32(&db->catalog_version))
		load_infos(db);
}

RxSubInfo *
rx_sub_by_name(const char *name)
{
	ListCell   *cell;

	refresh_infos();
	foreach(cell, infos)
	{
		RxSubInfo  *info = lfirst(cell);

		if (strcmp(info->name, name) == 0)
			return info;
	}
	return NULL;
}

RxSubInfo *
rx_sub_by_id(int32 id)
{
	ListCell   *cell;

	refresh_infos();
	foreach(cell, infos)
	{
		RxSubInfo  *info = lfirst(cell);

		if (info->id == id)
			return info;
	}
	return NULL;
}

List *
rx_sub_ids(void)
{
	List	   *ids = NIL;
	ListCell   *cell;

	refresh_infos();
	foreach(cell, infos)
		ids = lappend_int(ids, ((RxSubInfo *) lfirst(cell))->id);
	return ids;
}

RxSubInfo *
rx_sub_require(int32 id)
{
	RxSubInfo  *info = rx_sub_by_id(id);

	if (info == NULL)
		ereport(ERROR,
				errcode(ERRCODE_RX_NOT_FOUND),
				errmsg("subscription with id %d does not exist", id));
	return info;
}

int32
rx_subscription_id(const char *name, bool missing_ok)
{
	RxSubInfo  *info = rx_sub_by_name(name);

	if (info)
		return info->id;
	if (!missing_ok)
		ereport(ERROR,
				errcode(ERRCODE_RX_NOT_FOUND),
				errmsg("subscription \"%s\" does not exist", name),
				errhint("Create it with reflex.subscribe()."));
	return 0;
}

int
rx_sub_max_attempts(const RxSubInfo *info)
{
	return info->max_attempts > 0 ? info->max_attempts : rx_guc_event_max_attempts;
}

/* How long to wait after the attempt-th failure, in microseconds. */
int64
rx_sub_backoff(const RxSubInfo *info, int attempt)
{
	int64		base = info->retry_base_us >= 0 ? info->retry_base_us :
		(int64) rx_guc_event_retry_base_delay * 1000;
	int64		max = info->retry_max_us >= 0 ? info->retry_max_us :
		(int64) rx_guc_event_retry_max_delay * 1000;

	return rx_backoff_delay(attempt, base, max, pg_prng_double(&pg_global_prng_state));
}

/*
 * Makes ready to ask what the subscription wants.  Not when the catalog is read:
 * a filter that another version of PostgreSQL let pass and this one does not
 * should stop its own subscription alone.
 */
void
rx_sub_prepare(RxSubInfo *info)
{
	if (info->filter_json && info->filter == NULL)
		info->filter = rx_filter_compile(info->filter_json, infos_context);
}

/* Of a row of the log; values as it has columns. */
bool
rx_sub_wants(const RxSubInfo *info, Datum *values, bool *isnull)
{
	text	   *type = DatumGetTextPP(values[RX_COL_TYPE]);

	if (!info->any_type && !rx_patterns_match(&info->types, VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type)))
		return false;
	return rx_filter_matches(info->filter, values, isnull);
}

/* ---- shared state ---- */

static RxSub *
take_sub(const RxSubInfo *info, int db)
{
	RxSub	   *unused = NULL;

	for (int i = 0; i < RX_MAX_SUBS; i++)
	{
		RxSub	   *sub = &rx_shared->subs[i];

		if (sub->id == info->id && sub->db == db)
			return sub;
		if (sub->id == 0 && unused == NULL)
			unused = sub;
	}
	if (unused == NULL)
		return NULL;
	LWLockAcquire(&unused->lock, LW_EXCLUSIVE);
	unused->db = db;
	unused->log = info->log;
	unused->retry_only = info->retry_only;
	unused->ordered = info->ordered;
	rx_order_init(unused);
	unused->ready = false;
	unused->n_pending = unused->n_claims = unused->n_holes = 0;
	unused->n_out = unused->n_waiting = 0;
	memset(&unused->counts, 0, sizeof(RxCounts));
	dlist_init(&unused->returned);
	pairingheap_reset(&unused->timers);
	unused->timers.ph_compare = rx_lease_compare;
	unused->timers.ph_arg = NULL;
	unused->id = info->id;
	LWLockRelease(&unused->lock);
	return unused;
}

/*
 * Finds or takes the shared state, and rebuilds it if nobody has.  Two who
 * rebuild at once read the same tables; the first to come back wins, because
 * no event can be out, and so none settled, before one has.
 */
RxSub *
rx_sub_attach(RxSubInfo *info)
{
	RxDb	   *db = rx_db();
	RxSub	   *sub = info->shared;

	if (sub == NULL || sub->id != info->id || sub->db != rx_db_index(db))
	{
		LWLockAcquire(&rx_shared->table_lock, LW_EXCLUSIVE);
		sub = take_sub(info, rx_db_index(db));
		LWLockRelease(&rx_shared->table_lock);
		if (sub == NULL)
			ereport(ERROR,
					errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					errmsg("too many subscriptions are in use at once"),
					errdetail("There is room for %d.", RX_MAX_SUBS));
		info->shared = sub;
	}
	if (!sub->ready)
		rx_journal_rebuild(info, sub);
	return sub;
}

/* Frees what a deleted subscription has in shared memory; tokens die with it. */
static void
forget(int32 id)
{
	int			db = rx_db_index(infos_db);

	LWLockAcquire(&rx_shared->table_lock, LW_EXCLUSIVE);
	for (int i = 0; i < RX_MAX_SUBS; i++)
	{
		RxSub	   *sub = &rx_shared->subs[i];

		if (sub->id != id || sub->db != db)
			continue;
		LWLockAcquire(&sub->lock, LW_EXCLUSIVE);
		rx_stats_retire(sub);
		rx_lease_discard(sub, NULL);
		sub->ready = false;
		sub->id = 0;
		LWLockRelease(&sub->lock);
	}
	LWLockRelease(&rx_shared->table_lock);
}

/* Ends what happened at this level and below it, newest first. */
static void
end_fates(int level, bool committed)
{
	while (n_fates > 0 && fates[n_fates - 1].level >= level)
	{
		const Fate *fate = &fates[--n_fates];

		if (fate->dropped == committed)
			forget(fate->id);
	}
}

static void
end_transaction(bool committed)
{
	if (!changed_here)
		return;
	changed_here = false;
	infos_version = 0;
	pg_atomic_fetch_add_u32(&infos_db->catalog_version, 1);
	pg_atomic_write_u32(&infos_db->quiet, 0);
	end_fates(0, committed);
}

static void
undo_level(int level)
{
	end_fates(level, false);
}

/* What a savepoint did now belongs to its parent. */
static void
merge_level(int level)
{
	for (int i = n_fates; i > 0 && fates[i - 1].level >= level; i--)
		fates[i - 1].level = level - 1;
}

const RxXactHooks rx_subscription_hooks = {
	.at_end = end_transaction,
	.at_subabort = undo_level,
	.at_subcommit = merge_level,
};

uint32
rx_catalog_version(void)
{
	RxDb	   *db = rx_db_in_use();

	return db ? pg_atomic_read_u32(&db->catalog_version) : 0;
}

void
rx_event_interest(bool wanted)
{
	pg_atomic_write_u32(&rx_db()->quiet, wanted ? 0 : 1);
}

/*
 * What processes keep of the catalog has changed: this transaction reads it
 * again now, all others when this one has committed.
 */
void
rx_sub_catalog_changed(void)
{
	infos_db = rx_db();
	changed_here = true;
	infos_version = 0;
}

/* subscriptions_changed() - called by the SQL that writes them (or rules) */
REFLEX_FUNCTION(reflex_subscriptions_changed)
{
	rx_sub_catalog_changed();
	rx_wakeup_workers_at_commit(RX_WORKER_SQL);
	PG_RETURN_VOID();
}

/* log_position(log smallint, OUT next bigint, OUT held bigint[]) - the view, for SQL. */
REFLEX_FUNCTION(reflex_log_position)
{
	RxLogId		log = (RxLogId) PG_GETARG_INT16(0);
	RxView		view;
	Datum	   *bounds;
	Datum		values[2];
	bool		nulls[2] = {false, false};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	rx_position_view(rx_db(), log, &view);
	bounds = palloc((view.n * 2 + 1) * sizeof(Datum));
	for (int i = 0; i < view.n; i++)
	{
		bounds[2 * i] = Int64GetDatum(view.held[i].lo);
		bounds[2 * i + 1] = Int64GetDatum(view.held[i].hi);
	}
	values[0] = Int64GetDatum(view.next);
	values[1] = PointerGetDatum(construct_array(bounds, view.n * 2, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

static void
note_fate(int32 id, bool dropped)
{
	(void) rx_db();
	if (n_fates == room_fates)
	{
		int			room = Max(16, room_fates * 2);

		fates = fates ? repalloc(fates, room * sizeof(Fate)) :
			MemoryContextAlloc(TopMemoryContext, room * sizeof(Fate));
		room_fates = room;
	}
	fates[n_fates++] = (Fate) {id, GetCurrentTransactionNestLevel(), dropped};
}

/* subscription_created(id) - its row is new; its shared state goes if that is undone. */
REFLEX_FUNCTION(reflex_subscription_created)
{
	note_fate(PG_GETARG_INT32(0), false);
	PG_RETURN_VOID();
}

/*
 * subscription_dropped(id) - the row is deleted in this transaction; its shared
 * state goes when that commits.
 */
REFLEX_FUNCTION(reflex_subscription_dropped)
{
	note_fate(PG_GETARG_INT32(0), true);
	PG_RETURN_VOID();
}
