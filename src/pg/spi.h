/*
 * spi.h
 *		SQL of our own, run from C.
 *
 * Everything that C asks of reflex's tables goes through here: as the owner of
 * the extension, with search_path pinned, inside SPI.  What the caller of the
 * public function may or may not touch plays no part; whether he may call it
 * does, and that is EXECUTE's business.
 */
#ifndef RX_PG_SPI_H
#define RX_PG_SPI_H

#include "postgres.h"
#include "executor/spi.h"

typedef struct RxSpi
{
	Oid			save_user;
	int			save_sec;
	int			guc_level;
} RxSpi;

/*
 * Opens SPI as the extension's owner; needs a transaction.  On error nothing
 * needs undoing: the abort restores user, settings and SPI.
 */
extern void rx_spi_open(RxSpi *spi);
extern void rx_spi_close(RxSpi *spi);

/*
 * Runs one statement with parameters, nulls where nulls[i] is 'n' (nulls may
 * be NULL).  Returns the number of rows; rows are in SPI_tuptable.  Raises
 * when the statement is not of the kind expected (SPI_OK_...).
 */
extern uint64 rx_spi_exec(const char *sql, int nargs, Oid *types, Datum *values,
						  const char *nulls, int expected);

/*
 * The same with a plan that is made once per process and kept in *plan: for
 * what runs for every event.  The statement and its types must never change.
 */
extern uint64 rx_spi_exec_kept(SPIPlanPtr *plan, const char *sql, int nargs, Oid *types,
							   Datum *values, const char *nulls, int expected);

/* Column col (1-based) of the row-th row; *isnull may be NULL. */
extern Datum rx_spi_get(uint64 row, int col, bool *isnull);

/* The same as text in the caller's context (not SPI's), NULL for null. */
extern char *rx_spi_get_cstring(uint64 row, int col);

/* The role that owns reflex's schemas in this database. */
extern Oid	rx_extension_owner(void);

/* OID of the schema reflex_internal, InvalidOid when the extension is not here. */
extern Oid	rx_internal_namespace(void);

#endif							/* RX_PG_SPI_H */
