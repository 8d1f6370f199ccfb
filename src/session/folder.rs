//! The state folder: what is in it, and how it is read when a session begins.
//!
//! A torrent is `HASH.kept` (see [`Kept`]) with `HASH.torrent` or, while peers haven't told what it holds,
//! `HASH.magnet` beside it; `dht` holds nodes, `lock` keeps a second session away, and what begins with `.new-` was
//! being written when the power went. What can't be read is set aside as `NAME.bad`.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::kept::Kept;
use crate::bencode::{self, Dict};
use crate::compact;
use crate::id::InfoHash;
use crate::magnet::Magnet;
use crate::metainfo::Metainfo;
use crate::sorting::sort_by_key;
use crate::sys::rename_noreplace;
use crate::torrent::What;

/// The largest file read, in bytes: a torrent of four million pieces is 80 MB, and no larger one was ever taken.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// How long the session before may take to leave: a stop is over in three seconds.
const LOCK_WAIT: Duration = Duration::from_secs(4);

/// What a temporary name begins with.
pub const NEW: &str = ".new-";

/// What a file of the folder is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Name {
    /// What a torrent holds, and where to ask for it.
    Torrent(InfoHash),
    /// The link that a torrent came as.
    Magnet(InfoHash),
    /// What is remembered of a torrent beside that.
    Kept(InfoHash),
    /// Nodes of the DHT.
    Dht,
}

impl Name {
    /// The file's name.
    pub fn file(self) -> String {
        match self {
            Self::Torrent(info_hash) => format!("{info_hash}.torrent"),
            Self::Magnet(info_hash) => format!("{info_hash}.magnet"),
            Self::Kept(info_hash) => format!("{info_hash}.kept"),
            Self::Dht => "dht".to_owned(),
        }
    }
}

/// The folder, with a lock on it while it can be written to.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: Option<File>,
}

/// What was found in it.
#[derive(Debug, Default)]
pub struct Found {
    /// The torrents, in the order of the queue.
    pub torrents: Vec<(What, Kept)>,
    /// Nodes of the DHT.
    pub nodes: Vec<SocketAddr>,
    /// What a person should know, as sentences.
    pub warnings: Vec<String>,
}

impl Folder {
    /// Makes the folder, if need be, and takes it for this session. One that can't be written to is read all the
    /// same; the sentence then says why.
    ///
    /// # Errors
    /// A sentence, when something else has its name or another session has it.
    pub fn open(path: &Path) -> Result<(Self, Option<String>), String> {
        let trouble = |error: io::Error| format!("the state folder {}: {error}", path.display());
        if let Err(error) = fs::create_dir_all(path) {
            let hopeless =
                matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory);
            let folder = Self { path: path.to_path_buf(), _lock: None };
            return if hopeless { Err(trouble(error)) } else { Ok((folder, Some(trouble(error)))) };
        }
        let lock = File::options().create(true).truncate(false).write(true).open(path.join("lock"));
        let (lock, warning) = match lock {
            Ok(lock) => (Some(lock), None),
            Err(error) => (None, Some(trouble(error))),
        };
        if lock.as_ref().is_some_and(|lock| !take(lock)) {
            return Err(format!("the state folder {} belongs to another rill that runs", path.display()));
        }
        Ok((Self { path: path.to_path_buf(), _lock: lock }, warning))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads everything. What makes no sense is set aside, with a warning.
    pub fn read(&self) -> Found {
        let mut found = Found::default();
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    found.warnings.push(format!("can't read {}: {error}", self.path.display()));
                }
                return found;
            }
        };
        let names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        for name in &names {
            if name.starts_with(NEW) {
                let _ = fs::remove_file(self.path.join(name));
            } else if let Some(info_hash) = name.strip_suffix(".kept").and_then(InfoHash::from_hex) {
                match self.torrent(info_hash, &mut found.warnings) {
                    Ok(torrent) => found.torrents.push(torrent),
                    Err(why) => found.warnings.push(self.set_aside(Name::Kept(info_hash), &why)),
                }
            }
        }
        self.drop_strays(&names);
        sort_by_key(&mut found.torrents, |(_, kept)| (kept.place, kept.info_hash));
        match self.load(Name::Dht) {
            Ok(bytes) => match nodes_of(&bytes) {
                Some(nodes) => found.nodes = nodes,
                None => found.warnings.push(self.set_aside(Name::Dht, "it holds no nodes")),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => found.warnings.push(self.set_aside(Name::Dht, &error.to_string())),
        }
        found
    }

    fn torrent(&self, info_hash: InfoHash, warnings: &mut Vec<String>) -> Result<(What, Kept), String> {
        let bytes = self.load(Name::Kept(info_hash)).map_err(|error| error.to_string())?;
        let kept = Kept::decode(&bytes)?;
        if kept.info_hash != info_hash {
            return Err(format!("it is about {}", kept.info_hash));
        }
        let what = match self.load(Name::Torrent(info_hash)) {
            Ok(bytes) => whole(&bytes).inspect_err(|why| {
                warnings.push(self.set_aside(Name::Torrent(info_hash), why));
            }),
            Err(error) => Err(error.to_string()),
        };
        let what =
            what.or_else(|why| self.link(info_hash).map_err(|_| format!("its torrent is missing: {why}")))?;
        if what.info_hash() != info_hash {
            return Err(format!("beside it is the torrent {}", what.info_hash()));
        }
        Ok((what, kept))
    }

    fn link(&self, info_hash: InfoHash) -> Result<What, String> {
        let bytes = self.load(Name::Magnet(info_hash)).map_err(|error| error.to_string())?;
        link(&bytes)
    }

    fn load(&self, name: Name) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.path.join(name.file()))?.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Gives a file that can't be read another name. The sentence says so.
    fn set_aside(&self, name: Name, why: &str) -> String {
        let path = self.path.join(name.file());
        for number in 0..100 {
            let ending = if number == 0 { ".bad".to_owned() } else { format!(".bad.{number}") };
            let aside = PathBuf::from(format!("{}{ending}", path.display()));
            match rename_noreplace(&path, &aside) {
                Ok(()) => {
                    return format!(
                        "{} can't be used ({why}) and is now {}",
                        path.display(),
                        aside.display()
                    );
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(_) => break,
            }
        }
        format!("{} can't be used ({why})", path.display())
    }

    /// A torrent without its `.kept` was being added or removed when the power went, and nobody was told that it was
    /// added.
    fn drop_strays(&self, names: &[String]) {
        for name in names {
            let Some((stem, ending)) = name.rsplit_once('.') else { continue };
            let is_stray = matches!(ending, "torrent" | "magnet")
                && InfoHash::from_hex(stem).is_some()
                && !names
                    .iter()
                    .any(|other| other.strip_prefix(stem).is_some_and(|end| end.starts_with(".kept")));
            if is_stray {
                let _ = fs::remove_file(self.path.join(name));
            }
        }
    }
}

/// A torrent as it goes to the disk, and under which name.
pub fn papers_of(what: &What) -> (Name, Vec<u8>) {
    match what {
        What::Magnet(magnet) => (Name::Magnet(magnet.info_hash), magnet.to_string().into_bytes()),
        What::Known { info, trackers, web_seeds, nodes } => {
            let metainfo = Metainfo {
                info: info.as_ref().clone(),
                trackers: trackers.clone(),
                web_seeds: web_seeds.clone(),
                nodes: nodes.clone(),
                comment: None,
                created_by: None,
                creation_date: None,
            };
            (Name::Torrent(info.info_hash), metainfo.encode())
        }
    }
}

/// Takes the lock; whoever has it may be about to leave.
fn take(lock: &File) -> bool {
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match lock.try_lock() {
            // File systems that can't lock are written to all the same.
            Ok(()) | Err(TryLockError::Error(_)) => return true,
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return false,
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn whole(bytes: &[u8]) -> Result<What, String> {
    Metainfo::from_bytes(bytes).map(What::of).map_err(|error| error.to_string())
}

fn link(bytes: &[u8]) -> Result<What, String> {
    let link = Magnet::in_first_line(bytes).map(|magnet| What::Magnet(Box::new(magnet)));
    link.map_err(|error| error.to_string())
}

/// Nodes as they go to the disk: `version` (1), `nodes` and `nodes6`, packed.
pub fn encode_nodes(nodes: &[SocketAddr]) -> Vec<u8> {
    let packed = |v4: bool| {
        let mut bytes = Vec::new();
        nodes.iter().filter(|node| node.is_ipv4() == v4).for_each(|node| compact::write(*node, &mut bytes));
        bytes
    };
    bencode::encode(Dict::new().put("version", 1_u32).put("nodes", packed(true)).put("nodes6", packed(false)))
}

fn nodes_of(bytes: &[u8]) -> Option<Vec<SocketAddr>> {
    let saved = bencode::decode(bytes).ok()?;
    saved.get("version")?.as_int::<u32>().filter(|version| *version == 1)?;
    let v4 = compact::read_v4(saved.get("nodes")?.as_bytes()?);
    let v6 = compact::read_v6(saved.get("nodes6")?.as_bytes()?);
    Some(v4.chain(v6).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bencode::List;
    use crate::scratch::Scratch;

    /// The smallest torrent there is, and its link.
    fn papers() -> (Vec<u8>, InfoHash) {
        let info = Dict::new()
            .put("length", 1_u32)
            .put("name", "a")
            .put("piece length", 16_384_u32)
            .put("pieces", [7_u8; 20]);
        let bytes = bencode::encode(Dict::new().put("info", info));
        let info_hash = Metainfo::from_bytes(&bytes).unwrap().info.info_hash;
        (bytes, info_hash)
    }

    #[test]
    fn what_belongs_together_is_read_and_strays_go() {
        let scratch = Scratch::new();
        let path = scratch.join("state");
        let (folder, warning) = Folder::open(&path).unwrap();
        assert_eq!(warning, None);
        let (torrent, info_hash) = papers();
        let put = |name: Name, bytes: &[u8]| fs::write(path.join(name.file()), bytes).unwrap();
        let mut kept = Kept::new(info_hash, "/d".into(), 5);
        kept.place = 9;
        put(Name::Torrent(info_hash), &torrent);
        put(Name::Kept(info_hash), &kept.encode());
        // A link that was added before it, and a torrent whose adding was interrupted.
        let link = InfoHash::new([3; 20]);
        put(Name::Magnet(link), format!("magnet:?xt=urn:btih:{link}").as_bytes());
        put(Name::Kept(link), &Kept::new(link, "/d".into(), 6).encode());
        let stray = InfoHash::new([4; 20]);
        put(Name::Torrent(stray), &torrent);
        let nodes = ["192.0.2.1:6881".parse().unwrap(), "[2001:db8::1]:6882".parse().unwrap()];
        put(Name::Dht, &encode_nodes(&nodes));
        fs::write(path.join(".new-x"), "half").unwrap();

        let found = folder.read();
        assert_eq!(found.warnings, Vec::<String>::new());
        let hashes: Vec<InfoHash> = found.torrents.iter().map(|(what, _)| what.info_hash()).collect();
        assert_eq!(hashes, [link, info_hash]);
        assert_eq!(found.torrents[1].1, kept);
        assert_eq!(found.nodes, nodes);
        assert!(!path.join(Name::Torrent(stray).file()).exists() && !path.join(".new-x").exists());
        assert!(Folder::open(&path).unwrap_err().contains("belongs to another rill"));
    }

    #[test]
    fn what_makes_no_sense_is_kept_under_another_name() {
        let scratch = Scratch::new();
        let path = scratch.join("state");
        let (folder, _) = Folder::open(&path).unwrap();
        let (torrent, info_hash) = papers();
        let other = InfoHash::new([5; 20]);
        let put = |name: Name, bytes: &[u8]| fs::write(path.join(name.file()), bytes).unwrap();
        // Torn; about another torrent; without its torrent.
        put(Name::Kept(info_hash), b"d7:versioni1e");
        put(Name::Torrent(info_hash), &torrent);
        put(Name::Kept(other), &Kept::new(other, "/d".into(), 6).encode());
        put(Name::Torrent(other), &torrent);
        put(Name::Dht, &bencode::encode(List::of([1_u32])));
        let found = folder.read();
        assert_eq!((found.torrents.len(), found.warnings.len()), (0, 3), "{:?}", found.warnings);
        for name in [Name::Kept(info_hash), Name::Kept(other), Name::Dht] {
            assert!(path.join(format!("{}.bad", name.file())).exists() && !path.join(name.file()).exists());
        }
        assert!(path.join(Name::Torrent(info_hash).file()).exists(), "its torrent stays, too");
        put(Name::Kept(info_hash), b"again");
        assert!(folder.read().warnings[0].contains(".bad.1"));
    }
}
