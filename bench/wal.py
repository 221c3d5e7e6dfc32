"""WAL per event: published and acked in batches of 100, against inserting the same rows in batches of 100.

The log has one subscription and no checkpoint falls into the run, so there are
no full-page images but those that any new page brings.
"""
from lib import BARE, PAYLOAD, compare, heading, pgbench, sql

from publish_many import BATCH, EVENTS, FROM_NOTHING, PUBLISH
from receive import RECEIVE

BATCHES = 300


def wal_of(work):
    """Bytes of WAL per event that the work writes."""
    start = sql("SELECT pg_current_wal_insert_lsn()")
    work()
    return float(sql(f"SELECT pg_current_wal_insert_lsn() - '{start}'")) / (BATCH * BATCHES)


def batches(script, **variables):
    return pgbench(script, transactions=BATCHES, variables=variables)


def whole_life():
    batches(PUBLISH, events=EVENTS)
    batches(RECEIVE.format(batch=BATCH))


def main():
    sql(BARE)
    sql("TRUNCATE bare, reflex_internal.event")
    sql("SELECT reflex.subscribe('bench')")
    heading("WAL per event, batches of 100, bytes", theirs="INSERT SELECT")
    compare("publish, receive and ack", lambda: wal_of(whole_life),
            lambda: wal_of(lambda: batches(FROM_NOTHING, payload=PAYLOAD)), target=1.3, at_most=True, unit="")
    compare("of it: publish", lambda: wal_of(lambda: batches(PUBLISH, events=EVENTS)),
            lambda: wal_of(lambda: batches(FROM_NOTHING, payload=PAYLOAD)), unit="")
    sql("SELECT reflex.unsubscribe('bench')")


if __name__ == "__main__":
    main()
