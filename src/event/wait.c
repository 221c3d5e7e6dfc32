/*
 * wait.c
 *		Waiting receivers: receive(wait => ...) sleeps until there is something.
 *
 * Each process has a slot that says which subscription it waits for.  It fills
 * the slot, looks once more whether there is something, and sleeps on its
 * latch, at the longest until the subscription's next timer.  Who makes
 * something available (a publisher at commit, a nack, a lease that is given
 * back) wakes one process per subscription; that one, when it has taken its
 * fill and more is left, wakes the next.
 *
 * A waiting statement keeps its snapshot, as every statement does: it holds
 * back xmin for as long as it waits, a minute at most.
 */
#include "reflex.h"

#include "event/event_int.h"
#include "miscadmin.h"
#include "pg/compat.h"
#include "pg/shmem.h"
#include "pg/wakeup.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/wait_event.h"

#define LOOK_US (RX_USECS_PER_SEC / 5)

typedef struct WaitShared
{
	pg_atomic_uint32 n_waiting; /* of all slots; 0 spares publishers the look */
	pg_atomic_uint32 slot[FLEXIBLE_ARRAY_MEMBER];	/* by process: index of an RxSub + 1, or 0 */
} WaitShared;

static WaitShared *shared;
static uint32 waiting_for;		/* what my slot holds; 0 when I do not wait */

static Size
wait_size(void)
{
	return offsetof(WaitShared, slot) + RxTotalProcs * sizeof(pg_atomic_uint32);
}

static void
wait_attach(void *ptr, bool found)
{
	shared = ptr;
	if (found)
		return;
	pg_atomic_init_u32(&shared->n_waiting, 0);
	for (int i = 0; i < RxTotalProcs; i++)
		pg_atomic_init_u32(&shared->slot[i], 0);
}

static const RxShmemArea wait_area = {
	.name = "reflex waiters",
	.size = wait_size,
	.attach = wait_attach,
};

static uint32
slot_value(const RxSub *sub)
{
	return (uint32) (sub - rx_shared->subs) + 1;
}

static void
leave(void)
{
	if (waiting_for == 0)
		return;
	pg_atomic_write_u32(&shared->slot[RxMyProcNumber], 0);
	pg_atomic_fetch_sub_u32(&shared->n_waiting, 1);
	waiting_for = 0;
}

static void
enter(const RxSub *sub)
{
	waiting_for = slot_value(sub);
	pg_atomic_fetch_add_u32(&shared->n_waiting, 1);
	pg_atomic_write_u32(&shared->slot[RxMyProcNumber], waiting_for);
	pg_memory_barrier();
}

/* Takes one waiter off the list and wakes him. */
static bool
wake_one(int proc, uint32 value)
{
	uint32		expected = value;

	if (!pg_atomic_compare_exchange_u32(&shared->slot[proc], &expected, 0))
		return false;
	SetLatch(&ProcGlobal->allProcs[proc].procLatch);
	return true;
}

/* Something is to be had from this subscription.  Never throws. */
void
rx_wait_wake(const RxSub *sub)
{
	uint32		value = slot_value(sub);

	pg_memory_barrier();
	if (pg_atomic_read_u32(&shared->n_waiting) == 0)
		return;
	for (int proc = 0; proc < RxTotalProcs; proc++)
		if (pg_atomic_read_u32(&shared->slot[proc]) == value && wake_one(proc, value))
			return;
}

/* Something was published: one waiter of each subscription that reads this log. */
void
rx_wait_wake_log(const RxDb *db, RxLogId log)
{
	static uint64 woken[RX_MAX_SUBS / 64 + 1];

	pg_memory_barrier();
	if (pg_atomic_read_u32(&shared->n_waiting) == 0)
		return;
	memset(woken, 0, sizeof(woken));
	for (int proc = 0; proc < RxTotalProcs; proc++)
	{
		uint32		value = pg_atomic_read_u32(&shared->slot[proc]);
		RxSub	   *sub;

		if (value == 0 || RX_BIT_TEST(woken, value))
			continue;
		sub = &rx_shared->subs[value - 1];
		if (sub->db == rx_db_index(db) && sub->log == log && wake_one(proc, value))
			RX_BIT_SET(woken, value);
	}
}

/* Sleeps until there may be something in the subscription, or the time is up. */
void
rx_wait_for(RxSubInfo *info, RxSub *sub, int64 until)
{
	int64		due;
	int64		now;

	enter(sub);
	now = rx_clock_mono();
	/* Nobody tells a waiter that a pause has ended: it looks now and then. */
	due = Min(info->paused ? now + LOOK_US : rx_subscription_due(info->id), until);
	if (due > now)
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 (due - now + 999) / 1000, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	leave();
	CHECK_FOR_INTERRUPTS();
}

static void
end_transaction(bool committed)
{
	RX_UNUSED(committed);
	leave();
}

static const RxXactHooks wait_hooks = {
	.at_end = end_transaction,
};

void
rx_wait_init(void)
{
	rx_shmem_register(&wait_area);
	rx_xact_hooks_register(&wait_hooks);
}
