/*
 * duties.c
 *		What the workers do: one line for each duty.
 */
#include "reflex.h"

#include "event/event.h"
#include "worker/worker_int.h"

const RxDuty *const rx_duties[] = {
	&rx_delivery_duty,
};

const int	rx_n_duties = lengthof(rx_duties);
