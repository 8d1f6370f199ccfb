#!/bin/sh
# Makes the fixtures anew: the content from a fixed stream of bytes, the torrents by programs that aren't ours.
# Run it only to add a fixture: the tests hold the info-hashes of the files as they are. Debian packages needed:
# mktorrent transmission-cli ctorrent python3-libtorrent
set -eu
cd "$(dirname "$0")"
rm -rf content ./*.torrent
mkdir content

/usr/bin/python3 - <<'PYTHON'
import hashlib, os

def put(path, size):
    path = os.path.join("content", path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(hashlib.shake_128(os.path.basename(path).encode()).digest(size))

put("brook.bin", 300_000)
put("meadow/Blumen/Gänseblümchen.bin", 12_345)
put("meadow/Blumen/Klatschmohn.bin", 70_000)
put("meadow/deep/a/b/c/d/e.bin", 20_000)
put("meadow/empty", 0)
put("meadow/insects/00 none", 0)
for number in range(1, 61):
    put(f"meadow/insects/{number:02}.bin", 100 + 13 * number)
put("meadow/stones/large.bin", 200_001)
put("meadow/stones/aligned.bin", 65_536)
put("meadow/花/桜.bin", 40_000)
put("meadow/🦋", 1)
with open("content/meadow/count.sh", "w") as file:
    file.write("#!/bin/sh\nls | wc -l\n")
os.chmod("content/meadow/count.sh", 0o755)
PYTHON

cd content
tracker=http://127.0.0.1:6969/announce

mktorrent -t 1 -l 15 -a $tracker -c 'a single file' -o ../single.torrent brook.bin
ctorrent -t -u $tracker -l 65536 -c 'by ctorrent' -s ../ctorrent.torrent brook.bin
transmission-create -s 32 -t $tracker -c 'many files, one of them 桜' -o ../meadow.torrent meadow
mktorrent -t 1 -p -l 16 -a $tracker,http://127.0.0.1:6970/announce -a udp://127.0.0.1:6971 \
  -w http://127.0.0.1:8080/files/ -s RILL -c 'private, in tiers' -o ../private.torrent meadow

/usr/bin/python3 - <<'PYTHON'
import libtorrent as lt

def make(name, path, piece, flags):
    files = lt.file_storage()
    lt.add_files(files, path)
    torrent = lt.create_torrent(files, piece, flags)
    torrent.add_tracker("http://127.0.0.1:6969/announce", 0)
    torrent.add_tracker("udp://127.0.0.1:6971", 1)
    torrent.add_node("127.0.0.1", 6881)
    torrent.set_comment(name)
    torrent.set_creator("libtorrent " + lt.__version__)
    lt.set_piece_hashes(torrent, ".")
    with open(f"../{name}.torrent", "wb") as file:
        file.write(lt.bencode(torrent.generate()))

V1_ONLY, CANONICAL_FILES = 1 << 6, 1 << 7  # the binding has no names for these two
make("padded", "meadow", 32768, V1_ONLY | CANONICAL_FILES)
make("hybrid", "meadow", 32768, 0)
make("v2-only", "meadow", 32768, lt.create_torrent_flags_t.v2_only)
PYTHON
chmod 644 ../*.torrent
