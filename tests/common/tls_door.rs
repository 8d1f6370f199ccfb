//! A door of TLS in front of an HTTP server of the rig: whoever comes in speaks HTTPS, whoever is behind it HTTP.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion};

/// The certificate of every door, for `localhost`, `127.0.0.1` and the next hundred years. It signs itself: `openssl req
/// -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 -subj /CN=localhost -addext
/// subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE`.
pub const CERTIFICATE: &str = include_str!("tls/localhost.pem");

/// Opens nothing but these doors.
const KEY: &str = include_str!("tls/localhost.key");

/// The door; lives as long as the test program.
pub struct TlsDoor {
    address: SocketAddr,
}

impl TlsDoor {
    /// A door that speaks this version, to whoever serves this `http://` URL.
    pub fn before(url: &str, version: &'static SupportedProtocolVersion) -> TlsDoor {
        let behind: SocketAddr = url["http://".len()..].split('/').next().unwrap().parse().unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for guest in listener.incoming().flatten() {
                let config = Arc::clone(&config);
                thread::spawn(move || let_in(&guest, config, behind));
            }
        });
        TlsDoor { address }
    }

    /// The URL as it is on this side of the door.
    pub fn url(&self, behind: &str) -> String {
        let path = behind["http://".len()..].split_once('/').unwrap().1;
        format!("https://{}/{path}", self.address)
    }
}

/// Two threads a guest, one a direction; the lock is held while bytes are turned over, never while they are waited for.
fn let_in(guest: &TcpStream, config: Arc<ServerConfig>, behind: SocketAddr) {
    let tls = Arc::new(Mutex::new(ServerConnection::new(config).unwrap()));
    let Ok(host) = TcpStream::connect(behind) else { return };
    // As every server has it: otherwise a body waits for the acknowledgement of its head.
    let _ = guest.set_nodelay(true);
    let (theirs, ours, shared) = (host.try_clone(), guest.try_clone(), Arc::clone(&tls));
    let (Ok(theirs), Ok(ours)) = (theirs, ours) else { return };
    let out = thread::spawn(move || carry_out(&theirs, &ours, &shared));
    carry_in(guest, &host, &tls);
    let _ = host.shutdown(Shutdown::Write);
    let _ = out.join();
    let _ = guest.shutdown(Shutdown::Both);
}

fn carry_in(mut guest: &TcpStream, mut host: &TcpStream, tls: &Mutex<ServerConnection>) {
    let mut chunk = [0; 16 << 10];
    while let Ok(length @ 1..) = guest.read(&mut chunk) {
        let mut came = &chunk[..length];
        let mut plain = Vec::new();
        let mut tls = tls.lock().unwrap();
        while !came.is_empty() {
            tls.read_tls(&mut came).unwrap();
            let well = tls.process_new_packets().is_ok();
            while tls.wants_write() && tls.write_tls(&mut guest).is_ok() {}
            if !well {
                return;
            }
            match tls.reader().read_to_end(&mut plain) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
        drop(tls);
        if host.write_all(&plain).is_err() {
            return;
        }
    }
}

fn carry_out(mut host: &TcpStream, mut guest: &TcpStream, tls: &Mutex<ServerConnection>) {
    let mut chunk = [0; 16 << 10];
    loop {
        let length = host.read(&mut chunk).unwrap_or(0);
        let mut tls = tls.lock().unwrap();
        match length {
            0 => tls.send_close_notify(),
            _ => tls.writer().write_all(&chunk[..length]).unwrap(),
        }
        while tls.wants_write() {
            if tls.write_tls(&mut guest).is_err() {
                return;
            }
        }
        if length == 0 {
            let _ = guest.shutdown(Shutdown::Write);
            return;
        }
    }
}
