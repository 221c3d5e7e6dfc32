#!/usr/bin/env python3
"""A small hostile HTTP server for tests: one process, the standard library only.

    server.py [--port N] [--ledger FILE] [--tls-cert FILE --tls-key FILE]

Listens on 127.0.0.1 and prints `port=N` when it is ready (before it, with a
certificate, `tls_port=M`: the same modes over TLS).  It ends on SIGTERM,
SIGINT, or when its standard input is closed and --with-parent was given.

It speaks HTTP/1.1 by hand, because a library would refuse to lie.  The first
segment of the path chooses the mode; what follows it is free (`/ok/slack`).

    /ok                    200 {"ok": true}
    /echo                  200, a JSON object with method, path, headers, body
    /body?n=1000           200 and n bytes
    /status/CODE           that status; ?retry_after=2 adds the header, ?body=text
    /fail-then-ok/NAME?n=2 ?status=503 n times, then 200
    /switch/NAME           503 while NAME is off, else 200; see /_switch
    /dedupe                200; {"repeated": true} for an Idempotency-Key seen before
    /headers?n=10&size=10  200 with n more headers of that size
    /gzip                  200 {"ok": true}, compressed
    /redirect?to=/ok       302 (?status=307) to there
    /slow?s=1              200 after s seconds
    /stall, /hang?s=60     reads the request and says nothing (for s seconds, then 200)
    /stall-body?n=5        200, the header and n bytes of more, then nothing
    /drip?n=20&s=0.1       200, n bytes, one each s seconds
    /drip-headers?n=20&s=0.1   the header, one line each s seconds
    /sse?n=5&s=0.1         n server-sent events and [DONE]; ?comments=1 only comments
    /endless               200, chunked, without end
    /endless-headers       a header without end
    /gzip-bomb?mb=100      200, that many MB of zeroes, compressed (a thousandth)
    /truncated             200, announces 1000 bytes, sends 10, closes
    /truncated-chunked     200, one chunk, closes without the last
    /short                 200, announces 5 bytes, sends 11, closes
    /garbage               something that is not HTTP
    /empty                 closes without an answer
    /reset-before          resets when it has seen the header: the request is not taken
    /reset-after           takes the request, then resets: the answer is lost
    /close                 200 with Connection: close

Control, never in the ledger:

    GET  /_requests?path=/ok   the requests received (path prefix), as JSON, with
                               headers and body text (first 64 KiB)
    POST /_switch/NAME?up=0    switches NAME off (or on: up=1)
    POST /_clear               forgets requests, counters, switches

The ledger is one JSON object per line, flushed: what ("received" once the
request is read whole, "answered" once an answer is written, "reset"), request
(its number), connection, t (monotonic seconds), method, path, idempotency_key,
effect_id, attempt, traceparent, body_sha256, body_len; "answered" has status.
"""
import argparse
import asyncio
import gzip
import hashlib
import json
import os
import resource
import signal
import socket
import ssl
import struct
import sys
import time
import zlib
from urllib.parse import parse_qs, urlsplit

KEPT_BODY = 65536
KEY_HEADERS = {
    "idempotency_key": "idempotency-key",
    "effect_id": "x-reflex-effect-id",
    "attempt": "x-reflex-attempt",
    "traceparent": "traceparent",
}


class Gone(Exception):
    """The peer closed, or this server reset the connection."""


class Request:
    """One request, and the ways of answering it."""

    def __init__(self, server, reader, writer, connection):
        self.server, self.reader, self.writer = server, reader, writer
        self.connection = connection
        self.number = 0
        self.keep_alive = True
        self.body = b""

    async def read_head(self):
        head = await self.reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = lines[0].split(" ", 2)
        self.headers = {}
        for line in lines[1:]:
            if line:
                name, value = line.split(":", 1)
                self.headers[name.strip().lower()] = value.strip()
        url = urlsplit(self.path)
        self.segments = url.path.strip("/").split("/")
        self.query = {k: v[-1] for k, v in parse_qs(url.query).items()}
        self.keep_alive = self.headers.get("connection", "").lower() != "close"

    async def read_body(self):
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int((await self.reader.readline()).split(b";")[0], 16):
                self.body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readuntil(b"\r\n")
        else:
            self.body = await self.reader.readexactly(int(self.headers.get("content-length", 0)))

    def number_of(self, name, default):
        return type(default)(self.query.get(name, default))

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status, headers=None, length=None):
        lines = [f"HTTP/1.1 {status} {'OK' if status == 200 else 'Status'}"]
        lines += [f"{k}: {v}" for k, v in (headers or {}).items()]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        await self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    async def answer(self, status=200, body=b'{"ok": true}', headers=None, kind="application/json"):
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        await self.head(status, {"Content-Type": kind, **(headers or {})}, len(body))
        if self.method != "HEAD":
            await self.send(body)
        self.server.record("answered", self, status=status)

    async def chunk(self, data):
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def close(self):
        """Ends the connection in order, after what has been written."""
        self.keep_alive = False

    def reset(self):
        """Ends the connection with RST: linger for no time."""
        self.server.record("reset", self)
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        raise Gone


class Server:
    """The state that outlives a request: ledger, counters, switches."""

    def __init__(self, ledger):
        self.ledger = open(ledger, "a", buffering=1, encoding="utf-8") if ledger else None
        self.connections = 0
        self.numbers = 0
        self.forget()

    def forget(self):
        self.requests, self.counters, self.off, self.keys = [], {}, set(), set()

    def entry(self, what, request):
        keys = {name: request.headers.get(header) for name, header in KEY_HEADERS.items()}
        return {
            "what": what, "request": request.number, "connection": request.connection,
            "t": time.monotonic(), "method": request.method, "path": request.path, **keys,
            "body_sha256": hashlib.sha256(request.body).hexdigest(), "body_len": len(request.body),
        }

    def record(self, what, request, **more):
        if request.segments[0].startswith("_"):
            return
        entry = {**self.entry(what, request), **more}
        if self.ledger:
            self.ledger.write(json.dumps(entry) + "\n")
        if what == "received":
            text = request.body[:KEPT_BODY].decode("utf-8", "replace")
            self.requests.append({**entry, "headers": request.headers, "body": text})

    async def one(self, request):
        """Reads and answers one request.  Only a mode whose name is in EARLY sees no body."""
        await request.read_head()
        self.numbers += 1
        request.number = self.numbers
        name = request.segments[0].replace("-", "_")
        if name in EARLY:
            return await EARLY[name](request)
        await request.read_body()
        self.record("received", request)
        mode = MODES.get(name)
        if mode is None:
            return await request.answer(404, {"error": "no such mode"})
        return await mode(request)

    async def serve(self, reader, writer):
        self.connections += 1
        connection = self.connections
        try:
            keep_alive = True
            while keep_alive:
                request = Request(self, reader, writer, connection)
                await self.one(request)
                keep_alive = request.keep_alive
        except (Gone, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass
        finally:
            writer.close()


# The modes.  Each takes the request, read whole, and answers as its name says.

async def ok(r):
    await r.answer()


async def echo(r):
    body = r.body.decode("utf-8", "replace")
    await r.answer(200, {"method": r.method, "path": r.path, "headers": r.headers, "body": body})


async def body(r):
    await r.answer(200, b"x" * r.number_of("n", 1000), kind="text/plain")


async def status(r):
    headers = {"Retry-After": r.query["retry_after"]} if "retry_after" in r.query else {}
    text = r.query.get("body", '{"status": %s}' % r.segments[1]).encode()
    await r.answer(int(r.segments[1]), text, headers)


async def fail_then_ok(r):
    name = r.segments[1] if len(r.segments) > 1 else ""
    r.server.counters[name] = failures = r.server.counters.get(name, 0) + 1
    if failures <= r.number_of("n", 2):
        return await r.answer(r.number_of("status", 503), {"failure": failures})
    return await r.answer()


async def switch(r):
    off = r.segments[1] in r.server.off
    await r.answer(503 if off else 200, {"ok": not off})


async def dedupe(r):
    key = r.headers.get("idempotency-key")
    repeated = key in r.server.keys
    r.server.keys.add(key)
    await r.answer(200, {"repeated": repeated})


async def headers(r):
    more = {f"X-More-{i}": "x" * r.number_of("size", 10) for i in range(r.number_of("n", 10))}
    await r.answer(200, headers=more)


async def gzipped(r):
    await r.answer(200, gzip.compress(b'{"ok": true}'), {"Content-Encoding": "gzip"})


async def redirect(r):
    await r.answer(r.number_of("status", 302), b"", {"Location": r.query.get("to", "/ok")})


async def slow(r):
    await asyncio.sleep(r.number_of("s", 1.0))
    await r.answer()


async def hang(r):
    await asyncio.sleep(r.number_of("s", 60.0))
    await r.answer()


async def stall(r):
    # Waits for the peer to go away, so that the ledger need not wait for us.
    await r.reader.read(1)
    r.close()


async def stall_body(r):
    await r.head(200, length=100000)
    await r.send(b"x" * r.number_of("n", 5))
    await stall(r)


async def drip(r):
    count = r.number_of("n", 20)
    await r.head(200, length=count)
    for _ in range(count):
        await r.send(b"x")
        await asyncio.sleep(r.number_of("s", 0.1))
    r.server.record("answered", r, status=200)


async def drip_headers(r):
    await r.send(b"HTTP/1.1 200 OK\r\n")
    for i in range(r.number_of("n", 20)):
        await r.send(b"X-Drip-%d: x\r\n" % i)
        await asyncio.sleep(r.number_of("s", 0.1))
    await r.send(b"Content-Length: 0\r\n\r\n")
    r.server.record("answered", r, status=200)


async def sse(r):
    only_comments = r.number_of("comments", 0)
    await r.head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
    for i in range(r.number_of("n", 5)):
        await r.chunk(b": still here\n\n" if only_comments else b'data: {"n": %d}\n\n' % i)
        await asyncio.sleep(r.number_of("s", 0.1))
    await r.chunk(b"data: [DONE]\n\n")
    await r.send(b"0\r\n\r\n")
    r.server.record("answered", r, status=200)


async def endless(r):
    await r.head(200, {"Transfer-Encoding": "chunked"})
    while True:
        await r.chunk(b"x" * 65536)


async def endless_headers(r):
    await r.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await r.send(b"X-More: x\r\n" * 1000)


async def gzip_bomb(r):
    coder = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeroes = bytes(1 << 20)
    data = b"".join(coder.compress(zeroes) for _ in range(r.number_of("mb", 100))) + coder.flush()
    await r.answer(200, data, {"Content-Encoding": "gzip"})


async def truncated(r):
    await r.head(200, length=1000)
    await r.send(b"0123456789")
    r.close()


async def truncated_chunked(r):
    await r.head(200, {"Transfer-Encoding": "chunked"})
    await r.chunk(b"0123456789")
    r.close()


async def short(r):
    await r.head(200, length=5)
    await r.send(b"hello world")
    r.close()


async def garbage(r):
    await r.send(b"SSH-2.0-not_http\r\n\x00\x01\x02\r\n")
    r.close()


async def empty(r):
    r.close()


async def reset(r):
    r.reset()


async def close(r):
    await r.answer(200, headers={"Connection": "close"})
    r.close()


# Control.

async def requests(r):
    prefix = r.query.get("path", "")
    await r.answer(200, [q for q in r.server.requests if q["path"].startswith(prefix)])


async def set_switch(r):
    names = r.server.off
    (names.discard if r.number_of("up", 1) else names.add)(r.segments[1])
    await r.answer()


async def clear(r):
    r.server.forget()
    await r.answer()


EARLY = {"reset_before": reset}
MODES = {f.__name__: f for f in (
    ok, echo, body, status, fail_then_ok, switch, dedupe, headers, redirect, slow, hang, stall,
    stall_body, drip, drip_headers, sse, endless, endless_headers, gzip_bomb, truncated,
    truncated_chunked, short, garbage, empty, close)}
MODES.update(gzip=gzipped, reset_after=reset, _requests=requests, _switch=set_switch, _clear=clear)


def arguments():
    parser = argparse.ArgumentParser(description="hostile HTTP server, see the head of this file")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--ledger", help="file to append what happens to")
    parser.add_argument("--tls-cert", help="certificate (PEM); needs --tls-key")
    parser.add_argument("--tls-key", help="its key (PEM)")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input closes")
    return parser.parse_args()


async def listen(server, port, tls=None):
    sock = socket.create_server(("127.0.0.1", port), backlog=8192)
    await asyncio.start_server(server.serve, sock=sock, ssl=tls)
    return sock.getsockname()[1]


async def main():
    options = arguments()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if options.with_parent:
        loop.add_reader(sys.stdin, lambda: sys.stdin.buffer.read1(4096) or ended.set())
    server = Server(options.ledger)
    if options.tls_cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.tls_cert, options.tls_key)
        print(f"tls_port={await listen(server, 0, tls)}", flush=True)
    print(f"port={await listen(server, options.port)}", flush=True)
    await ended.wait()
    if server.ledger:
        server.ledger.close()
    # Calls that hang are not waited for.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
