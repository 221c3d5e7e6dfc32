/*
 * stats.c
 *		What flows: counts per database, and how far each subscription is.
 *
 * Nobody who delivers waits for a reader here.  What happens to the events of a
 * subscription is counted in its shared state, under the lock that is held
 * then anyway; a transaction that commits adds what it has published with one
 * atomic addition.  A reader copies each subscription's state under its lock
 * in shared mode, walks the pool of leases without any lock, and asks the log
 * for the time of the oldest event afterwards.  So the figures are of several
 * moments close to each other; and a lease that changes just then may be
 * missing, or counted as it was.
 *
 * Not counted: what a savepoint rolled back is, as published; and everything
 * begins anew with the server.
 */
#include "reflex.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "event/event_int.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pg/spi.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

static uint32 published[RX_N_LOGS]; /* by the running transaction */

void
rx_stats_published(RxLogId log)
{
	published[log]++;
}

/* After the transaction has ended; cannot fail. */
void
rx_stats_end(bool committed)
{
	RxDb	   *db = rx_db_in_use();

	for (int log = 0; log < RX_N_LOGS; log++)
	{
		if (committed && db && published[log] > 0)
			pg_atomic_fetch_add_u64(&db->published[log], published[log]);
		published[log] = 0;
	}
}

static void
add_counts(RxCounts *sum, const RxCounts *counts)
{
	sum->delivered += counts->delivered;
	sum->acked += counts->acked;
	sum->failed += counts->failed;
	sum->expired += counts->expired;
	sum->dead += counts->dead;
}

/* A subscription ends; what it has counted stays with its database. */
void
rx_stats_retire(const RxSub *sub)
{
	add_counts(&rx_shared->dbs[sub->db].retired, &sub->counts);
}

/* All subscriptions of a database together, the former ones too. */
static void
sum_counts(const RxDb *db, RxCounts *sum, TimestampTz *since)
{
	int			index = rx_db_index(db);

	LWLockAcquire(&rx_shared->table_lock, LW_SHARED);
	*sum = db->retired;
	*since = db->since;
	for (int i = 0; i < RX_MAX_SUBS; i++)
	{
		RxSub	   *sub = &rx_shared->subs[i];

		if (sub->id == 0 || sub->db != index)
			continue;
		LWLockAcquire(&sub->lock, LW_SHARED);
		add_counts(sum, &sub->counts);
		LWLockRelease(&sub->lock);
	}
	LWLockRelease(&rx_shared->table_lock);
}

/* stats(OUT published, OUT emitted, OUT delivered, acked, failed, expired, dead, OUT since) */
REFLEX_FUNCTION(reflex_stats)
{
	RxDb	   *db;
	RxCounts	sum;
	TimestampTz since;
	TupleDesc	desc;
	Datum		values[8];
	bool		nulls[8] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (RecoveryInProgress())
		PG_RETURN_NULL();
	db = rx_db();
	sum_counts(db, &sum, &since);
	values[0] = Int64GetDatum(pg_atomic_read_u64(&db->published[RX_LOG_EVENT]));
	values[1] = Int64GetDatum(pg_atomic_read_u64(&db->published[RX_LOG_EFFECT]));
	values[2] = Int64GetDatum(sum.delivered);
	values[3] = Int64GetDatum(sum.acked);
	values[4] = Int64GetDatum(sum.failed);
	values[5] = Int64GetDatum(sum.expired);
	values[6] = Int64GetDatum(sum.dead);
	values[7] = TimestampTzGetDatum(since);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* ---- subscriptions ---- */

/* One subscription, copied. */
typedef struct Progress
{
	int32		id;
	RxLogId		log;
	bool		retry_only;
	int64		cursor;
	uint32		n_out;
	uint32		n_waiting;
	RxCounts	counts;
	int			n_unread;
	RxRange		unread[RX_MAX_PENDING + 1];
	int64		oldest;			/* lowest position of a lease; PG_INT64_MAX for none */
	int64		n_returned;		/* given back, may be handed out at once */
} Progress;

/* A subscription that this transaction may not rebuild is left out. */
RxSub *
rx_stats_sub(RxSubInfo *info)
{
	int			db = rx_db_index(rx_db());

	if (!IsolationUsesXactSnapshot())
		return rx_sub_attach(info);
	for (int i = 0; i < RX_MAX_SUBS; i++)
		if (rx_shared->subs[i].id == info->id && rx_shared->subs[i].db == db && rx_shared->subs[i].ready)
			return &rx_shared->subs[i];
	return NULL;
}

static void
copy_progress(RxSub *sub, int64 next, Progress *p)
{
	LWLockAcquire(&sub->lock, LW_SHARED);
	p->cursor = sub->cursor;
	p->n_out = sub->n_out;
	p->n_waiting = sub->n_waiting;
	p->counts = sub->counts;
	p->n_unread = sub->retry_only ? 0 : sub->n_pending;
	memcpy(p->unread, sub->pending, p->n_unread * sizeof(RxRange));
	LWLockRelease(&sub->lock);
	if (!p->retry_only && p->cursor < next)
		p->unread[p->n_unread++] = (RxRange) {p->cursor, next};
}

static void
add_lease(Progress *p, const RxLease *lease)
{
	if (lease->state == RX_LEASE_RETURNED || lease->state == RX_LEASE_PARKED)
		p->n_returned += rx_lease_count(lease);
	for (int bit = 0; bit < lease->width && bit < RX_SPAN; bit++)
		if (RX_BIT_TEST(lease->out, bit))
		{
			p->oldest = Min(p->oldest, lease->lo + bit);
			break;
		}
}

/*
 * Under no lock: see the head of this file.  Leases in use lie mostly at the
 * pool's beginning, and the walk ends when as many have been seen.
 */
static void
walk_leases(Progress *const *by_index)
{
	uint32		left = rx_shared->n_leases - rx_shared->n_free;

	for (uint32 i = 0; i < rx_shared->n_leases && left > 0; i++)
	{
		const RxLease *shared = &rx_shared->leases[i];
		RxLease		lease;

		if (shared->state == RX_LEASE_FREE)
			continue;
		left--;
		lease = *shared;
		if (lease.state != RX_LEASE_CLAIMED && lease.sub >= 0 && lease.sub < RX_MAX_SUBS && by_index[lease.sub])
			add_lease(by_index[lease.sub], &lease);
	}
}

typedef struct Oldest
{
	int64		seq;
	TimestampTz at;				/* 0: not known */
} Oldest;

static bool
oldest_row(Datum *values, bool *isnull, void *arg)
{
	Oldest	   *oldest = arg;

	oldest->seq = DatumGetInt64(values[RX_COL_SEQ]);
	oldest->at = DatumGetTimestampTz(values[RX_COL_CREATED_AT]);
	return false;
}

/* When the oldest event was published that is unread or in a lease; 0 when there is none. */
static TimestampTz
oldest_at(const Progress *p)
{
	Oldest		oldest = {p->oldest, 0};
	Snapshot	snapshot = GetActiveSnapshot();

	if (p->oldest != PG_INT64_MAX)
		rx_log_scan(p->log, (RxRange) {p->oldest, p->oldest + 1}, snapshot, oldest_row, &oldest);
	for (int i = 0; i < p->n_unread; i++)
	{
		RxRange		range = {p->unread[i].lo, Min(p->unread[i].hi, oldest.seq)};

		rx_log_scan(p->log, range, snapshot, oldest_row, &oldest);
	}
	return oldest.at;
}

/* From the first position of a range to the last entry in it. */
static int64
count_to_last(RxLogId log, RxRange range)
{
	RxSpi		spi;
	int64		n;

	rx_spi_open(&spi);
	rx_spi_exec(psprintf("SELECT coalesce(max(e.seq) + 1 - " INT64_FORMAT ", 0) FROM reflex_internal.%s e"
						 " WHERE e.seq >= " INT64_FORMAT " AND e.seq < " INT64_FORMAT,
						 range.lo, rx_log_name(log), range.lo, range.hi),
				0, NULL, NULL, NULL, SPI_OK_SELECT);
	n = DatumGetInt64(rx_spi_get(0, 1, NULL));
	rx_spi_close(&spi);
	return n;
}

/* Positions; but not those at the end of a child that were never given out (retain.c). */
static int64
count_unread(const Progress *p)
{
	int64		n = 0;

	for (int i = 0; i < p->n_unread; i++)
	{
		RxRange		range = p->unread[i];

		while (RX_CHILD_OF(range.lo) < RX_CHILD_OF(range.hi))
		{
			int64		end = RX_CHILD_START(RX_CHILD_OF(range.lo) + 1);

			n += count_to_last(p->log, (RxRange) {range.lo, end});
			range.lo = end;
		}
		n += range.hi - range.lo;
	}
	return n;
}

static void
put_progress(const Progress *p, ReturnSetInfo *result)
{
	TimestampTz oldest = oldest_at(p);
	Datum		values[12] = {
		Int32GetDatum(p->id), Int64GetDatum(p->cursor), Int64GetDatum(count_unread(p)),
		Int64GetDatum(p->n_returned), Int64GetDatum(p->n_out), Int64GetDatum(p->n_waiting),
		TimestampTzGetDatum(oldest), Int64GetDatum(p->counts.delivered), Int64GetDatum(p->counts.acked),
		Int64GetDatum(p->counts.failed), Int64GetDatum(p->counts.expired), Int64GetDatum(p->counts.dead),
	};
	bool		nulls[12] = {false};

	nulls[1] = p->retry_only;
	nulls[6] = oldest == 0;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * progress() - one row per subscription: id, position, unread positions, events
 * given back, out, waiting, the time of the oldest, and its counts.
 */
REFLEX_FUNCTION(reflex_progress)
{
	Progress  **by_index = palloc0(RX_MAX_SUBS * sizeof(Progress *));
	int64		next[RX_N_LOGS];
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	if (RecoveryInProgress())
		PG_RETURN_NULL();
	for (int log = 0; log < RX_N_LOGS; log++)
		next[log] = rx_log_next(log);
	foreach(cell, rx_sub_ids())
	{
		RxSubInfo  *info = rx_sub_by_id(lfirst_int(cell));
		RxSub	   *sub = info ? rx_stats_sub(info) : NULL;
		Progress   *p;

		if (sub == NULL)
			continue;
		p = palloc0(sizeof(Progress));
		p->id = info->id;
		p->log = info->log;
		p->retry_only = info->retry_only;
		p->oldest = PG_INT64_MAX;
		copy_progress(sub, next[info->log], p);
		by_index[sub - rx_shared->subs] = p;
	}
	walk_leases(by_index);
	for (int i = 0; i < RX_MAX_SUBS; i++)
		if (by_index[i])
			put_progress(by_index[i], (ReturnSetInfo *) fcinfo->resultinfo);
	PG_RETURN_NULL();
}
