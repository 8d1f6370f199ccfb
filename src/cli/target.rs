//! A file that the command line names and that is written whole: a `.torrent`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::exit::{Code, Failure};
use crate::metainfo::{MAX_TORRENT_BYTES, Metainfo};
use crate::sys::file::{self, Access};

/// How many names for a draft are tried. Every process 1 has the same number, and one that was killed leaves its
/// draft behind.
const MAX_DRAFTS: u32 = 1_000;

/// As many links as the kernel follows in one path.
const MAX_LINKS: usize = 40;

/// Where a file goes. It is written under another name and renamed, so that nobody reads half of one; that other
/// file is made before the work begins, which may take hours. Pipes, devices and descriptors are written into.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    way: Way,
}

/// How it is written.
#[derive(Debug)]
enum Way {
    /// To this file, which has another name for now.
    Draft(PathBuf, File),
    /// To a descriptor that we were started with.
    Descriptor(File),
    /// To what is there. It isn't opened before there is something to write: a pipe may have no reader yet.
    Stream,
    /// It is written.
    Done,
}

impl Target {
    /// Sees to it that it can be written, and that nothing precious is lost: what is there stays unless it is a
    /// torrent, or `overwrite`. A link is never written through, unless it leads to something to write into.
    ///
    /// # Errors
    /// [`Code::InTheWay`] for what stays, and what the system says.
    pub fn prepare(path: PathBuf, overwrite: bool) -> Result<Self, Failure> {
        let in_the_way = |what| Err(Failure::new(Code::InTheWay, format!("{} {what}", path.display())));
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_symlink() => match way_through(&path) {
                Ok(Some(way)) => return Ok(Self { path, way }),
                Ok(None) if overwrite => {}
                Ok(None) => {
                    return in_the_way("is a link, and never written through; --overwrite replaces it");
                }
                Err(error) => return Err(cannot_write(&path, &error)),
            },
            Ok(meta) if meta.is_dir() => return in_the_way("is a folder"),
            Ok(meta) if !meta.is_file() => return Ok(Self { path, way: Way::Stream }),
            Ok(_) if !overwrite && !is_torrent(&path) => {
                return in_the_way("is there and is no torrent; --overwrite replaces it");
            }
            _ => {}
        }
        let (draft, file) = draft(&path).map_err(|error| cannot_write(&path, &error))?;
        Ok(Self { path, way: Way::Draft(draft, file) })
    }

    /// Where it goes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is called for now, where that is another name.
    pub fn draft(&self) -> Option<&Path> {
        match &self.way {
            Way::Draft(draft, _) => Some(draft),
            _ => None,
        }
    }

    /// Writes it. Into a pipe this takes as long as its reader does.
    ///
    /// # Errors
    /// What the system says; then what was there before still is.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.way {
            Way::Draft(draft, file) => {
                file.write_all(bytes)?;
                file.sync_all()?;
                fs::rename(draft, &self.path)?;
            }
            Way::Descriptor(file) => file.write_all(bytes)?,
            Way::Stream => fs::OpenOptions::new().write(true).open(&self.path)?.write_all(bytes)?,
            Way::Done => {}
        }
        self.way = Way::Done;
        Ok(())
    }
}

/// What isn't finished leaves nothing behind.
impl Drop for Target {
    fn drop(&mut self) {
        if let Some(draft) = self.draft() {
            let _ = fs::remove_file(draft);
        }
    }
}

/// The failure for a target that can't be written.
pub fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::disk("can't write", path, error)
}

/// A fresh file beside `path`. Its name is short, for that of the target may be as long as names can be.
fn draft(path: &Path) -> io::Result<(PathBuf, File)> {
    let process = std::process::id();
    for number in 0..MAX_DRAFTS {
        let draft = path.with_file_name(match number {
            0 => format!(".rill-{process}"),
            _ => format!(".rill-{process}.{number}"),
        });
        match file::open(&draft, Access::CreateNew) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|file| (draft, file)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// How to write through a link, as `/dev/stdout` is one; `None` where it leads to a file, a folder or nowhere.
fn way_through(link: &Path) -> io::Result<Option<Way>> {
    let mut path = link.to_path_buf();
    let descriptors = fs::canonicalize("/proc/self/fd").ok();
    for _ in 0..MAX_LINKS {
        let Ok(folder) = fs::canonicalize(folder_of(&path)) else { break };
        if Some(&folder) == descriptors.as_ref()
            && let Some(number) = path.file_name().and_then(|name| name.to_str()?.parse().ok())
        {
            // Opened anew it would be written from the beginning, over what others have written.
            return file::descriptor(number).map(|file| Some(Way::Descriptor(file)));
        }
        let Ok(next) = fs::read_link(&path) else { break };
        path = folder.join(next);
    }
    let is_stream = |meta: fs::Metadata| !meta.is_file() && !meta.is_dir();
    Ok(fs::metadata(link).is_ok_and(is_stream).then_some(Way::Stream))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Whether this is something we would have written: that may be replaced.
fn is_torrent(path: &Path) -> bool {
    let mut bytes = Vec::new();
    let is_read = File::open(path).is_ok_and(|file| {
        // A disk's image isn't read only to be refused.
        let fits = file.metadata().is_ok_and(|meta| meta.len() <= MAX_TORRENT_BYTES);
        fits && file.take(MAX_TORRENT_BYTES).read_to_end(&mut bytes).is_ok()
    });
    is_read && Metainfo::from_bytes(&bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use std::io::Seek;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::scratch::Scratch;

    fn refusal(path: &Path) -> Failure {
        Target::prepare(path.into(), false).unwrap_err()
    }

    #[test]
    fn what_was_left_by_a_namesake_is_in_nobody_s_way() {
        let scratch = Scratch::new();
        let path = scratch.join("x".repeat(255));
        let left: Vec<Target> = (0..3).map(|_| Target::prepare(path.clone(), false).unwrap()).collect();
        assert_eq!(scratch.names().len(), 3);
        for mut target in left {
            target.write(b"bytes").unwrap();
            assert_eq!(target.draft(), None);
        }
        assert_eq!(scratch.names(), ["x".repeat(255)]);
        assert!(refusal(&path).message.ends_with("is there and is no torrent; --overwrite replaces it"));
        drop(Target::prepare(path.clone(), true).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"bytes", "what isn't written changes nothing");
        assert_eq!(scratch.names().len(), 1);
    }

    #[test]
    fn links_to_files_are_replaced_only_when_asked_and_never_written_through() {
        let scratch = Scratch::new();
        let (torrent, link) = (scratch.join("t"), scratch.join("link"));
        fs::copy("testdata/single.torrent", &torrent).unwrap();
        let before = fs::read(&torrent).unwrap();
        drop(Target::prepare(torrent.clone(), false).unwrap());
        for goal in [&torrent, scratch.path(), Path::new("/nowhere/at/all")] {
            symlink(goal, &link).unwrap();
            let failure = refusal(&link);
            assert_eq!(failure.code, Code::InTheWay);
            assert!(failure.message.ends_with("--overwrite replaces it"), "{failure}");
            Target::prepare(link.clone(), true).unwrap().write(b"new").unwrap();
            assert_eq!(fs::read(&link).unwrap(), b"new");
            assert!(!link.is_symlink());
            fs::remove_file(&link).unwrap();
        }
        assert_eq!(fs::read(&torrent).unwrap(), before);
        assert_eq!(refusal(scratch.path()).code, Code::InTheWay);
    }

    #[test]
    fn links_to_devices_and_descriptors_are_written_into() {
        let scratch = Scratch::new();
        let (null, out, log) = (scratch.join("null"), scratch.join("out"), scratch.join("log"));
        symlink("/dev/null", &null).unwrap();
        Target::prepare(null.clone(), false).unwrap().write(b"bytes").unwrap();
        assert!(null.is_symlink());
        fs::write(&log, "before ").unwrap();
        let open = fs::OpenOptions::new().append(true).open(&log).unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&open);
        symlink(format!("/proc/self/fd/{number}"), scratch.join("step")).unwrap();
        symlink("step", &out).unwrap();
        Target::prepare(out.clone(), false).unwrap().write(b"bytes").unwrap();
        assert!(out.is_symlink());
        assert_eq!(fs::read(&log).unwrap(), b"before bytes");
    }

    #[test]
    fn a_torrent_of_any_length_that_is_read_may_be_replaced() {
        let scratch = Scratch::new();
        let small = fs::read("testdata/single.torrent").unwrap();
        assert!(is_torrent(&scratch.write("small", &small)));
        assert!(!is_torrent(&scratch.write("none", "none")) && !is_torrent(&scratch.join("gone")));
        // A torrent but for its length: what is in the comment is a hole.
        let large = scratch.join("large");
        let mut file = File::create(&large).unwrap();
        let comment = MAX_TORRENT_BYTES.to_string();
        write!(file, "d7:comment{comment}:").unwrap();
        file.seek_relative(MAX_TORRENT_BYTES as i64).unwrap();
        file.write_all(&small[small.windows(6).position(|at| at == b"4:info").unwrap()..]).unwrap();
        assert!(!is_torrent(&large));
    }
}
