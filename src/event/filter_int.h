/*
 * filter_int.h
 *		What the files of the filters know of each other.
 */
#ifndef RX_EVENT_FILTER_INT_H
#define RX_EVENT_FILTER_INT_H

#include "event/filter.h"
#include "event/patterns.h"
#include "lib/stringinfo.h"
#include "utils/jsonpath.h"

typedef enum RxFilterKind
{
	RX_FILTER_TYPE,
	RX_FILTER_SOURCE,
	RX_FILTER_KEYWORD,
	RX_FILTER_MATCH,
	RX_FILTER_ALL,
	RX_FILTER_ANY,
	RX_FILTER_NOT
} RxFilterKind;

struct RxFilter
{
	RxFilterKind kind;
	int			cost;			/* cheap ones are asked first */
	const char *at;				/* its place in the filter: a JSON Pointer */
	RxPatterns	patterns;		/* TYPE, SOURCE */
	char	  **keywords;		/* KEYWORD: with case folded */
	JsonPath   *path;			/* MATCH; KEYWORD, NULL for the payload */
	bool		predicate;		/* MATCH: the path is true or false, and finds nothing */
	int			n;				/* of keywords or parts */
	RxFilter  **parts;			/* ALL, ANY, NOT (one) */
};

/* ---- filter_event.c: made once per row, in its scratch ---- */
extern Jsonb *rx_filter_payload(RxFilterRow *row);
extern Jsonb *rx_filter_event(RxFilterRow *row);

/* ---- filter_match.c ---- */

/* Appends the string with its case folded, and a NUL. */
extern void rx_filter_append_folded(StringInfo out, const char *string, int len);

/*
 * Evaluates a path with one of the jsonb_path_*_tz functions.  False when there
 * is no result, or when it went wrong, with row->error then.
 */
extern bool rx_filter_path(PGFunction function, JsonPath *path, RxFilterRow *row, bool silent,
						   Datum *result);

#endif							/* RX_EVENT_FILTER_INT_H */
