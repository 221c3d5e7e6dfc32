/*
 * deadline.c
 *		Which of many deadlines is the next.  See deadline.h.
 */
#include "http/deadline.h"

#include <stdlib.h>

static void
put(RxDeadlines *deadlines, int place, RxDeadline *deadline)
{
	deadlines->heap[place] = deadline;
	deadline->place = place;
}

static void
sift_up(RxDeadlines *deadlines, RxDeadline *deadline)
{
	int			place = deadline->place;

	while (place > 0)
	{
		RxDeadline *parent = deadlines->heap[(place - 1) / 2];

		if (parent->at <= deadline->at)
			break;
		put(deadlines, place, parent);
		place = (place - 1) / 2;
	}
	put(deadlines, place, deadline);
}

static void
sift_down(RxDeadlines *deadlines, RxDeadline *deadline)
{
	int			place = deadline->place;

	for (;;)
	{
		int			child = 2 * place + 1;

		if (child >= deadlines->n)
			break;
		if (child + 1 < deadlines->n && deadlines->heap[child + 1]->at < deadlines->heap[child]->at)
			child++;
		if (deadline->at <= deadlines->heap[child]->at)
			break;
		put(deadlines, place, deadlines->heap[child]);
		place = child;
	}
	put(deadlines, place, deadline);
}

bool
rx_deadlines_add(RxDeadlines *deadlines, RxDeadline *deadline)
{
	if (deadlines->n == deadlines->size)
	{
		int			size = deadlines->size ? deadlines->size * 2 : 64;
		RxDeadline **heap = realloc(deadlines->heap, sizeof(RxDeadline *) * (size_t) size);

		if (!heap)
			return false;
		deadlines->heap = heap;
		deadlines->size = size;
	}
	put(deadlines, deadlines->n++, deadline);
	sift_up(deadlines, deadline);
	return true;
}

void
rx_deadlines_remove(RxDeadlines *deadlines, RxDeadline *deadline)
{
	RxDeadline *last = deadlines->heap[--deadlines->n];

	if (last == deadline)
		return;
	put(deadlines, deadline->place, last);
	sift_up(deadlines, last);
	sift_down(deadlines, last);
}

void
rx_deadlines_move(RxDeadlines *deadlines, RxDeadline *deadline, int64_t at)
{
	deadline->at = at;
	sift_up(deadlines, deadline);
	sift_down(deadlines, deadline);
}

RxDeadline *
rx_deadlines_next(const RxDeadlines *deadlines)
{
	return deadlines->n > 0 ? deadlines->heap[0] : NULL;
}

void
rx_deadlines_free(RxDeadlines *deadlines)
{
	free(deadlines->heap);
	deadlines->heap = NULL;
	deadlines->n = deadlines->size = 0;
}
