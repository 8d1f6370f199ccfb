"""A small HTTP tracker in a thread: keeps swarms, and can be told of peers that don't announce."""

import http.server
import socket
import struct
import threading
import urllib.parse

from .torrent import bencode


class Tracker:
    """Listens on 127.0.0.1 until closed; `fixed` are addresses given to everyone."""

    def __init__(self, fixed=()):
        self.fixed = list(fixed)
        self.announces = []
        self.swarms = {}
        tracker = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = tracker.answer(self.path, self.client_address[0])
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/announce"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, target: str, source: str) -> bytes:
        query = {}
        for pair in urllib.parse.urlsplit(target).query.split("&"):
            key, _, value = pair.partition("=")
            query[key] = urllib.parse.unquote_to_bytes(value)
        self.announces.append(query)
        own = (query.get("ip", source.encode()).decode(), int(query.get("port", 0)))
        swarm = self.swarms.setdefault(query.get("info_hash"), {})
        if query.get("event") == b"stopped":
            swarm.pop(own, None)
            peers = []
        else:
            peers = [peer for peer in [*self.fixed, *swarm] if peer != own]
            swarm[own] = True
        packed = b"".join(socket.inet_aton(ip) + struct.pack(">H", port) for ip, port in peers)
        return bencode({"interval": 30, "min interval": 1, "peers": packed})

    def knows(self, port: int) -> bool:
        """Whether a peer with this port is in a swarm."""
        return any(peer[1] == port for swarm in list(self.swarms.values()) for peer in list(swarm))

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
