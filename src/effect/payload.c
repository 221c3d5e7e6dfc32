/*
 * payload.c
 *		The shapes that payloads of public kinds must have.
 *
 * Checked when the effect is emitted, so that a mistake is told to whoever
 * makes it and not to whoever reads the dead letters.  What only time tells
 * (whether the secret is there, the host allowed) is left to the attempt.
 */
#include "reflex.h"

#include "base/header.h"
#include "effect/effect_int.h"
#include "pg/jsonb_get.h"

#define MAX_URL 8192

typedef void (*CheckPayload) (JsonbContainer *payload);

static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};

static void
invalid(const char *kind, const char *detail)
{
	ereport(ERROR,
			errcode(ERRCODE_RX_INVALID),
			errmsg("invalid payload for an effect of kind \"%s\"", kind),
			errdetail_internal("%s", detail));
}

/* A misspelt key would otherwise be an instruction that is quietly not followed. */
typedef struct KnownKeys
{
	const char *kind;
	const char *const *keys;	/* NULL at the end */
} KnownKeys;

static void
check_known(const char *key, JsonbValue *value, void *arg)
{
	const KnownKeys *known = arg;

	for (const char *const *k = known->keys; *k; k++)
		if (strcmp(*k, key) == 0)
			return;
	invalid(known->kind, psprintf("Unknown key \"%s\".", key));
}

static void
check_keys(const char *kind, JsonbContainer *payload, const char *const *keys)
{
	KnownKeys	known = {kind, keys};

	rx_jsonb_each(payload, check_known, &known);
}

static char *
require_string(const char *kind, JsonbContainer *payload, const char *key)
{
	char	   *value = rx_jsonb_string(payload, key);

	if (value == NULL || value[0] == '\0')
		invalid(kind, psprintf("\"%s\" must be a string that is not empty.", key));
	return value;
}

static void
check_url(const char *url)
{
	const char *rest = url;

	if (pg_strncasecmp(url, "http://", 7) == 0)
		rest = url + 7;
	else if (pg_strncasecmp(url, "https://", 8) == 0)
		rest = url + 8;
	if (rest == url || *rest == '\0' || strchr("/?#", *rest) != NULL)
		invalid(RX_KIND_HTTP, "\"url\" must be an http or https URL with a host.");
	if (strlen(url) > MAX_URL)
		invalid(RX_KIND_HTTP, psprintf("\"url\" is longer than %d bytes.", MAX_URL));
	for (const char *c = url; *c; c++)
		if ((unsigned char) *c <= 0x20 || *c == 0x7F)
			invalid(RX_KIND_HTTP, "\"url\" contains a space or a control character.");
	if (memchr(rest, '@', strcspn(rest, "/?#")) != NULL)
		invalid(RX_KIND_HTTP, "\"url\" contains a user name or password, which would be stored in clear.");
}

static void
check_method(JsonbValue *value)
{
	char	   *method = rx_jsonb_cstring(value);

	if (value == NULL)
		return;
	for (int i = 0; method != NULL && i < (int) lengthof(methods); i++)
		if (pg_strcasecmp(method, methods[i]) == 0)
			return;
	invalid(RX_KIND_HTTP, "\"method\" must be GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.");
}

static void
check_header(const char *name, JsonbValue *value, void *arg)
{
	char	   *text_value = rx_jsonb_cstring(value);

	if (!rx_header_name_valid(name))
		invalid(RX_KIND_HTTP, psprintf("\"%s\" is not the name of a header.", name));
	if (text_value == NULL)
		invalid(RX_KIND_HTTP, psprintf("The value of header \"%s\" must be a string.", name));
	if (!rx_header_value_valid(text_value))
		invalid(RX_KIND_HTTP, psprintf("The value of header \"%s\" contains a line break or another control character.", name));
	switch (rx_header_owner(name))
	{
		case RX_HEADER_CALLER:
			break;
		case RX_HEADER_FRAMING:
			invalid(RX_KIND_HTTP, psprintf("Header \"%s\" belongs to the transport.", name));
			break;
		case RX_HEADER_IDENTITY:
			invalid(RX_KIND_HTTP, psprintf("Header \"%s\" is set by reflex.", name));
			break;
	}
}

static void
check_http(JsonbContainer *payload)
{
	static const char *const keys[] = {"url", "method", "headers", "body", NULL};
	JsonbValue *headers = rx_jsonb_member(payload, "headers");

	check_keys(RX_KIND_HTTP, payload, keys);
	check_url(require_string(RX_KIND_HTTP, payload, "url"));
	check_method(rx_jsonb_member(payload, "method"));
	if (headers == NULL)
		return;
	if (rx_jsonb_object(headers) == NULL)
		invalid(RX_KIND_HTTP, "\"headers\" must be an object of strings.");
	rx_jsonb_each(rx_jsonb_object(headers), check_header, NULL);
}

static void
check_slack(JsonbContainer *payload)
{
	static const char *const keys[] = {"webhook", "text", "blocks", NULL};
	JsonbValue *message = rx_jsonb_member(payload, "text");
	JsonbValue *blocks = rx_jsonb_member(payload, "blocks");

	check_keys("slack", payload, keys);
	require_string("slack", payload, "webhook");
	if (message == NULL && blocks == NULL)
		invalid("slack", "There must be \"text\" or \"blocks\".");
	if (message != NULL && message->type != jbvString)
		invalid("slack", "\"text\" must be a string.");
	if (blocks != NULL && rx_jsonb_array(blocks) == NULL)
		invalid("slack", "\"blocks\" must be an array.");
}

static void
check_twilio_message(JsonbContainer *payload)
{
	static const char *const keys[] = {
		"account", "to", "from", "body", "content_sid", "content_variables", NULL
	};
	const char *kind = "twilio.message";
	JsonbValue *variables = rx_jsonb_member(payload, "content_variables");

	check_keys(kind, payload, keys);
	require_string(kind, payload, "account");
	require_string(kind, payload, "to");
	require_string(kind, payload, "from");
	if (rx_jsonb_string(payload, "body") == NULL && rx_jsonb_string(payload, "content_sid") == NULL)
		invalid(kind, "There must be \"body\" or \"content_sid\", a string.");
	if (variables != NULL && variables->type != jbvString && rx_jsonb_object(variables) == NULL)
		invalid(kind, "\"content_variables\" must be an object.");
}

void
rx_effect_check_payload(const char *kind, Jsonb *payload)
{
	static const struct
	{
		const char *kind;
		CheckPayload check;
	}			checks[] = {
		{RX_KIND_HTTP, check_http},
		{"slack", check_slack},
		{"twilio.message", check_twilio_message},
	};

	if (!rx_jsonb_is_object(payload))
		invalid(kind, "The payload must be an object.");
	for (int i = 0; i < (int) lengthof(checks); i++)
		if (strcmp(kind, checks[i].kind) == 0)
			checks[i].check(&payload->root);
}
