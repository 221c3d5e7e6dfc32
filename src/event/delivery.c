/*
 * delivery.c
 *		receive(), ack(), nack(), extend(): the SQL functions of a consumer.
 */
#include "reflex.h"

#include "catalog/pg_type.h"
#include "event/event_int.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pg/shmem.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#define MAX_RECEIVE 100000
#define MAX_LEASE_US (INT64CONST(24) * 3600 * USECS_PER_SEC)
#define MAX_WAIT_US (60 * USECS_PER_SEC)

/* An interval as microseconds; months and days count 30 days and 24 hours. */
static int64
interval_arg(Interval *interval, const char *name, int64 min, int64 max)
{
	int64		us = interval->time + ((int64) interval->month * 30 + interval->day) * USECS_PER_DAY;

	if (us < min || us > max)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" is out of range", name),
				errdetail("It must be between " INT64_FORMAT " ms and " INT64_FORMAT " ms.",
						  min / 1000, max / 1000));
	return us;
}

/* Its name, kept in the caller's memory: what is known of it may be read anew. */
static char *
subscription_arg(text *name)
{
	char	   *s = text_to_cstring(name);
	RxSubInfo  *info;

	(void) rx_subscription_id(s, false);
	info = rx_sub_by_name(s);
	if (info->system || info->retry_only)
		ereport(ERROR,
				errcode(ERRCODE_RX_FORBIDDEN),
				errmsg("subscription \"%s\" belongs to reflex", s),
				errhint("Use subscribe() to make one of your own."));
	return s;
}

/* Columns of receive(), in order. */
enum
{
	OUT_TOKEN, OUT_EVENT_ID, OUT_TYPE, OUT_SOURCE, OUT_SESSION, OUT_SEQ, OUT_PAYLOAD, OUT_META,
	OUT_ATTEMPT, OUT_CREATED_AT, N_OUT
};

static void
put_row(RxSubInfo *info, Datum *values, bool *isnull, int attempt, const RxToken *token, void *arg)
{
	ReturnSetInfo *result = arg;
	Datum		out[N_OUT];
	bool		nulls[N_OUT] = {false};
	struct
	{
		int32		header;
		char		text[RX_TOKEN_LEN];
	}			token_text;
	pg_uuid_t	id;

	SET_VARSIZE(&token_text, VARHDRSZ + RX_TOKEN_LEN);
	rx_token_text(token, token_text.text);
	rx_id_make(&id, rx_log_id_kind(info->log), DatumGetInt16(values[RX_COL_NODE]), token->seq,
			   DatumGetTimestampTz(values[RX_COL_CREATED_AT]));
	out[OUT_TOKEN] = PointerGetDatum(&token_text);
	out[OUT_EVENT_ID] = UUIDPGetDatum(&id);
	out[OUT_TYPE] = values[RX_COL_TYPE];
	out[OUT_SOURCE] = values[RX_COL_SOURCE];
	nulls[OUT_SOURCE] = isnull[RX_COL_SOURCE];
	out[OUT_SESSION] = values[RX_COL_SESSION];
	nulls[OUT_SESSION] = isnull[RX_COL_SESSION];
	out[OUT_SEQ] = values[RX_COL_SEQ];
	out[OUT_PAYLOAD] = values[RX_COL_PAYLOAD];
	out[OUT_META] = values[RX_COL_META];
	nulls[OUT_META] = isnull[RX_COL_META];
	out[OUT_ATTEMPT] = Int32GetDatum(attempt);
	out[OUT_CREATED_AT] = values[RX_COL_CREATED_AT];
	tuplestore_putvalues(result->setResult, result->setDesc, out, nulls);
}

/* receive(subscription text, max int, lease interval, wait interval) */
REFLEX_FUNCTION(reflex_receive)
{
	char	   *name = subscription_arg(PG_GETARG_TEXT_PP(0));
	int			max = PG_GETARG_INT32(1);
	int64		lease_us = interval_arg(PG_GETARG_INTERVAL_P(2), "lease", 1000, MAX_LEASE_US);
	int64		wait_us = interval_arg(PG_GETARG_INTERVAL_P(3), "wait", 0, MAX_WAIT_US);

	if (max < 1 || max > MAX_RECEIVE)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"max\" is out of range"),
				errdetail("It must be between 1 and %d.", MAX_RECEIVE));
	InitMaterializedSRF(fcinfo, 0);
	rx_receive_wait(name, max, lease_us, wait_us, put_row, fcinfo->resultinfo);
	PG_RETURN_NULL();
}

static bool
token_arg(text *value, RxToken *token)
{
	rx_shmem_require();
	return rx_token_parse(VARDATA_ANY(value), (int) VARSIZE_ANY_EXHDR(value), token);
}

/* ack(token text) */
REFLEX_FUNCTION(reflex_ack)
{
	RxToken		token;

	PG_RETURN_BOOL(token_arg(PG_GETARG_TEXT_PP(0), &token) && rx_ack(&token, 1, NULL) == 1);
}

/* ack(tokens text[]) - how many were good; nulls and nonsense are not */
REFLEX_FUNCTION(reflex_ack_many)
{
	Datum	   *elems;
	bool	   *nulls;
	int			n;
	int			good = 0;
	RxToken    *tokens;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &elems, &nulls, &n);
	tokens = palloc(Max(n, 1) * sizeof(RxToken));
	for (int i = 0; i < n; i++)
		if (!nulls[i] && token_arg(DatumGetTextPP(elems[i]), &tokens[good]))
			good++;
	PG_RETURN_INT32(rx_ack(tokens, good, NULL));
}

/* nack(token text, error text, delay interval) */
REFLEX_FUNCTION(reflex_nack)
{
	RxToken		token;
	char	   *error = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	int64		delay = PG_ARGISNULL(2) ? -1 :
		interval_arg(PG_GETARG_INTERVAL_P(2), "delay", 0, 366 * MAX_LEASE_US);

	if (PG_ARGISNULL(0))
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(token_arg(PG_GETARG_TEXT_PP(0), &token) && rx_nack(&token, error, delay, false));
}

/* extend(token text, lease interval) */
REFLEX_FUNCTION(reflex_extend)
{
	RxToken		token;
	int64		lease_us = interval_arg(PG_GETARG_INTERVAL_P(1), "lease", 1000, MAX_LEASE_US);

	PG_RETURN_BOOL(token_arg(PG_GETARG_TEXT_PP(0), &token) && rx_extend(&token, lease_us));
}
