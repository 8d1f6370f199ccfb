"""What rill costs as the work grows: in each table one thing grows, and all else stays as it is."""

import math
import random
import statistics

from clients.rill import Rill
from clients.torrent import Torrent

from .measure import FOLDER, Table, download, seeding

# One piece of one block: what is left is the program's start, the tracker, one handshake and the end.
LEAST = 16 << 10

# CPU seconds that are worth reading off a row: what is shorter is run again and again.
WORTH_READING_S = 0.5
MOST_RUNS = 25

# From this size on it matters whether the machine has its memory at hand.
LARGE = 64 << 20

# Bytes of a random MiB that tell where it stands; so many in each block.
STAMP = 8


def sizes(bench):
    """Torrents of 1 MiB to 8 GiB, in pieces of 1 MiB."""
    scale = Scale(bench)
    table = scale.table("1 MiB to 8 GiB in pieces of 1 MiB, one seeder")
    for mib in [1, 4, 16, 64, 256, 1024, 4096, 8192]:
        if scale.wants(name := f"{mib} MiB") and mib <= 8 * bench.size_mib:
            torrent = stamped(f"scale-{mib}.bin", mib << 20, 1 << 20)
            with seeding(torrent) as seeders:
                scale.row(table, name, torrent, seeders)
            (torrent.folder / torrent.name).unlink()
    yield table


def pieces(bench):
    """10 to 100,000 pieces: of one block each, and cut from one GiB."""
    scale = Scale(bench)
    table = scale.table("10 to 100,000 pieces of 16 KiB, one seeder")
    for count in [10, 100, 1_000, 10_000, 100_000 * bench.size_mib // 1024]:
        if scale.wants(name := f"{count} pieces"):
            torrent = stamped("scale-blocks.bin", count * LEAST, LEAST)
            with seeding(torrent) as seeders:
                scale.row(table, name, torrent, seeders)
    yield table
    size = bench.scaled(1024)
    table = scale.table(f"{size >> 20} MiB in ever more pieces, one seeder")
    for length in [64 << 20, 8 << 20, 1 << 20, 128 << 10, 64 << 10, 32 << 10, 16 << 10]:
        if scale.wants(name := f"pieces of {length >> 10} KiB"):
            torrent = stamped("scale-cut.bin", size, length)
            with seeding(torrent) as seeders:
                scale.row(table, name, torrent, seeders)
    yield table


def peers(bench):
    """1 to 200 seeders."""
    scale = Scale(bench)
    size = bench.scaled(512)
    torrent = stamped("scale-peers.bin", size, 1 << 20)
    table = scale.table(f"{size >> 20} MiB from 1 to 200 seeders")
    for count in [1, 5, 20, 50, 100, 200]:
        if scale.wants(name := f"{count} peers"):
            with seeding(torrent, count=count) as seeders:
                scale.row(table, name, torrent, seeders, more=["--max-peers", count])
    yield table


class Scale:
    """What the tables share: what a start costs, and how often a row is run."""

    def __init__(self, bench):
        self.bench, self.rill = bench, Rill()
        torrent = stamped("scale-least.bin", LEAST, LEAST)
        with seeding(torrent) as seeders:
            starts = [download(self.rill, torrent, seeders, warm=0)["cpu_s"] for _ in range(MOST_RUNS)]
        self.start_s = statistics.median(starts)

    def table(self, title):
        return Table(f"{title}; a start ({self.start_s * 1000:.1f} ms) isn't counted per GiB and piece", ordered=True)

    def wants(self, name):
        """Whether this row is to be run; `--only` chooses rows here."""
        return not self.bench.only or any(word in name for word in self.bench.only)

    def row(self, table, name, torrent, seeders, **options):
        """Runs it as often as there are rounds, and more often where one run is short."""
        if torrent.size < LARGE:
            options["warm"] = 0
        spent, runs = 0.0, 0
        while runs < self.bench.rounds or (spent < WORTH_READING_S and runs < MOST_RUNS):
            result = download(self.rill, torrent, seeders, **options)
            spent, runs = spent + result["cpu_s"], runs + 1
            beyond_s = result["cpu_s"] - self.start_s
            result["cpu_per_gib"] = beyond_s / torrent.size * 2**30
            result["cpu_per_piece_us"] = beyond_s / torrent.pieces * 1e6
            table.add(name, result)


def stamped(name, size, piece_length) -> Torrent:
    """A torrent of one file: a random MiB again and again, each block of it with its number in front, so that none
    can stand in for another. Making 8 GiB of chance would take longer than all else."""
    path = FOLDER / "payload" / name
    if not path.exists() or path.stat().st_size != size:
        path.parent.mkdir(parents=True, exist_ok=True)
        mib = bytearray(random.randbytes(1 << 20))
        with open(path, "wb") as file:
            for number in range(math.ceil(size / len(mib))):
                for block in range(0, len(mib), LEAST):
                    mib[block : block + STAMP] = number.to_bytes(STAMP, "big")
                file.write(mib[: size - number * len(mib)])
    return Torrent(path.parent, name, piece_length)
