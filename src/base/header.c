/*
 * header.c
 *		What may be an HTTP header, and whose it is.  See header.h.
 */
#include "base/header.h"

#include <string.h>
#include <strings.h>

/* RFC 9110, section 5.6.2. */
#define TOKEN_CHARACTERS \
	"!#$%&'*+-.^_`|~0123456789" \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

static const char *const framing[] = {
	"connection", "content-length", "expect", "host", "http2-settings", "keep-alive",
	"proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
};

static const char *const identity[] = {
	"idempotency-key", "traceparent", "user-agent", "x-reflex-attempt", "x-reflex-effect-id",
};

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

static bool
listed(const char *name, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcasecmp(name, list[i]) == 0)
			return true;
	return false;
}

bool
rx_header_name_valid(const char *name)
{
	return name[0] != '\0' && name[strspn(name, TOKEN_CHARACTERS)] == '\0';
}

bool
rx_header_value_valid(const char *value)
{
	for (const unsigned char *c = (const unsigned char *) value; *c; c++)
		if ((*c < 0x20 && *c != '\t') || *c == 0x7F)
			return false;
	return true;
}

RxHeaderOwner
rx_header_owner(const char *name)
{
	if (listed(name, framing, N_OF(framing)))
		return RX_HEADER_FRAMING;
	if (listed(name, identity, N_OF(identity)))
		return RX_HEADER_IDENTITY;
	return RX_HEADER_CALLER;
}
