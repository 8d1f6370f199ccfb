"""The modes of `make bench`: each gives one or more tables."""

import contextlib
import os
import shutil
import sys
import time

from clients.aria2 import Aria2
from clients.base import Process, free_port, wait_for
from clients.libtorrent_client import Libtorrent, LibtorrentTuned
from clients.rill import Rill
from clients.rtorrent import Rtorrent
from clients.tracker import Tracker
from clients.transmission import Transmission

from .measure import (
    FOLDER, OWN_IP, Result, RillSmall, RillSmol, Table, build_delay, compete, dialler, download, fresh_out, seeding,
    timed,
)
from .scale import peers, pieces, sizes
from .tracking import tracker

FIELD = (Rill, LibtorrentTuned, Libtorrent, Aria2, Rtorrent, Transmission)


def fast(bench):
    """One fast seeder, 1 GiB; rill with sha1_smol alone beside it."""
    torrent = bench.payload("one.bin", bench.scaled(1024))
    table = Table(f"one fast seeder, {torrent.size >> 20} MiB")
    with seeding(torrent) as seeders:
        once = lambda client: download(client, torrent, seeders, dialler(torrent))
        yield compete(bench, table, bench.contenders(Rill, RillSmol, RillSmall, *FIELD[1:]), once)


def eight(bench):
    """Eight seeders, 512 MiB."""
    torrent = bench.payload("half.bin", bench.scaled(512))
    table = Table(f"eight seeders, {torrent.size >> 20} MiB")
    with seeding(torrent, count=8) as seeders:
        once = lambda client: download(client, torrent, seeders, dialler(torrent))
        yield compete(bench, table, bench.contenders(*FIELD[:-1]), once)


def delay(bench):
    """One seeder behind 20 ms, 512 MiB; between 5 % and 95 % the start and the end don't count."""
    torrent = bench.payload("half.bin", bench.scaled(512))
    table = Table(f"one seeder, 20 ms round trip, {torrent.size >> 20} MiB")
    program = build_delay()
    with seeding(torrent) as [(ip, port)]:
        line_port = free_port("127.0.4.1")
        scratch = FOLDER / "line"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        line = Process([program, f"127.0.4.1:{line_port}", f"{ip}:{port}", 10, torrent.size], scratch)
        try:
            wait_for("the line", lambda: "ready" in line.output(), 10)

            def once(client):
                before = len(line.output())
                result = download(client, torrent, [("127.0.4.1", line_port)])
                marks = dict(words.split() for words in line.output()[before:].split("\n") if " " in words)
                seconds = float(marks["95"]) - float(marks["5"])
                result["line_mib_per_s"] = torrent.size * 0.9 / 2**20 / seconds
                return result

            yield compete(bench, table, bench.contenders(*FIELD[:-1]), once)
        finally:
            line.stop()


def mixed(bench):
    """One fast seeder and eight at 256 KiB/s, 256 MiB; and the fast one alone."""
    torrent = bench.payload("quarter.bin", bench.scaled(256))
    contenders = bench.contenders(*FIELD[:-1])
    alone = Table(f"one fast seeder, {torrent.size >> 20} MiB")
    both = Table(f"one fast seeder and eight at 256 KiB/s, {torrent.size >> 20} MiB")
    with seeding(torrent) as quick, seeding(torrent, count=8, ip="127.0.5.1", rate=256 << 10) as slow:
        yield compete(bench, alone, contenders, lambda client: download(client, torrent, quick))
        yield compete(bench, both, contenders, lambda client: download(client, torrent, [*slow, *quick]))


def halves(bench):
    """24 peers with a random half of the pieces each, 256 MiB."""
    torrent = bench.payload("quarter.bin", bench.scaled(256), 256 << 10)
    table = Table(f"24 peers with half the pieces each, {torrent.size >> 20} MiB")
    with seeding(torrent, count=24, half=True) as seeders:
        once = lambda client: download(client, torrent, seeders)
        yield compete(bench, table, bench.contenders(*FIELD[:-1]), once)


def small(bench):
    """2,000 small files, 256 MiB."""
    torrent = bench.tree("small", 2000, bench.scaled(256), 256 << 10)
    table = Table(f"2,000 files, {torrent.size >> 20} MiB")
    with seeding(torrent) as seeders:
        once = lambda client: download(client, torrent, seeders, dialler(torrent))
        yield compete(bench, table, bench.contenders(*FIELD[:-1]), once)


def start(bench):
    """A torrent of 1 MiB: the whole process, its exit included; `exit s` is from completion to the exit."""
    torrent = bench.payload("tiny.bin", 1 << 20, 64 << 10)
    table = Table("start-up: a torrent of 1 MiB")

    def once(client):
        if not isinstance(client, Rill):
            return download(client, torrent, seeders)
        out = fresh_out()
        with Tracker(seeders) as tracker:
            file = torrent.write(FOLDER / "current.torrent", tracker.url)
            command = [client.program, "get", file, "-d", out, "-p", 0, "--no-dht", "--no-lsd", "--json"]
            result = timed(command, sample=False)
        last = result["output"].strip().splitlines()[-1].replace(" ", "")
        completed = float(last.split('"time":')[1].split(",")[0].rstrip("}"))
        result["exit_s"] = result["ended"] - completed
        if difference := torrent.compare(out):
            raise AssertionError(difference)
        return result

    with seeding(torrent) as seeders:
        yield compete(bench, table, bench.contenders(*FIELD[:-1]), once)


def check(bench):
    """Checking 1 GiB that lies in the page cache."""
    torrent = bench.payload("one.bin", bench.scaled(1024))
    table = Table(f"check of {torrent.size >> 20} MiB in the page cache")
    file = torrent.write(FOLDER / "check.torrent")
    with open(torrent.folder / torrent.name, "rb") as content:
        while content.read(1 << 20):
            pass

    def once(client):
        if isinstance(client, Rill):
            command = [client.program, "check", file, "-d", torrent.folder]
            return timed(command, env={"PATH": os.environ["PATH"], **client.env})
        if isinstance(client, Aria2):
            return timed(
                ["aria2c", "--no-conf=true", "--hash-check-only=true", "--check-integrity=true", "--enable-dht=false",
                 "--bt-enable-lpd=false", "--seed-time=0", "--summary-interval=0", f"--dir={torrent.folder}", file],
            )
        if isinstance(client, Libtorrent):
            port = free_port(OWN_IP)
            with client.leech(torrent, file, torrent.folder, OWN_IP, port, sample=True, no_tracker=True) as run:
                done = run.wait_done(120)
                peak = run.process.anonymous_peak / 2**20
                return Result(done_s=done, cpu_s=run.cpu_done_s, anonymous_mib=peak)
        port = free_port(OWN_IP)
        with client.seed(torrent, file, OWN_IP, port) as run:
            run.wait_ready()
            return Result(done_s=time.time() - run.started, cpu_s=run.process.cpu_now())

    contenders = bench.contenders(Rill, RillSmol, LibtorrentTuned, Libtorrent, Aria2, Transmission)
    table = compete(bench, table, contenders, once)
    for client in contenders:
        for row in table.rows.get(client.name, []):
            row["mib_per_s"] = torrent.size / 2**20 / row["done_s"]
    yield table


def create(bench):
    """Making a .torrent of 1 GiB that lies in the page cache."""
    torrent = bench.payload("one.bin", bench.scaled(1024))
    content, out = torrent.folder / torrent.name, FOLDER / "created.torrent"
    table = Table(f"create from {torrent.size >> 20} MiB in the page cache")
    commands = {
        "rill": [Rill.program, "create", content, "--piece-length", "1M", "-o", out],
        "mktorrent": ["mktorrent", "-l", "20", "-t", str(os.cpu_count()), "-a", "http://localhost/announce", "-o", out, content],
        "transmission-create": ["transmission-create", "-s", "1024", "-o", out, content],
    }
    for _ in range(bench.rounds):
        for name, command in commands.items():
            if shutil.which(str(command[0])):
                out.unlink(missing_ok=True)
                result = timed(command)
                result["mib_per_s"] = torrent.size / 2**20 / result["done_s"]
                table.add(name, result)
    yield table


def seed(bench):
    """Seeding 256 MiB to each of eight libtorrent leechers that know nobody else."""
    torrent = bench.payload("quarter.bin", bench.scaled(256))
    table = Table(f"seeding {torrent.size >> 20} MiB to each of eight leechers")
    file = torrent.write(FOLDER / "seed.torrent")

    def once(client):
        out = fresh_out()
        port, leech_port = free_port(OWN_IP), free_port("127.0.6.1")
        with Tracker() as tracker:
            file = torrent.write(FOLDER / "seed.torrent", tracker.url)
            with client.seed(torrent, file, OWN_IP, port) as run:
                run.wait_ready()
                before = run.process.cpu_now()
                leechers = LibtorrentTuned().leech(
                    torrent, file, out, "127.0.6.1", leech_port, count=8, connect=f"{OWN_IP}:{port}"
                )
                with leechers:
                    done_s = leechers.wait_done(300)
                    result = Result(done_s=done_s, cpu_s=run.process.cpu_now() - before)
                result["mib_per_s"] = 8 * torrent.size / 2**20 / done_s
        for number in range(8):
            if difference := torrent.compare(out / str(number)):
                raise AssertionError(difference)
        return result

    yield compete(bench, table, bench.contenders(*FIELD), once)


def cgroup(bench):
    """rill in a memory cgroup of 64 MiB: a torrent many times its size."""
    torrent = bench.payload("one.bin", bench.scaled(1024))
    table = Table(f"one fast seeder, {torrent.size >> 20} MiB, in a cgroup of 64 MiB")
    with limited(64 << 20) as enter:
        if enter is None:
            print("  cgroup: left out, this machine lets nobody make memory cgroups", file=sys.stderr)
            return
        with seeding(torrent) as seeders:
            for _ in range(bench.rounds):
                client = Rill()
                client.wrapper = enter
                table.add("rill", download(client, torrent, seeders))
    yield table


@contextlib.contextmanager
def limited(limit):
    """Makes a memory cgroup; yields the words that start a command inside it, or None where none can be made."""
    for root, limit_file in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = f"{root}/rill-bench-{os.getpid()}"
        try:
            os.mkdir(group)
            with open(f"{group}/{limit_file}", "w") as file:
                file.write(str(limit))
        except OSError:
            with contextlib.suppress(OSError):
                os.rmdir(group)
            continue
        try:
            yield ["sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$@"', "sh"]
        finally:
            with contextlib.suppress(OSError, TimeoutError):
                wait_for("the cgroup to be empty", lambda: not open(f"{group}/cgroup.procs").read(), 10)
                os.rmdir(group)
        return
    yield None


MODES = {
    mode.__name__: mode
    for mode in (fast, eight, delay, mixed, halves, small, start, check, create, seed, cgroup, sizes, pieces, peers, tracker)
}

# Several modes by one word.
GROUPS = {"scale": ["sizes", "pieces", "peers"]}
