"""Makes content and .torrent files, knowing nothing of rill."""

import hashlib
import os
import pathlib
import random


def bencode(value) -> bytes:
    """Canonical bencoding of integers, strings, lists and dictionaries."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    items = sorted((key.encode(), item) for key, item in value.items())
    return b"d" + b"".join(bencode(key) + bencode(item) for key, item in items) + b"e"


class Torrent:
    """Content on disk at `folder/name`, and what a .torrent says about it."""

    def __init__(self, folder: pathlib.Path, name: str, piece_length: int):
        self.folder, self.name, self.piece_length = pathlib.Path(folder), name, piece_length
        path = self.folder / name
        self.files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        self.size = sum(p.stat().st_size for p in self.files)
        hashes, piece = [], b""
        for file in self.files:
            with open(file, "rb") as content:
                while chunk := content.read(piece_length - len(piece)):
                    piece += chunk
                    if len(piece) == piece_length:
                        hashes.append(hashlib.sha1(piece).digest())
                        piece = b""
        if piece:
            hashes.append(hashlib.sha1(piece).digest())
        info = {"name": name, "piece length": piece_length, "pieces": b"".join(hashes)}
        if path.is_dir():
            info["files"] = [
                {"length": p.stat().st_size, "path": list(p.relative_to(path).parts)} for p in self.files
            ]
        else:
            info["length"] = self.size
        self.info = info
        self.info_bytes = len(bencode(info))
        self.info_hash = hashlib.sha1(bencode(info)).hexdigest()
        self.pieces = len(hashes)

    def write(self, path, tracker: str | None = None) -> pathlib.Path:
        """Writes the .torrent file."""
        whole = {"info": self.info}
        if tracker:
            whole["announce"] = tracker
        path = pathlib.Path(path)
        path.write_bytes(bencode(whole))
        return path

    def compare(self, folder, empty_files=True) -> str | None:
        """What differs between the content and what lies in `folder`; None if nothing does."""
        for file in self.files:
            other = pathlib.Path(folder) / file.relative_to(self.folder)
            if file.stat().st_size == 0 and not empty_files:
                continue
            if not other.is_file():
                return f"{other} is missing"
            if other.stat().st_size != file.stat().st_size:
                return f"{other} has {other.stat().st_size} bytes of {file.stat().st_size}"
            with open(file, "rb") as one, open(other, "rb") as two:
                while chunk := one.read(1 << 20):
                    if chunk != two.read(1 << 20):
                        return f"{other} has other bytes within a MiB of {one.tell()}"
        return None


def fill(path: pathlib.Path, size: int, seed: int | None = None):
    """Writes `size` random bytes; the same ones each time for a seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    chance = random.Random(seed)
    with open(path, "wb") as file:
        while size:
            chunk = min(size, 1 << 20)
            file.write(os.urandom(chunk) if seed is None else chance.randbytes(chunk))
            size -= chunk
