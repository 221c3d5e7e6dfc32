/*
 * lease.c
 *		Leases: the spans of positions that a subscription has taken charge of.
 *
 *	claim fresh -> CLAIMED (a backend reads the rows)
 *	CLAIMED  -> OUT        handed to a consumer, until due
 *	OUT      -> RETURNED   the receiving transaction aborted, or the lease lapsed
 *	OUT      -> FREE       every event of it is settled
 *	CLAIMED  -> WAITING    a failed event, until its retry is due
 *	WAITING, RETURNED -> CLAIMED   handed out again
 *	CLAIMED  -> PARKED -> RETURNED   in an ordered subscription (order.c)
 *
 * Everything here runs under the subscription's lock and can't fail; what may
 * fail (allocation) is done by the callers beforehand.
 */
#include "reflex.h"

#include "event/event_int.h"
#include "port/pg_bitutils.h"

/* A pairing heap keeps its greatest in front: the earliest is the greatest. */
int
rx_lease_compare(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	int64		x = pairingheap_const_container(RxLease, timer, a)->due;
	int64		y = pairingheap_const_container(RxLease, timer, b)->due;

	return (x < y) - (x > y);
}

int
rx_lease_count(const RxLease *lease)
{
	return (int) pg_popcount((const char *) lease->out, sizeof(lease->out));
}

/* Takes a lease out of the list or heap that its state says it is in. */
void
rx_lease_unlink(RxSub *sub, RxLease *lease)
{
	switch ((RxLeaseState) lease->state)
	{
		case RX_LEASE_OUT:
			sub->n_out -= rx_lease_count(lease);
			if (lease->pins == 0)
				pairingheap_remove(&sub->timers, &lease->timer);
			break;
		case RX_LEASE_WAITING:
			sub->n_waiting--;
			pairingheap_remove(&sub->timers, &lease->timer);
			break;
		case RX_LEASE_RETURNED:
			dlist_delete(&lease->link);
			break;
		case RX_LEASE_PARKED:
			dlist_delete(&lease->chain);
			break;
		case RX_LEASE_CLAIMED:
		case RX_LEASE_FREE:
			break;
	}
	lease->state = RX_LEASE_CLAIMED;
}

void
rx_lease_out(RxSub *sub, RxLease *lease, int64 due)
{
	rx_lease_unlink(sub, lease);
	lease->due = due;
	lease->state = RX_LEASE_OUT;
	sub->n_out += rx_lease_count(lease);
	pairingheap_add(&sub->timers, &lease->timer);
}

/* Nobody's token is good for it any more. */
void
rx_lease_return(RxSub *sub, RxLease *lease)
{
	rx_lease_unlink(sub, lease);
	lease->counter = 0;
	lease->state = RX_LEASE_RETURNED;
	dlist_push_tail(&sub->returned, &lease->link);
}

void
rx_lease_wait(RxSub *sub, RxLease *lease, int64 due)
{
	rx_lease_unlink(sub, lease);
	lease->counter = 0;
	lease->due = due;
	lease->state = RX_LEASE_WAITING;
	sub->n_waiting++;
	pairingheap_add(&sub->timers, &lease->timer);
}

/*
 * A running transaction settles one event: until it has ended the lease can't
 * lapse, so it leaves the heap with its first pin and comes back with its last.
 */
void
rx_lease_pin(RxSub *sub, RxLease *lease, int bit)
{
	RX_BIT_SET(lease->pinned, bit);
	if (lease->pins++ == 0)
		pairingheap_remove(&sub->timers, &lease->timer);
}

void
rx_lease_unpin(RxSub *sub, RxLease *lease, int bit)
{
	RX_BIT_CLEAR(lease->pinned, bit);
	if (--lease->pins == 0)
		pairingheap_add(&sub->timers, &lease->timer);
}

/* One event is settled; with the last one the lease is free. */
void
rx_lease_clear(RxSub *sub, RxLease *lease, int bit)
{
	Assert(lease->state == RX_LEASE_OUT && RX_BIT_TEST(lease->out, bit));
	RX_BIT_CLEAR(lease->out, bit);
	sub->n_out--;
	for (int word = 0; word < RX_WORDS; word++)
		if (lease->out[word])
			return;
	rx_lease_unlink(sub, lease);
	rx_order_leave(sub, lease);
	rx_lease_free(lease);
}

/* Frees one lease, or (NULL) all leases of a subscription that ends. */
void
rx_lease_discard(RxSub *sub, RxLease *lease)
{
	if (lease)
	{
		rx_lease_unlink(sub, lease);
		rx_lease_free(lease);
		return;
	}
	rx_order_discard(sub);
	while (!pairingheap_is_empty(&sub->timers))
		rx_lease_discard(sub, pairingheap_container(RxLease, timer, pairingheap_first(&sub->timers)));
	while (!dlist_is_empty(&sub->returned))
		rx_lease_discard(sub, dlist_head_element(RxLease, link, &sub->returned));
}

/* ---- claiming ---- */

/* A waiting retry that is due. */
RxLease *
rx_lease_claim_due(RxSub *sub, int64 now, int max)
{
	RxLease    *lease;

	if (max <= 0 || pairingheap_is_empty(&sub->timers))
		return NULL;
	lease = pairingheap_container(RxLease, timer, pairingheap_first(&sub->timers));
	if (lease->due > now || lease->state != RX_LEASE_WAITING)
		return NULL;
	rx_lease_unlink(sub, lease);
	return lease;
}

/* Moves the first max unsettled events of a lease into another one. */
static void
split_lease(RxLease *from, RxLease *to, int max)
{
	to->lo = from->lo;
	to->width = from->width;
	to->sub = from->sub;
	to->attempt = from->attempt;
	to->exact = from->exact = true;
	for (int bit = 0; bit < from->width && max > 0; bit++)
		if (RX_BIT_TEST(from->out, bit))
		{
			RX_BIT_CLEAR(from->out, bit);
			RX_BIT_SET(to->out, bit);
			max--;
		}
}

/* Something that was given back: all of it, or as much as is wanted. */
RxLease *
rx_lease_claim_returned(RxSub *sub, int max)
{
	RxLease    *lease;
	RxLease    *part;

	if (max <= 0 || dlist_is_empty(&sub->returned))
		return NULL;
	lease = dlist_head_element(RxLease, link, &sub->returned);
	if (rx_lease_count(lease) <= max)
	{
		rx_lease_unlink(sub, lease);
		return lease;
	}
	part = rx_lease_alloc();
	if (part)
		split_lease(lease, part, max);
	return part;
}

/* Is there room for one more range beside those that running claims may need? */
static bool
has_room(const RxSub *sub)
{
	return sub->n_pending + sub->n_claims < RX_MAX_PENDING;
}

static void
take_from_pending(RxSub *sub, int64 want, RxRange *window)
{
	RxRange    *first = &sub->pending[0];

	window->lo = first->lo;
	window->hi = Min(first->hi, first->lo + want);
	first->lo = window->hi;
	if (first->lo == first->hi)
	{
		sub->n_pending--;
		memmove(first, first + 1, sub->n_pending * sizeof(RxRange));
	}
}

/*
 * Moves the cursor past what publishers hold, noting it as holes to come back
 * for.  When there is no room for another hole the cursor stays, and readers
 * wait for that publisher.
 */
static void
take_from_cursor(RxSub *sub, const RxView *view, int64 want, RxRange *window)
{
	int			i = 0;

	window->lo = window->hi = sub->cursor;
	while (sub->cursor < view->next)
	{
		int64		stop = view->next;

		while (i < view->n && view->held[i].hi <= sub->cursor)
			i++;
		if (i < view->n)
			stop = Min(stop, view->held[i].lo);
		if (sub->cursor < stop)
		{
			window->lo = sub->cursor;
			window->hi = Min(stop, sub->cursor + want);
			sub->cursor = window->hi;
			return;
		}
		if (sub->n_holes == RX_MAX_HOLES)
			return;
		sub->holes[sub->n_holes].lo = sub->cursor;
		sub->cursor = Min(view->held[i].hi, view->next);
		sub->holes[sub->n_holes++].hi = sub->cursor;
	}
}

/*
 * A window of positions that nobody has read, at most want wide; the lease to
 * hold what is found there.  NULL when there is none, or no lease.  The claim
 * keeps room among the pending ranges until rx_lease_claim_done.
 */
RxLease *
rx_lease_claim_fresh(RxSub *sub, const RxView *view, int64 want, RxRange *window)
{
	RxLease    *lease;

	if (sub->retry_only || !has_room(sub))
		return NULL;
	if (sub->n_pending == 0 && sub->cursor >= view->next)
		return NULL;
	lease = rx_lease_alloc();
	if (lease == NULL)
		return NULL;
	if (sub->n_pending > 0)
		take_from_pending(sub, want, window);
	else
		take_from_cursor(sub, view, want, window);
	if (window->lo >= window->hi)
	{
		rx_lease_free(lease);
		return NULL;
	}
	sub->n_claims++;
	return lease;
}

/*
 * A claim ends.  What of its window was not read goes back: to the cursor if
 * nobody has moved that on, else to pending, where the claim has kept room.
 */
void
rx_lease_claim_done(RxSub *sub, RxRange unread)
{
	sub->n_claims--;
	if (unread.lo >= unread.hi)
		return;
	if (sub->cursor == unread.hi)
		sub->cursor = unread.lo;
	else if (sub->n_pending > 0 && sub->pending[0].lo == unread.hi)
		sub->pending[0].lo = unread.lo;
	else
	{
		Assert(sub->n_pending < RX_MAX_PENDING);
		memmove(&sub->pending[1], &sub->pending[0], sub->n_pending * sizeof(RxRange));
		sub->pending[0] = unread;
		sub->n_pending++;
	}
}

/* ---- holes ---- */

typedef struct Pieces
{
	int			n_held;
	int			n_free;
	RxRange    *held;			/* where to put them; NULL only counts */
	RxSub	   *sub;
} Pieces;

static void
add_free(Pieces *p, int64 lo, int64 hi)
{
	RxSub	   *sub = p->sub;

	if (lo >= hi)
		return;
	p->n_free++;
	if (p->held == NULL)
		return;
	sub->pending[sub->n_pending].lo = lo;
	sub->pending[sub->n_pending++].hi = hi;
}

/* Cuts a hole into what is still held and what has become readable. */
static void
cut_hole(Pieces *p, RxRange hole, const RxView *view)
{
	int64		at = hole.lo;

	p->n_held = p->n_free = 0;
	for (int i = 0; i < view->n; i++)
	{
		RxRange		held = {Max(view->held[i].lo, hole.lo), Min(view->held[i].hi, hole.hi)};

		if (held.lo >= held.hi)
			continue;
		add_free(p, at, held.lo);
		if (p->held)
			p->held[p->n_held] = held;
		p->n_held++;
		at = held.hi;
	}
	add_free(p, at, hole.hi);
}

/*
 * Holes whose publisher has ended are to be read now.  The view may be older
 * than a hole: what lies above its end is left alone.  A hole whose pieces find
 * no room stays whole and is looked at again next time.
 */
void
rx_lease_settle_holes(RxSub *sub, const RxView *view)
{
	RxRange		kept[RX_MAX_HOLES];
	int			n_kept = 0;

	for (int h = 0; h < sub->n_holes; h++)
	{
		RxRange		hole = sub->holes[h];
		Pieces		p = {.sub = sub};
		int			left = sub->n_holes - h - 1;

		cut_hole(&p, hole, view);
		if (hole.hi > view->next ||
			n_kept + p.n_held + left > RX_MAX_HOLES ||
			sub->n_pending + sub->n_claims + p.n_free > RX_MAX_PENDING)
		{
			kept[n_kept++] = hole;
			continue;
		}
		p.held = &kept[n_kept];
		cut_hole(&p, hole, view);
		n_kept += p.n_held;
	}
	memcpy(sub->holes, kept, n_kept * sizeof(RxRange));
	sub->n_holes = n_kept;
}

/* ---- skipping ---- */

/* What of these ranges is not before the position; returns how many are left. */
static int
cut_before(RxRange *ranges, int n, int64 before)
{
	int			kept = 0;

	for (int i = 0; i < n; i++)
		if (ranges[i].hi > before)
			ranges[kept++] = (RxRange) {Max(ranges[i].lo, before), ranges[i].hi};
	return kept;
}

void
rx_lease_skip(RxSub *sub, int64 before)
{
	sub->cursor = Max(sub->cursor, before);
	sub->n_pending = cut_before(sub->pending, sub->n_pending, before);
	sub->n_holes = cut_before(sub->holes, sub->n_holes, before);
}

/* A lease whose time has passed and that no running transaction settles. */
RxLease *
rx_lease_expired(RxSub *sub, int64 now)
{
	RxLease    *lease;

	if (pairingheap_is_empty(&sub->timers))
		return NULL;
	lease = pairingheap_container(RxLease, timer, pairingheap_first(&sub->timers));
	if (lease->state != RX_LEASE_OUT || lease->due > now)
		return NULL;
	return lease;
}
