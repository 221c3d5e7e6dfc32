/*
 * rules.c
 *		The rules duty: reads the event log once for all rules.
 *
 * One subscription, reflex.rules, is read in batches.  What the rules do about
 * an event and the event's settlement are one transaction, so each rule fires
 * exactly once for each event; a transaction does a bounded number of firings,
 * and what is left of the batch stays leased for the next one.
 *
 * Each firing is a subtransaction (fire.c).  One that fails is undone, and the
 * event goes into the rule's own subscription as failed once; from there it is
 * tried again, each try in a transaction of its own, until it succeeds or
 * becomes a dead letter.  So a bad rule delays no other.
 *
 * When a whole transaction fails to commit, nobody knows whose fault it was:
 *
 *		batch ──commit fails──► the same events one at a time
 *		one event alone ──commit fails──► it counts as failed for all its rules
 *		one retry ──commit fails──► it counts as failed again
 *
 * Events for which nothing fired are settled without a write (rx_ack_lazily);
 * every now and then it is written down how far that has come.  Without any
 * rule, events are not read at all, and publishers don't wake the worker.
 *
 * Not promised: an order between rules, or between an event's first firing and
 * a retry of an earlier one.
 */
#include "reflex.h"

#include "access/xact.h"
#include "base/clock.h"
#include "event/event.h"
#include "pg/guc.h"
#include "rules/rules.h"
#include "rules/rules_int.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/inval.h"

#define BATCH_MAX 500

/* Committed subtransactions up to this number stay in every backend's cache. */
#define FIRINGS_MAX 60

/* Time after which a transaction ends although its batch goes on. */
#define STEP_US (50 * 1000)

/*
 * A lease lasts as long as one handler may take, and this.  It is renewed
 * between handlers, so that it need not last for all of them: what a worker
 * that dies had leased should not have to wait.
 */
#define LEASE_SLACK_US (10 * RX_USECS_PER_SEC)

/* How often it is written down what was settled without a write. */
#define FLUSH_US (10 * RX_USECS_PER_SEC)

/* Events received and not yet settled. */
typedef struct Batch
{
	MemoryContext context;		/* holds deliveries */
	RxDelivery *deliveries;
	int			n;
	int			done;			/* settled and committed */
	bool		fresh;			/* received in a transaction that has not committed */
	bool		fired;			/* a rule has fired in this transaction */
	int64		leased_at;
} Batch;

/* What is known of a commit that failed. */
typedef struct Doubt
{
	int			singly;			/* so many transactions take one event each */
	int32		subscription;	/* with seq: whose commit failed alone, 0 for none */
	int64		seq;
	bool		applied;		/* this transaction records that failure */
	char		error[256];
} Doubt;

static Batch batch;
static Doubt doubt;
static int32 reading;			/* reflex.rules, 0 before the first step */
static RxRuleSet rules;
static uint32 rules_version;	/* of the catalog they were read from; 0: read again */
static int64 flush_at = RX_NEVER;	/* when to write down what is settled */
static MemoryContext rules_context; /* holds rules */
static MemoryContext scratch;	/* the worker's, outside transactions */

static int64
lease_us(void)
{
	return LEASE_SLACK_US + rx_guc_handler_timeout * INT64CONST(1000);
}

/* A worker has no statements: without telling it, now() is when it started. */
static void
begin(void)
{
	scratch = CurrentMemoryContext;
	doubt.applied = false;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

/* Ends the transaction; raises when that fails. */
static void
commit(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(scratch);
	if (doubt.applied)
		doubt.subscription = 0;
}

/*
 * The same where what rules did may be why it fails: then false, with the
 * reason in doubt.error.  When recording a failure fails in its turn, the rules
 * are not to blame, and the worker is to hear of it.
 */
static bool
commit_firings(void)
{
	volatile bool committed = true;

	PG_TRY();
	{
		commit();
	}
	PG_CATCH();
	{
		if (doubt.applied)
			PG_RE_THROW();
		MemoryContextSwitchTo(scratch);
		strlcpy(doubt.error, rx_rule_error(CopyErrorData()), sizeof(doubt.error));
		FlushErrorState();
		AbortCurrentTransaction();
		committed = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(scratch);
	return committed;
}

/* A role was dropped or renamed: rules hold the oids of their owners. */
static void
forget_rules(Datum arg, int cacheid, uint32 hash)
{
	rules_version = 0;
}

/* The first position that any rule may want. */
static int64
first_wanted(void)
{
	int64		first = PG_INT64_MAX;

	for (int i = 0; i < rules.n; i++)
	{
		first = Min(first, rules.rules[i].since_seq);
		for (int j = 0; j < rules.rules[i].n_held; j++)
			first = Min(first, rules.rules[i].held[j]);
	}
	return first;
}

/*
 * Reads the rules if they have changed.  The version is taken before: a change
 * that commits meanwhile is seen by the next turn.
 */
static void
load_rules(void)
{
	uint32		version = rx_catalog_version();
	MemoryContext old;

	if (rules_version != 0 && rules_version == version)
		return;
	rules_version = 0;
	memset(&rules, 0, sizeof(rules));
	MemoryContextReset(rules_context);
	old = MemoryContextSwitchTo(rules_context);
	rules = rx_rules_load();
	MemoryContextSwitchTo(old);
	rx_event_interest(rules.n > 0);
	if (rules.n > 0)
		rx_subscription_skip(reading, first_wanted());
	rules_version = version;
}

static void
forget_batch(void)
{
	MemoryContextReset(batch.context);
	batch.deliveries = NULL;
	batch.n = batch.done = 0;
	batch.fresh = false;
}

static void
receive_batch(void)
{
	MemoryContext old;

	forget_batch();
	old = MemoryContextSwitchTo(batch.context);
	batch.fresh = true;
	batch.leased_at = rx_clock_mono();
	batch.n = rx_receive(reading, doubt.singly > 0 ? 1 : BATCH_MAX, lease_us(), &batch.deliveries);
	MemoryContextSwitchTo(old);
}

/* Keeps what is left of a batch from lapsing while slow handlers have their turn. */
static void
renew_leases(void)
{
	int64		now = rx_clock_mono();

	if (now - batch.leased_at < LEASE_SLACK_US / 4)
		return;
	for (int i = batch.done; i < batch.n; i++)
		(void) rx_extend(&batch.deliveries[i].token, lease_us());
	batch.leased_at = now;
}

/* Has the commit failed when this was alone?  Then it counts as failed now. */
static bool
is_guilty(int32 subscription, int64 seq)
{
	bool		guilty = doubt.subscription == subscription && doubt.seq == seq;

	doubt.applied |= guilty;
	return guilty;
}

/* Lets all rules look at one event; returns how many fired. */
static int
fire_rules(const RxRecord *record)
{
	bool		guilty = is_guilty(reading, record->seq);
	Jsonb	   *event = NULL;
	int			fired = 0;

	for (int i = 0; i < rules.n; i++)
	{
		const RxRule *rule = &rules.rules[i];
		char	   *error;

		if (!rx_rule_matches(rule, record))
			continue;
		if (event == NULL)
			event = rx_rule_event(record);
		renew_leases();
		error = guilty ? doubt.error : rx_rule_fire(rule, record, event);
		if (error)
			rx_fail_into(rule->retries, record->seq, 1, error);
		fired++;
	}
	return fired;
}

/* Works on the batch from where it stands; returns how far it came. */
static int
work_through_batch(void)
{
	int64		started = rx_clock_mono();
	int			fired = 0;
	int			at = batch.done;

	batch.fired = false;
	while (at < batch.n && fired < FIRINGS_MAX)
	{
		fired += fire_rules(&batch.deliveries[at++].record);
		if (doubt.singly > 0 || (fired > 0 && rx_clock_mono() - started > STEP_US))
			break;
	}
	batch.fired = fired > 0;
	return at;
}

/*
 * Settles the part of the batch that was worked on.  A lease that lapsed
 * meanwhile means that somebody else has the event now, so what was done about
 * it here must not stand.
 */
static void
settle(int upto)
{
	int			n = upto - batch.done;
	RxToken    *tokens = palloc_array(RxToken, n);

	for (int i = 0; i < n; i++)
		tokens[i] = batch.deliveries[batch.done + i].token;
	if (!batch.fired)
		flush_at = Min(flush_at, rx_clock_mono() + FLUSH_US);
	if ((batch.fired ? rx_ack(tokens, n, NULL) : rx_ack_lazily(tokens, n)) < n)
	{
		batch.fresh = true;
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("the lease of an event lapsed while rules worked on it"));
	}
}

/* A commit failed that had so many events of the batch in it. */
static void
suspect(int n)
{
	if (n == 1)
	{
		doubt.subscription = reading;
		doubt.seq = batch.deliveries[batch.done].record.seq;
	}
	doubt.singly = Max(doubt.singly, n);
}

/* One transaction on events; returns whether there was anything to do. */
static bool
read_events(void)
{
	int			upto;

	if (batch.fresh)
		forget_batch();			/* the transaction that received it is gone */
	begin();
	if (batch.done == batch.n)
		receive_batch();
	load_rules();
	upto = work_through_batch();
	if (upto == batch.done)
		commit();
	else
	{
		settle(upto);
		if (!commit_firings())
		{
			suspect(upto - batch.done);
			return true;
		}
		doubt.singly -= (doubt.singly > 0);
	}
	batch.fresh = false;
	batch.done = upto;
	return upto > 0;
}

static const RxRule *
find_rule(int32 retries)
{
	for (int i = 0; i < rules.n; i++)
		if (rules.rules[i].retries == retries)
			return &rules.rules[i];
	return NULL;
}

static void
try_again(const RxRule *rule, const RxDelivery *delivery)
{
	const RxRecord *record = &delivery->record;
	char	   *error = doubt.error;

	if (!is_guilty(rule->retries, record->seq))
		error = rx_rule_fire(rule, record, rx_rule_event(record));
	if (error)
		(void) rx_nack(&delivery->token, error, -1, false);
	else if (rx_ack(&delivery->token, 1, NULL) != 1)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("the lease of a retry lapsed while rule \"%s\" worked on it", rule->name));
}

/* One transaction on what failed before; the rule may be gone since. */
static bool
retry_one(int32 retries)
{
	RxDelivery *delivery;
	const RxRule *rule;
	int64		seq;
	int			n = 0;

	begin();
	load_rules();
	rule = find_rule(retries);
	if (rule)
		n = rx_receive(retries, 1, lease_us(), &delivery);
	if (n == 0)
	{
		commit();
		return false;
	}
	seq = delivery->record.seq;
	try_again(rule, delivery);
	if (!commit_firings())
	{
		doubt.subscription = retries;
		doubt.seq = seq;
	}
	return true;
}

/* One retry of each rule that has one due. */
static bool
retry_due(void)
{
	int64		now = rx_clock_mono();
	int			n = rules.n;
	int32	   *due = palloc_array(int32, Max(n, 1));
	int			n_due = 0;
	bool		worked = false;

	/* retry_one loads the rules anew, so first note whom to ask. */
	for (int i = 0; i < n; i++)
		if (rx_subscription_due(rules.rules[i].retries) <= now)
			due[n_due++] = rules.rules[i].retries;
	for (int i = 0; i < n_due; i++)
		worked |= retry_one(due[i]);
	pfree(due);
	return worked;
}

/* Writes down how far this has come. */
static void
flush(void)
{
	begin();
	(void) rx_ack_flush();
	commit();
	flush_at = RX_NEVER;
}

static void
start(void)
{
	rx_rule_fire_init();
	CacheRegisterSyscacheCallback(AUTHOID, forget_rules, (Datum) 0);
	batch.context = AllocSetContextCreate(TopMemoryContext, "reflex rules batch", ALLOCSET_DEFAULT_SIZES);
	rules_context = AllocSetContextCreate(TopMemoryContext, "reflex rules", ALLOCSET_DEFAULT_SIZES);
}

/* Learns whom to ask in next_due. */
static void
look_around(void)
{
	begin();
	reading = rx_subscription_id("reflex.rules", false);
	load_rules();
	commit();
}

static int64
next_due(void)
{
	int64		due;

	if (reading == 0 || rules_version != rx_catalog_version() || batch.fresh || batch.done < batch.n)
		return 0;
	due = rules.n > 0 ? Min(flush_at, rx_subscription_due(reading)) : flush_at;
	for (int i = 0; i < rules.n; i++)
		due = Min(due, rx_subscription_due(rules.rules[i].retries));
	return due;
}

static bool
step(void)
{
	bool		worked = false;

	if (reading == 0 || rules_version != rx_catalog_version())
		look_around();
	if (flush_at <= rx_clock_mono())
		flush();
	if (rules.n == 0 && !batch.fresh && batch.done == batch.n)
		return false;
	if (batch.fresh || batch.done < batch.n || rx_subscription_due(reading) <= rx_clock_mono())
		worked = read_events();
	worked |= retry_due();
	return worked;
}

/* What is leased and not worked on is given back for another worker. */
static void
stop(void)
{
	if (flush_at != RX_NEVER)
		flush();
	if (batch.fresh || batch.done == batch.n)
		return;
	begin();
	for (int i = batch.done; i < batch.n; i++)
		(void) rx_nack(&batch.deliveries[i].token, "worker was stopped", 0, false);
	commit();
	forget_batch();
}

const RxDuty rx_rules_duty = {
	.name = "rules",
	.kind = RX_WORKER_SQL,
	.start = start,
	.next_due = next_due,
	.step = step,
	.stop = stop,
};
