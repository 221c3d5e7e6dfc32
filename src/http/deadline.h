/*
 * deadline.h
 *		Which of many deadlines is the next: a binary heap of them.
 *
 * A deadline lives inside the thing it belongs to and knows its place in the
 * heap, so that moving or dropping it costs a few swaps and no search.
 */
#ifndef RX_HTTP_DEADLINE_H
#define RX_HTTP_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct RxDeadline
{
	int64_t		at;				/* microseconds */
	int			place;			/* in the heap */
	void	   *owner;
} RxDeadline;

typedef struct RxDeadlines
{
	RxDeadline **heap;			/* the next first */
	int			n;
	int			size;
} RxDeadlines;

/* False: out of memory.  The others can't fail. */
extern bool rx_deadlines_add(RxDeadlines *deadlines, RxDeadline *deadline);
extern void rx_deadlines_remove(RxDeadlines *deadlines, RxDeadline *deadline);
extern void rx_deadlines_move(RxDeadlines *deadlines, RxDeadline *deadline, int64_t at);

/* The next one, or NULL. */
extern RxDeadline *rx_deadlines_next(const RxDeadlines *deadlines);
extern void rx_deadlines_free(RxDeadlines *deadlines);

#endif							/* RX_HTTP_DEADLINE_H */
