/*
 * cache.c
 *		Compiled schemas that this process keeps.
 *
 * A schema is found by its bytes: callers pass it with every call, mostly as a
 * constant or from a table.  The hash says where it may be, the bytes that it
 * is.  When there are too many, in number or in size, the one that was not used
 * for longest goes.
 */
#include "reflex.h"

#include "common/hashfn.h"
#include "json/json_int.h"
#include "utils/memutils.h"

#define MAX_ENTRIES 64
#define MAX_BYTES (4 * 1024 * 1024) /* of schemas as jsonb; compiled they are some times larger */

typedef struct Entry
{
	uint64		hash;
	uint64		used;			/* when, by uses */
	Jsonb	   *source;			/* in the context of the schema */
	RxSchema   *schema;
} Entry;

static Entry entries[MAX_ENTRIES];
static int	n_entries;
static Size n_bytes;
static uint64 uses;

static Entry *
find_entry(uint64 hash, const Jsonb *schema)
{
	for (int i = 0; i < n_entries; i++)
		if (entries[i].hash == hash && VARSIZE(entries[i].source) == VARSIZE(schema) &&
			memcmp(entries[i].source, schema, VARSIZE(schema)) == 0)
			return &entries[i];
	return NULL;
}

static void
evict_oldest(void)
{
	Entry	   *oldest = &entries[0];

	for (int i = 1; i < n_entries; i++)
		if (entries[i].used < oldest->used)
			oldest = &entries[i];
	n_bytes -= VARSIZE(oldest->source);
	rx_schema_free(oldest->schema);
	*oldest = entries[--n_entries];
}

static Entry *
add_entry(uint64 hash, Jsonb *schema)
{
	RxSchema   *compiled = rx_schema_compile(schema);
	Entry	   *entry;

	while (n_entries == MAX_ENTRIES || (n_entries > 0 && n_bytes + VARSIZE(schema) > MAX_BYTES))
		evict_oldest();
	entry = &entries[n_entries];
	entry->hash = hash;
	entry->schema = compiled;
	entry->source = MemoryContextAlloc(compiled->context, VARSIZE(schema));
	memcpy(entry->source, schema, VARSIZE(schema));
	rx_schema_keep(compiled, TopMemoryContext);
	n_bytes += VARSIZE(schema);
	n_entries++;
	return entry;
}

RxSchema *
rx_schema_cached(Jsonb *schema)
{
	uint64		hash = hash_bytes_extended((unsigned char *) schema, VARSIZE(schema), 0);
	Entry	   *entry = find_entry(hash, schema);

	if (entry == NULL)
		entry = add_entry(hash, schema);
	entry->used = ++uses;
	return entry->schema;
}
