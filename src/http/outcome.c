/*
 * outcome.c
 *		What a call's end means: its class, and a sentence about it.
 *
 * The class decides whether an effect is sent again, so it is chosen by proof
 * and not by likelihood.  Not a byte of the request written is proof that the
 * peer has not acted on it (name, connection and TLS failures are such, and so
 * is a timeout while those go on).  One byte written, and it is unknown.
 *
 * The sentence is "phase: what happened".  It is made of our words, libcurl's
 * and the C library's for an error number, never of libcurl's error buffer,
 * which quotes hosts and URLs.
 */
#include "http/http_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
request_begun(const RxCall *call)
{
	long		size = 0;

	if (!call->connected)
		return false;
	curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &size);
	return size > 0;
}

static bool
all_addresses_refused(const RxCall *call)
{
	return call->refusal && call->sockets_opened == 0 && !call->connected;
}

static bool
is_refused(const RxCall *call, CURLcode code)
{
	switch (call->stop)
	{
		case STOP_REQUEST:
		case STOP_EGRESS:
		case STOP_HEADERS:
		case STOP_BODY:
			return true;
		case STOP_NONE:
			break;
		default:
			return false;
	}
	/* After that, these codes mean an answer that is not HTTP. */
	if (call->connected)
		return false;
	return all_addresses_refused(call) ||
		code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT;
}

static RxHttpOutcome
judge(const RxCall *call, CURLcode code)
{
	if (is_refused(call, code))
		return RX_HTTP_REFUSED;
	if (code == CURLE_OK && call->stop == STOP_NONE)
		return RX_HTTP_ANSWERED;
	return request_begun(call) ? RX_HTTP_UNKNOWN : RX_HTTP_NOT_SENT;
}

static const char *
phase_before_request(const RxCall *call)
{
	long		local_port = 0;

	if (call->sockets_opened == 0)
		return call->refusal ? "egress" : "resolving the name";
	/* The time of connecting would say it, but only after the handshake. */
	curl_easy_getinfo(call->easy, CURLINFO_LOCAL_PORT, &local_port);
	return call->target.tls && local_port > 0 ? "TLS handshake" : "connecting";
}

static const char *
phase(const RxCall *call)
{
	curl_off_t	uploaded = 0;

	if (call->stop == STOP_REQUEST)
		return "refused";
	if (call->stop == STOP_EGRESS)
		return "egress";
	if (!call->connected)
		return phase_before_request(call);
	if (call->held->answer.first_byte_us >= 0)
		return "reading the answer";
	curl_easy_getinfo(call->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
	if (!request_begun(call) || (size_t) uploaded < call->body_len)
		return "sending the request";
	return "waiting for the first byte";
}

/* The results of OpenSSL's verification that people meet. */
static const char *
certificate_fault(const RxCall *call)
{
	long		result = 0;

	curl_easy_getinfo(call->easy, CURLINFO_SSL_VERIFYRESULT, &result);
	switch (result)
	{
		case 0:
		case 1:					/* not set: libcurl compares the name itself, and first */
			return "the certificate is not for this host";
		case 9:
			return "the certificate is not valid yet";
		case 10:
			return "the certificate has expired";
		case 18:
		case 19:
			return "the certificate is self-signed";
		case 20:
		case 21:
			return "the certificate's authority is not known";
		default:
			return "the certificate is not trusted";
	}
}

static void
say_timeout(const RxCall *call, char *text, size_t size)
{
	int64_t		ms = call->held->answer.total_us / 1000;

	if (call->stop == STOP_FIRST_BYTE)
		snprintf(text, size, "nothing came within %ld ms", call->first_byte_timeout_ms);
	else if (call->stop == STOP_IDLE)
		snprintf(text, size, "nothing more came for %ld ms", call->idle_timeout_ms);
	else if (call->total_timeout_ms > 0 && ms >= call->total_timeout_ms - 1)
		snprintf(text, size, "not done within %ld ms", call->total_timeout_ms);
	else
		snprintf(text, size, "no connection within %ld ms", call->connect_timeout_ms);
}

static void
say_code(const RxCall *call, CURLcode code, char *text, size_t size)
{
	long		error = 0;

	curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &error);
	if (code == CURLE_OPERATION_TIMEDOUT)
		say_timeout(call, text, size);
	else if (code == CURLE_PEER_FAILED_VERIFICATION)
		snprintf(text, size, "%s", certificate_fault(call));
	else if (code == CURLE_COULDNT_CONNECT && error != 0)
		snprintf(text, size, "%s", strerror((int) error));
	else if (code == CURLE_UNSUPPORTED_PROTOCOL && call->connected)
		snprintf(text, size, "the answer is not HTTP");
	else
		snprintf(text, size, "%s", curl_easy_strerror(code));
}

static void
say(const RxCall *call, CURLcode code, char *text, size_t size)
{
	switch (call->stop)
	{
		case STOP_REQUEST:
		case STOP_EGRESS:
			snprintf(text, size, "%s", call->refusal);
			break;
		case STOP_HEADERS:
			snprintf(text, size, "the answer has more than %d header lines or %d bytes of them",
					 MAX_HEADER_LINES, MAX_HEADER_BYTES);
			break;
		case STOP_BODY:
			snprintf(text, size, "the answer is larger than %zu bytes", call->max_response);
			break;
		case STOP_MEMORY:
			snprintf(text, size, "out of memory");
			break;
		case STOP_RESEND:
			snprintf(text, size, "the connection broke, and the request is not sent twice unasked");
			break;
		case STOP_FIRST_BYTE:
		case STOP_IDLE:
			say_timeout(call, text, size);
			break;
		case STOP_NONE:
			if (all_addresses_refused(call))
				snprintf(text, size, "%s", call->refusal);
			else
				say_code(call, code, text, size);
			break;
	}
}

/* What came of a body that is not whole is of no use to anybody. */
static void
drop_body(RxHttpAnswer *answer)
{
	answer->body[0] = '\0';
	answer->body_len = 0;
}

static void
read_head(RxCall *call)
{
	RxHttpAnswer *answer = &call->held->answer;
	long		status = 0;

	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	answer->status = call->head_complete ? status : 0;
	for (int i = 0; i < answer->n_headers; i++)
		if (strcmp(answer->headers[i].name, "retry-after") == 0)
			answer->retry_after_ms = rx_http_retry_after(answer->headers[i].value, time(NULL));
}

void
rx_http_conclude(RxCall *call, CURLcode code)
{
	RxHttpAnswer *answer = &call->held->answer;
	char		what[200];

	if (answer->sent_at_us != 0)
	{
		answer->total_us = rx_http_now() - answer->sent_at_us;
		read_head(call);
	}
	answer->outcome = judge(call, code);
	if (answer->outcome == RX_HTTP_ANSWERED)
		return;
	drop_body(answer);
	say(call, code, what, sizeof(what));
	snprintf(answer->error, sizeof(answer->error), "%s: %s", phase(call), what);
}

void
rx_http_answer_free(RxHttpAnswer *answer)
{
	if (!answer)
		return;
	for (int i = 0; i < answer->n_headers; i++)
		free(answer->headers[i].name);
	free(answer->headers);
	free(answer->body);
	free((RxHeld *) answer);
}
