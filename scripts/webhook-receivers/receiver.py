"""Receives webhooks, and verifies each with the official library of Standard Webhooks for Python.

Answers 204 if every secret that is live accepts the request and everything that must be refused is refused, otherwise 500
with the reason. The secrets are those of crates/server/tests/sending/official.rs.
"""

import base64
import json
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


def secret(byte, length):
    return "whsec_" + base64.b64encode(bytes([byte]) * length).decode()


LIVE = [secret(7, 24), secret(9, 64)]
FOREIGN = secret(8, 32)


def refuses(key, body, headers, what):
    try:
        Webhook(key).verify(body, headers)
    except WebhookVerificationError:
        return
    raise AssertionError(f"accepted {what}")


def verify(body, headers):
    for key in LIVE:
        content = Webhook(key).verify(body, headers)
        refuses(key, body + b" ", headers, "a changed body")
        refuses(key, body, headers | {"webhook-id": headers["webhook-id"] + "x"}, "a changed webhook-id")
        later = str(int(headers["webhook-timestamp"]) + 1)
        refuses(key, body, headers | {"webhook-timestamp": later}, "a changed webhook-timestamp")
    refuses(FOREIGN, body, headers, "the signature of another secret")
    if headers["content-type"] == "application/cloudevents+json":
        assert content["specversion"] == "1.0" and content["id"] == headers["webhook-id"], content
        assert content["source"] and content["type"] and content["time"] and "data" in content, content
    else:
        assert headers["content-type"] == "application/json", headers
        assert list(content) == ["type", "timestamp", "data"], content


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        status, why = 204, b""
        try:
            verify(body, {name.lower(): value for name, value in self.headers.items()})
        except Exception as error:  # every reason is reported to the sender
            status, why = 500, f"{type(error).__name__}: {error}".encode()
        self.send_response(status)
        if why:
            self.send_header("content-length", str(len(why)))
        self.end_headers()
        self.wfile.write(why)


server = HTTPServer(("127.0.0.1", 0), Receiver)
print(f"listening on http://127.0.0.1:{server.server_port}/hooks", flush=True)
server.serve_forever()
