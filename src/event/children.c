/*
 * children.c
 *		Asking the sql worker to make a child table; dropping an old one.
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

static bool
is_there(const char *name)
{
	AcceptInvalidationMessages();
	return OidIsValid(get_relname_relid(name, rx_internal_namespace()));
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
	Oid			namespace = rx_internal_namespace();

	return ConditionalLockRelationOid(get_relname_relid(parent, namespace), AccessExclusiveLock) &&
		ConditionalLockRelationOid(get_relname_relid(name, namespace), AccessExclusiveLock);
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
