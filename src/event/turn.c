/*
 * turn.c
 *		Publishers of one session, or with one dedupe key, take turns until they
 *		commit.
 *
 * So the order of a session's positions is the order of its commits, and a
 * reader who has seen one of its events has seen all that come before it; and
 * who publishes a key for the second time finds the first.
 *
 * The turns are kept in a fixed table of stripes in shared memory; a name is
 * mapped to a stripe by its hash, together with its database and log.  A stripe
 * holds the process and transaction whose turn it is.  Who finds it taken waits
 * for that transaction (so the deadlock detector knows of it, and no lock table
 * fills up) and tries again.  Two names may share a stripe: their publishers
 * then wait for each other without need, and nothing else goes wrong.  With
 * 2^18 stripes this is rare but for a transaction that publishes to many
 * thousands of names.
 *
 * A turn ends with its top-level transaction, after visibility; a savepoint
 * that is rolled back keeps it.
 */
#include "reflex.h"

#include "access/transam.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "event/event_int.h"
#include "miscadmin.h"
#include "pg/compat.h"
#include "pg/shmem.h"
#include "pg/wakeup.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/memutils.h"

#define N_STRIPES (1 << 18)

/* The owner: process number + 1 in the upper half, transaction in the lower; 0 for none. */
static pg_atomic_uint64 *stripes;

/* Stripes that this transaction owns; grows before one is taken. */
static uint32 *mine;
static int	n_mine;
static int	room_mine;

static Size
turn_size(void)
{
	return N_STRIPES * sizeof(pg_atomic_uint64);
}

static void
turn_attach(void *ptr, bool found)
{
	stripes = ptr;
	for (int i = 0; !found && i < N_STRIPES; i++)
		pg_atomic_init_u64(&stripes[i], 0);
}

static const RxShmemArea turn_area = {
	.name = "reflex turns",
	.size = turn_size,
	.attach = turn_attach,
};

static uint32
stripe_of(RxTurnKind kind, RxLogId log, const char *name)
{
	uint32		h = DatumGetUInt32(hash_any((const unsigned char *) name, (int) strlen(name)));
	uint32		where = (uint32) ((rx_db_index(rx_db()) * RX_N_LOGS + (int) log) * 2 + (int) kind);

	return hash_combine(h, murmurhash32(where)) % N_STRIPES;
}

static void
remember(uint32 stripe)
{
	mine[n_mine++] = stripe;
}

static void
reserve_one(void)
{
	if (n_mine < room_mine)
		return;
	room_mine = Max(16, room_mine * 2);
	mine = mine ? repalloc_huge(mine, room_mine * sizeof(uint32)) :
		MemoryContextAlloc(TopMemoryContext, room_mine * sizeof(uint32));
}

/*
 * Takes the turn, waiting for it if need be.  True when it is newly taken:
 * positions handed out before may be older than what others have published to
 * the session meanwhile.
 */
bool
rx_turn_take(RxTurnKind kind, RxLogId log, const char *name)
{
	uint32		stripe = stripe_of(kind, log, name);
	uint64		me = (uint64) (RxMyProcNumber + 1) << 32 | GetTopTransactionId();
	uint64		owner = 0;

	reserve_one();
	while (!pg_atomic_compare_exchange_u64(&stripes[stripe], &owner, me))
	{
		if (owner == me)
			return false;
		if (owner == 0)
			continue;			/* may fail without cause */
		XactLockTableWait((TransactionId) owner, NULL, NULL, XLTW_None);
		owner = 0;
	}
	remember(stripe);
	return true;
}

/* Would taking the turn wait?  By the time one takes it, it may. */
bool
rx_turn_is_taken(RxTurnKind kind, RxLogId log, const char *name)
{
	uint64		owner = pg_atomic_read_u64(&stripes[stripe_of(kind, log, name)]);

	return owner != 0 && owner >> 32 != (uint64) (RxMyProcNumber + 1);
}

static void
end_transaction(bool committed)
{
	RX_UNUSED(committed);
	while (n_mine > 0)
		pg_atomic_write_u64(&stripes[mine[--n_mine]], 0);
}

static const RxXactHooks turn_hooks = {
	.at_end = end_transaction,
};

void
rx_turn_init(void)
{
	rx_shmem_register(&turn_area);
	rx_xact_hooks_register(&turn_hooks);
}
