/*
 * event_int.h
 *		What the files of the log and its delivery share with each other.
 *
 * Shared memory of this room, from large to small:
 *
 *	RxDb	one per database that has the extension: the counters that hand out
 *			positions, one per log.
 *	RxSub	one per subscription in use: how far it has read, what it must come
 *			back for, and its leases.
 *	RxLease	a span of at most RX_SPAN positions of one subscription with a bit
 *			for each one that is not settled.  What is out with a consumer, what
 *			was given back, and what waits for its retry are all leases; they
 *			differ in state alone.
 *	holds	for each process and log, the ranges of positions that its running
 *			transaction has been given.
 *
 * Everything here is lost with the server and rebuilt from the tables: the log
 * itself and the journal of deliveries (journal.c).
 *
 * Locks, in the order in which they may be taken: RxDb.lock, RxSub.lock, the
 * pool's spinlock.  None is held while SQL runs or a page is read.
 */
#ifndef RX_EVENT_EVENT_INT_H
#define RX_EVENT_EVENT_INT_H

#include "postgres.h"
#include "base/clock.h"
#include "event/event.h"
#include "event/filter.h"
#include "event/patterns.h"
#include "lib/ilist.h"
#include "lib/pairingheap.h"
#include "nodes/pg_list.h"
#include "pg/wakeup.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

/* Positions per child table of a log (2^22), and per reservation on disk. */
#define RX_CHILD_BITS 22
#define RX_CHILD_OF(seq) ((seq) >> RX_CHILD_BITS)
#define RX_CHILD_START(child) ((int64) (child) << RX_CHILD_BITS)
#define RX_BLOCK 8192

/* Bytes of a type or a session. */
#define RX_MAX_NAME 255

/* Positions one lease may cover, and the words its bits need. */
#define RX_SPAN 256
#define RX_WORDS (RX_SPAN / 64)

/* Blocks after which a generation of the journal is compacted (64 MB). */
#define RX_COMPACT_BLOCKS 8192

#define RX_MAX_DBS 64
#define RX_MAX_SUBS 512
#define RX_MAX_HOLD 62			/* ranges a transaction holds exactly */
#define RX_MAX_PENDING 256		/* ranges a subscription must come back for */
#define RX_SESSION_BUCKETS 256
#define RX_MAX_HOLES 256		/* ranges it has passed that publishers hold */

/* A half-open range of positions. */
typedef struct RxRange
{
	int64		lo;
	int64		hi;
} RxRange;

/* The counter of one log in one database.  All under RxDb.lock. */
typedef struct RxCounter
{
	int64		next;			/* the next position to hand out */
	int64		limit;			/* the end of the block reserved on disk */
	int64		spare;			/* the start of a second block, 0 for none */
	TimestampTz last_created;	/* created_at never goes back */
} RxCounter;

/* What has happened since the shared memory began; for reflex.stats. */
typedef struct RxCounts
{
	uint64		delivered;		/* events handed out */
	uint64		acked;
	uint64		failed;			/* attempts that were reported as failed */
	uint64		expired;		/* attempts whose lease lapsed */
	uint64		dead;			/* dead letters */
} RxCounts;

typedef struct RxDb
{
	Oid			database;		/* InvalidOid: free.  Written under the table's lock */
	Oid			namespace;		/* of reflex_internal: a new one is a new life */
	bool		ready;			/* counters are set; under lock */
	bool		from_standby;	/* ... but may be out of date; under lock */
	LWLock		lock;
	RxCounter	counter[RX_N_LOGS];
	pg_atomic_uint32 generation;	/* number of the journal's current child */
	pg_atomic_uint32 catalog_version;	/* goes up when a subscription changes */
	pg_atomic_uint64 wanted;	/* child that somebody waits for: RxChildKind << 32 | number */
	pg_atomic_uint64 delayed_due;	/* earliest due time not looked at; 0: look at all */
	pg_atomic_uint32 quiet;		/* 1: no rule wants events, publishers wake nobody for them */
	bool		dedupe_used;	/* keys are in use: the worker makes their children ahead */
	pg_atomic_uint64 published[RX_N_LOGS];	/* entries, by transactions that committed */
	RxCounts	retired;		/* of subscriptions that are gone; under the table's lock */
	TimestampTz since;			/* these two count from here; under the table's lock */
} RxDb;

typedef enum RxLeaseState
{
	RX_LEASE_FREE,				/* in the pool */
	RX_LEASE_CLAIMED,			/* a backend is reading its rows; in no list */
	RX_LEASE_OUT,				/* with a consumer until due; in the heap */
	RX_LEASE_RETURNED,			/* may be handed out; in the returned list */
	RX_LEASE_WAITING,			/* retry at due; in the heap */
	RX_LEASE_PARKED				/* behind the head of its session (order.c) */
} RxLeaseState;

/* All under the lock of its subscription, but for those of a free one (pool). */
typedef struct RxLease
{
	dlist_node	link;			/* pool or returned list */
	pairingheap_node timer;		/* OUT and WAITING, by due */
	int64		lo;				/* first position of the span */
	int64		due;			/* monotonic microseconds */
	uint64		counter;		/* of this handing out; 0 when not out */
	uint64		out[RX_WORDS];	/* not settled */
	uint64		pinned[RX_WORDS];	/* a running transaction settles it */
	int32		sub;			/* index of the RxSub */
	uint16		width;			/* positions covered */
	uint16		pins;			/* bits set in pinned */
	int16		attempt;		/* deliveries so far, the present one included */
	uint8		state;			/* RxLeaseState */
	bool		exact;			/* a clear bit does not mean "settled or never there" */
	bool		requeued;		/* one event, handed out from its dead letter (dead_letter.c) */
	bool		is_head;		/* stands for its session; then chain is in a bucket */
	uint64		session;		/* hash; order.c, like the next two */
	dlist_node	chain;			/* bucket of heads, or parked behind one */
	dlist_head	parked;			/* behind this head, by position */
} RxLease;

typedef struct RxSub
{
	int32		id;				/* 0: free.  Written under the table's lock */
	int32		db;				/* index of the RxDb */
	RxLogId		log;
	bool		retry_only;		/* reads nothing by itself */
	bool		ordered;
	bool		ready;			/* rebuilt from the tables; under lock, like all below */
	LWLock		lock;
	int64		cursor;			/* read up to here */
	int64		next_no;		/* number of the next journal row */
	int			n_pending;
	int			n_claims;		/* windows being read; each keeps room in pending */
	int			n_holes;
	uint32		n_out;			/* events that are out */
	uint32		n_waiting;		/* retries that wait */
	RxCounts	counts;
	RxRange		pending[RX_MAX_PENDING];	/* to be read: released by publishers or unread tails */
	RxRange		holes[RX_MAX_HOLES];	/* passed, may still be held */
	dlist_head	returned;
	pairingheap timers;
	int			reader;			/* ordered: process number + 1 of who reads, or 0 */
	dlist_head	sessions[RX_SESSION_BUCKETS];	/* ordered: the heads of busy sessions */
} RxSub;

typedef struct RxShared
{
	uint32		epoch;			/* random; in every token */
	pg_atomic_uint64 lease_counter;
	LWLock		table_lock;		/* who takes and frees RxDb and RxSub */
	RxDb		dbs[RX_MAX_DBS];
	RxSub		subs[RX_MAX_SUBS];
	slock_t		pool_lock;
	dlist_head	pool;			/* free leases */
	uint32		n_free;
	uint32		n_leases;
	uint32		compact_blocks; /* a generation of the journal may grow so large */
	RxLease    *leases;			/* n_leases of them, right behind this struct */
} RxShared;

/*
 * What the running transaction of a process holds in one log.  Ranges are
 * written by their process under RxDb.lock; the count (with the database's
 * index) lives apart so that readers scan few cache lines, and is reset
 * without a lock after the transaction has become visible.
 */
typedef struct RxHold
{
	int64		open_from;		/* when ranges ran out: holds all from here; else 0 */
	RxRange		range[RX_MAX_HOLD];
} RxHold;

/* What readers of a log may not touch yet, taken at one moment. */
typedef struct RxView
{
	int64		next;			/* nothing at or above has been handed out */
	int			n;
	RxRange    *held;			/* sorted, disjoint; in the current context */
} RxView;

/* ---- shared.c ---- */
extern RxShared *rx_shared;
extern RxDb *rx_db(void);		/* of this database; attaches it; raises when impossible */
extern RxDb *rx_db_in_use(void);	/* the one that rx_db last gave to this process; NULL before */
extern int	rx_db_index(const RxDb *db);
extern pg_atomic_uint32 *rx_hold_count(RxLogId log, int proc);
extern RxHold *rx_hold(RxLogId log, int proc);
extern RxLease *rx_lease_alloc(void);	/* NULL when the pool is empty; state CLAIMED */
extern void rx_lease_free(RxLease *lease);
extern void rx_shared_require_read_committed(void);
extern void rx_db_resync(RxDb *db); /* under no lock; see install_block */

/* ---- children.c ---- */
typedef enum RxChildKind
{
	RX_CHILD_NONE,
	RX_CHILD_CURRENT,			/* of the logs and the journal */
	RX_CHILD_DEDUPE,
	RX_CHILD_DELAYED
} RxChildKind;
extern Oid	rx_child_oid(const char *name);
extern int64 rx_child_number(const char *parent, bool last);
extern bool rx_child_make(const char *name, const char *sql);
extern bool rx_child_made_by_worker(const char *name, RxChildKind kind, uint32 number);
extern bool rx_child_lock(const char *parent, const char *name);
extern void rx_child_drop(const char *name);

/* ---- turn.c ---- */
typedef enum RxTurnKind
{
	RX_TURN_SESSION,
	RX_TURN_DEDUPE
} RxTurnKind;
extern bool rx_turn_take(RxTurnKind kind, RxLogId log, const char *name);
extern bool rx_turn_is_taken(RxTurnKind kind, RxLogId log, const char *name);
extern void rx_turn_init(void);

/* ---- positions.c ---- */
extern int64 rx_position_next(RxLogId log, bool fresh, TimestampTz *created_at, int *node);
extern void rx_position_view(RxDb *db, RxLogId log, RxView *view);
extern bool rx_position_held_all(const RxDb *db, RxLogId log, const RxRange *ranges, int n);
extern bool rx_position_mine(void);
extern void rx_position_release(bool committed);
extern void rx_position_release_late(void);
extern void rx_position_init(void);

/* ---- log.c ---- */
enum							/* columns of a log table, from 0 */
{
	RX_COL_SEQ, RX_COL_CREATED_AT, RX_COL_NODE, RX_COL_TYPE, RX_COL_SOURCE, RX_COL_SESSION,
	RX_COL_ROLE, RX_COL_PAYLOAD, RX_COL_META, RX_N_COLS
};
extern const char *rx_log_name(RxLogId log);
extern bool rx_log_scan(RxLogId log, RxRange range, Snapshot snapshot,
						bool (*row) (Datum *values, bool *isnull, void *arg), void *arg);
extern void rx_log_ensure_child(RxLogId log, int64 child);
extern void rx_log_record(RxLogId log, Datum *values, bool *isnull, RxRecord *record);
extern RxIdKind rx_log_id_kind(RxLogId log);
extern void rx_log_index_row(Relation rel, HeapTuple tuple, Datum *values, bool *isnull);

/* ---- subscription.c ---- */
typedef struct RxSubInfo
{
	int32		id;
	char	   *name;
	RxLogId		log;
	bool		retry_only;
	bool		system;
	bool		paused;			/* hands out nothing */
	bool		ordered;
	bool		any_type;
	RxPatterns	types;
	Jsonb	   *filter_json;	/* NULL: all that types let pass */
	RxFilter   *filter;			/* compiled at the first reading */
	int			max_attempts;	/* 0: as the setting says; like the next two */
	int64		retry_base_us;	/* -1: as the setting says */
	int64		retry_max_us;
	RxSub	   *shared;			/* NULL until attached */
} RxSubInfo;

extern RxSubInfo *rx_sub_by_name(const char *name);
extern RxSubInfo *rx_sub_by_id(int32 id);	/* NULL when there is none */
extern RxSubInfo *rx_sub_require(int32 id); /* PT404 when there is none */
extern List *rx_sub_ids(void);	/* of int, all there are */
extern RxSub *rx_sub_attach(RxSubInfo *info);
extern int	rx_sub_max_attempts(const RxSubInfo *info);
extern int64 rx_sub_backoff(const RxSubInfo *info, int attempt);
extern void rx_sub_prepare(RxSubInfo *info);
extern bool rx_sub_wants(const RxSubInfo *info, Datum *values, bool *isnull);
extern void rx_sub_caches_reset(void);
extern void rx_sub_catalog_changed(void);

/* ---- wait.c ---- */
extern void rx_wait_wake(const RxSub *sub);
extern void rx_wait_wake_log(const RxDb *db, RxLogId log);
extern void rx_wait_for(RxSubInfo *info, RxSub *sub, int64 until);
extern void rx_wait_init(void);

/* ---- lease.c: under RxSub.lock unless said otherwise ---- */
extern void rx_lease_out(RxSub *sub, RxLease *lease, int64 due);
extern void rx_lease_return(RxSub *sub, RxLease *lease);
extern void rx_lease_wait(RxSub *sub, RxLease *lease, int64 due);
extern void rx_lease_clear(RxSub *sub, RxLease *lease, int bit);
extern void rx_lease_unlink(RxSub *sub, RxLease *lease);
extern void rx_lease_discard(RxSub *sub, RxLease *lease);
extern RxLease *rx_lease_claim_due(RxSub *sub, int64 now, int max);
extern RxLease *rx_lease_claim_returned(RxSub *sub, int max);
extern RxLease *rx_lease_claim_fresh(RxSub *sub, const RxView *view, int64 want, RxRange *window);
extern void rx_lease_claim_done(RxSub *sub, RxRange unread);
extern void rx_lease_pin(RxSub *sub, RxLease *lease, int bit);
extern void rx_lease_unpin(RxSub *sub, RxLease *lease, int bit);
extern void rx_lease_skip(RxSub *sub, int64 before);
extern void rx_lease_settle_holes(RxSub *sub, const RxView *view);
extern RxLease *rx_lease_expired(RxSub *sub, int64 now);
extern int	rx_lease_compare(const pairingheap_node *a, const pairingheap_node *b, void *arg);
extern int	rx_lease_count(const RxLease *lease);

#define RX_BIT_WORD(bit) ((bit) / 64)
#define RX_BIT_MASK(bit) (UINT64CONST(1) << ((bit) % 64))
#define RX_BIT_TEST(map, bit) (((map)[RX_BIT_WORD(bit)] & RX_BIT_MASK(bit)) != 0)
#define RX_BIT_SET(map, bit) ((map)[RX_BIT_WORD(bit)] |= RX_BIT_MASK(bit))
#define RX_BIT_CLEAR(map, bit) ((map)[RX_BIT_WORD(bit)] &= ~RX_BIT_MASK(bit))

/* ---- order.c: under RxSub.lock ---- */
extern uint64 rx_order_hash(text *session);
extern bool rx_order_pass(RxSub *sub, RxLease *lease, uint64 session);
extern void rx_order_leave(RxSub *sub, RxLease *lease);
extern void rx_order_replace(RxSub *sub, RxLease *lease, RxLease *retry);
extern void rx_order_discard(RxSub *sub);
extern void rx_order_init(RxSub *sub);

/* ---- ranges.c ---- */
extern int	rx_ranges_join(RxRange *ranges, int n);

/* ---- token.c ---- */
#define RX_TOKEN_LEN 32
extern void rx_token_text(const RxToken *token, char *out);
extern bool rx_token_parse(const char *in, int len, RxToken *token);
extern uint64 rx_token_lease(const RxLease *lease);
extern RxLease *rx_token_find(const RxToken *token);

/* ---- journal.c ---- */
extern void rx_journal_settled(RxSub *sub, const RxRange *ranges, int n);
extern void rx_journal_expired(RxSub *sub, int64 no, const RxRange *ranges, int n, int attempt,
							   const char *error);
extern void rx_journal_failed(RxSub *sub, int64 seq, int attempt, TimestampTz due, const char *error);
extern void rx_journal_requeued(RxSub *sub, int64 seq, TimestampTz due);
extern void rx_journal_rebuild(RxSubInfo *info, RxSub *sub);
extern void rx_journal_ensure_child(RxDb *db);
extern uint32 rx_journal_generation(RxDb *db);
extern Oid	rx_journal_child(uint32 generation);
extern void rx_journal_make(uint32 generation);
extern Datum rx_journal_ranges(const RxRange *ranges, int n);

/* ---- compact.c ---- */
extern bool rx_journal_compact(void);

/* ---- receive.c ---- */
typedef void (*RxRowEmit) (RxSubInfo *info, Datum *values, bool *isnull, int attempt,
						   const RxToken *token, void *arg);
extern int	rx_receive_each(RxSubInfo *info, int max, int64 lease_us, RxRowEmit emit, void *arg);
extern int	rx_receive_wait(const char *name, int max, int64 lease_us, int64 wait_us,
							RxRowEmit emit, void *arg);

/* ---- settle.c ---- */
extern void rx_settle_reserve(void);
extern void rx_settle_claimed(RxSub *sub, RxLease *lease, const RxRange *window);
extern void rx_settle_claim_parked(void);
extern void rx_settle_claim_over(void);
extern void rx_settle_claim_read_to(int64 seq);
extern void rx_settle_received(RxSub *sub, RxLease *lease);
extern int	rx_settle_expire(RxSubInfo *info, RxSub *sub);
extern void rx_settle_requeue(RxSubInfo *info, int64 seq, int64 delay_us);
extern bool rx_settle_pending(void);

/* ---- type.c ---- */
extern void rx_type_check(const RxEntry *entry);
extern const RxXactHooks rx_type_hooks;

/* ---- dedupe.c, delayed.c ---- */
typedef void (*RxAppend) (RxLogId log, const RxEntry *entry, void *arg, pg_uuid_t *id);
extern void rx_dedupe_append(RxLogId log, const char *key, RxAppend append, const RxEntry *entry,
							 void *arg, pg_uuid_t *id);
extern void rx_dedupe_make_children(RxDb *db);
extern bool rx_dedupe_drop_old(void);	/* true: one was dropped, there may be more */
extern void rx_delayed_append(const RxEntry *entry, TimestampTz due, pg_uuid_t *id);
extern void rx_delayed_make_child(int64 number);
extern bool rx_delayed_drop_old(void);
extern const RxXactHooks rx_delayed_hooks;

/* ---- retain.c ---- */
extern bool rx_retain_drop_old(void);
extern void rx_retain_move_on(void);

/* ---- dead_letter.c ---- */
extern void rx_dead_letter_add(const RxSubInfo *info, int64 seq, int attempts, const char *error,
							   bool requeued);
extern bool rx_dead_letter_read(const RxSubInfo *info, int64 seq, Datum *values, bool *isnull);

/* ---- stats.c ---- */
extern void rx_stats_published(RxLogId log);
extern void rx_stats_end(bool committed);
extern void rx_stats_retire(const RxSub *sub);	/* under the table's lock */
extern RxSub *rx_stats_sub(RxSubInfo *info);	/* NULL when it is not at hand */

#endif							/* RX_EVENT_EVENT_INT_H */
