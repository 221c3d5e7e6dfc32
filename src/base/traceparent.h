/*
 * traceparent.h
 *		W3C Trace Context, version 00: 00-<trace id>-<span id>-<flags>.
 */
#ifndef RX_BASE_TRACEPARENT_H
#define RX_BASE_TRACEPARENT_H

#include <stdbool.h>
#include <stdint.h>

#define RX_TRACEPARENT_LEN 55

extern bool rx_traceparent_valid(const char *value);

/*
 * The context of one attempt at the thing with this id: in the trace of the
 * parent if there is a valid one (may be NULL), else in a trace that is the
 * thing's own.  The same arguments always give the same context, so that an
 * attempt can be found in traces by what the log alone says.
 */
extern void rx_traceparent_child(char out[RX_TRACEPARENT_LEN + 1], const char *parent,
								 const uint8_t id[16], uint32_t attempt);

#endif							/* RX_BASE_TRACEPARENT_H */
