/*
 * worker_int.h
 *		What launcher, workers and the utility hook share: the seats.
 *
 * A seat is a worker that ought to be: "the io worker of database 16384".  The
 * launcher makes it and puts processes on it, one after the other; a process
 * moves it through its states and leaves it.  README.md has the states and who
 * moves them.
 *
 * Next to the seats lie the holds (databases that must stay free of workers
 * while somebody's utility statement runs) and the looks (databases in which
 * somebody wants the launcher to look for the extension again).
 */
#ifndef RX_WORKER_WORKER_INT_H
#define RX_WORKER_WORKER_INT_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "pg/duty.h"
#include "port/atomics.h"

#define RX_MAX_SEATS 256

typedef enum RxSeatState
{
	RX_SEAT_FREE,				/* nobody's */
	RX_SEAT_WAITING,			/* wanted; no process yet, or not again yet */
	RX_SEAT_STARTING,			/* the postmaster has been asked for a process */
	RX_SEAT_PROBING,			/* connecting, looking for the extension */
	RX_SEAT_RUNNING,
	RX_SEAT_SLEEPING,
	RX_SEAT_LETTING_GO,			/* asked to leave, has not left yet */
	RX_SEAT_ENDED				/* left; the launcher has not yet seen it */
} RxSeatState;

/* Why a process left its seat. */
typedef enum RxSeatEnd
{
	RX_END_DIED,				/* error, signal of an administrator, no start */
	RX_END_ABSENT,				/* the extension is not in the database */
	RX_END_ASKED				/* it was asked to let go */
} RxSeatEnd;

/*
 * state changes through rx_seat_move alone, by compare-and-swap; errors and
 * duty are written by the process on the seat.  The rest is written under the
 * registry's lock: database, kind and start by the launcher, pid by the process
 * itself, since by both.
 */
typedef struct RxSeat
{
	pg_atomic_uint32 state;
	pg_atomic_uint32 errors;	/* of its duties, and its process's deaths */
	pg_atomic_uint32 duty;		/* index in rx_duties + 1; 0: none */
	Oid			database;
	RxWorkerKind kind;
	uint32		start;			/* counts starts; tells a late process */
	int			pid;			/* 0: no process */
	RxSeatEnd	end;
	TimestampTz since;			/* this process started, or the waiting did */
	char		last_error[256];	/* in its database's encoding */
} RxSeat;

/* registry.c */
extern RxSeat *rx_seat(int number);
extern RxSeatState rx_seat_state(const RxSeat *seat);
extern bool rx_seat_move(RxSeat *seat, RxSeatState to);
extern void rx_seat_note(RxSeat *seat, const char *message);
extern bool rx_seat_live(const RxSeat *seat);
extern void rx_launcher_wake(void);

/* ... for the launcher */
extern void rx_launcher_attach(void);
extern int	rx_seat_reserve(Oid database, RxWorkerKind kind);
extern uint32 rx_seat_begin(RxSeat *seat);
extern void rx_seat_not_begun(RxSeat *seat);
extern void rx_seat_wait_again(RxSeat *seat);
extern void rx_seat_give_up(RxSeat *seat);
extern void rx_seat_dismiss(RxSeat *seat);
extern void rx_registry_let_go(Oid database);
extern bool rx_registry_take_looks(Oid *databases, int *n, int max);

/* ... for the process on a seat */
extern RxSeat *rx_seat_take(int number, uint32 start);
extern void rx_seat_ends_as(RxSeatEnd end);

/* ... for the utility hook */
extern void rx_registry_hold(Oid database);
extern void rx_registry_wait_free(Oid database);
extern bool rx_registry_holding(void);
extern void rx_registry_release(void);
extern void rx_registry_look_at(Oid database);

extern void rx_registry_init(void);

/* utility.c */
extern void rx_utility_init(void);

/* duties.c */
extern const RxDuty *const rx_duties[];
extern const int rx_n_duties;

/* What a worker finds in bgw_extra. */
typedef struct RxWorkerStart
{
	uint32		start;
} RxWorkerStart;

#endif							/* RX_WORKER_WORKER_INT_H */
