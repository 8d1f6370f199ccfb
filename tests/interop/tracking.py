"""Everyone in one swarm through `rill tracker`: over HTTP and UDP, IPv4 and IPv6; what it counts is what there is."""

import contextlib
import os
import re
import socket
import struct
import urllib.parse
import urllib.request

from clients.aria2 import Aria2
from clients.base import Process, free_port, listens, wait_for
from clients.libtorrent_client import Libtorrent
from clients.rill import Rill
from clients.transmission import Transmission

from interop.stage import PATIENCE_S, Cannot, Stage, fresh_ip, trade

LOOPBACK = {"IPv4": "127.0.0.1", "IPv6": "::1"}

# What a client has no way to do, by protocol and family; seen, and found in its source.
UNABLE = {
    ("udp", "IPv6", Transmission): "opens no IPv6 socket for UDP without a global address",
    ("udp", "IPv6", Aria2): "asks trackers over UDP from its IPv4 socket alone",
}


@contextlib.contextmanager
def tracker_for(stage, kind, family):
    """`rill tracker` at work, named in the stage's .torrent; gives where it is."""
    port, ip = free_port(), LOOPBACK[family]
    command = [Rill.program, "tracker", "-p", port, "--bind", ip, "--interval", "10s"]
    tracker = Process(command, stage.top)
    try:
        wait_for("rill tracker should listen", lambda: listens(port), 20)
        host = f"[{ip}]" if family == "IPv6" else ip
        stage.use_tracker(f"{kind}://{host}:{port}/announce")
        yield ip, port
        if tracker.code is not None:
            raise AssertionError(f"rill tracker ended: {tracker.output()}")
    finally:
        tracker.stop()


def pair(kind):
    """libtorrent seeds and aria2c or libtorrent fetches; they find each other through `rill tracker`."""
    with Stage() as stage, tracker_for(stage, kind, "IPv4"):
        trade(stage, Libtorrent(), Aria2() if kind == "http" else Libtorrent())


def swarm(kind, family):
    """rill seeds, the others fetch, one after the other; both protocols' scrapes agree with what there is."""
    if family == "IPv6" and not has_ipv6():
        raise Cannot("this machine has no IPv6")
    place = fresh_ip if family == "IPv4" else lambda: LOOPBACK["IPv6"]
    came, unable = [], []
    with Stage() as stage, tracker_for(stage, kind, family) as tracker, contextlib.ExitStack() as stack:
        counted = lambda what: scrape_http(stage, tracker)[what]
        seed = None
        for other in (Transmission, Libtorrent, Rill, Aria2):
            if why := UNABLE.get((kind, family, other)):
                unable.append(f"{other.name} {why}")
                continue
            out = stage.out()
            # aria2c asks trackers over UDP only together with the DHT.
            options = {"dht": True} if other is Aria2 and kind == "udp" else {}
            sink = other().leech(stage.torrent, stage.file, out, place(), free_port(), **options)
            stack.enter_context(sink)
            if not seed:
                # Transmission dials nobody on loopback: the seed has to hear of it when it comes.
                wait_for(f"{other.name} should be known", lambda: counted("leeches") == 1, 60)
                seed = Rill().seed(stage.torrent, stage.file, place(), free_port())
                stack.enter_context(seed).wait_ready()
                wait_for("the seed should be known", lambda: counted("seeds") >= 1, 60)
            sink.wait_done(PATIENCE_S)
            stage.check(out, other)
            came.append(other.name)
            # aria2c says that it leaves, and not that it has completed.
            downloads = len(came) - (other is Aria2)
            wait_for(f"{other.name} should count as a seed, or be gone", lambda: agrees(stage, tracker, downloads), 60)
    return "; ".join([f"{', '.join(came)} from rill"] + unable)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind((LOOPBACK["IPv6"], 0))
        return True
    except OSError:
        return False


def agrees(stage, tracker, downloads) -> bool:
    """Whether the tracker counts every download, nobody as a leech any more, and those that stay as seeds, the first
    and Transmission or libtorrent at least; over HTTP and UDP alike."""
    counted = scrape_http(stage, tracker)
    if counted["leeches"] != 0 or counted["seeds"] < 2 or counted["downloads"] != downloads:
        return False
    over_udp = scrape_udp(stage, tracker)
    # Someone may have gone in between.
    if over_udp != counted and over_udp != scrape_http(stage, tracker):
        raise AssertionError(f"HTTP says {counted}, UDP says {over_udp}")
    return True


def scrape_http(stage, tracker) -> dict:
    """What `rill tracker` says of the stage's swarm."""
    name = urllib.parse.quote(bytes.fromhex(stage.torrent.info_hash), safe="")
    host = f"[{tracker[0]}]" if ":" in tracker[0] else tracker[0]
    with urllib.request.urlopen(f"http://{host}:{tracker[1]}/scrape?info_hash={name}", timeout=10) as answer:
        body = answer.read()
    number = lambda key: int((re.search(rb"%d:%si(\d+)e" % (len(key), key), body) or [0, 0])[1])
    return {"seeds": number(b"complete"), "downloads": number(b"downloaded"), "leeches": number(b"incomplete")}


def scrape_udp(stage, tracker) -> dict:
    """The same over UDP (BEP 15)."""
    family = socket.AF_INET6 if ":" in tracker[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.settimeout(10)
        udp.connect(tracker)

        def ask(connection, action, body=b""):
            transaction = os.urandom(4)
            udp.send(struct.pack(">QI", connection, action) + transaction + body)
            answer = udp.recv(2048)
            if answer[:8] != struct.pack(">I", action) + transaction:
                raise AssertionError(f"an answer to something else: {answer}")
            return answer[8:]

        (connection,) = struct.unpack(">Q", ask(0x41727101980, 0))
        counts = struct.unpack(">III", ask(connection, 2, bytes.fromhex(stage.torrent.info_hash)))
    return dict(zip(("seeds", "downloads", "leeches"), counts))


def scenarios():
    for kind in ("http", "udp"):
        yield f"rill tracker over {kind}", [Libtorrent, Aria2], lambda kind=kind: pair(kind)
    needs = [Libtorrent, Aria2, Transmission]
    for family in ("IPv4", "IPv6"):
        for kind in ("http", "udp"):
            name = f"one swarm through rill tracker over {kind}, {family}"
            yield name, needs, lambda kind=kind, family=family: swarm(kind, family)
