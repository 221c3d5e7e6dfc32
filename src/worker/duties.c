/*
 * duties.c
 *		What the workers do: one line for each duty.
 */
#include "reflex.h"

#include "effect/effect.h"
#include "event/event.h"
#include "rules/rules.h"
#include "worker/worker_int.h"

const RxDuty *const rx_duties[] = {
	&rx_delivery_duty,
	&rx_delayed_duty,
	&rx_rules_duty,
	&rx_effects_duty,
};

const int	rx_n_duties = lengthof(rx_duties);
