/*
 * worker.c
 *		A worker: one process, one database, one loop over the duties of its kind.
 *
 * Each turn of the loop: answer signals, run every duty that is due for one
 * bounded step, and, when none has more to do, sleep until the earliest of
 * them is due again, the latch is set (somebody committed work for this kind,
 * see pg/wakeup.h), a duty's descriptor becomes readable or the postmaster dies
 * (the process ends on the spot: an orphan must never act beside the next
 * server).  Before it sleeps it says so, and looks once more: who committed
 * before reading that, has been seen; who did after, sets the latch.
 *
 * An error of a duty ends its transaction and nothing else.  The duty rests, a
 * second at first and a minute at most, while the others go on.  Its
 * descriptor is left out of the wait while it rests: it may well be readable,
 * and would spin the loop.
 *
 * SIGTERM asks: the loop finishes the step it is in, lets the duties clean up
 * and exits.  A POSIX timer repeats the signal after GRACE_MS, and the second
 * one insists: the transaction is aborted wherever it stands (lock waits and
 * handlers included) and the process exits without asking its duties, for
 * whom that is no different from kill -9.  (A timer of PostgreSQL's can't be
 * armed from a signal handler; timer_settime can.)
 *
 * What is not promised: that a library call which does not return ends in time.
 */
#include "reflex.h"

#include "access/xact.h"
#include "base/backoff.h"
#include "commands/extension.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pg/compat.h"
#include "pg/guc.h"
#include "pg/wakeup.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/bufmgr.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/procsignal.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/wait_event.h"
#include "worker/worker_int.h"

#include <signal.h>
#include <time.h>

#define GRACE_MS 500
#define REST_MIN (1 * RX_USECS_PER_SEC)
#define REST_MAX (60 * RX_USECS_PER_SEC)
#define MAX_DUTIES 32
#define N_FIXED_EVENTS 2		/* latch and postmaster death */

struct Engagement;

/* What is called of a duty: its step, its descriptor's handler, its end. */
typedef bool (*Part) (const RxDuty *duty, struct Engagement *e);

/* What this process knows of a duty; parallel to rx_duties. */
typedef struct Engagement
{
	bool		mine;			/* of my kind */
	bool		started;
	int			failures;		/* in a row, of one part */
	Part		failed;			/* the part they were of */
	int64		rests_until;	/* 0: does not rest */
	int			waited_fd;		/* in the wait set, or -1 */
} Engagement;

static RxSeat *seat;
static Engagement engagements[MAX_DUTIES];
static MemoryContext scratch;
static WaitEventSet *wait_set;
static uint32 wait_event;

static Oid	extension;			/* the one this worker came for */
static volatile bool look_for_extension;
static int64 looked_at;

static timer_t insist_timer;
static volatile sig_atomic_t graceful = false;	/* the loop will notice */

typedef struct PinnedSetting
{
	const char *name;
	const char *value;
	bool		io_only;
} PinnedSetting;

/*
 * A database or role may have any of these set as it likes (process_settings
 * applies ALTER DATABASE and ALTER ROLE to workers, too); what duties and
 * handlers rely on is set here.  TimeZone is left as the database has it: what
 * is stored are instants, and a handler that says "today" means its database's.
 */
static const PinnedSetting pinned[] = {
	{"role", "none"},
	{"search_path", "pg_catalog, pg_temp"},
	{"bytea_output", "hex"},
	{"client_min_messages", "warning"},
	{"DateStyle", "ISO, YMD"},
	{"IntervalStyle", "postgres"},
	{"extra_float_digits", "1"},
	{"standard_conforming_strings", "on"},
	{"default_transaction_deferrable", "off"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"idle_in_transaction_session_timeout", "0"},
	{"lock_timeout", "0"},
	{"statement_timeout", "0"},
	{"transaction_timeout", "0"},	/* from 17 on */
	{"row_security", "on"},
	{"session_replication_role", "origin"},
	{"default_table_access_method", "heap"},
	{"default_tablespace", ""},
	{"synchronous_commit", "on", true},
};

PGDLLEXPORT void reflex_worker_main(Datum arg);

/* ---- starting ---- */

/* SIGTERM; see the top of the file. */
static void
on_terminate(SIGNAL_ARGS)
{
	int			save_errno = errno;
	const struct itimerspec grace = {.it_value = {.tv_nsec = GRACE_MS * 1000000L}};

	if (graceful && !ShutdownRequestPending)
	{
		ShutdownRequestPending = true;
		SetLatch(MyLatch);
		(void) timer_settime(insist_timer, 0, &grace, NULL);
	}
	else
		die(postgres_signal_arg);
	errno = save_errno;
}

static void
install_signals(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGTERM};

	if (timer_create(CLOCK_MONOTONIC, &event, &insist_timer) != 0)
		ereport(FATAL, errmsg("could not create a timer: %m"));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, on_terminate);
	pqsignal(SIGUSR1, procsignal_sigusr1_handler);
	BackgroundWorkerUnblockSignals();
}

static void
pin_settings(void)
{
	SetConfigOption("application_name",
					seat->kind == RX_WORKER_IO ? "reflex io worker" : "reflex sql worker",
					PGC_USERSET, PGC_S_SESSION);
	for (int i = 0; i < (int) lengthof(pinned); i++)
	{
		if (pinned[i].io_only && seat->kind != RX_WORKER_IO)
			continue;
		if (GetConfigOption(pinned[i].name, true, false) != NULL)
			SetConfigOption(pinned[i].name, pinned[i].value, PGC_SUSET, PGC_S_SESSION);
	}
}

/* ---- is the extension (still) here? ---- */

/* DROP EXTENSION drops our schemas; pg_extension itself sends no message. */
static void
catalog_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	look_for_extension = true;
}

static Oid
find_extension(void)
{
	Oid			found;

	StartTransactionCommand();
	found = get_extension_oid("reflex", true);
	CommitTransactionCommand();
	return found;
}

static void
leave_if_extension_has_gone(void)
{
	int64		now = rx_clock_mono();

	AcceptInvalidationMessages();
	if (!look_for_extension && now - looked_at < rx_guc_poll_interval * INT64CONST(1000))
		return;
	look_for_extension = false;
	looked_at = now;
	if (find_extension() == extension)
		return;
	rx_seat_ends_as(RX_END_ABSENT);
	proc_exit(0);
}

/* ---- running a duty ---- */

/* Between two steps there is nothing that pg_cancel_backend could cancel. */
static void
answer_interrupts(void)
{
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
}

/*
 * After an error: end the transaction, report, give back what an error outside
 * of a transaction may have left behind.
 */
static void
recover(Engagement *e, Part part)
{
	ErrorData  *error;

	HOLD_INTERRUPTS();
	disable_all_timeouts(false);
	QueryCancelPending = false;
	MemoryContextSwitchTo(scratch);
	error = CopyErrorData();
	EmitErrorReport();
	AbortOutOfAnyTransaction();
	ConditionVariableCancelSleep();
	LWLockReleaseAll();
	pgstat_report_wait_end();
	UnlockBuffers();
	FlushErrorState();
	MemoryContextSwitchTo(scratch);
	error_context_stack = NULL;
	RESUME_INTERRUPTS();

	e->failures = e->failed == part ? e->failures + 1 : 1;
	e->failed = part;
	e->rests_until = rx_clock_mono() + rx_backoff_cap(e->failures, REST_MIN, REST_MAX);
	pg_atomic_fetch_add_u32(&seat->errors, 1);
	rx_seat_note(seat, error->message ? error->message : "unknown error");
	look_for_extension = true;
}

/* Runs one part of a duty, with everything that may go wrong with it caught. */
static bool
run_part(int i, Part part)
{
	Engagement *e = &engagements[i];
	volatile bool more = false;

	pg_atomic_write_u32(&seat->duty, i + 1);
	/* What now() says in the transactions of this part. */
	SetCurrentStatementStartTimestamp();
	pgstat_report_activity(STATE_RUNNING, rx_duties[i]->name);
	MemoryContextSwitchTo(scratch);
	PG_TRY();
	{
		more = part(rx_duties[i], e);
		if (IsTransactionState())
			elog(ERROR, "reflex duty \"%s\" left a transaction open", rx_duties[i]->name);
		if (e->failed == part)
			e->failed = NULL;
	}
	PG_CATCH();
	{
		more = false;
		recover(e, part);
	}
	PG_END_TRY();
	pg_atomic_write_u32(&seat->duty, 0);
	MemoryContextSwitchTo(scratch);
	return more;
}

static bool
step(const RxDuty *duty, Engagement *e)
{
	bool		more;

	if (!e->started && duty->start)
		duty->start();
	e->started = true;
	more = duty->step();
	e->rests_until = 0;
	return more;
}

static bool
take_ready(const RxDuty *duty, Engagement *e)
{
	duty->poll_ready();
	return false;
}

static bool
stop(const RxDuty *duty, Engagement *e)
{
	duty->stop();
	return false;
}

/* When does the duty want to run?  A new one: at once, to be started. */
static int64
duty_due(int i)
{
	Engagement *e = &engagements[i];

	if (!e->mine)
		return RX_NEVER;
	if (e->rests_until != 0)
		return e->rests_until;
	return e->started ? rx_duties[i]->next_due() : 0;
}

/* One step of each duty that is due; true when one of them has more to do. */
static bool
run_due_duties(void)
{
	bool		more = false;

	for (int i = 0; i < rx_n_duties && !ShutdownRequestPending; i++)
	{
		if (duty_due(i) > rx_clock_mono())
			continue;
		more |= run_part(i, step);
		answer_interrupts();
	}
	return more;
}

static void
stop_duties(void)
{
	for (int i = 0; i < rx_n_duties; i++)
		if (engagements[i].started && rx_duties[i]->stop)
			(void) run_part(i, stop);
}

/* ---- sleeping ---- */

static int
duty_fd(int i)
{
	const Engagement *e = &engagements[i];

	if (!e->started || e->rests_until != 0 || rx_duties[i]->poll_fd == NULL)
		return -1;
	return rx_duties[i]->poll_fd();
}

/*
 * A wait set can't lose a descriptor, so it is made anew when they change: after
 * the start, and when a duty begins or ends a rest.
 */
static void
renew_wait_set(void)
{
	bool		changed = wait_set == NULL;

	for (int i = 0; i < rx_n_duties; i++)
	{
		int			fd = duty_fd(i);

		changed |= fd != engagements[i].waited_fd;
		engagements[i].waited_fd = fd;
	}
	if (!changed)
		return;
	if (wait_set)
		FreeWaitEventSet(wait_set);
	wait_set = RxCreateWaitEventSet(N_FIXED_EVENTS + rx_n_duties);
	AddWaitEventToSet(wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (int i = 0; i < rx_n_duties; i++)
		if (engagements[i].waited_fd >= 0)
			AddWaitEventToSet(wait_set, WL_SOCKET_READABLE, engagements[i].waited_fd, NULL,
							  &engagements[i]);
}

/* Waits up to timeout ms, and hands descriptors that are ready to their duties. */
static void
wait_for_events(long timeout)
{
	WaitEvent	events[N_FIXED_EVENTS + MAX_DUTIES];
	int			n = WaitEventSetWait(wait_set, timeout, events, lengthof(events), wait_event);

	if (timeout > 0)
	{
		rx_wakeup_sleeping(false);
		rx_seat_move(seat, RX_SEAT_RUNNING);
	}
	for (int i = 0; i < n; i++)
		if (events[i].events & WL_SOCKET_READABLE)
			(void) run_part((Engagement *) events[i].user_data - engagements, take_ready);
}

/* Milliseconds until the earliest duty is due, rounded up. */
static long
time_to_sleep(void)
{
	int64		now = rx_clock_mono();
	int64		due = now + rx_guc_poll_interval * INT64CONST(1000);

	for (int i = 0; i < rx_n_duties; i++)
		due = Min(due, duty_due(i));
	return due <= now ? 0 : (long) ((due - now + 999) / 1000);
}

/* flush_stats: statistics that were too young to be sent want to be in so many ms. */
static void
sleep_until_due(long flush_stats)
{
	long		timeout;

	rx_wakeup_sleeping(true);
	timeout = time_to_sleep();
	if (timeout == 0)
	{
		rx_wakeup_sleeping(false);
		wait_for_events(0);
		return;
	}
	if (flush_stats > 0)
		timeout = Min(timeout, flush_stats);
	pgstat_report_activity(STATE_IDLE, NULL);
	rx_seat_move(seat, RX_SEAT_SLEEPING);
	wait_for_events(timeout);
}

/* ---- the loop ---- */

static void
run(void)
{
	while (!ShutdownRequestPending)
	{
		bool		more;
		long		flush_stats;

		ResetLatch(MyLatch);
		answer_interrupts();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		MemoryContextReset(scratch);
		leave_if_extension_has_gone();
		more = run_due_duties();
		flush_stats = pgstat_report_stat(false);
		renew_wait_set();
		if (more)
			wait_for_events(0);
		else
			sleep_until_due(flush_stats);
	}
}

static void
set_up(void)
{
	MemoryContext top = AllocSetContextCreate(TopMemoryContext, "reflex worker",
											  ALLOCSET_DEFAULT_SIZES);

	if (rx_n_duties > MAX_DUTIES)
		elog(ERROR, "too many reflex duties");
	scratch = AllocSetContextCreate(top, "reflex worker turn", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(scratch);
	wait_event = rx_wait_event_new("ReflexWorkerMain");
	for (int i = 0; i < rx_n_duties; i++)
	{
		engagements[i].mine = rx_duties[i]->kind == seat->kind;
		engagements[i].waited_fd = -1;
	}
	CacheRegisterSyscacheCallback(NAMESPACEOID, catalog_changed, (Datum) 0);
	looked_at = rx_clock_mono();
}

void
reflex_worker_main(Datum arg)
{
	RxWorkerStart start;

	memcpy(&start, MyBgworkerEntry->bgw_extra, sizeof(start));
	install_signals();
	seat = rx_seat_take(DatumGetInt32(arg), start.start);
	if (seat == NULL)
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(seat->database, InvalidOid, 0);
	pin_settings();
	extension = find_extension();
	if (!OidIsValid(extension))
	{
		rx_seat_ends_as(RX_END_ABSENT);
		proc_exit(0);
	}
	set_up();
	rx_wakeup_register(seat->database, seat->kind);
	graceful = true;
	if (rx_seat_move(seat, RX_SEAT_RUNNING))
	{
		rx_launcher_wake();
		run();
	}
	stop_duties();
	proc_exit(0);
}
