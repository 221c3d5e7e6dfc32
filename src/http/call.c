/*
 * call.c
 *		One call: checked, copied, set up in libcurl.
 *
 * What libcurl needs for the whole time of a call (URL, header list, body) is
 * owned by the call.  An easy handle is reset and set up anew for every call,
 * also when it has served another before: nothing of a call can leak into the
 * next, and the connections live in the multi handle anyway.
 */
#include "http/http_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* How long a connection may idle, and live, before it is not used again. */
#define MAX_IDLE_S 60L
#define MAX_LIFE_S 600L

/* A call waits for most of its life; small buffers keep thousands of them cheap. */
#define RECEIVE_BUFFER 8192L
#define SEND_BUFFER 16384L

/* The header lines that frame a message are libcurl's to write. */
static const char *const framing[] = {
	"connection", "content-length", "expect", "host", "http2-settings", "keep-alive",
	"proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
};

static bool
is_token(const char *text)
{
	if (!text || *text == '\0')
		return false;
	for (; *text; text++)
		if (*text <= ' ' || *text >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", *text))
			return false;
	return true;
}

/* No control characters but the tab: a line break would begin another header. */
static bool
is_field_value(const char *text)
{
	if (!text)
		return false;
	for (; *text; text++)
		if (((unsigned char) *text < ' ' && *text != '\t') || *text == 0x7f)
			return false;
	return true;
}

static const char *
check_header(const RxHttpHeader *header)
{
	if (!is_token(header->name))
		return "a header has a bad name";
	if (!is_field_value(header->value))
		return "a header has a control character in its value";
	for (size_t i = 0; i < sizeof(framing) / sizeof(framing[0]); i++)
		if (strcasecmp(header->name, framing[i]) == 0)
			return "a header that frames the message may not be set";
	return NULL;
}

static const char *
check_request(const RxHttpRequest *request)
{
	const char *method = request->method;

	if (!is_token(method) || strcmp(method, "CONNECT") == 0 || strcmp(method, "TRACE") == 0)
		return "the method is not allowed";
	if (strcmp(method, "HEAD") == 0 && request->body)
		return "a HEAD request has no body";
	for (int i = 0; i < request->n_headers; i++)
	{
		const char *wrong = check_header(&request->headers[i]);

		if (wrong)
			return wrong;
	}
	return NULL;
}

static bool
is_repeatable(const char *method)
{
	static const char *const methods[] = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"};

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strcmp(method, methods[i]) == 0)
			return true;
	return false;
}

static bool
add_line(RxCall *call, const char *line)
{
	struct curl_slist *longer = curl_slist_append(call->headers, line);

	if (longer)
		call->headers = longer;
	return longer != NULL;
}

static bool
add_header(RxCall *call, const RxHttpHeader *header)
{
	/* To libcurl "Name:" takes a header away; "Name;" sends it empty. */
	const char *value = header->value + strspn(header->value, " \t");
	size_t		size = strlen(header->name) + strlen(value) + 3;
	char	   *line = malloc(size);
	bool		added;

	if (!line)
		return false;
	if (*value)
		snprintf(line, size, "%s: %s", header->name, value);
	else
		snprintf(line, size, "%s;", header->name);
	added = add_line(call, line);
	free(line);
	return added;
}

static bool
copy_headers(RxCall *call, const RxHttpRequest *request)
{
	bool		typed = false;

	for (int i = 0; i < request->n_headers; i++)
	{
		if (!add_header(call, &request->headers[i]))
			return false;
		typed = typed || strcasecmp(request->headers[i].name, "content-type") == 0;
	}
	/* No waiting for 100 Continue, and no form type that nobody asked for. */
	return add_line(call, "Expect:") && (typed || add_line(call, "Content-Type:"));
}

static bool
copy_body(RxCall *call, const RxHttpRequest *request)
{
	if (!request->body)
		return true;
	call->body = malloc(request->body_len + 1);
	if (!call->body)
		return false;
	memcpy(call->body, request->body, request->body_len);
	call->body_len = request->body_len;
	return true;
}

static bool
needs_length(const char *method)
{
	return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;
}

static void
set_method(RxCall *call, const char *method)
{
	if (strcmp(method, "HEAD") == 0)
		curl_easy_setopt(call->easy, CURLOPT_NOBODY, 1L);
	else if (call->body || needs_length(method))
	{
		curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) call->body_len);
		curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS, call->body ? call->body : "");
	}
	curl_easy_setopt(call->easy, CURLOPT_CUSTOMREQUEST, method);
}

/* What the environment, the URL or the peer may not choose. */
static void
set_safety(CURL *easy)
{
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	/* A name server that hangs must not hold up the end of a call. */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
}

/*
 * HTTP/2 only over TLS.  Waiting for a connection that may turn out to carry
 * many streams pays there; in plain HTTP it would make every call wait for the
 * first one's answer.
 */
static void
set_connection(RxCall *call, const char *ca_file)
{
	CURL	   *easy = call->easy;

	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
					 (long) (call->target.tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
	curl_easy_setopt(easy, CURLOPT_PIPEWAIT, call->target.tls ? 1L : 0L);
	curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, MAX_IDLE_S);
	curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, MAX_LIFE_S);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER);
	curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, SEND_BUFFER);
	if (ca_file && *ca_file)
	{
		/* In place of the system's, so its directory goes too. */
		curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	}
}

/* CURLE_OK if the options that copy something could. */
static CURLcode
set_up(RxCall *call, const char *method, const char *ca_file)
{
	CURL	   *easy = call->easy;
	CURLcode	code;

	curl_easy_reset(easy);
	set_safety(easy);
	set_connection(call, ca_file);
	set_method(call, method);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, call->connect_timeout_ms);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, call->total_timeout_ms);
	code = curl_easy_setopt(easy, CURLOPT_CURLU, call->target.url);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_USERAGENT, "reflex");
	/* gzip and not "": zstd would let a peer ask for 128 MB of window. */
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
	rx_http_receive_setup(call);
	return code;
}

static bool
copy_request(RxCall *call, const RxHttpRequest *request)
{
	call->connect_timeout_ms = request->connect_timeout_ms;
	call->first_byte_timeout_ms = request->first_byte_timeout_ms;
	call->idle_timeout_ms = request->idle_timeout_ms;
	call->total_timeout_ms = request->total_timeout_ms;
	call->max_response = request->max_response;
	call->repeatable = is_repeatable(request->method);
	return copy_headers(call, request) && copy_body(call, request);
}

static bool
create_answer(RxCall *call, const RxHttpRequest *request)
{
	call->held = calloc(1, sizeof(RxHeld));
	if (!call->held)
		return false;
	call->held->answer.retry_after_ms = -1;
	call->held->answer.first_byte_us = -1;
	call->held->answer.owner = request->owner;
	/* Always a body, if an empty one: nobody has to check for NULL. */
	call->held->answer.body = calloc(1, 1);
	call->answer_size = 1;
	return call->held->answer.body != NULL;
}

static const char *
find_refusal(RxCall *call, const RxHttpRequest *request)
{
	const char *wrong = check_request(request);

	if (!wrong)
		wrong = rx_http_target_parse(request->url, &call->target);
	if (!wrong)
		wrong = rx_egress_refusal_of_name(call->egress, call->target.host, call->target.port);
	return wrong;
}

RxCall *
rx_http_call_create(RxHttp *http, const RxHttpRequest *request, RxEgress *egress,
					const char *ca_file, CURL *easy)
{
	RxCall	   *call = calloc(1, sizeof(RxCall));

	if (!call)
		return NULL;
	call->http = http;
	call->easy = easy;
	call->egress = rx_egress_ref(egress);
	call->deadline.owner = call;
	if (!create_answer(call, request))
		goto out_of_memory;
	call->refusal = find_refusal(call, request);
	if (call->refusal)
		call->stop = STOP_REQUEST;
	else if (!copy_request(call, request) || set_up(call, request->method, ca_file) != CURLE_OK)
		goto out_of_memory;
	return call;

out_of_memory:
	rx_http_call_free(call);
	return NULL;
}

/* The easy handle is the engine's. */
void
rx_http_call_free(RxCall *call)
{
	if (call->held)
		rx_http_answer_free(&call->held->answer);
	rx_http_target_free(&call->target);
	rx_egress_unref(call->egress);
	curl_slist_free_all(call->headers);
	free(call->body);
	free(call);
}
