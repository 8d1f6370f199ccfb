"""The mode `tracker`: the built-in tracker beside opentracker, asked by the same crowd."""

import pathlib
import re
import shutil
import subprocess
import time
import urllib.request

from clients.base import Process, free_port, wait_for
from clients.rill import Rill

from .measure import FOLDER, Result, Table

SECONDS = 5
CONNECTIONS = 32
SWARMS = 1000
PEERS, PEERS_SWARMS = 1_000_000, 50_000


def build_crowd() -> pathlib.Path:
    """The crowd, built when its source is newer."""
    source, program = pathlib.Path(__file__).with_name("announce.rs"), FOLDER / "announce"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["rustc", "--edition", "2024", "-O", source, "-o", program], check=True)
    return program


class RillTracker:
    name = "rill"
    keeps = True # connections, for more than one announce
    program = Rill.program

    def command(self, port, _folder, _hashes):
        return [self.program, "tracker", "--bind", "127.0.0.1", "-p", port]


class Opentracker:
    """As Debian builds it: it serves only the info-hashes of a list, and wants a user and a folder."""

    name = "opentracker"
    keeps = False
    program = "opentracker"

    def command(self, port, folder, hashes):
        (folder / "list").write_text(hashes)
        folder.chmod(0o755)
        config = folder / "config"
        # The path as it is once opentracker has made the folder its root.
        config.write_text(f"listen.tcp_udp 127.0.0.1:{port}\naccess.whitelist /list\n")
        return [self.program, "-d", folder, "-f", config]


def ask(crowd, port, mode, connections, amount, swarms) -> tuple[int, float, float, float]:
    """Announces, seconds, and the middle and the slowest hundredth of the answers' times in microseconds."""
    command = [crowd, f"127.0.0.1:{port}", mode, str(connections), str(amount), str(swarms)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=600)
    found = re.match(r"announces (\d+) seconds ([\d.]+) p50_us (\d+) p99_us (\d+)", said.stdout)
    if not found:
        raise RuntimeError(f"the crowd failed: {said.stdout[-500:]}{said.stderr[-500:]}")
    return int(found[1]), float(found[2]), float(found[3]), float(found[4])


def start(contender, port, hashes):
    folder = FOLDER / "tracker"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    process = Process(contender.command(port, folder, hashes), folder, sample=True)

    def answers():
        if process.code is not None:
            raise RuntimeError(f"{contender.name} ended with {process.code}: {process.output()[-500:]}")
        query = f"info_hash={'%00' * 20}&peer_id={'A' * 20}&port=1&left=0"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/announce?{query}", timeout=1) as answer:
                return b"8:complete" in answer.read()
        except OSError:
            return False

    # opentracker listens before it has read its list.
    wait_for(f"{contender.name} should serve", answers, 30)
    return process


def tracker(bench):
    """Announces a second, CPU for each, and the memory for a million peers; beside opentracker."""
    crowd = build_crowd()
    contenders = [c for c in (RillTracker(), Opentracker()) if shutil.which(str(c.program))]
    listed = lambda swarms: subprocess.run([crowd, "hashes", str(swarms)], capture_output=True, text=True).stdout
    hashes, many = listed(SWARMS), listed(PEERS_SWARMS)
    for mode, title in (
        ("keep", "HTTP, connections kept"),
        ("close", "HTTP, a connection for each announce"),
        ("udp", "UDP"),
    ):
        table = Table(f"announces, {title}: {CONNECTIONS} at once, {SWARMS} swarms, {SECONDS} s")
        for _ in range(bench.rounds):
            for contender in contenders:
                if mode == "keep" and not contender.keeps:
                    continue
                port = free_port()
                process = start(contender, port, hashes)
                try:
                    ask(crowd, port, mode, CONNECTIONS, 1, SWARMS)
                    before = process.cpu_now()
                    announces, seconds, middle, slow = ask(crowd, port, mode, CONNECTIONS, SECONDS, SWARMS)
                    cpu_s = process.cpu_now() - before
                finally:
                    process.stop()
                table.add(contender.name, Result(
                    announces_per_s=announces / seconds, cpu_us=cpu_s / announces * 1e6, p50_us=middle, p99_us=slow,
                ))
        yield table
    table = Table(f"{PEERS:,} peers in {PEERS_SWARMS:,} swarms, announced over UDP")
    for contender in contenders:
        port = free_port()
        process = start(contender, port, many)
        try:
            announces, seconds, middle, slow = ask(crowd, port, "fill", 4, PEERS, PEERS_SWARMS)
            time.sleep(0.2)
            table.add(contender.name, Result(
                announces_per_s=announces / seconds, cpu_us=process.cpu_now() / announces * 1e6,
                anonymous_mib=process.anonymous_peak / 2**20,
            ))
        finally:
            process.stop()
    yield table
