"""aria2c."""

from .base import Client, Run


class Aria2(Client):
    name, package, program = "aria2c", "aria2", "aria2c"

    def _command(self, file, folder, port, *more):
        return [
            "aria2c",
            "--no-conf=true",
            "--enable-dht=false",
            "--enable-dht6=false",
            "--disable-ipv6=true",
            "--bt-enable-lpd=false",
            "--enable-peer-exchange=false",
            "--follow-torrent=mem",
            "--summary-interval=0",
            "--show-console-readout=false",
            "--file-allocation=none",
            "--allow-overwrite=true",
            f"--listen-port={port}",
            f"--dir={folder}",
            *more,
            file,
        ]

    def seed(self, torrent, file, ip, port, **_):
        run = Aria2Run(self, ip, port)
        more = ["--check-integrity=true", "--seed-ratio=0.0", "--bt-max-peers=0"]
        return run.start(self._command(file, torrent.folder, port, *more))

    def leech(self, torrent, file, out, ip, port, sample=False, encryption=False, **_):
        run = Run(self, ip, port)
        more = ["--seed-time=0", f"--on-bt-download-complete={run.hook()}"]
        if encryption:
            more += ["--bt-require-crypto=true", "--bt-min-crypto-level=arc4"]
        return run.start(self._command(file, out, port, *more), sample=sample)


class Aria2Run(Run):
    def ready(self):
        return "Verification finished successfully" in self.process.output()
