/*
 * state.c
 *		What has become of an event in a subscription; for reflex.deliveries.
 *
 * Nothing is written when an event is handed out, so this is derived: from the
 * leases, from what the subscription has not read, and (in SQL) from dead
 * letters and the journal.  A query asks for many events: on its first call a
 * function takes a picture of the shared state, once, and answers from that
 * until the query ends.
 *
 * The picture: first each subscription's unread ranges, under its lock in
 * shared mode; then the leases, by a walk through the pool without a lock.  In
 * that order, since an event that moves between the two moves from unread to
 * leased to settled: it may be seen twice, where the later counts, and not
 * missed.  Only what is being read at this very moment is in neither.
 *
 * When an event was settled is told by the journal, while it has the row.
 * Those rows have no index; a query that asks for it reads the journal once
 * (at most two generations, compact.c).
 */
#include "reflex.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "event/event_int.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pg/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

typedef struct SeenLease
{
	int32		sub;			/* index of the RxSub */
	int16		attempt;
	uint8		state;			/* RxLeaseState */
	int64		lo;
	int64		due;
	uint64		out[RX_WORDS];
} SeenLease;

typedef struct SeenSub
{
	int32		id;
	int32		index;			/* of the RxSub */
	bool		retry_only;
	int64		cursor;
	int			n;
	RxRange    *unread;			/* pending ranges and holes */
} SeenSub;

typedef struct Picture
{
	int			n_subs;
	SeenSub    *subs;			/* by id */
	int64		n_leases;
	SeenLease  *leases;			/* by (sub, lo) */
} Picture;

/* ---- taking it ---- */

static void
see_sub(RxSubInfo *info, RxSub *sub, SeenSub *seen)
{
	seen->id = info->id;
	seen->index = (int32) (sub - rx_shared->subs);
	seen->retry_only = info->retry_only;
	seen->unread = palloc((RX_MAX_PENDING + RX_MAX_HOLES) * sizeof(RxRange));
	LWLockAcquire(&sub->lock, LW_SHARED);
	seen->cursor = sub->cursor;
	seen->n = sub->n_pending + sub->n_holes;
	memcpy(seen->unread, sub->pending, sub->n_pending * sizeof(RxRange));
	memcpy(seen->unread + sub->n_pending, sub->holes, sub->n_holes * sizeof(RxRange));
	LWLockRelease(&sub->lock);
}

static void
see_subs(Picture *picture)
{
	List	   *ids = rx_sub_ids();
	ListCell   *cell;

	picture->subs = palloc(Max(list_length(ids), 1) * sizeof(SeenSub));
	foreach(cell, ids)
	{
		RxSubInfo  *info = rx_sub_by_id(lfirst_int(cell));
		RxSub	   *sub = info ? rx_stats_sub(info) : NULL;

		if (sub)
			see_sub(info, sub, &picture->subs[picture->n_subs++]);
	}
}

static int
compare_leases(const void *a, const void *b)
{
	const SeenLease *x = a;
	const SeenLease *y = b;

	if (x->sub != y->sub)
		return x->sub < y->sub ? -1 : 1;
	return (x->lo > y->lo) - (x->lo < y->lo);
}

static void
see_leases(Picture *picture)
{
	int64		room = 64;

	picture->leases = palloc(room * sizeof(SeenLease));
	for (uint32 i = 0; i < rx_shared->n_leases; i++)
	{
		const RxLease *lease = &rx_shared->leases[i];
		SeenLease  *seen;

		if (lease->state == RX_LEASE_FREE || rx_lease_count(lease) == 0)
			continue;
		if (picture->n_leases == room)
		{
			room *= 2;
			picture->leases = repalloc_huge(picture->leases, room * sizeof(SeenLease));
		}
		seen = &picture->leases[picture->n_leases++];
		seen->sub = lease->sub;
		seen->attempt = lease->attempt;
		seen->state = lease->state;
		seen->lo = lease->lo;
		seen->due = lease->due;
		memcpy(seen->out, lease->out, sizeof(seen->out));
	}
	qsort(picture->leases, picture->n_leases, sizeof(SeenLease), compare_leases);
}

static Picture *
take_picture(FmgrInfo *flinfo)
{
	MemoryContext old = MemoryContextSwitchTo(flinfo->fn_mcxt);
	Picture    *picture = palloc0(sizeof(Picture));

	see_subs(picture);
	see_leases(picture);
	flinfo->fn_extra = picture;
	MemoryContextSwitchTo(old);
	return picture;
}

/* ---- looking something up in it ---- */

static const SeenSub *
find_sub(const Picture *picture, int32 id)
{
	for (int i = 0; i < picture->n_subs; i++)
		if (picture->subs[i].id == id)
			return &picture->subs[i];
	return NULL;
}

/* The first lease of this subscription that begins at lo or above. */
static int64
first_lease(const Picture *picture, int32 sub, int64 lo)
{
	SeenLease	key = {.sub = sub,.lo = lo};
	int64		low = 0;
	int64		high = picture->n_leases;

	while (low < high)
	{
		int64		middle = low + (high - low) / 2;

		if (compare_leases(&picture->leases[middle], &key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * The lease that an event is in.  Spans overlap; an event that is nacked in a
 * running transaction is in two, of which the one that is CLAIMED counts less.
 */
static const SeenLease *
find_lease(const Picture *picture, int32 sub, int64 seq)
{
	const SeenLease *found = NULL;

	for (int64 i = first_lease(picture, sub, seq - RX_SPAN + 1); i < picture->n_leases; i++)
	{
		const SeenLease *lease = &picture->leases[i];

		if (lease->sub != sub || lease->lo > seq)
			break;
		if (RX_BIT_TEST(lease->out, seq - lease->lo) && (found == NULL || found->state == RX_LEASE_CLAIMED))
			found = lease;
	}
	return found;
}

static bool
is_unread(const SeenSub *sub, int64 seq)
{
	if (seq >= sub->cursor)
		return true;
	for (int i = 0; i < sub->n; i++)
		if (seq >= sub->unread[i].lo && seq < sub->unread[i].hi)
			return true;
	return false;
}

static const char *
lease_status(const SeenLease *lease)
{
	switch ((RxLeaseState) lease->state)
	{
		case RX_LEASE_CLAIMED:
		case RX_LEASE_OUT:
			return "processing";
		case RX_LEASE_WAITING:
			return "retrying";
		case RX_LEASE_PARKED:
		case RX_LEASE_RETURNED:
			return lease->attempt > 0 ? "retrying" : "pending";
		case RX_LEASE_FREE:
			break;
	}
	return NULL;
}

/*
 * delivery_state(subscription int, seq bigint, OUT status text, OUT attempt int,
 * OUT due timestamptz, OUT leased boolean) - all null where nothing is known:
 * the subscription is not at hand, or has only ever seen what failed elsewhere.
 */
REFLEX_FUNCTION(reflex_delivery_state)
{
	const Picture *picture = fcinfo->flinfo->fn_extra;
	int64		seq = PG_GETARG_INT64(1);
	const SeenSub *sub;
	const SeenLease *lease = NULL;
	const char *status = NULL;
	TupleDesc	desc;
	Datum		values[4] = {0};
	bool		nulls[4] = {true, true, true, true};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (picture == NULL && !RecoveryInProgress())
		picture = take_picture(fcinfo->flinfo);
	sub = picture ? find_sub(picture, PG_GETARG_INT32(0)) : NULL;
	if (sub)
		lease = find_lease(picture, sub->index, seq);
	if (lease)
	{
		int64		wait = lease->due - rx_clock_mono();

		status = lease_status(lease);
		values[1] = Int32GetDatum(lease->attempt);
		values[2] = TimestampTzGetDatum(GetCurrentTimestamp() + wait);
		nulls[1] = false;
		nulls[2] = lease->state != RX_LEASE_WAITING || wait < 0;
	}
	else if (sub && !sub->retry_only)
		status = is_unread(sub, seq) ? "pending" : "completed";
	if (status)
	{
		values[0] = CStringGetTextDatum(status);
		values[3] = BoolGetDatum(lease != NULL && lease->state != RX_LEASE_CLAIMED);
		nulls[0] = nulls[3] = false;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* ---- when it was settled ---- */

typedef struct Settled
{
	int32		sub;
	RxRange		range;
	TimestampTz at;
} Settled;

#define LOOK_BACK 256

typedef struct SettledList
{
	int64		n;
	int64		room;
	Settled    *rows;			/* by (sub, range.lo) */
} SettledList;

static int
compare_settled(const void *a, const void *b)
{
	const Settled *x = a;
	const Settled *y = b;

	if (x->sub != y->sub)
		return x->sub < y->sub ? -1 : 1;
	if (x->range.lo != y->range.lo)
		return x->range.lo < y->range.lo ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

static void
add_settled(SettledList *list, int32 sub, TimestampTz at, ArrayType *array)
{
	const RxRange *ranges = (RxRange *) ARR_DATA_PTR(array);
	int			n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) / 2;

	if (list->n + n > list->room)
	{
		list->room = Max(list->n + n, list->room * 2);
		list->rows = repalloc_huge(list->rows, list->room * sizeof(Settled));
	}
	for (int i = 0; i < n; i++)
		list->rows[list->n++] = (Settled) {sub, ranges[i], at};
}

static SettledList *
read_settled(FmgrInfo *flinfo)
{
	SettledList *list = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(SettledList));
	RxSpi		spi;
	Portal		portal;

	list->room = 1024;
	list->rows = MemoryContextAlloc(flinfo->fn_mcxt, list->room * sizeof(Settled));
	rx_spi_open(&spi);
	portal = SPI_cursor_open_with_args(NULL,
									   "SELECT subscription, at, ranges FROM reflex_internal.delivery"
									   " WHERE kind = 's' AND at IS NOT NULL",
									   0, NULL, NULL, NULL, true, 0);
	do
	{
		SPI_cursor_fetch(portal, true, 10000);
		for (uint64 row = 0; row < SPI_processed; row++)
			add_settled(list, DatumGetInt32(rx_spi_get(row, 1, NULL)),
						DatumGetTimestampTz(rx_spi_get(row, 2, NULL)),
						DatumGetArrayTypeP(rx_spi_get(row, 3, NULL)));
		SPI_freetuptable(SPI_tuptable);
	} while (SPI_processed > 0);
	SPI_cursor_close(portal);
	rx_spi_close(&spi);
	qsort(list->rows, list->n, sizeof(Settled), compare_settled);
	flinfo->fn_extra = list;
	return list;
}

/*
 * settled_at(subscription int, seq bigint) - null when the record is gone.
 * Ranges of one subscription overlap only where something was settled twice (a
 * dead letter that was put back, a subscription that was rewound): the one that
 * begins last is found, and a wider one behind as many as LOOK_BACK others.
 */
REFLEX_FUNCTION(reflex_settled_at)
{
	SettledList *list = fcinfo->flinfo->fn_extra;
	Settled		key = {.sub = PG_GETARG_INT32(0),.range = {PG_GETARG_INT64(1), 0},.at = DT_NOEND};
	int64		low = 0;
	int64		high;

	if (list == NULL)
		list = read_settled(fcinfo->flinfo);
	high = list->n;
	while (low < high)
	{
		int64		middle = low + (high - low) / 2;

		if (compare_settled(&list->rows[middle], &key) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (high = Max(low - LOOK_BACK, 0); low > high && list->rows[low - 1].sub == key.sub; low--)
		if (list->rows[low - 1].range.hi > key.range.lo)
			PG_RETURN_TIMESTAMPTZ(list->rows[low - 1].at);
	PG_RETURN_NULL();
}
