/*
 * fuzz_egress.c
 *		reflex.allowed_hosts from anything, asked about anything.
 *
 * The input is three lines: the list, a host, an address.  What must hold
 * whatever they are: an address that is allowed is not refused before it is
 * known, and * alone never allows a special-purpose address.
 */
#include "http/egress.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(RxEgress *egress, RxEgress *anyone, const char *host, const RxAddress *address)
{
	for (int port = 80; port <= 443; port += 363)
	{
		if (!rx_egress_refusal(egress, host, port, address) &&
			rx_egress_refusal_of_name(egress, host, port))
		{
			RxAddress	literal;

			/* A host that is an address leads there and nowhere else. */
			if (!rx_address_from_text(host, &literal))
				abort();
		}
		if (!rx_egress_refusal(anyone, host, port, address) && rx_address_special(address))
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char		error[200];
	char	   *text = malloc(size + 1);
	char	   *list = text;
	char	   *host;
	char	   *peer;
	RxAddress	address;
	RxEgress   *egress;
	RxEgress   *anyone = rx_egress_parse("*", error, sizeof(error));

	memcpy(text, data, size);
	text[size] = '\0';
	host = list + strcspn(list, "\n");
	if (*host)
		*host++ = '\0';
	peer = host + strcspn(host, "\n");
	if (*peer)
		*peer++ = '\0';
	egress = rx_egress_parse(list, error, sizeof(error));
	if (egress && rx_address_from_text(peer, &address))
		check(egress, anyone, host, &address);
	rx_egress_unref(egress);
	rx_egress_unref(anyone);
	free(text);
	return 0;
}
