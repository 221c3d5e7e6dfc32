/*
 * try.h
 *		Runs something that may fail inside a larger transaction, and lets the
 *		transaction go on if it does.
 */
#ifndef RX_PG_TRY_H
#define RX_PG_TRY_H

#include "postgres.h"

/*
 * Calls fn(arg) in a subtransaction.  NULL when it went well; otherwise what it
 * did is undone and the error is returned, allocated in the caller's memory
 * context.  SPI, user and settings are as before in either case.
 */
extern ErrorData *rx_try(void (*fn) (void *arg), void *arg);

#endif							/* RX_PG_TRY_H */
