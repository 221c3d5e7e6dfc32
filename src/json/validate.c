/*
 * validate.c
 *		Holds a value against a compiled schema.
 *
 * One walk over the schema's graph and the value at once.  It has two modes:
 * for a verdict the first failure ends it; for a report it goes on until it
 * has as many errors as are wanted.  Inside of what only needs a verdict (not,
 * if, the branches of anyOf) a report is quiet.
 *
 * Time is bounded by nothing but statement_timeout: a schema can be written
 * that takes exponentially long, so every step can be cancelled.
 */
#include "reflex.h"

#include "json/json_int.h"
#include "miscadmin.h"

int
rx_value_type(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return RX_NULL;
		case jbvBool:
			return RX_BOOLEAN;
		case jbvNumeric:
			return RX_NUMBER;
		case jbvString:
			return RX_STRING;
		default:
			return JsonContainerIsObject(value->val.binary.data) ? RX_OBJECT : RX_ARRAY;
	}
}

/* Of its members or elements; 0 for what has none. */
int
rx_value_size(const JsonbValue *value)
{
	return value->type == jbvBinary ? (int) JsonContainerSize(value->val.binary.data) : 0;
}

/* Are errors wanted here? */
bool
rx_visit_collects(const RxVisit *visit)
{
	return visit->quiet == 0 && list_length(visit->errors) < visit->max;
}

/* After a check: shall the rest be looked at? */
bool
rx_visit_goes_on(const RxVisit *visit, bool valid)
{
	return valid || rx_visit_collects(visit);
}

static void
append_path(StringInfo out, const RxPlace *at)
{
	if (at->up == NULL)
		return;
	append_path(out, at->up);
	appendStringInfoChar(out, '/');
	if (at->key == NULL)
		appendStringInfo(out, "%d", at->index);
	for (int i = 0; at->key && i < at->len; i++)
	{
		if (at->key[i] == '~' || at->key[i] == '/')
			appendStringInfoString(out, at->key[i] == '~' ? "~0" : "~1");
		else
			appendStringInfoChar(out, at->key[i]);
	}
}

/* keyword NULL: the schema as a whole. */
void
rx_visit_error(RxVisit *visit, const RxNode *node, const char *keyword, const RxPlace *at,
			   const char *format,...)
{
	RxSchemaError *error;
	StringInfoData path;
	StringInfoData message;

	initStringInfo(&path);
	append_path(&path, at);
	initStringInfo(&message);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, format);
		needed = appendStringInfoVA(&message, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&message, needed);
	}
	error = palloc(sizeof(RxSchemaError));
	error->instance_path = path.data;
	error->schema_path = keyword ? psprintf("%s/%s", node->path, keyword) : pstrdup(node->path);
	error->message = message.data;
	visit->errors = lappend(visit->errors, error);
}

static RxSeen *
new_seen(const RxPlace *at)
{
	int			n = rx_value_size(at->value);
	RxSeen	   *seen = palloc0(offsetof(RxSeen, flags) + n * sizeof(bool));

	seen->n = n;
	return seen;
}

/*
 * What a schema has looked at counts for those around it only if it holds, so
 * each gathers for itself first.
 */
static void
merge_seen(RxSeen *into, RxSeen *own, bool valid)
{
	for (int i = 0; into && valid && i < own->n; i++)
		into->flags[i] |= own->flags[i];
	pfree(own);
}

bool
rx_visit(RxVisit *visit, const RxNode *node, const RxPlace *at, RxSeen *seen)
{
	RxSeen	   *own = seen || node->tracks ? new_seen(at) : NULL;
	bool		valid = true;
	ListCell   *cell;

	CHECK_FOR_INTERRUPTS();
	check_stack_depth();
	if (node->never)
		valid = rx_visit_fail(visit, node, NULL, at, "is not allowed here");
	foreach(cell, node->checks)
	{
		const RxCheck *check = lfirst(cell);

		if ((check->keyword->applies & at->type) == 0 ||
			check->keyword->check(visit, check, at, own))
			continue;
		valid = false;
		/* Of a value of the wrong type there is nothing more to say. */
		if (!rx_visit_collects(visit) || check->keyword->check == rx_check_type)
			break;
	}
	if (own)
		merge_seen(seen, own, valid);
	return valid;
}

bool
rx_visit_quiet(RxVisit *visit, const RxNode *node, const RxPlace *at, RxSeen *seen)
{
	bool		valid;

	visit->quiet++;
	valid = rx_visit(visit, node, at, seen);
	visit->quiet--;
	return valid;
}

static bool
visit_document(RxVisit *visit, const RxSchema *schema, Jsonb *instance)
{
	JsonbValue	value;
	RxPlace		root = {.value = &value};

	if (JB_ROOT_IS_SCALAR(instance))
		value = *getIthJsonbValueFromContainer(&instance->root, 0);
	else
	{
		value.type = jbvBinary;
		value.val.binary.data = &instance->root;
		value.val.binary.len = VARSIZE(instance) - VARHDRSZ;
	}
	root.type = rx_value_type(&value);
	return rx_visit(visit, schema->root, &root, NULL);
}

bool
rx_schema_is_valid(const RxSchema *schema, Jsonb *instance)
{
	RxVisit		visit = {0};

	return visit_document(&visit, schema, instance);
}

List *
rx_schema_errors(const RxSchema *schema, Jsonb *instance, int max)
{
	RxVisit		visit = {.max = max};

	(void) visit_document(&visit, schema, instance);
	return visit.errors;
}

char *
rx_schema_report(const RxSchema *schema, Jsonb *instance, const char *root, int max)
{
	List	   *errors = rx_schema_errors(schema, instance, max);
	StringInfoData out;
	ListCell   *cell;

	initStringInfo(&out);
	foreach(cell, errors)
	{
		const RxSchemaError *error = lfirst(cell);

		appendStringInfo(&out, "%s%s: %s", out.len > 0 ? "\n" : "",
						 error->instance_path[0] ? error->instance_path : root, error->message);
	}
	return out.data;
}
