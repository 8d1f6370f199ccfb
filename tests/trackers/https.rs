//! HTTPS from end to end: a torrent fetched over it, announced over it, downloaded over it; and servers whose certificate
//! nobody we trust has signed.

use crate::common::{Answer, CERTIFICATE, Folder, Manner, Rill, TlsDoor, Torrent, Tracker, WebServer};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

fn torrent() -> Torrent {
    Torrent::single("over tls.bin", (1 << 20) + 321, 64 << 10)
}

#[test]
fn torrent_tracker_and_web_seed_may_all_be_https() {
    all_over_tls(&TLS13);
}

#[test]
fn old_servers_are_understood() {
    all_over_tls(&TLS12);
}

#[test]
fn a_certificate_that_nobody_we_trust_has_signed_is_refused() {
    let folder = Folder::new("https");
    let desk = Tracker::start(Answer::Body(torrent().encode(&[])));
    let url = TlsDoor::before(&desk.url(), &TLS13).url(&format!("{}?a=b", desk.url()));
    let get = || Rill::new(["get", &url, "--dir"]).arg(folder.join("out"));
    get().run().expect(4).says("certificate");
    assert!(desk.announces().is_empty(), "nothing was asked before the certificate was seen");
    // The reason is that of the one who set the variable, not the server's.
    let absent = get().env("SSL_CERT_FILE", "/nowhere/ca.pem").run();
    absent.expect(4).says("the certificates in SSL_CERT_FILE=/nowhere/ca.pem can't be used: no such file");
    // Who speaks no TLS isn't bothered.
    Rill::new(["show", &desk.url()]).env("SSL_CERT_FILE", "/nowhere/ca.pem").run().expect(0);
}

fn all_over_tls(version: &'static SupportedProtocolVersion) {
    let folder = Folder::new("https");
    let (torrent, out) = (torrent(), folder.join("out"));
    let trusted = folder.write("ca.pem", CERTIFICATE.as_bytes());
    let shop = WebServer::start(&torrent, Manner::Honest);
    let tracker = Tracker::start(Answer::Peers(Vec::new()));
    let web_seed = TlsDoor::before(&shop.url(), version).url(&shop.url());
    let announce = TlsDoor::before(&tracker.url(), version).url(&tracker.url());
    // A tracker that answers with a torrent whatever it is asked is a web server.
    let desk = Tracker::start(Answer::Body(torrent.encode_with(&[&announce], &[&web_seed])));
    let url = TlsDoor::before(&desk.url(), version).url(&format!("{}?a=b", desk.url()));
    let get = Rill::new(["get", &url, "--dir"]).arg(&out);
    get.env("SSL_CERT_FILE", trusted.to_str().unwrap()).run().expect(0);
    torrent.compare(&out).unwrap();
    assert_eq!(shop.sent(), torrent.bytes.len() as u64, "nothing is fetched twice");
    assert_eq!(tracker.events(), ["started", "completed", "stopped"]);
    assert_eq!(desk.announces().len(), 1);
}
