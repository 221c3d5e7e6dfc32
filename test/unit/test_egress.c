/*
 * test_egress.c
 *		reflex.allowed_hosts: what is a list, and what it allows.
 */
#include "http/egress.h"
#include "tap.h"

#include "egress_vectors.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static const struct
{
	const char *list;
	const char *host;
	int			port;
	const char *address;
	bool		allowed;
}			rules[] = {
	/* nothing */
	{"", "example.com", 443, "93.184.216.34", false},
	{"  ", "example.com", 443, "93.184.216.34", false},
	/* everybody public */
	{"*", "example.com", 443, "93.184.216.34", true},
	{" * ", "example.com", 80, "2606:4700:4700::1111", true},
	{"*", "8.8.8.8", 80, "8.8.8.8", true},
	{"*", "localhost", 80, "127.0.0.1", false},
	{"*", "127.0.0.1", 80, "127.0.0.1", false},
	{"*", "evil.example", 80, "127.0.0.1", false},
	{"*", "evil.example", 80, "169.254.169.254", false},
	{"*", "evil.example", 80, "::ffff:169.254.169.254", false},
	{"*", "evil.example", 80, "64:ff9b::a9fe:a9fe", false},
	{"*", "evil.example", 80, "2002:7f00:1::1", false},
	{"*", "evil.example", 80, "::1", false},
	{"*:443", "example.com", 443, "93.184.216.34", true},
	{"*:443", "example.com", 80, "93.184.216.34", false},
	/* a name */
	{"api.example.com", "api.example.com", 443, "93.184.216.34", true},
	{"API.Example.COM", "api.example.com", 443, "93.184.216.34", true},
	{"api.example.com.", "api.example.com", 443, "93.184.216.34", true},
	{"api.example.com", "api.example.com.", 443, "93.184.216.34", true},
	{"api.example.com", "api.example.com..", 443, "93.184.216.34", false},
	{"api.example.com", "api.example.co", 443, "93.184.216.34", false},
	{"api.example.com", "xapi.example.com", 443, "93.184.216.34", false},
	{"api.example.com", "api.example.com.evil.net", 443, "93.184.216.34", false},
	{"api.example.com", "example.com", 443, "93.184.216.34", false},
	{"api.example.com", "93.184.216.34", 443, "93.184.216.34", false},
	{"api.example.com", "api.example.com", 443, "10.0.0.5", true},
	{"localhost", "localhost", 8080, "127.0.0.1", true},
	{"localhost", "localhost", 8080, "::1", true},
	{"localhost", "evil.example", 8080, "127.0.0.1", false},
	{"localhost:8080", "localhost", 8080, "127.0.0.1", true},
	{"localhost:8080", "localhost", 8081, "127.0.0.1", false},
	{"my_host", "my_host", 80, "10.0.0.1", true},
	{"xn--bcher-kva.example", "xn--bcher-kva.example", 80, "93.184.216.34", true},
	/* everything below a name */
	{"*.example.com", "api.example.com", 443, "93.184.216.34", true},
	{"*.example.com", "a.b.example.com", 443, "93.184.216.34", true},
	{"*.example.com", "api.example.com.", 443, "93.184.216.34", true},
	{"*.example.com", "example.com", 443, "93.184.216.34", false},
	{"*.example.com", ".example.com", 443, "93.184.216.34", false},
	{"*.example.com", "badexample.com", 443, "93.184.216.34", false},
	{"*.example.com", "api.example.com.evil.net", 443, "93.184.216.34", false},
	{"*.example.com", "api.example.com", 443, "10.0.0.1", true},
	{"*.Example.com:8443", "api.example.com", 8443, "10.0.0.1", true},
	{"*.example.com:8443", "api.example.com", 443, "10.0.0.1", false},
	/* an address */
	{"127.0.0.1", "127.0.0.1", 80, "127.0.0.1", true},
	{"127.0.0.1", "localhost", 80, "127.0.0.1", true},
	{"127.0.0.1", "::ffff:127.0.0.1", 80, "::ffff:127.0.0.1", true},
	{"127.0.0.1", "127.0.0.2", 80, "127.0.0.2", false},
	{"127.0.0.1", "localhost", 80, "::1", false},
	{"127.0.0.1", "evil.example", 80, "64:ff9b::7f00:1", false},
	{"127.0.0.1:8080", "127.0.0.1", 8080, "127.0.0.1", true},
	{"127.0.0.1:8080", "127.0.0.1", 80, "127.0.0.1", false},
	{"::ffff:127.0.0.1", "127.0.0.1", 80, "127.0.0.1", true},
	{"::1", "::1", 80, "::1", true},
	{"[::1]", "::1", 80, "::1", true},
	{"[::1]:80", "::1", 80, "::1", true},
	{"[::1]:81", "::1", 80, "::1", false},
	{"2001:DB8::1", "2001:db8::1", 80, "2001:db8::1", true},
	{"2001:db8:0:0::1", "2001:db8::1", 80, "2001:db8::1", true},
	{"2001:db8::1", "2001:db8::2", 80, "2001:db8::2", false},
	/* a network */
	{"10.0.0.0/8", "10.1.2.3", 80, "10.1.2.3", true},
	{"10.0.0.0/8", "intern.example", 80, "10.255.255.255", true},
	{"10.0.0.0/8", "11.0.0.0", 80, "11.0.0.0", false},
	{"10.0.0.0/8", "evil.example", 80, "64:ff9b::a00:1", false},
	{"10.0.0.0/8:8080", "10.1.2.3", 8080, "10.1.2.3", true},
	{"10.0.0.0/8:8080", "10.1.2.3", 8081, "10.1.2.3", false},
	{"192.168.4.0/22", "192.168.7.255", 80, "192.168.7.255", true},
	{"192.168.4.0/22", "192.168.8.0", 80, "192.168.8.0", false},
	{"0.0.0.0/0", "127.0.0.1", 80, "127.0.0.1", true},
	{"0.0.0.0/0", "::1", 80, "::1", false},
	{"::/0", "::1", 80, "::1", true},
	{"::/0", "127.0.0.1", 80, "127.0.0.1", false},
	{"::/0", "evil.example", 80, "::ffff:10.0.0.1", false},
	{"fd00::/8", "fd12:3456::1", 80, "fd12:3456::1", true},
	{"fd00::/8", "fc00::1", 80, "fc00::1", false},
	{"[fd00::]/8:80", "fd00::1", 80, "fd00::1", true},
	{"[fd00::/8]:80", "fd00::1", 80, "fd00::1", true},
	{"[fd00::]/8:80", "fd00::1", 81, "fd00::1", false},
	{"64:ff9b::/96", "evil.example", 80, "64:ff9b::a00:1", true},
	{"127.0.0.1/32", "127.0.0.1", 80, "127.0.0.1", true},
	{"::1/128", "::1", 80, "::1", true},
	/* lists */
	{"*, 127.0.0.1:8080", "127.0.0.1", 8080, "127.0.0.1", true},
	{"*, 127.0.0.1:8080", "127.0.0.1", 8081, "127.0.0.1", false},
	{"*, 127.0.0.1:8080", "example.com", 443, "93.184.216.34", true},
	{"127.0.0.1:8080,*", "example.com", 443, "93.184.216.34", true},
	{"a.example,b.example", "b.example", 443, "93.184.216.34", true},
	{"a.example,b.example", "c.example", 443, "93.184.216.34", false},
	{"a.example , 10.0.0.0/8", "c.example", 443, "10.0.0.1", true},
	{"a.example , 10.0.0.0/8", "c.example", 443, "93.184.216.34", false},
	/* a host that is an address has no name to match */
	{"*.0.0.one", "127.0.0.one", 80, "127.0.0.1", true},
	{"*.example", "127.0.0.1", 80, "127.0.0.1", false},
};

static const char *const bad_lists[] = {
	",", "a.example,", ",a.example", "a.example,,b.example", "**", "*.", "*example.com", "a.*.com",
	"*.*.com", "https://example.com", "example.com/path", "user@example.com", "example.com:",
	"example.com:0", "example.com:65536", "example.com:http", "example.com:-1", "example.com:80:80",
	"ex ample.com", "example..com", ".example.com", "10.0.0", "10.0.0.256", "127.1", "0x7f000001/8",
	"10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0.0/8/8", "10.0.0.1/8", "10.0.0.0/8x", "/8",
	"[::1", "::1]", "[127.0.0.1]:80", "[example.com]", "[]", "[]:80", "[::1]x", "[::1]80", "fd00::1/8",
	"fd00::/129", "::g", "1:2:3", "fe80::1%eth0", "b\xc3\xbc" "cher.example", "a\tb", "*:*", "*/8", ".",
	"a23456789012345678901234567890.a23456789012345678901234567890.a23456789012345678901234567890."
	"a23456789012345678901234567890.a23456789012345678901234567890.a23456789012345678901234567890."
	"a23456789012345678901234567890.a23456789012345678901234567890.a23456789012345678901234567890",
};

static void
test_addresses(void)
{
	for (size_t i = 0; i < LENGTH(addresses); i++)
	{
		RxAddress	address;
		bool		read = rx_address_from_text(addresses[i].address, &address);

		ok(read && (rx_address_special(&address) != NULL) == addresses[i].special,
		   "%s is %s", addresses[i].address, addresses[i].special ? "special" : "public");
	}
}

static void
test_rules(void)
{
	for (size_t i = 0; i < LENGTH(rules); i++)
	{
		char		error[200] = "";
		RxEgress   *egress = rx_egress_parse(rules[i].list, error, sizeof(error));
		RxAddress	address;
		bool		allowed;

		rx_address_from_text(rules[i].address, &address);
		allowed = !rx_egress_refusal(egress, rules[i].host, rules[i].port, &address);
		ok(egress && allowed == rules[i].allowed, "\"%s\" %s %s:%d at %s", rules[i].list,
		   rules[i].allowed ? "allows" : "refuses", rules[i].host, rules[i].port, rules[i].address);
		/* What is allowed at an address must not be refused before it is known. */
		if (allowed && rx_egress_refusal_of_name(egress, rules[i].host, rules[i].port))
			ok(false, "\"%s\" refuses %s too early", rules[i].list, rules[i].host);
		rx_egress_unref(egress);
	}
}

static void
test_bad_lists(void)
{
	for (size_t i = 0; i < LENGTH(bad_lists); i++)
	{
		char		error[200] = "";
		RxEgress   *egress = rx_egress_parse(bad_lists[i], error, sizeof(error));

		ok(!egress && error[0], "\"%s\" is not a list", bad_lists[i]);
		rx_egress_unref(egress);
	}
}

static const char *
early(const char *list, const char *host, int port)
{
	char		error[200];
	RxEgress   *egress = rx_egress_parse(list, error, sizeof(error));
	const char *refusal = rx_egress_refusal_of_name(egress, host, port);

	rx_egress_unref(egress);
	return refusal;
}

static void
test_before_resolving(void)
{
	ok(early("a.example", "b.example", 80), "a name that can't be allowed is not resolved");
	ok(!early("a.example,10.0.0.0/8", "b.example", 80), "unless its address could be allowed");
	ok(!early("*", "b.example", 80), "everybody's is");
	ok(early("*", "127.0.0.1", 80), "an address is judged at once");
	ok(early("*:443", "b.example", 80), "a port too");
	ok(early(NULL, "b.example", 80), "no list allows nothing");
}

static void
test_sockaddr(void)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	struct sockaddr other = {.sa_family = AF_UNIX};
	RxAddress	address;

	inet_pton(AF_INET6, "::ffff:127.0.0.1", &v6.sin6_addr);
	ok(rx_address_from_sockaddr((struct sockaddr *) &v6, &address) && address.family == AF_INET,
	   "an IPv4 address in an IPv6 socket is an IPv4 address");
	ok(!rx_address_from_sockaddr(&other, &address), "another family is none");
	ok(rx_egress_refusal(NULL, "example.com", 80, &address), "no list allows nothing");
}

int
main(void)
{
	test_addresses();
	test_rules();
	test_bad_lists();
	test_before_resolving();
	test_sockaddr();
	return done();
}
