/*
 * receive.c
 *		What libcurl tells us while a call is under way.
 *
 * In the order of a call: open_socket asks for every address that libcurl is
 * about to connect to; before_request, when a connection stands (a new one or
 * one used before); take_header line by line; take_body with decoded bytes.
 */
#include "http/http_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static curl_socket_t
open_socket(void *clientp, curlsocktype purpose, struct curl_sockaddr *address)
{
	RxCall	   *call = clientp;
	RxAddress	peer;
	const char *refusal = "not an IP address";

	if (rx_address_from_sockaddr(&address->addr, &peer))
		refusal = rx_egress_refusal(call->egress, call->target.host, call->target.port, &peer);
	if (refusal)
	{
		/* libcurl goes on to the next address of the host, if there is one. */
		call->refusal = refusal;
		errno = EACCES;
		return CURL_SOCKET_BAD;
	}
	call->sockets_opened++;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static bool
may_use(RxCall *call, const char *ip)
{
	RxAddress	peer;

	call->refusal = "not an IP address";
	if (ip && rx_address_from_text(ip, &peer))
		call->refusal = rx_egress_refusal(call->egress, call->target.host, call->target.port, &peer);
	return call->refusal == NULL;
}

static bool
bytes_sent(RxCall *call)
{
	long		size = 0;

	curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &size);
	return size > 0;
}

/*
 * A connection that was open under another policy must pass this one.
 *
 * And when a connection that was used before breaks under a request, libcurl
 * sends the request again on a new one.  The peer may have acted on the first,
 * so for a method where that matters it is for the caller to decide.
 */
static int
before_request(void *clientp, char *ip, char *local_ip, int port, int local_port)
{
	RxCall	   *call = clientp;

	if (!may_use(call, ip))
		call->stop = STOP_EGRESS;
	else if (call->connected && !call->repeatable && bytes_sent(call))
		call->stop = STOP_RESEND;
	call->connected = true;
	return call->stop == STOP_NONE ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

/* When the call is to be ended if nothing (more) comes. */
int64_t
rx_http_call_deadline(const RxCall *call)
{
	const RxHttpAnswer *answer = &call->held->answer;
	bool		begun = answer->first_byte_us >= 0;
	long		limit_ms = begun ? call->idle_timeout_ms : call->first_byte_timeout_ms;
	int64_t		since = begun ? call->last_content_us : answer->sent_at_us;

	return limit_ms > 0 ? since + limit_ms * INT64_C(1000) : INT64_MAX;
}

/* The deadline in the heap moves at the first byte; later ones only push it out, see engine.c. */
static void
note_first_byte(RxCall *call)
{
	RxHttpAnswer *answer = &call->held->answer;

	if (answer->first_byte_us >= 0)
		return;
	call->last_content_us = rx_http_now();
	answer->first_byte_us = call->last_content_us - answer->sent_at_us;
	rx_http_move_deadline(call);
}

static void
drop_headers(RxHttpAnswer *answer)
{
	for (int i = 0; i < answer->n_headers; i++)
		free(answer->headers[i].name);
	answer->n_headers = 0;
}

/* One allocation holds both texts: name, NUL, value, NUL. */
static bool
set_header(RxHttpHeader *header, const char *line, size_t name_len, const char *value, size_t value_len)
{
	char	   *text = malloc(name_len + value_len + 2);

	if (!text)
		return false;
	for (size_t i = 0; i < name_len; i++)
		text[i] = (char) (line[i] >= 'A' && line[i] <= 'Z' ? line[i] + ('a' - 'A') : line[i]);
	text[name_len] = '\0';
	memcpy(text + name_len + 1, value, value_len);
	text[name_len + 1 + value_len] = '\0';
	header->name = text;
	header->value = text + name_len + 1;
	return true;
}

static bool
grow_headers(RxHttpAnswer *answer)
{
	int			n = answer->n_headers;
	RxHttpHeader *longer;

	/* Full at 0, 16, 32, 64, ... */
	if (n != 0 && (n < 16 || (n & (n - 1)) != 0))
		return true;
	longer = realloc(answer->headers, sizeof(RxHttpHeader) * (size_t) (n ? n * 2 : 16));
	if (longer)
		answer->headers = longer;
	return longer != NULL;
}

/* A line without a colon, or one that continues another (obsolete), is passed over. */
static bool
keep_header(RxHttpAnswer *answer, const char *line, size_t length)
{
	const char *colon = memchr(line, ':', length);
	const char *value;
	const char *end = line + length;

	if (!colon || colon == line || line[0] == ' ' || line[0] == '\t')
		return true;
	for (value = colon + 1; value < end && (*value == ' ' || *value == '\t');)
		value++;
	while (end > value && strchr(" \t\r\n", end[-1]))
		end--;
	if (!grow_headers(answer) ||
		!set_header(&answer->headers[answer->n_headers], line, (size_t) (colon - line),
					value, (size_t) (end - value)))
		return false;
	answer->n_headers++;
	return true;
}

/* The blank line: of an interim answer (1xx), or of the one that counts. */
static void
end_head(RxCall *call)
{
	long		status = 0;

	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	call->head_complete = status >= 200;
}

static size_t
take_header(char *line, size_t unit, size_t length, void *clientp)
{
	RxCall	   *call = clientp;
	RxHttpAnswer *answer = &call->held->answer;

	note_first_byte(call);
	call->header_bytes += length;
	if (++call->header_lines > MAX_HEADER_LINES || call->header_bytes > MAX_HEADER_BYTES)
		call->stop = STOP_HEADERS;
	else if (call->head_complete)
		return length;			/* a trailer */
	else if (length >= 5 && memcmp(line, "HTTP/", 5) == 0)
		drop_headers(answer);
	else if (line[0] == '\r' || line[0] == '\n')
		end_head(call);
	else if (!keep_header(answer, line, length))
		call->stop = STOP_MEMORY;
	return call->stop == STOP_NONE ? length : 0;
}

static bool
make_room(RxCall *call, size_t needed)
{
	size_t		size = call->answer_size;
	char	   *body;

	if (needed <= size)
		return true;
	while (size < needed)
		size = size < 1024 ? 1024 : size * 2;
	if (size > call->max_response + 1)
		size = call->max_response + 1;
	body = realloc(call->held->answer.body, size);
	if (!body)
		return false;
	call->held->answer.body = body;
	call->answer_size = size;
	return true;
}

/* The limit is on what has been decoded: a small bomb is as large as its burst. */
static size_t
take_body(char *data, size_t unit, size_t length, void *clientp)
{
	RxCall	   *call = clientp;
	RxHttpAnswer *answer = &call->held->answer;

	note_first_byte(call);
	if (length > call->max_response - answer->body_len)
		call->stop = STOP_BODY;
	else if (!make_room(call, answer->body_len + length + 1))
		call->stop = STOP_MEMORY;
	if (call->stop != STOP_NONE)
		return length ? 0 : CURL_WRITEFUNC_ERROR;
	memcpy(answer->body + answer->body_len, data, length);
	answer->body_len += length;
	answer->body[answer->body_len] = '\0';
	call->last_content_us = rx_http_now();
	return length;
}

void
rx_http_receive_setup(RxCall *call)
{
	CURL	   *easy = call->easy;

	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_request);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, call);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
}
