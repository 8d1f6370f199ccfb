//! A `.torrent` as a checked value (BEP 3, 12, 19, 27, 47, 52): whoever holds one need not check it again.

use crate::geometry::Geometry;
use crate::id::InfoHash;

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
    pub padding: bool,
    /// To be marked executable (BEP 47, attribute `x`).
    pub executable: bool,
}
