"""What every scenario has: a folder with content, a tracker, addresses of its own, and one trade after the other."""

import contextlib
import itertools
import pathlib
import shutil
import tempfile

from clients.base import free_port, wait_for
from clients.torrent import Torrent, fill
from clients.tracker import Tracker

PATIENCE_S = 120

last_address = itertools.count(2)


class Cannot(Exception):
    """A scenario that this machine, or the other client, has no way to play; says why."""


def fresh_ip() -> str:
    """A loopback address of its own for every peer: clients count connections by address."""
    number = next(last_address)
    return f"127.0.{number // 250}.{number % 250 + 2}"


class Stage:
    """One scenario's folder, content and tracker."""

    def __init__(self, fixed=(), wide=False):
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="rill-interop-"))
        content = self.top / "content"
        name = "very many files" if wide else "many files"
        (wide_tree if wide else tree)(content / name)
        self.torrent = Torrent(content, name, (16 if wide else 64) << 10)
        self.tracker = Tracker(fixed)
        self.file = self.torrent.write(self.top / "many.torrent", self.tracker.url)
        self.outs = itertools.count()
        self.uses_own_tracker = True

    def use_tracker(self, url):
        """Names another tracker in the .torrent, or none."""
        self.file = self.torrent.write(self.file, url)
        self.uses_own_tracker = False

    def link(self, peer=None) -> str:
        """The magnet link: with this peer (`x.pe`) and nothing else, or with the tracker."""
        where = f"x.pe={peer}" if peer else f"tr={self.tracker.url}"
        return f"magnet:?xt=urn:btih:{self.torrent.info_hash}&{where}"

    def out(self) -> pathlib.Path:
        folder = self.top / f"out{next(self.outs)}"
        folder.mkdir()
        return folder

    def check(self, out, client):
        difference = lambda: self.torrent.compare(out, client.makes_empty_files)
        if client.writes_late:
            with contextlib.suppress(TimeoutError):
                wait_for("the disk", lambda: not difference(), 20)
        difference = difference()
        if difference:
            raise AssertionError(difference)

    def announced(self, run):
        """Waits until the tracker knows a seeder, so that the leecher finds it at its first question."""
        if self.uses_own_tracker:
            wait_for(f"{run.client.name} should announce", lambda: self.tracker.knows(run.port), 60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tracker.close()
        shutil.rmtree(self.top, ignore_errors=True)


def tree(top):
    """A few large files, many small ones, odd names, empty files."""
    fill(top / "first.bin", 3_000_001, 1)
    fill(top / "nested" / "deeper" / "second.bin", 1_500_000, 2)
    fill(top / "ünïcödé – 名前" / "третий.bin", 700_000, 3)
    for number in range(40):
        fill(top / "small" / f"{number:02}.txt", number * 97 + 1, number)
    (top / "empty").write_bytes(b"")
    (top / "nested" / "empty too").write_bytes(b"")


def wide_tree(top):
    """So many files that their list, the metadata, takes over 200 KiB: more than a dozen pieces of it."""
    for number in range(3000):
        fill(top / f"folder {number // 100:02}" / f"one of very many small files, number {number:04}.txt", 100, number)


def trade(stage, seeder, leecher, seeding=None, leeching=None, link=None, ends=None):
    """One fetches everything from the other, the only source: by the .torrent, or by this link. Their addresses
    may be given. Gives the seconds it took the leecher."""
    out = stage.out()
    (here, here_port), (there, there_port) = ends or [(fresh_ip(), free_port()) for _ in range(2)]
    with seeder.seed(stage.torrent, stage.file, here, here_port, **(seeding or {})) as source:
        source.wait_ready()
        stage.announced(source)
        leeching = leeching or {}
        with leecher.leech(stage.torrent, link or stage.file, out, there, there_port, **leeching) as sink:
            took = sink.wait_done(PATIENCE_S)
            stage.check(out, sink.client)
            return took
