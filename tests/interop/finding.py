"""How peers are found: by links and trackers, by each other, by the DHT, and on the local network."""

import contextlib
import os
import subprocess

from clients.aria2 import Aria2
from clients.base import Process, free_port, listens, wait_for
from clients.libtorrent_client import Libtorrent, LibtorrentNodes
from clients.rill import Rill
from clients.transmission import Transmission

from interop.stage import PATIENCE_S, Cannot, Stage, fresh_ip, trade

# More than four pieces of metadata (BEP 9): its pieces come from several requests, in some order.
LARGE_METADATA_BYTES = 64 << 10

# How soon the DHT has to name a peer.
DHT_PATIENCE_S = 5


def large_metadata(seeder, leecher, way):
    """The leecher gets metadata of more than 64 KiB from the seeder, whom the link names (`x.pe`) or its tracker."""
    ends = here, there = [(fresh_ip(), free_port()) for _ in range(2)]
    # Who dials nobody on loopback is found by the other side, through the same tracker.
    fixed = [there] if way == "tracker" and not leecher.dials_loopback else []
    with Stage(fixed, wide=True) as stage:
        if stage.torrent.info_bytes <= LARGE_METADATA_BYTES:
            raise AssertionError(f"the metadata has only {stage.torrent.info_bytes} bytes")
        if way == "x.pe":
            stage.use_tracker(None)
            link = stage.link(peer=f"{here[0]}:{here[1]}")
        else:
            link = stage.link()
        took = trade(stage, seeder, leecher, link=link, ends=ends)
        return f"{stage.torrent.info_bytes // 1024} KiB of metadata and {len(stage.torrent.files)} files in {took:.1f} s"


def not_by_link(leecher):
    raise Cannot(f"{leecher.name} doesn't read x.pe")


def pex_from(middle):
    """rill knows one leecher of this kind, and learns of the seeder through it."""
    with Stage() as stage:
        port = free_port()
        seeder_ip, middle_ip, out = fresh_ip(), fresh_ip(), stage.out()
        quiet = stage.torrent.write(stage.top / "quiet.torrent")
        # Slow enough that the middle one still leeches when the third is told.
        seeding = {"more": ["--up", "200K"]} if middle is Rill else {"pex": True, "rate": 200_000}
        there = f"{seeder_ip}:{port}"
        leeching = {"more": ["--peer", there]} if middle is Rill else {"pex": True, "connect": there}
        with contextlib.ExitStack() as stack:
            enter = stack.enter_context
            seed = enter(middle().seed(stage.torrent, quiet, seeder_ip, port, **seeding)).wait_ready()
            enter(middle().leech(stage.torrent, quiet, stage.out(), middle_ip, port, **leeching)).wait_listening()
            more = ["--peer", f"{middle_ip}:{port}"]
            sink = enter(Rill().leech(stage.torrent, quiet, out, fresh_ip(), free_port(), more=more))
            # Two rills hear of each other at once: either may be the first to dial.
            said = lambda: peer_from(sink, "pex", there) or (middle is Rill and peer_from(seed, "pex"))
            took = wait_for("rill should hear of the seeder through PEX", said, 90)["time"] - sink.started
            sink.wait_done(PATIENCE_S)
            stage.check(out, sink.client)
            return f"after {took:.1f} s"


def peer_from(run, source, address=None):
    """The event of rill's first connection to a peer that it knows from there."""
    for event in run.events("peer"):
        if event.get("source") == source and address in (None, event["address"]):
            return event
    return None


@contextlib.contextmanager
def opentracker_for(stage):
    """opentracker at work; gives its port."""
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
        wait_for("opentracker should listen", lambda: listens(port), 20)
        yield port
    finally:
        tracker.stop()


def opentracker(kind):
    """A rill seeds and a rill fetches, who find each other through opentracker; and it is scraped."""
    with Stage() as stage, opentracker_for(stage) as port:
        stage.use_tracker(f"{kind}://127.0.0.1:{port}/announce")
        out = stage.out()
        with Rill().seed(stage.torrent, stage.file, fresh_ip(), free_port()) as source:
            source.wait_ready()
            wait_for("the seed should have announced", lambda: source.events("tracker"), 20)
            with Rill().leech(stage.torrent, stage.file, out, fresh_ip(), free_port()) as sink:
                sink.wait_done(PATIENCE_S)
                stage.check(out, sink.client)
                if not peer_from(sink, "tracker"):
                    raise AssertionError("the seed came from elsewhere than the tracker")
            scraped = rill("peers", "--scrape", stage.file)
        if "Seeds: 1\n" not in scraped:
            raise AssertionError(f"one seed is there, and the scrape says {scraped!r}")
        return "scraped: " + ", ".join(scraped.splitlines()[-3:])


def rill(*words, inside=()) -> str:
    """What a rill that runs to its end says on standard output."""
    command = [*inside, Rill.program, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@contextlib.contextmanager
def libtorrent_dht(stage):
    """The only network: three libtorrent nodes; and a .torrent without a tracker."""
    stage.use_tracker(None)
    with LibtorrentNodes(stage.top, [fresh_ip() for _ in range(3)], free_port()) as nodes:
        nodes.wait_ready()
        yield nodes


@contextlib.contextmanager
def traded_by_dht(seeder, leecher):
    """The leecher has everything from the seeder, whom it found by the DHT alone; gives both runs."""
    with Stage() as stage, libtorrent_dht(stage) as nodes:
        out = stage.out()
        with seeder.seed(stage.torrent, stage.file, fresh_ip(), free_port(), dht=nodes.entrance) as source:
            source.wait_ready()
            wait_for("the seeder should announce", lambda: nodes.heard_of(stage.torrent.info_hash), 60)
            with leecher.leech(stage.torrent, stage.file, out, fresh_ip(), free_port(), dht=nodes.entrance) as sink:
                sink.wait_done(PATIENCE_S)
                stage.check(out, sink.client)
                yield source, sink


def dht_from_libtorrent():
    """rill finds a libtorrent seeder by the DHT alone, in under five seconds."""
    with traded_by_dht(Libtorrent(), Rill()) as (_, sink):
        met = peer_from(sink, "dht")
        if met is None:
            raise AssertionError("the seeder came from elsewhere than the DHT")
        return in_time(met["time"] - sink.started)


def dht_to_libtorrent():
    """A libtorrent leecher finds `rill seed` by the DHT alone."""
    with traded_by_dht(Rill(), Libtorrent()) as (source, sink):
        met = wait_for("rill should have met the leecher", lambda: peer_from(source, "incoming"), 5)
        return f"met {met['time'] - sink.started:.2f} s after the leecher began"


def in_time(took) -> str:
    if took > DHT_PATIENCE_S:
        raise AssertionError(f"it took {took:.1f} s to meet the seeder")
    return f"met after {took:.2f} s"


@contextlib.contextmanager
def two_machines():
    """Two network namespaces joined by a cable; gives the words that run a program in each."""
    tag = f"rill{os.getpid() % 100_000}"
    names = [f"{tag}a", f"{tag}b"]

    def ip(*words):
        done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=20)
        if done.returncode:
            raise Cannot(f"network namespaces need root: ip {' '.join(words)}: {done.stderr.strip()}")

    try:
        for name in names:
            ip("netns", "add", name)
            # IPv6 from the first moment, without a search for others with the same address.
            ip("netns", "exec", name, "sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad")
        ip("link", "add", names[0], "netns", names[0], "type", "veth", "peer", "name", names[1], "netns", names[1])
        for number, name in enumerate(names, 1):
            ip("-n", name, "address", "add", f"10.91.0.{number}/24", "dev", name)
            ip("-n", name, "link", "set", name, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield [["ip", "netns", "exec", name] for name in names]
    finally:
        for name in names:
            # The cable goes with its ends; what was never there can't be taken away.
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, timeout=20)


def lsd_alone():
    """Two machines, no tracker, no DHT: one downloads from the other, whom it found on the local network."""
    with Stage() as stage, two_machines() as (here, there):
        stage.use_tracker(None)
        out = stage.out()
        for folder in ("seed", "get"):
            (stage.top / folder).mkdir()
        common = ["--no-dht", "--no-pex", "--json"]
        command = [*here, Rill.program, "seed", stage.file, "-d", stage.torrent.folder, *common]
        seed = Process(command, stage.top / "seed")
        try:
            wait_for("the seed should have checked", lambda: '"event":"complete"' in seed.output(), 30)
            get = Process([*there, Rill.program, "get", stage.file, "-d", out, *common], stage.top / "get")
            try:
                if get.wait(60) != 0:
                    raise AssertionError(get.output()[-3000:])
            finally:
                get.stop()
            stage.check(out, Rill())
            if '"source":"lsd"' not in get.output() + seed.output():
                raise AssertionError("they met in another way:\n" + get.output()[-3000:])
            for side in (get, seed):
                if side.output().count('"state":"connected"') != 1:
                    raise AssertionError("each is heard over IPv4 and IPv6, and met once:\n" + side.output()[-3000:])
            listed = rill("peers", "--no-dht", stage.file, inside=there)
            # Once or twice: over IPv4 and IPv6.
            if "Peer 0 is ip: " not in listed:
                raise AssertionError(f"the seed is there, and rill peers says {listed!r}")
            return f"whole after {get.ended - get.started:.2f} s"
        finally:
            seed.stop()


def scenarios():
    """Every scenario: its name, the clients it needs, what runs it."""
    for other in (Libtorrent, Transmission, Aria2, Rill):
        for way in ("x.pe", "tracker"):
            play = lambda other=other, way=way: large_metadata(other(), Rill(), way)
            yield f"large metadata from {other.name} by {way} alone", [other], play
    for other in (Libtorrent, Transmission, Aria2):
        for way in ("x.pe", "tracker"):
            play = lambda other=other, way=way: large_metadata(Rill(), other(), way)
            if way == "x.pe" and other is not Libtorrent:
                play = lambda other=other: not_by_link(other)
            yield f"large metadata to {other.name} by {way} alone", [other], play
    for other in (Libtorrent, Rill):
        yield f"pex from {other.name}", [Libtorrent], lambda other=other: pex_from(other)
    for kind in ("http", "udp"):
        yield f"opentracker over {kind}", ["opentracker"], lambda kind=kind: opentracker(kind)
    yield "dht from libtorrent", [Libtorrent], dht_from_libtorrent
    yield "dht to libtorrent", [Libtorrent], dht_to_libtorrent
    yield "local network alone", ["ip"], lsd_alone
