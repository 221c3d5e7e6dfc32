/*
 * filter.c
 *		Compiles filters.  See filter.h for what they are.
 *
 * The JSON becomes a tree of nodes, each with its place in the JSON, so that
 * errors here and explanations later can point at it.  An object with one part
 * is that part; with several it is a node that wants them all.  Parts of "all"
 * and "any" are put in order of cost: what they say does not depend on the
 * order, so what needs no look into the payload is asked first.
 */
#include "reflex.h"

#include "event/filter_int.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pg/jsonb_get.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#define MAX_DEPTH 32

/* What a look at an event costs, roughly in ratio. */
#define COST_COLUMN 1
#define COST_PAYLOAD 2
#define COST_PATH 3

typedef struct Compiler
{
	StringInfoData at;			/* where it is just now: a JSON Pointer */
	int			depth;
} Compiler;

typedef RxFilter *(*Compile) (Compiler *c, JsonbContainer *object, JsonbValue *value);

static RxFilter *compile_filter(Compiler *c, JsonbValue *value);
static void refuse(Compiler *c, const char *message, JsonbValue *found, const char *hint) pg_attribute_noreturn();

/* ---- places and errors ---- */

/* Steps down to a member; returns what to step back to. */
static int
step_to(Compiler *c, const char *key)
{
	int			before = c->at.len;

	appendStringInfoChar(&c->at, '/');
	for (; *key; key++)
	{
		if (*key == '~')
			appendStringInfoString(&c->at, "~0");
		else if (*key == '/')
			appendStringInfoString(&c->at, "~1");
		else
			appendStringInfoChar(&c->at, *key);
	}
	return before;
}

static int
step_to_element(Compiler *c, int i)
{
	int			before = c->at.len;

	appendStringInfo(&c->at, "/%d", i);
	return before;
}

static void
step_back(Compiler *c, int before)
{
	c->at.len = before;
	c->at.data[before] = '\0';
}

/* What is there instead, cut to what fits into a message. */
static char *
shown(JsonbValue *value)
{
	Jsonb	   *jb = JsonbValueToJsonb(value);
	char	   *json = JsonbToCString(NULL, &jb->root, VARSIZE(jb));

	json[pg_mbcliplen(json, (int) strlen(json), 100)] = '\0';
	return json;
}

static void
refuse(Compiler *c, const char *message, JsonbValue *found, const char *hint)
{
	ereport(ERROR,
			errcode(ERRCODE_RX_INVALID),
			errmsg("%s", message),
			errdetail("At \"%s\" in the filter: found %s.", c->at.data, shown(found)),
			hint ? errhint("%s", hint) : 0);
}

static RxFilter *
new_node(Compiler *c, RxFilterKind kind, int cost)
{
	RxFilter   *node = palloc0_object(RxFilter);

	node->kind = kind;
	node->cost = cost;
	node->at = pstrdup(c->at.data);
	return node;
}

/* ---- lists of strings ---- */

typedef struct Strings
{
	char	  **items;
	int			n;
	bool		good;
} Strings;

static void
add_string(const char *key, JsonbValue *value, void *arg)
{
	Strings    *list = arg;

	RX_UNUSED(key);
	if (value->type != jbvString || value->val.string.len == 0)
		list->good = false;
	else
		list->items[list->n++] = pnstrdup(value->val.string.val, value->val.string.len);
}

/* Of a list that must have at least one string and no empty one. */
static char **
read_strings(Compiler *c, JsonbValue *value, const char *name, const char *hint, int *n)
{
	JsonbContainer *array = rx_jsonb_array(value);
	Strings		list = {.good = array != NULL && JsonContainerSize(array) > 0};

	if (list.good)
	{
		list.items = palloc_array(char *, JsonContainerSize(array));
		rx_jsonb_each(array, add_string, &list);
	}
	if (!list.good)
		refuse(c, psprintf("filter \"%s\" must be a non-empty list of non-empty strings", name), value, hint);
	*n = list.n;
	return list.items;
}

/* ---- paths ---- */

/*
 * Does the path name a variable?  Filters have none.  In its canonical text a
 * variable is a dollar sign and a quoted name, which nothing else outside of
 * quotes is.
 */
static bool
has_variable(JsonPath *path)
{
	char	   *canonical = DatumGetCString(DirectFunctionCall1(jsonpath_out, PointerGetDatum(path)));
	bool		quoted = false;

	for (char *p = canonical; *p; p++)
	{
		if (quoted && *p == '\\')
			p++;
		else if (*p == '"')
			quoted = !quoted;
		else if (!quoted && p[0] == '$' && p[1] == '"')
			return true;
	}
	return false;
}

/* PostgreSQL says what is wrong with a path, but not with which one. */
static JsonPath *
parse_path(Compiler *c, char *written)
{
	MemoryContext context = CurrentMemoryContext;
	Datum		path = 0;

	PG_TRY();
	{
		path = DirectFunctionCall1(jsonpath_in, CStringGetDatum(written));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (error->sqlerrcode != ERRCODE_SYNTAX_ERROR &&
			error->sqlerrcode != ERRCODE_FEATURE_NOT_SUPPORTED &&
			ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR,
				errcode(ERRCODE_RX_INVALID),
				errmsg("invalid jsonpath \"%s\"", written),
				errdetail("At \"%s\" in the filter: %s.", c->at.data, error->message));
	}
	PG_END_TRY();
	return DatumGetJsonPathP(path);
}

static JsonPath *
compile_path(Compiler *c, JsonbValue *value, const char *name)
{
	char	   *written = rx_jsonb_cstring(value);
	JsonPath   *path;

	if (written == NULL)
		refuse(c, psprintf("filter \"%s\" must be a jsonpath in a string", name), value,
			   "For example \"$.payload.amount > 100\".");
	path = parse_path(c, written);
	if (has_variable(path))
		refuse(c, "a jsonpath in a filter has no variables", value, "Write the value itself.");
	return path;
}

/* Is the whole path one that is true or false, as $.a > 1? */
static bool
is_predicate(JsonPath *path)
{
	JsonPathItem item;

	jspInit(&item, path);
	switch (item.type)
	{
		case jpiAnd:
		case jpiOr:
		case jpiNot:
		case jpiIsUnknown:
		case jpiEqual:
		case jpiNotEqual:
		case jpiLess:
		case jpiGreater:
		case jpiLessOrEqual:
		case jpiGreaterOrEqual:
		case jpiExists:
		case jpiStartsWith:
		case jpiLikeRegex:
			return !jspHasNext(&item);
		default:
			return false;
	}
}

/* ---- the parts ---- */

static const char pattern_hint[] = "One matches exactly, or everything below it when it ends in \".*\".";

static RxFilter *
compile_type(Compiler *c, JsonbContainer *object, JsonbValue *value)
{
	RxFilter   *node = new_node(c, RX_FILTER_TYPE, COST_COLUMN);
	char	  **types = read_strings(c, value, "type", pattern_hint, &node->n);

	RX_UNUSED(object);
	rx_patterns_make(&node->patterns, types, node->n);
	return node;
}

static RxFilter *
compile_source(Compiler *c, JsonbContainer *object, JsonbValue *value)
{
	RxFilter   *node = new_node(c, RX_FILTER_SOURCE, COST_COLUMN);
	char	  **sources = read_strings(c, value, "source", pattern_hint, &node->n);

	RX_UNUSED(object);
	rx_patterns_make(&node->patterns, sources, node->n);
	return node;
}

static RxFilter *
compile_keyword(Compiler *c, JsonbContainer *object, JsonbValue *value)
{
	JsonbValue *in = getKeyJsonValueFromContainer(object, "in", 2, NULL);
	RxFilter   *node = new_node(c, RX_FILTER_KEYWORD, in ? COST_PATH : COST_PAYLOAD);

	node->keywords = read_strings(c, value, "keyword", NULL, &node->n);
	for (int i = 0; i < node->n; i++)
	{
		StringInfoData folded;

		initStringInfo(&folded);
		rx_filter_append_folded(&folded, node->keywords[i], (int) strlen(node->keywords[i]));
		node->keywords[i] = folded.data;
	}
	if (in)
	{
		/* It stands beside; the caller steps back from either. */
		step_back(c, c->at.len - (int) strlen("/keyword"));
		(void) step_to(c, "in");
		node->path = compile_path(c, in, "in");
	}
	return node;
}

static RxFilter *
compile_match(Compiler *c, JsonbContainer *object, JsonbValue *value)
{
	RxFilter   *node = new_node(c, RX_FILTER_MATCH, COST_PATH);

	RX_UNUSED(object);
	node->path = compile_path(c, value, "match");
	node->predicate = is_predicate(node->path);
	return node;
}

static RxFilter *
compile_not(Compiler *c, JsonbContainer *object, JsonbValue *value)
{
	RxFilter   *node = new_node(c, RX_FILTER_NOT, 0);

	RX_UNUSED(object);
	node->parts = palloc_object(RxFilter *);
	node->parts[0] = compile_filter(c, value);
	node->n = 1;
	node->cost = node->parts[0]->cost;
	return node;
}

/* Keeps the parts sorted by cost, in the order written where that is equal. */
static void
add_part(RxFilter *node, RxFilter *part)
{
	int			i = node->n++;

	for (; i > 0 && node->parts[i - 1]->cost > part->cost; i--)
		node->parts[i] = node->parts[i - 1];
	node->parts[i] = part;
	node->cost = Max(node->cost, part->cost);
}

static RxFilter *
compile_list(Compiler *c, RxFilterKind kind, const char *name, JsonbValue *value)
{
	RxFilter   *node = new_node(c, kind, 0);
	JsonbContainer *array = rx_jsonb_array(value);

	if (array == NULL || JsonContainerSize(array) == 0)
		refuse(c, psprintf("filter \"%s\" must be a non-empty list of filters", name), value, NULL);
	node->parts = palloc_array(RxFilter *, JsonContainerSize(array));
	for (uint32 i = 0; i < JsonContainerSize(array); i++)
	{
		int			before = step_to_element(c, (int) i);

		add_part(node, compile_filter(c, getIthJsonbValueFromContainer(array, i)));
		step_back(c, before);
	}
	return node;
}

static RxFilter *
compile_all(Compiler *c, JsonbContainer *object, JsonbValue *value)
{
	RX_UNUSED(object);
	return compile_list(c, RX_FILTER_ALL, "all", value);
}

static RxFilter *
compile_any(Compiler *c, JsonbContainer *object, JsonbValue *value)
{
	RX_UNUSED(object);
	return compile_list(c, RX_FILTER_ANY, "any", value);
}

/* Not here: "in", which belongs to "keyword". */
static const struct
{
	const char *key;
	Compile		compile;
}			kinds[] =
{
	{"type", compile_type},
	{"source", compile_source},
	{"keyword", compile_keyword},
	{"match", compile_match},
	{"not", compile_not},
	{"all", compile_all},
	{"any", compile_any},
};

static const char *const later[] = {"rate_limit", "dedupe", "function"};

/* ---- objects ---- */

static void
check_key(const char *key, JsonbValue *value, void *arg)
{
	Compiler   *c = arg;

	for (int i = 0; i < lengthof(kinds); i++)
		if (strcmp(key, kinds[i].key) == 0)
			return;
	if (strcmp(key, "in") == 0)
		return;
	(void) step_to(c, key);
	for (int i = 0; i < lengthof(later); i++)
		if (strcmp(key, later[i]) == 0)
			ereport(ERROR,
					errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("filter \"%s\" is not yet supported", key),
					errdetail("At \"%s\" in the filter.", c->at.data));
	refuse(c, psprintf("unknown filter \"%s\"", key), value,
		   "Filters are type, source, keyword (with in), match, all, any and not.");
}

static void
check_object(Compiler *c, JsonbValue *value)
{
	JsonbContainer *object = rx_jsonb_object(value);
	JsonbValue *in;

	if (object == NULL)
		refuse(c, "filter must be a JSON object", value,
			   "For example {\"type\": [\"order.paid\", \"order.refund.*\"]}.");
	rx_jsonb_each(object, check_key, c);
	in = getKeyJsonValueFromContainer(object, "in", 2, NULL);
	if (in && getKeyJsonValueFromContainer(object, "keyword", strlen("keyword"), NULL) == NULL)
	{
		(void) step_to(c, "in");
		refuse(c, "filter \"in\" belongs beside \"keyword\"", in, NULL);
	}
}

static RxFilter *
compile_filter(Compiler *c, JsonbValue *value)
{
	RxFilter   *node = new_node(c, RX_FILTER_ALL, 0);
	JsonbContainer *object;

	check_stack_depth();
	if (++c->depth > MAX_DEPTH)
		refuse(c, psprintf("filter is nested more than %d levels deep", MAX_DEPTH), value, NULL);
	check_object(c, value);
	object = rx_jsonb_object(value);
	node->parts = palloc_array(RxFilter *, lengthof(kinds));
	for (int i = 0; i < lengthof(kinds); i++)
	{
		JsonbValue *part = getKeyJsonValueFromContainer(object, kinds[i].key, strlen(kinds[i].key), NULL);
		int			before = step_to(c, kinds[i].key);

		if (part)
			add_part(node, kinds[i].compile(c, object, part));
		step_back(c, before);
	}
	c->depth--;
	return node->n == 1 ? node->parts[0] : node;
}

RxFilter *
rx_filter_compile(Jsonb *filter, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Compiler	c = {.depth = 0};
	JsonbValue	whole;
	RxFilter   *compiled;

	initStringInfo(&c.at);
	if (JB_ROOT_IS_SCALAR(filter))
		(void) JsonbExtractScalar(&filter->root, &whole);
	else
	{
		whole.type = jbvBinary;
		whole.val.binary.data = &filter->root;
		whole.val.binary.len = VARSIZE(filter) - VARHDRSZ;
	}
	compiled = compile_filter(&c, &whole);
	MemoryContextSwitchTo(old);
	return compiled;
}
