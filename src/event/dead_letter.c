/*
 * dead_letter.c
 *		Dead letters: what no retry will help, kept until a person decides.
 *
 * A dead letter is a full copy of the entry with the history of its errors, so
 * that it outlives the log's retention.  It is written in the transaction that
 * settles the entry.  Retrying one marks it and puts its position back into
 * the subscription, with all attempts before it again.
 */
#include "reflex.h"

#include "catalog/pg_type.h"
#include "event/event_int.h"
#include "pg/spi.h"
#include "utils/builtins.h"

/*
 * The history: rows of the journal about this position since it was last
 * requeued, and the error that ended it.
 */
static const char insert_sql[] =
"INSERT INTO reflex_internal.dead_letter"
" (subscription, subscription_name, log, seq, event_id, type, source, session, role, payload, meta,"
"  created_at, attempts, error, errors)"
" SELECT $1, $2, $3, e.seq, reflex_internal.make_id($4, e.seq, e.created_at, e.node), e.type, e.source,"
"  e.session, e.role, e.payload, e.meta, e.created_at, $6, $7,"
"  (SELECT coalesce(jsonb_agg(jsonb_build_object('attempt', d.attempt, 'at', d.at, 'error', d.error) ORDER BY d.no), '[]')"
"   FROM reflex_internal.delivery d"
"   WHERE d.subscription = $1 AND d.kind <> 's'"
"   AND (d.kind = 'f' AND d.seq = $5"
"    OR d.kind = 'e' AND EXISTS (SELECT FROM generate_subscripts(d.ranges, 1) i"
"     WHERE i %% 2 = 1 AND d.ranges[i] <= $5 AND d.ranges[i + 1] > $5))"
"   AND d.no > (SELECT coalesce(max(r.no), -1) FROM reflex_internal.delivery r"
"    WHERE r.subscription = $1 AND r.kind = 'r' AND r.kind <> 's' AND r.seq = $5))"
"  || jsonb_build_array(jsonb_build_object('attempt', $6, 'at', pg_catalog.now(), 'error', $7))"
" FROM reflex_internal.%s e WHERE e.seq = $5";

void
rx_dead_letter_add(const RxSubInfo *info, int64 seq, int attempts, const char *error)
{
	Oid			types[7] = {INT4OID, TEXTOID, INT2OID, INT4OID, INT8OID, INT4OID, TEXTOID};
	Datum		values[7];
	RxSpi		spi;

	values[0] = Int32GetDatum(info->id);
	values[1] = CStringGetTextDatum(info->name);
	values[2] = Int16GetDatum((int16) info->log);
	values[3] = Int32GetDatum(rx_log_id_kind(info->log));
	values[4] = Int64GetDatum(seq);
	values[5] = Int32GetDatum(attempts);
	values[6] = CStringGetTextDatum(error ? error : "");
	rx_spi_open(&spi);
	rx_spi_exec(psprintf(insert_sql, rx_log_name(info->log)), 7, types, values, NULL, SPI_OK_INSERT);
	rx_spi_close(&spi);
}

/*
 * requeue(subscription int, seq bigint) - puts a position back, for dlq_retry.
 * False when the subscription is gone.
 */
REFLEX_FUNCTION(reflex_requeue)
{
	RxSubInfo  *info;

	(void) rx_db();
	info = rx_sub_by_id(PG_GETARG_INT32(0));
	if (info == NULL)
		PG_RETURN_BOOL(false);
	rx_settle_requeue(info, PG_GETARG_INT64(1));
	PG_RETURN_BOOL(true);
}
