/*
 * spi.c
 *		SQL of our own, run from C.  See spi.h.
 */
#include "reflex.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pg/spi.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

Oid
rx_internal_namespace(void)
{
	return get_namespace_oid(RX_INTERNAL_SCHEMA, true);
}

Oid
rx_extension_owner(void)
{
	HeapTuple	tuple = SearchSysCache1(NAMESPACENAME, CStringGetDatum(RX_INTERNAL_SCHEMA));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_OBJECT),
				errmsg("extension \"reflex\" is not installed in this database"),
				errhint("Run CREATE EXTENSION reflex."));
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

void
rx_spi_open(RxSpi *spi)
{
	Oid			owner = rx_extension_owner();

	GetUserIdAndSecContext(&spi->save_user, &spi->save_sec);
	SetUserIdAndSecContext(owner, spi->save_sec | SECURITY_LOCAL_USERID_CHANGE);
	spi->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

void
rx_spi_close(RxSpi *spi)
{
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	AtEOXact_GUC(true, spi->guc_level);
	SetUserIdAndSecContext(spi->save_user, spi->save_sec);
}

uint64
rx_spi_exec(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls, int expected)
{
	int			rc = SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0);

	if (rc != expected)
		elog(ERROR, "unexpected SPI result %d for: %s", rc, sql);
	return SPI_processed;
}

uint64
rx_spi_exec_kept(SPIPlanPtr *plan, const char *sql, int nargs, Oid *types,
				 Datum *values, const char *nulls, int expected)
{
	int			rc;

	if (*plan == NULL)
	{
		SPIPlanPtr	made = SPI_prepare(sql, nargs, types);

		if (made == NULL || SPI_keepplan(made) != 0)
			elog(ERROR, "could not prepare: %s", sql);
		*plan = made;
	}
	rc = SPI_execute_plan(*plan, values, nulls, false, 0);
	if (rc != expected)
		elog(ERROR, "unexpected SPI result %d for: %s", rc, sql);
	return SPI_processed;
}

Datum
rx_spi_get(uint64 row, int col, bool *isnull)
{
	bool		null;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, col, &null);

	if (isnull)
		*isnull = null;
	return value;
}

/* SPI_getvalue allocates in SPI's context; the caller wants to keep it. */
char *
rx_spi_get_cstring(uint64 row, int col)
{
	char	   *value = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, col);
	char	   *copy;

	if (value == NULL)
		return NULL;
	copy = SPI_palloc(strlen(value) + 1);
	strcpy(copy, value);
	return copy;
}
