#!/usr/bin/env python3
"""One end of the outside world of the demo: Slack's webhook, or Twilio's API.

    receiver.py slack|twilio PORT FILE

Writes one line per message to FILE, as a person at the other end would see it,
and answers as the real one does.  A message whose Idempotency-Key has been
seen before is answered again and not written a second time.
"""
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

KIND, PORT, FILE = sys.argv[1], int(sys.argv[2]), sys.argv[3]
seen = set()
lock = threading.Lock()


def slack(body):
    """The text of a webhook's message, and what Slack answers."""
    return json.loads(body)["text"], 200, "text/plain", "ok"


def twilio(body):
    """The text of a message, and Twilio's answer: 201 and the message queued."""
    form = {name: values[0] for name, values in parse_qs(body).items()}
    answer = {"sid": "SM%032x" % time.time_ns(), "status": "queued",
              "to": form["To"], "from": form["From"], "body": form["Body"]}
    return form["To"] + ": " + form["Body"], 201, "application/json", json.dumps(answer)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        text, status, content_type, answer = {"slack": slack, "twilio": twilio}[KIND](body)
        key = self.headers.get("Idempotency-Key")
        with lock:
            if key not in seen:
                seen.add(key)
                with open(FILE, "a", encoding="utf-8") as out:
                    out.write(text.replace("\n", " | ") + "\n")
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(answer.encode())))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *args):
        """Says nothing: the file is what counts."""


ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
