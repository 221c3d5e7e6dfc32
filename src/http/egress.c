/*
 * egress.c
 *		Where reflex may connect to.  See egress.h.
 *
 * A list is read once into an array of entries and never changes; calls hold
 * references, so that a call ends under the list it began with.
 */
#include "http/egress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NAME 253
#define NOT_LISTED "the host is not in reflex.allowed_hosts"

typedef enum EntryKind
{
	ENTRY_ANY,					/* * */
	ENTRY_NAME,					/* a host */
	ENTRY_SUFFIX,				/* *.name; name keeps its leading dot */
	ENTRY_NETWORK				/* an address is a network of full width */
} EntryKind;

typedef struct Entry
{
	EntryKind	kind;
	int			port;			/* 0: any */
	char		name[MAX_NAME + 2];
	RxAddress	network;
	int			bits;
} Entry;

struct RxEgress
{
	int			references;
	int			n_entries;
	Entry		entries[];
};

static int
lower(int c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '_';
}

/* A decimal number without sign or spaces, at most max; -1 otherwise. */
static int
read_number(const char *text, int max)
{
	int			n = 0;

	if (*text == '\0')
		return -1;
	for (; *text; text++)
	{
		if (!is_digit(*text))
			return -1;
		n = n * 10 + (*text - '0');
		if (n > max)
			return -1;
	}
	return n;
}

/*
 * Labels of letters, digits, - and _.  A last label of digits is refused: it
 * is an address with a mistake in it, and would silently match nothing.
 */
static bool
is_host_name(const char *name)
{
	const char *label = name;
	bool		numeric = true;

	if (strlen(name) > MAX_NAME)
		return false;
	for (const char *p = name;; p++)
	{
		if (*p == '.' || *p == '\0')
		{
			if (p == label)
				return false;
			if (*p == '\0')
				return !numeric;
			label = p + 1;
			numeric = true;
		}
		else if (!is_name_char(*p))
			return false;
		else if (!is_digit(*p))
			numeric = false;
	}
}

static bool
has_host_bits(const RxAddress *network, int bits)
{
	for (int i = bits; i < rx_address_bits(network); i++)
		if (network->bytes[i / 8] & (0x80 >> (i % 8)))
			return true;
	return false;
}

/* address, or address/bits with nothing to the right of the bits */
static bool
read_network(char *text, Entry *entry)
{
	char	   *slash = strchr(text, '/');

	if (slash)
		*slash = '\0';
	if (!rx_address_from_text(text, &entry->network))
		return false;
	entry->kind = ENTRY_NETWORK;
	entry->bits = rx_address_bits(&entry->network);
	if (slash)
		entry->bits = read_number(slash + 1, entry->bits);
	return entry->bits >= 0 && !has_host_bits(&entry->network, entry->bits);
}

static bool
read_name(char *text, Entry *entry)
{
	size_t		length = strlen(text);
	bool		suffix = strncmp(text, "*.", 2) == 0;
	const char *name = suffix ? text + 1 : text;

	if (strcmp(text, "*") == 0)
	{
		entry->kind = ENTRY_ANY;
		return true;
	}
	if (length > 1 && text[length - 1] == '.')
		text[length - 1] = '\0';
	if (!is_host_name(suffix ? text + 2 : text))
		return false;
	entry->kind = suffix ? ENTRY_SUFFIX : ENTRY_NAME;
	memcpy(entry->name, name, strlen(name) + 1);
	return true;
}

/*
 * Cuts :port off.  [address]:port and [address]/bits:port lose their brackets;
 * without brackets, two colons are an IPv6 address and no port.
 */
static bool
cut_port(char *text, int *port)
{
	char	   *close = text[0] == '[' ? strchr(text, ']') : NULL;
	char	   *colon = strchr(close ? close : text, ':');

	if (text[0] == '[' && !close)
		return false;
	if (!close && colon && strchr(colon + 1, ':'))
		colon = NULL;
	*port = 0;
	if (colon)
	{
		*colon = '\0';
		*port = read_number(colon + 1, 65535);
		if (*port <= 0)
			return false;
	}
	if (close)
	{
		if (close[1] != '\0' && close[1] != '/')
			return false;
		memmove(close, close + 1, strlen(close + 1) + 1);
		memmove(text, text + 1, strlen(text + 1) + 1);
		return strchr(text, ':') != NULL;	/* brackets are for IPv6 */
	}
	return true;
}

static bool
read_entry(char *text, Entry *entry)
{
	RxAddress	ignored;

	memset(entry, 0, sizeof(*entry));
	if (!cut_port(text, &entry->port))
		return false;
	if (strchr(text, '/') || rx_address_from_text(text, &ignored))
		return read_network(text, entry);
	return read_name(text, entry);
}

/* The next item, trimmed and in lower case, in buffer; false when it is too long. */
static bool
next_item(const char **list, char *buffer, size_t size)
{
	const char *start = *list + strspn(*list, " \t\r\n");
	size_t		length = strcspn(start, ",");

	*list = start + length;
	while (length > 0 && strchr(" \t\r\n", start[length - 1]))
		length--;
	if (length >= size)
		return false;
	for (size_t i = 0; i < length; i++)
		buffer[i] = (char) lower((unsigned char) start[i]);
	buffer[length] = '\0';
	return true;
}

static int
count_items(const char *list)
{
	int			n = 1;

	if (list[strspn(list, " \t\r\n")] == '\0')
		return 0;
	for (; *list; list++)
		n += *list == ',';
	return n;
}

static bool
read_entries(RxEgress *egress, const char *list, char *error, size_t error_size)
{
	char		item[MAX_NAME + 16];
	int			n = count_items(list);

	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			list++;				/* the comma */
		if (!next_item(&list, item, sizeof(item)) || !read_entry(item, &egress->entries[i]))
		{
			snprintf(error, error_size,
					 "entry %d is not a host name, *.suffix, address or network with an optional port",
					 i + 1);
			return false;
		}
		egress->n_entries++;
	}
	return true;
}

RxEgress *
rx_egress_parse(const char *list, char *error, size_t error_size)
{
	const char *text = list ? list : "";
	RxEgress   *egress = malloc(sizeof(RxEgress) + sizeof(Entry) * (size_t) count_items(text));

	if (!egress)
	{
		snprintf(error, error_size, "out of memory");
		return NULL;
	}
	egress->references = 1;
	egress->n_entries = 0;
	if (read_entries(egress, text, error, error_size))
		return egress;
	free(egress);
	return NULL;
}

RxEgress *
rx_egress_ref(RxEgress *egress)
{
	if (egress)
		egress->references++;
	return egress;
}

void
rx_egress_unref(RxEgress *egress)
{
	if (egress && --egress->references == 0)
		free(egress);
}

/* Names only: the host of a URL that is an address has none. */
static bool
names_host(const Entry *entry, const char *host)
{
	size_t		length = strlen(host);
	size_t		suffix;

	if (length > 1 && host[length - 1] == '.')
		length--;
	switch (entry->kind)
	{
		case ENTRY_NAME:
			return strlen(entry->name) == length && memcmp(entry->name, host, length) == 0;
		case ENTRY_SUFFIX:
			suffix = strlen(entry->name);
			return length > suffix && memcmp(host + length - suffix, entry->name, suffix) == 0;
		default:
			return false;
	}
}

const char *
rx_egress_refusal(const RxEgress *egress, const char *host, int port, const RxAddress *address)
{
	const char *refusal = NOT_LISTED;
	RxAddress	literal;
	bool		has_name = !rx_address_from_text(host, &literal);

	for (int i = 0; egress && i < egress->n_entries; i++)
	{
		const Entry *entry = &egress->entries[i];

		if (entry->port != 0 && entry->port != port)
			continue;
		if (has_name && names_host(entry, host))
			return NULL;
		if (entry->kind == ENTRY_NETWORK && rx_address_in(address, &entry->network, entry->bits))
			return NULL;
		if (entry->kind == ENTRY_ANY)
		{
			if (!rx_address_special(address))
				return NULL;
			refusal = "the address is special-purpose and not named in reflex.allowed_hosts";
		}
	}
	return refusal;
}

const char *
rx_egress_refusal_of_name(const RxEgress *egress, const char *host, int port)
{
	RxAddress	address;

	if (rx_address_from_text(host, &address))
		return rx_egress_refusal(egress, host, port, &address);
	for (int i = 0; egress && i < egress->n_entries; i++)
	{
		const Entry *entry = &egress->entries[i];

		if (entry->port != 0 && entry->port != port)
			continue;
		if (entry->kind == ENTRY_ANY || entry->kind == ENTRY_NETWORK || names_host(entry, host))
			return NULL;
	}
	return NOT_LISTED;
}
