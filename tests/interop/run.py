#!/usr/bin/python3
"""Trades with other clients over loopback: who can fetch from whom, and how.

    run.py [WORD...]     only the scenarios whose name holds one of the words
"""

import pathlib
import shutil
import subprocess
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from clients.aria2 import Aria2
from clients.libtorrent_client import Libtorrent
from clients.qbittorrent import Qbittorrent
from clients.rill import Rill
from clients.rtorrent import Rtorrent
from clients.transmission import Transmission
from interop import finding, tracking
from interop.stage import Cannot, Stage, trade

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


def created_alike(other):
    """`rill create` gives the info-hash that the other program gives for the same content and piece length."""
    with Stage() as stage:
        content, theirs, ours = stage.torrent.folder / "many files", stage.top / "theirs", stage.top / "ours"
        commands = {
            "mktorrent": ["mktorrent", "-l", "16", "-a", "http://127.0.0.1/announce", "-o", theirs, content],
            # It writes `private` into every torrent, be it 0, which no other does: so both make a private one.
            "transmission-create": ["transmission-create", "-p", "-t", "http://127.0.0.1/announce", "-s", "64", "-o", theirs,
                                    content],
        }
        if other == "transmission-create": # It leaves out empty files, and puts letters beyond ASCII first.
            for empty in (content / "empty", content / "nested" / "empty too"):
                empty.unlink()
            shutil.rmtree(content / "ünïcödé – 名前")
        private = ["--private", "--tracker", "http://127.0.0.1/announce"] if "-p" in commands[other] else []
        subprocess.run(commands[other], check=True, capture_output=True, timeout=60)
        command = [Rill.program, "create", content, "--piece-length", "64K", "-o", ours, *private]
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
    yield from tracking.scenarios()
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
