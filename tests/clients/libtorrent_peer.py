"""Runs one or more libtorrent sessions as seeders or leechers of one torrent; says on standard output how it goes.

Times and CPU seconds count from just before the first session is made: Python's own start is left out.
"""

import argparse
import ipaddress
import os
import random
import signal
import sys
import time

import libtorrent as lt

from libtorrent_nodes import DHT_ON_LOOPBACK

parser = argparse.ArgumentParser()
parser.add_argument("role", choices=["seed", "leech"])
parser.add_argument("file")
parser.add_argument("folder")
parser.add_argument("ip")
parser.add_argument("port", type=int)
parser.add_argument("--count", type=int, default=1, help="how many, at consecutive addresses")
parser.add_argument("--tuned", action="store_true")
parser.add_argument("--rate", type=int, default=0, help="upload limit in bytes a second")
parser.add_argument("--half", action="store_true", help="each seeder has a random half of the pieces")
parser.add_argument("--connect", default="", help="IP:PORT to dial, instead of a tracker")
parser.add_argument("--magnet", default="", help="leech by this link instead of the file")
parser.add_argument("--encryption", choices=["on", "off"], default="")
parser.add_argument("--pex", action="store_true")
parser.add_argument("--no-tracker", action="store_true")
parser.add_argument("--dht", default="", help="IP:PORT of a node to enter the DHT by")
args = parser.parse_args()

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
started, cpu = time.time(), sum(os.times()[:2])


def settings(ip):
    values = {
        "alert_mask": 0,
        "allow_multiple_connections_per_ip": True,
        "announce_to_all_trackers": True,
        "connection_speed": 200,
        "enable_dht": False,
        "enable_incoming_utp": False,
        "enable_lsd": False,
        "enable_natpmp": False,
        "enable_outgoing_utp": False,
        "enable_upnp": False,
        "listen_interfaces": f"[{ip}]:{args.port}" if ":" in ip else f"{ip}:{args.port}",
        "outgoing_interfaces": ip,
        "user_agent": "libtorrent/2.0",
    }
    if args.encryption:
        policy = {"on": lt.enc_policy.forced, "off": lt.enc_policy.disabled}[args.encryption]
        values |= {"in_enc_policy": policy, "out_enc_policy": policy}
        if args.encryption == "on":
            values |= {"allowed_enc_level": lt.enc_level.rc4, "prefer_rc4": True}
    if args.dht:
        values |= DHT_ON_LOOPBACK | {"dht_bootstrap_nodes": args.dht}
    if args.role == "seed" or args.tuned:
        values |= {
            "aio_threads": 4,
            "choking_algorithm": 0,
            "hashing_threads": 2,
            "max_allowed_in_request_queue": 4000,
            "max_out_request_queue": 2000,
            "recv_socket_buffer_size": 0,
            "request_queue_time": 3,
            "seed_choking_algorithm": 1,
            "send_buffer_low_watermark": 8 << 20,
            "send_buffer_watermark": 8 << 20,
            "send_buffer_watermark_factor": 200,
            "unchoke_slots_limit": 200,
        }
    return values


def without_tracker(params):
    if args.no_tracker or args.connect:
        params.trackers = []
    return params


def add(session, number):
    if args.magnet:
        params = lt.parse_magnet_uri(args.magnet)
    else:
        params = lt.add_torrent_params()
        params.ti = lt.torrent_info(args.file)
    params.save_path = args.folder if args.role == "seed" or args.count == 1 else f"{args.folder}/{number}"
    os.makedirs(params.save_path, exist_ok=True)
    flags = lt.torrent_flags
    params.flags &= ~(flags.auto_managed | flags.paused | flags.apply_ip_filter)
    if not args.pex:
        params.flags |= flags.disable_pex
    params.flags |= flags.disable_lsd
    if not args.dht:
        params.flags |= flags.disable_dht
    if args.role == "seed" and not args.half:
        params.flags |= flags.seed_mode | flags.upload_mode
    handle = None
    if args.half:
        pieces = params.ti.num_pieces()
        have = [False] * pieces
        for piece in random.Random(number).sample(range(pieces), pieces // 2):
            have[piece] = True
        if number > 0 and number % 2: # every piece exists: odd ones have what the one before lacks
            earlier = set(random.Random(number - 1).sample(range(pieces), pieces // 2))
            have = [piece not in earlier for piece in range(pieces)]
        params.have_pieces = have
        params.piece_priorities = [0] * pieces
        params.flags |= flags.upload_mode | flags.no_verify_files
    handle = session.add_torrent(without_tracker(params))
    if args.no_tracker or args.connect:
        handle.replace_trackers([])
    if args.rate:
        handle.set_upload_limit(args.rate)
    if args.connect:
        ip, port = args.connect.rsplit(":", 1)
        handle.connect_peer((ip, int(port)))
    return handle


addresses = [str(ipaddress.ip_address(args.ip) + number) for number in range(args.count)]
if args.role == "leech":
    print(f"started {started}", flush=True)
sessions = [lt.session(settings(ip)) for ip in addresses]
if args.rate:
    # Loopback counts as local, and local peers have no limits, unless the class says so.
    for session in sessions:
        session.set_peer_class_filter(lt.ip_filter())
handles = [add(session, number) for number, session in enumerate(sessions)]

if args.role == "seed":
    waiting = list(handles)
    while waiting:
        bad = (lt.torrent_status.states.checking_files, lt.torrent_status.states.checking_resume_data)
        waiting = [handle for handle in waiting if handle.status().state in bad]
        time.sleep(0.01)
    print("ready", flush=True)
    while True:
        time.sleep(3600)

print("ready", flush=True)
while not all(handle.status().is_seeding for handle in handles):
    time.sleep(0.005)
done = time.time()
used = sum(os.times()[:2]) - cpu
print(f"done {done} {used}", flush=True)
while True:
    time.sleep(3600)
