/*
 * type.c
 *		Event types with a schema: what publish() holds a payload against.
 *
 * Each process keeps a hash of the types that are in force, and reads it again
 * when the database's catalog version has moved, as it does its subscriptions:
 * to publish costs one atomic read and one look-up, however many there are.  A
 * schema is compiled when the first event of its type is published.
 */
#include "reflex.h"

#include "access/xact.h"
#include "event/event_int.h"
#include "json/json.h"
#include "pg/guc.h"
#include "pg/spi.h"
#include "pg/wakeup.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#define MAX_SHOWN 10			/* reasons in an error */

typedef struct EventType
{
	char		name[RX_MAX_NAME + 1];	/* the key */
	Jsonb	   *source;
	RxSchema   *schema;			/* NULL until it is wanted */
} EventType;

static MemoryContext context;	/* of types and all they point to */
static HTAB *types;
static const RxDb *loaded_db;
static uint32 loaded_version;	/* 0: to be read */
static bool changed_here;		/* this transaction changes types */
static bool loaded_old;			/* read in a snapshot older than the version */

static void
add_type(uint64 row)
{
	char	   *name = TextDatumGetCString(rx_spi_get(row, 1, NULL));
	EventType  *type = hash_search(types, name, HASH_ENTER, NULL);

	type->source = DatumGetJsonbPCopy(rx_spi_get(row, 2, NULL));
	type->schema = NULL;
}

static void
make_hash(void)
{
	HASHCTL		ctl = {.keysize = RX_MAX_NAME + 1, .entrysize = sizeof(EventType)};

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "reflex event types", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(context);
	ctl.hcxt = context;
	types = hash_create("reflex event types", 64, &ctl, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

static void
load_types(RxDb *db)
{
	uint32		version = pg_atomic_read_u32(&db->catalog_version);
	RxSpi		spi;
	uint64		n;

	loaded_version = 0;
	make_hash();
	rx_spi_open(&spi);
	n = rx_spi_exec("SELECT type, schema FROM reflex.event_types", 0, NULL, NULL, NULL, SPI_OK_SELECT);
	for (uint64 row = 0; row < n; row++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		add_type(row);
		MemoryContextSwitchTo(old);
	}
	rx_spi_close(&spi);
	loaded_db = db;
	loaded_version = version;
	loaded_old = IsolationUsesXactSnapshot();
}

static EventType *
find_type(const char *name)
{
	RxDb	   *db = rx_db();

	if (loaded_version == 0 || loaded_db != db ||
		loaded_version != pg_atomic_read_u32(&db->catalog_version))
		load_types(db);
	return hash_search(types, name, HASH_FIND, NULL);
}

/* Raises PT422 when an event of this type may not have this payload. */
void
rx_type_check(const RxEntry *entry)
{
	EventType  *type = find_type(entry->type);

	if (type == NULL && rx_guc_strict_event_types)
		ereport(ERROR,
				errcode(ERRCODE_RX_INVALID),
				errmsg("event type \"%s\" is not registered", entry->type),
				errdetail("reflex.strict_event_types is on."),
				errhint("Register it with reflex.register_event_type()."));
	if (type == NULL)
		return;
	if (type->schema == NULL)
	{
		type->schema = rx_schema_compile(type->source);
		rx_schema_keep(type->schema, context);
	}
	if (!rx_schema_is_valid(type->schema, entry->payload))
		ereport(ERROR,
				errcode(ERRCODE_RX_INVALID),
				errmsg("payload of event \"%s\" does not match the schema of its type", entry->type),
				errdetail("%s", rx_schema_report(type->schema, entry->payload, "payload", MAX_SHOWN)),
				errhint("The schema is in reflex.event_types."));
}

/* ---- what changes them ---- */

static void
end_transaction(bool committed)
{
	RX_UNUSED(committed);
	if (changed_here || loaded_old)
		loaded_version = 0;
	changed_here = loaded_old = false;
}

static void
undo_from_level(int level)
{
	RX_UNUSED(level);
	if (changed_here)
		loaded_version = 0;
}

const RxXactHooks rx_type_hooks = {
	.at_end = end_transaction,
	.at_subabort = undo_from_level,
};

/*
 * event_types_changed() - called by the SQL that writes them: this transaction
 * reads them again now, all others when it has committed.
 */
REFLEX_FUNCTION(reflex_event_types_changed)
{
	rx_sub_catalog_changed();
	changed_here = true;
	loaded_version = 0;
	PG_RETURN_VOID();
}
