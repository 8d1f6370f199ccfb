#!/usr/bin/python3
"""Trades with other clients over loopback: who can fetch from whom, and how.

    run.py [WORD...]     only the scenarios whose name holds one of the words
"""

import contextlib
import pathlib
import re
import shutil
import subprocess
import sys
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
from clients.transmission import Transmission
from interop import finding
from interop.stage import PATIENCE_S, Cannot, Stage, fresh_ip, trade

OTHERS = [Libtorrent, Aria2, Transmission, Rtorrent, Qbittorrent]


def get_from(other):
    """rill fetches from the other client alone, found through a tracker."""
    with Stage() as stage:
        trade(stage, other(), Rill())


def seed_to(other):
    """The other client fetches from `rill seed` alone."""
    with Stage() as stage:
        trade(stage, Rill(), other())


def magnet_from(other):
    """rill gets the metadata, too, from the other client."""
    with Stage() as stage:
        trade(stage, other(), Rill(), link=stage.link())


def magnet_to(other):
    """The other client gets the metadata, too, from `rill seed`."""
    with Stage() as stage:
        trade(stage, Rill(), other(), link=stage.link())


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
    yield from finding.scenarios()
    for kind in ("http", "udp"):
        yield f"rill tracker over {kind}", [Libtorrent, Aria2], lambda kind=kind: rill_tracker(kind)
    for kind in ("http", "udp"):
        needs = [Libtorrent, Aria2, Transmission]
        yield f"one swarm through rill tracker over {kind}", needs, lambda kind=kind: rill_tracker_swarm(kind)
    for program in ("mktorrent", "transmission-create"):
        yield f"created as by {program}", [program], lambda program=program: created_alike(program)


PACKAGES = {"ip": "iproute2", "opentracker": "opentracker", "mktorrent": "mktorrent", "transmission-create": "transmission-cli"}


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
    lacking, failed, passed, cannot = set(), [], 0, 0
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
            note = run()
        except Cannot as why:
            cannot += 1
            print(f"  can't    {name}: {why}", flush=True)
        except Exception: # whatever it is, the next scenario is a different one
            failed.append(name)
            print(f"  FAILED   {name} ({time.monotonic() - start:.1f} s)", flush=True)
            print("           " + traceback.format_exc(limit=-3).replace("\n", "\n           "), flush=True)
        else:
            passed += 1
            note = f": {note}" if note else ""
            print(f"  works    {name} ({time.monotonic() - start:.1f} s){note}", flush=True)
    print(f"interop: {passed} work, {len(failed)} failed, {cannot} can't be, {len(lacking)} packages are missing")
    if lacking:
        print(f"install what is missing: apt-get install {' '.join(sorted(lacking))}")
    return 1 if failed or lacking or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
