/*
 * effect.h
 *		Effects: what shall be done outside, and the duty that does it.
 *
 * See effect.c for the life of one.
 */
#ifndef RX_EFFECT_EFFECT_H
#define RX_EFFECT_EFFECT_H

#include "pg/duty.h"

/* Of the io worker: sends what reflex.emit has written. */
extern const RxDuty rx_effects_duty;

#endif							/* RX_EFFECT_EFFECT_H */
