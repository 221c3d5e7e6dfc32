/*
 * publish.c
 *		publish(), publish_many(): the SQL functions that append events.
 *
 * What is checked: the type's form, the payload's size, its schema if the type
 * has one (type.c), that meta is an object.  The trace context of the session
 * (reflex.traceparent) joins meta unless meta brings its own.  An event that is
 * due later is kept aside (delayed.c); one with a dedupe key that was used
 * before is not added (dedupe.c).
 */
#include "reflex.h"

#include "event/event_int.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pg/guc.h"
#include "pg/spi.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

static void
check_name(const char *what, const char *value)
{
	size_t		len = strlen(value);

	if (len == 0 || len > RX_MAX_NAME)
		ereport(ERROR,
				errcode(ERRCODE_RX_INVALID),
				errmsg("%s must have 1 to %d bytes", what, RX_MAX_NAME),
				errdetail("It has %zu.", len));
}

static void
check_entry(const RxEntry *entry)
{
	check_name("event type", entry->type);
	if (entry->session)
		check_name("session", entry->session);
	if (VARSIZE_ANY(entry->payload) > (Size) rx_guc_event_max_size)
		ereport(ERROR,
				errcode(ERRCODE_RX_TOO_LARGE),
				errmsg("payload of event \"%s\" is too large", entry->type),
				errdetail("It has %zu bytes; reflex.event_max_size is %d.",
						  (size_t) VARSIZE_ANY(entry->payload), rx_guc_event_max_size),
				errhint("Store large values in a table or an object store and publish a reference."));
	if (entry->meta && !JB_ROOT_IS_OBJECT(entry->meta))
		ereport(ERROR,
				errcode(ERRCODE_RX_INVALID),
				errmsg("meta of event \"%s\" is not a JSON object", entry->type));
}

static JsonbValue *
find_key(Jsonb *object, const char *key, JsonbValue *into)
{
	return getKeyJsonValueFromContainer(&object->root, key, (int) strlen(key), into);
}

/* meta with the session's trace context, unless it has one. */
Jsonb *
rx_meta_with_trace(Jsonb *meta)
{
	JsonbParseState *state = NULL;
	JsonbValue	key,
				value;
	Jsonb	   *trace;

	if (rx_guc_traceparent[0] == '\0' || (meta && find_key(meta, "traceparent", &value)))
		return meta;
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	key.type = value.type = jbvString;
	key.val.string.val = "traceparent";
	key.val.string.len = (int) strlen("traceparent");
	value.val.string.val = rx_guc_traceparent;
	value.val.string.len = (int) strlen(rx_guc_traceparent);
	pushJsonbValue(&state, WJB_KEY, &key);
	pushJsonbValue(&state, WJB_VALUE, &value);
	trace = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	if (meta == NULL)
		return trace;
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(meta), JsonbPGetDatum(trace)));
}

/* An event with what decides whether and when it goes into the log. */
typedef struct Publishing
{
	RxEntry		entry;
	const char *dedupe_key;		/* NULL for none */
	bool		delayed;
	TimestampTz deliver_at;
} Publishing;

static void
append(RxLogId log, const RxEntry *entry, void *arg, pg_uuid_t *id)
{
	const Publishing *p = arg;

	if (p->delayed && p->deliver_at > GetCurrentTimestamp() + rx_clock_offset())
		rx_delayed_append(entry, p->deliver_at, id);
	else
		rx_log_append(log, entry, id);
}

static void
publish_one(Publishing *p, pg_uuid_t *id)
{
	check_entry(&p->entry);
	rx_type_check(&p->entry);
	p->entry.meta = rx_meta_with_trace(p->entry.meta);
	if (p->dedupe_key == NULL)
		append(RX_LOG_EVENT, &p->entry, p, id);
	else
	{
		check_name("dedupe_key", p->dedupe_key);
		rx_dedupe_append(RX_LOG_EVENT, p->dedupe_key, append, &p->entry, p, id);
	}
}

static char *
text_arg(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/* publish(type, payload, source, session, meta, dedupe_key, deliver_at) */
REFLEX_FUNCTION(reflex_publish)
{
	Publishing p = {.delayed = !PG_ARGISNULL(6)};
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("event type must not be null"));
	p.entry.type = text_arg(fcinfo, 0);
	p.entry.payload = PG_ARGISNULL(1) ?
		DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"))) : PG_GETARG_JSONB_P(1);
	p.entry.source = text_arg(fcinfo, 2);
	p.entry.session = text_arg(fcinfo, 3);
	p.entry.meta = PG_ARGISNULL(4) ? NULL : PG_GETARG_JSONB_P(4);
	p.dedupe_key = text_arg(fcinfo, 5);
	if (p.delayed)
		p.deliver_at = PG_GETARG_TIMESTAMPTZ(6);
	publish_one(&p, id);
	PG_RETURN_UUID_P(id);
}

/* ---- publish_many ---- */

static void
bad_element(int n, const char *reason)
{
	ereport(ERROR,
			errcode(ERRCODE_RX_INVALID),
			errmsg("invalid event at index %d", n),
			errdetail("%s", reason),
			errhint("An event is an object with the keys type, payload, source, session, meta, dedupe_key and deliver_at."));
}

/* A member that is a string, NULL where it is absent or null. */
static char *
string_member(Jsonb *object, const char *key, int n)
{
	JsonbValue	value;

	if (!find_key(object, key, &value) || value.type == jbvNull)
		return NULL;
	if (value.type != jbvString)
		bad_element(n, psprintf("\"%s\" is not a string.", key));
	return pnstrdup(value.val.string.val, value.val.string.len);
}

static Jsonb *
json_member(Jsonb *object, const char *key)
{
	JsonbValue	value;

	return find_key(object, key, &value) ? JsonbValueToJsonb(&value) : NULL;
}

static void
check_keys(Jsonb *object, int n)
{
	static const char *const known[] = {"type", "payload", "source", "session", "meta", "dedupe_key", "deliver_at"};
	JsonbIterator *it = JsonbIteratorInit(&object->root);
	JsonbValue	v;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		bool		found = token != WJB_KEY;

		for (int i = 0; !found && i < (int) lengthof(known); i++)
			found = (int) strlen(known[i]) == v.val.string.len &&
				memcmp(known[i], v.val.string.val, v.val.string.len) == 0;
		if (!found)
			bad_element(n, psprintf("Unknown key \"%.*s\".", v.val.string.len, v.val.string.val));
	}
}

/* A time as text, as timestamptz reads it; false where it is absent. */
static bool
time_member(Jsonb *object, const char *key, int n, TimestampTz *at)
{
	char	   *value = string_member(object, key, n);

	if (value == NULL)
		return false;
	*at = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(value),
												  ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	return true;
}

static void
publish_element(JsonbValue *element, int n, pg_uuid_t *id)
{
	Publishing p = {0};
	Jsonb	   *object;

	if (element->type != jbvBinary || !JsonContainerIsObject(element->val.binary.data))
		bad_element(n, "It is not an object.");
	object = JsonbValueToJsonb(element);
	check_keys(object, n);
	p.entry.type = string_member(object, "type", n);
	if (p.entry.type == NULL)
		bad_element(n, "\"type\" is missing.");
	p.entry.source = string_member(object, "source", n);
	p.entry.session = string_member(object, "session", n);
	p.entry.payload = json_member(object, "payload");
	if (p.entry.payload == NULL)
		p.entry.payload = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
	p.entry.meta = json_member(object, "meta");
	if (p.entry.meta && JB_ROOT_IS_SCALAR(p.entry.meta))
		p.entry.meta = NULL;
	p.dedupe_key = string_member(object, "dedupe_key", n);
	p.delayed = time_member(object, "deliver_at", n, &p.deliver_at);
	publish_one(&p, id);
}

/* publish_many(events jsonb) - all or nothing, ids in order */
REFLEX_FUNCTION(reflex_publish_many)
{
	Jsonb	   *events = PG_GETARG_JSONB_P(0);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "reflex publish", ALLOCSET_DEFAULT_SIZES);
	JsonbIterator *it;
	JsonbValue	v;
	int			n = 0;

	if (!JB_ROOT_IS_ARRAY(events) || JB_ROOT_IS_SCALAR(events))
		ereport(ERROR,
				errcode(ERRCODE_RX_INVALID),
				errmsg("events must be a JSON array"));
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	it = JsonbIteratorInit(&events->root);
	(void) JsonbIteratorNext(&it, &v, false);
	while (JsonbIteratorNext(&it, &v, true) == WJB_ELEM)
	{
		MemoryContext old = MemoryContextSwitchTo(scratch);
		pg_uuid_t	id;
		Datum		value = UUIDPGetDatum(&id);
		bool		isnull = false;

		publish_element(&v, n++, &id);
		MemoryContextSwitchTo(old);
		MemoryContextReset(scratch);
		tuplestore_putvalues(result->setResult, result->setDesc, &value, &isnull);
	}
	PG_RETURN_NULL();
}

/* ---- for SQL of our own ---- */

/* make_id(kind int, seq bigint, at timestamptz, node int) */
REFLEX_FUNCTION(reflex_make_id)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	rx_id_make(id, (RxIdKind) PG_GETARG_INT32(0), PG_GETARG_INT32(3), PG_GETARG_INT64(1),
			   PG_GETARG_TIMESTAMPTZ(2));
	PG_RETURN_UUID_P(id);
}

/* id_parts(id uuid, OUT kind int, OUT node int, OUT seq bigint); nulls when it is not one of ours */
REFLEX_FUNCTION(reflex_id_parts)
{
	RxIdKind	kind = 0;
	int			node = 0;
	int64		seq = 0;
	Datum		values[3];
	bool		nulls[3];
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	memset(nulls, !rx_id_parse(PG_GETARG_UUID_P(0), &kind, &node, &seq), sizeof(nulls));
	values[0] = Int32GetDatum(kind);
	values[1] = Int32GetDatum(node);
	values[2] = Int64GetDatum(seq);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* append(log int, type, payload, source, session, meta) - for internal kinds and events of our own */
REFLEX_FUNCTION(reflex_append)
{
	RxEntry		entry = {0};
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	entry.type = text_arg(fcinfo, 1);
	entry.payload = PG_GETARG_JSONB_P(2);
	entry.source = text_arg(fcinfo, 3);
	entry.session = text_arg(fcinfo, 4);
	entry.meta = PG_ARGISNULL(5) ? NULL : PG_GETARG_JSONB_P(5);
	check_entry(&entry);
	entry.meta = rx_meta_with_trace(entry.meta);
	rx_log_append((RxLogId) PG_GETARG_INT32(0), &entry, id);
	PG_RETURN_UUID_P(id);
}
