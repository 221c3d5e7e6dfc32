"""receive() and ack() in one statement, against a hand-written queue: DELETE with SKIP LOCKED.

A run takes a given number of events, about as many as make up its length, from
more than there are: a call that gets less than it asked for divides by zero
and ends the measurement, so that nobody is measured running dry.  The log is
filled once and each run reads it from the beginning with a subscription of its
own, whose first use, which reads the journal, is not measured; the queue is
made afresh for each run.
"""
from lib import SECONDS, compare, heading, make_queue, pgbench, publish_preload, sql

RECEIVE = "SELECT 1 / (coalesce(reflex.ack(array_agg(token)), 0) = {batch})::int FROM reflex.receive('bench', {batch})\n"
DELETE = """WITH c AS (SELECT seq FROM queue ORDER BY seq LIMIT {batch} FOR UPDATE SKIP LOCKED),
d AS (DELETE FROM queue q USING c WHERE q.seq = c.seq RETURNING q.*)
SELECT 1 / (count(d.payload) = {batch})::int FROM d
"""

# By batch size: the events of a run of one second, for reflex and for the queue.
EVENTS = {1: (6000, 6000), 10: (60000, 40000), 100: (500000, 200000), 1000: (1000000, 300000)}


def consume(batch, clients, events):
    sql("SELECT reflex.subscribe('bench', start_at => 'beginning');" + RECEIVE.format(batch=1))
    run = pgbench(RECEIVE.format(batch=batch), clients, transactions=events // (batch * clients))
    sql("SELECT reflex.unsubscribe('bench')")
    return batch * run.tps


def delete(batch, clients, events):
    make_queue(events)
    return batch * pgbench(DELETE.format(batch=batch), clients, transactions=events // (batch * clients)).tps


def compare_batches(batch, clients, target):
    ours, theirs = (n * SECONDS for n in EVENTS[batch])
    compare(f"batches of {batch}, {clients} consumer{'s' if clients > 1 else ''}",
            lambda: consume(batch, clients, ours), lambda: delete(batch, clients, theirs), target)


def main():
    publish_preload(EVENTS[1000][0] * SECONDS)
    heading("receive and ack in one statement, events", theirs="SKIP LOCKED")
    for batch, target in ((1, 1.2), (10, None), (100, 1.8), (1000, None)):
        for clients in (1, 4):
            compare_batches(batch, clients, target)


if __name__ == "__main__":
    main()
