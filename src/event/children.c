/*
 * children.c
 *		The children of our partitioned tables: making one, asking the sql worker
 *		to make one, dropping an old one.
 *
 * Making a child is a transaction of its own: made in a publisher's, it would
 * make everybody else who needs it wait until that publisher commits.  So who
 * finds a child missing asks the worker and waits for it to appear.  When the
 * worker does not come (none is configured, all slots are taken), or can't
 * (the extension was created in this very transaction), the caller makes the
 * child himself.
 */
#include "reflex.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_namespace.h"
#include "event/event_int.h"
#include "miscadmin.h"
#include "pg/guc.h"
#include "pg/spi.h"
#include "pg/wakeup.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/wait_event.h"

#define WAIT_US (2 * RX_USECS_PER_SEC)

static bool
created_here(void)
{
	HeapTuple	tuple = SearchSysCache1(NAMESPACENAME, CStringGetDatum(RX_INTERNAL_SCHEMA));
	bool		here;

	if (!HeapTupleIsValid(tuple))
		return true;
	here = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data));
	ReleaseSysCache(tuple);
	return here;
}

/* The child as the caches have it; InvalidOid when there is none. */
Oid
rx_child_oid(const char *name)
{
	return get_relname_relid(name, rx_internal_namespace());
}

/* The number of the first (or last) child of a table; -1 when it has none. */
int64
rx_child_number(const char *parent, bool last)
{
	RxSpi		spi;
	int64		number;

	rx_spi_open(&spi);
	rx_spi_exec(psprintf("SELECT coalesce(%s(substr(c.relname, %d)::int8), -1) FROM pg_catalog.pg_class c"
						 " WHERE c.relnamespace = 'reflex_internal'::regnamespace"
						 " AND c.relkind = 'r' AND c.relname ~ '^%s_[0-9]+$'",
						 last ? "max" : "min", (int) strlen(parent) + 2, parent),
				0, NULL, NULL, NULL, SPI_OK_SELECT);
	number = DatumGetInt64(rx_spi_get(0, 1, NULL));
	rx_spi_close(&spi);
	return number;
}

/*
 * Makes a child unless it is there; true when this made it.  Who makes one
 * holds a lock on our schema to the end of his transaction, so that a second
 * one does not fail on the name.
 */
bool
rx_child_make(const char *name, const char *sql)
{
	RxSpi		spi;

	if (OidIsValid(rx_child_oid(name)))
		return false;
	LockDatabaseObject(NamespaceRelationId, rx_internal_namespace(), 0, ShareUpdateExclusiveLock);
	if (OidIsValid(rx_child_oid(name)))
		return false;
	rx_spi_open(&spi);
	rx_spi_exec(sql, 0, NULL, NULL, NULL, SPI_OK_UTILITY);
	rx_spi_close(&spi);
	return true;
}

static bool
is_there(const char *name)
{
	AcceptInvalidationMessages();
	return OidIsValid(rx_child_oid(name));
}

/* Whether the child is there now. */
bool
rx_child_made_by_worker(const char *name, RxChildKind kind, uint32 number)
{
	RxDb	   *db = rx_db();
	int64		until = rx_clock_mono() + WAIT_US;

	if (rx_guc_workers_per_database == 0 || MyBackendType == B_BG_WORKER || created_here())
		return is_there(name);
	while (!is_there(name) && rx_clock_mono() < until)
	{
		pg_atomic_write_u64(&db->wanted, (uint64) kind << 32 | number);
		rx_wakeup_workers(MyDatabaseId, RX_WORKER_SQL);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 2, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return is_there(name);
}

/*
 * Tries for the locks that dropping a child takes; nobody ever queues behind
 * this.  False when somebody is using it: try again later.
 */
bool
rx_child_lock(const char *parent, const char *name)
{
	return ConditionalLockRelationOid(rx_child_oid(parent), AccessExclusiveLock) &&
		ConditionalLockRelationOid(rx_child_oid(name), AccessExclusiveLock);
}

/* Drops a child that is locked. */
void
rx_child_drop(const char *name)
{
	RxSpi		spi;

	rx_spi_open(&spi);
	rx_spi_exec(psprintf("DROP TABLE reflex_internal.%s", name), 0, NULL, NULL, NULL, SPI_OK_UTILITY);
	rx_spi_close(&spi);
}
