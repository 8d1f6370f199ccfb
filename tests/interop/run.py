#!/usr/bin/python3
"""Trades with other clients over loopback: who can fetch from whom, and how.

    run.py [WORD...]     only the scenarios whose name holds one of the words
"""

import contextlib
import itertools
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from clients.aria2 import Aria2
from clients.base import Process, free_port, listens, wait_for
from clients.libtorrent_client import Libtorrent
from clients.qbittorrent import Qbittorrent
from clients.rill import Rill
from clients.rtorrent import Rtorrent
from clients.torrent import Torrent, fill
from clients.tracker import Tracker
from clients.transmission import Transmission

OTHERS = [Libtorrent, Aria2, Transmission, Rtorrent, Qbittorrent]
PATIENCE_S = 120

last_address = itertools.count(2)


def fresh_ip() -> str:
    """A loopback address of its own for every peer: clients count connections by address."""
    number = next(last_address)
    return f"127.0.{number // 250}.{number % 250 + 2}"


class Stage:
    """One scenario's folder, content and tracker."""

    def __init__(self, fixed=()):
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="rill-interop-"))
        content = self.top / "content"
        tree = content / "many files"
        fill(tree / "first.bin", 3_000_001, 1)
        fill(tree / "nested" / "deeper" / "second.bin", 1_500_000, 2)
        fill(tree / "ünïcödé – 名前" / "третий.bin", 700_000, 3)
        for number in range(40):
            fill(tree / "small" / f"{number:02}.txt", number * 97 + 1, number)
        (tree / "empty").write_bytes(b"")
        (tree / "nested" / "empty too").write_bytes(b"")
        self.torrent = Torrent(content, "many files", 64 << 10)
        self.tracker = Tracker(fixed)
        self.file = self.torrent.write(self.top / "many.torrent", self.tracker.url)
        self.outs = itertools.count()
        self.uses_own_tracker = True

    def use_tracker(self, url):
        """Names another tracker in the .torrent."""
        self.file = self.torrent.write(self.file, url)
        self.uses_own_tracker = False

    def out(self) -> pathlib.Path:
        folder = self.top / f"out{next(self.outs)}"
        folder.mkdir()
        return folder

    def check(self, out, client):
        difference = self.torrent.compare(out, client.makes_empty_files)
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


def trade(stage, seeder, leecher, seeding=None, leeching=None):
    """One fetches everything from the other, the only source."""
    out = stage.out()
    with seeder.seed(stage.torrent, stage.file, fresh_ip(), free_port(), **(seeding or {})) as source:
        source.wait_ready()
        stage.announced(source)
        leeching = leeching or {}
        with leecher.leech(stage.torrent, stage.file, out, fresh_ip(), free_port(), **leeching) as sink:
            sink.wait_done(PATIENCE_S)
            stage.check(out, sink.client)


def get_from(other):
    """rill fetches from the other client alone, found through a tracker."""
    with Stage() as stage:
        trade(stage, other(), Rill())


def seed_to(other):
    """The other client fetches from `rill seed` alone."""
    with Stage() as stage:
        trade(stage, Rill(), other())


def magnet(stage) -> str:
    return f"magnet:?xt=urn:btih:{stage.torrent.info_hash}&tr={stage.tracker.url}"


def magnet_from(other):
    """rill gets the metadata, too, from the other client."""
    with Stage() as stage:
        out = stage.out()
        with other().seed(stage.torrent, stage.file, fresh_ip(), free_port()) as source:
            source.wait_ready()
            stage.announced(source)
            with Rill().leech(stage.torrent, magnet(stage), out, fresh_ip(), free_port()) as sink:
                sink.wait_done(PATIENCE_S)
                stage.check(out, sink.client)


def magnet_to(other):
    """The other client gets the metadata, too, from `rill seed`."""
    with Stage() as stage:
        trade(stage, Rill(), other(), leeching={"magnet": magnet(stage)})


def encrypted_get(other, seeding):
    """rill fetches from a client that accepts nothing but encrypted connections."""
    with Stage() as stage:
        trade(stage, other(), Rill(), seeding=seeding)


def encrypted_seed(other, leeching):
    """`rill seed` serves a client that accepts nothing but encrypted connections."""
    with Stage() as stage:
        trade(stage, Rill(), other(), leeching=leeching)


def encrypted_only(other):
    """rill told to require encryption, against a client that accepts both."""
    with Stage() as stage:
        trade(stage, other(), Rill(), leeching={"more": ["--encryption", "require"]})


def pex_from_libtorrent():
    """rill knows one libtorrent leecher, and learns of the seeder through it."""
    with Stage() as stage:
        port = free_port()
        seeder_ip, middle_ip, out = fresh_ip(), fresh_ip(), stage.out()
        quiet = stage.torrent.write(stage.top / "quiet.torrent")
        with Libtorrent().seed(stage.torrent, quiet, seeder_ip, port, pex=True, rate=200_000) as seeder:
            seeder.wait_ready()
            with Libtorrent().leech(
                stage.torrent, quiet, stage.out(), middle_ip, port, pex=True, connect=f"{seeder_ip}:{port}"
            ):
                with Rill().leech(
                    stage.torrent, quiet, out, fresh_ip(), free_port(), more=["--peer", f"{middle_ip}:{port}"]
                ) as sink:
                    said = lambda: "pex" in sink.process.output() and seeder_ip in sink.process.output()
                    wait_for("rill should hear of the seeder through PEX", said, 90)
                    sink.wait_done(PATIENCE_S)
                    stage.check(out, sink.client)


def opentracker(kind):
    """A rill seeds and a rill fetches; they find each other through opentracker."""
    with Stage() as stage:
        port = free_port()
        allowed = stage.top / "whitelist"
        allowed.write_text(stage.torrent.info_hash + "\n")
        config = stage.top / "opentracker.conf"
        # Started by root, it makes this folder its root before it reads the list.
        seen_as = f"/{allowed.name}" if os.geteuid() == 0 else allowed
        config.write_text(f"listen.tcp_udp 127.0.0.1:{port}\naccess.whitelist {seen_as}\n")
        config.chmod(0o644)
        allowed.chmod(0o644)
        stage.top.chmod(0o755)
        tracker = Process(["opentracker", "-f", config, "-d", stage.top], stage.top)
        try:
            url = f"{kind}://127.0.0.1:{port}/announce"
            stage.use_tracker(url)
            wait_for("opentracker should listen", lambda: listens(port), 20)
            trade(stage, Rill(), Rill())
        finally:
            tracker.stop()


def rill_tracker(kind):
    """libtorrent seeds and aria2c or libtorrent fetches; they find each other through `rill tracker`."""
    with Stage() as stage:
        port = free_port()
        tracker = Process([Rill.program, "tracker", "-p", port, "--bind", "127.0.0.1"], stage.top)
        try:
            wait_for("rill tracker should listen", lambda: listens(port), 20)
            stage.use_tracker(f"{kind}://127.0.0.1:{port}/announce")
            trade(stage, Libtorrent(), Aria2() if kind == "http" else Libtorrent())
        finally:
            tracker.stop()


def rill_tracker_swarm(kind):
    """rill seeds, the others fetch, all in one swarm through `rill tracker`; its scrape agrees with them."""
    with Stage() as stage:
        port = free_port()
        # Transmission dials nobody on loopback: the seed has to hear of it, and soon.
        command = [Rill.program, "tracker", "-p", port, "--bind", "127.0.0.1", "--interval", "10s"]
        tracker = Process(command, stage.top)
        try:
            wait_for("rill tracker should listen", lambda: listens(port), 20)
            stage.use_tracker(f"{kind}://127.0.0.1:{port}/announce")
            with contextlib.ExitStack() as stack:
                seed = Rill().seed(stage.torrent, stage.file, fresh_ip(), free_port())
                stack.enter_context(seed).wait_ready()
                wait_for("the seed should be known", lambda: scraped(stage, port)["seeds"] == 1, 60)
                # Transmission stays; aria2c asks trackers over UDP only together with the DHT.
                for other in [Transmission, Libtorrent, Rill, *([Aria2] if kind == "http" else [])]:
                    out = stage.out()
                    sink = stack.enter_context(other().leech(stage.torrent, stage.file, out, fresh_ip(), free_port()))
                    sink.wait_done(PATIENCE_S)
                    stage.check(out, sink.client)
                    wait_for(f"{sink.client.name} should count as a seed, or be gone", lambda: agrees(stage, port), 60)
            if tracker.code is not None:
                raise AssertionError(f"rill tracker ended: {tracker.output()}")
        finally:
            tracker.stop()


def agrees(stage, port) -> bool:
    """Whether the tracker counts nobody as a leech any more, and the two that stay as seeds."""
    swarm = scraped(stage, port)
    return swarm["leeches"] == 0 and swarm["seeds"] >= 2 and swarm["downloads"] >= 1


def scraped(stage, port) -> dict:
    """What `rill tracker` says of the stage's swarm."""
    name = urllib.parse.quote_from_bytes(bytes.fromhex(stage.torrent.info_hash))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/scrape?info_hash={name}", timeout=10) as answer:
        body = answer.read()
    number = lambda key: int((re.search(rb"%d:%si(\d+)e" % (len(key), key), body) or [0, 0])[1])
    return {"seeds": number(b"complete"), "leeches": number(b"incomplete"), "downloads": number(b"downloaded")}


def created_alike(other):
    """`rill create` gives the info-hash that the other program gives for the same content and piece length."""
    with Stage() as stage:
        content, theirs, ours = stage.torrent.folder / "many files", stage.top / "theirs", stage.top / "ours"
        commands = {
            "mktorrent": ["mktorrent", "-l", "16", "-a", "http://127.0.0.1/announce", "-o", theirs, content],
            "transmission-create": ["transmission-create", "-s", "64", "-o", theirs, content],
        }
        subprocess.run(commands[other], check=True, capture_output=True, timeout=60)
        command = [Rill.program, "create", content, "--piece-length", "64K", "-o", ours]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        shown = [
            subprocess.run([Rill.program, "show", "--json", file], check=True, capture_output=True, timeout=60)
            for file in (theirs, ours)
        ]
        hashes = [one.stdout.partition(b'"info_hash":')[2].strip()[1:41] for one in shown]
        if hashes[0] != hashes[1] or len(hashes[0]) != 40:
            raise AssertionError(f"{other} has {hashes[0]}, rill has {hashes[1]}")


def scenarios():
    """Every scenario: its name, the clients it needs, what runs it."""
    for other in OTHERS:
        yield f"get from {other.name}", [other], lambda other=other: get_from(other)
    for other in OTHERS:
        yield f"seed to {other.name}", [other], lambda other=other: seed_to(other)
    for other in (Libtorrent, Transmission, Rtorrent, Aria2, Qbittorrent):
        yield f"magnet from {other.name}", [other], lambda other=other: magnet_from(other)
    yield "magnet to libtorrent", [Libtorrent], lambda: magnet_to(Libtorrent)
    forced = [(Libtorrent, {"encryption": "on"}), (Transmission, {"encryption": 2})]
    for other, seeding in forced:
        yield f"get encrypted from {other.name}", [other], lambda o=other, s=seeding: encrypted_get(o, s)
    forced += [(Aria2, {"encryption": True}), (Rtorrent, {"encryption": True}), (Qbittorrent, {"encryption": True})]
    for other, leeching in forced:
        yield f"seed encrypted to {other.name}", [other], lambda o=other, l=leeching: encrypted_seed(o, l)
    for other in (Libtorrent, Transmission, Rtorrent, Aria2, Qbittorrent):
        yield f"require encryption from {other.name}", [other], lambda other=other: encrypted_only(other)
    yield "pex from libtorrent", [Libtorrent], pex_from_libtorrent
    for kind in ("http", "udp"):
        yield f"opentracker over {kind}", ["opentracker"], lambda kind=kind: opentracker(kind)
        yield f"rill tracker over {kind}", [Libtorrent, Aria2], lambda kind=kind: rill_tracker(kind)
    for kind in ("http", "udp"):
        needs = [Libtorrent, Aria2, Transmission]
        yield f"one swarm through rill tracker over {kind}", needs, lambda kind=kind: rill_tracker_swarm(kind)
    for program in ("mktorrent", "transmission-create"):
        yield f"created as by {program}", [program], lambda program=program: created_alike(program)


PACKAGES = {"opentracker": "opentracker", "mktorrent": "mktorrent", "transmission-create": "transmission-cli"}


def missing(needs):
    """The Debian packages that a scenario lacks."""
    for need in needs:
        if isinstance(need, str):
            if shutil.which(need) is None:
                yield PACKAGES[need]
        elif not need.available():
            yield need.package


def main() -> int:
    words = sys.argv[1:]
    lacking, failed, passed = set(), [], 0
    for name, needs, run in scenarios():
        if words and not any(word in name for word in words):
            continue
        packages = set(missing(needs))
        if packages:
            lacking |= packages
            print(f"  lacks    {name}: {', '.join(sorted(packages))}", flush=True)
            continue
        start = time.monotonic()
        try:
            run()
        except Exception: # whatever it is, the next scenario is a different one
            failed.append(name)
            print(f"  FAILED   {name} ({time.monotonic() - start:.1f} s)", flush=True)
            print("           " + traceback.format_exc(limit=-3).replace("\n", "\n           "), flush=True)
        else:
            passed += 1
            print(f"  works    {name} ({time.monotonic() - start:.1f} s)", flush=True)
    print(f"interop: {passed} work, {len(failed)} failed, {len(lacking)} packages are missing")
    if lacking:
        print(f"install what is missing: apt-get install {' '.join(sorted(lacking))}")
    return 1 if failed or lacking or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
