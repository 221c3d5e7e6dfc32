/*
 * order.c
 *		Ordered subscriptions: of each session, one event is out at a time.
 *
 * In an ordered subscription every event has a lease of its own, and one that
 * belongs to a session passes a gate when its row has been read.  The first of
 * its session becomes the session's head; later ones are parked behind the head,
 * in order of position, and are handed out to nobody.  When the head is settled
 * (acked, or dead) the next one takes its place and may be handed out; when it
 * has failed, the lease that waits for its retry takes its place, and the
 * session waits with it.  Other sessions go on meanwhile.
 *
 * One process at a time reads such a subscription (RxSub.reader), from its claim
 * until what it has read has passed the gate: so events pass in the order of
 * their positions.  Within a session that is the order of their commits.
 *
 * Sessions are told apart by a 64-bit hash: two that share one would wait for
 * each other, and nothing worse.
 *
 * Everything here runs under the subscription's lock and can't fail.
 */
#include "reflex.h"

#include "common/hashfn.h"
#include "event/event_int.h"

uint64
rx_order_hash(text *session)
{
	uint64		hash;

	if (session == NULL)
		return 0;
	hash = hash_bytes_extended((const unsigned char *) VARDATA_ANY(session),
							   (int) VARSIZE_ANY_EXHDR(session), 0);
	return hash == 0 ? 1 : hash;
}

static dlist_head *
bucket_of(RxSub *sub, uint64 session)
{
	return &sub->sessions[session % RX_SESSION_BUCKETS];
}

static RxLease *
find_head(RxSub *sub, uint64 session)
{
	dlist_iter	iter;

	dlist_foreach(iter, bucket_of(sub, session))
	{
		RxLease    *lease = dlist_container(RxLease, chain, iter.cur);

		if (lease->session == session)
			return lease;
	}
	return NULL;
}

static void
make_head(RxSub *sub, RxLease *lease, uint64 session)
{
	lease->session = session;
	lease->is_head = true;
	dlist_init(&lease->parked);
	dlist_push_head(bucket_of(sub, session), &lease->chain);
}

/* Behind all with a smaller position; mostly that is the end. */
static void
park(RxLease *head, RxLease *lease)
{
	dlist_node *behind = &head->parked.head;

	lease->state = RX_LEASE_PARKED;
	lease->session = head->session;
	for (dlist_node *node = head->parked.head.prev; node != &head->parked.head; node = node->prev)
		if (dlist_container(RxLease, chain, node)->lo < lease->lo)
		{
			behind = node;
			break;
		}
	dlist_insert_after(behind, &lease->chain);
}

/* A claimed lease is at the gate; false when it was parked. */
bool
rx_order_pass(RxSub *sub, RxLease *lease, uint64 session)
{
	RxLease    *head;

	if (session == 0 || lease->is_head)
		return true;
	head = find_head(sub, session);
	if (head == NULL)
	{
		make_head(sub, lease, session);
		return true;
	}
	park(head, lease);
	return false;
}

/* All that is parked behind one lease is behind another one now. */
static void
move_parked(RxLease *from, RxLease *to)
{
	while (!dlist_is_empty(&from->parked))
		dlist_push_tail(&to->parked, dlist_pop_head_node(&from->parked));
}

static void
retire_head(RxLease *lease)
{
	dlist_delete(&lease->chain);
	lease->is_head = false;
}

/* The head is settled: the next of its session may go. */
void
rx_order_leave(RxSub *sub, RxLease *lease)
{
	RxLease    *next;

	if (!lease->is_head)
		return;
	retire_head(lease);
	if (dlist_is_empty(&lease->parked))
		return;
	next = dlist_container(RxLease, chain, dlist_pop_head_node(&lease->parked));
	next->state = RX_LEASE_CLAIMED;
	make_head(sub, next, lease->session);
	move_parked(lease, next);
	rx_lease_return(sub, next);
	rx_wait_wake(sub);
}

/* The head has failed: what waits for its retry stands for the session. */
void
rx_order_replace(RxSub *sub, RxLease *lease, RxLease *retry)
{
	if (!lease->is_head)
		return;
	retire_head(lease);
	make_head(sub, retry, lease->session);
	move_parked(lease, retry);
}

/* The subscription ends: frees what is parked, and makes heads plain leases. */
void
rx_order_discard(RxSub *sub)
{
	for (int i = 0; i < RX_SESSION_BUCKETS; i++)
		while (!dlist_is_empty(&sub->sessions[i]))
		{
			RxLease    *head = dlist_head_element(RxLease, chain, &sub->sessions[i]);

			while (!dlist_is_empty(&head->parked))
			{
				RxLease    *lease = dlist_container(RxLease, chain, dlist_pop_head_node(&head->parked));

				lease->state = RX_LEASE_CLAIMED;
				rx_lease_free(lease);
			}
			retire_head(head);
		}
}

void
rx_order_init(RxSub *sub)
{
	sub->reader = 0;
	for (int i = 0; i < RX_SESSION_BUCKETS; i++)
		dlist_init(&sub->sessions[i]);
}
