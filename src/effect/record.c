/*
 * record.c
 *		Attempts and outcomes on disk.
 *
 * Both tables are append-only.  An attempt without an outcome is under way, or
 * was when its worker ended: then nobody knows whether it was carried out.
 */
#include "reflex.h"

#include "catalog/pg_type.h"
#include "effect/effect_int.h"
#include "miscadmin.h"
#include "pg/guc.h"
#include "pg/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

static Datum
array_of(Oid type, Datum *values, bool *nulls, int n)
{
	int16		len;
	bool		by_value;
	char		align;
	int			lower = 1;

	get_typlenbyvalalign(type, &len, &by_value, &align);
	return PointerGetDatum(construct_md_array(values, nulls, 1, &n, &lower,
											  type, len, by_value, align));
}

static Datum
int8_array(const int64 *numbers, int n)
{
	Datum	   *values = palloc(n * sizeof(Datum));

	for (int i = 0; i < n; i++)
		values[i] = Int64GetDatum(numbers[i]);
	return array_of(INT8OID, values, NULL, n);
}

static Datum
int4_array(const int *numbers, int n)
{
	Datum	   *values = palloc(n * sizeof(Datum));

	for (int i = 0; i < n; i++)
		values[i] = Int32GetDatum(numbers[i]);
	return array_of(INT4OID, values, NULL, n);
}

static void
read_history_row(uint64 row, RxHistory *history)
{
	bool		none;

	history->seq = DatumGetInt64(rx_spi_get(row, 1, NULL));
	history->attempts = DatumGetInt32(rx_spi_get(row, 2, NULL));
	history->tries = DatumGetInt32(rx_spi_get(row, 3, NULL));
	history->open = DatumGetInt32(rx_spi_get(row, 4, &none));
	if (none)
		history->open = 0;
	history->completed = DatumGetBool(rx_spi_get(row, 5, NULL));
}

/*
 * Returns a row for each of the effects that was attempted before; most were
 * not.  Planned anew each time: the tables grow from nothing to millions of
 * rows without anything that would tell a kept plan.
 */
int
rx_effect_history(const int64 *seqs, int n, RxHistory **history)
{
	Oid			types[] = {INT8ARRAYOID};
	Datum		values[] = {int8_array(seqs, n)};
	RxSpi		spi;
	uint64		rows;

	rx_spi_open(&spi);
	rows = rx_spi_exec("SELECT a.seq, max(a.attempt),"
					   " max(a.attempt) - coalesce(max(a.attempt) FILTER (WHERE o.dead), 0),"
					   " max(a.attempt) FILTER (WHERE o.seq IS NULL),"
					   " coalesce(bool_or(o.outcome = 'completed'), false)"
					   " FROM reflex_internal.effect_attempt a"
					   " LEFT JOIN reflex_internal.effect_outcome o ON o.seq = a.seq AND o.attempt = a.attempt"
					   " WHERE a.seq = ANY ($1) GROUP BY a.seq",
					   1, types, values, NULL, SPI_OK_SELECT);
	*history = SPI_palloc(Max(rows, 1) * sizeof(RxHistory));
	for (uint64 row = 0; row < rows; row++)
		read_history_row(row, &(*history)[row]);
	rx_spi_close(&spi);
	return (int) rows;
}

int
rx_effect_max_attempts(int32 subscription)
{
	static SPIPlanPtr plan;
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(subscription)};
	bool		none = true;
	int			max_attempts = 0;
	RxSpi		spi;

	rx_spi_open(&spi);
	if (rx_spi_exec_kept(&plan, "SELECT max_attempts FROM reflex_internal.subscription WHERE id = $1",
						 1, types, values, NULL, SPI_OK_SELECT) > 0)
		max_attempts = DatumGetInt32(rx_spi_get(0, 1, &none));
	rx_spi_close(&spi);
	return none ? rx_guc_event_max_attempts : max_attempts;
}

void
rx_effect_record_attempts(const int64 *seqs, const int *attempts, int n)
{
	static SPIPlanPtr plan;
	Oid			types[] = {INT8ARRAYOID, INT4ARRAYOID, INT4OID};
	Datum		values[] = {int8_array(seqs, n), int4_array(attempts, n), Int32GetDatum(MyProcPid)};
	RxSpi		spi;

	if (n == 0)
		return;
	rx_spi_open(&spi);
	rx_spi_exec_kept(&plan, "INSERT INTO reflex_internal.effect_attempt (seq, attempt, started_at, worker)"
					 " SELECT u.seq, u.attempt, clock_timestamp(), $3"
					 " FROM unnest($1, $2) AS u (seq, attempt)",
					 3, types, values, NULL, SPI_OK_INSERT);
	rx_spi_close(&spi);
}

/* One column of many rows. */
typedef struct Column
{
	Datum	   *values;
	bool	   *nulls;
} Column;

static void
set_text(Column *column, int row, const char *value)
{
	column->nulls[row] = value == NULL;
	column->values[row] = value ? CStringGetTextDatum(value) : (Datum) 0;
}

static void
set_row(Column *columns, int row, const RxOutcome *outcome)
{
	columns[0].values[row] = Int64GetDatum(outcome->seq);
	columns[1].values[row] = Int32GetDatum(outcome->attempt);
	set_text(&columns[2], row, outcome->outcome);
	columns[3].values[row] = BoolGetDatum(outcome->dead);
	columns[4].values[row] = Int32GetDatum(outcome->status);
	columns[4].nulls[row] = outcome->status == 0;
	columns[5].values[row] = Int64GetDatum(outcome->latency_us);
	columns[5].nulls[row] = outcome->latency_us < 0;
	set_text(&columns[6], row, outcome->error);
	set_text(&columns[7], row, outcome->answer);
}

/*
 * An attempt can get its outcome twice if a lease was lost on the way; the
 * first one stands.
 */
void
rx_effect_record_outcomes(const RxOutcome *outcomes, int n)
{
	static SPIPlanPtr plan;
	static const Oid element[] = {INT8OID, INT4OID, TEXTOID, BOOLOID, INT4OID, INT8OID, TEXTOID, TEXTOID};
	Oid			types[] = {
		INT8ARRAYOID, INT4ARRAYOID, TEXTARRAYOID, BOOLARRAYOID,
		INT4ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID
	};
	Column		columns[lengthof(element)];
	Datum		values[lengthof(element)];
	RxSpi		spi;

	if (n == 0)
		return;
	for (int c = 0; c < (int) lengthof(element); c++)
	{
		columns[c].values = palloc0(n * sizeof(Datum));
		columns[c].nulls = palloc0(n * sizeof(bool));
	}
	for (int row = 0; row < n; row++)
		set_row(columns, row, &outcomes[row]);
	for (int c = 0; c < (int) lengthof(element); c++)
		values[c] = array_of(element[c], columns[c].values, columns[c].nulls, n);
	rx_spi_open(&spi);
	rx_spi_exec_kept(&plan, "INSERT INTO reflex_internal.effect_outcome"
					 " (seq, attempt, at, outcome, dead, status, latency, error, answer)"
					 " SELECT u.seq, u.attempt, clock_timestamp(), u.outcome, u.dead, u.status,"
					 " u.latency * interval '1 microsecond', u.error, u.answer"
					 " FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)"
					 " AS u (seq, attempt, outcome, dead, status, latency, error, answer)"
					 " ON CONFLICT (seq, attempt) DO NOTHING",
					 lengthof(element), types, values, NULL, SPI_OK_INSERT);
	rx_spi_close(&spi);
}
