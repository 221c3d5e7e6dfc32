/*
 * retain.c
 *		Retention: old children of the event log are dropped whole.
 *
 * A child may go when it is past (positions are handed out from a later one),
 * all its events are older than reflex.event_retention, or the log is larger
 * than reflex.log_max_size, and no subscription has anything open in it.
 * Oldest first, and only tried for: nobody ever queues behind a drop.
 *
 * A child spans 2^22 positions, which a quiet database would take years to use
 * up.  So when the first event of the current child is older than a sixteenth of
 * the retention, the counter is moved on to the start of the next one: the
 * positions in between are never given out, of which there are enough.
 */
#include "reflex.h"

#include "catalog/pg_type.h"
#include "event/event_int.h"
#include "miscadmin.h"
#include "pg/guc.h"
#include "pg/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* Current children are begun this many times within the retention. */
#define CHILDREN_PER_RETENTION 16

static TimestampTz
ago(int64 seconds)
{
	return GetCurrentTimestamp() + rx_clock_offset() - seconds * USECS_PER_SEC;
}

/* ---- what is still needed ---- */

static int64
lowest_range(const RxRange *ranges, int n, int64 low)
{
	for (int i = 0; i < n; i++)
		low = Min(low, ranges[i].lo);
	return low;
}

/* Everything of this subscription below is settled. */
static int64
low_water(RxSub *sub)
{
	int32		index = (int32) (sub - rx_shared->subs);
	int64		low;

	LWLockAcquire(&sub->lock, LW_SHARED);
	/* Somebody is reading positions that are in nobody's list: not now. */
	low = sub->n_claims > 0 ? 0 : sub->retry_only ? PG_INT64_MAX : sub->cursor;
	low = lowest_range(sub->pending, sub->n_pending, low);
	low = lowest_range(sub->holes, sub->n_holes, low);
	for (uint32 i = 0; i < rx_shared->n_leases; i++)
	{
		RxLease    *lease = &rx_shared->leases[i];

		if (lease->state != RX_LEASE_FREE && lease->sub == index)
			low = Min(low, lease->lo);
	}
	LWLockRelease(&sub->lock);
	return low;
}

static bool
is_needed(RxDb *db, int64 child)
{
	int64		end = RX_CHILD_START(child + 1);
	List	   *ids = rx_sub_ids();
	ListCell   *cell;

	foreach(cell, ids)
	{
		RxSubInfo  *info = rx_sub_by_id(lfirst_int(cell));

		if (info == NULL || info->log != RX_LOG_EVENT)
			continue;
		/* While there is no rule, nobody moves this one on. */
		if (info->system && pg_atomic_read_u32(&db->quiet) != 0)
			continue;
		if (low_water(rx_sub_attach(info)) < end)
			return true;
	}
	return false;
}

/* ---- dropping ---- */

static bool
query_int64(const char *sql, int64 *value)
{
	RxSpi		spi;
	bool		isnull = true;

	rx_spi_open(&spi);
	if (rx_spi_exec(sql, 0, NULL, NULL, NULL, SPI_OK_SELECT) > 0)
		*value = DatumGetInt64(rx_spi_get(0, 1, &isnull));
	rx_spi_close(&spi);
	return !isnull;
}

/* The last (or first) event of a child; 0 when it is empty. */
static TimestampTz
edge_of(int64 child, bool last)
{
	int64		at = 0;

	(void) query_int64(psprintf("SELECT (extract(epoch FROM e.created_at) * 1000000)::int8 FROM reflex_internal.event_" INT64_FORMAT
								" e ORDER BY e.seq %s LIMIT 1", child, last ? "DESC" : "ASC"), &at);
	return at == 0 ? 0 : at - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

static bool
log_is_too_large(void)
{
	int64		size = 0;

	return rx_guc_log_max_size > 0 &&
		query_int64("SELECT sum(pg_catalog.pg_total_relation_size(c.oid))::int8 FROM pg_catalog.pg_class c"
					" WHERE c.relnamespace = 'reflex_internal'::regnamespace"
					" AND c.relkind = 'r' AND c.relname ~ '^event_[0-9]+$'", &size) &&
		size > (int64) rx_guc_log_max_size * 1024 * 1024;
}

/* Drops the oldest child if it may go; true: one was dropped, there may be more. */
bool
rx_retain_drop_old(void)
{
	RxDb	   *db = rx_db();
	int64		child = rx_child_number("event", false);
	char	   *name;

	if (child < 0 || child >= RX_CHILD_OF(rx_log_next(RX_LOG_EVENT)))
		return false;
	if (edge_of(child, true) >= ago(rx_guc_event_retention) && !log_is_too_large())
		return false;
	name = psprintf("event_" INT64_FORMAT, child);
	if (!rx_child_lock("event", name) || is_needed(db, child))
		return false;
	rx_child_drop(name);
	return true;
}

/* ---- moving on to the next child ---- */

static void
move_on(RxDb *db, int64 child)
{
	int64		start = RX_CHILD_START(child + 1);
	RxCounter  *counter = &db->counter[RX_LOG_EVENT];
	int64		ignored;

	(void) query_int64(psprintf("SELECT pg_catalog.setval('reflex_internal.event_position', " INT64_FORMAT ", false)",
								start), &ignored);
	LWLockAcquire(&db->lock, LW_EXCLUSIVE);
	if (counter->limit <= start)
		counter->next = counter->limit = start;
	LWLockRelease(&db->lock);
}

/* Begins the next child when the current one has been in use for long. */
void
rx_retain_move_on(void)
{
	RxDb	   *db = rx_db();
	int64		child = RX_CHILD_OF(rx_log_next(RX_LOG_EVENT));
	char	   *name = psprintf("event_" INT64_FORMAT, child);
	TimestampTz first;

	if (!OidIsValid(rx_child_oid(name)))
		return;
	first = edge_of(child, false);
	if (first == 0 || first >= ago(rx_guc_event_retention / CHILDREN_PER_RETENTION))
		return;
	rx_log_ensure_child(RX_LOG_EVENT, child + 1);
	move_on(db, child);
}
