/*
 * backoff.c
 *		How long to wait before the next attempt.  See backoff.h.
 */
#include "base/backoff.h"

int64_t
rx_backoff_cap(int attempt, int64_t base_us, int64_t max_us)
{
	int64_t		cap = base_us < max_us ? base_us : max_us;

	/* Doubling stops at the maximum, which also keeps it from overflowing. */
	for (int i = 1; i < attempt && cap > 0 && cap < max_us; i++)
		cap = cap > max_us / 2 ? max_us : cap * 2;
	return cap;
}

int64_t
rx_backoff_delay(int attempt, int64_t base_us, int64_t max_us, double random)
{
	return (int64_t) (random * (double) rx_backoff_cap(attempt, base_us, max_us));
}
