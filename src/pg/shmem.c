/*
 * shmem.c
 *		Shared memory: who wants how much, and who fills it first.  See shmem.h.
 *
 * One more area is our own: the clock offset for tests and the number of the
 * LWLock tranche that all locks of reflex share.
 */
#include "reflex.h"

#include "base/clock.h"
#include "miscadmin.h"
#include "pg/shmem.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#define MAX_AREAS 8

typedef struct CommonShared
{
	volatile int64_t clock_offset;	/* written by tests alone, no lock */
	int			tranche;		/* written once by the postmaster */
} CommonShared;

static const RxShmemArea *areas[MAX_AREAS];
static int	n_areas;
static CommonShared *common;
static shmem_request_hook_type prev_shmem_request;
static shmem_startup_hook_type prev_shmem_startup;

void
rx_shmem_register(const RxShmemArea *area)
{
	if (n_areas == MAX_AREAS)
		elog(ERROR, "too many shared memory areas");
	areas[n_areas++] = area;
}

static void
request_shmem(void)
{
	if (prev_shmem_request)
		prev_shmem_request();
	RequestAddinShmemSpace(MAXALIGN(sizeof(CommonShared)));
	for (int i = 0; i < n_areas; i++)
		RequestAddinShmemSpace(MAXALIGN(areas[i]->size()));
}

static void
attach_shmem(void)
{
	bool		found;

	if (prev_shmem_startup)
		prev_shmem_startup();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	common = ShmemInitStruct("reflex common", sizeof(CommonShared), &found);
	if (!found)
	{
		common->clock_offset = 0;
		common->tranche = LWLockNewTrancheId();
	}
	LWLockRegisterTranche(common->tranche, "reflex");
	rx_clock_use_offset(&common->clock_offset);
	for (int i = 0; i < n_areas; i++)
	{
		void	   *ptr = ShmemInitStruct(areas[i]->name, areas[i]->size(), &found);

		areas[i]->attach(ptr, found);
	}
	LWLockRelease(AddinShmemInitLock);
}

void
rx_shmem_install(void)
{
	prev_shmem_request = shmem_request_hook;
	shmem_request_hook = request_shmem;
	prev_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = attach_shmem;
}

bool
rx_shmem_ready(void)
{
	return common != NULL;
}

void
rx_shmem_require(void)
{
	if (!rx_shmem_ready())
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("reflex must be loaded via \"shared_preload_libraries\""),
				errhint("Add shared_preload_libraries = 'reflex' to postgresql.conf and restart the server."));
}

int
rx_shmem_tranche(void)
{
	return common->tranche;
}

/* test_now() - wall time as reflex sees it, for tests; not declared either. */
REFLEX_FUNCTION(reflex_test_now)
{
	rx_shmem_require();
	PG_RETURN_TIMESTAMPTZ(GetCurrentTimestamp() + rx_clock_offset());
}

/*
 * test_clock_advance(usecs bigint) - moves reflex's clock forward, for tests.
 * Not declared by the extension: a test declares it itself, as superuser.
 */
REFLEX_FUNCTION(reflex_test_clock_advance)
{
	rx_shmem_require();
	common->clock_offset += PG_GETARG_INT64(0);
	PG_RETURN_VOID();
}
