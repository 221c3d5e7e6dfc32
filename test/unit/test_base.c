/*
 * test_base.c
 *		Backoff and clock.
 */
#include "base/backoff.h"
#include "base/clock.h"
#include "tap.h"

static void
test_backoff(void)
{
	is_number(rx_backoff_cap(1, 1000, 60000), 1000, "the first attempt waits up to the base");
	is_number(rx_backoff_cap(2, 1000, 60000), 2000, "the second up to twice as long");
	is_number(rx_backoff_cap(6, 1000, 60000), 32000, "it doubles");
	is_number(rx_backoff_cap(7, 1000, 60000), 60000, "up to the maximum");
	is_number(rx_backoff_cap(1, 90000, 60000), 60000, "a base above the maximum is the maximum");
	is_number(rx_backoff_cap(1000, 0, 60000), 0, "no base, no delay");
	is_number(rx_backoff_cap(100000, 1, INT64_MAX), INT64_MAX, "no overflow after many attempts");
	is_number(rx_backoff_cap(0, 1000, 60000), 1000, "attempt 0 is taken as the first");
	is_number(rx_backoff_delay(3, 1000, 60000, 0.0), 0, "full jitter begins at nothing");
	is_number(rx_backoff_delay(3, 1000, 60000, 0.5), 2000, "and is even");
	ok(rx_backoff_delay(3, 1000, 60000, 0.999999) < 4000, "and ends below the bound");
}

static void
test_clock(void)
{
	static volatile int64_t offset = 0;
	int64_t		before = rx_clock_mono();
	int64_t		after = rx_clock_mono();

	ok(before > 0 && after >= before, "the clock does not go back");
	is_number(rx_clock_offset(), 0, "no offset by itself");
	rx_clock_use_offset(&offset);
	offset = 3600 * RX_USECS_PER_SEC;
	after = rx_clock_mono();
	ok(after - before >= offset && after - before < offset + 10 * RX_USECS_PER_SEC,
	   "an offset moves the clock by an hour");
	is_number(rx_clock_offset(), offset, "and can be read");
	rx_clock_use_offset(NULL);
	is_number(rx_clock_offset(), 0, "and taken away");
}

int
main(void)
{
	test_backoff();
	test_clock();
	return done();
}
