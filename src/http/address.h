/*
 * address.h
 *		IP addresses as values, and which of them are not the public Internet.
 *
 * An IPv4 address that is written as IPv6 (::ffff:a.b.c.d) is the IPv4 address
 * from the moment it is read, so that no rule can be passed by spelling.
 */
#ifndef RX_HTTP_ADDRESS_H
#define RX_HTTP_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

typedef struct RxAddress
{
	int			family;			/* AF_INET or AF_INET6 */
	uint8_t		bytes[16];		/* the first 4 or all, network order; the rest zero */
} RxAddress;

/* Canonical text ("127.0.0.1", "::1", no brackets, no zone); false if it is not an address. */
extern bool rx_address_from_text(const char *text, RxAddress *address);

/* False for a family other than IPv4 and IPv6. */
extern bool rx_address_from_sockaddr(const struct sockaddr *sockaddr, RxAddress *address);

/* The width in bits of an address of this family. */
extern int	rx_address_bits(const RxAddress *address);

/* Whether both are of one family and agree in the first bits. */
extern bool rx_address_in(const RxAddress *address, const RxAddress *network, int bits);

/* What the address is set aside for ("loopback", ...), or NULL if it is a public one. */
extern const char *rx_address_special(const RxAddress *address);

#endif							/* RX_HTTP_ADDRESS_H */
