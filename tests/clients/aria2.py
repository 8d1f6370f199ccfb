"""aria2c."""

from .base import Client, Run


class Aria2(Client):
    name, package, program = "aria2c", "aria2", "aria2c"

    def _command(self, file, folder, ip, port, *more):
        ipv6 = ":" in ip
        return [
            "aria2c",
            "--no-conf=true",
            "--enable-dht=false",
            "--enable-dht6=false",
            f"--disable-ipv6={str(not ipv6).lower()}",
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
        return run.start(self._command(file, torrent.folder, ip, port, *more))

    def leech(self, torrent, file, out, ip, port, sample=False, encryption=False, dht=False, **_):
        run = Run(self, ip, port)
        more = ["--seed-time=0", f"--on-bt-download-complete={run.hook()}"]
        if dht:
            # The later word wins.
            more += ["--enable-dht=true", f"--dht-listen-port={port}", f"--dht-file-path={run.scratch / 'dht'}"]
        if encryption:
            more += ["--bt-require-crypto=true", "--bt-min-crypto-level=arc4"]
        return run.start(self._command(file, out, ip, port, *more), sample=sample)


class Aria2Run(Run):
    def ready(self):
        return "Verification finished successfully" in self.process.output()
