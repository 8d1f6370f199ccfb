"""transmission-daemon, driven over its RPC."""

import json
import pathlib
import time
import urllib.error
import urllib.request

from .base import Client, Process, Run, free_port, wait_for


class Transmission(Client):
    name, package, program = "transmission-daemon", "transmission-daemon", "transmission-daemon"
    dials_loopback = False
    makes_empty_files = False

    def _run(self, folder, ip, port, encryption=1, **options):
        run = TransmissionRun(self, ip, port)
        run.rpc_port = free_port()
        settings = {
            # One of its own keeps it from asking trackers over IPv6.
            "bind-address-ipv4": "0.0.0.0" if ":" in ip else ip,
            "bind-address-ipv6": "::1",
            "cache-size-mb": 16,
            "dht-enabled": False,
            "download-dir": str(folder),
            "encryption": encryption,
            "incomplete-dir-enabled": False,
            "lpd-enabled": False,
            "peer-port": port,
            "pex-enabled": False,
            "port-forwarding-enabled": False,
            "preallocation": 0,
            "rpc-authentication-required": False,
            "rpc-bind-address": "127.0.0.1",
            "rpc-port": run.rpc_port,
            "rpc-whitelist-enabled": False,
            "script-torrent-done-enabled": True,
            "script-torrent-done-filename": str(run.hook()),
            "upload-slots-per-torrent": 50,
            "utp-enabled": False,
        }
        (run.scratch / "settings.json").write_text(json.dumps(settings))
        run.start(["transmission-daemon", "-f", "-g", run.scratch], **options)
        wait_for("transmission's RPC", run.rpc_up, 20)
        return run

    def seed(self, torrent, file, ip, port, encryption=1, **_):
        run = self._run(torrent.folder, ip, port, encryption)
        run.add(file, torrent.folder)
        return run

    def leech(self, torrent, file, out, ip, port, sample=False, encryption=1, **_):
        run = self._run(out, ip, port, encryption, sample=sample)
        run.add(file, out)
        return run


class TransmissionRun(Run):
    session = ""

    def call(self, method, **arguments):
        body = json.dumps({"method": method, "arguments": arguments}).encode()
        for _ in range(2):
            headers = {"X-Transmission-Session-Id": self.session}
            request = urllib.request.Request(f"http://127.0.0.1:{self.rpc_port}/transmission/rpc", body, headers)
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return json.load(answer)["arguments"]
            except urllib.error.HTTPError as error:
                if error.code != 409:
                    raise
                self.session = error.headers["X-Transmission-Session-Id"]
        raise RuntimeError("transmission gave no session id")

    def rpc_up(self):
        self.alive()
        try:
            return self.call("session-get")
        except OSError:
            return False

    def add(self, file, folder):
        self.started = time.time()
        self.call("torrent-add", filename=str(file), **{"download-dir": str(folder)})

    def ready(self):
        torrents = self.call("torrent-get", fields=["status", "percentDone"])["torrents"]
        return any(t["percentDone"] == 1 and t["status"] == 6 for t in torrents)
