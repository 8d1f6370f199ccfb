//! A peer's thread from its first moment to its last.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crossbeam_channel::unbounded;

use super::greeting::{self, Greeted, Host};
use super::link::Link;
use super::listener::Arrival;
use super::throttle::Throttle;
use super::worker::{Manners, Terms, Worker};
use super::{FromPeer, Leash, Letter, Met, PeerError, Share, Traffic};
use crate::id::InfoHash;
use crate::peer_key::PeerKey;
use crate::sys::Doorbell;
use crate::thread;
use crate::wire::extension::{self, ExtensionHandshake};
use crate::wire::mse::Encryption;

/// How a connection begins.
#[derive(Debug)]
pub enum Beginning {
    /// We dial this address.
    Dial(SocketAddr),
    /// It came to us.
    Arrived(Box<Arrival>),
}

/// What all peers of one torrent have in common.
#[derive(Clone, Debug)]
pub struct Company {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Who we are.
    pub host: Host,
    /// Where we listen; 0 when nowhere.
    pub port: u16,
    /// Whether peers may be told of peers (BEP 11); never for private torrents.
    pub pex: bool,
    /// Where our node of the DHT is, if peers are to hear of it (BEP 5); never for private torrents.
    pub dht_port: Option<u16>,
    /// Limits what comes in.
    pub down: Arc<Throttle>,
    /// Limits what goes out.
    pub up: Arc<Throttle>,
    /// What we have, once that is known.
    pub share: Option<Share>,
    /// Whether we want nothing more (BEP 21).
    pub upload_only: bool,
}

/// Starts the thread of one peer. All it has to say goes to `tell`, which gives false once nobody listens.
///
/// # Errors
/// When the system has no room for one more thread or descriptor.
pub fn start(
    key: PeerKey,
    beginning: Beginning,
    company: &Company,
    tell: impl Fn(Letter) -> bool + Clone + Send + 'static,
) -> io::Result<Leash> {
    let (letters, orders) = unbounded();
    let bell = Arc::new(Doorbell::new()?);
    let traffic = Arc::new(Traffic::default());
    let leash = Leash::new(letters, Arc::clone(&bell), Arc::clone(&traffic));
    let tell = leash.teller(key, tell);
    let last_word = tell.clone();
    let terms = Terms {
        tell: Box::new(tell),
        orders,
        bell,
        traffic,
        unheard: Arc::clone(leash.unheard()),
        down: Arc::clone(&company.down),
        up: Arc::clone(&company.up),
        extensions: company.extensions(),
        share: company.share.clone(),
    };
    let (info_hash, host, dht_port) = (company.info_hash, company.host, company.dht_port);
    let name = match &beginning {
        Beginning::Dial(address) => address.to_string(),
        Beginning::Arrived(arrival) => arrival.address.to_string(),
    };
    thread::spawn(
        &name,
        move || match begin(beginning, info_hash, &host) {
            Ok((address, greeted)) => live(address, greeted, host, dht_port, terms),
            Err(error) => error,
        },
        move |end| {
            last_word(FromPeer::Left(end.unwrap_or_else(PeerError::Bug)));
        },
    )?;
    Ok(leash)
}

impl Company {
    fn extensions(&self) -> ExtensionHandshake {
        ExtensionHandshake {
            ut_metadata: Some(extension::UT_METADATA),
            ut_pex: self.pex.then_some(extension::UT_PEX),
            lt_donthave: Some(extension::LT_DONTHAVE),
            version: Some(extension::VERSION.into()),
            listen_port: (self.port != 0).then_some(self.port),
            upload_only: self.upload_only,
            prefers_encryption: matches!(self.host.encryption, Encryption::Prefer | Encryption::Require),
            ..ExtensionHandshake::default()
        }
    }
}

fn begin(beginning: Beginning, info_hash: InfoHash, host: &Host) -> Result<(SocketAddr, Greeted), PeerError> {
    match beginning {
        Beginning::Dial(address) => Ok((address, greeting::dial(address, info_hash, host)?)),
        Beginning::Arrived(arrival) => Ok((arrival.address, arrival.greeted)),
    }
}

fn live(address: SocketAddr, greeted: Greeted, host: Host, dht_port: Option<u16>, terms: Terms) -> PeerError {
    let theirs = greeted.handshake;
    let met = Met {
        peer_id: theirs.peer_id,
        fast: theirs.reserved.fast() && host.reserved.fast(),
        extended: theirs.reserved.extended() && host.reserved.extended(),
        encrypted: greeted.encrypted,
    };
    let manners = Manners {
        fast: met.fast,
        extended: met.extended,
        ip: address.ip(),
        dht_port: dht_port.filter(|_| theirs.reserved.dht() && host.reserved.dht()),
        theirs: ExtensionHandshake::default(),
    };
    let link = match Link::new(greeted) {
        Ok(link) => link,
        Err(error) => return PeerError::Broken(error),
    };
    if !(terms.tell)(FromPeer::Met(met)) {
        return PeerError::LetGo;
    }
    Worker::new(terms, link, manners).run()
}
