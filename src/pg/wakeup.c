/*
 * wakeup.c
 *		What happens at the end of a transaction, and who is woken by it.
 *		See wakeup.h.
 *
 * The registry of workers is a small array in shared memory.  A worker writes
 * its own slot; everybody reads.  A slot holds a proc number, not a pointer to
 * a latch: setting the latch of a process that has exited since hits a proc
 * slot that is free or somebody else's, which costs one spurious wake-up.
 */
#include "reflex.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pg/compat.h"
#include "pg/shmem.h"
#include "pg/wakeup.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"

#define MAX_WORKERS 256
#define MAX_HOOKS 16

typedef struct WakeSlot
{
	pg_atomic_uint32 used;		/* claimed by compare-and-swap by its worker */
	pg_atomic_uint32 sleeping;	/* 1: wants a signal; cleared by who sends it */
	Oid			database;		/* written by its worker before used is read */
	RxWorkerKind kind;
	int			procno;
} WakeSlot;

typedef struct WakeShared
{
	WakeSlot	slots[MAX_WORKERS];
} WakeShared;

static WakeShared *shared;
static WakeSlot *my_slot;
static const RxXactHooks *hooks[MAX_HOOKS];
static int	n_hooks;
static bool wake_at_commit[RX_WORKER_SQL + 1];

static Size
wake_size(void)
{
	return sizeof(WakeShared);
}

static void
wake_attach(void *ptr, bool found)
{
	shared = ptr;
	if (found)
		return;
	for (int i = 0; i < MAX_WORKERS; i++)
	{
		pg_atomic_init_u32(&shared->slots[i].used, 0);
		pg_atomic_init_u32(&shared->slots[i].sleeping, 0);
	}
}

static const RxShmemArea wake_area = {
	.name = "reflex wakeup",
	.size = wake_size,
	.attach = wake_attach,
};

static void
leave_slot(int code, Datum arg)
{
	if (my_slot)
	{
		pg_atomic_write_u32(&my_slot->sleeping, 0);
		pg_write_barrier();
		pg_atomic_write_u32(&my_slot->used, 0);
		my_slot = NULL;
	}
}

void
rx_wakeup_register(Oid database, RxWorkerKind kind)
{
	for (int i = 0; i < MAX_WORKERS; i++)
	{
		WakeSlot   *slot = &shared->slots[i];
		uint32		unused = 0;

		if (!pg_atomic_compare_exchange_u32(&slot->used, &unused, 1))
			continue;
		slot->database = database;
		slot->kind = kind;
		slot->procno = RxMyProcNumber;
		my_slot = slot;
		before_shmem_exit(leave_slot, (Datum) 0);
		return;
	}
	ereport(FATAL,
			errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			errmsg("too many reflex workers"));
}

void
rx_wakeup_sleeping(bool sleeping)
{
	pg_atomic_write_u32(&my_slot->sleeping, sleeping ? 1 : 0);
	pg_memory_barrier();
}

void
rx_wakeup_workers(Oid database, RxWorkerKind kind)
{
	pg_memory_barrier();
	for (int i = 0; i < MAX_WORKERS; i++)
	{
		WakeSlot   *slot = &shared->slots[i];
		uint32		one = 1;

		if (pg_atomic_read_u32(&slot->sleeping) == 0 ||
			slot->database != database || slot->kind != kind)
			continue;
		/* Of many that commit at once, one sends the signal. */
		if (pg_atomic_compare_exchange_u32(&slot->sleeping, &one, 0))
			SetLatch(&ProcGlobal->allProcs[slot->procno].procLatch);
	}
}

void
rx_wakeup_workers_at_commit(RxWorkerKind kind)
{
	if (IsTransactionState())
		wake_at_commit[kind] = true;
	else
		rx_wakeup_workers(MyDatabaseId, kind);
}

void
rx_xact_hooks_register(const RxXactHooks *room)
{
	if (n_hooks == MAX_HOOKS)
		elog(ERROR, "too many transaction hooks");
	hooks[n_hooks++] = room;
}

/* The rooms first, so that a woken worker finds what it was woken for. */
static void
end_transaction(bool committed)
{
	for (int i = 0; i < n_hooks; i++)
		if (hooks[i]->at_end)
			hooks[i]->at_end(committed);
	for (int kind = 0; kind <= RX_WORKER_SQL; kind++)
	{
		if (committed && wake_at_commit[kind])
			rx_wakeup_workers(MyDatabaseId, kind);
		wake_at_commit[kind] = false;
	}
}

static void
pre_commit(bool prepare)
{
	for (int i = 0; i < n_hooks; i++)
		if (hooks[i]->pre_commit)
			hooks[i]->pre_commit(prepare);
}

static void
xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			pre_commit(false);
			break;
		case XACT_EVENT_PRE_PREPARE:
			pre_commit(true);
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
			end_transaction(event == XACT_EVENT_COMMIT);
			break;
		default:
			break;
	}
}

static void
subxact_callback(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	for (int i = 0; i < n_hooks; i++)
	{
		if (event == SUBXACT_EVENT_ABORT_SUB && hooks[i]->at_subabort)
			hooks[i]->at_subabort(level);
		if (event == SUBXACT_EVENT_COMMIT_SUB && hooks[i]->at_subcommit)
			hooks[i]->at_subcommit(level);
	}
}

void
rx_wakeup_init(void)
{
	rx_shmem_register(&wake_area);
	RegisterXactCallback(xact_callback, NULL);
	RegisterSubXactCallback(subxact_callback, NULL);
}
