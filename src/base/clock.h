/*
 * clock.h
 *		Time, through one seam.
 *
 * Deadlines inside the server (leases, retries, timers) count on the monotonic
 * clock, which no administrator and no NTP daemon moves.  What is written to
 * disk is wall time.  Both pass through here so that tests can move them: the
 * offset points into shared memory once the server is up and is zero
 * everywhere but in tests.
 */
#ifndef RX_BASE_CLOCK_H
#define RX_BASE_CLOCK_H

#include <stdint.h>

#define RX_USECS_PER_SEC INT64_C(1000000)
#define RX_NEVER INT64_MAX

/* Microseconds of the monotonic clock (CLOCK_MONOTONIC), plus the offset. */
extern int64_t rx_clock_mono(void);

/* The offset in microseconds that tests have asked for; 0 otherwise. */
extern int64_t rx_clock_offset(void);

/* Where the offset lives.  Called once, when shared memory is attached. */
extern void rx_clock_use_offset(const volatile int64_t *offset);

#endif							/* RX_BASE_CLOCK_H */
