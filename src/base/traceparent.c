/*
 * traceparent.c
 *		W3C Trace Context.  See traceparent.h.
 */
#include "base/traceparent.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HEX "0123456789abcdef"
#define TRACE_AT 3
#define SPAN_AT 36
#define FLAGS_AT 53

bool
rx_traceparent_valid(const char *value)
{
	return strlen(value) == RX_TRACEPARENT_LEN &&
		strncmp(value, "00-", TRACE_AT) == 0 &&
		strspn(value + TRACE_AT, HEX) == 32 && value[SPAN_AT - 1] == '-' &&
		strspn(value + SPAN_AT, HEX) == 16 && value[FLAGS_AT - 1] == '-' &&
		strspn(value + FLAGS_AT, HEX) == 2 &&
		strspn(value + TRACE_AT, "0") != 32 && strspn(value + SPAN_AT, "0") != 16;
}

/* A bijection of 64-bit numbers that looks random (the finaliser of SplitMix64). */
static uint64_t
mix(uint64_t x)
{
	x += UINT64_C(0x9E3779B97F4A7C15);
	x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
	return x ^ (x >> 31);
}

static uint64_t
span_id(const uint8_t id[16], uint32_t attempt)
{
	uint64_t	high,
				low,
				span;

	memcpy(&high, id, sizeof(high));
	memcpy(&low, id + sizeof(high), sizeof(low));
	span = mix(mix(high) ^ mix(low + attempt));
	return span ? span : 1;
}

void
rx_traceparent_child(char out[RX_TRACEPARENT_LEN + 1], const char *parent,
					 const uint8_t id[16], uint32_t attempt)
{
	char		trace[33];
	const char *flags = "01";

	if (parent != NULL && rx_traceparent_valid(parent))
	{
		memcpy(trace, parent + TRACE_AT, 32);
		trace[32] = '\0';
		flags = parent + FLAGS_AT;
	}
	else
		for (int i = 0; i < 16; i++)
			snprintf(trace + 2 * i, 3, "%02x", id[i]);
	snprintf(out, RX_TRACEPARENT_LEN + 1, "00-%s-%016" PRIx64 "-%.2s",
			 trace, span_id(id, attempt), flags);
}
