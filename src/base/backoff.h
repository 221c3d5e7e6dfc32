/*
 * backoff.h
 *		How long to wait before the next attempt.
 *
 * Exponential with full jitter: a delay between nothing and
 * min(base * 2^(attempt-1), max), so that a crowd that failed together does
 * not come back together.
 */
#ifndef RX_BASE_BACKOFF_H
#define RX_BASE_BACKOFF_H

#include <stdint.h>

/* The upper bound in microseconds for the attempt that just failed (1-based). */
extern int64_t rx_backoff_cap(int attempt, int64_t base_us, int64_t max_us);

/* The delay itself; random is a number in [0, 1). */
extern int64_t rx_backoff_delay(int attempt, int64_t base_us, int64_t max_us, double random);

#endif							/* RX_BASE_BACKOFF_H */
