"""publish(): one event per transaction, against a bare INSERT of the same row.

Both get the payload as a parameter, and both begin each run with an empty
table.
"""
from lib import BARE, BARE_COLUMNS, EVENT_TYPE, PAYLOAD, SOURCE, bare_values, compare, heading, pgbench, sql

PUBLISH = f"SELECT reflex.publish('{EVENT_TYPE}', :payload, '{SOURCE}')\n"
INSERT = f"INSERT INTO bare ({BARE_COLUMNS}) VALUES ({bare_values(':payload')}) RETURNING seq\n"


def run(script, table, clients):
    sql(f"TRUNCATE {table}")
    return pgbench(script, clients, variables={"payload": PAYLOAD}).tps


def main():
    sql(BARE)
    heading("publish, one event per transaction", theirs="bare INSERT")
    for clients in (1, 4, 16):
        compare(f"{clients} client{'s' if clients > 1 else ''}",
                lambda: run(PUBLISH, "reflex_internal.event", clients),
                lambda: run(INSERT, "bare", clients), target=0.9)


if __name__ == "__main__":
    main()
