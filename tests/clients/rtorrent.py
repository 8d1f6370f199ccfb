"""rtorrent as a daemon, driven over XML-RPC through its SCGI socket."""

import socket
import xmlrpc.client

from .base import Client, Run


class Rtorrent(Client):
    name, package, program = "rtorrent", "rtorrent", "rtorrent"

    def _run(self, file, folder, ip, port, encryption="allow_incoming,try_outgoing", **options):
        run = RtorrentRun(self, ip, port)
        (run.scratch / "session").mkdir()
        lines = [
            f"directory.default.set = {folder}",
            f"session.path.set = {run.scratch}/session",
            f"network.port_range.set = {port}-{port}",
            "network.port_random.set = no",
            f"network.bind_address.set = {ip}",
            "dht.mode.set = disable",
            "protocol.pex.set = no",
            "trackers.use_udp.set = no",
            "pieces.hash.on_completion.set = no",
            f"protocol.encryption.set = {encryption}",
            "throttle.max_uploads.set = 100",
            "throttle.max_peers.normal.set = 200",
            "throttle.max_peers.seed.set = 200",
            f'method.set_key = event.download.finished,hook,"execute.nothrow={run.hook()}"',
            f"network.scgi.open_local = {run.scratch}/rpc",
            "system.daemon.set = true",
            f"load.start = {file}",
        ]
        (run.scratch / "rc").write_text("\n".join(lines) + "\n")
        return run.start(["rtorrent", "-n", "-o", f"import={run.scratch}/rc"], **options)

    def seed(self, torrent, file, ip, port, **_):
        return self._run(file, torrent.folder, ip, port)

    def leech(self, torrent, file, out, ip, port, sample=False, **options):
        if options.get("encryption"):
            return self._run(file, out, ip, port, "require,require_RC4,allow_incoming,try_outgoing", sample=sample)
        return self._run(file, out, ip, port, sample=sample)


class RtorrentRun(Run):
    def call(self, method, *arguments):
        body = xmlrpc.client.dumps(arguments, method).encode()
        head = b"CONTENT_LENGTH\0%d\0SCGI\x001\0" % len(body)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.scratch / "rpc"))
            connection.sendall(b"%d:%s,%s" % (len(head), head, body))
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        return xmlrpc.client.loads(answer.partition(b"\r\n\r\n")[2])[0][0]

    def ready(self):
        try:
            rows = self.call("d.multicall2", "", "main", "d.complete=", "d.is_active=", "d.hashing=")
        except OSError:
            return False
        return rows == [[1, 1, 0]]
