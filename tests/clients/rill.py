"""rill itself, as built."""

import os
import pathlib

from .base import Client, Run

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Rill(Client):
    name, package = "rill", ""
    program = str(ROOT / os.environ.get("RILL", "target/x86_64-unknown-linux-gnu/release/rill"))
    more = () # words behind every command
    env = {}
    wrapper = () # words before every command

    def seed(self, torrent, file, ip, port, more=(), **_):
        run = RillRun(self, ip, port)
        command = [self.program, "seed", file, "-d", torrent.folder, "-p", port, "--bind", ip]
        return run.start([*command, "--no-dht", "--no-lsd", "--json", *self.more, *more], env=self._env())

    def leech(self, torrent, file, out, ip, port, sample=False, more=(), quiet=False, **_):
        run = RillRun(self, ip, port)
        command = [self.program, "get", file, "-d", out, "-p", port, "--bind", ip, "--no-dht", "--no-lsd"]
        command += ["-q"] if quiet else ["--json"]
        return run.start([*self.wrapper, *command, *self.more, *more], env=self._env(), sample=sample)

    def _env(self):
        return {"PATH": os.environ["PATH"], **self.env}


class RillRun(Run):
    def done_at(self):
        """Its end: rill exits when it is done."""
        if self.process.code is None:
            return None
        if self.process.code != 0:
            raise RuntimeError(f"rill ended with {self.process.code}:\n{self.process.output()[-3000:]}")
        return self.process.ended

    def ready(self):
        """It announces only what it has checked."""
        output = self.process.output()
        return '"event":"complete"' in output.replace(" ", "") or '"event":"tracker"' in output.replace(" ", "")
