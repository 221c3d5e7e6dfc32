/*
 * clock.c
 *		Time, through one seam.  See clock.h.
 */
#include "base/clock.h"

#include <time.h>

static const volatile int64_t *clock_offset;

void
rx_clock_use_offset(const volatile int64_t *offset)
{
	clock_offset = offset;
}

int64_t
rx_clock_offset(void)
{
	return clock_offset ? *clock_offset : 0;
}

int64_t
rx_clock_mono(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t) ts.tv_sec * RX_USECS_PER_SEC + ts.tv_nsec / 1000 + rx_clock_offset();
}
