/*
 * dead_letter.c
 *		Dead letters: what no retry will help, kept until a person decides.
 *
 * A dead letter is a full copy of the entry with the history of its errors, so
 * that it outlives the log's retention.  It is written in the transaction that
 * settles the entry.
 *
 * Retrying one marks it and puts its position back into the subscription, with
 * all attempts before it again.  From then on until it is settled the position
 * is handed out from the letter, not from the log: with the payload that a
 * person has put beside the original, and also when the log has dropped the
 * entry.  The lease says so (requeued), and so do the rows of the journal that
 * it is rebuilt from; of several letters about one position the last that was
 * put back counts.  If it dies again, the new letter is a copy of that one.
 */
#include "reflex.h"

#include "catalog/pg_type.h"
#include "event/event_int.h"
#include "pg/spi.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

/* ---- writing ---- */

/* Of an entry that is delivered from the log ... */
static const char from_log[] =
"(SELECT l.seq, reflex_internal.make_id($4, l.seq, l.created_at, l.node) AS event_id, l.type, l.source,"
"  l.session, l.role, l.payload, NULL::jsonb AS edited_payload, l.meta, l.created_at"
"  FROM reflex_internal.%s l WHERE l.seq = $5)";

/* ... and from a letter. */
static const char from_letter[] =
"(SELECT l.seq, l.event_id, l.type, l.source, l.session, l.role, l.payload, l.edited_payload, l.meta, l.created_at"
"  FROM reflex_internal.dead_letter l"
"  WHERE l.subscription = $1 AND l.seq = $5 AND l.retried_at IS NOT NULL ORDER BY l.id DESC LIMIT 1)";

/*
 * The history: rows of the journal about this position since it was last
 * requeued, and the error that ended it.
 */
static const char insert_sql[] =
"INSERT INTO reflex_internal.dead_letter"
" (subscription, subscription_name, log, seq, event_id, type, source, session, role, payload, edited_payload,"
"  meta, created_at, attempts, error, errors)"
" SELECT $1, $2, $3, e.seq, e.event_id, e.type, e.source, e.session, e.role, e.payload, e.edited_payload,"
"  e.meta, e.created_at, $6, $7,"
"  (SELECT coalesce(jsonb_agg(jsonb_build_object('attempt', d.attempt, 'at', d.at, 'error', d.error) ORDER BY d.no), '[]')"
"   FROM reflex_internal.delivery d"
"   WHERE d.subscription = $1 AND d.kind <> 's'"
"   AND (d.kind = 'f' AND d.seq = $5"
"    OR d.kind = 'e' AND EXISTS (SELECT FROM generate_subscripts(d.ranges, 1) i"
"     WHERE i %% 2 = 1 AND d.ranges[i] <= $5 AND d.ranges[i + 1] > $5))"
"   AND d.no > (SELECT coalesce(max(r.no), -1) FROM reflex_internal.delivery r"
"    WHERE r.subscription = $1 AND r.kind = 'r' AND r.kind <> 's' AND r.seq = $5))"
"  || jsonb_build_array(jsonb_build_object('attempt', $6, 'at', pg_catalog.now(), 'error', $7))"
" FROM %s e";

void
rx_dead_letter_add(const RxSubInfo *info, int64 seq, int attempts, const char *error, bool requeued)
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
	rx_spi_exec(psprintf(insert_sql, requeued ? from_letter : psprintf(from_log, rx_log_name(info->log))),
				7, types, values, NULL, SPI_OK_INSERT);
	rx_spi_close(&spi);
}

/* ---- reading ---- */

/* One column of the row, to outlive SPI. */
static Datum
take(int col, bool byval, int len, bool *isnull)
{
	Datum		value = rx_spi_get(0, col, isnull);

	return *isnull ? (Datum) 0 : SPI_datumTransfer(value, byval, len);
}

/*
 * The columns of a log table as the letter has them; false when it is gone, and
 * the log has to do.
 */
bool
rx_dead_letter_read(const RxSubInfo *info, int64 seq, Datum *values, bool *isnull)
{
	Oid			types[2] = {INT4OID, INT8OID};
	Datum		args[2] = {Int32GetDatum(info->id), Int64GetDatum(seq)};
	RxIdKind	kind;
	int			node = 0;
	RxSpi		spi;
	bool		found;

	rx_spi_open(&spi);
	found = rx_spi_exec("SELECT event_id, seq, created_at, type, source, session, role,"
						" coalesce(edited_payload, payload), meta FROM reflex_internal.dead_letter"
						" WHERE subscription = $1 AND seq = $2 AND retried_at IS NOT NULL ORDER BY id DESC LIMIT 1",
						2, types, args, NULL, SPI_OK_SELECT) == 1;
	if (found)
	{
		(void) rx_id_parse(DatumGetUUIDP(rx_spi_get(0, 1, NULL)), &kind, &node, &seq);
		values[RX_COL_SEQ] = take(2, true, sizeof(int64), &isnull[RX_COL_SEQ]);
		values[RX_COL_CREATED_AT] = take(3, true, sizeof(int64), &isnull[RX_COL_CREATED_AT]);
		values[RX_COL_NODE] = Int16GetDatum((int16) node);
		isnull[RX_COL_NODE] = false;
		for (int col = RX_COL_TYPE; col < RX_N_COLS; col++)
			values[col] = take(4 + col - RX_COL_TYPE, false, -1, &isnull[col]);
	}
	rx_spi_close(&spi);
	return found;
}

/* Is the token's event one that was put back?  Not if the token is not good any more. */
static bool
is_requeued(const RxSub *sub, const RxToken *token)
{
	RxLease    *lease = rx_token_find(token);

	return lease && lease->state == RX_LEASE_OUT && rx_token_lease(lease) == token->lease &&
		&rx_shared->subs[lease->sub] == sub && lease->requeued;
}

bool
rx_delivered_read(const RxToken *token, RxRecord *record)
{
	RxSubInfo  *info = rx_sub_require(token->subscription);
	RxSub	   *sub = rx_sub_attach(info);
	Datum		values[RX_N_COLS];
	bool		isnull[RX_N_COLS];
	bool		requeued;

	LWLockAcquire(&sub->lock, LW_SHARED);
	requeued = is_requeued(sub, token);
	LWLockRelease(&sub->lock);
	if (!requeued || !rx_dead_letter_read(info, token->seq, values, isnull))
		return rx_log_read(info->log, token->seq, record);
	rx_log_record(info->log, values, isnull, record);
	return true;
}

/*
 * requeue(subscription int, seq bigint, delay_us bigint) - puts a position
 * back, for dlq_retry.  False when the subscription is gone.
 */
REFLEX_FUNCTION(reflex_requeue)
{
	RxSubInfo  *info;

	(void) rx_db();
	info = rx_sub_by_id(PG_GETARG_INT32(0));
	if (info == NULL)
		PG_RETURN_BOOL(false);
	rx_settle_requeue(info, PG_GETARG_INT64(1), PG_GETARG_INT64(2));
	PG_RETURN_BOOL(true);
}
