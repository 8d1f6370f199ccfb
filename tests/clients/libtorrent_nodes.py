"""Runs libtorrent DHT nodes without torrents: `libtorrent_nodes.py PORT IP...`. Says `ready` when each knows another,
and `announced HASH IP:PORT` for what is announced to one of them.
"""

import os
import signal
import sys
import time

import libtorrent as lt

# Everything that keeps a node from trusting others of the same network, which all of loopback is.
DHT_ON_LOOPBACK = {
    "enable_dht": True,
    "dht_enforce_node_id": False,
    "dht_ignore_dark_internet": False,
    "dht_prefer_verified_node_ids": False,
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
}


def node(ip, port, others):
    settings = {
        "alert_mask": lt.alert.category_t.dht_notification,
        "dht_bootstrap_nodes": "",
        "enable_incoming_utp": False,
        "enable_lsd": False,
        "enable_natpmp": False,
        "enable_outgoing_utp": False,
        "enable_upnp": False,
        "listen_interfaces": f"{ip}:{port}",
        "outgoing_interfaces": ip,
    }
    session = lt.session(settings | DHT_ON_LOOPBACK)
    # Bootstrap nodes would be asked, and stay out of the table.
    for other in others:
        session.add_dht_node((other, port))
    return session


def main():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    port, ips = int(sys.argv[1]), sys.argv[2:]
    sessions = [node(ip, port, [other for other in ips if other != ip]) for ip in ips]
    said = False
    while True:
        if not said and all(session.status().dht_nodes for session in sessions):
            said = True
            print("ready", flush=True)
        for session in sessions:
            for alert in session.pop_alerts():
                if isinstance(alert, lt.dht_announce_alert):
                    print(f"announced {alert.info_hash} {alert.ip}:{alert.port}", flush=True)
        time.sleep(0.02)


if __name__ == "__main__":
    main()
