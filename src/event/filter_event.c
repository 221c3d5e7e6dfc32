/*
 * filter_event.c
 *		The object that the paths of filters are evaluated on.
 *
 *	{"meta", "type", "source", "payload", "session", "created_at"}
 *
 * It is put together byte by byte in the form that jsonb has on disk.  There a
 * container stands within another just as it stands alone, so the payload is
 * copied in one piece, where pushJsonbValue would take it apart and encode it
 * anew: microseconds for each kilobyte of each event.  The form is the one that
 * pg_upgrade has relied on since 9.4, and utils/jsonb.h describes it.
 *
 * created_at is a string in UTC whatever the time zone of the session, so that
 * a filter gives the same answer everywhere and comparing as strings works.
 */
#include "reflex.h"

#include "catalog/pg_type.h"
#include "event/filter_int.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"

#define N_KEYS 6

/* In the order of jsonb: by length, then by bytes. */
static const char *const keys[N_KEYS] = {"meta", "type", "source", "payload", "session", "created_at"};

enum
{
	KEY_META, KEY_TYPE, KEY_SOURCE, KEY_PAYLOAD, KEY_SESSION, KEY_CREATED_AT
};

/* One member's value: what its entry says, and its bytes. */
typedef struct Part
{
	JEntry		type;			/* JENTRY_IS... */
	const char *data;
	Size		len;
} Part;

static Part
part_of(JEntry type, const void *data, Size len)
{
	Part		part = {type, data, len};

	return part;
}

static Part
part_of_text(text *value)
{
	if (value == NULL)
		return part_of(JENTRY_ISNULL, NULL, 0);
	return part_of(JENTRY_ISSTRING, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

/* A scalar is stored as the only element of an array: take that out. */
static Part
part_of_jsonb(Jsonb *value)
{
	const JEntry *entry = value ? value->root.children : NULL;

	if (value == NULL)
		return part_of(JENTRY_ISNULL, NULL, 0);
	if (JB_ROOT_IS_SCALAR(value))
		return part_of(*entry & JENTRY_TYPEMASK, entry + 1, JBE_OFFLENFLD(*entry));
	return part_of(JENTRY_ISCONTAINER, &value->root, VARSIZE(value) - VARHDRSZ);
}

static Size
room_for(const Part *values)
{
	Size		size = offsetof(Jsonb, root.children) + 2 * N_KEYS * sizeof(JEntry);

	for (int i = 0; i < N_KEYS; i++)
		size += strlen(keys[i]) + INTALIGN(values[i].len) + ALIGNOF_INT;
	if (size > JENTRY_OFFLENMASK)
		ereport(ERROR,
				errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("event is too large to be looked into"));
	return size;
}

/* Appends one child; what needs alignment counts its padding as its own. */
static Size
append(Jsonb *event, int child, Size offset, JEntry type, const char *data, Size len)
{
	char	   *base = (char *) &event->root.children[2 * N_KEYS];
	Size		start = offset;

	if (type == JENTRY_ISCONTAINER || type == JENTRY_ISNUMERIC)
		while (offset != INTALIGN(offset))
			base[offset++] = 0;
	if (len > 0)
		memcpy(base + offset, data, len);
	offset += len;
	event->root.children[child] = type | (JEntry) (offset - start);
	return offset;
}

static Jsonb *
assemble(const Part *values)
{
	Jsonb	   *event = palloc(room_for(values));
	Size		offset = 0;

	event->root.header = N_KEYS | JB_FOBJECT;
	for (int i = 0; i < N_KEYS; i++)
		offset = append(event, i, offset, JENTRY_ISSTRING, keys[i], strlen(keys[i]));
	for (int i = 0; i < N_KEYS; i++)
		offset = append(event, N_KEYS + i, offset, values[i].type, values[i].data, values[i].len);
	event->root.children[0] |= JENTRY_HAS_OFF;
	SET_VARSIZE(event, offsetof(Jsonb, root.children) + 2 * N_KEYS * sizeof(JEntry) + offset);
	return event;
}

Jsonb *
rx_filter_payload(RxFilterRow *row)
{
	if (row->plain_payload == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(row->scratch);

		row->plain_payload = DatumGetJsonbP(row->payload);
		MemoryContextSwitchTo(old);
	}
	return row->plain_payload;
}

Jsonb *
rx_filter_event(RxFilterRow *row)
{
	MemoryContext old;
	Part		values[N_KEYS];
	char		at[MAXDATELEN + 1];
	int			utc = 0;

	if (row->event)
		return row->event;
	old = MemoryContextSwitchTo(row->scratch);
	JsonEncodeDateTime(at, TimestampTzGetDatum(row->created_at), TIMESTAMPTZOID, &utc);
	values[KEY_META] = part_of_jsonb(row->meta ? DatumGetJsonbP(row->meta) : NULL);
	values[KEY_TYPE] = part_of_text(row->type);
	values[KEY_SOURCE] = part_of_text(row->source);
	values[KEY_PAYLOAD] = part_of_jsonb(rx_filter_payload(row));
	values[KEY_SESSION] = part_of_text(row->session);
	values[KEY_CREATED_AT] = part_of(JENTRY_ISSTRING, at, strlen(at));
	row->event = assemble(values);
	MemoryContextSwitchTo(old);
	return row->event;
}
