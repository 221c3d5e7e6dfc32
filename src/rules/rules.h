/*
 * rules.h
 *		Rules: the duty that lets them fire.
 */
#ifndef RX_RULES_RULES_H
#define RX_RULES_RULES_H

#include "pg/duty.h"

extern const RxDuty rx_rules_duty;

#endif							/* RX_RULES_RULES_H */
