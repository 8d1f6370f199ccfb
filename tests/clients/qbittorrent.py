"""qbittorrent-nox, driven over its web API."""

import http.cookiejar
import json
import os
import time
import urllib.request
import uuid

from .base import Client, Run, free_port, wait_for


class Qbittorrent(Client):
    name, package, program = "qbittorrent-nox", "qbittorrent-nox", "qbittorrent-nox"

    def _run(self, file, folder, ip, port, encryption=0, **options):
        run = QbittorrentRun(self, ip, port)
        run.web_port = free_port()
        config = run.scratch / "qBittorrent" / "config"
        config.mkdir(parents=True)
        (config / "qBittorrent.conf").write_text(f"""[LegalNotice]
Accepted=true
[BitTorrent]
Session\\Port={port}
Session\\Interface=lo
Session\\InterfaceName=lo
Session\\InterfaceAddress={ip}
Session\\DHTEnabled=false
Session\\LSDEnabled=false
Session\\PeXEnabled=false
Session\\Encryption={encryption}
Session\\BTProtocol=TCP
Session\\IgnoreLimitsOnLAN=true
Session\\MultiConnectionsPerIp=true
[Preferences]
WebUI\\Address=127.0.0.1
WebUI\\Port={run.web_port}
WebUI\\LocalHostAuth=false
WebUI\\CSRFProtection=false
WebUI\\HostHeaderValidation=false
""")
        env = {"HOME": str(run.scratch), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        run.start(["qbittorrent-nox", f"--profile={run.scratch}"], env=env, **options)
        wait_for("qbittorrent's web API", run.up, 30)
        run.add(file, folder)
        return run

    def seed(self, torrent, file, ip, port, **_):
        return self._run(file, torrent.folder, ip, port)

    def leech(self, torrent, file, out, ip, port, sample=False, encryption=False, **_):
        return self._run(file, out, ip, port, 1 if encryption else 0, sample=sample)


class QbittorrentRun(Run):
    def get(self, path, body=None, kind=None):
        headers = {"Content-Type": kind} if kind else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.web_port}/api/v2/{path}", body, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    def up(self):
        self.alive()
        try:
            return self.get("app/version")
        except OSError:
            return False

    def add(self, file, folder):
        edge = uuid.uuid4().hex
        parts = [
            f'--{edge}\r\nContent-Disposition: form-data; name="savepath"\r\n\r\n{folder}\r\n'.encode(),
            f'--{edge}\r\nContent-Disposition: form-data; name="torrents"; filename="t.torrent"\r\n'
            "Content-Type: application/x-bittorrent\r\n\r\n".encode() + file.read_bytes() + b"\r\n",
            f"--{edge}--\r\n".encode(),
        ]
        self.started = time.time()
        self.get("torrents/add", b"".join(parts), f"multipart/form-data; boundary={edge}")

    def torrents(self):
        return json.loads(self.get("torrents/info"))

    def ready(self):
        return any(t["progress"] == 1 and t["state"] in ("uploading", "stalledUP") for t in self.torrents())

    def done_at(self):
        done = any(t["progress"] == 1 and t["state"].endswith("UP") or t["state"] == "uploading" for t in self.torrents())
        return time.time() if done else None
