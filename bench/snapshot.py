"""Delivery while somebody holds a REPEATABLE READ snapshot, against the same without; and what is left behind.

A queue that deletes its rows can't be cleaned up meanwhile, and every reader
steps over the dead ones; the hand-written one is measured beside reflex for
comparison.  Four consumers take ten events at a time; the snapshot is older
than the run.
"""
import subprocess

from lib import BIN, SECONDS, compare, heading, publish_preload, sql
from receive import consume, delete

BATCH = 10
CLIENTS = 4
EVENTS = 100000 * SECONDS
QUEUE_EVENTS = 20000 * SECONDS


class Snapshot:
    """A session that holds a snapshot as long as the with statement lasts."""

    def __enter__(self):
        self.psql = subprocess.Popen([BIN + "/psql", "-XqAt"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     text=True)
        self.psql.stdin.write("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 'held' FROM pg_class LIMIT 1;\n")
        self.psql.stdin.flush()
        assert self.psql.stdout.readline() == "held\n"

    def __exit__(self, *_):
        self.psql.stdin.close()
        self.psql.wait()


def dead_tuples():
    return int(sql("SELECT sum(n_dead_tup) FROM pg_stat_user_tables"))


def held(work, events, dead):
    """The rate of the work under a snapshot; adds to dead the dead tuples per event."""
    before = dead_tuples()
    with Snapshot():
        rate = work(BATCH, CLIENTS, events)
        dead.append((dead_tuples() - before) / events)
    return rate


def measure(label, work, events, target):
    dead = []
    compare(label, lambda: held(work, events, dead), lambda: work(BATCH, CLIENTS, events), target)
    print(f"  {'':32}dead tuples per event: {max(dead):.4f}", flush=True)


def main():
    publish_preload(EVENTS)
    heading("receive and ack, 4 consumers, batches of 10, under an old snapshot, events", ours="held", theirs="not held")
    measure("reflex", consume, EVENTS, 0.95)
    measure("SKIP LOCKED", delete, QUEUE_EVENTS, None)


if __name__ == "__main__":
    main()
