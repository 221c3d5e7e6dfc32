/*
 * registry.c
 *		The seats of all workers, the holds and the looks, in shared memory.
 *
 * One LWLock, taken for a few instructions, guards everything but what the
 * process on a seat flips at every turn (its state and duty: atomics).  Nobody
 * waits while holding it, but signals are sent under it: a process leaves its
 * seat under the same lock, so the pid on a seat that is not ENDED is alive.
 *
 * The order that keeps a database free during a utility statement: the hook
 * enters its hold and asks who sits there to go, under one lock; the launcher
 * looks for holds under the same lock when it begins a start.  A process that
 * was asked for before the hold and is born after it finds its start outdated
 * and leaves without connecting.
 *
 * A process leaves its seat in an on_shmem_exit callback that it registered
 * before connecting, so the callback runs after the process has left the array
 * of running backends: who has seen the seat end, will not be told by
 * PostgreSQL that the database is in use.
 *
 * Holds and looks end up in small arrays.  When those overflow, a hold is not
 * entered (the statement then depends on who is quicker, as without reflex) and
 * a look becomes a look at every database.
 */
#include "reflex.h"

#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pg/compat.h"
#include "pg/shmem.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "worker/worker_int.h"

#include <signal.h>

#define MAX_HOLDS 64
#define MAX_LOOKS 64
#define HOLD_WAIT_MS 5000

typedef struct Hold
{
	Oid			database;		/* InvalidOid: unused */
	int			holder;			/* proc number of the backend */
} Hold;

typedef struct Registry
{
	LWLock		lock;
	ConditionVariable ended;	/* somebody has left a seat */
	pg_atomic_uint32 launcher;	/* its proc number + 1; 0: none */
	/* Everything below under lock, but for the atomics in the seats. */
	Hold		holds[MAX_HOLDS];
	int			n_looks;
	bool		look_everywhere;
	Oid			looks[MAX_LOOKS];
	RxSeat		seats[RX_MAX_SEATS];
} Registry;

/* Bit t of follows[s]: state t may follow state s. */
#define TO(state) (1u << RX_SEAT_##state)
static const uint32 follows[] = {
	[RX_SEAT_FREE] = TO(WAITING),
	[RX_SEAT_WAITING] = TO(STARTING) | TO(FREE),
	[RX_SEAT_STARTING] = TO(PROBING) | TO(WAITING) | TO(ENDED),
	[RX_SEAT_PROBING] = TO(RUNNING) | TO(LETTING_GO) | TO(ENDED),
	[RX_SEAT_RUNNING] = TO(SLEEPING) | TO(LETTING_GO) | TO(ENDED),
	[RX_SEAT_SLEEPING] = TO(RUNNING) | TO(LETTING_GO) | TO(ENDED),
	[RX_SEAT_LETTING_GO] = TO(ENDED),
	[RX_SEAT_ENDED] = TO(WAITING) | TO(FREE),
};

static const char *const state_names[] = {
	[RX_SEAT_FREE] = "free",
	[RX_SEAT_WAITING] = "waiting",
	[RX_SEAT_STARTING] = "starting",
	[RX_SEAT_PROBING] = "probing",
	[RX_SEAT_RUNNING] = "running",
	[RX_SEAT_SLEEPING] = "sleeping",
	[RX_SEAT_LETTING_GO] = "letting go",
	[RX_SEAT_ENDED] = "ended",
};

static Registry *shared;
static RxSeat *my_seat;
static RxSeatEnd my_end = RX_END_DIED;
static bool holding;			/* this backend has entered a hold */

static Size
registry_size(void)
{
	return sizeof(Registry);
}

static void
registry_attach(void *ptr, bool found)
{
	shared = ptr;
	if (found)
		return;
	memset(shared, 0, sizeof(Registry));
	LWLockInitialize(&shared->lock, rx_shmem_tranche());
	ConditionVariableInit(&shared->ended);
	pg_atomic_init_u32(&shared->launcher, 0);
	for (int i = 0; i < RX_MAX_SEATS; i++)
	{
		pg_atomic_init_u32(&shared->seats[i].state, RX_SEAT_FREE);
		pg_atomic_init_u32(&shared->seats[i].errors, 0);
		pg_atomic_init_u32(&shared->seats[i].duty, 0);
	}
}

static const RxShmemArea registry_area = {
	.name = "reflex workers",
	.size = registry_size,
	.attach = registry_attach,
};

/* A proc number, not a latch: a process that has gone costs one spurious wake-up. */
void
rx_launcher_wake(void)
{
	uint32		launcher = pg_atomic_read_u32(&shared->launcher);

	if (launcher != 0)
		SetLatch(&ProcGlobal->allProcs[launcher - 1].procLatch);
}

/* ---- seats ---- */

RxSeat *
rx_seat(int number)
{
	return &shared->seats[number];
}

RxSeatState
rx_seat_state(const RxSeat *seat)
{
	return (RxSeatState) pg_atomic_read_u32(unconstify(pg_atomic_uint32 *, &seat->state));
}

/*
 * The one place where a seat changes its state.  False when the process on it
 * has been asked to let go meanwhile, which outranks what it wanted to do.
 */
bool
rx_seat_move(RxSeat *seat, RxSeatState to)
{
	uint32		from = pg_atomic_read_u32(&seat->state);

	do
	{
		if (from == RX_SEAT_LETTING_GO && to != RX_SEAT_ENDED)
			return false;
		if ((follows[from] & (1u << to)) == 0)
			elog(ERROR, "seat of a reflex worker can't go from \"%s\" to \"%s\"",
				 state_names[from], state_names[to]);
	} while (!pg_atomic_compare_exchange_u32(&seat->state, &from, to));
	return true;
}

/* Is there a process on the seat, or one that may connect? */
bool
rx_seat_live(const RxSeat *seat)
{
	RxSeatState state = rx_seat_state(seat);

	return state >= RX_SEAT_STARTING && state <= RX_SEAT_LETTING_GO;
}

/* The message is in the database's encoding (or plain ASCII) and is cut at a character. */
void
rx_seat_note(RxSeat *seat, const char *message)
{
	int			len = pg_mbcliplen(message, strlen(message), sizeof(seat->last_error) - 1);

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	memcpy(seat->last_error, message, len);
	seat->last_error[len] = '\0';
	LWLockRelease(&shared->lock);
}

/* ---- seats, the launcher's side ---- */

static void
launcher_gone(int code, Datum arg)
{
	pg_atomic_write_u32(&shared->launcher, 0);
}

/*
 * From now on this process is the launcher.  A predecessor may have died
 * between asking for a process and hearing of it: those starts are given up,
 * and the process, if it is still born, is too late.
 */
void
rx_launcher_attach(void)
{
	before_shmem_exit(launcher_gone, (Datum) 0);
	pg_atomic_write_u32(&shared->launcher, RxMyProcNumber + 1);
	for (int i = 0; i < RX_MAX_SEATS; i++)
		rx_seat_give_up(&shared->seats[i]);
}

/* A free seat, made WAITING; -1 when all are taken. */
int
rx_seat_reserve(Oid database, RxWorkerKind kind)
{
	int			number = -1;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < RX_MAX_SEATS && number < 0; i++)
	{
		RxSeat	   *seat = &shared->seats[i];

		if (rx_seat_state(seat) != RX_SEAT_FREE)
			continue;
		seat->database = database;
		seat->kind = kind;
		seat->pid = 0;
		seat->since = GetCurrentTimestamp();
		seat->last_error[0] = '\0';
		pg_atomic_write_u32(&seat->errors, 0);
		rx_seat_move(seat, RX_SEAT_WAITING);
		number = i;
	}
	LWLockRelease(&shared->lock);
	return number;
}

static bool
held(Oid database)
{
	for (int i = 0; i < MAX_HOLDS; i++)
		if (shared->holds[i].database == database)
			return true;
	return false;
}

/* WAITING to STARTING, unless the database is held: then 0. */
uint32
rx_seat_begin(RxSeat *seat)
{
	uint32		start = 0;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	if (!held(seat->database))
	{
		if (++seat->start == 0)
			seat->start = 1;
		start = seat->start;
		seat->since = GetCurrentTimestamp();
		rx_seat_move(seat, RX_SEAT_STARTING);
	}
	LWLockRelease(&shared->lock);
	return start;
}

/* The postmaster had no slot: back to WAITING, unless a hold has ended it. */
void
rx_seat_not_begun(RxSeat *seat)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	if (rx_seat_state(seat) == RX_SEAT_STARTING)
		rx_seat_move(seat, RX_SEAT_WAITING);
	LWLockRelease(&shared->lock);
}

/* STARTING to ENDED; the lock is held. */
static void
end_start(RxSeat *seat, RxSeatEnd end)
{
	seat->start++;
	seat->end = end;
	rx_seat_move(seat, RX_SEAT_ENDED);
}

/* ENDED to WAITING: another process shall sit here. */
void
rx_seat_wait_again(RxSeat *seat)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	seat->since = GetCurrentTimestamp();
	rx_seat_move(seat, RX_SEAT_WAITING);
	LWLockRelease(&shared->lock);
}

/* Of a process that was asked for, nothing will be heard any more. */
void
rx_seat_give_up(RxSeat *seat)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	if (rx_seat_state(seat) == RX_SEAT_STARTING)
		end_start(seat, RX_END_DIED);
	LWLockRelease(&shared->lock);
}

/* ---- seats, the process's side ---- */

static void
leave_seat(int code, Datum arg)
{
	RxSeat	   *seat = my_seat;

	my_seat = NULL;
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	seat->end = rx_seat_state(seat) == RX_SEAT_LETTING_GO ? RX_END_ASKED : my_end;
	seat->pid = 0;
	pg_atomic_write_u32(&seat->duty, 0);
	rx_seat_move(seat, RX_SEAT_ENDED);
	LWLockRelease(&shared->lock);
	ConditionVariableBroadcast(&shared->ended);
	rx_launcher_wake();
}

/* Sits down, before connecting; NULL when this process comes too late. */
RxSeat *
rx_seat_take(int number, uint32 start)
{
	RxSeat	   *seat = &shared->seats[number];

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	if (rx_seat_state(seat) == RX_SEAT_STARTING && seat->start == start)
	{
		seat->pid = MyProcPid;
		seat->end = RX_END_DIED;
		rx_seat_move(seat, RX_SEAT_PROBING);
		my_seat = seat;
	}
	LWLockRelease(&shared->lock);
	if (my_seat)
		on_shmem_exit(leave_seat, (Datum) 0);
	return my_seat;
}

/* What leave_seat will say. */
void
rx_seat_ends_as(RxSeatEnd end)
{
	my_end = end;
}

/* ---- holds and looks ---- */

/* Asks who is on a seat, or on the way to it, to leave; the lock is held. */
static void
ask_to_go(RxSeat *seat)
{
	RxSeatState state = rx_seat_state(seat);

	if (state == RX_SEAT_STARTING)
		end_start(seat, RX_END_ASKED);
	else if (state >= RX_SEAT_PROBING && state <= RX_SEAT_SLEEPING &&
			 rx_seat_move(seat, RX_SEAT_LETTING_GO))
		kill(seat->pid, SIGTERM);
}

void
rx_seat_dismiss(RxSeat *seat)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	ask_to_go(seat);
	LWLockRelease(&shared->lock);
}

/* All of a database's workers, but not the one that is asking; the lock is held. */
static void
ask_all_to_go(Oid database)
{
	for (int i = 0; i < RX_MAX_SEATS; i++)
		if (shared->seats[i].database == database && shared->seats[i].pid != MyProcPid)
			ask_to_go(&shared->seats[i]);
}

void
rx_registry_let_go(Oid database)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	ask_all_to_go(database);
	LWLockRelease(&shared->lock);
}

/* Keeps a database free of workers until this transaction ends. */
void
rx_registry_hold(Oid database)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_HOLDS; i++)
	{
		if (OidIsValid(shared->holds[i].database))
			continue;
		shared->holds[i].database = database;
		shared->holds[i].holder = RxMyProcNumber;
		holding = true;
		break;
	}
	ask_all_to_go(database);
	LWLockRelease(&shared->lock);
}

static bool
occupied(Oid database)
{
	bool		live = false;

	LWLockAcquire(&shared->lock, LW_SHARED);
	for (int i = 0; i < RX_MAX_SEATS && !live; i++)
	{
		RxSeat	   *seat = &shared->seats[i];

		live = seat->database == database && seat->pid != MyProcPid && rx_seat_live(seat);
	}
	LWLockRelease(&shared->lock);
	return live;
}

/*
 * Waits until the workers of a held database are gone, at most HOLD_WAIT_MS;
 * after that the statement goes on and says itself what is in its way.
 */
void
rx_registry_wait_free(Oid database)
{
	int64		deadline = rx_clock_mono() + HOLD_WAIT_MS * INT64CONST(1000);
	int64		left;

	ConditionVariablePrepareToSleep(&shared->ended);
	while (occupied(database) && (left = deadline - rx_clock_mono()) > 0)
		(void) ConditionVariableTimedSleep(&shared->ended, left / 1000 + 1,
										   rx_wait_event_new("ReflexLetGo"));
	ConditionVariableCancelSleep();
}

bool
rx_registry_holding(void)
{
	return holding;
}

/* The lock is held. */
static void
add_look(Oid database)
{
	if (shared->n_looks < MAX_LOOKS)
		shared->looks[shared->n_looks++] = database;
	else
		shared->look_everywhere = true;
}

void
rx_registry_look_at(Oid database)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	add_look(database);
	LWLockRelease(&shared->lock);
	rx_launcher_wake();
}

/* At the end of the transaction, whichever it was: the launcher looks again. */
void
rx_registry_release(void)
{
	if (!holding)
		return;
	holding = false;
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_HOLDS; i++)
	{
		Hold	   *hold = &shared->holds[i];

		if (!OidIsValid(hold->database) || hold->holder != RxMyProcNumber)
			continue;
		add_look(hold->database);
		hold->database = InvalidOid;
	}
	LWLockRelease(&shared->lock);
	rx_launcher_wake();
}

/* Empties the list of looks; true: look everywhere. */
bool
rx_registry_take_looks(Oid *databases, int *n, int max)
{
	bool		everywhere;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	*n = Min(shared->n_looks, max);
	memcpy(databases, shared->looks, *n * sizeof(Oid));
	everywhere = shared->look_everywhere || *n < shared->n_looks;
	shared->n_looks = 0;
	shared->look_everywhere = false;
	LWLockRelease(&shared->lock);
	return everywhere;
}

void
rx_registry_init(void)
{
	rx_shmem_register(&registry_area);
}

/* ---- what reflex.workers shows ---- */

static void
put_seat(const RxSeat *seat, ReturnSetInfo *rsinfo)
{
	uint32		duty = pg_atomic_read_u32(unconstify(pg_atomic_uint32 *, &seat->duty));
	Datum		values[8];
	bool		nulls[8] = {0};

	values[0] = ObjectIdGetDatum(seat->database);
	values[1] = CStringGetTextDatum(seat->kind == RX_WORKER_IO ? "io" : "sql");
	values[2] = Int32GetDatum(seat->pid);
	nulls[2] = seat->pid == 0;
	values[3] = CStringGetTextDatum(state_names[rx_seat_state(seat)]);
	nulls[4] = duty == 0;
	if (duty != 0)
		values[4] = CStringGetTextDatum(rx_duties[duty - 1]->name);
	values[5] = Int64GetDatum(pg_atomic_read_u32(unconstify(pg_atomic_uint32 *, &seat->errors)));
	nulls[6] = seat->last_error[0] == '\0';
	if (!nulls[6])
		values[6] = CStringGetTextDatum(seat->last_error);
	values[7] = TimestampTzGetDatum(seat->since);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/*
 * workers() - one row for each seat.  An error's text is in the encoding of its
 * own database; where that does not make sense it is left out.
 */
REFLEX_FUNCTION(reflex_workers)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	RxSeat	   *copy = palloc(sizeof(RxSeat));

	rx_shmem_require();
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < RX_MAX_SEATS; i++)
	{
		LWLockAcquire(&shared->lock, LW_SHARED);
		*copy = shared->seats[i];
		LWLockRelease(&shared->lock);
		if (rx_seat_state(copy) == RX_SEAT_FREE)
			continue;
		if (copy->database != MyDatabaseId && !pg_verifymbstr(copy->last_error, strlen(copy->last_error), true))
			copy->last_error[0] = '\0';
		put_seat(copy, rsinfo);
	}
	return (Datum) 0;
}
