/*
 * filter_sql.c
 *		Filters as SQL sees them: checking one, trying one on an event.
 */
#include "reflex.h"

#include "event/filter_int.h"
#include "pg/jsonb_get.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

/* filter_check(filter) - raises unless it is a filter */
REFLEX_FUNCTION(reflex_filter_check)
{
	(void) rx_filter_compile(PG_GETARG_JSONB_P(0), CurrentMemoryContext);
	PG_RETURN_VOID();
}

/* ---- an event made of JSON ---- */

static void
refuse_member(const char *key, const char *wanted)
{
	ereport(ERROR,
			errcode(ERRCODE_RX_INVALID),
			errmsg("\"%s\" of an event must be %s", key, wanted),
			errhint("An event is an object with the keys type, source, session, payload, meta and created_at."));
}

static text *
text_member(JsonbContainer *object, const char *key)
{
	JsonbValue *value = rx_jsonb_member(object, key);

	if (value == NULL)
		return NULL;
	if (value->type != jbvString)
		refuse_member(key, "a string");
	return cstring_to_text_with_len(value->val.string.val, value->val.string.len);
}

static TimestampTz
time_member(JsonbContainer *object, const char *key)
{
	text	   *value = text_member(object, key);

	if (value == NULL)
		return GetCurrentTimestamp();
	return DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(text_to_cstring(value)),
												   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

/* What publish() leaves out is as it would be there. */
static Jsonb *
payload_member(JsonbContainer *object)
{
	JsonbValue *value = getKeyJsonValueFromContainer(object, "payload", strlen("payload"), NULL);

	if (value == NULL)
		return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
	return JsonbValueToJsonb(value);
}

static Datum
meta_member(JsonbContainer *object)
{
	JsonbValue *value = rx_jsonb_member(object, "meta");

	if (value == NULL)
		return (Datum) 0;
	if (rx_jsonb_object(value) == NULL)
		refuse_member("meta", "an object");
	return JsonbPGetDatum(JsonbValueToJsonb(value));
}

static void
read_event(RxFilterRow *row, Jsonb *event)
{
	JsonbContainer *object = &event->root;

	if (!rx_jsonb_is_object(event))
		ereport(ERROR,
				errcode(ERRCODE_RX_INVALID),
				errmsg("event must be a JSON object"));
	memset(row, 0, sizeof(*row));
	row->type = text_member(object, "type");
	row->source = text_member(object, "source");
	row->session = text_member(object, "session");
	row->payload = JsonbPGetDatum(payload_member(object));
	row->meta = meta_member(object);
	row->created_at = time_member(object, "created_at");
	row->scratch = CurrentMemoryContext;
}

/* ---- saying why ---- */

static const char *
why_unlisted(const char *what, text *name)
{
	if (name == NULL)
		return psprintf("the event has no %s", what);
	return psprintf("%s \"%s\" is not listed", what, text_to_cstring(name));
}

/* Evaluates the path again, aloud this time. */
static const char *
why_path(const RxFilter *filter, RxFilterRow *row)
{
	Datum		first;
	bool		found;
	JsonbValue	value = {.type = jbvNull};

	row->error = NULL;
	found = rx_filter_path(jsonb_path_query_first_tz, filter->path, row, false, &first);
	if (row->error)
		return psprintf("the path cannot be evaluated: %s", row->error);
	if (!found)
		return "the path finds nothing";
	if (filter->kind == RX_FILTER_KEYWORD)
		return "none of the keywords is in what the path finds";
	(void) JsonbExtractScalar(&DatumGetJsonbP(first)->root, &value);
	return value.type == jbvBool ? "the predicate is false" :
		"the predicate is unknown, as for values of different types";
}

static const char *
why(const RxFilter *filter, RxFilterRow *row)
{
	switch (filter->kind)
	{
		case RX_FILTER_TYPE:
			return why_unlisted("type", row->type);
		case RX_FILTER_SOURCE:
			return why_unlisted("source", row->source);
		case RX_FILTER_KEYWORD:
			return filter->path ? why_path(filter, row) : "none of the keywords is in the payload";
		case RX_FILTER_MATCH:
			return why_path(filter, row);
		case RX_FILTER_ANY:
			return "none of the filters in it matches";
		case RX_FILTER_NOT:
			return "the filter that must not match does";
		case RX_FILTER_ALL:
			break;				/* one of its parts is to blame */
	}
	pg_unreachable();
}

static JsonbValue
string_or_null(const char *string)
{
	JsonbValue	value = {.type = string ? jbvString : jbvNull};

	if (string)
	{
		value.val.string.val = unconstify(char *, string);
		value.val.string.len = (int) strlen(string);
	}
	return value;
}

static void
add_member(JsonbParseState **state, const char *key, JsonbValue value)
{
	JsonbValue	name = string_or_null(key);

	(void) pushJsonbValue(state, WJB_KEY, &name);
	(void) pushJsonbValue(state, WJB_VALUE, &value);
}

/* test_filter(filter, event) */
REFLEX_FUNCTION(reflex_test_filter)
{
	RxFilter   *filter = rx_filter_compile(PG_GETARG_JSONB_P(0), CurrentMemoryContext);
	JsonbParseState *state = NULL;
	RxFilterRow row;
	JsonbValue	matches = {.type = jbvBool};
	bool		passes;

	read_event(&row, PG_GETARG_JSONB_P(1));
	passes = rx_filter_matches_row(filter, &row);
	matches.val.boolean = passes;
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	add_member(&state, "matches", matches);
	add_member(&state, "reason", string_or_null(passes ? NULL : why(row.refused, &row)));
	add_member(&state, "at", string_or_null(passes ? NULL : row.refused->at));
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}
