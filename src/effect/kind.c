/*
 * kind.c
 *		The kinds of effects and their SQL functions.
 *
 * A kind is a row of reflex_internal.effect_kind that names up to three
 * functions; only reflex's own scripts write that table, so the names can be
 * put into statements as they are.  Kind http has none: its payload is the
 * form of the request.
 *
 *	request	fn(p_effect uuid, p_session text, p_payload jsonb) returns jsonb
 *	outcome	fn(p_effect uuid, p_session text, p_payload jsonb, p_answer jsonb) returns jsonb
 *	dead	fn(p_effect uuid, p_session text, p_payload jsonb, p_error text) returns void
 *
 * They run as the owner of the extension, in a subtransaction of whoever calls
 * the functions of this file.
 */
#include "reflex.h"

#include "catalog/pg_type.h"
#include "effect/effect_int.h"
#include "pg/jsonb_get.h"
#include "pg/spi.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/uuid.h"

#define MAX_DELAY_MS (24 * 3600 * 1000)

void
rx_kind_find(const char *name, RxKind *kind)
{
	static SPIPlanPtr plan;
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(name)};
	RxSpi		spi;

	rx_spi_open(&spi);
	if (rx_spi_exec_kept(&plan, "SELECT request, outcome, dead FROM reflex_internal.effect_kind WHERE kind = $1",
						 1, types, values, NULL, SPI_OK_SELECT) == 0)
		ereport(ERROR,
				errcode(ERRCODE_RX_INVALID),
				errmsg("unknown kind of effect \"%s\"", name));
	kind->request = rx_spi_get_cstring(0, 1);
	kind->outcome = rx_spi_get_cstring(0, 2);
	kind->dead = rx_spi_get_cstring(0, 3);
	rx_spi_close(&spi);
}

/* Within SPI. */
bool
rx_kind_is_public(const char *name)
{
	static SPIPlanPtr plan;
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(name)};

	return rx_spi_exec_kept(&plan, "SELECT 1 FROM reflex_internal.effect_kind WHERE kind = $1 AND public",
							1, types, values, NULL, SPI_OK_SELECT) > 0;
}

/* Calls fn with the record's id, session and payload and one more argument, if its type is given. */
static Jsonb *
call(const char *fn, const RxRecord *record, Oid extra_type, Datum extra)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			types[] = {UUIDOID, TEXTOID, JSONBOID, extra_type};
	Datum		values[] = {
		UUIDPGetDatum(&record->id), PointerGetDatum(record->session),
		JsonbPGetDatum(record->payload), extra
	};
	char		nulls[] = {' ', record->session ? ' ' : 'n', ' ', ' '};
	bool		has_extra = OidIsValid(extra_type);
	Jsonb	   *result = NULL;
	bool		isnull;
	Datum		value;
	RxSpi		spi;

	rx_spi_open(&spi);
	rx_spi_exec(psprintf("SELECT %s($1, $2, $3%s)", fn, has_extra ? ", $4" : ""),
				has_extra ? 4 : 3, types, values, nulls, SPI_OK_SELECT);
	value = rx_spi_get(0, 1, &isnull);
	if (!isnull && SPI_gettypeid(SPI_tuptable->tupdesc, 1) == JSONBOID)
	{
		MemoryContextSwitchTo(context);
		result = DatumGetJsonbPCopy(value);
	}
	rx_spi_close(&spi);
	return result;
}

Jsonb *
rx_kind_call_request(const RxKind *kind, const RxRecord *record)
{
	Jsonb	   *form = call(kind->request, record, InvalidOid, (Datum) 0);

	if (form == NULL || !rx_jsonb_is_object(form))
		ereport(ERROR,
				errcode(ERRCODE_RX_INVALID),
				errmsg("function %s gave no request", kind->request));
	return form;
}

void
rx_kind_call_dead(const RxKind *kind, const RxRecord *record, const char *error)
{
	(void) call(kind->dead, record, TEXTOID, CStringGetTextDatum(error));
}

static void
push_string(JsonbParseState **state, JsonbIteratorToken token, const char *bytes, size_t len)
{
	char	   *valid = rx_effect_text(bytes, len, RX_MAX_JSON_STRING);
	JsonbValue	value = {.type = jbvString};

	value.val.string.val = valid;
	value.val.string.len = strlen(valid);
	pushJsonbValue(state, token, &value);
}

static void
push_key(JsonbParseState **state, const char *key)
{
	push_string(state, WJB_KEY, key, strlen(key));
}

static void
push_headers(JsonbParseState **state, const RxHttpAnswer *answer)
{
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < answer->n_headers; i++)
	{
		push_key(state, answer->headers[i].name);
		push_string(state, WJB_VALUE, answer->headers[i].value, strlen(answer->headers[i].value));
	}
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* {"status": 200, "headers": {...}, "body": "..."} */
static Jsonb *
answer_as_jsonb(const RxHttpAnswer *answer)
{
	JsonbParseState *state = NULL;
	JsonbValue	status = {.type = jbvNumeric};

	status.val.numeric = int64_to_numeric(answer->status);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_key(&state, "status");
	pushJsonbValue(&state, WJB_VALUE, &status);
	push_key(&state, "headers");
	push_headers(&state, answer);
	push_key(&state, "body");
	push_string(&state, WJB_VALUE, answer->body ? answer->body : "", answer->body_len);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static void
read_verdict(const char *fn, Jsonb *said, RxVerdict *verdict)
{
	char	   *word = said ? rx_jsonb_string(&said->root, "verdict") : NULL;
	int			delay_ms = said ? rx_jsonb_int(&said->root, "delay_ms", -1) : -1;

	if (word == NULL)
		elog(ERROR, "function %s gave no verdict", fn);
	if (strcmp(word, "ok") == 0)
		verdict->kind = RX_VERDICT_OK;
	else if (strcmp(word, "retry") == 0 || strcmp(word, "unknown") == 0)
		verdict->kind = RX_VERDICT_RETRY;
	else if (strcmp(word, "dead") == 0)
		verdict->kind = RX_VERDICT_DEAD;
	else
		elog(ERROR, "function %s gave verdict \"%s\"", fn, word);
	verdict->unknown = strcmp(word, "unknown") == 0;
	verdict->error = rx_jsonb_string(&said->root, "error");
	if (verdict->error == NULL && verdict->kind != RX_VERDICT_OK)
		verdict->error = pstrdup("refused by the kind's outcome function");
	if (delay_ms >= 0)
		verdict->delay_us = INT64CONST(1000) * Min(delay_ms, MAX_DELAY_MS);
}

/*
 * verdict comes in as what the answer means by itself, whose delay (from
 * Retry-After) stands unless the function gives another.
 */
void
rx_kind_call_outcome(const RxKind *kind, const RxRecord *record,
					 const RxHttpAnswer *answer, RxVerdict *verdict)
{
	Jsonb	   *said = call(kind->outcome, record, JSONBOID, JsonbPGetDatum(answer_as_jsonb(answer)));

	read_verdict(kind->outcome, said, verdict);
}
