/*
 * verdict.c
 *		What an answer means if the kind does not say.
 *
 *	answered, 2xx or accepted		ok
 *	answered, 408 425 429 5xx		retry, after Retry-After if there is one
 *	answered, anything else			dead: the same request gets the same answer
 *	not sent (DNS, connect, TLS)	retry
 *	unknown (sent, no whole answer)	retry, on record as unknown: the peer can tell
 *									the second sending by its Idempotency-Key
 *	refused (egress rule, bad URL)	dead: only a change of the settings helps, and
 *									then dlq_retry sends it
 */
#include "reflex.h"

#include "base/text_valid.h"
#include "effect/effect_int.h"
#include "mb/pg_wchar.h"

/* A peer that asks for more patience than this asks for a person. */
#define MAX_RETRY_AFTER_MS INT64_C(3600000)

static bool
status_is_ok(const RxAttempt *call, int status)
{
	if (status >= 200 && status <= 299)
		return true;
	for (int i = 0; i < call->n_accept; i++)
		if (call->accept[i] == status)
			return true;
	return false;
}

static bool
status_is_passing(int status)
{
	return status == 408 || status == 425 || status == 429 || (status >= 500 && status <= 599);
}

/* Text of at most limit bytes that this database can store, from any bytes. */
char *
rx_effect_text(const char *bytes, size_t len, size_t limit)
{
	size_t		room = Min(RX_TEXT_VALID_ROOM(len), limit + 1);
	char	   *copy = palloc_extended(room, MCXT_ALLOC_HUGE);

	rx_text_valid(bytes, len, copy, room, GetDatabaseEncoding() != PG_UTF8);
	return copy;
}

static void
judge_status(const RxAttempt *call, RxVerdict *verdict)
{
	int			status = (int) call->answer->status;

	if (status_is_ok(call, status))
		verdict->kind = RX_VERDICT_OK;
	else
	{
		verdict->kind = status_is_passing(status) ? RX_VERDICT_RETRY : RX_VERDICT_DEAD;
		verdict->error = psprintf("HTTP status %d", status);
	}
}

static char *
transport_error(const RxHttpAnswer *answer)
{
	if (answer->error[0] == '\0')
		return pstrdup("no answer");
	return rx_effect_text(answer->error, strlen(answer->error), RX_EFFECT_MAX_ERROR);
}

void
rx_effect_verdict(const RxAttempt *call, RxVerdict *verdict)
{
	const RxHttpAnswer *answer = call->answer;

	*verdict = (RxVerdict) {.kind = RX_VERDICT_RETRY, .delay_us = -1};
	if (answer == NULL)
	{
		verdict->error = pstrdup("no room for another call");
		return;
	}
	if (answer->retry_after_ms >= 0)
		verdict->delay_us = Min(answer->retry_after_ms, MAX_RETRY_AFTER_MS) * 1000;
	if (answer->outcome == RX_HTTP_ANSWERED)
	{
		judge_status(call, verdict);
		return;
	}
	verdict->error = transport_error(answer);
	verdict->unknown = answer->outcome == RX_HTTP_UNKNOWN;
	if (answer->outcome == RX_HTTP_REFUSED)
		verdict->kind = RX_VERDICT_DEAD;
}
