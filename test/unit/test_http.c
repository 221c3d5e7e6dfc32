/*
 * test_http.c
 *		The HTTP engine against the hostile server.
 *
 * Name resolution is replaced: getaddrinfo below is found before the C
 * library's, so that no test needs a network, a name can hang, and the thread
 * that libcurl resolves in can be looked at.
 */
#include "http/http_int.h"
#include "tap.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS INT64_C(1000)
#define MANY 1000

static int	port;
static int	tls_port;
static pid_t server;
static char base[64];

/* The mask of the thread that resolved last: how many of these three were open. */
static volatile int open_signals = -1;
static volatile int resolved;

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
	struct
	{
		struct addrinfo info;
		struct sockaddr_in address;
	}		   *one;
	sigset_t	mask;

	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	open_signals = !sigismember(&mask, SIGUSR1) + !sigismember(&mask, SIGTERM) + !sigismember(&mask, SIGALRM);
	resolved++;
	if (strcmp(node, "hang.test") == 0)
		sleep(60);
	if (strcmp(node, "loop.test") != 0)
		return EAI_NONAME;
	one = calloc(1, sizeof(*one));
	one->address.sin_family = AF_INET;
	one->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	one->address.sin_port = htons((uint16_t) atoi(service ? service : "0"));
	one->info.ai_family = AF_INET;
	one->info.ai_socktype = SOCK_STREAM;
	one->info.ai_addrlen = sizeof(one->address);
	one->info.ai_addr = (struct sockaddr *) &one->address;
	*result = &one->info;
	return 0;
}

void
freeaddrinfo(struct addrinfo *info)
{
	free(info);
}

/* Starts the server with its standard input tied to us: it can't outlive the test. */
static void
start_server(void)
{
	int			in[2];
	int			out[2];
	FILE	   *said;
	char		line[100];
	char		cert[500];
	char		key[500];

	snprintf(cert, sizeof(cert), "%s/cert.pem", getenv("UNIT_TLS"));
	snprintf(key, sizeof(key), "%s/key.pem", getenv("UNIT_TLS"));
	if (pipe(in) != 0 || pipe(out) != 0 || (server = fork()) < 0)
		exit(2);
	if (server == 0)
	{
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		execlp("python3", "python3", getenv("HOSTILE_SERVER"), "--with-parent",
			   "--tls-cert", cert, "--tls-key", key, NULL);
		_exit(2);
	}
	close(out[1]);
	said = fdopen(out[0], "r");
	while (port == 0 && fgets(line, sizeof(line), said))
		if (sscanf(line, "tls_port=%d", &tls_port) != 1)
			sscanf(line, "port=%d", &port);
	fclose(said);
	snprintf(base, sizeof(base), "http://127.0.0.1:%d", port);
}

static void
stop_server(void)
{
	kill(server, SIGTERM);
	waitpid(server, NULL, 0);
}

static RxHttp *
engine(const char *allowed, const char *ca_file, int max_inflight)
{
	RxHttp	   *http = rx_http_create();
	char		error[200] = "";
	RxHttpPolicy policy = {allowed, ca_file, max_inflight};

	if (!http || !rx_http_set_policy(http, &policy, error, sizeof(error)))
		printf("# no engine: %s\n", error);
	return http;
}

static RxHttpRequest
request_to(char *method, char *url)
{
	return (RxHttpRequest)
	{
		.method = method, .url = url, .connect_timeout_ms = 5000, .total_timeout_ms = 20000,
		.max_response = 1 << 20
	};
}

/* Waits as a worker does: for the one descriptor, and takes what is finished. */
static RxHttpAnswer *
next_answer(RxHttp *http)
{
	int64_t		deadline = rx_http_now() + 30000 * MS;
	RxHttpAnswer *answer;

	while ((answer = rx_http_take(http)) == NULL && rx_http_now() < deadline)
	{
		struct pollfd descriptor = {rx_http_fd(http), POLLIN, 0};

		if (poll(&descriptor, 1, 1000) > 0)
			rx_http_drive(http);
	}
	return answer;
}

static RxHttpAnswer *
run(RxHttp *http, const RxHttpRequest *request)
{
	if (!rx_http_start(http, request))
		printf("# not started\n");
	return next_answer(http);
}

static char *
to(const char *path)
{
	static char url[1000];

	snprintf(url, sizeof(url), "%s%s", base, path);
	return url;
}

static RxHttpAnswer *
get(RxHttp *http, const char *path)
{
	RxHttpRequest request = request_to("GET", to(path));

	return run(http, &request);
}

static const char *
outcome_name(const RxHttpAnswer *answer)
{
	static const char *const names[] = {"answered", "not sent", "unknown", "refused"};

	return answer ? names[answer->outcome] : "nothing";
}

/* Outcome and error (a part of it), and frees the answer. */
static void
ends(RxHttpAnswer *answer, const char *outcome, const char *error, const char *what)
{
	is_text(outcome_name(answer), outcome, "%s: %s", what, outcome);
	if (!ok(answer && strstr(answer->error, error) && (*error || !*answer->error), "%s: \"%s\"", what, error))
		printf("# error: \"%s\"\n", answer ? answer->error : "");
	rx_http_answer_free(answer);
}

static const char *
header_of(const RxHttpAnswer *answer, const char *name)
{
	for (int i = 0; i < answer->n_headers; i++)
		if (strcmp(answer->headers[i].name, name) == 0)
			return answer->headers[i].value;
	return NULL;
}

/* How many requests whose path begins so the server has taken. */
static int
taken(RxHttp *http, const char *path)
{
	char		query[200];
	int			n = 0;
	RxHttpAnswer *answer;

	snprintf(query, sizeof(query), "/_requests?path=%s", path);
	answer = get(http, query);
	for (char *p = answer->body; (p = strstr(p, "\"what\": \"received\"")) != NULL; p++)
		n++;
	rx_http_answer_free(answer);
	return n;
}

static void
test_answers(RxHttp *http)
{
	RxHttpAnswer *answer = get(http, "/ok");

	is_text(answer->body, "{\"ok\": true}", "the body comes whole");
	is_number((long long) answer->body_len, 12, "with its length");
	is_number(answer->status, 200, "and its status");
	is_text(header_of(answer, "content-type"), "application/json", "and its headers in lower case");
	ok(answer->sent_at_us > 0 && answer->first_byte_us > 0 && answer->total_us >= answer->first_byte_us,
	   "and its times");
	is_number(answer->retry_after_ms, -1, "and no Retry-After");
	ends(answer, "answered", "", "ok");

	answer = get(http, "/status/429?retry_after=2");
	is_number(answer->status, 429, "a status is an answer");
	is_number(answer->retry_after_ms, 2000, "Retry-After is read");
	ends(answer, "answered", "", "429");

	answer = get(http, "/gzip");
	is_text(answer->body, "{\"ok\": true}", "gzip is decoded");
	rx_http_answer_free(answer);

	answer = get(http, "/redirect?to=/ok/redirected");
	is_number(answer->status, 302, "a redirect is an answer");
	is_text(header_of(answer, "location"), "/ok/redirected", "that says where");
	rx_http_answer_free(answer);
	is_number(taken(http, "/ok/redirected"), 0, "and is not followed");

}

/* In an engine of its own: what is too much may spoil the next call on the connection. */
static void
test_too_much(void)
{
	RxHttp	   *http = engine("127.0.0.1", NULL, 10);
	RxHttpAnswer *answer = get(http, "/short");

	is_text(answer->body, "hello", "bytes beyond the length are not the answer's");
	ends(answer, "answered", "", "too many bytes");
	rx_http_answer_free(get(http, "/ok"));
	ends(get(http, "/ok"), "answered", "", "the call after that");
	rx_http_destroy(http);
}

static void
test_requests(RxHttp *http)
{
	RxHttpHeader headers[] = {
		{"Idempotency-Key", "k-1"}, {"X-Empty", ""}, {"X-Blank", "  "}, {"Content-Type", "text/x-test"},
	};
	RxHttpRequest request = request_to("PATCH", to("/echo?q=1"));
	RxHttpAnswer *answer;

	request.headers = headers;
	request.n_headers = 4;
	request.body = "hello\0world";
	request.body_len = 5;
	answer = run(http, &request);
	ok(strstr(answer->body, "\"method\": \"PATCH\""), "the method arrives");
	ok(strstr(answer->body, "\"path\": \"/echo?q=1\""), "and the path");
	ok(strstr(answer->body, "\"body\": \"hello\""), "and the body");
	ok(strstr(answer->body, "\"idempotency-key\": \"k-1\""), "and a header");
	ok(strstr(answer->body, "\"x-empty\": \"\"") && strstr(answer->body, "\"x-blank\": \"\""), "and an empty one");
	ok(strstr(answer->body, "\"content-type\": \"text/x-test\""), "and the caller's type");
	ok(!strstr(answer->body, "\"expect\""), "without Expect");
	rx_http_answer_free(answer);

	request = request_to("POST", to("/echo"));
	answer = run(http, &request);
	ok(strstr(answer->body, "\"content-length\": \"0\""), "a POST without a body says so");
	ok(!strstr(answer->body, "\"content-type\""), "and claims no type");
	rx_http_answer_free(answer);

	request = request_to("HEAD", to("/body?n=5000"));
	answer = run(http, &request);
	is_number((long long) answer->body_len, 0, "HEAD has no body");
	ends(answer, "answered", "", "HEAD");
}

static void
test_large_request(RxHttp *http)
{
	RxHttpRequest request = request_to("POST", to("/ok"));
	size_t		size = 4 << 20;

	request.body = malloc(size);
	memset(request.body, 'x', size);
	request.body_len = size;
	ends(run(http, &request), "answered", "", "4 MB of request");
	free(request.body);
}

static void
refused(RxHttp *http, RxHttpRequest *request, const char *error, const char *what)
{
	RxHttpAnswer *answer = run(http, request);

	ok(answer && answer->sent_at_us == 0, "%s: never started", what);
	ends(answer, "refused", error, what);
}

static void
test_bad_requests(RxHttp *http)
{
	static const struct
	{
		const char *name;
		const char *value;
		const char *error;
	}			bad[] = {
		{"X-A", "b\r\nX-Injected: 1", "control character"}, {"X-A", "b\nX", "control character"},
		{"X-A", "b\rX", "control character"}, {"X-A\r\nX-B", "b", "bad name"}, {"X A", "b", "bad name"},
		{"", "b", "bad name"}, {"X-A:", "b", "bad name"}, {"Host", "evil", "frames"},
		{"content-length", "5", "frames"}, {"Transfer-Encoding", "chunked", "frames"},
		{"CONNECTION", "upgrade", "frames"}, {"Upgrade", "h2c", "frames"}, {"TE", "trailers", "frames"},
	};
	RxHttpRequest request = request_to("GET", to("/ok/injected"));

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		RxHttpHeader header = {(char *) bad[i].name, (char *) bad[i].value};

		request.headers = &header;
		request.n_headers = 1;
		refused(http, &request, bad[i].error, "a bad header");
	}
	request = request_to("GET /x", to("/ok/injected"));
	refused(http, &request, "method", "a bad method");
	request = request_to("CONNECT", to("/ok/injected"));
	refused(http, &request, "method", "CONNECT");
	request = request_to("GET", "file:///etc/passwd");
	refused(http, &request, "neither http nor https", "file:");
	request = request_to("GET", "http://127.0.0.1:1/\r\nX: y");
	refused(http, &request, "malformed", "a line break in a URL");
	is_number(taken(http, "/ok/injected"), 0, "nothing of them arrived");
}

static RxHttpRequest
limited(char *path, long first_byte_ms, long idle_ms, long total_ms)
{
	RxHttpRequest request = request_to("POST", to(path));

	request.first_byte_timeout_ms = first_byte_ms;
	request.idle_timeout_ms = idle_ms;
	request.total_timeout_ms = total_ms;
	return request;
}

/* Ends as it should, and when it should: not before, and not 150 ms after. */
static void
times_out(RxHttp *http, RxHttpRequest request, long after_ms, const char *error, const char *what)
{
	RxHttpAnswer *answer = run(http, &request);

	if (!ok(answer && answer->total_us >= (after_ms - 2) * MS && answer->total_us < (after_ms + 150) * MS,
			"%s: after %ld ms", what, after_ms))
		printf("# after %lld us\n", answer ? (long long) answer->total_us : -1);
	ends(answer, "unknown", error, what);
}

static void
test_timeouts(RxHttp *http)
{
	RxHttpRequest request;
	RxHttpAnswer *answer;

	times_out(http, limited("/stall", 300, 0, 5000), 300,
			  "waiting for the first byte: nothing came within 300 ms", "a stall before the first byte");
	times_out(http, limited("/stall", 0, 100, 300), 300,
			  "waiting for the first byte: not done within 300 ms", "no limit but the total");
	times_out(http, limited("/stall-body", 5000, 200, 5000), 200,
			  "reading the answer: nothing more came for 200 ms", "a stall in the body");
	times_out(http, limited("/drip?n=100&s=0.05", 300, 200, 500), 500,
			  "reading the answer: not done within 500 ms", "a drip beyond the total");
	times_out(http, limited("/drip-headers?n=100&s=0.05", 100, 300, 5000), 300,
			  "reading the answer: nothing more came for 300 ms", "headers that drip are no content");
	request = limited("/drip?n=10&s=0.05", 300, 200, 5000);
	answer = run(http, &request);
	ok(answer->total_us > 400 * MS, "a drip within the limits takes its time");
	ends(answer, "answered", "", "a drip");
	request = limited("/slow?s=0.3", 2000, 100, 5000);
	ends(run(http, &request), "answered", "", "slow to begin is not idle");
}

static void
test_limits(RxHttp *http)
{
	RxHttpRequest request = request_to("GET", to("/body?n=1000"));
	RxHttpAnswer *answer;
	int64_t		began;

	request.max_response = 1000;
	answer = run(http, &request);
	is_number((long long) answer->body_len, 1000, "a body of the limit fits");
	ends(answer, "answered", "", "a body of the limit");
	request.max_response = 999;
	answer = run(http, &request);
	is_number(answer->status, 200, "a body too large keeps its status");
	is_number((long long) answer->body_len, 0, "but not its bytes");
	ends(answer, "refused", "reading the answer: the answer is larger than 999 bytes", "a body too large");
	ends(get(http, "/endless"), "refused", "larger than", "an endless body");
	began = rx_http_now();
	ends(get(http, "/gzip-bomb?mb=50"), "refused", "larger than 1048576 bytes", "a gzip bomb");
	ok(rx_http_now() - began < 5000 * MS, "it is cut off at the limit");
	ends(get(http, "/endless-headers"), "refused", "header lines", "an endless header");
	ends(get(http, "/headers?n=10&size=8000"), "refused", "header lines", "a header too large");
	ends(get(http, "/headers?n=200"), "answered", "", "200 header lines");
}

static void
test_broken_answers(RxHttp *http)
{
	RxHttpAnswer *answer = get(http, "/truncated");

	is_number(answer->status, 200, "a truncated answer keeps its status");
	is_text(answer->body, "", "but not its body");
	ends(answer, "unknown", "reading the answer: ", "truncated");
	ends(get(http, "/truncated-chunked"), "unknown", "reading the answer: ", "chunks without an end");
	ends(get(http, "/garbage"), "unknown", "the answer is not HTTP", "not HTTP");
	ends(get(http, "/empty"), "unknown", "waiting for the first byte: ", "no answer");
}

/* A method that may not be repeated, on a connection that was used before. */
static void
test_resets(RxHttp *http)
{
	RxHttpRequest request = request_to("POST", to("/reset-before"));
	char		once[100];

	ends(run(http, &request), "unknown", ": ", "a reset before reading");
	request = request_to("POST", to("/reset-after"));
	ends(run(http, &request), "unknown", ": ", "a reset after reading");
	rx_http_answer_free(get(http, "/ok"));
	snprintf(once, sizeof(once), "%s/reset-after/once", base);
	request = request_to("POST", once);
	ends(run(http, &request), "unknown", "not sent twice", "a reset on a connection used before");
	is_number(taken(http, "/reset-after/once"), 1, "is not followed by a second request");
	snprintf(once, sizeof(once), "%s/reset-after/twice", base);
	request = request_to("GET", once);
	ends(run(http, &request), "unknown", ": ", "a GET on a connection used before");
	is_number(taken(http, "/reset-after/twice"), 2, "may be repeated by libcurl");
}

/* A port where nobody listens. */
static int
closed_port(bool and_listen, int *listener)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t	length = sizeof(address);
	int			fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *) &address, length) != 0 || (and_listen && listen(fd, 5) != 0))
		exit(2);
	getsockname(fd, (struct sockaddr *) &address, &length);
	if (and_listen)
		*listener = fd;
	else
		close(fd);
	return ntohs(address.sin_port);
}

static void
test_not_sent(RxHttp *http)
{
	char		url[200];
	RxHttpRequest request = request_to("POST", url);
	int			silent;

	snprintf(url, sizeof(url), "http://127.0.0.1:%d/", closed_port(false, NULL));
	ends(run(http, &request), "not sent", "connecting: Connection refused", "nobody listens");
	snprintf(url, sizeof(url), "http://nobody.invalid/");
	ends(run(http, &request), "not sent", "resolving the name: ", "no such name");
	is_number(open_signals, 0, "no signal is delivered to the resolver's thread");
	snprintf(url, sizeof(url), "http://hang.test/");
	request.connect_timeout_ms = 300;
	ends(run(http, &request), "not sent", "resolving the name: no connection within 300 ms", "a name server that hangs");
	snprintf(url, sizeof(url), "https://127.0.0.1:%d/", closed_port(true, &silent));
	ends(run(http, &request), "not sent", "TLS handshake: no connection within 300 ms", "a handshake that hangs");
	request.connect_timeout_ms = 5000;
	request.first_byte_timeout_ms = 300;
	ends(run(http, &request), "not sent", "TLS handshake: nothing came within 300 ms", "the first byte's limit in a handshake");
	close(silent);
	snprintf(url, sizeof(url), "https://127.0.0.1:%d/ok", port);
	ends(run(http, &request), "not sent", "TLS handshake: ", "TLS where there is none");
}

static void
test_tls(void)
{
	char		url[200];
	char		cert[500];
	RxHttpRequest request = request_to("GET", url);
	RxHttp	   *http = engine("localhost, 127.0.0.1", NULL, 10);

	snprintf(url, sizeof(url), "https://localhost:%d/ok", tls_port);
	ends(run(http, &request), "not sent", "TLS handshake: the certificate is self-signed", "nobody's certificate");
	rx_http_destroy(http);
	snprintf(cert, sizeof(cert), "%s/cert.pem", getenv("UNIT_TLS"));
	http = engine("localhost, 127.0.0.1", cert, 10);
	ends(run(http, &request), "answered", "", "a certificate from the file");
	snprintf(url, sizeof(url), "https://127.0.0.1:%d/ok", tls_port);
	ends(run(http, &request), "not sent", "TLS handshake: the certificate is not for this host", "another's certificate");
	rx_http_destroy(http);
	http = engine("localhost", "/nonexistent", 10);
	snprintf(url, sizeof(url), "https://localhost:%d/ok", tls_port);
	ends(run(http, &request), "not sent", ": ", "a file of certificates that is not there");
	rx_http_destroy(http);
}

static void
set_allowed(RxHttp *http, const char *allowed)
{
	RxHttpPolicy policy = {allowed, NULL, 100};
	char		error[200];

	ok(rx_http_set_policy(http, &policy, error, sizeof(error)), "allow \"%s\"", allowed);
}

static void
test_egress(void)
{
	RxHttp	   *http = rx_http_create();
	char		url[200];
	char		error[200] = "";
	RxHttpRequest request = request_to("GET", to("/ok/egress"));
	RxHttpRequest named = request_to("GET", url);
	RxHttpPolicy bad = {"127.0.0.1,http://x", NULL, 100};
	int			before = resolved;

	snprintf(url, sizeof(url), "http://loop.test:%d/ok/egress", port);
	ok(!rx_http_start(http, &request), "before the first policy nothing starts");
	set_allowed(http, "*");
	refused(http, &request, "special-purpose", "loopback for everybody");
	ends(run(http, &named), "refused", "egress: the address is special-purpose", "a name that leads to loopback");
	set_allowed(http, "other.test");
	refused(http, &named, "not in reflex.allowed_hosts", "another name");
	is_number(resolved, before + 1, "which was not even resolved");
	set_allowed(http, "loop.test");
	ends(run(http, &named), "answered", "", "a name on the list, on loopback");
	refused(http, &request, "not in reflex.allowed_hosts", "its address without the name");
	set_allowed(http, "10.0.0.0/8");
	ends(run(http, &named), "refused", "egress: the host is not in", "a connection opened under another policy");
	ok(!rx_http_set_policy(http, &bad, error, sizeof(error)) && strstr(error, "entry 2"), "a bad list is named");
	ends(run(http, &named), "refused", "egress", "and changes nothing");
	set_allowed(http, "127.0.0.0/8");
	ends(run(http, &named), "answered", "", "a network on the list");
	is_number(taken(http, "/ok/egress"), 2, "what was refused has not arrived");
	rx_http_destroy(http);
}

static void
test_environment(void)
{
	RxHttp	   *http;
	RxHttpAnswer *answer;

	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("all_proxy", "http://127.0.0.1:1", 1);
	http = engine("127.0.0.1", NULL, 10);
	answer = get(http, "/ok");
	ends(answer, "answered", "", "a proxy in the environment is ignored");
	rx_http_destroy(http);
	unsetenv("http_proxy");
	unsetenv("all_proxy");
}

/* What goes wrong must not tell what was in the request. */
static void
test_secrets(RxHttp *http)
{
	static const char *const urls[] = {
		"http://hunter2:hunter2@127.0.0.1:1/hunter2?hunter2", "http://hunter2.invalid/hunter2",
		"https://hunter2:hunter2@127.0.0.1:%d/ok", "http://hunter2@127.0.0.1:%d/garbage?hunter2",
		"http://127.0.0.1:%d/empty?hunter2", "http://[hunter2", "hunter2://x", "http://hunter2.test/",
	};
	RxHttpHeader header = {"Authorization", "Bearer hunter2"};

	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++)
	{
		char		url[200];
		RxHttpRequest request = request_to("GET", url);
		RxHttpAnswer *answer;

		snprintf(url, sizeof(url), urls[i], port);
		request.connect_timeout_ms = 300;
		request.headers = &header;
		request.n_headers = 1;
		answer = run(http, &request);
		ok(answer->outcome != RX_HTTP_ANSWERED && answer->error[0] && !strstr(answer->error, "hunter2") &&
		   !strstr(answer->error, "127.0.0.1"), "no secret in \"%s\"", answer->error);
		rx_http_answer_free(answer);
	}
}

static void
test_reuse(void)
{
	RxHttp	   *http = engine("127.0.0.1", NULL, 10);
	RxHttpAnswer *answer;
	int			first = 0;
	int			same = 0;

	for (int i = 0; i < 20; i++)
		rx_http_answer_free(get(http, "/ok/reuse"));
	answer = get(http, "/_requests?path=/ok/reuse");
	for (char *p = answer->body; (p = strstr(p, "\"connection\": ")) != NULL; p++)
	{
		int			connection = atoi(p + strlen("\"connection\": "));

		if (first == 0)
			first = connection;
		same += connection == first;
	}
	rx_http_answer_free(answer);
	is_number(same, 20, "20 calls share one connection");
	rx_http_destroy(http);
}

static void
test_many(void)
{
	RxHttp	   *http = engine("127.0.0.1", NULL, MANY);
	RxHttpRequest request = request_to("GET", to("/slow?s=0.2"));
	static char seen[MANY];
	int64_t		began = rx_http_now();
	int			answered = 0;

	for (int i = 0; i < MANY; i++)
	{
		request.owner = &seen[i];
		if (!rx_http_start(http, &request))
			break;
	}
	is_number(rx_http_inflight(http), MANY, "1,000 calls under way");
	is_number(rx_http_free_slots(http), 0, "and no more slots");
	ok(!rx_http_start(http, &request), "one more is not taken");
	for (int i = 0; i < MANY; i++)
	{
		RxHttpAnswer *answer = next_answer(http);

		if (!answer)
			break;
		answered += answer->outcome == RX_HTTP_ANSWERED && ++*(char *) answer->owner == 1;
		rx_http_answer_free(answer);
	}
	is_number(answered, MANY, "each answered once");
	printf("# 1,000 calls of 200 ms took %lld ms\n", (long long) ((rx_http_now() - began) / MS));
	ok(rx_http_now() - began < 4000 * MS, "beside each other");
	is_number(rx_http_free_slots(http), MANY, "all slots are free again");
	rx_http_destroy(http);
}

static bool
is_odd(void *owner, void *arg)
{
	++*(int *) arg;
	return (intptr_t) owner % 2 == 1;
}

static void
test_cancel(void)
{
	RxHttp	   *http = engine("127.0.0.1", NULL, 100);
	int			asked = 0;
	int			left = 0;
	RxHttpAnswer *answer;

	for (intptr_t i = 0; i < 10; i++)
	{
		RxHttpRequest request = request_to("GET", i < 6 ? to("/slow?s=0.2") : "nothing");

		request.owner = (void *) i;
		rx_http_start(http, &request);
	}
	rx_http_drive(http);
	rx_http_cancel(http, is_odd, &asked);
	is_number(asked, 10, "all calls are asked for, also the finished ones");
	is_number(rx_http_inflight(http), 3, "half of those under way is left");
	for (int i = 0; i < 5 && (answer = next_answer(http)) != NULL; i++)
	{
		left += (intptr_t) answer->owner % 2 == 0;
		rx_http_answer_free(answer);
	}
	is_number(left, 5, "the others end as ever");
	ok(rx_http_take(http) == NULL, "and nothing else");
	rx_http_destroy(http);
}

static void
test_destroy(void)
{
	RxHttp	   *http = engine("127.0.0.1, hang.test", NULL, 200);
	RxHttpRequest hanging = request_to("GET", to("/hang"));
	RxHttpRequest resolving = request_to("GET", "http://hang.test/");
	int64_t		began;

	for (int i = 0; i < 100; i++)
		rx_http_start(http, &hanging);
	rx_http_start(http, &resolving);
	for (int i = 0; i < 20; i++)
	{
		struct pollfd descriptor = {rx_http_fd(http), POLLIN, 0};

		poll(&descriptor, 1, 10);
		rx_http_drive(http);
	}
	is_number(rx_http_inflight(http), 101, "100 calls and a name hang");
	began = rx_http_now();
	rx_http_destroy(http);
	ok(rx_http_now() - began < 500 * MS, "the engine ends at once");
	rx_http_destroy(NULL);
}

/* An idle engine does not wake its owner. */
static void
test_quiet(RxHttp *http)
{
	struct pollfd descriptor = {rx_http_fd(http), POLLIN, 0};

	rx_http_drive(http);
	while (poll(&descriptor, 1, 300) > 0 && rx_http_take(http) == NULL)
		rx_http_drive(http);
	is_number(poll(&descriptor, 1, 300), 0, "an idle engine is quiet");
}

int
main(void)
{
	sigset_t	mask;
	sigset_t	after;
	RxHttp	   *http;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	if (!getenv("HOSTILE_SERVER") || !getenv("UNIT_TLS"))
	{
		printf("Bail out! run it with make -C test/unit check\n");
		return 2;
	}
	start_server();
	/* First: its ledger is still empty. */
	test_egress();
	http = engine("127.0.0.1, *.invalid, hang.test", NULL, 100);
	test_answers(http);
	test_requests(http);
	test_large_request(http);
	test_bad_requests(http);
	test_timeouts(http);
	test_limits(http);
	test_broken_answers(http);
	test_resets(http);
	test_not_sent(http);
	test_secrets(http);
	test_quiet(http);
	rx_http_destroy(http);
	test_too_much();
	test_tls();
	test_environment();
	test_reuse();
	test_many();
	test_cancel();
	test_destroy();
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	ok(memcmp(&mask, &after, sizeof(mask)) == 0 || (sigismember(&after, SIGUSR2) && !sigismember(&after, SIGTERM)),
	   "the mask of signals is as it was");
	stop_server();
	return done();
}
