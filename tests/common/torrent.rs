//! A torrent for tests: content, pieces, and the `.torrent` file, made with a bencoder of our own.

use std::path::{Path, PathBuf};

use sha1_smol::Sha1;

use super::link::Block;
use super::{Folder, noise};

/// A value in bencoding; dictionaries are written in the order given, so that tests can write bad ones.
pub enum Value {
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Dict(Vec<(String, Value)>),
    /// Bytes that go in as they are.
    Raw(Vec<u8>),
}

impl Value {
    pub fn text(text: &str) -> Value {
        Value::Bytes(text.as_bytes().to_vec())
    }

    pub fn dict<const N: usize>(items: [(&str, Value); N]) -> Value {
        Value::Dict(items.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }

    fn put(&self, out: &mut Vec<u8>) {
        let put_bytes = |bytes: &[u8], out: &mut Vec<u8>| {
            out.extend(format!("{}:", bytes.len()).bytes());
            out.extend(bytes);
        };
        match self {
            Value::Int(number) => out.extend(format!("i{number}e").bytes()),
            Value::Bytes(bytes) => put_bytes(bytes, out),
            Value::List(items) => {
                out.push(b'l');
                items.iter().for_each(|item| item.put(out));
                out.push(b'e');
            }
            Value::Dict(items) => {
                out.push(b'd');
                for (key, value) in items {
                    put_bytes(key.as_bytes(), out);
                    value.put(out);
                }
                out.push(b'e');
            }
            Value::Raw(bytes) => out.extend(bytes),
        }
    }
}

/// A torrent with its content in memory.
#[derive(Clone)]
pub struct Torrent {
    pub name: String,
    /// The files' paths below the torrent's folder, and their bytes; one file with an empty path is a
    /// single-file torrent.
    pub files: Vec<(String, Vec<u8>)>,
    /// All files, one after the other.
    pub bytes: Vec<u8>,
    pub piece_length: usize,
    /// The info value, raw.
    pub info: Vec<u8>,
    pub info_hash: [u8; 20],
}

impl Torrent {
    /// One file of noise.
    pub fn single(name: &str, length: usize, piece_length: usize) -> Torrent {
        Torrent::of(name, vec![(String::new(), noise(length as u64, length))], piece_length)
    }

    /// Many files of noise.
    pub fn many(name: &str, files: &[(&str, usize)], piece_length: usize) -> Torrent {
        let files = files.iter().enumerate();
        let files = files.map(|(seed, (path, length))| ((*path).to_owned(), noise(seed as u64 + 1, *length)));
        Torrent::of(name, files.collect(), piece_length)
    }

    pub fn of(name: &str, files: Vec<(String, Vec<u8>)>, piece_length: usize) -> Torrent {
        let bytes: Vec<u8> = files.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        let hashes = bytes.chunks(piece_length).flat_map(|piece| Sha1::from(piece).digest().bytes());
        let pieces = Value::Bytes(hashes.collect());
        let length = |bytes: &Vec<u8>| Value::Int(bytes.len() as i64);
        let info = match &files[..] {
            [(path, bytes)] if path.is_empty() => Value::dict([
                ("length", length(bytes)),
                ("name", Value::text(name)),
                ("piece length", Value::Int(piece_length as i64)),
                ("pieces", pieces),
            ]),
            files => Value::dict([
                ("files", Value::List(files.iter().map(|(path, bytes)| file(path, length(bytes))).collect())),
                ("name", Value::text(name)),
                ("piece length", Value::Int(piece_length as i64)),
                ("pieces", pieces),
            ]),
        }
        .encode();
        let info_hash = Sha1::from(&info).digest().bytes();
        Torrent { name: name.to_owned(), files, bytes, piece_length, info, info_hash }
    }

    pub fn pieces(&self) -> usize {
        self.bytes.len().div_ceil(self.piece_length)
    }

    /// The requests that fetch everything, in order.
    pub fn blocks(&self) -> Vec<Block> {
        let piece = |start: usize| start / self.piece_length;
        let starts = (0..self.pieces()).flat_map(|piece| {
            let from = piece * self.piece_length;
            (from..(from + self.piece_length).min(self.bytes.len())).step_by(16384)
        });
        starts
            .map(|start| {
                let end = ((piece(start) + 1) * self.piece_length).min(self.bytes.len());
                let begin = (start % self.piece_length) as u32;
                Block { piece: piece(start) as u32, begin, length: (end - start).min(16384) as u32 }
            })
            .collect()
    }

    /// The info-hash as forty hex digits.
    pub fn hex(&self) -> String {
        self.info_hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The bytes of a `.torrent` file that names these trackers, each in a tier of its own.
    pub fn encode(&self, trackers: &[&str]) -> Vec<u8> {
        self.encode_with(trackers, &[])
    }

    /// The bytes of a `.torrent` file that names these web seeds and no tracker.
    pub fn encode_with_web_seeds(&self, urls: &[&str]) -> Vec<u8> {
        self.encode_with(&[], urls)
    }

    /// The bytes of a `.torrent` file that names these trackers, each in a tier of its own, and these web seeds.
    pub fn encode_with(&self, trackers: &[&str], web_seeds: &[&str]) -> Vec<u8> {
        let mut items = Vec::new();
        if let Some(first) = trackers.first() {
            items.push(("announce".to_owned(), Value::text(first)));
        }
        if trackers.len() > 1 {
            let tiers = trackers.iter().map(|url| Value::List(vec![Value::text(url)]));
            items.push(("announce-list".to_owned(), Value::List(tiers.collect())));
        }
        items.push(("info".to_owned(), Value::Raw(self.info.clone())));
        if !web_seeds.is_empty() {
            let urls = web_seeds.iter().map(|url| Value::text(url));
            items.push(("url-list".to_owned(), Value::List(urls.collect())));
        }
        Value::Dict(items).encode()
    }

    /// Writes the `.torrent` file into the folder.
    pub fn write_file(&self, folder: &Folder, trackers: &[&str]) -> PathBuf {
        folder.write(format!("{}.torrent", self.name), &self.encode(trackers))
    }

    /// Writes the content into the folder, as a finished download would lie there.
    pub fn write_content(&self, folder: &Folder) -> PathBuf {
        for (path, bytes) in &self.files {
            folder.write(self.place(path), bytes);
        }
        folder.join(&self.name)
    }

    /// Where a file lies below the folder it was downloaded to.
    fn place(&self, path: &str) -> PathBuf {
        if path.is_empty() { PathBuf::from(&self.name) } else { Path::new(&self.name).join(path) }
    }

    /// Whether the folder holds exactly the right bytes under the final names; says what is wrong.
    pub fn compare(&self, folder: &Path) -> Result<(), String> {
        for (path, bytes) in &self.files {
            let place = folder.join(self.place(path));
            match std::fs::read(&place) {
                Ok(found) if found == *bytes => {}
                Ok(found) => {
                    let first = found.iter().zip(bytes).position(|(a, b)| a != b);
                    let (place, found, wanted) = (place.display(), found.len(), bytes.len());
                    return Err(format!("{place}: {found} bytes of {wanted}, first wrong one at {first:?}"));
                }
                Err(error) => return Err(format!("{}: {error}", place.display())),
            }
        }
        Ok(())
    }
}

fn file(path: &str, length: Value) -> Value {
    let path = Value::List(path.split('/').map(Value::text).collect());
    Value::dict([("length", length), ("path", path)])
}
