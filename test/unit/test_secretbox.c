/*
 * test_secretbox.c
 *		Boxes open with their key and name and with nothing else.
 */
#include "crypto/secretbox.h"
#include "tap.h"

#define NAME "api/key"
#define VALUE "sk-hello"
#define LEN (sizeof(VALUE) - 1)
#define BOX_LEN (LEN + RX_SECRETBOX_OVERHEAD)

static uint8_t key[RX_SECRETBOX_KEY_SIZE];
static uint8_t box[BOX_LEN];

static bool
opens(const uint8_t *with, const char *name, const uint8_t *sealed, size_t len)
{
	char		out[BOX_LEN] = {0};

	return rx_secretbox_open(with, name, sealed, len, out) &&
		len == BOX_LEN && memcmp(out, VALUE, LEN) == 0;
}

/* Any bit of the box matters: version, nonce, ciphertext, tag. */
static void
test_changes(void)
{
	int			opened = 0;

	for (size_t i = 0; i < BOX_LEN * 8; i++)
	{
		uint8_t		changed[BOX_LEN];

		memcpy(changed, box, BOX_LEN);
		changed[i / 8] ^= (uint8_t) (1 << i % 8);
		opened += opens(key, NAME, changed, BOX_LEN);
	}
	is_number(opened, 0, "a box with one bit changed never opens");
	for (size_t len = 0; len < BOX_LEN; len++)
		opened += opens(key, NAME, box, len);
	is_number(opened, 0, "nor does one that is cut short");
}

static void
test_binding(void)
{
	uint8_t		other[RX_SECRETBOX_KEY_SIZE];

	memcpy(other, key, sizeof(other));
	other[31] ^= 1;
	ok(!opens(other, NAME, box, BOX_LEN), "another key does not open it");
	ok(!opens(key, "api/kez", box, BOX_LEN), "nor another name");
	ok(!opens(key, "", box, BOX_LEN), "nor none");
}

static void
test_wiping(void)
{
	char		out[LEN];
	bool		clean = true;

	memset(out, 'x', LEN);
	box[BOX_LEN - 1] ^= 1;
	ok(!rx_secretbox_open(key, NAME, box, BOX_LEN, out), "a box with a wrong tag fails");
	box[BOX_LEN - 1] ^= 1;
	for (size_t i = 0; i < LEN; i++)
		clean &= out[i] == '\0';
	ok(clean, "and leaves nothing of the value behind");
}

/* Sealed by another implementation of AES-256-GCM (Python's cryptography). */
static void
test_known_box(void)
{
	static const uint8_t known[] = {
		0x01, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e,
		0x6f, 0x3b, 0x70, 0xf3, 0x0e, 0x1c, 0x85, 0x3a, 0xf1, 0xd4, 0xb0, 0xfb,
		0xfe, 0x0e, 0x16, 0x7a, 0xe4, 0x30, 0x44, 0xdd, 0x9f, 0xdf, 0xf4, 0x55,
		0x94,
	};
	uint8_t		counting[RX_SECRETBOX_KEY_SIZE];

	for (int i = 0; i < RX_SECRETBOX_KEY_SIZE; i++)
		counting[i] = (uint8_t) i;
	ok(opens(counting, NAME, known, sizeof(known)), "a box of another implementation opens");
}

int
main(void)
{
	uint8_t		again[BOX_LEN];
	uint8_t		empty[RX_SECRETBOX_OVERHEAD];
	char		nothing;

	ok(rx_secretbox_random(key, sizeof(key)), "a key");
	ok(rx_secretbox_seal(key, NAME, VALUE, LEN, box), "a value is sealed");
	ok(opens(key, NAME, box, BOX_LEN), "and opened");
	ok(rx_secretbox_seal(key, NAME, VALUE, LEN, again) && memcmp(box, again, BOX_LEN) != 0,
	   "twice the same value gives two boxes");
	ok(rx_secretbox_seal(key, NAME, "", 0, empty) &&
	   rx_secretbox_open(key, NAME, empty, sizeof(empty), &nothing), "an empty value");
	test_changes();
	test_binding();
	test_wiping();
	test_known_box();
	return done();
}
