/*
 * rules_int.h
 *		What the files of the rules room know of each other.
 */
#ifndef RX_RULES_RULES_INT_H
#define RX_RULES_RULES_INT_H

#include "postgres.h"
#include "event/event.h"
#include "event/filter.h"
#include "utils/jsonb.h"

typedef struct RxRule
{
	const char *name;
	const char *owner;
	Oid			owner_oid;		/* InvalidOid when the role is gone */
	int64		since_seq;		/* events below are none of its business, */
	int64	   *held;			/* but for those in these half-open ranges */
	int			n_held;			/* bounds, two for each */
	RxFilter   *filter;
	Jsonb	   *action;
	const char *call;			/* the handler's statement, NULL for other actions */
	int32		retries;		/* subscription of what failed */
} RxRule;

typedef struct RxRuleSet
{
	int			n;
	RxRule	   *rules;
} RxRuleSet;

/* rule.c */

/* Reads the enabled rules as they are now into the current memory context. */
extern RxRuleSet rx_rules_load(void);

/* row is the record as filters see it, good for all rules. */
extern bool rx_rule_matches(const RxRule *rule, const RxRecord *record, RxFilterRow *row);

/* The event as handlers and templates see it, in the current memory context. */
extern Jsonb *rx_rule_event(const RxRecord *record);

/* fire.c */

/* Once per process, before the first firing. */
extern void rx_rule_fire_init(void);

/*
 * Fires a rule for an event, in a subtransaction.  Returns NULL, or what went
 * wrong when all that the firing did has been undone.
 */
extern char *rx_rule_fire(const RxRule *rule, const RxRecord *record, Jsonb *event);

/* An error in one line, with its SQLSTATE. */
extern char *rx_rule_error(const ErrorData *error);

#endif							/* RX_RULES_RULES_INT_H */
