/*
 * test_text.c
 *		What peers send becomes text that can be stored; trace contexts and headers.
 */
#include "base/header.h"
#include "base/text_valid.h"
#include "base/traceparent.h"
#include "tap.h"

#define R "\xEF\xBF\xBD"
#define BYTES(s) s, sizeof(s) - 1

static const struct
{
	const char *in;
	size_t		len;
	const char *out;
	const char *name;
}			texts[] = {
	{BYTES(""), "", "nothing"},
	{BYTES("plain"), "plain", "ASCII"},
	{BYTES("a\0b\0"), "ab", "NULs are left out"},
	{BYTES("gr\xC3\xBC\xC3\x9F"), "gr\xC3\xBC\xC3\x9F", "two bytes"},
	{BYTES("\xE2\x82\xAC"), "\xE2\x82\xAC", "three bytes"},
	{BYTES("\xF0\x9F\x98\x80"), "\xF0\x9F\x98\x80", "four bytes"},
	{BYTES("\xF4\x8F\xBF\xBF"), "\xF4\x8F\xBF\xBF", "the last character"},
	{BYTES("\xF4\x90\x80\x80"), R R R R, "above the last character"},
	{BYTES("\xC0\x80"), R R, "overlong NUL"},
	{BYTES("\xE0\x9F\xBF"), R R R, "overlong, three bytes"},
	{BYTES("\xF0\x8F\xBF\xBF"), R R R R, "overlong, four bytes"},
	{BYTES("\xED\xA0\x80"), R R R, "a surrogate"},
	{BYTES("\xED\x9F\xBF"), "\xED\x9F\xBF", "just below the surrogates"},
	{BYTES("\x80z"), R "z", "a continuation by itself"},
	{BYTES("\xFFz"), R "z", "a byte that never occurs"},
	{BYTES("a\xE2\x82"), "a" R R, "cut off at the end"},
	{BYTES("\xE2\x82z"), R R "z", "cut off in the middle"},
	{BYTES("\xC3\0z"), R "z", "NUL for a continuation"},
};

static void
test_texts(void)
{
	char		out[64];

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		size_t		len = rx_text_valid(texts[i].in, texts[i].len, out, sizeof(out), false);

		is_text(out, texts[i].out, "%s", texts[i].name);
		is_number((long long) len, (long long) strlen(texts[i].out), "%s: its length", texts[i].name);
	}
	rx_text_valid(BYTES("a\xC3\xBC\xFF" "b"), out, sizeof(out), true);
	is_text(out, "a??b", "ASCII only");
}

/* However little room there is, what is kept is a prefix of whole characters. */
static void
test_cutting(void)
{
	const char *in = "a\xC3\xBC\xE2\x82\xAC\xF0\x9F\x98\x80";
	static const size_t expected[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
	char		out[16];
	int			wrong = 0;

	for (size_t room = 1; room <= 12; room++)
	{
		memset(out, '#', sizeof(out));
		wrong += rx_text_valid(in, strlen(in), out, room, false) != expected[room - 1] ||
			strlen(out) != expected[room - 1] || memcmp(out, in, expected[room - 1]) != 0 ||
			out[room] != '#';
	}
	is_number(wrong, 0, "cut between characters, within its room");
}

static void
test_traceparent(void)
{
	static const uint8_t id[16] = {1, 2, 3, 4, 5, 6, 0x70, 8, 0x80, 10, 11, 12, 13, 14, 15, 16};
	const char *parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
	char		first[RX_TRACEPARENT_LEN + 1];
	char		again[RX_TRACEPARENT_LEN + 1];
	char		second[RX_TRACEPARENT_LEN + 1];

	rx_traceparent_child(first, NULL, id, 1);
	rx_traceparent_child(again, "nonsense", id, 1);
	rx_traceparent_child(second, NULL, id, 2);
	ok(rx_traceparent_valid(first), "a trace of its own is valid");
	ok(strncmp(first, "00-0102030405067008800a0b0c0d0e0f10-", 36) == 0, "and is that of the id");
	ok(strcmp(first + 52, "-01") == 0, "and sampled");
	is_text(again, first, "the same every time");
	ok(memcmp(first, second, 36) == 0 && memcmp(first + 36, second + 36, 16) != 0,
	   "each attempt is a span of its own");
	rx_traceparent_child(first, parent, id, 1);
	ok(rx_traceparent_valid(first) && memcmp(first, parent, 36) == 0 &&
	   memcmp(first + 36, parent + 36, 16) != 0 && strcmp(first + 52, "-00") == 0,
	   "a child goes on with its parent's trace and flags");
	ok(!rx_traceparent_valid("00-00000000000000000000000000000000-00f067aa0ba902b7-00"), "no trace");
	ok(!rx_traceparent_valid("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-00"), "no span");
	ok(!rx_traceparent_valid("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-00"), "upper case");
	ok(!rx_traceparent_valid("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"), "another version");
	ok(!rx_traceparent_valid(""), "empty");
}

static void
test_headers(void)
{
	ok(rx_header_name_valid("X-Mine_1"), "a name");
	ok(!rx_header_name_valid("") && !rx_header_name_valid("X Y") && !rx_header_name_valid("X:") &&
	   !rx_header_name_valid("X\n") && !rx_header_name_valid("\xC3\xBC"), "no names");
	ok(rx_header_value_valid("") && rx_header_value_valid("a\tb \xC3\xBC"), "values");
	ok(!rx_header_value_valid("a\rb") && !rx_header_value_valid("a\nb") &&
	   !rx_header_value_valid("\x01") && !rx_header_value_valid("\x7F"), "no values");
	is_number(rx_header_owner("HOST"), RX_HEADER_FRAMING, "the transport's");
	is_number(rx_header_owner("Traceparent"), RX_HEADER_IDENTITY, "reflex's");
	is_number(rx_header_owner("Content-Type"), RX_HEADER_CALLER, "the caller's");
}

int
main(void)
{
	test_texts();
	test_cutting();
	test_traceparent();
	test_headers();
	return done();
}
