/*
 * ranges.c
 *		Half-open ranges of positions: sorting and joining them.
 */
#include "reflex.h"

#include "event/event_int.h"

static int
compare_ranges(const void *a, const void *b)
{
	int64		x = ((const RxRange *) a)->lo;
	int64		y = ((const RxRange *) b)->lo;

	return (x > y) - (x < y);
}

/* Sorts the ranges and joins those that touch; returns how many are left. */
int
rx_ranges_join(RxRange *ranges, int n)
{
	int			last = 0;

	if (n == 0)
		return 0;
	qsort(ranges, n, sizeof(RxRange), compare_ranges);
	for (int i = 1; i < n; i++)
	{
		if (ranges[i].lo <= ranges[last].hi)
			ranges[last].hi = Max(ranges[last].hi, ranges[i].hi);
		else
			ranges[++last] = ranges[i];
	}
	return last + 1;
}
