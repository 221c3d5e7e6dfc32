/*
 * applicators.c
 *		The keywords that hold parts of a value, or the whole of it once more,
 *		against other schemas.
 *
 * Those that look at members or elements note in seen which they were, for
 * unevaluatedProperties and unevaluatedItems; seen is NULL where nobody asks.
 */
#include "reflex.h"

#include "json/json_int.h"

/* ---- walking over members and elements ---- */

typedef struct Walk
{
	JsonbIterator *it;
	bool		object;
	JsonbValue	key;
	JsonbValue	value;
	RxPlace		place;
} Walk;

static void
begin_walk(Walk *walk, const RxPlace *at)
{
	JsonbValue	unused;

	memset(walk, 0, sizeof(Walk));
	walk->it = JsonbIteratorInit(at->value->val.binary.data);
	walk->object = JsonbIteratorNext(&walk->it, &unused, false) == WJB_BEGIN_OBJECT;
	walk->place.up = at;
	walk->place.index = -1;
	walk->place.value = &walk->value;
}

/* The next one, in stored order: of members that is by length and bytes of the key. */
static bool
next_of(Walk *walk)
{
	if (walk->object)
	{
		if (JsonbIteratorNext(&walk->it, &walk->key, false) != WJB_KEY)
			return false;
		walk->place.key = walk->key.val.string.val;
		walk->place.len = walk->key.val.string.len;
		(void) JsonbIteratorNext(&walk->it, &walk->value, true);
	}
	else if (JsonbIteratorNext(&walk->it, &walk->value, true) != WJB_ELEM)
		return false;
	walk->place.index++;
	walk->place.type = rx_value_type(&walk->value);
	return true;
}

/* The iterator frees itself only when it comes to its end. */
static void
end_walk(Walk *walk)
{
	if (walk->it)
		pfree(walk->it);
}

static void
note(RxSeen *seen, int index)
{
	if (seen)
		seen->flags[index] = true;
}

static bool
has_member(const RxPlace *at, const char *name, int len)
{
	JsonbValue	unused;

	return getKeyJsonValueFromContainer(at->value->val.binary.data, name, len, &unused) != NULL;
}

/* ---- members ---- */

static const RxPart *
find_part(const RxPart *parts, int n, const char *name, int len)
{
	int			low = 0;

	while (low < n)
	{
		int			middle = (low + n) / 2;
		int			order = len != parts[middle].len ? len - parts[middle].len :
			memcmp(name, parts[middle].name, len);

		if (order == 0)
			return &parts[middle];
		if (order < 0)
			n = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static bool
refuse_member(RxVisit *visit, const RxCheck *check, const char *keyword, const RxPlace *member)
{
	return rx_visit_fail(visit, check->node, keyword, member->up, "\"%.*s\" is not allowed", member->len, member->key);
}

static bool
check_member(RxVisit *visit, const RxCheck *check, const RxPlace *member, RxSeen *seen)
{
	const RxPart *part = find_part(check->parts, check->n_parts, member->key, member->len);
	bool		covered = part != NULL;
	bool		valid = part == NULL || rx_visit(visit, part->schema, member, NULL);

	for (int i = 0; i < check->n_patterns && rx_visit_goes_on(visit, valid); i++)
	{
		if (!rx_pattern_matches(check->patterns[i].pattern, member->key, member->len))
			continue;
		covered = true;
		valid &= rx_visit(visit, check->patterns[i].schema, member, NULL);
	}
	if (covered || check->schema)
		note(seen, member->index);
	if (covered || check->schema == NULL)
		return valid;
	if (check->schema->never)
		return refuse_member(visit, check, "additionalProperties", member);
	return rx_visit(visit, check->schema, member, NULL);
}

/* properties, patternProperties, additionalProperties */
bool
rx_check_members(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	bool		valid = true;
	Walk		walk;

	begin_walk(&walk, at);
	while (rx_visit_goes_on(visit, valid) && next_of(&walk))
		valid &= check_member(visit, check, &walk.place, seen);
	end_walk(&walk);
	return valid;
}

/* propertyNames */
bool
rx_check_names(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	bool		valid = true;
	Walk		walk;

	begin_walk(&walk, at);
	while (rx_visit_goes_on(visit, valid) && next_of(&walk))
	{
		RxPlace		name = {.up = at, .type = RX_STRING, .value = &walk.key};

		if (!rx_visit_quiet(visit, check->schema, &name, NULL))
			valid = rx_visit_fail(visit, check->node, check->keyword->name, at, "\"%.*s\" is not allowed as a name",
								  walk.place.len, walk.place.key);
	}
	end_walk(&walk);
	return valid;
}

bool
rx_check_unevaluated_members(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	bool		valid = true;
	Walk		walk;

	begin_walk(&walk, at);
	while (rx_visit_goes_on(visit, valid) && next_of(&walk))
	{
		if (seen->flags[walk.place.index])
			continue;
		note(seen, walk.place.index);
		if (check->schema->never)
			valid = refuse_member(visit, check, check->keyword->name, &walk.place);
		else
			valid &= rx_visit(visit, check->schema, &walk.place, NULL);
	}
	end_walk(&walk);
	return valid;
}

static bool
check_names_of(RxVisit *visit, const RxCheck *check, const RxPart *part, const RxPlace *at)
{
	bool		valid = true;

	for (int i = 0; i < part->n_names && rx_visit_goes_on(visit, valid); i++)
	{
		const JsonbValue *name = &part->names[i];

		if (!has_member(at, name->val.string.val, name->val.string.len))
			valid = rx_visit_fail(visit, check->node, check->keyword->name, at,
								  "\"%.*s\" is missing, which \"%.*s\" asks for",
								  name->val.string.len, name->val.string.val, part->len, part->name);
	}
	return valid;
}

/* dependentRequired, dependentSchemas, dependencies */
bool
rx_check_dependencies(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	bool		valid = true;

	for (int i = 0; i < check->n_parts && rx_visit_goes_on(visit, valid); i++)
	{
		const RxPart *part = &check->parts[i];

		if (!has_member(at, part->name, part->len))
			continue;
		valid &= part->schema ? rx_visit(visit, part->schema, at, seen) : check_names_of(visit, check, part, at);
	}
	return valid;
}

/* ---- elements ---- */

/* prefixItems, items, additionalItems */
bool
rx_check_items(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	bool		valid = true;
	Walk		walk;

	begin_walk(&walk, at);
	while (rx_visit_goes_on(visit, valid) && next_of(&walk))
	{
		int			i = walk.place.index;
		const RxNode *schema = i < check->n_parts ? check->parts[i].schema : check->schema;

		if (schema == NULL)
			break;
		note(seen, i);
		valid &= rx_visit(visit, schema, &walk.place, NULL);
	}
	end_walk(&walk);
	return valid;
}

/* contains, minContains, maxContains */
bool
rx_check_contains(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	int64		found = 0;
	Walk		walk;

	if (check->schema == NULL)
		return true;
	begin_walk(&walk, at);
	while (next_of(&walk))
	{
		if (!rx_visit_quiet(visit, check->schema, &walk.place, NULL))
			continue;
		note(seen, walk.place.index);
		found++;
	}
	if (found < check->min)
		return rx_visit_fail(visit, check->node, "contains", at, "has " INT64_FORMAT
							 " of the items that it must have at least " INT64_FORMAT " of", found, check->min);
	if (found > check->max)
		return rx_visit_fail(visit, check->node, "maxContains", at, "has " INT64_FORMAT
							 " of the items that it may have at most " INT64_FORMAT " of", found, check->max);
	return true;
}

bool
rx_check_unevaluated_items(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	bool		valid = true;
	Walk		walk;

	begin_walk(&walk, at);
	while (rx_visit_goes_on(visit, valid) && next_of(&walk))
	{
		if (seen->flags[walk.place.index])
			continue;
		note(seen, walk.place.index);
		valid &= rx_visit(visit, check->schema, &walk.place, NULL);
	}
	end_walk(&walk);
	return valid;
}

/* ---- the same value ---- */

bool
rx_check_ref(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	return rx_visit(visit, check->schema, at, seen);
}

bool
rx_check_all(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	bool		valid = true;

	for (int i = 0; i < check->n_parts && rx_visit_goes_on(visit, valid); i++)
		valid &= rx_visit(visit, check->parts[i].schema, at, seen);
	return valid;
}

/* May the schema hold for a value of this type, as far as "type" says? */
static bool
admits(const RxNode *node, const RxPlace *at)
{
	ListCell   *cell;
	int			types = at->type == RX_NUMBER ? RX_NUMBER | RX_INTEGER : at->type;

	if (node->never || (node->types & types) == 0)
		return false;
	foreach(cell, node->checks)
	{
		const RxCheck *check = lfirst(cell);

		if (check->keyword->check == rx_check_ref && !admits(check->schema, at))
			return false;
	}
	return true;
}

/*
 * Of the schemas that might have held, none does.  If there is only one for
 * values of this type (as in "an object or null") its errors say more.
 */
static bool
fail_of(RxVisit *visit, const RxCheck *check, const RxPlace *at)
{
	const RxNode *only = NULL;
	int			n = 0;

	for (int i = 0; i < check->n_parts; i++)
		if (admits(check->parts[i].schema, at))
		{
			only = check->parts[i].schema;
			n++;
		}
	if (n == 1)
		return rx_visit(visit, only, at, NULL);
	return rx_visit_fail(visit, check->node, check->keyword->name, at,
						 "matches none of the %d schemas of %s", check->n_parts, check->keyword->name);
}

bool
rx_check_any(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	bool		valid = false;

	/* Where it matters what was looked at, all that hold count. */
	for (int i = 0; i < check->n_parts && (seen || !valid); i++)
		valid |= rx_visit_quiet(visit, check->parts[i].schema, at, seen);
	return valid || (rx_visit_goes_on(visit, false) && fail_of(visit, check, at));
}

bool
rx_check_one(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	int			first = -1;

	for (int i = 0; i < check->n_parts; i++)
	{
		if (!rx_visit_quiet(visit, check->parts[i].schema, at, seen))
			continue;
		if (first >= 0)
			return rx_visit_fail(visit, check->node, check->keyword->name, at,
								 "matches schemas %d and %d of oneOf, and may match only one", first, i);
		first = i;
	}
	return first >= 0 || (rx_visit_goes_on(visit, false) && fail_of(visit, check, at));
}

bool
rx_check_not(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	return !rx_visit_quiet(visit, check->schema, at, NULL) ||
		rx_visit_fail(visit, check->node, check->keyword->name, at, "matches the schema of not");
}

/* if, then, else */
bool
rx_check_if(RxVisit *visit, const RxCheck *check, const RxPlace *at, RxSeen *seen)
{
	const RxNode *next;

	if (check->schema == NULL)
		return true;
	next = rx_visit_quiet(visit, check->schema, at, seen) ? check->then_schema : check->else_schema;
	return next == NULL || rx_visit(visit, next, at, seen);
}
