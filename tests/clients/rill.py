"""rill itself, as built."""

import json
import os
import pathlib

from .base import Client, Run

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Rill(Client):
    name, package = "rill", ""
    program = str(ROOT / os.environ.get("RILL", "target/x86_64-unknown-linux-musl/release/rill"))
    more = () # words behind every command
    env = {}
    wrapper = () # words before every command

    def seed(self, torrent, file, ip, port, more=(), dht=None, **_):
        run = RillRun(self, ip, port)
        command = [self.program, "seed", file, "-d", torrent.folder, "-p", port, "--bind", ip, *self._around(dht)]
        return run.start([*command, "--json", *self.more, *more], env=self._env())

    def leech(self, torrent, file, out, ip, port, sample=False, more=(), quiet=False, dht=None, **_):
        run = RillRun(self, ip, port)
        command = [self.program, "get", file, "-d", out, "-p", port, "--bind", ip, *self._around(dht)]
        command += ["-q"] if quiet else ["--json"]
        return run.start([*self.wrapper, *command, *self.more, *more], env=self._env(), sample=sample)

    def _around(self, dht):
        return ["--no-lsd", *(["--dht-bootstrap", dht] if dht else ["--no-dht"])]

    def _env(self):
        return {"PATH": os.environ["PATH"], **self.env}


class RillRun(Run):
    def events(self, kind):
        """The JSON events of this kind so far."""
        lines = self.process.output().splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [event for event in events if event["event"] == kind]

    def done_at(self):
        """Its end: rill exits when it is done."""
        if self.process.code is None:
            return None
        if self.process.code != 0:
            raise RuntimeError(f"rill ended with {self.process.code}:\n{self.process.output()[-3000:]}")
        return self.process.ended

    def ready(self):
        """It announces only what it has checked."""
        return bool(self.events("complete") or self.events("tracker"))
