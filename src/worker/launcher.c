/*
 * launcher.c
 *		The launcher: decides which databases have workers, and keeps them there.
 *
 * One static background worker, attached to no database.  From pg_database and
 * reflex.databases it knows which databases it may look after.  Whether one of
 * them has the extension only a process inside it can tell: the io worker that
 * is put there leaves again at once when it hasn't, which the launcher
 * remembers until somebody tells it to look again (CREATE EXTENSION does, at
 * commit).  Where the io worker stays, the sql workers follow.
 *
 * Nothing it knows needs to survive it: seats are in shared memory and their
 * processes go on without it, presence is found out again.  It exits with 1,
 * never 0, so that the postmaster starts it again.
 *
 * A worker that died comes back after a delay that grows while it keeps dying
 * young.  Where max_worker_processes leaves fewer slots than there are seats
 * to fill, databases take turns: who has been without workers longest is
 * served first, and who has had its workers longest, for a turn at least, lets
 * go of them for that one.  (One slot for all is not enough: a database is
 * served when it has an io worker and a sql worker.)
 */
#include "reflex.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/backoff.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pg/compat.h"
#include "pg/guc.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/procsignal.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"
#include "worker/worker.h"
#include "worker/worker_int.h"

#define RESTART_SECONDS 5		/* of the launcher, by the postmaster */
#define RETRY_MIN (1 * RX_USECS_PER_SEC)
#define RETRY_MAX (60 * RX_USECS_PER_SEC)
#define DIED_YOUNG (1 * RX_USECS_PER_SEC)	/* counts as a failed start */
#define LIVED_WELL (60 * RX_USECS_PER_SEC)	/* earlier failures are forgotten */
#define NO_SLOT_RETRY (1 * RX_USECS_PER_SEC)
#define CHANGE_PAUSE (2 * RX_USECS_PER_SEC)
#define COMPLAIN_EVERY (60 * RX_USECS_PER_SEC)
#define MAX_PROBES 4			/* at once; slots are for others, too */
#define MAX_LOOKS 64

typedef enum Presence
{
	UNKNOWN,
	ABSENT,
	PRESENT
} Presence;

typedef struct Database
{
	Oid			oid;			/* hash key */
	Presence	presence;		/* of the extension */
	bool		wanted;			/* by pg_database and reflex.databases */
	bool		live;			/* has workers, at the beginning of this turn */
	bool		look_again;		/* somebody said so while we were probing */
	int64		turn_began;		/* when it last got workers; 0: never */
} Database;

/* What the launcher alone knows of a seat; parallel to the seats. */
typedef struct Plan
{
	BackgroundWorkerHandle *handle; /* of the process last asked for, or NULL */
	int64		started;
	int64		next_try;
	int			deaths;			/* young ones, in a row */
} Plan;

static HTAB *databases;
static Plan plans[RX_MAX_SEATS];
static MemoryContext scratch;
static int64 now;				/* of this turn */
static int64 scan_due;
static bool out_of_slots;		/* this turn: the postmaster has none to give */
static int64 scarce_until;		/* it had none not long ago */
static int64 wake_at;			/* when this turn's business wants to go on */
static int	n_probing;
static int64 next_change;		/* earliest time to change turns again */
static Oid	first_hungry;		/* wants a slot most, and got none */

PGDLLEXPORT void reflex_launcher_main(Datum arg);

/* ---- which databases there are ---- */

/* The names in reflex.databases; true when all are meant. */
static bool
read_setting(List **names)
{
	char	   *raw = MemoryContextStrdup(scratch, rx_guc_databases);
	ListCell   *lc;

	*names = NIL;
	/* The setting's syntax has been checked when it was set. */
	(void) SplitIdentifierString(raw, ',', names);
	foreach(lc, *names)
	{
		if (strcmp(lfirst(lc), "*") == 0)
			return true;
	}
	return false;
}

static bool
named(List *names, const char *name)
{
	ListCell   *lc;

	foreach(lc, names)
	{
		if (strcmp(lfirst(lc), name) == 0)
			return true;
	}
	return false;
}

static void
want_database(Oid oid)
{
	bool		found;
	Database   *db = hash_search(databases, &oid, HASH_ENTER, &found);

	if (!found)
	{
		db->presence = UNKNOWN;
		db->look_again = false;
		db->turn_began = 0;
	}
	db->wanted = true;
}

/* Templates are copied and invalid ones half dropped: they are not for us. */
static bool
is_for_us(Form_pg_database form)
{
	return form->datallowconn && !form->datistemplate && form->datconnlimit != -2;
}

static void
read_catalog(bool all, List *names)
{
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		if (is_for_us(form) && (all || named(names, NameStr(form->datname))))
			want_database(form->oid);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(scratch);
}

static bool
has_seats(Oid database)
{
	for (int i = 0; i < RX_MAX_SEATS; i++)
		if (rx_seat_state(rx_seat(i)) != RX_SEAT_FREE && rx_seat(i)->database == database)
			return true;
	return false;
}

static void
scan_databases(void)
{
	HASH_SEQ_STATUS status;
	Database   *db;
	List	   *names;
	bool		all = read_setting(&names);

	hash_seq_init(&status, databases);
	while ((db = hash_seq_search(&status)) != NULL)
		db->wanted = false;
	read_catalog(all, names);
	hash_seq_init(&status, databases);
	while ((db = hash_seq_search(&status)) != NULL)
		if (!db->wanted && !has_seats(db->oid))
			(void) hash_search(databases, &db->oid, HASH_REMOVE, NULL);
	scan_due = now + rx_guc_poll_interval * INT64CONST(1000);
}

/* ---- what has happened to the workers ---- */

static bool
has_live_seats(Oid database, bool probing)
{
	for (int i = 0; i < RX_MAX_SEATS; i++)
	{
		RxSeat	   *seat = rx_seat(i);

		if (seat->database == database && rx_seat_live(seat) &&
			(!probing || rx_seat_state(seat) <= RX_SEAT_PROBING))
			return true;
	}
	return false;
}

static void
look_at(Database *db)
{
	if (has_live_seats(db->oid, true))
		db->look_again = true;
	else if (!has_live_seats(db->oid, false))
		db->presence = UNKNOWN;
}

static void
take_looks(void)
{
	Oid			oids[MAX_LOOKS];
	int			n;
	bool		everywhere = rx_registry_take_looks(oids, &n, MAX_LOOKS);
	HASH_SEQ_STATUS status;
	Database   *db;

	for (int i = 0; i < n; i++)
		if ((db = hash_search(databases, &oids[i], HASH_FIND, NULL)) != NULL)
			look_at(db);
	if (everywhere)
	{
		hash_seq_init(&status, databases);
		while ((db = hash_seq_search(&status)) != NULL)
			look_at(db);
	}
	/* Whoever asks may have made a database just now. */
	if (n > 0 || everywhere)
		scan_due = 0;
}

static void
found_absent(Database *db)
{
	db->presence = db->look_again ? UNKNOWN : ABSENT;
	db->look_again = false;
	rx_registry_let_go(db->oid);
}

static void
plan_retry(RxSeat *seat, Plan *plan)
{
	int64		lived = now - plan->started;

	if (lived < DIED_YOUNG)
		plan->deaths++;
	else if (lived > LIVED_WELL || plan->deaths == 0)
		plan->deaths = 1;
	plan->next_try = now + rx_backoff_cap(plan->deaths, RETRY_MIN, RETRY_MAX);
	pg_atomic_fetch_add_u32(&seat->errors, 1);
}

/* A process has left its seat: what does that mean, and who sits there next? */
static void
reap(RxSeat *seat, Plan *plan)
{
	Database   *db = hash_search(databases, &seat->database, HASH_FIND, NULL);

	if (plan->handle)
		pfree(plan->handle);
	plan->handle = NULL;
	plan->next_try = 0;
	if (seat->end == RX_END_ABSENT && db)
		found_absent(db);
	if (seat->end == RX_END_ABSENT || db == NULL)
	{
		rx_seat_move(seat, RX_SEAT_FREE);
		return;
	}
	if (seat->end == RX_END_DIED)
		plan_retry(seat, plan);
	rx_seat_wait_again(seat);
}

/* An io worker that has stopped probing has found the extension. */
static void
note_presence(const RxSeat *seat)
{
	Database   *db = hash_search(databases, &seat->database, HASH_FIND, NULL);

	if (db && seat->kind == RX_WORKER_IO)
	{
		db->presence = PRESENT;
		db->look_again = false;
	}
}

/* The postmaster could not start it, or it died before it came to its seat. */
static bool
never_came(const Plan *plan)
{
	pid_t		pid;

	return plan->handle && GetBackgroundWorkerPid(plan->handle, &pid) == BGWH_STOPPED;
}

static void
hear_of_workers(void)
{
	n_probing = 0;
	for (int i = 0; i < RX_MAX_SEATS; i++)
	{
		RxSeat	   *seat = rx_seat(i);

		if (rx_seat_state(seat) == RX_SEAT_STARTING && never_came(&plans[i]))
			rx_seat_give_up(seat);
		switch (rx_seat_state(seat))
		{
			case RX_SEAT_STARTING:
			case RX_SEAT_PROBING:
				n_probing += seat->kind == RX_WORKER_IO;
				break;
			case RX_SEAT_RUNNING:
			case RX_SEAT_SLEEPING:
				note_presence(seat);
				break;
			case RX_SEAT_ENDED:
				reap(seat, &plans[i]);
				break;
			default:
				break;
		}
	}
}

/* ---- filling seats ---- */

/* One line a minute, however many databases wait. */
static void
no_slot(RxSeat *seat)
{
	static int64 complain_at = 0;

	out_of_slots = true;
	scarce_until = now + COMPLAIN_EVERY;
	rx_seat_note(seat, "no background worker slot is free");
	if (now < complain_at)
		return;
	complain_at = now + COMPLAIN_EVERY;
	ereport(LOG,
			errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			errmsg("out of background worker slots for reflex"),
			errdetail("Databases take turns until there are enough."),
			errhint("Increase max_worker_processes; each database with reflex takes 1 + reflex.workers_per_database."));
}

static bool
ask_postmaster(int number, uint32 start)
{
	RxSeat	   *seat = rx_seat(number);
	const char *kind = seat->kind == RX_WORKER_IO ? "io" : "sql";
	RxWorkerStart extra = {.start = start};
	BackgroundWorker worker = {0};
	MemoryContext old;
	bool		ok;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = Int32GetDatum(number);
	memcpy(worker.bgw_extra, &extra, sizeof(extra));
	strlcpy(worker.bgw_library_name, "reflex", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "reflex_worker_main", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "reflex %s worker for database %u", kind, seat->database);
	snprintf(worker.bgw_type, BGW_MAXLEN, "reflex %s worker", kind);
	old = MemoryContextSwitchTo(TopMemoryContext);
	ok = RegisterDynamicBackgroundWorker(&worker, &plans[number].handle);
	MemoryContextSwitchTo(old);
	return ok;
}

static void
go_hungry(Database *db)
{
	if (!OidIsValid(first_hungry))
		first_hungry = db->oid;
	wake_at = Min(wake_at, now + NO_SLOT_RETRY);
}

static void
try_start(Database *db, int number)
{
	RxSeat	   *seat = rx_seat(number);
	Plan	   *plan = &plans[number];
	bool		first = !has_live_seats(db->oid, false);
	uint32		start;

	if (rx_seat_state(seat) != RX_SEAT_WAITING)
		return;
	if (now < plan->next_try)
	{
		wake_at = Min(wake_at, plan->next_try);
		return;
	}
	if (db->presence == UNKNOWN && n_probing >= MAX_PROBES)
		return;
	if (out_of_slots)
	{
		go_hungry(db);
		return;
	}
	if ((start = rx_seat_begin(seat)) == 0)
		return;
	plan->started = now;
	if (!ask_postmaster(number, start))
	{
		rx_seat_not_begun(seat);
		no_slot(seat);
		go_hungry(db);
		return;
	}
	n_probing += seat->kind == RX_WORKER_IO;
	if (first)
		db->turn_began = now;
}

static void
reserve_and_start(Database *db, RxWorkerKind kind)
{
	int			number = rx_seat_reserve(db->oid, kind);

	if (number < 0)
	{
		out_of_slots = true;
		go_hungry(db);
		return;
	}
	memset(&plans[number], 0, sizeof(Plan));
	try_start(db, number);
}

/* Sees to it that a database has so many seats of a kind, and fills them. */
static void
keep_seats(Database *db, RxWorkerKind kind, int n)
{
	for (int i = 0; i < RX_MAX_SEATS; i++)
	{
		RxSeat	   *seat = rx_seat(i);
		RxSeatState state = rx_seat_state(seat);

		if (state == RX_SEAT_FREE || seat->database != db->oid || seat->kind != kind)
			continue;
		if (--n >= 0)
			try_start(db, i);
		else if (state == RX_SEAT_WAITING)
			rx_seat_move(seat, RX_SEAT_FREE);
		else
			rx_seat_dismiss(seat);
	}
	for (; n > 0; n--)
		reserve_and_start(db, kind);
}

static int
compare_turns(const ListCell *a, const ListCell *b)
{
	const Database *x = lfirst(a);
	const Database *y = lfirst(b);

	if (x->live != y->live)
		return x->live ? -1 : 1;
	if (x->turn_began != y->turn_began)
		return x->turn_began < y->turn_began ? -1 : 1;
	return x->oid < y->oid ? -1 : x->oid > y->oid;
}

/*
 * All databases: first those that have workers already, for what they lack
 * (half a set of workers does nobody any good), then who has waited longest.
 */
static List *
databases_in_turn(void)
{
	List	   *list = NIL;
	HASH_SEQ_STATUS status;
	Database   *db;

	hash_seq_init(&status, databases);
	while ((db = hash_seq_search(&status)) != NULL)
	{
		db->live = has_live_seats(db->oid, false);
		list = lappend(list, db);
	}
	list_sort(list, compare_turns);
	return list;
}

/* Somebody waits for a slot: who has had its workers longest lets go of them. */
static void
change_turns(List *in_turn)
{
	int64		length = 2 * rx_guc_poll_interval * INT64CONST(1000);
	ListCell   *lc;

	if (!OidIsValid(first_hungry) || now < next_change)
		return;
	foreach(lc, in_turn)
	{
		Database   *db = lfirst(lc);

		if (db->oid == first_hungry || !db->live)
			continue;
		if (now - db->turn_began < length)
		{
			wake_at = Min(wake_at, db->turn_began + length);
			return;
		}

		/* Its slots take a moment to become free; nobody else leaves for that. */
		rx_registry_let_go(db->oid);
		next_change = now + CHANGE_PAUSE;
		return;
	}
}

static void
serve(void)
{
	List	   *in_turn = databases_in_turn();
	ListCell   *lc;

	first_hungry = InvalidOid;
	out_of_slots = false;
	foreach(lc, in_turn)
	{
		Database   *db = lfirst(lc);

		keep_seats(db, RX_WORKER_IO, db->wanted && db->presence != ABSENT ? 1 : 0);
		keep_seats(db, RX_WORKER_SQL,
				   db->wanted && db->presence == PRESENT ? rx_guc_workers_per_database : 0);
		/* Where slots are scarce, the next one is for this one's sql worker. */
		if (now < scarce_until && db->presence == UNKNOWN && has_live_seats(db->oid, false))
			out_of_slots = true;
	}
	change_turns(in_turn);
}

/* ---- the loop ---- */

static void
answer_signals(void)
{
	CHECK_FOR_INTERRUPTS();
	if (ShutdownRequestPending)
	{
		ereport(DEBUG1, errmsg_internal("reflex launcher is shutting down"));
		proc_exit(1);
	}
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		scan_due = 0;
	}
}

static void
set_up(void)
{
	HASHCTL		ctl = {.keysize = sizeof(Oid),.entrysize = sizeof(Database)};

	databases = hash_create("reflex databases", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	scratch = AllocSetContextCreate(TopMemoryContext, "reflex launcher turn",
									ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(scratch);
	SetConfigOption("application_name", "reflex launcher", PGC_USERSET, PGC_S_SESSION);
	rx_launcher_attach();
}

static void
turn(void)
{
	MemoryContextReset(scratch);
	now = rx_clock_mono();
	take_looks();
	if (now >= scan_due)
		scan_databases();
	wake_at = scan_due;
	hear_of_workers();
	serve();
}

void
reflex_launcher_main(Datum arg)
{
	uint32		wait_event = rx_wait_event_new("ReflexLauncherMain");

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGUSR1, procsignal_sigusr1_handler);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	set_up();
	for (;;)
	{
		ResetLatch(MyLatch);
		answer_signals();
		turn();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Max(0, (wake_at - rx_clock_mono() + 999) / 1000), wait_event);
	}
}

static void
register_launcher(void)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_SECONDS;
	strlcpy(worker.bgw_library_name, "reflex", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "reflex_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "reflex launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "reflex launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

void
rx_worker_init(void)
{
	rx_registry_init();
	/* pg_upgrade starts servers that must do nothing by themselves. */
	if (IsBinaryUpgrade)
		return;
	rx_utility_init();
	register_launcher();
}
