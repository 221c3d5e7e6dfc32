/*
 * assertions.c
 *		The keywords that say something of a value by itself.
 *
 * Numbers are numeric, so that every comparison is exact: 0.3 is a multiple of
 * 0.1, 1.0 is an integer, and 12345678901234567890 is not its neighbour.
 */
#include "reflex.h"

#include "json/json_int.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#define SHOWN 100				/* bytes of a value in a message */

static const struct
{
	const char *name;
	int			type;
}			type_names[] = {
	{"string", RX_STRING}, {"number", RX_NUMBER}, {"integer", RX_INTEGER}, {"boolean", RX_BOOLEAN},
	{"array", RX_ARRAY}, {"object", RX_OBJECT}, {"null", RX_NULL}
};

int
rx_type_by_name(const char *name, int len)
{
	for (int i = 0; i < (int) lengthof(type_names); i++)
		if ((int) strlen(type_names[i].name) == len && memcmp(type_names[i].name, name, len) == 0)
			return type_names[i].type;
	return 0;
}

/* "string or null" */
char *
rx_type_names(int types)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < (int) lengthof(type_names); i++)
		if (types & type_names[i].type)
			appendStringInfo(&out, "%s%s", out.len > 0 ? " or " : "", type_names[i].name);
	return out.data;
}

static char *
shown(const JsonbValue *value)
{
	JsonbValue	copy = *value;
	Jsonb	   *jsonb = JsonbValueToJsonb(&copy);
	char	   *string = JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));
	int			len = (int) strlen(string);

	if (len <= SHOWN)
		return string;
	return psprintf("%.*s...", pg_mbcliplen(string, len, SHOWN), string);
}

static char *
shown_list(const JsonbValue *values, int n)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < n && out.len <= SHOWN * 2; i++)
		appendStringInfo(&out, "%s%s", i > 0 ? ", " : "", out.len > SHOWN ? "..." : shown(&values[i]));
	return out.data;
}

static char *
shown_number(Numeric number)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));
}

static bool
is_integer(const JsonbValue *value)
{
	return value->type == jbvNumeric &&
		DatumGetInt32(DirectFunctionCall1(numeric_min_scale, NumericGetDatum(value->val.numeric))) == 0;
}

bool
rx_check_type(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	if ((check->max & at->type) || ((check->max & RX_INTEGER) && is_integer(at->value)))
		return true;
	return rx_visit_fail(visit, check->node, check->keyword->name, at, "is of type %s, not %s",
						 rx_type_names(at->type), rx_type_names((int) check->max));
}

static int
compare_numbers(Numeric a, Numeric b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a), NumericGetDatum(b)));
}

/* An order of all values in which equal ones compare as 0. */
static int
compare_values(const JsonbValue *a, const JsonbValue *b)
{
	if (a->type != b->type)
		return (int) a->type - (int) b->type;
	switch (a->type)
	{
		case jbvNull:
			return 0;
		case jbvBool:
			return (int) a->val.boolean - (int) b->val.boolean;
		case jbvNumeric:
			return compare_numbers(a->val.numeric, b->val.numeric);
		case jbvString:
			if (a->val.string.len != b->val.string.len)
				return a->val.string.len - b->val.string.len;
			return memcmp(a->val.string.val, b->val.string.val, a->val.string.len);
		default:
			return compareJsonbContainers(a->val.binary.data, b->val.binary.data);
	}
}

bool
rx_values_equal(const JsonbValue *a, const JsonbValue *b)
{
	return compare_values(a, b) == 0;
}

/* enum, const */
bool
rx_check_values(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	bool		is_const = strcmp(check->keyword->name, "const") == 0;

	for (int i = 0; i < check->n_values; i++)
		if (rx_values_equal(&check->values[i], at->value))
			return true;
	return rx_visit_fail(visit, check->node, check->keyword->name, at,
						 is_const ? "is not %s" : "is not one of [%s]",
						 shown_list(check->values, check->n_values));
}

/* ---- numbers ---- */

static bool
check_bound(RxVisit *visit, const RxCheck *check, const RxPlace *at, bool valid, const char *reason)
{
	return valid || rx_visit_fail(visit, check->node, check->keyword->name, at, "%s %s",
								  reason, shown_number(check->number));
}

bool
rx_check_minimum(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	return check_bound(visit, check, at, compare_numbers(at->value->val.numeric, check->number) >= 0, "is less than");
}

bool
rx_check_maximum(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	return check_bound(visit, check, at, compare_numbers(at->value->val.numeric, check->number) <= 0, "is greater than");
}

bool
rx_check_exclusive_minimum(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	return check_bound(visit, check, at, compare_numbers(at->value->val.numeric, check->number) > 0, "is not greater than");
}

bool
rx_check_exclusive_maximum(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	return check_bound(visit, check, at, compare_numbers(at->value->val.numeric, check->number) < 0, "is not less than");
}

bool
rx_check_multiple(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	Datum		rest = DirectFunctionCall2(numeric_mod, NumericGetDatum(at->value->val.numeric),
										   NumericGetDatum(check->number));

	return check_bound(visit, check, at, compare_numbers(DatumGetNumeric(rest), int64_to_numeric(0)) == 0,
					   "is not a multiple of");
}

/* ---- strings ---- */

static bool
check_size(RxVisit *visit, const RxCheck *check, const RxPlace *at, bool valid, const char *what)
{
	return valid || rx_visit_fail(visit, check->node, check->keyword->name, at, "%s " INT64_FORMAT, what, check->max);
}

static int64
length_of(const JsonbValue *value)
{
	return pg_mbstrlen_with_len(value->val.string.val, value->val.string.len);
}

bool
rx_check_min_length(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	return check_size(visit, check, at, length_of(at->value) >= check->max, "has fewer characters than");
}

bool
rx_check_max_length(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	return check_size(visit, check, at, length_of(at->value) <= check->max, "has more characters than");
}

bool
rx_check_pattern(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	return rx_pattern_matches(check->pattern, at->value->val.string.val, at->value->val.string.len) ||
		rx_visit_fail(visit, check->node, check->keyword->name, at, "does not match the pattern %s", check->text);
}

bool
rx_check_format(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	return check->format(at->value->val.string.val, at->value->val.string.len) ||
		rx_visit_fail(visit, check->node, check->keyword->name, at, "is not of the format %s", check->text);
}

/* ---- objects ---- */

bool
rx_check_required(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	bool		valid = true;

	for (int i = 0; i < check->n_values && rx_visit_goes_on(visit, valid); i++)
	{
		const JsonbValue *name = &check->values[i];
		JsonbValue	unused;

		if (getKeyJsonValueFromContainer(at->value->val.binary.data, name->val.string.val,
										 name->val.string.len, &unused) == NULL)
			valid = rx_visit_fail(visit, check->node, check->keyword->name, at, "\"%.*s\" is missing",
								  name->val.string.len, name->val.string.val);
	}
	return valid;
}

bool
rx_check_min_members(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	return check_size(visit, check, at, rx_value_size(at->value) >= check->max, "has fewer properties than");
}

bool
rx_check_max_members(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	return check_size(visit, check, at, rx_value_size(at->value) <= check->max, "has more properties than");
}

/* ---- arrays ---- */

bool
rx_check_min_items(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	return check_size(visit, check, at, rx_value_size(at->value) >= check->max, "has fewer items than");
}

bool
rx_check_max_items(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	return check_size(visit, check, at, rx_value_size(at->value) <= check->max, "has more items than");
}

typedef struct Item
{
	JsonbValue	value;
	int			index;
} Item;

static int
compare_items(const void *a, const void *b)
{
	const Item *first = a;
	const Item *second = b;
	int			order = compare_values(&first->value, &second->value);

	CHECK_FOR_INTERRUPTS();
	return order != 0 ? order : first->index - second->index;
}

/* Sorted, equal ones are neighbours: not a matter of n^2 comparisons. */
bool
rx_check_unique(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	int			n = rx_value_size(at->value);
	Item	   *items = palloc((n + 1) * sizeof(Item));
	JsonbIterator *it = JsonbIteratorInit(at->value->val.binary.data);
	int			first = -1;
	int			second = n;

	(void) JsonbIteratorNext(&it, &items[0].value, false);
	for (int i = 0; i < n; i++)
	{
		(void) JsonbIteratorNext(&it, &items[i].value, true);
		items[i].index = i;
	}
	qsort(items, n, sizeof(Item), compare_items);
	for (int i = 1; i < n; i++)
		if (items[i].index < second && rx_values_equal(&items[i - 1].value, &items[i].value))
		{
			first = items[i - 1].index;
			second = items[i].index;
		}
	pfree(items);
	return first < 0 ||
		rx_visit_fail(visit, check->node, check->keyword->name, at, "items %d and %d are equal", first, second);
}
