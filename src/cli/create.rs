//! `rill create`: a `.torrent` from a file or a folder.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::args::Flags;
use super::exit::{Code, Failure};
use super::json::Object;
use super::meter::Meter;
use super::options::Opt;
use super::row::Ending;
use super::screen::{self, Output};
use super::stop::Stop;
use super::units::{self, for_people};
use super::unix_time_s;
use crate::create::{CreateError, Created, Recipe};
use crate::glob::Glob;
use crate::magnet::Magnet;
use crate::metainfo::{Info, MAX_TORRENT_BYTES, Metainfo};
use crate::sys::file::{self, Access};
use crate::text::count;

/// Runs the command with these flags.
///
/// # Errors
/// Why it couldn't be done, with the code to exit with.
pub fn run(flags: &Flags, output: Output) -> Result<Code, Failure> {
    let mut recipe = recipe(flags)?;
    let path = Path::new(&flags.operands[0]);
    let target = match flags.path(Opt::Out) {
        Some(out) if out.as_os_str() == "-" => None,
        Some(out) => Some(out),
        None => Some(PathBuf::from(format!("{}.torrent", recipe.name_for(path).map_err(failure)?))),
    };
    // From here on there is a draft, which no signal may leave behind.
    let stop = Stop::install()?;
    let target = target.map(|path| Target::prepare(path, flags.has(Opt::Overwrite))).transpose()?;
    match &target {
        Some(target) => recipe.exclude.extend(target.inside(path)),
        None if output.json => {
            return Err(Failure::usage("--json and `--out -` both want standard output"));
        }
        None => {}
    }
    if recipe.private && recipe.trackers.is_empty() {
        output.say("warning: a private torrent without a tracker finds no peers");
    }
    let created = hash(&recipe, path, output, &stop)?;
    let written = match target {
        Some(target) => Some(target.write(&created.bytes)?),
        None => None,
    };
    match &written {
        None => screen::print_raw(&created.bytes)?,
        Some(_) if output.json => screen::print(&event(&created, written.as_deref()).to_string())?,
        Some(_) => screen::print(&result(&created, flags.has(Opt::Magnet)))?,
    }
    output.say(&summary(&created, written.as_deref()));
    if written.is_none() {
        output.say(&result(&created, flags.has(Opt::Magnet)));
    }
    Ok(Code::Done)
}

/// What these flags want the torrent to be like.
///
/// # Errors
/// The first value that makes no sense, with the name of its option.
pub fn recipe(flags: &Flags) -> Result<Recipe, Failure> {
    Ok(Recipe {
        name: flags.text(Opt::Name)?,
        piece_bytes: flags.read(Opt::PieceLength, units::size)?,
        trackers: flags.read_all(Opt::Tracker, tier)?,
        web_seeds: flags.read_all(Opt::WebSeed, |text| Ok(text.to_owned()))?,
        private: flags.has(Opt::Private),
        source: flags.text(Opt::Source)?,
        comment: flags.text(Opt::Comment)?,
        date: flags.read(Opt::Date, date)?,
        exclude: flags.read_all(Opt::Exclude, |text| Glob::new(text).map_err(|error| error.to_string()))?,
        hidden: flags.has(Opt::Hidden),
    })
}

/// Makes the torrent, and shows a person how far it is. A signal breaks it off.
///
/// # Errors
/// Why it couldn't be made, with the code to exit with.
pub fn hash(recipe: &Recipe, path: &Path, output: Output, stop: &Stop) -> Result<Created, Failure> {
    let mut meter = Meter::new(output, "hashing");
    let made = recipe.create(path, |progress| {
        meter.show(progress.done, progress.total);
        if stop.code().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    drop(meter);
    made.map_err(|error| match (error, stop.code()) {
        (CreateError::Cancelled, Some(code)) => {
            Failure::new(code, format!("{}; nothing was written", Ending::Stopped(code).reason()))
        }
        (error, _) => failure(error),
    })
}

fn failure(error: CreateError) -> Failure {
    let code = match &error {
        CreateError::Io { path, error } => return Failure::disk("can't read", path, error),
        CreateError::PieceLength(_) | CreateError::Name(_) | CreateError::Url(_) => Code::Usage,
        CreateError::Changed(_) | CreateError::Link(_) | CreateError::Special(_) => Code::Disk,
        _ => Code::Other,
    };
    Failure::new(code, error.to_string())
}

/// One `--tracker`: a tier, its URLs with commas between them.
fn tier(text: &str) -> Result<Vec<String>, String> {
    Ok(text.split(',').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned).collect())
}

fn date(text: &str) -> Result<i64, String> {
    match text {
        "now" => Ok(unix_time_s() as i64),
        _ => text.parse().map_err(|_| format!("`{text}` is neither `now` nor a number of Unix seconds")),
    }
}

/// What was asked for: the info-hash, and the magnet link if that was.
fn result(created: &Created, with_link: bool) -> String {
    let hash = created.metainfo.info.info_hash.to_string();
    if with_link { format!("{hash}\n{}", Magnet::from(&created.metainfo)) } else { hash }
}

/// What a person likes to know besides.
fn summary(created: &Created, written: Option<&Path>) -> String {
    let Info { name, geometry, files, is_folder, .. } = &created.metainfo.info;
    let to = written.map_or_else(|| name.clone(), |path| path.display().to_string());
    let in_files = match is_folder {
        false => String::new(),
        true => format!(" in {}", count(files.len() as u64, "file")),
    };
    let hidden = match created.hidden_left_out {
        0 => "",
        1 => "; a hidden one was left out",
        _ => "; hidden ones were left out",
    };
    format!(
        "{to}: {}{in_files}, {} of {}{hidden}",
        for_people(geometry.total_bytes()),
        count(u64::from(geometry.pieces()), "piece"),
        for_people(u64::from(geometry.piece_bytes())),
    )
}

fn event(created: &Created, written: Option<&Path>) -> Object {
    let Metainfo { info, .. } = &created.metainfo;
    screen::event("complete", unix_time_s())
        .put("info_hash", info.info_hash.to_string())
        .put("name", &info.name)
        .put("size", info.content_bytes())
        .put("piece_length", info.geometry.piece_bytes())
        .put("pieces", info.geometry.pieces())
        .put("files", info.files.len())
        .put("hidden_left_out", created.hidden_left_out)
        .put("magnet", Magnet::from(&created.metainfo).to_string())
        .put_some("path", written.map(|path| path.display().to_string()))
        .put("code", Code::Done.number())
}

/// Where the `.torrent` goes. It is written under another name and renamed, so that nobody reads half of one; the
/// file is made before the hashing begins, which may take hours.
struct Target {
    path: PathBuf,
    /// What is written to, and its name for now; `None` where the target is a pipe or a device.
    draft: Option<(PathBuf, File)>,
}

impl Target {
    fn prepare(path: PathBuf, overwrite: bool) -> Result<Self, Failure> {
        match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => {
                return Err(Failure::new(Code::InTheWay, format!("{} is a folder", path.display())));
            }
            Ok(meta) if !meta.is_file() => return Ok(Self { path, draft: None }),
            Ok(_) if !overwrite && !is_torrent(&path) => {
                let sentence =
                    format!("{} is there and is no torrent; --overwrite replaces it", path.display());
                return Err(Failure::new(Code::InTheWay, sentence));
            }
            _ => {}
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let draft = path.with_file_name(format!(".{name}.{}", std::process::id()));
        let file = file::open(&draft, Access::CreateNew).map_err(|error| cannot_write(&path, &error))?;
        Ok(Self { path, draft: Some((draft, file)) })
    }

    /// Patterns that keep it out of the torrent, if it is written to the very folder.
    fn inside(&self, folder: &Path) -> Vec<Glob> {
        let Some((draft, _)) = &self.draft else { return Vec::new() };
        let (Ok(folder), Ok(draft)) = (fs::canonicalize(folder), fs::canonicalize(draft)) else {
            return Vec::new();
        };
        let target = draft.with_file_name(self.path.file_name().unwrap_or_default());
        [target, draft]
            .iter()
            .filter_map(|path| path.strip_prefix(&folder).ok())
            .map(|path| Glob::exactly(&path.to_string_lossy()))
            .collect()
    }

    fn write(mut self, bytes: &[u8]) -> Result<PathBuf, Failure> {
        let written = match &mut self.draft {
            Some((draft, file)) => {
                let written = file.write_all(bytes).and_then(|()| file.sync_all());
                written.and_then(|()| fs::rename(draft, &self.path))
            }
            None => {
                fs::OpenOptions::new().write(true).open(&self.path).and_then(|mut file| file.write_all(bytes))
            }
        };
        written.map_err(|error| cannot_write(&self.path, &error))?;
        self.draft = None;
        Ok(std::mem::take(&mut self.path))
    }
}

/// What isn't finished leaves nothing behind.
impl Drop for Target {
    fn drop(&mut self) {
        if let Some((draft, _)) = &self.draft {
            let _ = fs::remove_file(draft);
        }
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::disk("can't write", path, error)
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

    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn tiers_and_dates_are_read() {
        assert_eq!(tier("http://a, udp://b").unwrap(), ["http://a", "udp://b"]);
        assert_eq!(date("-5"), Ok(-5));
        assert!(date("now").unwrap() > 1_700_000_000);
        assert_eq!(date("soon").unwrap_err(), "`soon` is neither `now` nor a number of Unix seconds");
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

    #[test]
    fn what_went_wrong_finds_its_code() {
        assert_eq!(failure(CreateError::PieceLength(3)).code, Code::Usage);
        assert_eq!(failure(CreateError::Link("a".into())).code, Code::Disk);
        let missing = CreateError::Io { path: "a".into(), error: io::Error::from_raw_os_error(libc::ENOENT) };
        assert_eq!(failure(missing), Failure::new(Code::Disk, "can't read a: no such file or directory"));
    }
}
