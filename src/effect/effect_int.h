/*
 * effect_int.h
 *		What the files of the effects room share with each other.
 *
 *	emit.c		SQL's way in: checks and appends to the log
 *	payload.c	the shapes that payloads of public kinds must have
 *	effect.c	the duty: leases, sends, settles
 *	claim.c		the transaction before the first byte
 *	settle.c	the transaction after the last
 *	request.c	from the form that a kind gives to an HTTP request
 *	verdict.c	what an answer means if the kind does not say
 *	kind.c		the kinds and their SQL functions
 *	record.c	attempts and outcomes on disk
 */
#ifndef RX_EFFECT_EFFECT_INT_H
#define RX_EFFECT_EFFECT_INT_H

#include "postgres.h"
#include "event/event.h"
#include "http/http.h"
#include "lib/ilist.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

#define RX_EFFECTS_SUBSCRIPTION "reflex.effects"
#define RX_KIND_HTTP "http"

/*
 * A lease outlasts every call by far, so that none lapses under a call that is
 * on its way: whoever holds leases and ends gives them up by ending, since the
 * next worker releases them all and a new server knows of none.
 */
#define RX_EFFECT_LEASE_US (INT64_C(3600) * 1000000)
#define RX_EFFECT_MAX_TIMEOUT_MS (50 * 60 * 1000)

/* So much of an answer or an error is kept, in bytes. */
#define RX_EFFECT_MAX_ANSWER 8192
#define RX_EFFECT_MAX_ERROR 1024

/* The longest string that jsonb can hold. */
#define RX_MAX_JSON_STRING 0x0FFFFFFF

/* One attempt at one effect, from its attempt row to its outcome row. */
typedef enum RxAttemptState
{
	RX_ATTEMPT_CLAIMED,			/* its attempt row is written, perhaps not yet committed */
	RX_ATTEMPT_SENT,				/* with the engine */
	RX_ATTEMPT_ENDED				/* out of the engine, its outcome not yet committed */
} RxAttemptState;

#define RX_MAX_ACCEPT 8

typedef struct RxAttempt
{
	dlist_node	link;
	RxAttemptState state;
	int64		seq;
	pg_uuid_t	id;
	RxToken		token;
	char	   *kind;
	int			attempt;		/* 1-based, over all workers and servers */
	bool		last;			/* if it fails the effect is dead */
	int			n_accept;
	int			accept[RX_MAX_ACCEPT];	/* statuses besides 2xx that are fine */
	RxHttpAnswer *answer;		/* once ended; NULL: could not be started */
	int64		not_before;		/* settling was put off until then; 0: it was not */
} RxAttempt;

/* A request ready to be sent, and what of it must be wiped after that. */
typedef struct RxEffectRequest
{
	RxHttpRequest http;
	int			n_accept;
	int			accept[RX_MAX_ACCEPT];
	List	   *sensitive;		/* of char *: hold secrets */
} RxEffectRequest;

/* What becomes of an effect after an attempt. */
typedef enum RxVerdictKind
{
	RX_VERDICT_OK,
	RX_VERDICT_RETRY,
	RX_VERDICT_DEAD
} RxVerdictKind;

typedef struct RxVerdict
{
	RxVerdictKind kind;
	bool		unknown;		/* it may have been carried out all the same */
	char	   *error;			/* NULL when ok */
	int64		delay_us;		/* before the retry; -1: the subscription's backoff */
} RxVerdict;

/* A row of reflex_internal.effect_kind; functions are NULL where there are none. */
typedef struct RxKind
{
	char	   *request;
	char	   *outcome;
	char	   *dead;
} RxKind;

/* What earlier attempts have left behind. */
typedef struct RxHistory
{
	int64		seq;
	int			attempts;		/* so many are on record */
	int			tries;			/* of them since it was last declared dead */
	int			open;			/* number of one without outcome, 0 for none */
	bool		completed;
} RxHistory;

typedef struct RxOutcome
{
	int64		seq;
	int			attempt;
	const char *outcome;		/* completed, failed, unknown */
	bool		dead;
	int			status;			/* 0 for none */
	int64		latency_us;		/* -1 for none */
	const char *error;			/* NULL for none */
	const char *answer;			/* NULL for none */
} RxOutcome;

/* claim.c */
typedef struct RxClaim
{
	RxAttempt	   *call;			/* in the claimed list, outlives the transaction */
	RxEffectRequest request;	/* in the memory context of the caller */
} RxClaim;

extern int	rx_effect_claim(int32 subscription, int max, MemoryContext calls,
							dlist_head *claimed, RxClaim *claims, int *received);

/* settle.c */
extern int	rx_effect_settle(RxAttempt **calls, int n);
extern void rx_effect_bury(const RxRecord *record, const char *error);
extern void rx_effect_reap(int32 subscription);

/* request.c */
extern void rx_effect_request(RxEffectRequest *request, JsonbContainer *form,
							  const RxRecord *record, int attempt);
extern void rx_effect_request_wipe(RxEffectRequest *request);

/* verdict.c */
extern void rx_effect_verdict(const RxAttempt *call, RxVerdict *verdict);
extern char *rx_effect_text(const char *bytes, size_t len, size_t limit);

/* kind.c */
extern void rx_kind_find(const char *name, RxKind *kind);
extern bool rx_kind_is_public(const char *name);
extern Jsonb *rx_kind_call_request(const RxKind *kind, const RxRecord *record);
extern void rx_kind_call_outcome(const RxKind *kind, const RxRecord *record,
								 const RxHttpAnswer *answer, RxVerdict *verdict);
extern void rx_kind_call_dead(const RxKind *kind, const RxRecord *record, const char *error);

/* record.c */
extern int	rx_effect_history(const int64 *seqs, int n, RxHistory **history);
extern int	rx_effect_max_attempts(int32 subscription);
extern void rx_effect_record_attempts(const int64 *seqs, const int *attempts, int n);
extern void rx_effect_record_outcomes(const RxOutcome *outcomes, int n);

/* payload.c */
extern void rx_effect_check_payload(const char *kind, Jsonb *payload);

#endif							/* RX_EFFECT_EFFECT_INT_H */
