/*
 * event.h
 *		The log and its delivery, as the rest of reflex sees them.
 *
 * Two logs are built by this code: events (what happened) and effects (what
 * shall be done outside).  An entry has a position, seq.  A subscription has a
 * position in one log, leases on what is out, and retries of what failed; what
 * is hopeless becomes a dead letter.  Workers use the same calls as the SQL
 * functions publish, receive, ack and nack.
 *
 * All calls need a transaction; those that read need READ COMMITTED.
 */
#ifndef RX_EVENT_EVENT_H
#define RX_EVENT_EVENT_H

#include "postgres.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

typedef enum RxLogId
{
	RX_LOG_EVENT = 0,
	RX_LOG_EFFECT = 1
} RxLogId;

#define RX_N_LOGS 2

/* The four bits of a public id that say what it is the id of. */
typedef enum RxIdKind
{
	RX_ID_EVENT = 1,
	RX_ID_DELAYED = 2,
	RX_ID_EFFECT = 3,
	RX_ID_RUN = 4,
	RX_ID_FLOW_RUN = 5,
	RX_ID_NOTIFICATION = 6
} RxIdKind;

/* What is published.  Strings are in the server's encoding; NULL where absent. */
typedef struct RxEntry
{
	const char *type;			/* of an effect: its kind */
	const char *source;
	const char *session;
	Jsonb	   *payload;		/* never NULL */
	Jsonb	   *meta;
	const char *role;			/* who publishes; NULL: the caller */
} RxEntry;

/* What is read back. */
typedef struct RxRecord
{
	int64		seq;
	pg_uuid_t	id;
	TimestampTz created_at;
	text	   *type;
	text	   *source;			/* NULL where absent, like the next two */
	text	   *session;
	text	   *role;			/* who published */
	Jsonb	   *payload;
	Jsonb	   *meta;			/* NULL where absent */
} RxRecord;

/* Appends one entry in the current transaction; returns its position. */
extern int64 rx_log_append(RxLogId log, const RxEntry *entry, pg_uuid_t *id);

/* Reads one committed entry by position; false when there is none. */
extern bool rx_log_read(RxLogId log, int64 seq, RxRecord *record);

/* The next position to be given out: everything existing lies below it. */
extern int64 rx_log_next(RxLogId log);

/* meta with the trace context of the session (reflex.traceparent) unless it brings its own. */
extern Jsonb *rx_meta_with_trace(Jsonb *meta);

/* Makes and takes apart public ids. */
extern void rx_id_make(pg_uuid_t *id, RxIdKind kind, int node, int64 seq, TimestampTz at);
extern bool rx_id_parse(const pg_uuid_t *id, RxIdKind *kind, int *node, int64 *seq);

/*
 * A lease on one event, to be given back to ack or nack.  Its text form is
 * what SQL calls a token.
 */
typedef struct RxToken
{
	uint32		epoch;			/* of this shared memory */
	int32		subscription;
	int64		seq;
	uint64		lease;			/* lease counter and where it lives */
} RxToken;

typedef struct RxDelivery
{
	RxRecord	record;
	int			attempt;		/* 1 for the first delivery */
	RxToken		token;
} RxDelivery;

/*
 * The id of a subscription by name; raises PT404 when there is none and
 * !missing_ok, else returns 0.  Names of reflex's own begin with "reflex.".
 */
extern int32 rx_subscription_id(const char *name, bool missing_ok);

/*
 * Leases up to max events of the subscription for lease_us microseconds and
 * returns how many; *out is an array in the current memory context.  If the
 * transaction aborts the leases are given back at once and uncounted.
 */
extern int	rx_receive(int32 subscription, int max, int64 lease_us, RxDelivery **out);

/*
 * Settles what the tokens stand for, when the transaction commits.  Returns
 * how many were still good; ok[i] (may be NULL) tells which.
 */
extern int	rx_ack(const RxToken *tokens, int n, bool *ok);

/*
 * The same for events about which nothing was done: nothing is written now, and
 * after a crash they may come again.  What has been settled so is written down
 * by rx_ack_flush, in a transaction; it returns whether there was any.
 */
extern int	rx_ack_lazily(const RxToken *tokens, int n);
extern bool rx_ack_flush(void);

/*
 * Reports a failure.  delay_us < 0: the subscription's backoff.  permanent:
 * no retry makes sense, straight to the dead letters.  False when the lease is
 * no longer held.
 */
extern bool rx_nack(const RxToken *token, const char *error, int64 delay_us, bool permanent);

/*
 * Reads the entry that a token stands for, as it was handed out: what was put
 * back from the dead letters may have been edited there.
 */
extern bool rx_delivered_read(const RxToken *token, RxRecord *record);

/* Renews a lease; not transactional.  False when it is no longer held. */
extern bool rx_extend(const RxToken *token, int64 lease_us);

/*
 * Puts a position that another subscription has read into this one as failed
 * for the attempt-th time (1-based): retry after backoff, or dead letter.  This
 * is how one rule's failure is kept apart from the reading of all rules.
 */
extern void rx_fail_into(int32 subscription, int64 seq, int attempt, const char *error);

/*
 * When does the subscription have something to give (rx_clock_mono
 * microseconds; 0: perhaps now, RX_NEVER)?  Cheap; needs no transaction once
 * the subscription has been used in this process, and then does not throw.
 */
extern int64 rx_subscription_due(int32 subscription);

/* Nobody wants what lies before this position: the subscription goes on from there. */
extern void rx_subscription_skip(int32 subscription, int64 before);

/* Goes up whenever a subscription or a rule has changed, when that has committed. */
extern uint32 rx_catalog_version(void);

/* Does the sql worker want to be woken for events?  True again after every change of the catalog. */
extern void rx_event_interest(bool wanted);

/* Gives back, counted as failed attempts, all that is out in a subscription. */
extern void rx_release_all(int32 subscription, const char *error);

extern void rx_event_init(void);

/* Duties of the sql worker: leases that lapse, children made ahead, compaction. */
extern const struct RxDuty rx_delivery_duty;

/* Delayed events that are due. */
extern const struct RxDuty rx_delayed_duty;

#endif							/* RX_EVENT_EVENT_H */
