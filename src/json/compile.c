/*
 * compile.c
 *		From the jsonb of a schema to nodes and checks.
 *
 * Each object or boolean that stands where a schema may stand becomes a node.
 * References are linked when all nodes are there (resolve.c); only then is the
 * schema done.  Everything lies in one memory context with a copy of the
 * schema, into which names and values point.
 */
#include "reflex.h"

#include "json/json_int.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* path: of the schema that has the keyword; reason: a sentence, NULL when the keyword is unknown. */
void
rx_schema_refuse(const char *path, const char *keyword, const char *reason)
{
	if (reason == NULL)
		ereport(ERROR,
				errcode(ERRCODE_RX_INVALID),
				errmsg("JSON schema keyword \"%s\" is not supported", keyword),
				errdetail("At #%s.", path),
				errhint("Leave it out, or begin its name with \"x-\" if it is a note of your own."));
	if (keyword == NULL)
		ereport(ERROR,
				errcode(ERRCODE_RX_INVALID),
				errmsg("invalid JSON schema"),
				errdetail("At #%s: %s", path, reason));
	ereport(ERROR,
			errcode(ERRCODE_RX_INVALID),
			errmsg("invalid JSON schema keyword \"%s\"", keyword),
			errdetail("At #%s: %s", path, reason));
}

static bool
is_note(const JsonbValue *key)
{
	return key->val.string.len >= 2 && memcmp(key->val.string.val, "x-", 2) == 0;
}

static void
check_keywords(JsonbContainer *object, const char *path)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	key;

	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
		if (token == WJB_KEY && !is_note(&key) &&
			rx_keyword_find(key.val.string.val, key.val.string.len) == NULL)
			rx_schema_refuse(path, pnstrdup(key.val.string.val, key.val.string.len), NULL);
}

/* In draft-07, what stands beside a $ref is not there, but may hold definitions. */
static bool
counts_beside_ref(const RxKeyword *keyword)
{
	return strcmp(keyword->name, "$ref") == 0 || strcmp(keyword->name, "definitions") == 0;
}

static void
compile_object(RxCompiler *c, RxNode *node, JsonbContainer *object)
{
	const char *base = c->base;

	check_keywords(object, node->path);
	for (const RxKeyword *keyword = rx_keywords; keyword->name; keyword++)
	{
		JsonbValue *value = getKeyJsonValueFromContainer(object, keyword->name, strlen(keyword->name), NULL);

		if (value == NULL)
			continue;
		if (c->draft7 && !counts_beside_ref(keyword) &&
			getKeyJsonValueFromContainer(object, "$ref", 4, NULL))
			continue;
		keyword->compile(c, node, keyword, value);
	}
	c->base = base;
}

RxNode *
rx_schema_node(RxCompiler *c, JsonbValue *value, const char *path)
{
	RxNode	   *node = palloc0(sizeof(RxNode));

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	node->path = path;
	node->types = RX_ANYTHING;
	node->mark = ' ';
	c->nodes = lappend(c->nodes, node);
	if (list_length(c->nodes) > RX_SCHEMA_MAX_NODES)
		rx_schema_refuse(path, NULL, psprintf("There are more than %d schemas in it.", RX_SCHEMA_MAX_NODES));
	if (++c->depth > RX_SCHEMA_MAX_DEPTH)
		rx_schema_refuse(path, NULL, psprintf("It is more than %d schemas deep.", RX_SCHEMA_MAX_DEPTH));
	if (value->type == jbvBool)
		node->never = !value->val.boolean;
	else if (value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data))
		compile_object(c, node, value->val.binary.data);
	else
		rx_schema_refuse(path, NULL, "A schema is an object or a boolean.");
	c->depth--;
	return node;
}

/* The root of a document as a value like those inside of it. */
static JsonbValue *
root_value(Jsonb *document)
{
	JsonbValue *value;

	if (JB_ROOT_IS_SCALAR(document))
		return getIthJsonbValueFromContainer(&document->root, 0);
	value = palloc(sizeof(JsonbValue));
	value->type = jbvBinary;
	value->val.binary.data = &document->root;
	value->val.binary.len = VARSIZE(document) - VARHDRSZ;
	return value;
}

static RxNode *
compile_document(Jsonb *document)
{
	RxCompiler	c = {.base = ""};
	RxLink	   *whole = palloc0(sizeof(RxLink));
	RxNode	   *root;

	/* Before anything else: a first guess, which an $id of the root adds to. */
	whole->uri = "";
	c.resources = list_make1(whole);
	root = rx_schema_node(&c, root_value(document), "");
	whole->node = root;
	rx_schema_resolve(&c);
	return root;
}

RxSchema *
rx_schema_compile(Jsonb *schema)
{
	MemoryContext context;
	MemoryContext old;
	RxSchema   *compiled;
	Jsonb	   *copy;

	if (VARSIZE(schema) > RX_SCHEMA_MAX_SIZE)
		rx_schema_refuse("", NULL, psprintf("It has %u bytes, and may have %d.",
											VARSIZE(schema), RX_SCHEMA_MAX_SIZE));
	context = AllocSetContextCreate(CurrentMemoryContext, "reflex JSON schema", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	copy = palloc(VARSIZE(schema));
	memcpy(copy, schema, VARSIZE(schema));
	compiled = palloc(sizeof(RxSchema));
	compiled->context = context;
	compiled->root = compile_document(copy);
	MemoryContextSwitchTo(old);
	return compiled;
}

void
rx_schema_free(RxSchema *schema)
{
	MemoryContextDelete(schema->context);
}

void
rx_schema_keep(RxSchema *schema, MemoryContext parent)
{
	MemoryContextSetParent(schema->context, parent);
}
