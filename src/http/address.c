/*
 * address.c
 *		IP addresses as values, and which of them are not the public Internet.
 *		See address.h.
 *
 * The tables are IANA's registries of special-purpose addresses (IPv4 and
 * IPv6), whole: also the few blocks that the registry calls globally reachable
 * (AS112, AMT, ORCHID), because no service that reflex calls lives there.
 * Added to them are multicast, which has a registry of its own, and the forms
 * that IPv6 has given up but that a kernel may still route.
 *
 * An IPv6 address that carries an IPv4 address (NAT64, 6to4, SIIT) ends up
 * there, so it is judged by what it carries.
 */
#include "http/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define LENGTH(array) ((int) (sizeof(array) / sizeof((array)[0])))

typedef struct Block
{
	uint8_t		bytes[16];
	int			bits;
	const char *purpose;
} Block;

static const Block blocks_v4[] = {
	{{0}, 8, "this network"},
	{{10}, 8, "private"},
	{{100, 64}, 10, "shared by carriers"},
	{{127}, 8, "loopback"},
	{{169, 254}, 16, "link-local"},
	{{172, 16}, 12, "private"},
	{{192, 0, 0}, 24, "protocol assignments"},
	{{192, 0, 2}, 24, "documentation"},
	{{192, 31, 196}, 24, "AS112"},
	{{192, 52, 193}, 24, "AMT"},
	{{192, 88, 99}, 24, "6to4 relay"},
	{{192, 168}, 16, "private"},
	{{192, 175, 48}, 24, "AS112"},
	{{198, 18}, 15, "benchmarking"},
	{{198, 51, 100}, 24, "documentation"},
	{{203, 0, 113}, 24, "documentation"},
	{{224}, 4, "multicast"},
	{{240}, 4, "reserved"},
};

static const Block blocks_v6[] = {
	{{0}, 96, "unspecified, loopback or IPv4-compatible"},
	{{0, 0x64, 0xff, 0x9b, 0, 1}, 48, "local translation"},
	{{1}, 64, "discard"},
	{{1, 0, 0, 0, 0, 0, 0, 1}, 64, "dummy prefix"},
	{{0x20, 0x01}, 23, "protocol assignments"},
	{{0x20, 0x01, 0x0d, 0xb8}, 32, "documentation"},
	{{0x26, 0x20, 0, 0x4f, 0x80}, 48, "AS112"},
	{{0x3f, 0xff}, 20, "documentation"},
	{{0x5f}, 16, "segment routing"},
	{{0xfc}, 7, "private"},
	{{0xfe, 0x80}, 10, "link-local"},
	{{0xfe, 0xc0}, 10, "site-local"},
	{{0xff}, 8, "multicast"},
};

/* Where an IPv6 prefix carries an IPv4 address, and from which byte on. */
static const struct
{
	uint8_t		bytes[16];
	int			bits;
	int			offset;
}			carriers[] = {
	{{0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96, 12}, /* SIIT */
	{{0, 0x64, 0xff, 0x9b}, 96, 12},	/* NAT64 */
	{{0x20, 0x02}, 16, 2},		/* 6to4 */
};

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static void
set_v4(RxAddress *address, const void *bytes)
{
	memset(address, 0, sizeof(*address));
	address->family = AF_INET;
	memcpy(address->bytes, bytes, 4);
}

static void
set_v6(RxAddress *address, const uint8_t *bytes)
{
	if (memcmp(bytes, mapped, sizeof(mapped)) == 0)
	{
		set_v4(address, bytes + sizeof(mapped));
		return;
	}
	address->family = AF_INET6;
	memcpy(address->bytes, bytes, 16);
}

bool
rx_address_from_text(const char *text, RxAddress *address)
{
	uint8_t		bytes[16];

	if (inet_pton(AF_INET, text, bytes) == 1)
		set_v4(address, bytes);
	else if (inet_pton(AF_INET6, text, bytes) == 1)
		set_v6(address, bytes);
	else
		return false;
	return true;
}

bool
rx_address_from_sockaddr(const struct sockaddr *sockaddr, RxAddress *address)
{
	if (sockaddr->sa_family == AF_INET)
	{
		struct sockaddr_in v4;

		memcpy(&v4, sockaddr, sizeof(v4));
		set_v4(address, &v4.sin_addr);
		return true;
	}
	if (sockaddr->sa_family == AF_INET6)
	{
		struct sockaddr_in6 v6;

		memcpy(&v6, sockaddr, sizeof(v6));
		set_v6(address, v6.sin6_addr.s6_addr);
		return true;
	}
	return false;
}

int
rx_address_bits(const RxAddress *address)
{
	return address->family == AF_INET ? 32 : 128;
}

static bool
same_bits(const uint8_t *a, const uint8_t *b, int bits)
{
	int			whole = bits / 8;
	int			rest = bits % 8;

	if (memcmp(a, b, (size_t) whole) != 0)
		return false;
	return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

bool
rx_address_in(const RxAddress *address, const RxAddress *network, int bits)
{
	return address->family == network->family && same_bits(address->bytes, network->bytes, bits);
}

static const char *
purpose_in(const Block *blocks, int n, const uint8_t *bytes)
{
	for (int i = 0; i < n; i++)
		if (same_bits(bytes, blocks[i].bytes, blocks[i].bits))
			return blocks[i].purpose;
	return NULL;
}

const char *
rx_address_special(const RxAddress *address)
{
	if (address->family == AF_INET)
		return purpose_in(blocks_v4, LENGTH(blocks_v4), address->bytes);
	for (int i = 0; i < LENGTH(carriers); i++)
		if (same_bits(address->bytes, carriers[i].bytes, carriers[i].bits))
			return purpose_in(blocks_v4, LENGTH(blocks_v4), address->bytes + carriers[i].offset);
	return purpose_in(blocks_v6, LENGTH(blocks_v6), address->bytes);
}
