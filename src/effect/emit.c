/*
 * emit.c
 *		SQL's way in: checks an effect and appends it to the log.
 *
 * The entry is part of the caller's transaction, so the effect is carried out
 * if and only if that commits; the io worker is woken when it does.
 */
#include "reflex.h"

#include "effect/effect_int.h"
#include "pg/guc.h"
#include "pg/shmem.h"
#include "pg/spi.h"
#include "utils/builtins.h"

static Jsonb *
current_meta(void)
{
	JsonbParseState *state = NULL;
	JsonbValue	key = {.type = jbvString};
	JsonbValue	value = {.type = jbvString};

	if (rx_guc_traceparent == NULL || rx_guc_traceparent[0] == '\0')
		return NULL;
	key.val.string.val = "traceparent";
	key.val.string.len = strlen("traceparent");
	value.val.string.val = rx_guc_traceparent;
	value.val.string.len = strlen(rx_guc_traceparent);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(&state, WJB_KEY, &key);
	pushJsonbValue(&state, WJB_VALUE, &value);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static Datum
append(const char *kind, Jsonb *payload, const char *session, Jsonb *meta)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	RxEntry		entry = {
		.type = kind,
		.session = session,
		.payload = payload,
		.meta = meta ? meta : current_meta(),
	};

	rx_log_append(RX_LOG_EFFECT, &entry, id);
	return UUIDPGetDatum(id);
}

static char *
text_or_null(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

static void
require_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("%s must not be null", name));
}

static void
check_kind(const char *kind)
{
	RxSpi		spi;
	bool		known;

	rx_spi_open(&spi);
	known = rx_kind_is_public(kind);
	rx_spi_close(&spi);
	if (!known)
		ereport(ERROR,
				errcode(ERRCODE_RX_INVALID),
				errmsg("unknown kind of effect \"%s\"", kind),
				errhint("The kinds are those of the view reflex.effect_kinds."));
}

static void
not_yet(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (!PG_ARGISNULL(n))
		ereport(ERROR,
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("%s of an effect is not yet supported", name));
}

/* emit(kind, payload, session, dedupe_key, deliver_at) */
REFLEX_FUNCTION(reflex_emit)
{
	char	   *kind;
	Jsonb	   *payload;

	rx_shmem_require();
	require_argument(fcinfo, 0, "kind");
	require_argument(fcinfo, 1, "payload");
	not_yet(fcinfo, 3, "dedupe_key");
	not_yet(fcinfo, 4, "deliver_at");
	kind = text_to_cstring(PG_GETARG_TEXT_PP(0));
	payload = PG_GETARG_JSONB_P(1);
	check_kind(kind);
	rx_effect_check_payload(kind, payload);
	return append(kind, payload, text_or_null(fcinfo, 2), NULL);
}

/*
 * emit_effect(p_kind, p_payload, p_session, p_meta) - for the other rooms: any
 * kind, also those that are not public, and no check of the payload's shape.
 */
REFLEX_FUNCTION(reflex_emit_effect)
{
	rx_shmem_require();
	require_argument(fcinfo, 0, "p_kind");
	require_argument(fcinfo, 1, "p_payload");
	return append(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_JSONB_P(1),
				  text_or_null(fcinfo, 2), PG_ARGISNULL(3) ? NULL : PG_GETARG_JSONB_P(3));
}
