#!/usr/bin/python3
"""Measures rill beside other clients on this machine, interleaved, and prints one table per mode."""

import argparse
import datetime
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench.measure import ASIDE, FOLDER, Bench, disk_speed
from bench.modes import GROUPS, MODES
from clients.rill import ROOT, Rill


def machine() -> list[str]:
    """What the figures were measured on."""
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())[1]) >> 20
    lines = [f"{datetime.date.today()}, {os.cpu_count()} cores, {model[1] if model else platform.machine()}, "
             f"{memory} GiB, Linux {platform.release()}"]
    versions = {
        "rill": [Rill.program, "--version"],
        "libtorrent": ["/usr/bin/python3", "-c", "import libtorrent; print('libtorrent', libtorrent.version)"],
        "aria2c": ["aria2c", "--version"],
        "rtorrent": ["rtorrent", "-h"],
        "transmission-daemon": ["transmission-daemon", "--version"],
        "mktorrent": ["mktorrent", "-v"],
    }
    found = []
    for name, command in versions.items():
        try:
            said = subprocess.run(command, capture_output=True, text=True, timeout=20)
            first = (said.stdout + said.stderr).strip().splitlines()[0]
            found.append(first.strip().rstrip("."))
        except (OSError, IndexError):
            found.append(f"{name}: not installed")
    return [*lines, "; ".join(found)]


def size() -> str:
    """The executable and the tree of packages it is built from."""
    executable = pathlib.Path(Rill.program).stat().st_size
    tree = subprocess.run(
        ["cargo", "tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none"],
        cwd=ROOT, capture_output=True, text=True,
    ).stdout
    packages = {" ".join(line.split()[:2]) for line in tree.splitlines() if line.strip()}
    packages = {package for package in packages if not package.startswith("rill ")}
    return f"executable: {executable / 2**20:.2f} MiB ({executable} bytes); packages in the tree: {len(packages)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modes", default=",".join(MODES), help=f"of {', '.join([*MODES, *GROUPS])}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=1024, help="MiB of the largest payload; others in proportion")
    parser.add_argument("--only", default="", help="contenders, and rows of scale, whose name holds one of these")
    args = parser.parse_args()
    modes = [mode for word in args.modes.split(",") for mode in GROUPS.get(word, [word])]
    unknown = [mode for mode in modes if mode not in MODES]
    if unknown:
        print(f"no mode is called {', '.join(unknown)}; there are {', '.join([*MODES, *GROUPS])}")
        return 2
    bench = Bench(args.rounds, args.size, [word for word in args.only.split(",") if word])
    bench.failed = False
    report = [*machine(), size(), f"load before: {os.getloadavg()[0]:.1f}; medians of {args.rounds} rounds",
              f"{FOLDER} takes {disk_speed():.0f} MiB/s, flushed", ""]
    print("\n".join(report), flush=True)
    try:
        for mode in modes:
            for table in MODES[mode](bench):
                report.append(table.render())
                print(report[-1], flush=True)
                (FOLDER / "report.md").write_text("\n".join(report))
    finally:
        shutil.rmtree(ASIDE, ignore_errors=True)
    print(f"kept in {FOLDER / 'report.md'}")
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
