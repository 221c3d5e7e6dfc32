/*
 * json_int.h
 *		What the files of the JSON Schema validator share with each other.
 *
 * A compiled schema is a graph of nodes, one per subschema.  A node holds
 * checks, one per keyword or group of keywords that work together (properties,
 * patternProperties and additionalProperties are one check).  The table of
 * keywords (keywords.c) says for each how it is compiled, how it is checked,
 * and which values it looks at.
 */
#ifndef RX_JSON_JSON_INT_H
#define RX_JSON_JSON_INT_H

#include "postgres.h"
#include "json/json.h"
#include "regex/regex.h"
#include "utils/numeric.h"

/* Limits of a schema: each keeps one mistake from taking the server's memory. */
#define RX_SCHEMA_MAX_SIZE (1024 * 1024)
#define RX_SCHEMA_MAX_DEPTH 100
#define RX_SCHEMA_MAX_NODES 10000
#define RX_SCHEMA_MAX_PATTERN 1000	/* bytes */

/* Types of values, as bits. */
enum
{
	RX_NULL = 1 << 0,
	RX_BOOLEAN = 1 << 1,
	RX_INTEGER = 1 << 2,		/* in what a schema admits; a value is a number */
	RX_NUMBER = 1 << 3,
	RX_STRING = 1 << 4,
	RX_ARRAY = 1 << 5,
	RX_OBJECT = 1 << 6,
	RX_ANYTHING = (1 << 7) - 1
};

typedef struct RxNode RxNode;
typedef struct RxCheck RxCheck;
typedef struct RxKeyword RxKeyword;
typedef struct RxCompiler RxCompiler;
typedef struct RxVisit RxVisit;
typedef struct RxPlace RxPlace;
typedef struct RxSeen RxSeen;

typedef bool (*RxFormat) (const char *s, int len);

/* A subschema with a name, or a name with the names that it asks for. */
typedef struct RxPart
{
	const char *name;			/* NULL in a list */
	int			len;
	regex_t    *pattern;		/* of patternProperties */
	RxNode	   *schema;			/* NULL: names it is */
	JsonbValue *names;
	int			n_names;
} RxPart;

/* A keyword at work.  Which members mean something depends on the keyword. */
struct RxCheck
{
	const RxKeyword *keyword;
	const RxNode *node;
	Numeric		number;
	int64		min;
	int64		max;			/* also the bits of "type" */
	RxFormat	format;
	regex_t    *pattern;
	const char *text;			/* of the pattern or format */
	JsonbValue *values;
	int			n_values;
	RxPart	   *parts;			/* sorted as jsonb sorts keys, where they have names */
	int			n_parts;
	RxPart	   *patterns;
	int			n_patterns;
	RxNode	   *schema;			/* of what the parts do not cover, or the only one */
	RxNode	   *then_schema;
	RxNode	   *else_schema;
};

struct RxNode
{
	const char *path;			/* JSON pointer */
	bool		never;			/* the schema false */
	bool		tracks;			/* must know what its other keywords have looked at */
	bool		prefix_in_items;	/* "items" is an array, as in draft-07 */
	char		mark;			/* resolve.c: ' ' new, 'o' being visited, 'x' done */
	int			types;			/* what "type" admits */
	List	   *checks;			/* of RxCheck, in the order of the keywords */
};

struct RxKeyword
{
	const char *name;
	int			applies;		/* types of values that it looks at; 0: says nothing of values */
	void		(*compile) (RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value);
	bool		(*check) (RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen);
};

/* Where a $ref is and where it leads; or where a name ($id, $anchor) stands. */
typedef struct RxLink
{
	char	   *uri;			/* resolved */
	RxNode	   *node;
	RxCheck    *check;			/* of a $ref */
} RxLink;

struct RxCompiler
{
	bool		draft7;			/* keywords beside $ref are ignored */
	int			depth;
	const char *base;			/* URI that references are relative to */
	List	   *nodes;			/* of RxNode */
	List	   *refs;			/* of RxLink, like the next two */
	List	   *resources;
	List	   *anchors;
};

struct RxSchema
{
	MemoryContext context;
	RxNode	   *root;
};

/* A value and how one comes to it. */
struct RxPlace
{
	const RxPlace *up;			/* NULL at the root */
	const char *key;			/* NULL: in an array */
	int			len;
	int			index;
	int			type;			/* one bit; a number is RX_NUMBER */
	JsonbValue *value;
};

/* Which members of an object or elements of an array have been looked at. */
struct RxSeen
{
	int			n;
	bool		flags[FLEXIBLE_ARRAY_MEMBER];
};

struct RxVisit
{
	int			max;			/* errors wanted; 0: the first ends it */
	int			quiet;			/* > 0: inside of what only wants a verdict */
	List	   *errors;
};

/* ---- keywords.c ---- */
extern const RxKeyword rx_keywords[];
extern const RxKeyword *rx_keyword_find(const char *name, int len);

/* ---- compile.c ---- */
extern RxNode *rx_schema_node(RxCompiler *c, JsonbValue *value, const char *path);
extern void rx_schema_refuse(const char *path, const char *keyword, const char *reason) pg_attribute_noreturn();

/* ---- operands.c: see rx_keywords ---- */
typedef void RxCompile(RxCompiler *c, RxNode *node, const RxKeyword *keyword, JsonbValue *value);
extern RxCompile rx_compile_additional_items;
extern RxCompile rx_compile_anchor;
extern RxCompile rx_compile_any;
extern RxCompile rx_compile_boolean;
extern RxCompile rx_compile_contains_bound;
extern RxCompile rx_compile_count;
extern RxCompile rx_compile_definitions;
extern RxCompile rx_compile_dependencies;
extern RxCompile rx_compile_dialect;
extern RxCompile rx_compile_else;
extern RxCompile rx_compile_flag;
extern RxCompile rx_compile_format;
extern RxCompile rx_compile_id;
extern RxCompile rx_compile_if;
extern RxCompile rx_compile_items;
extern RxCompile rx_compile_names;
extern RxCompile rx_compile_number;
extern RxCompile rx_compile_pattern;
extern RxCompile rx_compile_pattern_properties;
extern RxCompile rx_compile_prefix;
extern RxCompile rx_compile_properties;
extern RxCompile rx_compile_ref;
extern RxCompile rx_compile_rest;
extern RxCompile rx_compile_schema;
extern RxCompile rx_compile_schemas;
extern RxCompile rx_compile_string;
extern RxCompile rx_compile_then;
extern RxCompile rx_compile_type;
extern RxCompile rx_compile_unevaluated;
extern RxCompile rx_compile_value;
extern RxCompile rx_compile_values;

/* ---- resolve.c ---- */
extern void rx_schema_resolve(RxCompiler *c);

/* ---- validate.c ---- */
extern bool rx_visit(RxVisit *visit, const RxNode *node, const RxPlace *at, RxSeen *seen);
extern bool rx_visit_quiet(RxVisit *visit, const RxNode *node, const RxPlace *at, RxSeen *seen);
extern bool rx_visit_collects(const RxVisit *visit);
extern bool rx_visit_goes_on(const RxVisit *visit, bool valid);
extern void rx_visit_error(RxVisit *visit, const RxNode *node, const char *keyword, const RxPlace *at,
						   const char *format,...) pg_attribute_printf(5, 6);

/* False, with an error if they are wanted: the text of it is made only then. */
#define rx_visit_fail(visit, ...) \
	(rx_visit_collects(visit) ? (rx_visit_error((visit), __VA_ARGS__), false) : false)
extern int	rx_value_type(const JsonbValue *value);
extern int	rx_value_size(const JsonbValue *value);

/* ---- applicators.c and assertions.c: see rx_keywords ---- */
typedef bool RxCheckFn(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen);
extern RxCheckFn rx_check_all;
extern RxCheckFn rx_check_any;
extern RxCheckFn rx_check_contains;
extern RxCheckFn rx_check_dependencies;
extern RxCheckFn rx_check_if;
extern RxCheckFn rx_check_items;
extern RxCheckFn rx_check_members;
extern RxCheckFn rx_check_names;
extern RxCheckFn rx_check_not;
extern RxCheckFn rx_check_one;
extern RxCheckFn rx_check_ref;
extern RxCheckFn rx_check_unevaluated_items;
extern RxCheckFn rx_check_unevaluated_members;
extern RxCheckFn rx_check_exclusive_maximum;
extern RxCheckFn rx_check_exclusive_minimum;
extern RxCheckFn rx_check_format;
extern RxCheckFn rx_check_max_items;
extern RxCheckFn rx_check_max_length;
extern RxCheckFn rx_check_max_members;
extern RxCheckFn rx_check_maximum;
extern RxCheckFn rx_check_min_items;
extern RxCheckFn rx_check_min_length;
extern RxCheckFn rx_check_min_members;
extern RxCheckFn rx_check_minimum;
extern RxCheckFn rx_check_multiple;
extern RxCheckFn rx_check_pattern;
extern RxCheckFn rx_check_required;
extern RxCheckFn rx_check_type;
extern RxCheckFn rx_check_unique;
extern RxCheckFn rx_check_values;
extern bool rx_values_equal(const JsonbValue *a, const JsonbValue *b);
extern char *rx_type_names(int types);
extern int	rx_type_by_name(const char *name, int len);

/* ---- pattern.c ---- */
extern regex_t *rx_pattern_compile(const char *pattern, int len, const char **reason);
extern bool rx_pattern_matches(regex_t *pattern, const char *s, int len);

/* ---- format.c ---- */
extern RxFormat rx_format_find(const char *name, int len);

/* ---- uri.c ---- */
extern char *rx_uri_resolve(const char *base, const char *reference);
extern char *rx_uri_decode(const char *s);

#endif							/* RX_JSON_JSON_INT_H */
