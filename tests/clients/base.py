"""What all clients share: a process with a folder of its own, its cost, and how it is waited for."""

import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

TICK_S = 0.005


def free_port(ip: str = "127.0.0.1") -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((ip, 0))
        return probe.getsockname()[1]


def wait_for(what: str, condition, timeout: float = 60):
    """Waits until the condition returns something true, and returns it."""
    end = time.monotonic() + timeout
    while not (result := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {timeout} s in vain: {what}")
        time.sleep(TICK_S)
    return result


def listens(port: int) -> bool:
    """Whether something listens on this port. Reads the kernel's table: a connection would disturb."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as lines:
            for fields in map(str.split, lines):
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    return True
    return False


def end_with_parent():
    """In a child: the kernel ends it when the driver ends, however that ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Process:
    """A running program: its output in a file, its memory sampled, its CPU time read when it matters."""

    def __init__(self, command, folder, env=None, sample=False):
        self.log = pathlib.Path(folder) / "log"
        self.started = time.time()
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        self.pid = self.popen.pid
        self.code = None
        self.ended = None
        self.cpu_s = None
        self.anonymous_peak = 0
        threading.Thread(target=self._wait, daemon=True).start()
        if sample:
            threading.Thread(target=self._sample, daemon=True).start()

    def _wait(self):
        _, status, usage = os.wait4(self.pid, 0)
        self.ended = time.time()
        self.cpu_s = usage.ru_utime + usage.ru_stime
        self.code = os.waitstatus_to_exitcode(status)
        self.popen.returncode = self.code

    def _sample(self):
        while self.code is None:
            try:
                with open(f"/proc/{self.pid}/status") as lines:
                    for line in lines:
                        if line.startswith("RssAnon:"):
                            self.anonymous_peak = max(self.anonymous_peak, int(line.split()[1]) * 1024)
                            break
            except OSError:
                return
            time.sleep(0.02)

    def cpu_now(self) -> float:
        """CPU seconds so far; all of them once it has ended."""
        if self.cpu_s is not None:
            return self.cpu_s
        try:
            fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            wait_for("its end", lambda: self.cpu_s is not None, 5)
            return self.cpu_s
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self, timeout: float = 120) -> int:
        """Its exit code, once it has ended by itself."""
        wait_for(f"{self.popen.args[0]} should end: {self.output()[-2000:]}", lambda: self.code is not None, timeout)
        return self.code

    def stop(self, patience: float = 3):
        """Ends it: kindly, then not."""
        if self.code is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                wait_for("its end", lambda: self.code is not None, patience)
            except TimeoutError:
                self.popen.kill()
                wait_for("its end", lambda: self.code is not None, 10)


class Client:
    """A BitTorrent program. A subclass says how it is started; `seed` and `leech` return a Run."""

    name = ""
    package = ""
    program = ""
    dials_loopback = True # else the other side must dial
    makes_empty_files = True
    writes_late = False # it says that it is done before everything is in its files

    @classmethod
    def available(cls) -> bool:
        return shutil.which(cls.program) is not None

    def seed(self, torrent, file, ip, port, **options) -> "Run":
        """Serves `torrent` (its content lies in torrent.folder, its .torrent is `file`) at this address."""
        raise NotImplementedError

    def leech(self, torrent, file, out, ip, port, **options) -> "Run":
        """Downloads into the existing folder `out`; finds its peers through the tracker that `file` names."""
        raise NotImplementedError


class Run:
    """A client at work, with a scratch folder that goes when it is closed."""

    def __init__(self, client, ip, port):
        self.client, self.ip, self.port = client, ip, port
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix=f"rill-{client.name.split()[0]}-"))
        self.hook_file = self.scratch / "done"
        self.process = None
        self.started = time.time()

    def start(self, command, **options):
        self.started = time.time()
        self.process = Process(command, self.scratch, **options)
        return self

    def hook(self) -> pathlib.Path:
        """A script for the client to call when it is done: it writes down when that was."""
        script = self.scratch / "hook.sh"
        done = self.hook_file
        script.write_text(f"#!/bin/sh\ndate +%s.%N > {done}.new && mv {done}.new {done}\n")
        script.chmod(0o755)
        return script

    def alive(self):
        if self.process.code is not None:
            raise RuntimeError(
                f"{self.client.name} ended with {self.process.code}:\n{self.process.output()[-3000:]}"
            )

    def wait_listening(self, timeout=30):
        def ready():
            self.alive()
            return listens(self.port)

        wait_for(f"{self.client.name} should listen on port {self.port}", ready, timeout)

    def ready(self) -> bool:
        """For a seeder: whether it has checked its content and serves."""
        return listens(self.port)

    def wait_ready(self, timeout=90):
        """Waits until a seeder serves."""
        self.wait_listening(timeout)

        def ready():
            self.alive()
            return self.ready()

        wait_for(f"{self.client.name} should have checked its content", ready, timeout)
        return self

    def done_at(self) -> float | None:
        """For a leecher: when it was done, in Unix seconds; None before."""
        if self.hook_file.exists():
            return float(self.hook_file.read_text())
        return None

    def wait_done(self, timeout=120) -> float:
        """Waits until a leecher is done; the seconds that took."""

        def done():
            when = self.done_at()
            if when is None:
                self.alive()
            return when

        try:
            when = wait_for(f"{self.client.name} should be done", done, timeout)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.process.output()[-3000:]}") from None
        self.cpu_done_s = self.process.cpu_now()
        return when - self.started

    def close(self):
        if self.process:
            self.process.stop()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
