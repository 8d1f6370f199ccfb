//! A `.torrent` as a checked value (BEP 3, 12, 19, 27, 47, 52): whoever holds one need not check it again.
//!
//! Names are made safe by one rule, so that the result can be foretold. A component goes through
//! [`text::file_name`]: control characters, marks that turn the reading direction, `/` and `\` become `_`; bytes
//! that aren't UTF-8 become `%` and two hexadecimal digits; more than 255 bytes (240 for the torrent's own name,
//! which grows a `.part`) are cut in front of the extension. Empty components and `.` are left out of a path.
//! Refused are `..`, a path or a name of which nothing is left, a path of more than [`MAX_PATH_BYTES`], two files
//! of one path, and a file named as another's folder. `name.utf-8` and `path.utf-8` are preferred where they
//! are. Whether a file system tells upper case from lower is not asked here.

mod error;
mod files;

pub use error::{FileFault, TorrentError};
pub use files::{MAX_COMPONENTS, MAX_FILES, MAX_NAME_BYTES, MAX_PATH_BYTES};

use crate::bencode::{self, Dict, List, Raw, Value};
use crate::geometry::Geometry;
use crate::id::InfoHash;
use crate::{sha1, text};

/// The most that is read of a `.torrent`, in bytes: four million hashes are 80 MB, and the names of half a million
/// files fit beside them.
pub const MAX_TORRENT_BYTES: u64 = 128 * 1024 * 1024;

/// The most trackers kept: long lists in the wild have a hundred or two, and each is asked from a thread of its
/// own.
pub const MAX_TRACKERS: usize = 250;

/// The most web seeds kept: each is a thread and a connection.
pub const MAX_WEB_SEEDS: usize = 100;

/// The most DHT nodes kept: one that answers is enough to begin with.
pub const MAX_NODES: usize = 100;

/// How much of a comment, a maker's name or a source is kept, in bytes.
pub const MAX_PROSE_BYTES: usize = 4096;

/// A whole `.torrent` file: what is in it, and where to ask for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metainfo {
    /// What the torrent holds.
    pub info: Info,
    /// Where to announce: tiers of URLs (BEP 12), the single `announce` as the only tier where there are none.
    pub trackers: Vec<Vec<String>>,
    /// HTTP servers that hold the same files (BEP 19).
    pub web_seeds: Vec<String>,
    /// DHT nodes to begin with: host and port (BEP 5).
    pub nodes: Vec<(String, u16)>,
    /// Free text by whoever made it.
    pub comment: Option<String>,
    /// The program that made it.
    pub created_by: Option<String>,
    /// When it was made, in Unix seconds.
    pub creation_date: Option<i64>,
}

/// The info value: what the info-hash names, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Info {
    /// SHA-1 over [`raw`](Self::raw).
    pub info_hash: InfoHash,
    /// The info value's bytes as they came, never re-encoded.
    pub raw: Vec<u8>,
    /// The file's or folder's name, made safe for file systems and terminals.
    pub name: String,
    /// How the bytes are cut into pieces.
    pub geometry: Geometry,
    /// The SHA-1 of every piece.
    pub hashes: Vec<[u8; 20]>,
    /// The files in the order of their bytes, padding included. A single-file torrent has one, with an
    /// empty path.
    pub files: Vec<File>,
    /// Whether [`name`](Self::name) is a folder with files in it, rather than the file itself.
    pub is_folder: bool,
    /// Peers come from its trackers alone (BEP 27).
    pub private: bool,
    /// What tells apart otherwise equal torrents of different trackers.
    pub source: Option<String>,
}

/// One file of a torrent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// Its path below the torrent's folder, component by component, made safe; empty for a single file.
    pub path: Vec<String>,
    /// Its length in bytes.
    pub length: u64,
    /// Where it begins in the torrent's bytes.
    pub offset: u64,
    /// Only there to align the next file (BEP 47): zeros that take no disk space and appear in no listing.
    /// Symbolic links count as padding too: nothing a stranger sends may point elsewhere.
    pub padding: bool,
    /// To be marked executable (BEP 47, attribute `x`).
    pub executable: bool,
}

impl Metainfo {
    /// Reads and checks a whole `.torrent` file. What is merely odd outside the info value (a tracker that is no
    /// text, a node without a port) is left out; whatever is wrong inside it is an error.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TorrentError> {
        let torrent = bencode::decode(bytes).map_err(TorrentError::Bencode)?;
        let info = torrent.get("info").ok_or(TorrentError::NoInfo)?;
        Ok(Self {
            info: Info::from_raw(info.raw().to_vec())?,
            trackers: trackers(torrent),
            web_seeds: urls(torrent.get("url-list")).take(MAX_WEB_SEEDS).collect(),
            nodes: nodes(torrent.get("nodes")),
            comment: prose(torrent, "comment.utf-8").or_else(|| prose(torrent, "comment")),
            created_by: prose(torrent, "created by"),
            creation_date: torrent.get("creation date").and_then(Value::as_int),
        })
    }

    /// The `.torrent` file: the info value's bytes as they are, the rest around it in canonical form.
    pub fn encode(&self) -> Vec<u8> {
        let announce = self.trackers.iter().flatten().next();
        let tiers = (self.trackers.iter().flatten().count() > 1)
            .then(|| List::of(self.trackers.iter().map(List::of)));
        let nodes = List::of(self.nodes.iter().map(|(host, port)| {
            let mut node = List::of([host]);
            node.push(*port);
            node
        }));
        let dict = Dict::new()
            .put_some("announce", announce)
            .put_some("announce-list", tiers)
            .put_some("comment", self.comment.as_ref())
            .put_some("created by", self.created_by.as_ref())
            .put_some("creation date", self.creation_date)
            .put("info", Raw(&self.info.raw))
            .put_some("nodes", (!self.nodes.is_empty()).then_some(nodes))
            .put_some("url-list", (!self.web_seeds.is_empty()).then(|| List::of(&self.web_seeds)));
        bencode::encode(dict)
    }
}

impl Info {
    /// Reads and checks an info value, from a file or from peers (BEP 9); its hash is taken over these bytes.
    pub fn from_raw(raw: Vec<u8>) -> Result<Self, TorrentError> {
        let info = bencode::decode(&raw).map_err(TorrentError::Bencode)?;
        info.as_dict().ok_or(TorrentError::NoInfo)?;
        let Some(pieces) = info.get("pieces").and_then(Value::as_bytes) else {
            let v2 = info.get("file tree").is_some() || info.get("meta version").is_some();
            return Err(if v2 { TorrentError::V2Only } else { TorrentError::Missing("pieces") });
        };
        let name = files::name(info)?;
        let (files, is_folder) = files::read(info)?;
        let total = files.last().map_or(0, |file| file.offset + file.length);
        let geometry = Geometry::new(total, piece_length(info)?).map_err(TorrentError::Geometry)?;
        let hashes = hashes(pieces, geometry)?;
        let private = info.get("private").is_some_and(Value::is_set);
        let source = prose(info, "source");
        let info_hash = InfoHash::new(sha1::digest(&raw));
        Ok(Self { info_hash, name, geometry, hashes, files, is_folder, private, source, raw })
    }

    /// The bytes of all files, without padding; at least one.
    pub fn content_bytes(&self) -> u64 {
        self.files.iter().filter(|file| !file.padding).map(|file| file.length).sum()
    }

    /// How a file is listed: its path below the torrent's folder, or the name of the single file.
    pub fn path_of(&self, file: &File) -> String {
        if self.is_folder { file.path.join("/") } else { self.name.clone() }
    }
}

fn piece_length(info: Value<'_>) -> Result<u64, TorrentError> {
    let length = info.get("piece length").and_then(Value::as_int::<i128>);
    let length = length.ok_or(TorrentError::Missing("piece length"))?;
    u64::try_from(length).map_err(|_| TorrentError::PieceLength(length))
}

fn hashes(pieces: &[u8], geometry: Geometry) -> Result<Vec<[u8; 20]>, TorrentError> {
    let (hashes, rest) = pieces.as_chunks::<20>();
    if !rest.is_empty() {
        return Err(TorrentError::HashBytes(pieces.len()));
    }
    if hashes.len() != geometry.pieces() as usize {
        return Err(TorrentError::HashCount { hashes: hashes.len(), pieces: geometry.pieces() });
    }
    Ok(hashes.to_vec())
}

/// The tiers (BEP 12), or `announce` where there are none. Each URL counts once.
fn trackers(torrent: Value<'_>) -> Vec<Vec<String>> {
    let mut seen = Vec::new();
    let mut tier = |value| -> Vec<String> {
        let mut tier = Vec::new();
        for url in urls(value) {
            if seen.len() < MAX_TRACKERS && !seen.contains(&url) {
                seen.push(url.clone());
                tier.push(url);
            }
        }
        tier
    };
    let list = torrent.get("announce-list").into_iter().flat_map(Value::items);
    // `urls` reads a bare string as well: some makers leave out the inner lists.
    let mut tiers: Vec<_> = list.map(|value| tier(Some(value))).filter(|tier| !tier.is_empty()).collect();
    if tiers.is_empty() {
        tiers.extend(Some(tier(torrent.get("announce"))).filter(|tier| !tier.is_empty()));
    }
    tiers
}

/// The URLs of a list, or the one of a bare string; what can't be one is left out.
fn urls(value: Option<Value<'_>>) -> impl Iterator<Item = String> {
    let list = value.into_iter().flat_map(|value| value.items().chain(value.as_bytes().map(|_| value)));
    list.filter_map(|value| text::url(value.as_str()?).map(str::to_owned))
}

fn nodes(value: Option<Value<'_>>) -> Vec<(String, u16)> {
    let list = value.into_iter().flat_map(Value::items);
    let nodes = list.filter_map(|node| {
        let mut node = node.items();
        let (host, port) = (node.next()?.as_str()?, node.next()?.as_int()?);
        let sound = !host.is_empty() && text::prose(host.as_bytes(), text::MAX_FILE_NAME_BYTES) == host;
        (sound && port != 0).then(|| (host.to_owned(), port))
    });
    nodes.take(MAX_NODES).collect()
}

fn prose(dict: Value<'_>, key: &str) -> Option<String> {
    let bytes = dict.get(key)?.as_bytes()?;
    Some(text::prose(bytes, MAX_PROSE_BYTES)).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
