/*
 * duty.h
 *		What a worker does, described so that the worker need not know it.
 *
 * A worker is one loop over a list of duties.  A duty says which kind of
 * worker carries it, when it next wants to run, and what it does then.  The
 * domains (rules, effects, ...) export const descriptors; src/worker/duties.c
 * lists them.  Domains never include anything of src/worker/.
 */
#ifndef RX_PG_DUTY_H
#define RX_PG_DUTY_H

#include "postgres.h"
#include "base/clock.h"

typedef enum RxWorkerKind
{
	RX_WORKER_IO,				/* owns sockets and timers, runs no user SQL */
	RX_WORKER_SQL				/* runs handlers, rules, tools */
} RxWorkerKind;

typedef struct RxDuty
{
	const char *name;			/* shown in reflex.workers while it runs */
	RxWorkerKind kind;

	/*
	 * Once per worker process, outside a transaction; again if it threw.  May
	 * be NULL.
	 */
	void		(*start) (void);

	/*
	 * When step wants to run: microseconds on rx_clock_mono(), 0 for now,
	 * RX_NEVER.  Cheap, no transaction, does not throw.
	 */
	int64		(*next_due) (void);

	/*
	 * A bounded piece of work (some tens of milliseconds), called outside a
	 * transaction and back outside one when it returns; returns whether there
	 * is more to do at once.  It may throw: the worker aborts the transaction,
	 * reports, and lets this duty alone rest for a growing while.
	 *
	 * It is called in a memory context that is reset every turn.  After
	 * CommitTransactionCommand the current context is TopMemoryContext: a step
	 * of several transactions switches back before it allocates.
	 */
	bool		(*step) (void);

	/* An epoll descriptor to wait on while the worker sleeps, or -1.  May be NULL. */
	int			(*poll_fd) (void);

	/* The descriptor became readable.  Called outside a transaction. */
	void		(*poll_ready) (void);

	/*
	 * Before the worker exits, outside a transaction.  May be NULL.  Not called
	 * when the worker dies (kill -9, FATAL, a step that ran on after SIGTERM).
	 */
	void		(*stop) (void);
} RxDuty;

#endif							/* RX_PG_DUTY_H */
