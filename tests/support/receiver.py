#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Receivers of forwarded records: receiver.py DIR PORT answers as Splunk's HTTP Event Collector (/services/collector/event),
as Elastic's bulk call (/INDEX/_bulk) or as anything that takes lines (/lines), over TLS.

What was taken is in DIR/taken.jsonl: {"form", "id", "body", "authorization"}. DIR/mode says what to do now: "ok", "busy" (503),
"cut" (the connection, after reading), "forbidden" (403), "poison" (an event with port 666 is refused as the real ones do), "nonsense"
(200 to whatever). A word behind it is said in the answers."""
import http.server
import json
import pathlib
import ssl
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "system"))
from world import Authority  # noqa: E402

DIR, PORT = pathlib.Path(sys.argv[1]), int(sys.argv[2])
TAKEN = open(DIR / "taken.jsonl", "a", buffering=1)
INDEX = set()


def poisoned(event):
    return (event.get("dst_endpoint") or {}).get("port") == 666


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body, **headers):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        self.end_headers()
        self.wfile.write(data)

    def take(self, form, event):
        TAKEN.write(json.dumps({"form": form, "id": event["metadata"]["uid"], "event": event,
                                "authorization": self.headers.get("Authorization")}) + "\n")

    def hec(self, text, mode):
        decoder, at, events = json.JSONDecoder(), 0, []
        while text[at:].strip():
            text, at = text[at:].lstrip(), 0
            wrapped, at = decoder.raw_decode(text)
            assert set(wrapped) == {"time", "host", "source", "sourcetype", "event"}, wrapped
            events.append(wrapped["event"])
        for n, event in enumerate(events):
            if mode == "poison" and poisoned(event):
                return self.answer(400, {"text": "Invalid data format", "code": 6, "invalid-event-number": n, "word": self.word})
        for event in events:
            self.take("hec", event)
        return self.answer(200, {"text": "Success", "code": 0})

    def bulk(self, text, mode):
        lines, items = text.split("\n"), []
        assert lines.pop() == "", "a bulk body ends with a newline"
        for action, document in zip(lines[::2], lines[1::2]):
            uid, document = json.loads(action)["create"]["_id"], json.loads(document)
            assert uid in (document["metadata"]["uid"], f"finding:{uid[8:]}"), uid
            status = 201
            if mode == "poison" and poisoned(document):
                status = 400
            elif uid in INDEX:
                status = 409
            else:
                INDEX.add(uid)
                self.take("elastic", document)
            items.append({"create": {"_id": uid, "status": status, **({"error": {"type": self.word, "reason": self.word}} if status == 400 else {})}})
        return self.answer(200, {"took": 1, "errors": any(i["create"]["status"] > 299 for i in items), "items": items})

    def do_GET(self):
        self.do_POST()

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode(errors="replace")
        mode, _, self.word = (DIR / "mode").read_text().partition(" ")
        if mode == "busy":
            return self.answer(503, {"text": "Server is busy", "code": 9}, Retry_After="1")
        if mode == "forbidden":
            return self.answer(403, {"text": f"Invalid token {self.word}".rstrip(), "code": 4, "error": f"no {self.word}"}, X_Word=self.word)
        if mode == "nonsense":
            file = {"file": self.word, "minisig": self.word}
            return self.answer(200, {k: self.word for k in ("certificate", "ca", "next", "checkpoint", "device")} | {"policy": file, "links": [file]},
                               ETag=self.word)
        if mode == "cut":
            self.close_connection = True
            return self.connection.close()
        if self.path == "/services/collector/event":
            return self.hec(text, mode)
        if self.path.endswith("/_bulk"):
            return self.bulk(text, mode)
        events = [json.loads(line) for line in text.splitlines()]
        if mode == "poison" and any(map(poisoned, events)):
            return self.answer(400, {"error": f"no {self.word}"})
        for event in events:
            self.take("ndjson", event)
        return self.answer(200, {})


server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
context = Authority(sys.argv[3]).context("127.0.0.1")
context.set_alpn_protocols(["http/1.1"])
server.socket = context.wrap_socket(server.socket, server_side=True)
print("ready", flush=True)
try:
    server.serve_forever()
except ssl.SSLError:
    pass
