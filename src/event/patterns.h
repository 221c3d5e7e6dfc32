/*
 * patterns.h
 *		Lists of names, each exact or everything below it by a trailing ".*".
 *
 * "order.*" matches "order.paid" and "order.paid.late", neither "order" nor
 * "orders" nor "order.".
 */
#ifndef RX_EVENT_PATTERNS_H
#define RX_EVENT_PATTERNS_H

#include "postgres.h"

typedef struct RxPattern
{
	const char *text;			/* of "order.*" only "order." */
	int			len;
} RxPattern;

/* Both lists sorted, so that a look-up costs little in long ones too. */
typedef struct RxPatterns
{
	int			n_exact;
	int			n_below;
	RxPattern  *exact;
	RxPattern  *below;
} RxPatterns;

/* In the current memory context; the texts are kept, not copied. */
extern void rx_patterns_make(RxPatterns *patterns, char **texts, int n);

extern bool rx_patterns_match(const RxPatterns *patterns, const char *name, int len);

#endif							/* RX_EVENT_PATTERNS_H */
