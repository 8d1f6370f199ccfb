"""Runs one contender once and says what it cost; keeps results and prints them as tables."""

import contextlib
import mmap
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

from clients.aria2 import Aria2
from clients.base import TICK_S, Process, free_port, wait_for
from clients.libtorrent_client import Libtorrent, LibtorrentTuned
from clients.rill import ROOT, Rill
from clients.rtorrent import Rtorrent
from clients.torrent import Torrent, fill
from clients.tracker import Tracker
from clients.transmission import Transmission

# Payloads and downloads; BENCH_FOLDER names another place, such as one in memory where the disk is what is slow.
FOLDER = pathlib.Path(os.environ.get("BENCH_FOLDER") or ROOT / "target" / "bench")
# Where emptied files stay until the run of `make bench` is over.
ASIDE = FOLDER / "aside"
# What a guest's kernel has given back to its host so far, where it does that and counts it; after so long
# without more, in seconds, it is through, and keeps for two seconds what is freed next.
GIVEN_BACK = pathlib.Path("/sys/module/page_reporting/parameters/reported_kib")
THROUGH_S, MOST_WAIT_S = 2.3, 15

SEEDER_IP, OWN_IP = "127.0.1.1", "127.0.2.1"


class RillSmol(Rill):
    name, env = "rill, sha1_smol alone", {"RILL_SHA1": "smol"}


class RillSmall(Rill):
    name, more = "rill --memory 8M", ("--memory", "8M")


class Bench:
    """The settings of one `make bench`."""

    def __init__(self, rounds, size_mib, only):
        self.rounds, self.size_mib, self.only = rounds, size_mib, only
        FOLDER.mkdir(parents=True, exist_ok=True)

    def scaled(self, mib):
        """A size of the standard run (1024 MiB), as large as this run's."""
        return max(1, mib * self.size_mib // 1024) << 20

    def contenders(self, *clients):
        """Those that are installed, and wanted."""
        chosen = [client() for client in clients if client.available()]
        if self.only:
            chosen = [c for c in chosen if any(word in c.name for word in self.only)]
        return chosen

    def payload(self, name, size, piece_length=1 << 20):
        """A torrent of one file of random bytes, made once."""
        path = FOLDER / "payload" / name
        if not path.exists() or path.stat().st_size != size:
            fill(path, size)
        return Torrent(path.parent, name, piece_length)

    def tree(self, name, files, size, piece_length=1 << 20):
        """A torrent of many files of random bytes, made once."""
        path = FOLDER / "payload" / name
        if not path.exists() or sum(1 for p in path.rglob("*") if p.is_file()) != files:
            shutil.rmtree(path, ignore_errors=True)
            for number in range(files):
                fill(path / f"{number // 100:03}" / f"{number:05}.bin", size // files + number % 7)
        return Torrent(path.parent, name, piece_length)


class Result(dict):
    """Figures of one run by name."""


def fresh_out(size=0) -> pathlib.Path:
    """An empty folder to download to, with nothing left to be written from the run before.

    A virtual machine may give memory that has been free for two seconds back to its host (free page reporting), and
    whoever touches it next waits for the host: up to twice as long as the whole download takes, and by chance. So as
    much memory as will be needed, in huge pages as it is given back in, is touched just before the run, at a time when
    none is about to be given back.
    """
    out = FOLDER / "out"
    set_aside(out)
    out.mkdir(parents=True)
    os.sync()
    if size:
        await_nothing_given_back()
        with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            memory.madvise(mmap.MADV_HUGEPAGE)
            for at in range(0, size, mmap.PAGESIZE):
                memory[at] = 1
    return out


def set_aside(folder):
    """Empties the files of a folder and moves it out of the way, if it is there.

    ext4 gives out no inode that was freed within the last minute, and looks at each of those on its way to every new
    one: whoever makes 2,000 files after another's 2,000 were deleted spends twice the time of the whole download there.
    """
    if folder.exists():
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                os.truncate(path, 0)
        ASIDE.mkdir(exist_ok=True)
        folder.rename(ASIDE / str(time.monotonic_ns()))


def await_nothing_given_back():
    """Waits until the kernel has given back what was freed before."""
    if not GIVEN_BACK.exists():
        return
    count, since = GIVEN_BACK.read_text(), time.monotonic()
    end = since + MOST_WAIT_S
    while time.monotonic() < min(since + THROUGH_S, end):
        time.sleep(TICK_S)
        if (now := GIVEN_BACK.read_text()) != count:
            count, since = now, time.monotonic()


def download(client, torrent, seeders, dial=None, timeout=300, warm=None, **options) -> Result:
    """One download from the seeders (addresses); `dial` starts what dials clients that can't dial loopback. `warm` is
    how much memory is made ready before, in bytes: as much as the download needs, unless it is said."""
    out = fresh_out(torrent.size + (128 << 20) if warm is None else warm)
    port = free_port(OWN_IP)
    with Tracker(seeders) as tracker, contextlib.ExitStack() as stack:
        file = torrent.write(FOLDER / "current.torrent", tracker.url)
        run = stack.enter_context(client.leech(torrent, file, out, OWN_IP, port, sample=True, quiet=True, **options))
        if not client.dials_loopback:
            stack.enter_context(dial(OWN_IP, port))
        done_s = run.wait_done(timeout)
        result = Result(done_s=done_s, cpu_s=run.cpu_done_s, anonymous_mib=run.process.anonymous_peak / 2**20)
        result["mib_per_s"] = torrent.size / 2**20 / done_s
        if isinstance(client, Aria2):
            run.process.wait(30)
            result["exit_s"] = run.process.ended - run.done_at()
        result["wrong"] = torrent.compare(out)
    if result["wrong"]:
        raise AssertionError(f"{client.name}: {result['wrong']}")
    set_aside(out)
    return result


@contextlib.contextmanager
def seeding(torrent, count=1, ip=SEEDER_IP, **options):
    """libtorrent seeders, tuned so that they are never the limit; yields their addresses."""
    port = free_port(ip)
    file = torrent.write(FOLDER / f"seed-{port}.torrent")
    try:
        with LibtorrentTuned().seed(torrent, file, ip, port, count=count, no_tracker=True, **options) as run:
            run.wait_ready()
            start = ip.rsplit(".", 1)
            yield [(f"{start[0]}.{int(start[1]) + number}", port) for number in range(count)]
    finally:
        file.unlink(missing_ok=True)


def dialler(torrent):
    """For `download`: a seeder that dials a leecher which doesn't dial loopback itself."""

    @contextlib.contextmanager
    def dial(ip, port):
        file = torrent.write(FOLDER / "dial.torrent")
        own = free_port("127.0.3.1")
        with LibtorrentTuned().seed(torrent, file, "127.0.3.1", own, connect=f"{ip}:{port}") as run:
            yield run

    return dial


def disk_speed(size=512 << 20) -> float:
    """How many MiB a second the place of the downloads takes and has flushed. rill flushes before it is done; the others
    leave that to the kernel."""
    path, block = FOLDER / "disk-speed", os.urandom(1 << 20)
    with open(path, "wb", buffering=0) as file:
        started = time.monotonic()
        for _ in range(size >> 20):
            file.write(block)
        os.fdatasync(file.fileno())
        took = time.monotonic() - started
    path.unlink()
    return size / 2**20 / took


class Table:
    """The results of one mode: several rounds of several contenders."""

    COLUMNS = [
        ("done_s", "done s", "{:.2f}"),
        ("mib_per_s", "MiB/s", "{:.0f}"),
        ("line_mib_per_s", "5-95 % MiB/s", "{:.0f}"),
        ("cpu_s", "CPU s", "{:.2f}"),
        ("anonymous_mib", "anon MiB", "{:.0f}"),
        ("exit_s", "exit s", "{:.3f}"),
        ("cpu_per_gib", "CPU s/GiB", "{:.2f}"),
        ("cpu_per_piece_us", "CPU us/piece", "{:.1f}"),
        ("announces_per_s", "announces/s", "{:.0f}"),
        ("cpu_us", "CPU us/announce", "{:.1f}"),
        ("p50_us", "p50 us", "{:.0f}"),
        ("p99_us", "p99 us", "{:.0f}"),
    ]

    def __init__(self, title, ordered=False):
        """Its rows come by how long they took, or, `ordered`, as they were added."""
        self.title, self.ordered, self.rows = title, ordered, {}

    def add(self, name, result):
        self.rows.setdefault(name, []).append(result)
        said = " ".join(f"{k}={v:.3f}" for k, v in result.items() if isinstance(v, float) and k != "ended")
        print(f"    {name}: {said}", file=sys.stderr, flush=True)

    def median(self, name, key):
        values = [row[key] for row in self.rows.get(name, []) if row.get(key) is not None]
        return statistics.median(values) if values else None

    def render(self) -> str:
        if not self.rows:
            return ""
        columns = [c for c in self.COLUMNS if any(self.median(name, c[0]) is not None for name in self.rows)]
        lead = "done_s" if any(self.median(name, "done_s") for name in self.rows) or not columns else columns[0][0]
        ours = {key: self.median("rill", key) for key in ("done_s", "cpu_s")}
        lines = [f"### {self.title}", ""]
        head = ["client", *(c[1] for c in columns)]
        compare = ours["done_s"] is not None and len(self.rows) > 1
        if compare:
            head += ["time / rill's", "CPU / rill's"]
        table = [head]
        names = self.rows if self.ordered else sorted(self.rows, key=lambda name: self.median(name, lead) or 0)
        for name in names:
            row = [name]
            for key, _, form in columns:
                value = self.median(name, key)
                row.append("" if value is None else form.format(value))
            if compare:
                for key in ("done_s", "cpu_s"):
                    value = self.median(name, key)
                    row.append(f"{value / ours[key]:.2f}" if value is not None and ours[key] else "")
            table.append(row)
        widths = [max(len(row[at]) for row in table) for at in range(len(head))]
        for number, row in enumerate(table):
            cells = [c.ljust(w) if at == 0 else c.rjust(w) for at, (c, w) in enumerate(zip(row, widths))]
            lines.append("| " + " | ".join(cells) + " |")
            if number == 0:
                lines.append("|" + "|".join("-" * (w + 2) if at == 0 else "-" * (w + 1) + ":" for at, w in enumerate(widths)) + "|")
        return "\n".join(lines) + "\n"


def compete(bench, table, contenders, once):
    """Runs every contender in every round, interleaved; one that fails says so and is left out of that round.

    The first of them runs once more before, and that doesn't count: it finds seeders that have never touched their
    files, which costs them a second for a GiB, and everyone after it doesn't.
    """
    print(f"  {table.title}: one run that doesn't count", file=sys.stderr, flush=True)
    run_one(bench, contenders[0], once)
    for number in range(bench.rounds):
        print(f"  {table.title}: round {number + 1} of {bench.rounds}", file=sys.stderr, flush=True)
        # The other way round every other time, so that nobody always follows the same one.
        for client in contenders if number % 2 == 0 else reversed(contenders):
            result = run_one(bench, client, once)
            if result is None:
                table.rows.setdefault(client.name, [])
            else:
                table.add(client.name, result)
    return table


def run_one(bench, client, once):
    """What came of it; `None` where it failed: the others still race."""
    try:
        return once(client)
    except Exception as error:
        print(f"    {client.name} FAILED: {str(error)[-600:]}", file=sys.stderr, flush=True)
        bench.failed = True
        return None


def build_delay() -> pathlib.Path:
    """The delaying proxy, built when its source is newer."""
    source, program = pathlib.Path(__file__).with_name("delay.rs"), FOLDER / "delay"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["rustc", "--edition", "2024", "-O", source, "-o", program], check=True)
    return program


def timed(command, env=None, sample=True) -> Result:
    """Runs a program to its end: seconds, CPU seconds, anonymous memory, exit code."""
    scratch = FOLDER / "timed"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    process = Process(command, scratch, env=env, sample=sample)
    code = process.wait(600)
    if code != 0:
        raise RuntimeError(f"{command[0]} ended with {code}: {process.output()[-600:]}")
    return Result(
        done_s=process.ended - process.started,
        ended=process.ended,
        cpu_s=process.cpu_s,
        anonymous_mib=process.anonymous_peak / 2**20 or None,
        output=process.output(),
    )
