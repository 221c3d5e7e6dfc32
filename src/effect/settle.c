/*
 * settle.c
 *		The transaction after the last byte: records what came of the calls that
 *		have ended, and acks or nacks their effects.
 *
 * One transaction for many calls.  What needs nothing but an ack is acked
 * together; everything else runs in a subtransaction of its own, so that one
 * kind's function that fails spoils nobody else's outcome.  Such a failure
 * counts as a failed attempt of its effect.
 *
 * A function that would have to wait (its session's turn belongs to an app that
 * idles in its transaction) does not: the duty sets a short lock_timeout, and
 * an outcome that runs into it is put off and tried again.  The answer is kept
 * meanwhile, and the other calls go on.
 */
#include "reflex.h"

#include "base/clock.h"
#include "catalog/pg_type.h"
#include "effect/effect_int.h"
#include "pg/spi.h"
#include "pg/try.h"
#include "utils/builtins.h"

/* Subtransactions that write, in one transaction: more overflow the cache that all snapshots read. */
#define MAX_ALONE 50

/* How long an outcome that had to wait is put off. */
#define PUT_OFF_US (RX_USECS_PER_SEC / 10)

typedef struct Settlement
{
	RxAttempt	   *call;
	RxVerdict	verdict;
	RxKind		kind;
	bool		has_kind;		/* kind is filled in */
} Settlement;

typedef struct Burial
{
	const RxRecord *record;
	const char *error;
} Burial;

static void
call_dead_function(void *arg)
{
	Burial	   *burial = arg;
	RxKind		kind;
	char	   *name = text_to_cstring(burial->record->type);

	if (strcmp(name, RX_KIND_HTTP) == 0)
		return;
	rx_kind_find(name, &kind);
	if (kind.dead)
		rx_kind_call_dead(&kind, burial->record, burial->error);
}

/*
 * Tells the kind that an effect of it is dead, in the transaction that makes it
 * so.  That the kind's function fails must not keep the effect alive.
 */
void
rx_effect_bury(const RxRecord *record, const char *error)
{
	Burial		burial = {record, error};
	ErrorData  *failure = rx_try(call_dead_function, &burial);

	if (failure)
		ereport(WARNING,
				errcode(failure->sqlerrcode),
				errmsg("effect " INT64_FORMAT " is dead, but its kind could not be told: %s",
					   record->seq, failure->message));
}

static void
read_record(const RxAttempt *call, RxRecord *record)
{
	if (!rx_delivered_read(&call->token, record))
		elog(ERROR, "effect " INT64_FORMAT " is not in the log", call->seq);
}

static void
give_back(const Settlement *s)
{
	bool		dead = s->call->last || s->verdict.kind == RX_VERDICT_DEAD;
	RxRecord	record;

	if (dead && s->has_kind && s->kind.dead)
	{
		read_record(s->call, &record);
		rx_effect_bury(&record, s->verdict.error);
	}
	rx_nack(&s->call->token, s->verdict.error, s->verdict.delay_us, dead);
}

/*
 * What a kind's function did for an effect that is no longer ours to settle is
 * undone with the subtransaction: who holds it now does it again.
 */
static void
ack_or_fail(const Settlement *s)
{
	if (rx_ack(&s->call->token, 1, NULL) != 1)
		elog(ERROR, "the lease on effect " INT64_FORMAT " was lost", s->call->seq);
}

static bool
was_answered(const RxAttempt *call)
{
	return call->answer != NULL && call->answer->outcome == RX_HTTP_ANSWERED;
}

/* In a subtransaction. */
static void
settle_alone(void *arg)
{
	Settlement *s = arg;
	RxRecord	record;

	if (s->kind.outcome && was_answered(s->call))
	{
		read_record(s->call, &record);
		rx_kind_call_outcome(&s->kind, &record, s->call->answer, &s->verdict);
	}
	if (s->verdict.kind == RX_VERDICT_OK)
		ack_or_fail(s);
	else
		give_back(s);
}

static void
settle_as_failed(void *arg)
{
	give_back(arg);
}

/* Is this the kind of failure that has nothing to do with the outcome itself? */
static bool
passes_by_itself(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED;
}

static void
put_off(RxAttempt *call)
{
	call->not_before = rx_clock_mono() + PUT_OFF_US;
	(void) rx_extend(&call->token, RX_EFFECT_LEASE_US);
}

/* False when it was put off. */
static bool
settle_apart(Settlement *s)
{
	ErrorData  *error = rx_try(settle_alone, s);

	if (error == NULL)
		return true;
	if (passes_by_itself(error))
	{
		put_off(s->call);
		return false;
	}
	s->verdict = (RxVerdict) {
		.kind = RX_VERDICT_RETRY,
		.delay_us = -1,
		.error = psprintf("the answer could not be taken: %s", error->message),
	};
	error = rx_try(settle_as_failed, s);
	if (error)
		ReThrowError(error);
	return true;
}

static void
prepare(Settlement *s, RxAttempt *call)
{
	memset(s, 0, sizeof(*s));
	s->call = call;
	rx_effect_verdict(call, &s->verdict);
	if (strcmp(call->kind, RX_KIND_HTTP) == 0)
		return;
	rx_kind_find(call->kind, &s->kind);
	s->has_kind = true;
}

static bool
needs_only_ack(const Settlement *s)
{
	return s->verdict.kind == RX_VERDICT_OK && s->kind.outcome == NULL;
}

static const char *
outcome_name(const RxVerdict *verdict)
{
	if (verdict->kind == RX_VERDICT_OK)
		return "completed";
	return verdict->unknown ? "unknown" : "failed";
}

static char *
short_error(const char *error)
{
	return error ? rx_effect_text(error, strlen(error), RX_EFFECT_MAX_ERROR) : NULL;
}

static void
describe(const Settlement *s, RxOutcome *outcome)
{
	const RxHttpAnswer *answer = s->call->answer;
	bool		dead = s->verdict.kind == RX_VERDICT_DEAD ||
		(s->verdict.kind == RX_VERDICT_RETRY && s->call->last);

	*outcome = (RxOutcome)
	{
		.seq = s->call->seq,
		.attempt = s->call->attempt,
		.outcome = outcome_name(&s->verdict),
		.dead = dead,
		.status = answer ? (int) answer->status : 0,
		.latency_us = answer && answer->sent_at_us ? answer->total_us : -1,
		.error = s->verdict.kind == RX_VERDICT_OK ? NULL : short_error(s->verdict.error),
	};
	if (answer && answer->body_len > 0)
		outcome->answer = rx_effect_text(answer->body, answer->body_len, RX_EFFECT_MAX_ANSWER);
}

/*
 * Within a transaction.  Settles calls from the front of the array and returns
 * how many; the caller forgets them once it has committed, but for those that
 * were put off (not_before).
 */
int
rx_effect_settle(RxAttempt **calls, int n)
{
	RxToken    *tokens = palloc(n * sizeof(RxToken));
	RxOutcome  *outcomes = palloc(n * sizeof(RxOutcome));
	int			n_outcomes = 0;
	int			n_tokens = 0;
	int			n_alone = 0;
	int			i;

	for (i = 0; i < n && n_alone < MAX_ALONE; i++)
	{
		Settlement	s;

		prepare(&s, calls[i]);
		if (needs_only_ack(&s))
			tokens[n_tokens++] = calls[i]->token;
		else
		{
			n_alone++;
			if (!settle_apart(&s))
				continue;
		}
		describe(&s, &outcomes[n_outcomes++]);
	}
	if (n_tokens > 0)
		rx_ack(tokens, n_tokens, NULL);
	rx_effect_record_outcomes(outcomes, n_outcomes);
	return i;
}

/*
 * Finds effects that became dead while their last attempt was out, which the
 * release of a former worker's leases does, and settles what is left of them.
 * Within a transaction.
 */
void
rx_effect_reap(int32 subscription)
{
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(subscription)};
	const char *error = "the worker ended before an answer was recorded";
	RxOutcome  *outcomes;
	uint64		n;
	RxSpi		spi;

	rx_spi_open(&spi);
	n = rx_spi_exec("SELECT a.seq, a.attempt FROM reflex_internal.dead_letter d"
					" JOIN reflex_internal.effect_attempt a ON a.seq = d.seq"
					" WHERE d.subscription = $1 AND d.retried_at IS NULL AND NOT EXISTS"
					" (SELECT FROM reflex_internal.effect_outcome o WHERE o.seq = a.seq AND o.attempt = a.attempt)",
					1, types, values, NULL, SPI_OK_SELECT);
	outcomes = SPI_palloc(Max(n, 1) * sizeof(RxOutcome));
	for (uint64 i = 0; i < n; i++)
		outcomes[i] = (RxOutcome)
	{
		.seq = DatumGetInt64(rx_spi_get(i, 1, NULL)),
			.attempt = DatumGetInt32(rx_spi_get(i, 2, NULL)),
			.outcome = "unknown",
			.dead = true,
			.latency_us = -1,
			.error = error,
	};
	rx_spi_close(&spi);
	for (uint64 i = 0; i < n; i++)
	{
		RxRecord	record;

		if (rx_log_read(RX_LOG_EFFECT, outcomes[i].seq, &record))
			rx_effect_bury(&record, error);
	}
	rx_effect_record_outcomes(outcomes, (int) n);
}
