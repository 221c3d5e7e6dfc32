/*
 * wakeup.h
 *		What happens at the end of a transaction, and who is woken by it.
 *
 * One transaction callback and one subtransaction callback per backend, for
 * all of reflex.  Rooms hang their end-of-transaction work on it once, at
 * _PG_init.  The functions hung here run after the transaction has become
 * visible (commit) or is gone (abort); they allocate nothing and can't fail.
 *
 * Workers of a database are woken by latch, not by NOTIFY, whose lock would
 * serialise everybody's commits.
 */
#ifndef RX_PG_WAKEUP_H
#define RX_PG_WAKEUP_H

#include "postgres.h"
#include "pg/duty.h"

typedef struct RxXactHooks
{
	/* Before commit; may throw.  prepare: this is PREPARE TRANSACTION. */
	void		(*pre_commit) (bool prepare);
	/* After visibility; must not throw nor allocate. */
	void		(*at_end) (bool committed);
	/* A subtransaction of this nesting level ended (abort), or merged into its parent. */
	void		(*at_subabort) (int level);
	void		(*at_subcommit) (int level);
} RxXactHooks;

extern void rx_wakeup_init(void);

/* Registers a room's hooks.  From _PG_init only; any member may be NULL. */
extern void rx_xact_hooks_register(const RxXactHooks *hooks);

/*
 * The calling process is from now on a worker of this kind in this database
 * and wants its latch set when there is work; undone at process exit.
 */
extern void rx_wakeup_register(Oid database, RxWorkerKind kind);

/*
 * Before going to sleep: "wake me" (and look once more for work after it);
 * after waking: false, so that nobody spends a signal on a worker that runs.
 */
extern void rx_wakeup_sleeping(bool sleeping);

/* Wakes the sleeping workers of this kind in this database.  Never throws. */
extern void rx_wakeup_workers(Oid database, RxWorkerKind kind);

/* The same when the current transaction commits (or at once, outside one). */
extern void rx_wakeup_workers_at_commit(RxWorkerKind kind);

#endif							/* RX_PG_WAKEUP_H */
