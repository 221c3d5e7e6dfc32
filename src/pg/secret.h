/*
 * secret.h
 *		Secrets: values that are stored encrypted, named in SQL, and known in
 *		clear only to the memory of the process that is about to use one.
 */
#ifndef RX_PG_SECRET_H
#define RX_PG_SECRET_H

#include "postgres.h"

typedef struct RxSecret
{
	char	   *value;
	char	  **hosts;			/* names, *.suffixes or addresses; NULL: no limit */
	int			n_hosts;
} RxSecret;

/*
 * Decrypts the secret of this name into the current memory context; raises
 * PT404 when there is none.  Needs a transaction.  The caller wipes it after
 * use, and never lets it into a row, an error or a log line.
 */
extern void rx_secret_load(const char *name, RxSecret *secret);
extern void rx_secret_wipe(RxSecret *secret);

/* May the secret be sent to this host (a name or an address, no port)? */
extern bool rx_secret_allows(const RxSecret *secret, const char *host);

#endif							/* RX_PG_SECRET_H */
