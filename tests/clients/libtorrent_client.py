"""libtorrent through its Python binding: a process of its own runs `libtorrent_peer.py`."""

import pathlib
import subprocess
import sys

from .base import Client, Process, Run, wait_for

SCRIPT = pathlib.Path(__file__).with_name("libtorrent_peer.py")
NODES = pathlib.Path(__file__).with_name("libtorrent_nodes.py")


class Libtorrent(Client):
    name, package, program = "libtorrent", "python3-libtorrent", "/usr/bin/python3"
    writes_late = True
    tuned = False

    @classmethod
    def available(cls):
        check = [cls.program, "-c", "import libtorrent"]
        return super().available() and subprocess.run(check, capture_output=True).returncode == 0

    def _command(self, *words, **options):
        command = [self.program, SCRIPT, *words]
        if self.tuned:
            command.append("--tuned")
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}"] + ([] if value is True else [value])
        return command

    def seed(self, torrent, file, ip, port, count=1, **options):
        """`count` seeders in one process, at consecutive addresses from `ip` on, all at `port`."""
        run = LibtorrentRun(self, ip, port)
        command = self._command("seed", file, torrent.folder, ip, port, count=count, **options)
        return run.start(command)

    def leech(self, torrent, file, out, ip, port, sample=False, count=1, quiet=True, **options):
        run = LibtorrentRun(self, ip, port)
        if str(file).startswith("magnet:"):
            options["magnet"] = file
        return run.start(self._command("leech", file, out, ip, port, count=count, **options), sample=sample)


class LibtorrentTuned(Libtorrent):
    name, tuned = "libtorrent tuned", True


class LibtorrentNodes:
    """A DHT of three libtorrent nodes at addresses of their own; `entrance` is one of them."""

    def __init__(self, folder, ips, port):
        self.entrance = f"{ips[0]}:{port}"
        self.process = Process([Libtorrent.program, NODES, port, *ips], folder)

    def wait_ready(self):
        wait_for("libtorrent's nodes should know each other", lambda: "ready" in self.process.output(), 30)

    def heard_of(self, info_hash) -> bool:
        """Whether someone has announced this torrent to one of them."""
        return f"announced {info_hash}" in self.process.output()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()


class LibtorrentRun(Run):
    """The script prints `ready`, then for a leecher `started UNIX`, and `done UNIX CPU`."""

    def word(self, name):
        for line in self.process.output().splitlines():
            if line.startswith(name):
                return line.split()
        return None

    def ready(self):
        return self.word("ready") is not None

    def done_at(self):
        started, done = self.word("started"), self.word("done")
        if done is None:
            return None
        self.started = float(started[1]) # before the session, after Python's own start
        self.own_cpu_s = float(done[2])
        return float(done[1])

    def wait_done(self, timeout=120):
        took = super().wait_done(timeout)
        self.cpu_done_s = self.own_cpu_s
        return took
