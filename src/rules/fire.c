/*
 * fire.c
 *		One firing of one rule.
 *
 * A firing is a subtransaction.  In it the role is the rule's owner, as after
 * SET ROLE, so that whatever asks who is calling hears the owner; every setting
 * that is changed on the way is put back, whoever changed it.
 *
 * A handler runs with its owner's rights, inside a security-restricted
 * operation: it can't become somebody else, nor leave code behind that would
 * run at commit with the worker's rights.  Deferred constraints are such code,
 * so all constraints are immediate here; a handler that defers them itself
 * gets PostgreSQL's error.  Other actions are reflex's own code and run as the
 * owner of the extension.
 *
 * The time limit is a timer of our own that cancels like pg_cancel_backend:
 * statement_timeout does nothing in a worker.  A handler that catches the
 * cancellation gets another one every second.
 */
#include "reflex.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pg/guc.h"
#include "pg/spi.h"
#include "pg/try.h"
#include "rules/rules_int.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

/* What is kept of an error's text. */
#define ERROR_MAX 4000

static TimeoutId handler_timeout;
static volatile sig_atomic_t timed_out;

/* Runs in the signal handler. */
static void
cancel_handler(void)
{
	timed_out = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

void
rx_rule_fire_init(void)
{
	handler_timeout = RegisterTimeout(USER_TIMEOUT, cancel_handler);
}

static void
start_timer(void)
{
	timed_out = false;
	enable_timeout_every(handler_timeout,
						 TimestampTzPlusMilliseconds(GetCurrentTimestamp(), rx_guc_handler_timeout),
						 1000);
}

/* A cancellation that came too late to hit the handler must not hit us. */
static void
stop_timer(void)
{
	disable_timeout(handler_timeout, false);
	if (timed_out)
		QueryCancelPending = false;
}

/* For the rest of the innermost GUC nest level. */
static void
set_option(const char *name, const char *value, int elevel)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, elevel, false);
}

/* What the firing publishes belongs to the trace of what it reacts to. */
static void
take_trace(const RxRecord *record)
{
	JsonbValue	value;

	if (record->meta && JB_ROOT_IS_OBJECT(record->meta) &&
		getKeyJsonValueFromContainer(&record->meta->root, "traceparent", strlen("traceparent"), &value) &&
		value.type == jbvString)
		set_option("reflex.traceparent", pnstrdup(value.val.string.val, value.val.string.len), DEBUG1);
}

static void
run_handler(const RxRule *rule, Jsonb *event)
{
	Oid			types[] = {JSONBOID};
	Datum		values[] = {JsonbPGetDatum(event)};

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	(void) SPI_execute("SET CONSTRAINTS ALL IMMEDIATE", false, 0);
	(void) rx_spi_exec(rule->call, 1, types, values, NULL, SPI_OK_SELECT);
	SPI_finish();
}

static void
run_action(const RxRule *rule, Jsonb *event)
{
	Oid			types[] = {JSONBOID, JSONBOID};
	Datum		values[] = {JsonbPGetDatum(rule->action), JsonbPGetDatum(event)};
	RxSpi		spi;

	rx_spi_open(&spi);
	(void) rx_spi_exec("SELECT reflex_internal.rule_fire($1, $2)", 2, types, values, NULL, SPI_OK_SELECT);
	rx_spi_close(&spi);
}

/* The order matters: the role can be set only outside a restricted operation. */
static void
run_as_owner(const RxRule *rule, const RxRecord *record, Jsonb *event)
{
	int			level = NewGUCNestLevel();
	Oid			user;
	int			sec;

	if (!OidIsValid(rule->owner_oid))
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_OBJECT),
				errmsg("role \"%s\", which owns rule \"%s\", does not exist", rule->owner, rule->name));
	set_option("search_path", "pg_catalog, pg_temp", 0);
	set_option("role", rule->owner, 0);
	take_trace(record);
	GetUserIdAndSecContext(&user, &sec);
	if (rule->call)
	{
		SetUserIdAndSecContext(rule->owner_oid, sec | SECURITY_RESTRICTED_OPERATION);
		run_handler(rule, event);
	}
	else
		run_action(rule, event);
	SetUserIdAndSecContext(user, sec);
	AtEOXact_GUC(false, level);
}

char *
rx_rule_error(const ErrorData *error)
{
	char	   *line = psprintf("%s (SQLSTATE %s)%s%s", error->message ? error->message : "no message",
								unpack_sql_state(error->sqlerrcode),
								error->detail ? ": " : "", error->detail ? error->detail : "");

	line[pg_mbcliplen(line, strlen(line), ERROR_MAX)] = '\0';
	return line;
}

typedef struct Firing
{
	const RxRule *rule;
	const RxRecord *record;
	Jsonb	   *event;
} Firing;

/* In a subtransaction; the timer is stopped before that ends. */
static void
fire(void *arg)
{
	Firing	   *firing = arg;

	run_as_owner(firing->rule, firing->record, firing->event);
	stop_timer();
}

char *
rx_rule_fire(const RxRule *rule, const RxRecord *record, Jsonb *event)
{
	Firing		firing = {rule, record, event};
	ErrorData  *error;

	start_timer();
	error = rx_try(fire, &firing);
	stop_timer();
	if (error == NULL)
		return NULL;
	if (timed_out && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		return psprintf("handler ran longer than reflex.handler_timeout (%d ms)", rx_guc_handler_timeout);
	return rx_rule_error(error);
}
