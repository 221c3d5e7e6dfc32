/*
 * test_deadline.c
 *		The heap of deadlines, against a plain search.
 */
#include "http/deadline.h"
#include "tap.h"

#include <stdlib.h>

#define N 500

static RxDeadline items[N];
static bool present[N];
static unsigned seed = 20261120;

static unsigned
draw(unsigned below)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 8) % below;
}

static int64_t
earliest(void)
{
	int64_t		at = INT64_MAX;

	for (int i = 0; i < N; i++)
		if (present[i] && items[i].at < at)
			at = items[i].at;
	return at;
}

static void
change_one(RxDeadlines *heap)
{
	unsigned	i = draw(N);
	int64_t		at = draw(1000);

	if (!present[i])
	{
		items[i].at = at;
		rx_deadlines_add(heap, &items[i]);
		present[i] = true;
	}
	else if (draw(3) == 0)
	{
		rx_deadlines_remove(heap, &items[i]);
		present[i] = false;
	}
	else
		rx_deadlines_move(heap, &items[i], at);
}

int
main(void)
{
	RxDeadlines heap = {0};
	int			wrong = 0;

	ok(rx_deadlines_next(&heap) == NULL, "nothing is due in an empty heap");
	for (int turn = 0; turn < 20000; turn++)
	{
		RxDeadline *next;

		change_one(&heap);
		next = rx_deadlines_next(&heap);
		wrong += (next ? next->at : INT64_MAX) != earliest();
	}
	is_number(wrong, 0, "the next is the earliest after each of 20,000 changes");
	while (rx_deadlines_next(&heap))
		rx_deadlines_remove(&heap, rx_deadlines_next(&heap));
	is_number(heap.n, 0, "it empties");
	rx_deadlines_free(&heap);
	return done();
}
