/*
 * filter_match.c
 *		Does an event pass a filter?  See filter.h.
 *
 * Keywords are compared with case folded as lower() does it in the database's
 * collation; ASCII letters are always folded as ASCII, so that plain text takes
 * a plain loop and means the same in every collation.  The text of an object or
 * array is that of the strings in it, of a string, number or boolean itself.
 * (In the EUC encodings a keyword may also be found astride two characters.)
 *
 * Most of what can go wrong in a path is kept quiet by PostgreSQL, but not all:
 * a payload nested deeply enough exhausts the stack.  Such an error is caught
 * here, without a subtransaction: evaluating a path takes memory and nothing
 * else that an abort would have to give back.
 */
#include "reflex.h"

#include "catalog/pg_collation.h"
#include "event/event_int.h"
#include "event/filter_int.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/formatting.h"
#include "utils/memutils.h"

/* ---- text ---- */

/* Returns whether all was ASCII. */
static bool
fold_ascii(char *to, const char *from, int len)
{
	unsigned char all = 0;

	for (int i = 0; i < len; i++)
	{
		unsigned char ch = from[i];

		all |= ch;
		to[i] = ch + ((unsigned char) (ch - 'A') < 26 ? 'a' - 'A' : 0);
	}
	to[len] = '\0';
	return !IS_HIGHBIT_SET(all);
}

void
rx_filter_append_folded(StringInfo out, const char *string, int len)
{
	char	   *to;

	enlargeStringInfo(out, len + 1);
	to = out->data + out->len;
	if (fold_ascii(to, string, len))
		out->len += len + 1;
	else
	{
		char	   *folded = str_tolower(to, len, DEFAULT_COLLATION_OID);

		appendBinaryStringInfo(out, folded, (int) strlen(folded) + 1);
		pfree(folded);
	}
}

/* direct: the value was itself selected, and is not just within what was. */
static void
append_value(StringInfo out, const JsonbValue *value, bool direct)
{
	char	   *number;

	if (value->type == jbvString)
		rx_filter_append_folded(out, value->val.string.val, value->val.string.len);
	else if (value->type == jbvBool && direct)
		appendBinaryStringInfo(out, value->val.boolean ? "true" : "false", value->val.boolean ? 5 : 6);
	else if (value->type == jbvNumeric && direct)
	{
		number = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
		rx_filter_append_folded(out, number, (int) strlen(number));
	}
}

/*
 * All texts in a value, folded, each with a NUL behind it so that no keyword is
 * found astride two.  selected: the value is an array of what was selected.
 */
static StringInfo
fold_texts(Jsonb *jb, bool selected)
{
	StringInfo	out = makeStringInfo();
	JsonbIterator *it = JsonbIteratorInit(&jb->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	int			depth = 0;

	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
	{
		if (token == WJB_BEGIN_ARRAY || token == WJB_BEGIN_OBJECT)
			depth++;
		else if (token == WJB_END_ARRAY || token == WJB_END_OBJECT)
			depth--;
		else if (token != WJB_KEY)
			append_value(out, &value, selected && depth == 1);
	}
	return out;
}

/* The payload's, for all filters that ask for them. */
static StringInfo
payload_texts(RxFilterRow *row)
{
	MemoryContext old = MemoryContextSwitchTo(row->scratch);

	if (row->folded == NULL)
	{
		Jsonb	   *payload = rx_filter_payload(row);

		row->folded = fold_texts(payload, JB_ROOT_IS_SCALAR(payload));
	}
	MemoryContextSwitchTo(old);
	return row->folded;
}

static bool
has_keyword(const RxFilter *filter, StringInfo texts)
{
	for (int i = 0; i < filter->n; i++)
		if (memmem(texts->data, texts->len, filter->keywords[i], strlen(filter->keywords[i])) != NULL)
			return true;
	return false;
}

/* ---- paths ---- */

/* What an event may cause; a cancellation, or memory running out, it may not. */
static bool
is_caused_by_event(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return category == ERRCODE_DATA_EXCEPTION || category == ERRCODE_PROGRAM_LIMIT_EXCEEDED ||
		category == ERRCODE_FEATURE_NOT_SUPPORTED;
}

/* Within PG_CATCH: raises again what is not the event's fault. */
static void
take_error(RxFilterRow *row, MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	if (!is_caused_by_event(error))
		PG_RE_THROW();
	FlushErrorState();
	row->error = error->message;
}

/* What a path's variables are taken from: an empty object. */
static Jsonb *
no_variables(uint32 *room)
{
	Jsonb	   *empty = (Jsonb *) room;

	SET_VARSIZE(empty, offsetof(Jsonb, root.children));
	empty->root.header = JB_FOBJECT;
	return empty;
}

static void
set_arg(FunctionCallInfo fcinfo, int i, Datum value)
{
	fcinfo->args[i].value = value;
	fcinfo->args[i].isnull = false;
}

bool
rx_filter_path(PGFunction function, JsonPath *path, RxFilterRow *row, bool silent, Datum *result)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool found = false;
	uint32		room[2];

	PG_TRY();
	{
		LOCAL_FCINFO(fcinfo, 4);

		InitFunctionCallInfoData(*fcinfo, NULL, 4, DEFAULT_COLLATION_OID, NULL, NULL);
		set_arg(fcinfo, 0, JsonbPGetDatum(rx_filter_event(row)));
		set_arg(fcinfo, 1, PointerGetDatum(path));
		set_arg(fcinfo, 2, JsonbPGetDatum(no_variables(room)));
		set_arg(fcinfo, 3, BoolGetDatum(silent));
		*result = function(fcinfo);
		found = !fcinfo->isnull;
	}
	PG_CATCH();
	{
		take_error(row, context);
	}
	PG_END_TRY();
	return found;
}

/* ---- the kinds ---- */

static bool
is_listed(const RxFilter *filter, text *name)
{
	return name && rx_patterns_match(&filter->patterns, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

static bool
finds_keyword(const RxFilter *filter, RxFilterRow *row)
{
	Datum		selected;

	if (filter->path == NULL)
		return has_keyword(filter, payload_texts(row));
	return rx_filter_path(jsonb_path_query_array_tz, filter->path, row, true, &selected) &&
		has_keyword(filter, fold_texts(DatumGetJsonbP(selected), true));
}

static bool
path_matches(const RxFilter *filter, RxFilterRow *row)
{
	PGFunction	function = filter->predicate ? jsonb_path_match_tz : jsonb_path_exists_tz;
	Datum		result;

	return rx_filter_path(function, filter->path, row, true, &result) && DatumGetBool(result);
}

/*
 * All or any of the parts.  What the last of them said is what counts, except
 * that no part of "any" is to blame alone.
 */
static bool
parts_match(const RxFilter *filter, RxFilterRow *row)
{
	bool		any = filter->kind == RX_FILTER_ANY;

	for (int i = 0; i < filter->n; i++)
		if (rx_filter_matches_row(filter->parts[i], row) == any)
			return any;
	if (any)
		row->refused = filter;
	return !any;
}

static bool
leaf_matches(const RxFilter *filter, RxFilterRow *row)
{
	switch (filter->kind)
	{
		case RX_FILTER_TYPE:
			return is_listed(filter, row->type);
		case RX_FILTER_SOURCE:
			return is_listed(filter, row->source);
		case RX_FILTER_KEYWORD:
			return finds_keyword(filter, row);
		case RX_FILTER_MATCH:
			return path_matches(filter, row);
		case RX_FILTER_NOT:
			return !rx_filter_matches_row(filter->parts[0], row);
		case RX_FILTER_ALL:
		case RX_FILTER_ANY:
			break;
	}
	pg_unreachable();
}

/* The depth is bounded since the filter was compiled. */
bool
rx_filter_matches_row(const RxFilter *filter, RxFilterRow *row)
{
	if (filter == NULL)
		return true;
	if (filter->kind == RX_FILTER_ALL || filter->kind == RX_FILTER_ANY)
		return parts_match(filter, row);
	if (leaf_matches(filter, row))
		return true;
	row->refused = filter;
	return false;
}

/* ---- rows ---- */

static text *
text_or_null(Datum value, bool isnull)
{
	return isnull ? NULL : DatumGetTextPP(value);
}

/* Nothing that is called from here comes back here, so one scratch will do. */
bool
rx_filter_matches(const RxFilter *filter, Datum *values, bool *isnull)
{
	static MemoryContext scratch = NULL;
	MemoryContext old;
	RxFilterRow row = {0};
	bool		matches;

	if (filter == NULL)
		return true;
	if (scratch == NULL)
		scratch = AllocSetContextCreate(TopMemoryContext, "reflex filter", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(scratch);
	row.scratch = scratch;
	row.type = DatumGetTextPP(values[RX_COL_TYPE]);
	row.source = text_or_null(values[RX_COL_SOURCE], isnull[RX_COL_SOURCE]);
	row.session = text_or_null(values[RX_COL_SESSION], isnull[RX_COL_SESSION]);
	row.payload = values[RX_COL_PAYLOAD];
	row.meta = isnull[RX_COL_META] ? (Datum) 0 : values[RX_COL_META];
	row.created_at = DatumGetTimestampTz(values[RX_COL_CREATED_AT]);
	matches = rx_filter_matches_row(filter, &row);
	MemoryContextSwitchTo(old);
	MemoryContextReset(scratch);
	return matches;
}

void
rx_filter_row_of_record(RxFilterRow *row, const RxRecord *record, MemoryContext scratch)
{
	RxFilterRow made = {
		.type = record->type,
		.source = record->source,
		.session = record->session,
		.payload = JsonbPGetDatum(record->payload),
		.meta = record->meta ? JsonbPGetDatum(record->meta) : (Datum) 0,
		.created_at = record->created_at,
		.scratch = scratch,
	};

	*row = made;
}
