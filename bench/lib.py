"""What the measurements share: the server, pgbench, pairs of runs, and how they are printed.

run.sh has started the server and says in the environment where it is.
"""
import os
import re
import statistics
import subprocess
import time

BIN = os.environ["BENCH_BIN"]
SECONDS = int(os.environ["BENCH_SECONDS"])
PAIRS = int(os.environ["BENCH_PAIRS"])

# One event, as all measurements publish and insert it.
EVENT_TYPE = "order.paid"
SOURCE = "shop"
PAYLOAD = ('{"order": 1042, "customer": "c-5518", "total": 129.95, "currency": "EUR", '
           '"items": [{"sku": "A-1", "n": 2}, {"sku": "B-7", "n": 1}], "channel": "web", "note": "leave at the door"}')

# What reflex is measured against: the columns of the log, one unique index.
BARE = """
DROP TABLE IF EXISTS bare;
CREATE TABLE bare (LIKE reflex_internal.event);
ALTER TABLE bare ALTER seq ADD GENERATED ALWAYS AS IDENTITY;
CREATE UNIQUE INDEX bare_seq ON bare (seq);
"""
BARE_COLUMNS = "created_at, node, type, source, role, payload"


def bare_values(payload):
    return f"now(), 0, '{EVENT_TYPE}', '{SOURCE}', current_user, {payload}"


def sql(text):
    """Runs SQL, each statement in its own transaction; returns the last column as a string."""
    done = subprocess.run([BIN + "/psql", "-XqAt", "-v", "ON_ERROR_STOP=1"], input="SET client_min_messages = warning;\n" + text, text=True,
                          capture_output=True)
    if done.returncode != 0:
        raise SystemExit("psql failed: " + done.stderr)
    return done.stdout.strip()


def settle():
    """Waits until nobody writes WAL: what one run leaves to be done must not fall into the next."""
    before = None
    deadline = time.monotonic() + 60
    while before != (now := sql("SELECT pg_current_wal_insert_lsn()")) and time.monotonic() < deadline:
        before = now
        time.sleep(0.2)


class Run:
    """What pgbench says about one run."""

    def __init__(self, output):
        self.transactions = int(re.search(r"actually processed: (\d+)", output)[1])
        self.tps = float(re.search(r"tps = ([\d.]+)", output)[1])
        self.seconds = self.transactions / self.tps


def pgbench(script, clients=1, seconds=SECONDS, transactions=None, variables=None):
    """Runs a script; stops with what pgbench says if any client fails."""
    length = ["-t", str(transactions)] if transactions else ["-T", str(seconds)]
    settings = [part for name, value in (variables or {}).items() for part in ("-D", f"{name}={value}")]
    done = subprocess.run([BIN + "/pgbench", "-n", "-M", "prepared", "-f", "/dev/stdin", "-c", str(clients),
                           "-j", str(min(clients, 2)), *length, *settings],
                          input=script, text=True, capture_output=True)
    if done.returncode != 0 or "aborted" in done.stderr:
        raise SystemExit(f"pgbench failed: {done.stderr}\n{script}")
    return Run(done.stdout)


def publish_preload(n):
    """At least n events in the log, in large batches."""
    event = f"jsonb_build_object('type', '{EVENT_TYPE}', 'source', '{SOURCE}', 'payload', '{PAYLOAD}'::jsonb)"
    batch = 10000
    one = f"SELECT count(*) FROM reflex.publish_many((SELECT jsonb_agg({event}) FROM generate_series(1, {batch})));\n"
    sql(one * (n // batch + 1))


def make_queue(rows):
    """A fresh table of the same rows, for a hand-written queue to delete from."""
    sql(f"""DROP TABLE IF EXISTS queue;
        CREATE TABLE queue (LIKE reflex_internal.event);
        INSERT INTO queue (seq, {BARE_COLUMNS})
            SELECT seq, {bare_values(f"'{PAYLOAD}'::jsonb")} FROM generate_series(1, {rows}::bigint) AS seq;
        ALTER TABLE queue ADD PRIMARY KEY (seq);
        VACUUM ANALYZE queue;""")


def heading(text, ours="reflex", theirs="PostgreSQL"):
    print(f"\n{text}\n{'':34}{ours:>14}{theirs:>14}   ratio (min - max)", flush=True)


def verdict(ratio, target, at_most=False):
    if target is None:
        return ""
    good = ratio <= target if at_most else ratio >= target
    return f"  {'<=' if at_most else '>='} {target:g} {'ok' if good else 'MISSED'}"


def compare(label, ours, theirs, target=None, at_most=False, unit="/s", pairs=PAIRS):
    """Runs both in turn and prints the medians, and the ratio of the pairs."""
    def side(work):
        settle()
        return work()

    results = [(side(ours), side(theirs)) for _ in range(pairs)]
    ratios = [a / b for a, b in results]
    ratio = statistics.median(ratios)
    ours_median, theirs_median = (statistics.median(rates) for rates in zip(*results))
    print(f"  {label:32}{ours_median:>12,.0f}{unit:2}{theirs_median:>12,.0f}{unit:2}"
          f"   {ratio:.2f} ({min(ratios):.2f} - {max(ratios):.2f}){verdict(ratio, target, at_most)}", flush=True)
    return ratio
