/*
 * journal.c
 *		The journal of deliveries: what of the shared state must survive.
 *
 * reflex_internal.delivery is appended to and never updated.  Its rows, by kind:
 *
 *	s	settled		ranges
 *	f	failed		seq, attempt, due, error: waits for its retry
 *	e	expired		ranges, attempt, error: may be delivered again at once
 *	r	requeued	seq, due: a dead letter is to be tried anew
 *	c	checkpoint	ranges: all that was unsettled; seq: the cursor
 *
 * Rows of a subscription bear numbers in the order in which they came about
 * (no); of two rows about one position the later one counts.  A subscription
 * whose shared state is lost is rebuilt by reading its rows in that order.
 *
 * The rows lie in generations, delivery_1, delivery_2, ...; a new one begins
 * and the old one is dropped whole as they grow (compact.c).
 *
 * Settling is the hot path and goes to the heap directly; the index knows only
 * the other kinds.
 */
#include "reflex.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "event/event_int.h"
#include "miscadmin.h"
#include "pg/spi.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

enum							/* columns of the journal, from 0 */
{
	COL_GENERATION, COL_SUBSCRIPTION, COL_NO, COL_KIND, COL_AT, COL_RANGES,
	COL_SEQ, COL_ATTEMPT, COL_DUE, COL_ERROR, N_COLS
};

#define NO_OF_COLS "generation, subscription, no, kind, at, ranges, seq, attempt, due, error"

/*
 * The number of the next row.  It must be taken before anybody can act on what
 * the row says, so that it orders rows as they came about: while the event is
 * pinned, or (expired) in the same locked section that takes the lease back.
 */
static int64
take_no(RxSub *sub)
{
	int64		no;

	LWLockAcquire(&sub->lock, LW_EXCLUSIVE);
	no = sub->next_no++;
	LWLockRelease(&sub->lock);
	return no;
}

/* ---- the children ---- */

uint32
rx_journal_generation(RxDb *db)
{
	return Max(pg_atomic_read_u32(&db->generation), 1);
}

Oid
rx_journal_child(uint32 generation)
{
	char		name[NAMEDATALEN];

	snprintf(name, sizeof(name), "delivery_%u", generation);
	return rx_child_oid(name);
}

void
rx_journal_make(uint32 generation)
{
	const char *name = psprintf("delivery_%u", generation);

	(void) rx_child_make(name, psprintf("CREATE TABLE reflex_internal.%s (LIKE reflex_internal.delivery);"
										"CREATE INDEX %s_open ON reflex_internal.%s (subscription, seq) WHERE kind <> 's';"
										"ALTER TABLE reflex_internal.delivery ATTACH PARTITION reflex_internal.%s FOR VALUES IN (%u)",
										name, name, name, name, generation));
}

void
rx_journal_ensure_child(RxDb *db)
{
	rx_journal_make(rx_journal_generation(db));
}

/*
 * Opens the current generation for writing.  It may be dropped between reading
 * its number and locking it: then there is a newer one.
 */
static Relation
open_current(uint32 *generation)
{
	RxDb	   *db = rx_db();

	for (;;)
	{
		Relation	rel;
		Oid			oid;

		CHECK_FOR_INTERRUPTS();
		*generation = rx_journal_generation(db);
		oid = rx_journal_child(*generation);
		if (!OidIsValid(oid))
		{
			if (!rx_child_made_by_worker(psprintf("delivery_%u", *generation), RX_CHILD_CURRENT, 0))
				rx_journal_make(*generation);
			oid = rx_journal_child(*generation);
		}
		rel = try_relation_open(oid, RowExclusiveLock);
		if (rel && *generation == rx_journal_generation(db))
			return rel;
		if (rel)
			relation_close(rel, RowExclusiveLock);
	}
}

/* ---- writing ---- */

Datum
rx_journal_ranges(const RxRange *ranges, int n)
{
	Datum	   *bounds = palloc(n * 2 * sizeof(Datum));

	for (int i = 0; i < n; i++)
	{
		bounds[2 * i] = Int64GetDatum(ranges[i].lo);
		bounds[2 * i + 1] = Int64GetDatum(ranges[i].hi);
	}
	return PointerGetDatum(construct_array(bounds, n * 2, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

void
rx_journal_settled(RxSub *sub, const RxRange *ranges, int n)
{
	Datum		values[N_COLS];
	bool		nulls[N_COLS];
	uint32		generation;
	Relation	rel;
	HeapTuple	tuple;

	PreventCommandIfReadOnly("settling events");
	rel = open_current(&generation);
	memset(nulls, true, sizeof(nulls));
	nulls[COL_GENERATION] = nulls[COL_SUBSCRIPTION] = nulls[COL_NO] = false;
	nulls[COL_KIND] = nulls[COL_AT] = nulls[COL_RANGES] = false;
	values[COL_GENERATION] = Int32GetDatum((int32) generation);
	values[COL_SUBSCRIPTION] = Int32GetDatum(sub->id);
	values[COL_NO] = Int64GetDatum(take_no(sub));
	values[COL_KIND] = CharGetDatum('s');
	values[COL_AT] = TimestampTzGetDatum(GetCurrentStatementStartTimestamp());
	values[COL_RANGES] = rx_journal_ranges(ranges, n);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	heap_insert(rel, tuple, GetCurrentCommandId(true), 0, NULL);
	heap_freetuple(tuple);
	relation_close(rel, NoLock);
}

/* The rarer kinds go through SQL, which keeps the index. */
static void
insert_row(RxSub *sub, int64 no, char kind, Datum ranges, int64 seq, int attempt, TimestampTz due, const char *error)
{
	Oid			types[8] = {INT4OID, INT8OID, CHAROID, INT8ARRAYOID, INT8OID, INT4OID, TIMESTAMPTZOID, TEXTOID};
	Datum		values[8];
	char		nulls[9] = "        ";
	uint32		generation;
	Relation	rel = open_current(&generation);
	RxSpi		spi;

	values[0] = Int32GetDatum(sub->id);
	values[1] = Int64GetDatum(no);
	values[2] = CharGetDatum(kind);
	values[3] = ranges;
	values[4] = Int64GetDatum(seq);
	values[5] = Int32GetDatum(attempt);
	values[6] = TimestampTzGetDatum(due);
	if (ranges == (Datum) 0)
		nulls[3] = 'n';
	else
		nulls[4] = 'n';
	if (due == 0)
		nulls[6] = 'n';
	if (error)
		values[7] = CStringGetTextDatum(error);
	else
		nulls[7] = 'n';
	rx_spi_open(&spi);
	rx_spi_exec(psprintf("INSERT INTO reflex_internal.delivery_%u (" NO_OF_COLS ")"
						 " VALUES (%u, $1, $2, $3, pg_catalog.now(), $4, $5, $6, $7, $8)",
						 generation, generation), 8, types, values, nulls, SPI_OK_INSERT);
	rx_spi_close(&spi);
	relation_close(rel, NoLock);
}

void
rx_journal_expired(RxSub *sub, int64 no, const RxRange *ranges, int n, int attempt, const char *error)
{
	insert_row(sub, no, 'e', rx_journal_ranges(ranges, n), 0, attempt, 0, error);
}

void
rx_journal_failed(RxSub *sub, int64 seq, int attempt, TimestampTz due, const char *error)
{
	insert_row(sub, take_no(sub), 'f', (Datum) 0, seq, attempt, due, error);
}

void
rx_journal_requeued(RxSub *sub, int64 seq, TimestampTz due)
{
	insert_row(sub, take_no(sub), 'r', (Datum) 0, seq, 0, due, NULL);
}

/* ---- rebuilding ---- */

/* What a position is known to be, beyond settled or not. */
typedef struct Known
{
	int64		seq;			/* hash key */
	int			attempt;
	TimestampTz due;			/* 0: at once */
	bool		requeued;		/* delivered from its dead letter, until it is settled */
} Known;

typedef struct Rebuild
{
	RxSubInfo  *info;
	RxSub	   *sub;
	HTAB	   *known;			/* of Known */
	RxRange    *settled;
	int			n_settled;
	int			room_settled;
	int64		start;			/* everything below is settled, but for ... */
	RxRange    *open;			/* ... these */
	int			n_open;
	int64		last_no;
} Rebuild;

static void
push_settled(Rebuild *b, RxRange range)
{
	if (b->n_settled == b->room_settled)
	{
		b->room_settled = Max(256, b->room_settled * 2);
		b->settled = b->settled ? repalloc_huge(b->settled, b->room_settled * sizeof(RxRange)) :
			palloc(b->room_settled * sizeof(RxRange));
	}
	b->settled[b->n_settled++] = range;
}

static RxRange *
array_ranges(Datum value, int *n)
{
	ArrayType  *array = DatumGetArrayTypeP(value);

	*n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) / 2;
	return (RxRange *) ARR_DATA_PTR(array);
}

static Known *
note(Rebuild *b, int64 seq, int attempt, TimestampTz due)
{
	bool		found;
	Known	   *known = hash_search(b->known, &seq, HASH_ENTER, &found);

	known->attempt = attempt;
	known->due = due;
	if (!found)
		known->requeued = false;
	return known;
}

/* Settled: nothing else is known of these any more. */
static void
apply_settled(Rebuild *b, const RxRange *ranges, int n)
{
	for (int i = 0; i < n; i++)
	{
		push_settled(b, ranges[i]);
		if (hash_get_num_entries(b->known) == 0)
			continue;
		for (int64 seq = ranges[i].lo; seq < ranges[i].hi; seq++)
			hash_search(b->known, &seq, HASH_REMOVE, NULL);
	}
}

static bool
is_open(const Rebuild *b, int64 seq)
{
	int			low = 0;
	int			high = b->n_open;

	if (seq >= b->start)
		return true;
	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (seq >= b->open[middle].hi)
			low = middle + 1;
		else
			high = middle;
	}
	return low < b->n_open && seq >= b->open[low].lo;
}

/*
 * A row that says that a batch lapsed is carried over as long as anything of
 * that batch is open; what of it was settled since is not, by the checkpoint.
 */
static void
forget_what_is_not_open(Rebuild *b)
{
	HASH_SEQ_STATUS status;
	Known	   *known;

	hash_seq_init(&status, b->known);
	while ((known = hash_seq_search(&status)) != NULL)
		if (!is_open(b, known->seq))
			hash_search(b->known, &known->seq, HASH_REMOVE, NULL);
}

/*
 * What was open when the checkpoint was taken.  Settled rows that are here
 * count whether they come before or after: one may have been numbered before
 * the checkpoint and committed after it.
 */
static void
apply_checkpoint(Rebuild *b, int64 cursor, const RxRange *ranges, int n)
{
	b->start = cursor;
	b->n_open = n;
	b->open = palloc(Max(n, 1) * sizeof(RxRange));
	memcpy(b->open, ranges, n * sizeof(RxRange));
	forget_what_is_not_open(b);
}

static void
apply_row(Rebuild *b, uint64 row)
{
	char		kind = DatumGetChar(rx_spi_get(row, 2, NULL));
	bool		no_ranges;
	bool		no_due;
	Datum		array = rx_spi_get(row, 3, &no_ranges);
	int64		seq = DatumGetInt64(rx_spi_get(row, 4, NULL));
	int			attempt = DatumGetInt32(rx_spi_get(row, 5, NULL));
	TimestampTz due = DatumGetTimestampTz(rx_spi_get(row, 6, &no_due));
	RxRange    *ranges = NULL;
	int			n = 0;

	if (!no_ranges)
		ranges = array_ranges(array, &n);
	b->last_no = Max(b->last_no, DatumGetInt64(rx_spi_get(row, 1, NULL)));
	switch (kind)
	{
		case 's':
			apply_settled(b, ranges, n);
			break;
		case 'c':
			apply_checkpoint(b, seq, ranges, n);
			break;
		case 'f':
			note(b, seq, attempt, no_due ? 0 : due);
			break;
		case 'r':
			note(b, seq, 0, no_due ? 0 : due)->requeued = true;
			break;
		case 'e':
			for (int i = 0; i < n; i++)
				for (int64 s = ranges[i].lo; s < ranges[i].hi; s++)
					note(b, s, attempt, 0);
			break;
		default:
			elog(ERROR, "unknown kind of journal row: %c", kind);
	}
}

static void
read_journal(Rebuild *b)
{
	Oid			type = INT4OID;
	Datum		id = Int32GetDatum(b->info->id);
	RxSpi		spi;
	uint64		n;
	Datum		holes;
	bool		isnull;
	MemoryContext caller = CurrentMemoryContext;
	Portal		portal;

	rx_spi_open(&spi);
	n = rx_spi_exec("SELECT start_position, start_holes FROM reflex_internal.subscription WHERE id = $1",
					1, &type, &id, NULL, SPI_OK_SELECT);
	if (n != 1)
		elog(ERROR, "subscription with id %d has vanished", b->info->id);
	b->start = DatumGetInt64(rx_spi_get(0, 1, NULL));
	holes = rx_spi_get(0, 2, &isnull);
	if (!isnull)
	{
		RxRange    *ranges = array_ranges(holes, &b->n_open);

		b->open = MemoryContextAlloc(caller, Max(b->n_open, 1) * sizeof(RxRange));
		memcpy(b->open, ranges, b->n_open * sizeof(RxRange));
	}

	/* Nobody drops a generation while this reads (compact.c). */
	LockRelationOid(get_relname_relid("delivery", rx_internal_namespace()), AccessShareLock);
	portal = SPI_cursor_open_with_args(NULL,
									   "SELECT no, kind, ranges, coalesce(seq, 0), coalesce(attempt, 0), due"
									   " FROM reflex_internal.delivery WHERE subscription = $1 ORDER BY no",
									   1, &type, &id, NULL, false, 0);
	do
	{
		MemoryContext old;

		SPI_cursor_fetch(portal, true, 10000);
		old = MemoryContextSwitchTo(caller);
		for (uint64 row = 0; row < SPI_processed; row++)
			apply_row(b, row);
		MemoryContextSwitchTo(old);
		n = SPI_processed;
		SPI_freetuptable(SPI_tuptable);
	} while (n > 0);
	SPI_cursor_close(portal);
	rx_spi_close(&spi);
}

/* ---- from what was read to shared state ---- */

typedef struct Install
{
	Rebuild    *b;
	RxView		view;
	RxLease    *lease;			/* collects short ranges that lie close together */
	RxRange    *free;			/* ordered: open ranges that nobody holds */
	int			n_free;
	int			room_free;
	int64	   *seqs;			/* ordered: the events in them */
	int			n_seqs;
	int			room_seqs;
	RxSub	   *sheet;			/* ordered: cursor and holes */
} Install;

static void
out_of_leases(void)
{
	ereport(ERROR,
			errcode(ERRCODE_OUT_OF_MEMORY),
			errmsg("no shared memory left for what this subscription has open"),
			errhint("Increase reflex.shared_memory and restart the server."));
}

static RxLease *
open_lease(RxSub *sub, int64 seq)
{
	RxLease    *lease = rx_lease_alloc();

	if (lease == NULL)
		out_of_leases();
	lease->sub = (int32) (sub - rx_shared->subs);
	lease->lo = seq;
	lease->exact = true;
	return lease;
}

/* A short range joins the lease that is being filled, or begins another one. */
static void
install_short(Install *in, RxRange range)
{
	RxSub	   *sub = in->b->sub;

	for (int64 seq = range.lo; seq < range.hi; seq++)
	{
		if (in->lease == NULL || seq - in->lease->lo >= RX_SPAN)
		{
			in->lease = open_lease(sub, seq);
			rx_lease_return(sub, in->lease);
		}
		in->lease->width = (uint16) (seq - in->lease->lo + 1);
		RX_BIT_SET(in->lease->out, seq - in->lease->lo);
	}
}

static void
collect_range(Install *in, RxRange range)
{
	if (in->n_free == in->room_free)
	{
		in->room_free = Max(64, in->room_free * 2);
		in->free = in->free ? repalloc_huge(in->free, in->room_free * sizeof(RxRange)) :
			palloc(in->room_free * sizeof(RxRange));
	}
	in->free[in->n_free++] = range;
}

/* A range that no running publisher holds. */
static void
install_free(Install *in, RxRange range)
{
	RxSub	   *sub = in->b->sub;

	if (range.lo >= range.hi)
		return;
	if (sub->ordered)
		collect_range(in, range);
	else if (range.hi - range.lo < RX_SPAN && sub->n_pending > RX_MAX_PENDING / 2)
		install_short(in, range);
	else if (sub->n_pending < RX_MAX_PENDING)
		sub->pending[sub->n_pending++] = range;
	else
		out_of_leases();
}

/* An unsettled range: what publishers still hold of it are holes. */
static void
install_open(Install *in, RxRange range)
{
	RxSub	   *sub = in->b->sub;

	for (int i = 0; i < in->view.n && range.lo < range.hi; i++)
	{
		RxRange		held = {Max(in->view.held[i].lo, range.lo), Min(in->view.held[i].hi, range.hi)};

		if (held.lo >= held.hi)
			continue;
		install_free(in, (RxRange) {range.lo, held.lo});
		if (sub->n_holes == RX_MAX_HOLES)
			out_of_leases();
		sub->holes[sub->n_holes++] = held;
		range.lo = held.hi;
	}
	install_free(in, range);
}

static void
install_known(Install *in)
{
	RxSub	   *sub = in->b->sub;
	TimestampTz now = GetCurrentTimestamp() + rx_clock_offset();
	int64		mono = rx_clock_mono();
	HASH_SEQ_STATUS status;
	Known	   *known;

	hash_seq_init(&status, in->b->known);
	while ((known = hash_seq_search(&status)) != NULL)
	{
		RxLease    *lease = open_lease(sub, known->seq);

		lease->width = 1;
		lease->attempt = (int16) known->attempt;
		lease->requeued = known->requeued;
		RX_BIT_SET(lease->out, 0);
		/* Its session is not known yet: an ordered one must see it before all others. */
		if (known->due > now && !sub->ordered)
			rx_lease_wait(sub, lease, mono + (known->due - now));
		else
			rx_lease_return(sub, lease);
	}
}

/*
 * Open ranges and everything from start on, less what is settled and less what
 * has a lease of its own; the cursor stands where nothing is settled any more.
 */
static void
install_rest(Install *in)
{
	Rebuild    *b = in->b;
	int			s = 0;
	int64		end = b->start;

	if (b->n_settled > 0)
	{
		b->n_settled = rx_ranges_join(b->settled, b->n_settled);
		end = Max(end, b->settled[b->n_settled - 1].hi);
	}
	for (int i = 0; i <= b->n_open; i++)
	{
		RxRange		open = i < b->n_open ? b->open[i] : (RxRange) {b->start, end};

		while (s > 0 && b->settled[s - 1].hi > open.lo)
			s--;
		for (; s < b->n_settled && b->settled[s].lo < open.hi; s++)
		{
			if (b->settled[s].hi <= open.lo)
				continue;
			if (b->settled[s].lo > open.lo)
				install_open(in, (RxRange) {open.lo, b->settled[s].lo});
			open.lo = Max(open.lo, b->settled[s].hi);
		}
		install_open(in, open);
	}
	b->sub->cursor = end;
}

/* ---- an ordered subscription ---- */

/*
 * What is open below the cursor must pass the gates of its sessions in order of
 * position, however many ranges it lies in.  So the events themselves are looked
 * up, before the lock is taken, and each gets a lease that is handed out before
 * anything new is read.
 */
static bool
collect_seq(Datum *values, bool *isnull, void *arg)
{
	Install    *in = arg;

	if (in->n_seqs == in->room_seqs)
	{
		in->room_seqs = Max(256, in->room_seqs * 2);
		in->seqs = in->seqs ? repalloc_huge(in->seqs, in->room_seqs * sizeof(int64)) :
			palloc(in->room_seqs * sizeof(int64));
	}
	in->seqs[in->n_seqs++] = DatumGetInt64(values[RX_COL_SEQ]);
	return true;
}

static void
look_up_open(Install *in)
{
	RxSub	   *real = in->b->sub;
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	/* Its ranges, on a sheet of its own. */
	in->b->sub = palloc0(sizeof(RxSub));
	in->b->sub->ordered = true;
	install_rest(in);
	for (int i = 0; i < in->n_free; i++)
		rx_log_scan(in->b->info->log, in->free[i], snapshot, collect_seq, in);
	UnregisterSnapshot(snapshot);
	in->sheet = in->b->sub;
	in->b->sub = real;
}

static void
install_looked_up(Install *in)
{
	RxSub	   *sub = in->b->sub;

	sub->cursor = in->sheet->cursor;
	sub->n_holes = in->sheet->n_holes;
	memcpy(sub->holes, in->sheet->holes, sizeof(sub->holes));
	for (int i = 0; i < in->n_seqs; i++)
	{
		RxLease    *lease = open_lease(sub, in->seqs[i]);

		lease->width = 1;
		RX_BIT_SET(lease->out, 0);
		rx_lease_return(sub, lease);
	}
}

static void
install(Install *in)
{
	Rebuild    *b = in->b;
	RxSub	   *sub = b->sub;

	rx_lease_discard(sub, NULL);	/* of a rebuild that failed half-way */
	sub->n_pending = sub->n_claims = sub->n_holes = 0;
	/* What has failed before comes before what follows it in its session. */
	install_known(in);
	if (sub->ordered)
		install_looked_up(in);
	else if (!sub->retry_only)
		install_rest(in);
	sub->next_no = b->last_no + 1;
	sub->ready = true;
}

/* A failed one waits by itself: for the rest of the rebuild it is settled. */
static void
settle_known(Rebuild *b)
{
	HASH_SEQ_STATUS status;
	Known	   *known;

	hash_seq_init(&status, b->known);
	while ((known = hash_seq_search(&status)) != NULL)
		push_settled(b, (RxRange) {known->seq, known->seq + 1});
}

void
rx_journal_rebuild(RxSubInfo *info, RxSub *sub)
{
	HASHCTL		ctl = {.keysize = sizeof(int64),.entrysize = sizeof(Known)};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "reflex rebuild",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Rebuild		b = {.info = info,.sub = sub};
	Install		in = {.b = &b};
	RxView		view;

	rx_shared_require_read_committed();
	ctl.hcxt = context;
	b.known = hash_create("reflex known positions", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	rx_position_view(rx_db(), info->log, &view);
	read_journal(&b);
	settle_known(&b);
	in.view = view;
	if (sub->ordered)
		look_up_open(&in);
	LWLockAcquire(&sub->lock, LW_EXCLUSIVE);
	if (!sub->ready)
		install(&in);
	LWLockRelease(&sub->lock);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
