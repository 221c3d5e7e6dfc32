/*
 * json.h
 *		JSON Schema on jsonb: what the rest of reflex calls.
 *
 * A schema is compiled once and then held against any number of values.  What
 * is understood is draft 2020-12 with the spellings of draft-07; whatever a
 * schema says beyond that is refused by name when it is compiled, never
 * ignored.
 */
#ifndef RX_JSON_JSON_H
#define RX_JSON_JSON_H

#include "postgres.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

typedef struct RxSchema RxSchema;

/* One thing that is wrong with a value. */
typedef struct RxSchemaError
{
	char	   *instance_path;	/* JSON pointer into the value, "" for the whole */
	char	   *schema_path;	/* JSON pointer to the keyword that says so */
	char	   *message;
} RxSchemaError;

/*
 * Compiles the schema in a new memory context below the current one, which is
 * freed with rx_schema_free or with its parent.  Raises PT422.
 */
extern RxSchema *rx_schema_compile(Jsonb *schema);
extern void rx_schema_free(RxSchema *schema);

/* Moves it below another context, and to another life. */
extern void rx_schema_keep(RxSchema *schema, MemoryContext parent);

/* The same from this process's cache; good until the next call of it. */
extern RxSchema *rx_schema_cached(Jsonb *schema);

extern bool rx_schema_is_valid(const RxSchema *schema, Jsonb *instance);

/* What is wrong with it: of RxSchemaError, at most max of them, in a fixed order. */
extern List *rx_schema_errors(const RxSchema *schema, Jsonb *instance, int max);

/* The same as lines of "pointer: reason"; root is how the whole is called. */
extern char *rx_schema_report(const RxSchema *schema, Jsonb *instance, const char *root, int max);

#endif							/* RX_JSON_JSON_H */
