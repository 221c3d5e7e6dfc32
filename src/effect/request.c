/*
 * request.c
 *		From the form that a kind gives to an HTTP request.
 *
 * The form of a request is what a kind's request function returns, and for
 * kind http the payload itself (payload.c has seen to it that this one names
 * no secrets):
 *
 *	url			text, or {"secret": name}
 *	method		text; POST by default
 *	headers		object of strings
 *	body		any JSON; a string is sent as it is
 *	form		object of strings or arrays of them, sent urlencoded
 *	auth		{"type": "bearer" | "basic" | "header", "secret": name, "user", "header"}
 *	accept		array of statuses besides 2xx that are fine
 *	total_timeout_ms, first_byte_timeout_ms
 *
 * Secrets are resolved here, in memory that is wiped once the engine has its
 * copy, and each may limit the hosts that it is sent to.  Everything is
 * converted to UTF-8, which is what the outside speaks.
 */
#include "reflex.h"

#include "base/header.h"
#include "base/traceparent.h"
#include "common/base64.h"
#include "effect/effect_int.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "pg/guc.h"
#include "pg/jsonb_get.h"
#include "pg/secret.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/formatting.h"
#include "utils/uuid.h"

#include <ctype.h>

#define CONNECT_TIMEOUT_MS 5000
#define MAX_SECRETS 2

typedef struct Build
{
	RxEffectRequest *request;
	JsonbContainer *form;
	int			room;			/* headers that fit before the array grows */
	bool		has_content_type;
	int			n_secrets;
	const char *secret_names[MAX_SECRETS];
	RxSecret	secrets[MAX_SECRETS];
} Build;

static void
unusable(const char *detail)
{
	ereport(ERROR,
			errcode(ERRCODE_RX_INVALID),
			errmsg("the effect can't be made into a request: %s", detail));
}

static char *
to_utf8(const char *s)
{
	return pg_server_to_any(s, strlen(s), PG_UTF8);
}

static void
add_sensitive(Build *b, char *s)
{
	b->request->sensitive = lappend(b->request->sensitive, s);
}

static void
add_header(Build *b, const char *name, const char *value)
{
	RxHttpRequest *http = &b->request->http;

	if (http->n_headers == b->room)
	{
		b->room = b->room ? b->room * 2 : 16;
		http->headers = http->headers
			? repalloc(http->headers, b->room * sizeof(RxHttpHeader))
			: palloc(b->room * sizeof(RxHttpHeader));
	}
	http->headers[http->n_headers].name = pstrdup(name);
	http->headers[http->n_headers].value = (char *) value;
	http->n_headers++;
}

static const char *
load_secret(Build *b, const char *name)
{
	RxSecret   *secret = &b->secrets[b->n_secrets];

	if (name == NULL || b->n_secrets == MAX_SECRETS)
		unusable("a secret must be given by its name");
	rx_secret_load(name, secret);
	add_sensitive(b, secret->value);
	b->secret_names[b->n_secrets++] = name;
	return secret->value;
}

static void
take_url(Build *b)
{
	JsonbValue *url = rx_jsonb_member(b->form, "url");
	JsonbContainer *by_secret = rx_jsonb_object(url);

	if (by_secret)
		b->request->http.url = (char *) load_secret(b, rx_jsonb_string(by_secret, "secret"));
	else if (url != NULL && url->type == jbvString)
		b->request->http.url = to_utf8(rx_jsonb_cstring(url));
	else
		unusable("there is no URL");
}

static void
take_method(Build *b)
{
	char	   *method = rx_jsonb_string(b->form, "method");

	b->request->http.method = method ? asc_toupper(method, strlen(method)) : pstrdup("POST");
}

/* What is not the caller's to set is left out; payload.c has told him. */
static void
take_header(const char *name, JsonbValue *value, void *arg)
{
	Build	   *b = arg;
	char	   *s = rx_jsonb_cstring(value);

	if (s == NULL || !rx_header_name_valid(name) || !rx_header_value_valid(s))
		unusable(psprintf("header \"%s\" is not valid", name));
	if (rx_header_owner(name) != RX_HEADER_CALLER)
		return;
	if (pg_strcasecmp(name, "content-type") == 0)
		b->has_content_type = true;
	add_header(b, name, to_utf8(s));
}

static void
set_body(Build *b, char *body, const char *content_type)
{
	b->request->http.body = body;
	b->request->http.body_len = strlen(body);
	if (!b->has_content_type)
		add_header(b, "Content-Type", content_type);
}

static void
append_encoded(StringInfo out, const char *s)
{
	for (const unsigned char *c = (const unsigned char *) to_utf8(s); *c; c++)
	{
		if (isalnum(*c) || strchr("-._*", *c) != NULL)
			appendStringInfoChar(out, *c);
		else if (*c == ' ')
			appendStringInfoChar(out, '+');
		else
			appendStringInfo(out, "%%%02X", *c);
	}
}

typedef struct FormField
{
	StringInfo	out;
	const char *name;
} FormField;

static void
append_field(const char *key, JsonbValue *value, void *arg)
{
	FormField  *field = arg;
	char	   *s = rx_jsonb_cstring(value);

	if (value->type == jbvNull)
		return;
	if (s == NULL)
		unusable(psprintf("form field \"%s\" is neither a string nor an array of strings", field->name));
	if (field->out->len > 0)
		appendStringInfoChar(field->out, '&');
	append_encoded(field->out, field->name);
	appendStringInfoChar(field->out, '=');
	append_encoded(field->out, s);
}

static void
append_fields(const char *key, JsonbValue *value, void *arg)
{
	FormField	field = {arg, key};

	if (rx_jsonb_array(value))
		rx_jsonb_each(rx_jsonb_array(value), append_field, &field);
	else
		append_field(NULL, value, &field);
}

static void
take_form(Build *b, JsonbContainer *fields)
{
	StringInfoData out;

	initStringInfo(&out);
	rx_jsonb_each(fields, append_fields, &out);
	set_body(b, out.data, "application/x-www-form-urlencoded");
}

static void
take_body(Build *b)
{
	JsonbValue *body = rx_jsonb_member(b->form, "body");
	JsonbContainer *fields = rx_jsonb_object(rx_jsonb_member(b->form, "form"));
	Jsonb	   *json;

	if (fields)
		take_form(b, fields);
	else if (body != NULL && body->type == jbvString)
		set_body(b, to_utf8(rx_jsonb_cstring(body)), "text/plain; charset=utf-8");
	else if (body != NULL)
	{
		json = JsonbValueToJsonb(body);
		set_body(b, to_utf8(JsonbToCString(NULL, &json->root, VARSIZE(json))), "application/json");
	}
}

static char *
basic_credentials(Build *b, const char *user, const char *password)
{
	char	   *plain = psprintf("%s:%s", user, password);
	int			room = pg_b64_enc_len(strlen(plain));
	char	   *encoded = palloc(room + 1);
	int			len = pg_b64_encode(plain, strlen(plain), encoded, room);
	char	   *value;

	encoded[len] = '\0';
	value = psprintf("Basic %s", encoded);
	add_sensitive(b, plain);
	add_sensitive(b, encoded);
	return value;
}

static void
add_authentication(Build *b, const char *name, char *value)
{
	add_sensitive(b, value);
	if (!rx_header_name_valid(name) || !rx_header_value_valid(value))
		unusable("a secret that is sent in a header must not contain line breaks");
	add_header(b, name, value);
}

static void
take_auth(Build *b)
{
	JsonbContainer *auth = rx_jsonb_object(rx_jsonb_member(b->form, "auth"));
	char	   *type = auth ? rx_jsonb_string(auth, "type") : NULL;
	char	   *user;
	char	   *header;
	const char *secret;

	if (auth == NULL)
		return;
	secret = load_secret(b, rx_jsonb_string(auth, "secret"));
	user = rx_jsonb_string(auth, "user");
	header = rx_jsonb_string(auth, "header");
	if (type != NULL && strcmp(type, "bearer") == 0)
		add_authentication(b, "Authorization", psprintf("Bearer %s", secret));
	else if (type != NULL && strcmp(type, "basic") == 0 && user != NULL)
		add_authentication(b, "Authorization", basic_credentials(b, user, secret));
	else if (type != NULL && strcmp(type, "header") == 0 && header != NULL)
		add_authentication(b, header, pstrdup(secret));
	else
		unusable("it has an unknown type of authentication");
}

/*
 * The host is what the transport makes of the URL, so that there is no second
 * parser to disagree with it.  Neither it nor the URL is named: either may be
 * the secret.
 */
static void
check_secret_hosts(Build *b)
{
	char		host[256];

	if (b->n_secrets > 0 && !rx_http_url_host(b->request->http.url, host, sizeof(host)))
		unusable("its URL is not valid");
	for (int i = 0; i < b->n_secrets; i++)
		if (!rx_secret_allows(&b->secrets[i], host))
			ereport(ERROR,
					errcode(ERRCODE_RX_INVALID),
					errmsg("secret \"%s\" must not be sent to this host", b->secret_names[i]),
					errhint("The hosts it may go to are those given to reflex.set_secret."));
}

static void
add_own_headers(Build *b, const RxRecord *record, int attempt)
{
	char	   *id = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&record->id)));
	char	   *parent = record->meta ? rx_jsonb_string(&record->meta->root, "traceparent") : NULL;
	char	   *traceparent = palloc(RX_TRACEPARENT_LEN + 1);

	rx_traceparent_child(traceparent, parent, record->id.data, (uint32) attempt);
	add_header(b, "Idempotency-Key", id);
	add_header(b, "X-Reflex-Effect-Id", id);
	add_header(b, "X-Reflex-Attempt", psprintf("%d", attempt));
	add_header(b, "traceparent", traceparent);
	add_header(b, "User-Agent", "reflex/" REFLEX_VERSION);
}

static void
take_limits(Build *b)
{
	RxHttpRequest *http = &b->request->http;
	int			total = rx_jsonb_int(b->form, "total_timeout_ms", rx_guc_http_timeout);
	int			first_byte = rx_jsonb_int(b->form, "first_byte_timeout_ms", 0);

	http->total_timeout_ms = Min(Max(total, 1), RX_EFFECT_MAX_TIMEOUT_MS);
	http->first_byte_timeout_ms = Max(first_byte, 0);
	http->connect_timeout_ms = Min(CONNECT_TIMEOUT_MS, http->total_timeout_ms);
	http->max_response = rx_guc_max_response_size;
}

static void
take_accepted(const char *key, JsonbValue *value, void *arg)
{
	RxEffectRequest *request = arg;

	if (value->type == jbvNumeric && request->n_accept < RX_MAX_ACCEPT)
		request->accept[request->n_accept++] =
			DatumGetInt32(DirectFunctionCall1(numeric_int4, NumericGetDatum(value->val.numeric)));
}

/* Raises PT422 when no attempt can ever succeed, anything else when a later one may. */
void
rx_effect_request(RxEffectRequest *request, JsonbContainer *form,
				  const RxRecord *record, int attempt)
{
	Build		b = {.request = request, .form = form};
	JsonbContainer *headers = rx_jsonb_object(rx_jsonb_member(form, "headers"));
	JsonbContainer *accept = rx_jsonb_array(rx_jsonb_member(form, "accept"));

	memset(request, 0, sizeof(*request));
	take_url(&b);
	take_method(&b);
	if (headers)
		rx_jsonb_each(headers, take_header, &b);
	take_body(&b);
	take_auth(&b);
	check_secret_hosts(&b);
	add_own_headers(&b, record, attempt);
	take_limits(&b);
	if (accept)
		rx_jsonb_each(accept, take_accepted, request);
}

void
rx_effect_request_wipe(RxEffectRequest *request)
{
	ListCell   *lc;

	foreach(lc, request->sensitive)
	{
		char	   *s = lfirst(lc);

		explicit_bzero(s, strlen(s));
	}
	request->sensitive = NIL;
}
