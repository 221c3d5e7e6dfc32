/*
 * engine.c
 *		The HTTP engine: one curl multi handle on one epoll descriptor.
 *
 * libcurl says which sockets it wants watched and when it wants to be called
 * at the latest; both go into an epoll set of ours, the second as a timerfd
 * that also carries the deadlines libcurl does not know (first byte, idle) and
 * fires at once when finished calls wait to be taken.  So the whole engine is
 * one descriptor that is readable when there is something to do, which a latch
 * wait of the server can hold for good: a WaitEventSet can't drop a descriptor.
 *
 * Signals.  Resolving a name starts a thread, and a new thread inherits the
 * mask of signals of the one that started it.  A handler of the server must
 * not run there, so all signals are blocked around everything of libcurl that
 * may start one.  SIGPIPE is expected to be ignored, as the server has it.
 *
 * Ending.  The thread that waits for a name server can't be stopped; libcurl
 * is told (CURLOPT_QUICK_EXIT) to leave it behind, so that ending a call, and
 * the engine, takes no time.  The thread frees what it holds when it wakes up.
 *
 * When libcurl itself fails (out of memory, epoll), the state of its transfers
 * is undefined: all of them end, each with what is known of it, and the multi
 * handle is made anew.
 */
#include "http/http_int.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define NEVER INT64_MAX
#define EVENTS_AT_ONCE 256

/* A busy engine gives the caller its turn after so many rounds. */
#define MAX_ROUNDS 8

/* When libcurl has failed, it is made anew in the next drive, which is then. */
#define MEND_AFTER_US 100000

/* Easy handles kept for the next calls. */
#define MAX_SPARE 1024

/*
 * Descriptors.  A call that resolves holds a pair for the thread and one that
 * asks the name server, and beside it there may be one idle connection for
 * every slot.  What remains is for the server's own files.
 */
#define DESCRIPTORS_PER_CALL 4
#define DESCRIPTORS_RESERVED 128

struct RxHttp
{
	CURLM	   *multi;
	int			epoll;
	int			timer;
	int64_t		timer_at;		/* what the timerfd is set to; NEVER when it is not */
	int64_t		curl_at;		/* when libcurl wants to be called */
	bool		broken;			/* libcurl failed: see the head of this file */

	RxCall	   *calls;			/* under way */
	int			n_calls;
	RxDeadlines deadlines;
	RxHeld	   *finished;		/* first in, first out */
	RxHeld	  **finished_tail;

	CURL	   *spare[MAX_SPARE];
	int			n_spare;

	RxEgress   *egress;
	char	   *ca_file;
	int			slots;
};

/* What a fault of the program itself raises is never blocked. */
static void
block_signals(sigset_t *before)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
	sigset_t	all;

	sigfillset(&all);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(&all, faults[i]);
	pthread_sigmask(SIG_SETMASK, &all, before);
}

static void
restore_signals(const sigset_t *before)
{
	pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* libcurl wants this socket watched so from now on. */
static int
watch_socket(CURL *easy, curl_socket_t socket, int what, void *clientp, void *known)
{
	RxHttp	   *http = clientp;
	struct epoll_event event = {.data.fd = socket};

	if (what == CURL_POLL_REMOVE)
	{
		/* It may be closed already, which has removed it. */
		epoll_ctl(http->epoll, EPOLL_CTL_DEL, socket, NULL);
		return 0;
	}
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	if (epoll_ctl(http->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, socket, &event) == 0 ||
		(errno == EEXIST && epoll_ctl(http->epoll, EPOLL_CTL_MOD, socket, &event) == 0) ||
		(errno == ENOENT && epoll_ctl(http->epoll, EPOLL_CTL_ADD, socket, &event) == 0))
	{
		curl_multi_assign(http->multi, socket, http);
		return 0;
	}
	http->broken = true;
	return -1;
}

static int
note_timeout(CURLM *multi, long timeout_ms, void *clientp)
{
	RxHttp	   *http = clientp;

	http->curl_at = timeout_ms < 0 ? NEVER : rx_http_now() + timeout_ms * INT64_C(1000);
	return 0;
}

static bool
create_multi(RxHttp *http)
{
	http->multi = curl_multi_init();
	if (!http->multi)
		return false;
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, note_timeout);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_PIPELINING, (long) CURLPIPE_MULTIPLEX);
	/* With as many connections as slots, an idle one makes room for a new one. */
	curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long) http->slots);
	curl_multi_setopt(http->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long) http->slots);
	http->curl_at = NEVER;
	http->broken = false;
	return true;
}

static bool
init_curl(void)
{
	static bool done = false;

	if (!done)
		done = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
	return done;
}

static bool
create_descriptors(RxHttp *http)
{
	struct epoll_event event = {.events = EPOLLIN};

	http->epoll = epoll_create1(EPOLL_CLOEXEC);
	http->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	event.data.fd = http->timer;
	return http->epoll >= 0 && http->timer >= 0 &&
		epoll_ctl(http->epoll, EPOLL_CTL_ADD, http->timer, &event) == 0;
}

RxHttp *
rx_http_create(void)
{
	RxHttp	   *http = calloc(1, sizeof(RxHttp));
	sigset_t	before;
	bool		created;

	if (!http)
		return NULL;
	http->epoll = http->timer = -1;
	http->timer_at = NEVER;
	http->finished_tail = &http->finished;
	errno = 0;
	block_signals(&before);
	created = create_descriptors(http) && init_curl() && create_multi(http);
	restore_signals(&before);
	if (created)
		return http;
	if (errno == 0)
		errno = ENOMEM;
	rx_http_destroy(http);
	return NULL;
}

/* Sets the timer to the next thing that is due.  In the past means at once. */
static void
arm_timer(RxHttp *http)
{
	RxDeadline *next = rx_deadlines_next(&http->deadlines);
	int64_t		at = next && next->at < http->curl_at ? next->at : http->curl_at;
	struct itimerspec spec = {0};

	if (http->finished)
		at = 0;
	else if (http->broken)
		at = rx_http_now() + MEND_AFTER_US;
	if (at == http->timer_at)
		return;
	if (at != NEVER)
	{
		spec.it_value.tv_sec = at / 1000000;
		spec.it_value.tv_nsec = at % 1000000 * 1000 + 1;	/* all zero would be off */
	}
	timerfd_settime(http->timer, TFD_TIMER_ABSTIME, &spec, NULL);
	http->timer_at = at;
}

void
rx_http_move_deadline(RxCall *call)
{
	rx_deadlines_move(&call->http->deadlines, &call->deadline, rx_http_call_deadline(call));
}

static CURL *
take_easy(RxHttp *http)
{
	return http->n_spare > 0 ? http->spare[--http->n_spare] : curl_easy_init();
}

static void
give_easy(RxHttp *http, CURL *easy)
{
	if (http->n_spare < MAX_SPARE)
		http->spare[http->n_spare++] = easy;
	else
		curl_easy_cleanup(easy);
}

static void
push_finished(RxHttp *http, RxHeld *held)
{
	held->next = NULL;
	*http->finished_tail = held;
	http->finished_tail = &held->next;
}

static void
link_call(RxHttp *http, RxCall *call)
{
	call->next = http->calls;
	if (call->next)
		call->next->prev = call;
	http->calls = call;
	http->n_calls++;
}

static void
unlink_call(RxHttp *http, RxCall *call)
{
	if (call->next)
		call->next->prev = call->prev;
	if (call->prev)
		call->prev->next = call->next;
	else
		http->calls = call->next;
	http->n_calls--;
}

/* Takes a call that is under way out of everything, and frees it. */
static void
drop_call(RxHttp *http, RxCall *call)
{
	CURL	   *easy = call->easy;

	if (curl_multi_remove_handle(http->multi, easy) != CURLM_OK)
		http->broken = true;
	rx_deadlines_remove(&http->deadlines, &call->deadline);
	unlink_call(http, call);
	/* Before what its options point to: the URL, the header list, the call. */
	curl_easy_reset(easy);
	give_easy(http, easy);
	rx_http_call_free(call);
}

static void
finish_call(RxHttp *http, RxCall *call, CURLcode code)
{
	rx_http_conclude(call, code);
	push_finished(http, call->held);
	call->held = NULL;
	drop_call(http, call);
}

static void
refuse_call(RxHttp *http, RxCall *call)
{
	rx_http_conclude(call, CURLE_ABORTED_BY_CALLBACK);
	push_finished(http, call->held);
	call->held = NULL;
	give_easy(http, call->easy);
	rx_http_call_free(call);
}

/* Under way from here on, unless memory runs out. */
static bool
launch_call(RxHttp *http, RxCall *call)
{
	call->held->answer.sent_at_us = rx_http_now();
	call->deadline.at = rx_http_call_deadline(call);
	if (!rx_deadlines_add(&http->deadlines, &call->deadline))
		return false;
	if (curl_multi_add_handle(http->multi, call->easy) == CURLM_OK)
	{
		link_call(http, call);
		return true;
	}
	rx_deadlines_remove(&http->deadlines, &call->deadline);
	return false;
}

static bool
start_call(RxHttp *http, const RxHttpRequest *request)
{
	CURL	   *easy = take_easy(http);
	RxCall	   *call = easy ? rx_http_call_create(http, request, http->egress, http->ca_file, easy) : NULL;

	if (call && call->stop == STOP_REQUEST)
		refuse_call(http, call);
	else if (!call || !launch_call(http, call))
	{
		if (call)
			rx_http_call_free(call);
		if (easy)
			curl_easy_cleanup(easy);
		return false;
	}
	return true;
}

bool
rx_http_start(RxHttp *http, const RxHttpRequest *request)
{
	sigset_t	before;
	bool		started;

	if (rx_http_free_slots(http) <= 0)
		return false;
	block_signals(&before);
	started = start_call(http, request);
	arm_timer(http);
	restore_signals(&before);
	return started;
}

static void
check(RxHttp *http, CURLMcode code)
{
	if (code != CURLM_OK)
		http->broken = true;
}

static void
clear_timer(RxHttp *http)
{
	uint64_t	expirations;

	if (read(http->timer, &expirations, sizeof(expirations)) > 0)
		http->timer_at = NEVER;
}

static void
drive_socket(RxHttp *http, const struct epoll_event *event)
{
	int			what = 0;
	int			running;

	if (event->events & EPOLLIN)
		what |= CURL_CSELECT_IN;
	if (event->events & EPOLLOUT)
		what |= CURL_CSELECT_OUT;
	if (event->events & (EPOLLERR | EPOLLHUP))
		what |= CURL_CSELECT_ERR;
	check(http, curl_multi_socket_action(http->multi, event->data.fd, what, &running));
}

/* True if there may be more. */
static bool
drive_sockets(RxHttp *http)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	int			n = epoll_wait(http->epoll, events, EVENTS_AT_ONCE, 0);

	for (int i = 0; i < n && !http->broken; i++)
	{
		if (events[i].data.fd == http->timer)
			clear_timer(http);
		else
			drive_socket(http, &events[i]);
	}
	return n == EVENTS_AT_ONCE;
}

static bool
drive_curl_timer(RxHttp *http)
{
	int			running;

	if (http->curl_at > rx_http_now())
		return false;
	http->curl_at = NEVER;
	check(http, curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running));
	return true;
}

static void
reap(RxHttp *http)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(http->multi, &left)) != NULL)
	{
		RxCall	   *call = NULL;
		CURLcode	code = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **) &call);
		finish_call(http, call, code);
	}
}

/*
 * A deadline in the heap may be earlier than the call's own: content that
 * comes pushes the latter out, and the heap learns it only here.
 */
static void
expire(RxHttp *http)
{
	int64_t		now = rx_http_now();
	RxDeadline *next;

	while ((next = rx_deadlines_next(&http->deadlines)) != NULL && next->at <= now)
	{
		RxCall	   *call = next->owner;

		if (rx_http_call_deadline(call) > now)
		{
			rx_http_move_deadline(call);
			continue;
		}
		call->stop = call->held->answer.first_byte_us < 0 ? STOP_FIRST_BYTE : STOP_IDLE;
		finish_call(http, call, CURLE_OPERATION_TIMEDOUT);
	}
}

/* After libcurl has failed. */
static void
start_over(RxHttp *http)
{
	while (http->calls)
		finish_call(http, http->calls, CURLE_RECV_ERROR);
	curl_multi_cleanup(http->multi);
	/* Without one, start refuses and drive comes back here. */
	if (!create_multi(http))
		http->broken = true;
}

void
rx_http_drive(RxHttp *http)
{
	sigset_t	before;

	block_signals(&before);
	for (int round = 0; round < MAX_ROUNDS && !http->broken; round++)
	{
		bool		more = drive_sockets(http);

		/* Both, always: a timer that is due is not made to wait by sockets. */
		more |= !http->broken && drive_curl_timer(http);
		if (!http->broken)
			reap(http);
		if (!more)
			break;
	}
	if (!http->broken)
		expire(http);
	if (http->broken)
		start_over(http);
	arm_timer(http);
	restore_signals(&before);
}

RxHttpAnswer *
rx_http_take(RxHttp *http)
{
	RxHeld	   *held = http->finished;

	if (!held)
		return NULL;
	http->finished = held->next;
	if (!http->finished)
	{
		http->finished_tail = &http->finished;
		arm_timer(http);
	}
	return &held->answer;
}

static void
cancel_finished(RxHttp *http, bool (*matches) (void *owner, void *arg), void *arg)
{
	RxHeld	  **link = &http->finished;

	while (*link)
	{
		RxHeld	   *held = *link;

		if (matches(held->answer.owner, arg))
		{
			*link = held->next;
			rx_http_answer_free(&held->answer);
		}
		else
			link = &held->next;
	}
	http->finished_tail = link;
}

void
rx_http_cancel(RxHttp *http, bool (*matches) (void *owner, void *arg), void *arg)
{
	sigset_t	before;
	RxCall	   *next;

	block_signals(&before);
	for (RxCall *call = http->calls; call; call = next)
	{
		next = call->next;
		if (matches(call->held->answer.owner, arg))
			drop_call(http, call);
	}
	cancel_finished(http, matches, arg);
	arm_timer(http);
	restore_signals(&before);
}

static bool
anyone(void *owner, void *arg)
{
	return true;
}

void
rx_http_destroy(RxHttp *http)
{
	sigset_t	before;

	if (!http)
		return;
	if (http->multi)
		rx_http_cancel(http, anyone, NULL);
	block_signals(&before);
	while (http->n_spare > 0)
		curl_easy_cleanup(http->spare[--http->n_spare]);
	if (http->multi)
		curl_multi_cleanup(http->multi);
	restore_signals(&before);
	if (http->epoll >= 0)
		close(http->epoll);
	if (http->timer >= 0)
		close(http->timer);
	rx_deadlines_free(&http->deadlines);
	rx_egress_unref(http->egress);
	free(http->ca_file);
	free(http);
}

/* How many calls the limit of descriptors allows, after raising it if need be. */
static int
slots_for(int max_inflight)
{
	struct rlimit limit;
	rlim_t		wanted = (rlim_t) max_inflight * DESCRIPTORS_PER_CALL + DESCRIPTORS_RESERVED;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 1;
	if (limit.rlim_cur < wanted)
	{
		struct rlimit raised = limit;

		raised.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
			limit = raised;
	}
	if (limit.rlim_cur >= wanted)
		return max_inflight;
	if (limit.rlim_cur < DESCRIPTORS_RESERVED + DESCRIPTORS_PER_CALL)
		return 1;
	return (int) ((limit.rlim_cur - DESCRIPTORS_RESERVED) / DESCRIPTORS_PER_CALL);
}

bool
rx_http_set_policy(RxHttp *http, const RxHttpPolicy *policy, char *error, size_t error_size)
{
	RxEgress   *egress = rx_egress_parse(policy->allowed_hosts, error, error_size);
	char	   *ca_file = strdup(policy->ca_file ? policy->ca_file : "");

	if (!egress || !ca_file)
	{
		if (egress)
			snprintf(error, error_size, "out of memory");
		rx_egress_unref(egress);
		free(ca_file);
		return false;
	}
	rx_egress_unref(http->egress);
	free(http->ca_file);
	http->egress = egress;
	http->ca_file = ca_file;
	http->slots = slots_for(policy->max_inflight);
	curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long) http->slots);
	curl_multi_setopt(http->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long) http->slots);
	return true;
}

int
rx_http_free_slots(const RxHttp *http)
{
	if (http->broken || http->slots < http->n_calls)
		return 0;
	return http->slots - http->n_calls;
}

int
rx_http_inflight(const RxHttp *http)
{
	return http->n_calls;
}

int
rx_http_fd(const RxHttp *http)
{
	return http->epoll;
}
