/*
 * egress.h
 *		Where reflex may connect to: the meaning of reflex.allowed_hosts.
 *
 * A list of entries, separated by commas:
 *
 *		*						every host on a public address
 *		api.example.com			that host
 *		*.example.com			every host below it, not itself
 *		192.0.2.1, 2001:db8::1	that address
 *		10.0.0.0/8, fd00::/8	every address in that network
 *
 * each with an optional port (host:443, *:443, 10.0.0.0/8:80, [fd00::1]:80,
 * [fd00::]/8:80).  Names are compared without regard to case, in the form that
 * goes to the resolver (xn--...).  An empty list allows nothing.
 *
 * What is named, by its name or by its address, may be on any address.  What
 * only * allows must be on a public one: what IANA has set aside (loopback,
 * private, link-local, ...) is refused.  The address that counts is the one
 * connected to, not the one a name had when somebody looked.
 */
#ifndef RX_HTTP_EGRESS_H
#define RX_HTTP_EGRESS_H

#include "http/address.h"

#include <stddef.h>

typedef struct RxEgress RxEgress;

/* With one reference; NULL and a message for a bad list or no memory. */
extern RxEgress *rx_egress_parse(const char *list, char *error, size_t error_size);
extern RxEgress *rx_egress_ref(RxEgress *egress);
extern void rx_egress_unref(RxEgress *egress);

/*
 * Whether the host (lower case, no brackets) may be reached at this address.
 * NULL if so, else why not.  A list of NULL allows nothing.
 */
extern const char *rx_egress_refusal(const RxEgress *egress, const char *host, int port,
									 const RxAddress *address);

/*
 * The same before the address is known: NULL if some address could be allowed.
 * What is refused here is not even asked of the resolver.
 */
extern const char *rx_egress_refusal_of_name(const RxEgress *egress, const char *host, int port);

#endif							/* RX_HTTP_EGRESS_H */
