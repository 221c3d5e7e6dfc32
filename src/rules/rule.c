/*
 * rule.c
 *		Rules as the worker holds them: reading the definitions, matching.
 *
 * The definitions are kept until the version of the catalog has moved, which is
 * looked at after the events were received: a rule that was committed before an
 * event was is then sure to be seen with it.
 */
#include "reflex.h"

#include "catalog/pg_type.h"
#include "pg/spi.h"
#include "rules/rules_int.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

static const char load_sql[] =
"SELECT name, owner, owner_oid, since_seq, since_held, types, action, call FROM reflex_internal.enabled_rules()";

static const char event_sql[] =
"SELECT reflex_internal.rule_event($1, $2, $3, $4, $5, $6, $7, $8)";

static void
read_types(RxRule *rule, Datum array)
{
	Datum	   *elems;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elems, NULL, &n);
	rule->types = palloc_array(RxTypePattern, n);
	rule->n_types = n;
	for (int i = 0; i < n; i++)
	{
		RxTypePattern *pattern = &rule->types[i];
		char	   *type = TextDatumGetCString(elems[i]);
		int			len = strlen(type);

		pattern->prefix = len >= 2 && strcmp(type + len - 2, ".*") == 0;
		pattern->text = type;
		pattern->len = pattern->prefix ? len - 1 : len;
	}
}

/* Bounds of half-open ranges, one after the other. */
static void
read_held(RxRule *rule, Datum array)
{
	Datum	   *elems;

	deconstruct_array(DatumGetArrayTypeP(array), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &elems, NULL, &rule->n_held);
	rule->held = palloc_array(int64, rule->n_held);
	for (int i = 0; i < rule->n_held; i++)
		rule->held[i] = DatumGetInt64(elems[i]);
}

static char *
get_text(uint64 row, int col)
{
	bool		isnull;
	Datum		value = rx_spi_get(row, col, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/* One row of load_sql; everything is copied into the current context. */
static void
read_rule(RxRule *rule, uint64 row)
{
	bool		isnull;
	Datum		value;

	rule->name = get_text(row, 1);
	rule->owner = get_text(row, 2);
	value = rx_spi_get(row, 3, &isnull);
	rule->owner_oid = isnull ? InvalidOid : DatumGetObjectId(value);
	rule->since_seq = DatumGetInt64(rx_spi_get(row, 4, NULL));
	read_held(rule, rx_spi_get(row, 5, NULL));
	value = rx_spi_get(row, 6, &rule->any_type);
	if (!rule->any_type)
		read_types(rule, value);
	rule->action = DatumGetJsonbPCopy(rx_spi_get(row, 7, NULL));
	rule->call = get_text(row, 8);
	rule->retries = rx_subscription_id(psprintf("rule:%s", rule->name), false);
}

RxRuleSet
rx_rules_load(void)
{
	static SPIPlanPtr plan = NULL;
	MemoryContext context = CurrentMemoryContext;
	RxRuleSet	set = {0};
	SPITupleTable *rows;
	RxSpi		spi;

	rx_spi_open(&spi);
	(void) rx_spi_exec_kept(&plan, load_sql, 0, NULL, NULL, NULL, SPI_OK_SELECT);
	rows = SPI_tuptable;
	MemoryContextSwitchTo(context);
	set.rules = palloc0(Max(rows->numvals, 1) * sizeof(RxRule));
	for (uint64 i = 0; i < rows->numvals; i++)
	{
		/* Looking up a subscription may have run a statement of its own. */
		SPI_tuptable = rows;
		read_rule(&set.rules[set.n++], i);
	}
	rx_spi_close(&spi);
	MemoryContextSwitchTo(context);
	return set;
}

static bool
type_matches(const RxTypePattern *pattern, const char *type, int len)
{
	if (pattern->prefix ? len <= pattern->len : len != pattern->len)
		return false;
	return memcmp(pattern->text, type, pattern->len) == 0;
}

/* Did the event commit after the rule was made? */
static bool
is_new_to(const RxRule *rule, int64 seq)
{
	if (seq >= rule->since_seq)
		return true;
	for (int i = 0; i + 1 < rule->n_held; i += 2)
		if (seq >= rule->held[i] && seq < rule->held[i + 1])
			return true;
	return false;
}

bool
rx_rule_matches(const RxRule *rule, const RxRecord *record)
{
	const char *type = VARDATA_ANY(record->type);
	int			len = VARSIZE_ANY_EXHDR(record->type);

	if (!is_new_to(rule, record->seq))
		return false;
	for (int i = 0; !rule->any_type && i < rule->n_types; i++)
		if (type_matches(&rule->types[i], type, len))
			return true;
	return rule->any_type;
}

Jsonb *
rx_rule_event(const RxRecord *record)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {UUIDOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, JSONBOID, TIMESTAMPTZOID, INT8OID};
	Datum		values[] = {
		UUIDPGetDatum(&record->id), PointerGetDatum(record->type),
		PointerGetDatum(record->source), PointerGetDatum(record->session),
		PointerGetDatum(record->payload), PointerGetDatum(record->meta),
		TimestampTzGetDatum(record->created_at), Int64GetDatum(record->seq),
	};
	char		nulls[] = {
		' ', ' ', record->source ? ' ' : 'n', record->session ? ' ' : 'n',
		' ', record->meta ? ' ' : 'n', ' ', ' ', '\0',
	};
	Datum		event;
	RxSpi		spi;

	rx_spi_open(&spi);
	(void) rx_spi_exec_kept(&plan, event_sql, lengthof(types), types, values, nulls, SPI_OK_SELECT);
	event = SPI_datumTransfer(rx_spi_get(0, 1, NULL), false, -1);
	rx_spi_close(&spi);
	return DatumGetJsonbP(event);
}
