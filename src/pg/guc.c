/*
 * guc.c
 *		The settings, reflex.*: one alphabetical table per type.
 *
 * A setting that chooses where the server connects, which file it reads or
 * whom it trusts can't be set by a session (PGC_SIGHUP).
 */
#include "reflex.h"

#include "base/traceparent.h"
#include "pg/guc.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include <limits.h>

char	   *rx_guc_allowed_hosts;
char	   *rx_guc_ca_file;
char	   *rx_guc_databases;
char	   *rx_guc_default_model;
int			rx_guc_dedupe_window;
int			rx_guc_event_max_attempts;
int			rx_guc_event_max_size;
int			rx_guc_event_retention;
int			rx_guc_event_retry_base_delay;
int			rx_guc_event_retry_max_delay;
int			rx_guc_handler_timeout;
int			rx_guc_http_timeout;
int			rx_guc_llm_timeout;
int			rx_guc_log_max_size;
int			rx_guc_max_inflight;
int			rx_guc_max_response_size;
int			rx_guc_node_id;
int			rx_guc_poll_interval;
char	   *rx_guc_secret_key_file;
int			rx_guc_shared_memory;
bool		rx_guc_strict_event_types;
char	   *rx_guc_traceparent;
int			rx_guc_workers_per_database;

typedef struct BoolSetting
{
	const char *name;
	const char *brief;
	bool	   *variable;
	bool		boot;
	GucContext	context;
} BoolSetting;

typedef struct IntSetting
{
	const char *name;
	const char *brief;
	int		   *variable;
	int			boot;
	int			min;
	int			max;
	GucContext	context;
	int			flags;			/* the unit */
} IntSetting;

typedef struct StringSetting
{
	const char *name;
	const char *brief;
	char	  **variable;
	const char *boot;
	GucContext	context;
	int			flags;
	GucStringCheckHook check;
} StringSetting;

/* 00-<32 hex>-<16 hex>-<2 hex>, lower case, ids not all zero; empty for none. */
static bool
check_traceparent(char **value, void **extra, GucSource source)
{
	if (**value == '\0' || rx_traceparent_valid(*value))
		return true;
	GUC_check_errdetail("A traceparent has the form 00-<32 hex digits>-<16 hex digits>-<2 hex digits> (W3C Trace Context).");
	return false;
}

/* Names as in SQL, separated by commas; or '*', which looks like one. */
static bool
check_name_list(char **value, void **extra, GucSource source)
{
	char	   *copy = pstrdup(*value);
	List	   *names;
	bool		ok = SplitIdentifierString(copy, ',', &names);

	list_free(names);
	pfree(copy);
	if (!ok)
		GUC_check_errdetail("List syntax is invalid.");
	return ok;
}

static const BoolSetting bool_settings[] = {
	{"reflex.strict_event_types", "Refuse events of types that are not registered.",
	&rx_guc_strict_event_types, false, PGC_SUSET},
};

static const IntSetting int_settings[] = {
	{"reflex.dedupe_window", "How long a dedupe key stands for the event that it was first used with.",
	&rx_guc_dedupe_window, 24 * 3600, 1, 366 * 24 * 3600, PGC_SIGHUP, GUC_UNIT_S},
	{"reflex.event_max_attempts", "Deliveries of one event before it becomes a dead letter.",
	&rx_guc_event_max_attempts, 3, 1, 1000, PGC_SUSET, 0},
	{"reflex.event_max_size", "Largest payload of an event.",
	&rx_guc_event_max_size, 1024 * 1024, 1024, 128 * 1024 * 1024, PGC_SUSET, GUC_UNIT_BYTE},
	{"reflex.event_retention", "How long events are kept at least; older ones go when no subscription needs them.",
	&rx_guc_event_retention, 30 * 24 * 3600, 1, INT_MAX, PGC_SIGHUP, GUC_UNIT_S},
	{"reflex.event_retry_base_delay", "Upper bound of the delay before the first retry; it doubles with each.",
	&rx_guc_event_retry_base_delay, 1000, 0, INT_MAX, PGC_SUSET, GUC_UNIT_MS},
	{"reflex.event_retry_max_delay", "Upper bound of the delay before any retry.",
	&rx_guc_event_retry_max_delay, 60000, 0, INT_MAX, PGC_SUSET, GUC_UNIT_MS},
	{"reflex.handler_timeout", "Time limit of a handler that a rule runs.",
	&rx_guc_handler_timeout, 30000, 1, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS},
	{"reflex.http_timeout", "Time limit of an HTTP effect, from connecting to the last byte.",
	&rx_guc_http_timeout, 60000, 1, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS},
	{"reflex.llm_timeout", "Time limit of a model call to its first byte.",
	&rx_guc_llm_timeout, 30000, 1, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS},
	{"reflex.log_max_size", "Size of the event log above which events go that no subscription needs, however young; 0 for no limit.",
	&rx_guc_log_max_size, 0, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MB},
	{"reflex.max_inflight", "Requests that one worker has under way at once.",
	&rx_guc_max_inflight, 1000, 1, 20000, PGC_SIGHUP, 0},
	{"reflex.max_response_size", "Largest decoded body that is accepted as an answer.",
	&rx_guc_max_response_size, 8 * 1024 * 1024, 1024, 1024 * 1024 * 1024, PGC_SIGHUP, GUC_UNIT_BYTE},
	{"reflex.node_id", "Number of this node in the ids it gives out.",
	&rx_guc_node_id, 0, 0, 16383, PGC_SIGHUP, 0},
	{"reflex.poll_interval", "Longest sleep of a worker that believes it has nothing to do.",
	&rx_guc_poll_interval, 5000, 10, 3600000, PGC_SIGHUP, GUC_UNIT_MS},
	{"reflex.shared_memory", "Shared memory for positions, leases and waiting retries.",
	&rx_guc_shared_memory, 64 * 1024, 4 * 1024, 16 * 1024 * 1024, PGC_POSTMASTER, GUC_UNIT_KB},
	{"reflex.workers_per_database", "Workers that run rules and handlers, in each database.",
	&rx_guc_workers_per_database, 1, 0, 64, PGC_SIGHUP, 0},
};

static const StringSetting string_settings[] = {
	{"reflex.allowed_hosts", "Hosts that reflex may connect to: names, *.suffixes, addresses, networks, or * for every public address. "
	"A host on a special-purpose address (loopback, private, ...) is reached only when it is named.",
	&rx_guc_allowed_hosts, "*", PGC_SIGHUP, GUC_LIST_INPUT, NULL},
	{"reflex.ca_file", "File with the certificates of the authorities that are trusted; empty for the system's.",
	&rx_guc_ca_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL},
	{"reflex.databases", "Databases that reflex looks after, or *.",
	&rx_guc_databases, "*", PGC_SIGHUP, GUC_LIST_INPUT, check_name_list},
	{"reflex.default_model", "Model of an agent that names none, as provider:model.",
	&rx_guc_default_model, "openai:gpt-4o-mini", PGC_USERSET, 0, NULL},
	{"reflex.secret_key_file", "File with the key that secrets are encrypted with; empty for reflex.key in the data directory.",
	&rx_guc_secret_key_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL},
	{"reflex.traceparent", "W3C trace context that what this session publishes belongs to.",
	&rx_guc_traceparent, "", PGC_USERSET, 0, check_traceparent},
};

void
rx_guc_define(void)
{
	for (int i = 0; i < (int) lengthof(bool_settings); i++)
	{
		const BoolSetting *s = &bool_settings[i];

		DefineCustomBoolVariable(s->name, s->brief, NULL, s->variable, s->boot,
								 s->context, 0, NULL, NULL, NULL);
	}
	for (int i = 0; i < (int) lengthof(int_settings); i++)
	{
		const IntSetting *s = &int_settings[i];

		DefineCustomIntVariable(s->name, s->brief, NULL, s->variable, s->boot, s->min, s->max,
								s->context, s->flags, NULL, NULL, NULL);
	}
	for (int i = 0; i < (int) lengthof(string_settings); i++)
	{
		const StringSetting *s = &string_settings[i];

		DefineCustomStringVariable(s->name, s->brief, NULL, s->variable, s->boot,
								   s->context, s->flags, s->check, NULL, NULL);
	}
	MarkGUCPrefixReserved("reflex");
}
