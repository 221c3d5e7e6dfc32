/*
 * worker.h
 *		Launcher and workers; see README.md for their life cycle.
 */
#ifndef RX_WORKER_WORKER_H
#define RX_WORKER_WORKER_H

/* Registers the launcher and installs the utility hook.  From _PG_init. */
extern void rx_worker_init(void);

#endif							/* RX_WORKER_WORKER_H */
