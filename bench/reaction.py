"""Commit -> rule -> HTTP effect: how long until the request reaches a local server, at 50 events per second.

One event loop publishes, one event at a time, and receives, so that both times
are read from one clock.  An event counts from the moment its publisher knows
that it has committed to the first byte of the request that carries its number.  On the
way lie two more commits, the rule's and the attempt's, so how long the
publisher's own takes is printed beside.
"""
import asyncio
import json
import re
import time

from lib import BIN, SECONDS, settle, sql

RATE = 50
EVENTS = 10 * RATE * SECONDS
PATIENCE = 10
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

arrived = {}


class Receiver(asyncio.Protocol):
    """Just enough of HTTP: requests with a Content-Length, on connections that stay open."""

    def connection_made(self, transport):
        self.transport = transport
        self.buffer = b""
        self.first_byte = None

    def data_received(self, data):
        if not self.buffer:
            self.first_byte = time.monotonic()
        self.buffer += data
        head, _, body = self.buffer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if not length or len(body) < int(length[1]):
            return
        arrived.setdefault(json.loads(body)["n"], self.first_byte)
        self.buffer = b""
        self.transport.write(ANSWER)


async def publish(n):
    """Publishes event after event; returns for each when it was sent and when known to have committed."""
    psql = await asyncio.create_subprocess_exec(BIN + "/psql", "-XqAt", stdin=asyncio.subprocess.PIPE,
                                                stdout=asyncio.subprocess.PIPE)
    times = []
    start = time.monotonic()
    for i in range(n):
        await asyncio.sleep(max(0, start + i / RATE - time.monotonic()))
        sent = time.monotonic()
        psql.stdin.write(f"SELECT reflex.publish('bench.reaction', '{{\"n\": {i}}}');\n".encode())
        await psql.stdout.readline()
        times.append((sent, time.monotonic()))
    psql.stdin.close()
    await psql.wait()
    return times


async def react(n):
    """Of n events: how long publishing took, and from there to the request; in ms, in order of size."""
    times = await publish(n)
    deadline = time.monotonic() + PATIENCE
    while len(arrived) < n and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    if len(arrived) < n:
        raise SystemExit(f"{n - len(arrived)} of {n} requests have not come within {PATIENCE} s")
    return (sorted(1000 * (committed - sent) for sent, committed in times),
            sorted(1000 * (arrived[i] - times[i][1]) for i in range(n)))


async def measure():
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    action = {"effect": "http", "payload": {"url": url, "body": {"$": "$.payload"}}}
    sql("SELECT reflex.create_rule('bench', '{\"type\": [\"bench.reaction\"]}', action => "
        f"'{json.dumps(action)}')")
    await react(RATE)                   # connections, caches
    arrived.clear()
    latencies = await react(EVENTS)
    sql("SELECT reflex.drop_rule('bench')")
    return latencies


def main():
    print(f"\ncommit to HTTP request at a local server, {RATE} events/s, {EVENTS} events", flush=True)
    if sql("SELECT to_regproc('reflex.create_rule')") == "":
        print("  skipped: this reflex has no rules")
        return
    settle()
    publishing, reaction = asyncio.run(measure())
    for name, share, target in (("p50", 0.5, 2), ("p99", 0.99, 10), ("greatest", 1, None)):
        i = min(int(share * EVENTS), EVENTS - 1)
        verdict = "" if target is None else f"  < {target} {'ok' if reaction[i] < target else 'MISSED'}"
        print(f"  {name:32}{reaction[i]:>11.2f} ms{verdict}  (publishing: {publishing[i]:.2f} ms)", flush=True)


if __name__ == "__main__":
    main()
