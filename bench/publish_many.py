"""publish_many(): 100 events per transaction, against INSERT ... SELECT of the same rows.

Twice: against rows that come out of the same JSON array, which is what a
client has to send in either case, and against rows that cost nothing to come by.
"""
import json

from lib import BARE, BARE_COLUMNS, EVENT_TYPE, PAYLOAD, SOURCE, bare_values, compare, heading, pgbench, sql

BATCH = 100
EVENTS = json.dumps([{"type": EVENT_TYPE, "source": SOURCE, "payload": json.loads(PAYLOAD)}] * BATCH)

PUBLISH = "SELECT count(*) FROM reflex.publish_many(:events)\n"
FROM_JSON = f"""INSERT INTO bare ({BARE_COLUMNS})
SELECT now(), 0, e.type, e.source, current_user, e.payload
FROM jsonb_to_recordset(:events) AS e (type text, source text, payload jsonb)
"""
FROM_NOTHING = f"""INSERT INTO bare ({BARE_COLUMNS})
SELECT {bare_values("(:payload)::jsonb")} FROM generate_series(1, {BATCH})
"""


def run(script, table, **variables):
    sql(f"TRUNCATE {table}")
    return BATCH * pgbench(script, variables=variables).tps


def main():
    sql(BARE)
    heading("publish_many, 100 events per transaction, events", theirs="INSERT SELECT")
    publish = lambda: run(PUBLISH, "reflex_internal.event", events=EVENTS)
    compare("from the same JSON array", publish, lambda: run(FROM_JSON, "bare", events=EVENTS), target=0.8)
    compare("from generate_series", publish, lambda: run(FROM_NOTHING, "bare", payload=PAYLOAD))


if __name__ == "__main__":
    main()
