/*
 * operands.c
 *		How the value of each keyword is compiled; see the table in keywords.c.
 *
 * Each function gets the node whose keyword it is and the keyword's value,
 * refuses what the standard does not allow there, and adds a check or joins
 * the check of the group that the keyword belongs to.
 */
#include "reflex.h"

#include "json/json_int.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

static RxCheck *
add_check(RxNode *node, const RxKeyword *keyword)
{
	RxCheck    *check = palloc0(sizeof(RxCheck));

	check->keyword = keyword;
	check->node = node;
	node->checks = lappend(node->checks, check);
	return check;
}

/* The check that keywords with the same function share. */
static RxCheck *
group_check(RxNode *node, const RxKeyword *keyword)
{
	ListCell   *cell;

	foreach(cell, node->checks)
	{
		RxCheck    *check = lfirst(cell);

		if (check->keyword->check == keyword->check)
			return check;
	}
	return add_check(node, keyword);
}

/* A step of a JSON pointer: ~ and / are written ~0 and ~1. */
static char *
step(const char *path, const char *name, int len)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "%s/", path);
	for (int i = 0; i < len; i++)
	{
		if (name[i] == '~')
			appendStringInfoString(&out, "~0");
		else if (name[i] == '/')
			appendStringInfoString(&out, "~1");
		else
			appendStringInfoChar(&out, name[i]);
	}
	return out.data;
}

static char *
keyword_path(const RxNode *node, const RxKeyword *keyword)
{
	return psprintf("%s/%s", node->path, keyword->name);
}

static bool
is_container(const JsonbValue *value, bool object)
{
	return value->type == jbvBinary &&
		(object ? JsonContainerIsObject(value->val.binary.data) : JsonContainerIsArray(value->val.binary.data));
}

static JsonbContainer *
require_container(const RxNode *node, const RxKeyword *keyword, JsonbValue *value, bool object)
{
	if (!is_container(value, object))
		rx_schema_refuse(node->path, keyword->name, object ? "It must be an object." : "It must be an array.");
	return value->val.binary.data;
}

static char *
require_string(const RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	if (value->type != jbvString)
		rx_schema_refuse(node->path, keyword->name, "It must be a string.");
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static JsonbValue *
elements(JsonbContainer *array, int *n)
{
	JsonbValue *values = palloc((JsonContainerSize(array) + 1) * sizeof(JsonbValue));
	JsonbIterator *it = JsonbIteratorInit(array);
	JsonbValue	value;

	*n = 0;
	(void) JsonbIteratorNext(&it, &value, false);
	while (JsonbIteratorNext(&it, &value, true) == WJB_ELEM)
		values[(*n)++] = value;
	return values;
}

/* The members of an object as parts with a name and nothing yet, and their values. */
static RxPart *
members(JsonbContainer *object, JsonbValue **values, int *n)
{
	RxPart	   *parts = palloc0((JsonContainerSize(object) + 1) * sizeof(RxPart));
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbValue	value;

	*values = palloc((JsonContainerSize(object) + 1) * sizeof(JsonbValue));
	*n = 0;
	(void) JsonbIteratorNext(&it, &value, false);
	while (JsonbIteratorNext(&it, &value, true) == WJB_KEY)
	{
		parts[*n].name = value.val.string.val;
		parts[*n].len = value.val.string.len;
		(void) JsonbIteratorNext(&it, &(*values)[*n], true);
		(*n)++;
	}
	return parts;
}

static JsonbValue *
require_names(const RxNode *node, const RxKeyword *keyword, JsonbValue *value, int *n)
{
	JsonbValue *names = elements(require_container(node, keyword, value, false), n);

	for (int i = 0; i < *n; i++)
		if (names[i].type != jbvString)
			rx_schema_refuse(node->path, keyword->name, "Its elements must be strings.");
	return names;
}

static int64
require_count(const RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	double		size;

	if (value->type != jbvNumeric)
		rx_schema_refuse(node->path, keyword->name, "It must be a number.");
	size = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
											  NumericGetDatum(value->val.numeric)));
	if (size < 0 || DatumGetInt32(DirectFunctionCall1(numeric_min_scale, NumericGetDatum(value->val.numeric))) > 0)
		rx_schema_refuse(node->path, keyword->name, "It must be an integer, and not negative.");
	if (size > 1e18)
		return PG_INT64_MAX;	/* no value is as large */
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value->val.numeric)));
}

/* ---- names and references ---- */

/* One dialect for the whole: the root's. */
void
rx_compile_dialect(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	char	   *uri = require_string(node, keyword, value);
	size_t		len = strlen(uri);
	bool		draft7;

	if (len > 0 && uri[len - 1] == '#')
		uri[len - 1] = '\0';
	draft7 = strcmp(uri, "http://json-schema.org/draft-07/schema") == 0 ||
		strcmp(uri, "https://json-schema.org/draft-07/schema") == 0;
	if (!draft7 && strcmp(uri, "https://json-schema.org/draft/2020-12/schema") != 0)
		rx_schema_refuse(node->path, keyword->name,
						 "Known are https://json-schema.org/draft/2020-12/schema and http://json-schema.org/draft-07/schema#.");
	if (node->path[0] != '\0' && draft7 != c->draft7)
		rx_schema_refuse(node->path, keyword->name, "It differs from that of the whole.");
	c->draft7 = draft7;
}

static RxLink *
new_link(char *uri, RxNode *node)
{
	RxLink	   *link = palloc0(sizeof(RxLink));

	link->uri = uri;
	link->node = node;
	return link;
}

/* Draft-07 writes an anchor as an $id that is a fragment. */
void
rx_compile_id(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	char	   *id = require_string(node, keyword, value);
	size_t		len = strlen(id);

	if (id[0] == '#' && len > 1)
	{
		c->anchors = lappend(c->anchors, new_link(rx_uri_resolve(c->base, id), node));
		return;
	}
	if (len > 0 && id[len - 1] == '#')
		id[len - 1] = '\0';
	if (strchr(id, '#'))
		rx_schema_refuse(node->path, keyword->name, "It must not have a fragment.");
	c->base = rx_uri_resolve(c->base, id);
	c->resources = lappend(c->resources, new_link(pstrdup(c->base), node));
}

void
rx_compile_anchor(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	char	   *anchor = psprintf("#%s", require_string(node, keyword, value));

	c->anchors = lappend(c->anchors, new_link(rx_uri_resolve(c->base, anchor), node));
}

void
rx_compile_definitions(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	JsonbValue *values;
	int			n;
	RxPart	   *parts = members(require_container(node, keyword, value, true), &values, &n);

	for (int i = 0; i < n; i++)
		(void) rx_schema_node(c, &values[i], step(keyword_path(node, keyword), parts[i].name, parts[i].len));
}

void
rx_compile_ref(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	RxLink	   *link = new_link(rx_uri_resolve(c->base, require_string(node, keyword, value)), node);

	link->check = add_check(node, keyword);
	c->refs = lappend(c->refs, link);
}

/* ---- of the value itself ---- */

static int
require_type(const RxNode *node, const RxKeyword *keyword, const JsonbValue *value)
{
	int			type = value->type == jbvString ?
		rx_type_by_name(value->val.string.val, value->val.string.len) : 0;

	if (type == 0)
		rx_schema_refuse(node->path, keyword->name,
						 "Types are null, boolean, integer, number, string, array and object.");
	return type;
}

void
rx_compile_type(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	JsonbValue *types = value;
	int			n = 1;

	if (is_container(value, false))
		types = elements(value->val.binary.data, &n);
	if (n == 0)
		rx_schema_refuse(node->path, keyword->name, "It must not be empty.");
	node->types = 0;
	for (int i = 0; i < n; i++)
		node->types |= require_type(node, keyword, &types[i]);
	add_check(node, keyword)->max = node->types;
}

void
rx_compile_values(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	RxCheck    *check = add_check(node, keyword);

	check->values = elements(require_container(node, keyword, value, false), &check->n_values);
}

void
rx_compile_value(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	RxCheck    *check = add_check(node, keyword);

	check->values = value;
	check->n_values = 1;
}

void
rx_compile_number(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	if (value->type != jbvNumeric)
		rx_schema_refuse(node->path, keyword->name, "It must be a number.");
	if (strcmp(keyword->name, "multipleOf") == 0 &&
		!DatumGetBool(DirectFunctionCall2(numeric_gt, NumericGetDatum(value->val.numeric),
										  NumericGetDatum(int64_to_numeric(0)))))
		rx_schema_refuse(node->path, keyword->name, "It must be greater than 0.");
	add_check(node, keyword)->number = value->val.numeric;
}

void
rx_compile_count(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	add_check(node, keyword)->max = require_count(node, keyword, value);
}

static regex_t *
require_pattern(const RxNode *node, const RxKeyword *keyword, const char *s, int len)
{
	const char *reason = NULL;
	regex_t    *pattern = rx_pattern_compile(s, len, &reason);

	if (pattern == NULL)
		rx_schema_refuse(node->path, keyword->name, psprintf("\"%.*s\": %s", Min(len, 100), s, reason));
	return pattern;
}

void
rx_compile_pattern(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	RxCheck    *check = add_check(node, keyword);

	check->text = require_string(node, keyword, value);
	check->pattern = require_pattern(node, keyword, check->text, (int) strlen(check->text));
}

void
rx_compile_format(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	RxCheck    *check = add_check(node, keyword);

	check->text = require_string(node, keyword, value);
	check->format = rx_format_find(check->text, (int) strlen(check->text));
	if (check->format == NULL)
		rx_schema_refuse(node->path, keyword->name,
						 psprintf("Format \"%s\" is not supported; date-time, date, time, uuid, email, uri, ipv4 and ipv6 are.",
								  check->text));
}

/* uniqueItems: a check if it is on. */
void
rx_compile_flag(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	rx_compile_boolean(c, node, keyword, value);
	if (value->val.boolean)
		(void) add_check(node, keyword);
}

void
rx_compile_names(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	RxCheck    *check = add_check(node, keyword);

	check->values = require_names(node, keyword, value, &check->n_values);
}

/* ---- of what is inside ---- */

/* The keyword's value is a schema. */
void
rx_compile_schema(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	add_check(node, keyword)->schema = rx_schema_node(c, value, keyword_path(node, keyword));
}

void
rx_compile_unevaluated(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	node->tracks = true;
	rx_compile_schema(c, node, keyword, value);
}

/* A schema that joins the check of its group. */
void
rx_compile_rest(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	RxCheck    *check = group_check(node, keyword);

	check->schema = rx_schema_node(c, value, keyword_path(node, keyword));
	check->min = 1;				/* of contains */
	check->max = PG_INT64_MAX;
}

/* minContains and maxContains say nothing without contains, which comes first. */
void
rx_compile_contains_bound(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	int64		count = require_count(node, keyword, value);
	RxCheck    *check = group_check(node, keyword);

	if (strcmp(keyword->name, "minContains") == 0)
		check->min = count;
	else
		check->max = count;
}

void
rx_compile_properties(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	RxCheck    *check = group_check(node, keyword);
	JsonbValue *values;

	check->parts = members(require_container(node, keyword, value, true), &values, &check->n_parts);
	for (int i = 0; i < check->n_parts; i++)
		check->parts[i].schema = rx_schema_node(c, &values[i],
												step(keyword_path(node, keyword), check->parts[i].name, check->parts[i].len));
}

void
rx_compile_pattern_properties(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	RxCheck    *check = group_check(node, keyword);
	JsonbValue *values;

	check->patterns = members(require_container(node, keyword, value, true), &values, &check->n_patterns);
	for (int i = 0; i < check->n_patterns; i++)
	{
		RxPart	   *part = &check->patterns[i];

		part->pattern = require_pattern(node, keyword, part->name, part->len);
		part->schema = rx_schema_node(c, &values[i], step(keyword_path(node, keyword), part->name, part->len));
	}
}

static RxPart *
schema_list(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value, int *n)
{
	JsonbValue *values = elements(require_container(node, keyword, value, false), n);
	RxPart	   *parts = palloc0((*n + 1) * sizeof(RxPart));

	for (int i = 0; i < *n; i++)
		parts[i].schema = rx_schema_node(c, &values[i], psprintf("%s/%s/%d", node->path, keyword->name, i));
	return parts;
}

void
rx_compile_prefix(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	RxCheck    *check = group_check(node, keyword);

	check->parts = schema_list(c, node, keyword, value, &check->n_parts);
}

/* An array here is draft-07 for prefixItems. */
void
rx_compile_items(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	RxCheck    *check = group_check(node, keyword);

	if (!is_container(value, false))
		check->schema = rx_schema_node(c, value, keyword_path(node, keyword));
	else if (check->parts)
		rx_schema_refuse(node->path, keyword->name, "It must not be an array beside prefixItems.");
	else
	{
		check->parts = schema_list(c, node, keyword, value, &check->n_parts);
		node->prefix_in_items = true;
	}
}

/* Draft-07 for items beside a prefix; without one it says nothing. */
void
rx_compile_additional_items(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	RxNode	   *schema = rx_schema_node(c, value, keyword_path(node, keyword));

	if (node->prefix_in_items)
		group_check(node, keyword)->schema = schema;
}

/* ---- other schemas for the same value ---- */

void
rx_compile_schemas(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	RxCheck    *check = add_check(node, keyword);

	check->parts = schema_list(c, node, keyword, value, &check->n_parts);
	if (check->n_parts == 0)
		rx_schema_refuse(node->path, keyword->name, "It must not be empty.");
}

void
rx_compile_if(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	group_check(node, keyword)->schema = rx_schema_node(c, value, keyword_path(node, keyword));
}

void
rx_compile_then(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	group_check(node, keyword)->then_schema = rx_schema_node(c, value, keyword_path(node, keyword));
}

void
rx_compile_else(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	group_check(node, keyword)->else_schema = rx_schema_node(c, value, keyword_path(node, keyword));
}

/* Members that, when there, ask for names or for a schema of the whole object. */
void
rx_compile_dependencies(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	RxCheck    *check = add_check(node, keyword);
	bool		names_only = strcmp(keyword->name, "dependentRequired") == 0;
	bool		schemas_only = strcmp(keyword->name, "dependentSchemas") == 0;
	JsonbValue *values;

	check->parts = members(require_container(node, keyword, value, true), &values, &check->n_parts);
	for (int i = 0; i < check->n_parts; i++)
	{
		RxPart	   *part = &check->parts[i];

		if (names_only || (!schemas_only && is_container(&values[i], false)))
			part->names = require_names(node, keyword, &values[i], &part->n_names);
		else
			part->schema = rx_schema_node(c, &values[i], step(keyword_path(node, keyword), part->name, part->len));
	}
}

/* ---- for readers ---- */

void
rx_compile_string(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	(void) require_string(node, keyword, value);
}

void
rx_compile_boolean(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
	if (value->type != jbvBool)
		rx_schema_refuse(node->path, keyword->name, "It must be a boolean.");
}

void
rx_compile_any(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value)
{
}
