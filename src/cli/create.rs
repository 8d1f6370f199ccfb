//! `rill create`: a `.torrent` from a file or a folder.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::args::Flags;
use super::exit::{Code, Failure};
use super::json::Object;
use super::meter::Meter;
use super::options::Opt;
use super::row::Ending;
use super::screen::{self, Output};
use super::settings::tracker_url;
use super::stop::Stop;
use super::target::{Target, cannot_write};
use super::units::{self, for_people};
use super::unix_time_s;
use crate::create::{CreateError, Created, Recipe};
use crate::glob::Glob;
use crate::magnet::Magnet;
use crate::metainfo::{Info, Metainfo};
use crate::sys::file::FileId;
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
        Some(out) if out.as_os_str().is_empty() => {
            return Err(Failure::usage("--out: `` is no name for a file"));
        }
        Some(out) => Some(out),
        None => Some(PathBuf::from(format!("{}.torrent", recipe.name_for(path).map_err(failure)?))),
    };
    // From here on there is a draft, which no signal may leave behind.
    let stop = Stop::install()?;
    let target = target.map(|target| {
        keep_apart(path, &target)?;
        Target::prepare(target, flags.has(Opt::Overwrite))
    });
    let mut target = target.transpose()?;
    match &target {
        Some(target) => recipe.exclude.extend(inside(path, target)),
        None if output.json => {
            return Err(Failure::usage("--json and `--out -` both want standard output"));
        }
        None => {}
    }
    if recipe.private && recipe.trackers.is_empty() {
        output.say("warning: a private torrent without a tracker finds no peers");
    }
    let created = hash(&recipe, path, output, &stop)?;
    match &mut target {
        None => screen::print_raw(&created.bytes)?,
        Some(target) => {
            let written = target.write(&created.bytes);
            written.map_err(|error| cannot_write(target.path(), &error))?;
            screen::print(&match output.json {
                true => event(&created, target.path()).to_string(),
                false => result(&created, flags.has(Opt::Magnet)),
            })?;
        }
    }
    output.say(&summary(&created, target.as_ref().map(Target::path)));
    if target.is_none() {
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
    let urls: Vec<&str> = text.split(',').map(str::trim).filter(|url| !url.is_empty()).collect();
    match urls[..] {
        [] => tracker_url(text).map(|url| vec![url]),
        _ => urls.into_iter().map(tracker_url).collect(),
    }
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

fn event(created: &Created, written: &Path) -> Object {
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
        .put("path", written.display().to_string())
        .put("code", Code::Done.number())
}

/// Patterns that keep the target out of the torrent, if it is written to the very folder.
fn inside(folder: &Path, target: &Target) -> Vec<Glob> {
    let Some(draft) = target.draft() else { return Vec::new() };
    let (Ok(folder), Ok(draft)) = (fs::canonicalize(folder), fs::canonicalize(draft)) else {
        return Vec::new();
    };
    let target = draft.with_file_name(target.path().file_name().unwrap_or_default());
    [target, draft]
        .iter()
        .filter_map(|path| path.strip_prefix(&folder).ok())
        .map(|path| Glob::exactly(&path.to_string_lossy()))
        .collect()
}

/// What a torrent is made of isn't replaced by it, whatever is typed.
fn keep_apart(source: &Path, target: &Path) -> Result<(), Failure> {
    // A link at the target is replaced itself: what it leads to stays.
    let there = fs::symlink_metadata(target).map(|meta| FileId::of(&meta));
    match (FileId::at(source), there) {
        (Ok(source), Ok(there)) if source == there => {
            let sentence = format!("{} is what the torrent is made of", target.display());
            Err(Failure::new(Code::InTheWay, sentence))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn tiers_and_dates_are_read() {
        assert_eq!(tier("http://a, udp://b,").unwrap(), ["http://a", "udp://b"]);
        for bad in ["", " , ", "foo://bar", "http://a,b", "http://a:99999/"] {
            assert!(tier(bad).is_err(), "{bad}");
        }
        assert_eq!(date("-5"), Ok(-5));
        assert!(date("now").unwrap() > 1_700_000_000);
        assert_eq!(date("soon").unwrap_err(), "`soon` is neither `now` nor a number of Unix seconds");
    }

    #[test]
    fn what_went_wrong_finds_its_code() {
        assert_eq!(failure(CreateError::PieceLength(3)).code, Code::Usage);
        assert_eq!(failure(CreateError::Link("a".into())).code, Code::Disk);
        let missing = CreateError::Io { path: "a".into(), error: io::Error::from_raw_os_error(libc::ENOENT) };
        assert_eq!(failure(missing), Failure::new(Code::Disk, "can't read a: no such file or directory"));
    }
}
