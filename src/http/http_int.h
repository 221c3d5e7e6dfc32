/*
 * http_int.h
 *		What the files of the HTTP engine share.
 *
 *		engine.c	the multi handle, its epoll descriptor, the list of calls
 *		target.c	what a URL points at
 *		call.c		one call: checked, copied, set up in libcurl
 *		receive.c	libcurl's callbacks: egress, header, body
 *		outcome.c	what a call's end means
 *
 * Nothing here is known to the server: no palloc, no ereport.  libcurl calls
 * back only from within rx_http_drive and rx_http_start; a callback that wants
 * a call to end says why in call->stop and returns libcurl's error value.
 */
#ifndef RX_HTTP_HTTP_INT_H
#define RX_HTTP_HTTP_INT_H

#include "http/deadline.h"
#include "http/egress.h"
#include "http/http.h"

#include <curl/curl.h>
#include <time.h>

/* CURLOPT_QUICK_EXIT is of 7.87, CURLU_PUNYCODE of 7.88. */
#if LIBCURL_VERSION_NUM < 0x075800
#error "reflex needs libcurl 7.88 or newer"
#endif

#define MAX_HEADER_LINES 256
#define MAX_HEADER_BYTES (64 * 1024)

/* What a URL points at. */
typedef struct RxTarget
{
	CURLU	   *url;			/* what libcurl gets: parsed once, never again from text */
	char	   *host;			/* lower case, no brackets, IDN as xn--... */
	int			port;
	bool		tls;
} RxTarget;

/* Why we ended a call ourselves. */
typedef enum RxStop
{
	STOP_NONE,					/* libcurl did, or the peer */
	STOP_REQUEST,				/* refused before it began; nothing of it is in libcurl */
	STOP_EGRESS,				/* the address connected to is not allowed */
	STOP_HEADERS,				/* too many header lines or bytes */
	STOP_BODY,					/* more than max_response */
	STOP_MEMORY,				/* no memory for the answer */
	STOP_RESEND,				/* libcurl was about to send it a second time */
	STOP_FIRST_BYTE,			/* first_byte_timeout_ms */
	STOP_IDLE					/* idle_timeout_ms */
} RxStop;

/* An answer, and its place in the queue of those not taken yet. */
typedef struct RxHeld
{
	RxHttpAnswer answer;		/* first: the caller holds a pointer to it */
	struct RxHeld *next;
} RxHeld;

/*
 * One call under way.  Its answer is allocated when it starts and filled as
 * bytes come, so that ending a call needs no memory.
 */
typedef struct RxCall
{
	RxHttp	   *http;
	struct RxCall *next;		/* of all under way */
	struct RxCall *prev;
	CURL	   *easy;
	RxTarget	target;
	RxEgress   *egress;			/* the policy it began under */
	struct curl_slist *headers;
	char	   *body;
	RxHeld	   *held;
	long		connect_timeout_ms;
	long		first_byte_timeout_ms;
	long		idle_timeout_ms;
	long		total_timeout_ms;
	size_t		body_len;
	size_t		max_response;
	bool		repeatable;		/* sending it twice is as good as once (RFC 9110, 9.2.2) */

	RxDeadline	deadline;		/* of the first byte, then of the next content */
	int64_t		last_content_us;	/* monotonic */
	int			sockets_opened;
	const char *refusal;		/* of the last address that was not allowed */
	bool		connected;		/* with TLS if any: libcurl was about to send */
	bool		head_complete;	/* of the final answer: what follows are trailers */
	int			header_lines;
	size_t		header_bytes;
	size_t		answer_size;	/* allocated for the answer's body */
	RxStop		stop;
} RxCall;

static inline int64_t
rx_http_now(void)
{
	struct timespec ts;

	/* Not rx_clock_mono: a peer does not answer sooner when a test moves the clock. */
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* target.c: NULL if the URL is good, else what is wrong with it. */
extern const char *rx_http_target_parse(const char *url, RxTarget *target);
extern void rx_http_target_free(RxTarget *target);

/*
 * call.c: NULL: out of memory.  A call that is refused has stop set and the
 * reason in its answer; the others are ready for curl_multi_add_handle.
 */
extern RxCall *rx_http_call_create(RxHttp *http, const RxHttpRequest *request, RxEgress *egress,
								   const char *ca_file, CURL *easy);
extern void rx_http_call_free(RxCall *call);

/* receive.c */
extern void rx_http_receive_setup(RxCall *call);
extern int64_t rx_http_call_deadline(const RxCall *call);

/* outcome.c: fills the answer. */
extern void rx_http_conclude(RxCall *call, CURLcode code);

/* engine.c */
extern void rx_http_move_deadline(RxCall *call);

#endif							/* RX_HTTP_HTTP_INT_H */
