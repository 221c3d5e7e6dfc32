/*
 * header.h
 *		What may be an HTTP header, and whose it is.
 */
#ifndef RX_BASE_HEADER_H
#define RX_BASE_HEADER_H

#include <stdbool.h>

typedef enum RxHeaderOwner
{
	RX_HEADER_CALLER,			/* anybody may set it */
	RX_HEADER_FRAMING,			/* the transport's: says where messages begin, end and go */
	RX_HEADER_IDENTITY			/* reflex's: says which attempt at which effect this is */
} RxHeaderOwner;

extern bool rx_header_name_valid(const char *name);

/* No line breaks and no other control characters but the tab. */
extern bool rx_header_value_valid(const char *value);

extern RxHeaderOwner rx_header_owner(const char *name);

#endif							/* RX_BASE_HEADER_H */
