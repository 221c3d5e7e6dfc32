/*
 * filter.h
 *		Filters: JSON expressions that say which events pass.
 *
 *	{"type": ["order.*", "refund"]}		the type is one of these, or below
 *	{"source": ["shop.*"]}				the source likewise; no source, no match
 *	{"keyword": ["late"], "in": path}	one of these occurs in what path selects
 *	{"match": path}						the predicate is true, the path finds something
 *	{"all": [filter, ...]}  {"any": [filter, ...]}  {"not": filter}
 *
 * Several of them in one object mean all; {} lets everything pass.  Paths are
 * jsonpath on {type, source, session, payload, meta, created_at}.  A filter is
 * a pure function of the event: it needs no state, runs no SQL and does not
 * fail.  What goes wrong while a path is evaluated counts as no match, because
 * an event that made its readers fail would stop them for good.
 */
#ifndef RX_EVENT_FILTER_H
#define RX_EVENT_FILTER_H

#include "postgres.h"
#include "event/event.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"

typedef struct RxFilter RxFilter;

/*
 * One event as filters see it, whatever holds it.  What many filters need is
 * made when the first one asks, in scratch, and stays until the caller resets
 * that, which ends the row.
 */
typedef struct RxFilterRow
{
	text	   *type;
	text	   *source;			/* NULL where absent, like the next */
	text	   *session;
	Datum		payload;		/* jsonb, perhaps compressed */
	Datum		meta;			/* likewise, 0 where absent */
	TimestampTz created_at;
	MemoryContext scratch;

	Jsonb	   *plain_payload;	/* made when asked for, like the next two */
	StringInfo	folded;			/* the payload's text, as keywords are compared */
	Jsonb	   *event;			/* what paths are evaluated on */
	const RxFilter *refused;	/* after no match: the part that said no */
	const char *error;			/* the last thing that went wrong in a path */
} RxFilterRow;

/*
 * Compiles a filter; all that it needs lives in context.  Raises PT422 with the
 * place in DETAIL when it is not one, 0A000 for what is not yet supported.
 */
extern RxFilter *rx_filter_compile(Jsonb *filter, MemoryContext context);

/*
 * Does the event pass?  NULL lets everything pass.  Leaves what it needed in the
 * current memory context, which should be one that is reset soon.
 */
extern bool rx_filter_matches_row(const RxFilter *filter, RxFilterRow *row);

/* The same for a row of the log: columns as in event_int.h. */
extern bool rx_filter_matches(const RxFilter *filter, Datum *values, bool *isnull);

extern void rx_filter_row_of_record(RxFilterRow *row, const RxRecord *record, MemoryContext scratch);

#endif							/* RX_EVENT_FILTER_H */
