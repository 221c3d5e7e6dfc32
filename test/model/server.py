#!/usr/bin/env python3
"""A scripted model server for tests: chat completions, the standard library only.

    server.py [--port N] --script FILE [--with-parent]

Listens on 127.0.0.1 and prints `port=N` when it is ready.  It ends on SIGTERM,
SIGINT, or when its standard input is closed and --with-parent was given.

The script is a JSON object: the name of a model, and the list of answers that
POST .../chat/completions gives for it, one after the other; the last one stays.
An answer is an object, all of it optional:

    status    the HTTP status (200)
    headers   an object of more headers
    content   of the message: a string as it is, anything else as JSON
    message   the whole message, instead
    finish    finish_reason ("stop")
    body      the whole body: a string as it is, anything else as JSON
    delay     seconds before the answer

What was asked is kept: GET /_requests is an array of {"model", "body",
"authorization", "attempt"}, oldest first.
"""
import argparse
import collections
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

script = {}
requests = []
asked = collections.Counter()
lock = threading.Lock()


def completion(model, answer):
    """The body of a chat completions answer."""
    content = answer.get("content")
    if content is not None and not isinstance(content, str):
        content = json.dumps(content)
    message = answer.get("message", {"role": "assistant", "content": content})
    return {
        "id": "chatcmpl-test", "object": "chat.completion", "created": 0, "model": model + "-0001",
        "choices": [{"index": 0, "message": message, "finish_reason": answer.get("finish", "stop")}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
                  "prompt_tokens_details": {"cached_tokens": 0}},
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=None):
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        with lock:
            self.answer(200 if self.path == "/_requests" else 404, requests)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model = body.get("model")
        if not self.path.endswith("/chat/completions") or model not in script:
            self.answer(404, {"error": {"message": "no such model", "type": "invalid_request_error"}})
            return
        with lock:
            requests.append({"model": model, "body": body,
                             "authorization": self.headers["Authorization"],
                             "attempt": self.headers["X-Reflex-Attempt"]})
            answer = script[model][min(asked[model], len(script[model]) - 1)]
            asked[model] += 1
        time.sleep(answer.get("delay", 0))
        self.answer(answer.get("status", 200), answer.get("body", completion(model, answer)),
                    answer.get("headers"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", required=True)
    parser.add_argument("--with-parent", action="store_true")
    options = parser.parse_args()
    with open(options.script, encoding="utf-8") as file:
        script.update(json.load(file))
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    server.daemon_threads = True
    print(f"port={server.server_address[1]}", flush=True)
    if options.with_parent:
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
