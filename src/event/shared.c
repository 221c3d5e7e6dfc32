/*
 * shared.c
 *		The shared memory of the log and its delivery: databases, the pool of
 *		leases, and what running transactions hold.
 *
 * The area is laid out once: RxShared, the pool of leases, the counts of
 * holds, the holds.  reflex.shared_memory is the size of the whole; what the
 * fixed parts leave is the pool.
 *
 * A database is known by its oid and the oid of the schema reflex_internal in
 * it, so that DROP and CREATE EXTENSION start clean and two lives of the
 * extension (one of them in a transaction that may yet roll back) stay apart.
 */
#include "reflex.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "event/event_int.h"
#include "miscadmin.h"
#include "pg/compat.h"
#include "pg/guc.h"
#include "pg/shmem.h"
#include "pg/spi.h"
#include "pg/wakeup.h"
#include "storage/proc.h"
#include "utils/builtins.h"

RxShared   *rx_shared;
static pg_atomic_uint32 *hold_counts;
static RxHold *hold_ranges;
static RxDb *my_db;

static Size
holds_size(void)
{
	return (Size) RX_N_LOGS * RxTotalProcs * (sizeof(pg_atomic_uint32) + sizeof(RxHold));
}

static Size
shared_size(void)
{
	Size		fixed = MAXALIGN(sizeof(RxShared)) + holds_size();
	Size		wanted = (Size) rx_guc_shared_memory * 1024;

	/* However small the setting, a thousand leases make a working system. */
	return Max(wanted, fixed + 1024 * sizeof(RxLease));
}

static void
init_pool(char *space, Size size)
{
	rx_shared->leases = (RxLease *) space;
	rx_shared->n_leases = (uint32) Min(size / sizeof(RxLease), (Size) 0xFFFFFF);
	rx_shared->n_free = rx_shared->n_leases;
	SpinLockInit(&rx_shared->pool_lock);
	dlist_init(&rx_shared->pool);
	for (uint32 i = 0; i < rx_shared->n_leases; i++)
	{
		memset(&rx_shared->leases[i], 0, sizeof(RxLease));
		dlist_push_tail(&rx_shared->pool, &rx_shared->leases[i].link);
	}
}

static void
init_shared(char *behind, Size size)
{
	memset(rx_shared, 0, sizeof(RxShared));
	if (!pg_strong_random(&rx_shared->epoch, sizeof(rx_shared->epoch)))
		rx_shared->epoch = (uint32) GetCurrentTimestamp();
	pg_atomic_init_u64(&rx_shared->lease_counter, 0);
	rx_shared->compact_blocks = RX_COMPACT_BLOCKS;
	LWLockInitialize(&rx_shared->table_lock, rx_shmem_tranche());
	for (int i = 0; i < RX_MAX_DBS; i++)
	{
		LWLockInitialize(&rx_shared->dbs[i].lock, rx_shmem_tranche());
		pg_atomic_init_u32(&rx_shared->dbs[i].generation, 0);
		pg_atomic_init_u32(&rx_shared->dbs[i].catalog_version, 1);
		pg_atomic_init_u64(&rx_shared->dbs[i].wanted, 0);
		pg_atomic_init_u32(&rx_shared->dbs[i].quiet, 0);
		pg_atomic_init_u64(&rx_shared->dbs[i].delayed_due, 0);
		for (int log = 0; log < RX_N_LOGS; log++)
			pg_atomic_init_u64(&rx_shared->dbs[i].published[log], 0);
	}
	for (int i = 0; i < RX_MAX_SUBS; i++)
		LWLockInitialize(&rx_shared->subs[i].lock, rx_shmem_tranche());
	for (int i = 0; i < RX_N_LOGS * RxTotalProcs; i++)
		pg_atomic_init_u32(&hold_counts[i], 0);
	init_pool(behind, size);
}

static void
shared_attach(void *ptr, bool found)
{
	char	   *behind = (char *) ptr + MAXALIGN(sizeof(RxShared));

	rx_shared = ptr;
	hold_ranges = (RxHold *) behind;
	behind += (Size) RX_N_LOGS * RxTotalProcs * sizeof(RxHold);
	hold_counts = (pg_atomic_uint32 *) behind;
	behind += MAXALIGN((Size) RX_N_LOGS * RxTotalProcs * sizeof(pg_atomic_uint32));
	if (!found)
		init_shared(behind, shared_size() - (Size) (behind - (char *) ptr));
}

static const RxShmemArea shared_area = {
	.name = "reflex log",
	.size = shared_size,
	.attach = shared_attach,
};

pg_atomic_uint32 *
rx_hold_count(RxLogId log, int proc)
{
	return &hold_counts[(int) log * RxTotalProcs + proc];
}

RxHold *
rx_hold(RxLogId log, int proc)
{
	return &hold_ranges[(int) log * RxTotalProcs + proc];
}

int
rx_db_index(const RxDb *db)
{
	return (int) (db - rx_shared->dbs);
}

/* ---- the databases ---- */

/* Frees the subscriptions of a database slot that begins another life. */
static void
forget_subs(int db)
{
	for (int i = 0; i < RX_MAX_SUBS; i++)
	{
		RxSub	   *sub = &rx_shared->subs[i];

		if (sub->id == 0 || sub->db != db)
			continue;
		LWLockAcquire(&sub->lock, LW_EXCLUSIVE);
		rx_stats_retire(sub);
		rx_lease_discard(sub, NULL);
		sub->ready = false;
		sub->id = 0;
		LWLockRelease(&sub->lock);
	}
}

static bool
db_is_held(const RxDb *db)
{
	uint32		tag = (uint32) rx_db_index(db) + 1;

	for (int i = 0; i < RX_N_LOGS * RxTotalProcs; i++)
		if (pg_atomic_read_u32(&hold_counts[i]) >> 16 == tag)
			return true;
	return false;
}

/*
 * A slot for (database, namespace): the one it has, a free one, or one whose
 * database nobody publishes in right now (its state is in its tables, and its
 * leases lapse with it; leases handed out from it are refused afterwards).
 */
static RxDb *
take_slot(Oid namespace)
{
	RxDb	   *unused = NULL;

	for (int i = 0; i < RX_MAX_DBS; i++)
	{
		RxDb	   *db = &rx_shared->dbs[i];

		if (db->database == MyDatabaseId && db->namespace == namespace)
			return db;
		if (unused == NULL && db->database == InvalidOid)
			unused = db;
	}
	for (int i = 0; unused == NULL && i < RX_MAX_DBS; i++)
		if (!db_is_held(&rx_shared->dbs[i]))
			unused = &rx_shared->dbs[i];
	if (unused == NULL)
		return NULL;

	forget_subs(rx_db_index(unused));
	LWLockAcquire(&unused->lock, LW_EXCLUSIVE);
	unused->database = MyDatabaseId;
	unused->namespace = namespace;
	unused->ready = unused->from_standby = false;
	memset(unused->counter, 0, sizeof(unused->counter));
	unused->dedupe_used = false;
	pg_atomic_write_u32(&unused->quiet, 0);
	pg_atomic_write_u64(&unused->wanted, 0);
	pg_atomic_write_u64(&unused->delayed_due, 0);
	pg_atomic_write_u32(&unused->generation, 0);
	for (int log = 0; log < RX_N_LOGS; log++)
		pg_atomic_write_u64(&unused->published[log], 0);
	memset(&unused->retired, 0, sizeof(RxCounts));
	unused->since = GetCurrentTimestamp();
	pg_atomic_fetch_add_u32(&unused->catalog_version, 1);
	LWLockRelease(&unused->lock);
	return unused;
}

typedef struct Start
{
	int64		next[RX_N_LOGS];
	TimestampTz last_created[RX_N_LOGS];
	uint32		generation;
} Start;

/* Where the tables say that this database stands. */
static void
read_start(Start *start)
{
	RxSpi		spi;
	bool		isnull;

	rx_spi_open(&spi);
	for (int log = 0; log < RX_N_LOGS; log++)
	{
		char	   *sql = psprintf("SELECT s.last_value + CASE WHEN s.is_called THEN %d ELSE 0 END,"
								   " (SELECT e.created_at FROM reflex_internal.%s e ORDER BY e.seq DESC LIMIT 1)"
								   " FROM reflex_internal.%s_position s",
								   RX_BLOCK, rx_log_name(log), rx_log_name(log));

		rx_spi_exec(sql, 0, NULL, NULL, NULL, SPI_OK_SELECT);
		start->next[log] = DatumGetInt64(rx_spi_get(0, 1, NULL));
		start->last_created[log] = DatumGetTimestampTz(rx_spi_get(0, 2, &isnull));
		if (isnull)
			start->last_created[log] = 0;
	}
	rx_spi_close(&spi);
	start->generation = (uint32) Max(rx_child_number("delivery", true), 0);
}

/*
 * Several may read the start at once; the first to come back sets it.  What was
 * read on a standby is good for the moment only: the log grows there without
 * our knowing.
 */
static void
make_ready(RxDb *db)
{
	bool		standby = RecoveryInProgress();
	Start		start;

	read_start(&start);
	LWLockAcquire(&db->lock, LW_EXCLUSIVE);
	if (!db->ready || db->from_standby)
	{
		for (int log = 0; log < RX_N_LOGS; log++)
		{
			db->counter[log].next = start.next[log];
			db->counter[log].limit = start.next[log];
			db->counter[log].spare = 0;
			db->counter[log].last_created = start.last_created[log];
		}
		pg_atomic_write_u32(&db->generation, start.generation);
		db->from_standby = standby;
		db->ready = true;
	}
	LWLockRelease(&db->lock);
}

/*
 * The tables were filled under us: a dump was restored into a database whose
 * workers were there first.  What memory holds is of an empty log: subscriptions
 * are rebuilt, their settings read again.
 */
void
rx_db_resync(RxDb *db)
{
	LWLockAcquire(&rx_shared->table_lock, LW_EXCLUSIVE);
	forget_subs(rx_db_index(db));
	LWLockRelease(&rx_shared->table_lock);
	pg_atomic_fetch_add_u32(&db->catalog_version, 1);
}

RxDb *
rx_db(void)
{
	Oid			namespace;

	rx_shmem_require();
	namespace = rx_internal_namespace();
	if (my_db && my_db->namespace == namespace && my_db->database == MyDatabaseId &&
		my_db->ready && !my_db->from_standby)
		return my_db;

	(void) rx_extension_owner();	/* raises when the extension is not here */
	LWLockAcquire(&rx_shared->table_lock, LW_EXCLUSIVE);
	my_db = take_slot(namespace);
	LWLockRelease(&rx_shared->table_lock);
	if (my_db == NULL)
		ereport(ERROR,
				errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				errmsg("too many databases use reflex at once"),
				errdetail("There is room for %d.", RX_MAX_DBS));
	rx_sub_caches_reset();
	make_ready(my_db);
	return my_db;
}

RxDb *
rx_db_in_use(void)
{
	return my_db;
}

/* ---- the pool ---- */

RxLease *
rx_lease_alloc(void)
{
	RxLease    *lease = NULL;

	SpinLockAcquire(&rx_shared->pool_lock);
	if (!dlist_is_empty(&rx_shared->pool))
	{
		lease = dlist_container(RxLease, link, dlist_pop_head_node(&rx_shared->pool));
		rx_shared->n_free--;
	}
	SpinLockRelease(&rx_shared->pool_lock);
	if (lease)
	{
		memset(lease, 0, sizeof(RxLease));
		lease->state = RX_LEASE_CLAIMED;
	}
	return lease;
}

void
rx_lease_free(RxLease *lease)
{
	Assert(lease->state == RX_LEASE_CLAIMED);
	lease->state = RX_LEASE_FREE;
	lease->counter = 0;
	SpinLockAcquire(&rx_shared->pool_lock);
	dlist_push_head(&rx_shared->pool, &lease->link);
	rx_shared->n_free++;
	SpinLockRelease(&rx_shared->pool_lock);
}

/* ---- end of transaction ---- */

/*
 * Who hands out or rebuilds must see all that is committed, and be able to
 * write down what comes of it.
 */
void
rx_shared_require_read_committed(void)
{
	PreventCommandDuringRecovery("receiving events");
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("events can be received in READ COMMITTED transactions only"),
				errdetail("This transaction reads from a snapshot that is older than what would be delivered."),
				errhint("Use BEGIN ISOLATION LEVEL READ COMMITTED."));
}

static void
refuse_prepare(bool prepare)
{
	if (prepare && (rx_position_mine() || rx_settle_pending()))
		ereport(ERROR,
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("cannot PREPARE a transaction that has published, received or settled events"),
				errhint("Publish in a transaction that is committed by its own session."));
}

/*
 * Positions are let go before leases are settled: both are after visibility,
 * and neither depends on the other.
 */
static void
end_transaction(bool committed)
{
	rx_position_release(committed);
	rx_stats_end(committed);
}

static const RxXactHooks shared_hooks = {
	.pre_commit = refuse_prepare,
	.at_end = end_transaction,
};

extern const RxXactHooks rx_settle_hooks;
extern const RxXactHooks rx_subscription_hooks;

void
rx_event_init(void)
{
	rx_shmem_register(&shared_area);
	rx_position_init();
	rx_turn_init();
	rx_wait_init();
	rx_xact_hooks_register(&shared_hooks);
	rx_xact_hooks_register(&rx_settle_hooks);
	rx_xact_hooks_register(&rx_subscription_hooks);
	rx_xact_hooks_register(&rx_type_hooks);
	rx_xact_hooks_register(&rx_delayed_hooks);
}
