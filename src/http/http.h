/*
 * http.h
 *		Many HTTP calls at once, in one process, without a thread of ours.
 *
 * An engine owns one curl multi handle and one epoll descriptor that carries
 * all of libcurl's sockets and its timer.  The worker waits on that descriptor
 * beside its latch, calls rx_http_drive when it is readable, and then takes
 * the finished calls.  Memory is malloc's; nothing here raises, allocates in a
 * memory context or calls back into the server.  libcurl is initialised by the
 * first engine of a process, never in the postmaster.
 */
#ifndef RX_HTTP_HTTP_H
#define RX_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct RxHttp RxHttp;

/* Why a call ended, as far as retrying is concerned. */
typedef enum RxHttpOutcome
{
	RX_HTTP_ANSWERED,			/* there is a status and a body */
	RX_HTTP_NOT_SENT,			/* proof that nothing was accepted: DNS, connect, TLS handshake */
	RX_HTTP_UNKNOWN,			/* bytes have gone out, no whole answer came */
	RX_HTTP_REFUSED				/* not allowed or not possible: egress rule, bad URL, answer too large */
} RxHttpOutcome;

typedef struct RxHttpHeader
{
	char	   *name;
	char	   *value;
} RxHttpHeader;

typedef struct RxHttpRequest
{
	char	   *method;			/* upper case */
	char	   *url;			/* http or https only */
	RxHttpHeader *headers;
	int			n_headers;
	char	   *body;			/* NULL for none */
	size_t		body_len;
	long		connect_timeout_ms; /* name, connection, TLS; 0: 300 s */
	long		first_byte_timeout_ms;	/* from the start; 0: none but the total */
	long		idle_timeout_ms;	/* no content for so long; 0: none */
	long		total_timeout_ms;	/* 0: none */
	size_t		max_response;	/* decoded bytes */
	void	   *owner;			/* the caller's, returned with the answer */
} RxHttpRequest;

typedef struct RxHttpAnswer
{
	RxHttpOutcome outcome;
	long		status;			/* 0 if no whole head came; there may be one without its body */
	RxHttpHeader *headers;		/* names in lower case, last response only */
	int			n_headers;
	char	   *body;			/* NUL-terminated beyond body_len; empty unless answered */
	size_t		body_len;
	char		error[256];		/* what failed and in which phase; no URL, no secret; empty when answered */
	long		retry_after_ms; /* from Retry-After (seconds or date), -1 if absent */
	int64_t		sent_at_us;		/* CLOCK_MONOTONIC; 0 if never started */
	int64_t		first_byte_us;	/* durations from start; -1 if not reached */
	int64_t		total_us;
	void	   *owner;
} RxHttpAnswer;

typedef struct RxHttpPolicy
{
	const char *allowed_hosts;	/* comma-separated, see reflex.allowed_hosts */
	const char *ca_file;		/* NULL or empty: the system's */
	int			max_inflight;	/* the soft limit of descriptors is raised to suit, if it may */
} RxHttpPolicy;

/* NULL with errno set when the engine can't be made. */
extern RxHttp *rx_http_create(void);

/* Ends all calls without waiting for their names to resolve or peers to answer. */
extern void rx_http_destroy(RxHttp *http);

/*
 * Takes effect for the calls started after it. Returns false and a message for
 * a bad list, and then changes nothing.  Before the first policy there is no slot.
 */
extern bool rx_http_set_policy(RxHttp *http, const RxHttpPolicy *policy, char *error, size_t error_size);

/*
 * Starts a call; copies the request.  False: out of memory or slots (see
 * rx_http_free_slots), nothing started.  A call that is refused at once (egress, bad
 * URL) is taken and ends with that outcome.
 */
extern bool rx_http_start(RxHttp *http, const RxHttpRequest *request);

/* How many more calls fit (max_inflight, descriptor limit). */
extern int	rx_http_free_slots(const RxHttp *http);
extern int	rx_http_inflight(const RxHttp *http);

/*
 * The descriptor to wait on, readable when rx_http_drive has something to do
 * or rx_http_take has something to give.
 */
extern int	rx_http_fd(const RxHttp *http);

/* Does what is due on sockets and timers; never blocks. */
extern void rx_http_drive(RxHttp *http);

/* The next finished call, or NULL.  Free it with rx_http_answer_free. */
extern RxHttpAnswer *rx_http_take(RxHttp *http);
extern void rx_http_answer_free(RxHttpAnswer *answer);

/* Ends the calls whose owner the function accepts; they are dropped, not taken. */
extern void rx_http_cancel(RxHttp *http, bool (*matches) (void *owner, void *arg), void *arg);

/*
 * The host of a URL, as the engine would connect to it: lower case, without
 * port and brackets.  False when the URL is not valid or the host does not fit.
 * For whoever decides by host whether something may be sent.
 */
extern bool rx_http_url_host(const char *url, char *host, size_t size);

/*
 * Milliseconds from a Retry-After value (seconds or HTTP date) at time now; -1 if
 * neither.  A negative number is neither, a date that has passed is 0, and more
 * than a day is a day.
 */
extern long rx_http_retry_after(const char *value, int64_t now_epoch_s);

#endif							/* RX_HTTP_HTTP_H */
