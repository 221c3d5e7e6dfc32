/*
 * keywords.c
 *		The keywords of JSON Schema that reflex knows, in one table.
 *
 * A schema is compiled in the order of this table, and its errors are told in
 * that order: first what keywords point to, then the type, then what concerns
 * the value itself, then what is inside of it, then other schemas for the same
 * value, and last what asks for all that nobody else has looked at.
 *
 * What is not here is refused.  Keywords that begin with x- are annotations.
 */
#include "reflex.h"

#include "json/json_int.h"

const RxKeyword rx_keywords[] = {
	/* what a schema is called, and what it holds for others */
	{"$schema", 0, rx_compile_dialect, NULL},
	{"$id", 0, rx_compile_id, NULL},
	{"$anchor", 0, rx_compile_anchor, NULL},
	{"$defs", 0, rx_compile_definitions, NULL},
	{"definitions", 0, rx_compile_definitions, NULL},
	{"$ref", RX_ANYTHING, rx_compile_ref, rx_check_ref},

	/* the value */
	{"type", RX_ANYTHING, rx_compile_type, rx_check_type},
	{"enum", RX_ANYTHING, rx_compile_values, rx_check_values},
	{"const", RX_ANYTHING, rx_compile_value, rx_check_values},
	{"multipleOf", RX_NUMBER, rx_compile_number, rx_check_multiple},
	{"minimum", RX_NUMBER, rx_compile_number, rx_check_minimum},
	{"maximum", RX_NUMBER, rx_compile_number, rx_check_maximum},
	{"exclusiveMinimum", RX_NUMBER, rx_compile_number, rx_check_exclusive_minimum},
	{"exclusiveMaximum", RX_NUMBER, rx_compile_number, rx_check_exclusive_maximum},
	{"minLength", RX_STRING, rx_compile_count, rx_check_min_length},
	{"maxLength", RX_STRING, rx_compile_count, rx_check_max_length},
	{"pattern", RX_STRING, rx_compile_pattern, rx_check_pattern},
	{"format", RX_STRING, rx_compile_format, rx_check_format},

	/* the members of an object */
	{"required", RX_OBJECT, rx_compile_names, rx_check_required},
	{"minProperties", RX_OBJECT, rx_compile_count, rx_check_min_members},
	{"maxProperties", RX_OBJECT, rx_compile_count, rx_check_max_members},
	{"propertyNames", RX_OBJECT, rx_compile_schema, rx_check_names},
	{"properties", RX_OBJECT, rx_compile_properties, rx_check_members},
	{"patternProperties", RX_OBJECT, rx_compile_pattern_properties, rx_check_members},
	{"additionalProperties", RX_OBJECT, rx_compile_rest, rx_check_members},

	/* the elements of an array */
	{"minItems", RX_ARRAY, rx_compile_count, rx_check_min_items},
	{"maxItems", RX_ARRAY, rx_compile_count, rx_check_max_items},
	{"uniqueItems", RX_ARRAY, rx_compile_flag, rx_check_unique},
	{"prefixItems", RX_ARRAY, rx_compile_prefix, rx_check_items},
	{"items", RX_ARRAY, rx_compile_items, rx_check_items},
	{"additionalItems", RX_ARRAY, rx_compile_additional_items, rx_check_items},
	{"contains", RX_ARRAY, rx_compile_rest, rx_check_contains},
	{"minContains", RX_ARRAY, rx_compile_contains_bound, rx_check_contains},
	{"maxContains", RX_ARRAY, rx_compile_contains_bound, rx_check_contains},

	/* other schemas for the same value */
	{"allOf", RX_ANYTHING, rx_compile_schemas, rx_check_all},
	{"anyOf", RX_ANYTHING, rx_compile_schemas, rx_check_any},
	{"oneOf", RX_ANYTHING, rx_compile_schemas, rx_check_one},
	{"not", RX_ANYTHING, rx_compile_schema, rx_check_not},
	{"if", RX_ANYTHING, rx_compile_if, rx_check_if},
	{"then", RX_ANYTHING, rx_compile_then, rx_check_if},
	{"else", RX_ANYTHING, rx_compile_else, rx_check_if},
	{"dependentRequired", RX_OBJECT, rx_compile_dependencies, rx_check_dependencies},
	{"dependentSchemas", RX_OBJECT, rx_compile_dependencies, rx_check_dependencies},
	{"dependencies", RX_OBJECT, rx_compile_dependencies, rx_check_dependencies},

	/* all that is left */
	{"unevaluatedItems", RX_ARRAY, rx_compile_unevaluated, rx_check_unevaluated_items},
	{"unevaluatedProperties", RX_OBJECT, rx_compile_unevaluated, rx_check_unevaluated_members},

	/* for readers; the standard has them assert nothing */
	{"title", 0, rx_compile_string, NULL},
	{"description", 0, rx_compile_string, NULL},
	{"$comment", 0, rx_compile_string, NULL},
	{"default", 0, rx_compile_any, NULL},
	{"examples", 0, rx_compile_any, NULL},
	{"deprecated", 0, rx_compile_boolean, NULL},
	{"readOnly", 0, rx_compile_boolean, NULL},
	{"writeOnly", 0, rx_compile_boolean, NULL},
	{"contentEncoding", 0, rx_compile_string, NULL},
	{"contentMediaType", 0, rx_compile_string, NULL},
	{"contentSchema", 0, rx_compile_any, NULL},
	{NULL}
};

const RxKeyword *
rx_keyword_find(const char *name, int len)
{
	for (const RxKeyword *keyword = rx_keywords; keyword->name; keyword++)
		if ((int) strlen(keyword->name) == len && memcmp(keyword->name, name, len) == 0)
			return keyword;
	return NULL;
}
