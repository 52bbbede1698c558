#!/usr/bin/env python3
"""A web app with WebSockets, as a node of the recipes: nothing but the standard library.

    web_app.py NAME ADDRESS PORT

Every answer says who gave it, in the field `Node`. `/health`, `/health/` and what lies below `/api/health` say how it is;
what ends in `/fields` shows the fields of the request as JSON; `/long` has some kilobytes; any other path answers 200 with
the name. A WebSocket gets back what it sends, behind the name.

`PUT /order/STATUS/PATH` makes `/PATH` answer with that status from then on, 200 takes it back.
"""

import base64
import hashlib
import json
import socket
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# RFC 6455 section 1.3.
HANDSHAKE = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
FRAME_BYTES_MAX = 1 << 20
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA

statuses = {}
lock = threading.Lock()


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Whoever sends nothing for that long is gone.
    timeout = 60

    def do_GET(self):
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self.websocket()
            return
        path = self.path.split("?", 1)[0]
        with lock:
            status = statuses.get(path, 200)
        if path.endswith("/fields"):
            self.say(status, json.dumps({name.lower(): value for name, value in self.headers.items()}), "application/json")
        elif path in ("/health", "/health/") or path.startswith("/api/health"):
            self.say(status, json.dumps({"status": "ok" if status == 200 else "unhealthy"}), "application/json")
        elif path == "/long":
            self.say(status, f"{self.server.name} " * 1000, "text/html")
        else:
            self.say(status, f"{self.server.name}\n", "text/plain")

    do_HEAD = do_GET

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def do_PUT(self):
        parts = self.path.split("/", 3)
        if len(parts) < 4 or parts[1] != "order" or not parts[2].isdigit():
            self.do_POST()
            return
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with lock:
            statuses["/" + parts[3]] = int(parts[2])
        self.say(200, "", "text/plain")

    def say(self, status, text, kind):
        body = text.encode()
        self.send_response(status)
        self.send_header("Node", self.server.name)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def websocket(self):
        key = self.headers.get("Sec-WebSocket-Key", "").encode()
        self.send_response(101)
        self.send_header("Node", self.server.name)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key + HANDSHAKE).digest()).decode())
        self.end_headers()
        self.close_connection = True
        # A WebSocket may be quiet for as long as it likes.
        self.connection.settimeout(None)
        while (frame := self.frame()) is not None:
            kind, payload = frame
            if kind == TEXT:
                self.send_frame(TEXT, self.server.name.encode() + b": " + payload)
            elif kind == PING:
                self.send_frame(PONG, payload)
            elif kind == CLOSE:
                self.send_frame(CLOSE, payload[:2])
                return

    def frame(self):
        """The next frame of the client, whose payload is always masked; None at its end."""
        head = self.rfile.read(2)
        if len(head) < 2:
            return None
        length = head[1] & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self.rfile.read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self.rfile.read(8))
        if not head[1] & 0x80 or length > FRAME_BYTES_MAX:
            return None
        mask, payload = self.rfile.read(4), self.rfile.read(length)
        return head[0] & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))

    def send_frame(self, kind, payload):
        length = len(payload)
        if length < 126:
            size = struct.pack("!B", length)
        elif length < 1 << 16:
            size = struct.pack("!BH", 126, length)
        else:
            size = struct.pack("!BQ", 127, length)
        self.wfile.write(bytes([0x80 | kind]) + size + payload)

    def log_message(self, form, *words):
        sys.stderr.write(f"{self.server.name}: {form % words}\n")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    name, address, port = sys.argv[1:]
    server = Server((address, int(port)), App)
    server.name = name
    server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
