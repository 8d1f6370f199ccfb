//! `rill ctl`: asks a session that runs elsewhere.

use std::ffi::OsString;
use std::path::Path;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use super::args::Flags;
use super::exit::{Code, Failure};
use super::json::Value;
use super::options::Opt;
use super::remote::{Remote, Reply};
use super::report;
use super::screen::{self, Output};
use super::source::{Found, Source};
use crate::id::InfoHash;
use crate::magnet::parse_info_hash;

/// The least of an info-hash that may stand for all of it, in digits: less is a typing error.
const LEAST_DIGITS: usize = 4;

/// What a session is asked to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    List,
    Status,
    Add,
    To(Deed),
}

/// What is done to a torrent that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deed {
    Show,
    Remove,
    Pause,
    Resume,
    Recheck,
}

const ACTIONS: [(&str, Action); 8] = [
    ("list", Action::List),
    ("status", Action::Status),
    ("show", Action::To(Deed::Show)),
    ("add", Action::Add),
    ("remove", Action::To(Deed::Remove)),
    ("pause", Action::To(Deed::Pause)),
    ("resume", Action::To(Deed::Resume)),
    ("recheck", Action::To(Deed::Recheck)),
];

/// Runs the command with these flags.
///
/// # Errors
/// Why it couldn't be done, with the code to exit with.
pub fn run(flags: &Flags, output: Output) -> Result<Code, Failure> {
    let (first, words) = flags.operands.split_first().expect("the table of commands asks for one");
    let action = action(first)?;
    check(flags, action, words)?;
    let ctl = Ctl { remote: Remote::of(flags)?, flags, output };
    match action {
        Action::List => ctl.print(&ctl.remote.ask("GET", "torrents", &[])?, report::list)?,
        Action::Status => ctl.print(&ctl.remote.ask("GET", "status", &[])?, report::status)?,
        Action::Add => return ctl.each(words, &|word| ctl.add(word)),
        Action::To(deed) => return ctl.each(words, &|word| ctl.act(deed, word)),
    }
    Ok(Code::Done)
}

fn action(word: &OsString) -> Result<Action, Failure> {
    let known = ACTIONS.iter().find(|(name, _)| *word == *name).map(|(_, action)| *action);
    known.ok_or_else(|| {
        let names: Vec<&str> = ACTIONS.iter().map(|(name, _)| *name).collect();
        let word = word.to_string_lossy();
        Failure::usage(format!("`rill ctl` can't {word}; it can {}", names.join(", ")))
    })
}

/// Whether words and options go with the action.
fn check(flags: &Flags, action: Action, words: &[OsString]) -> Result<(), Failure> {
    let name = ACTIONS.iter().find(|(_, other)| *other == action).map_or("", |(name, _)| name);
    match (action, words.first()) {
        (Action::List | Action::Status, Some(word)) => {
            let word = word.to_string_lossy();
            return Err(Failure::usage(format!("`rill ctl {name}` doesn't know what to do with `{word}`")));
        }
        (Action::List | Action::Status, None) => {}
        (_, None) => return Err(Failure::usage(format!("`rill ctl {name}` needs a WHICH"))),
        _ => {}
    }
    for (option, belongs_to) in
        [(Opt::WithData, Action::To(Deed::Remove)), (Opt::Paused, Action::Add), (Opt::Dir, Action::Add)]
    {
        // The environment is the same for every action.
        if flags.is_typed(option) && action != belongs_to {
            return Err(Failure::usage(format!("{} means nothing to `rill ctl {name}`", option.row().long)));
        }
    }
    Ok(())
}

/// The session, and how it is asked.
struct Ctl<'a> {
    remote: Remote,
    flags: &'a Flags,
    output: Output,
}

impl Ctl<'_> {
    /// Does it to each of these torrents; what goes wrong with one is said, and the others have their turn.
    fn each(
        &self,
        words: &[OsString],
        act: &dyn Fn(&OsString) -> Result<(), Failure>,
    ) -> Result<Code, Failure> {
        let mut failures = Vec::new();
        for word in words {
            if let Err(failure) = act(word) {
                failures.push(failure);
            }
        }
        match (failures.len(), words.len()) {
            (0, _) => Ok(Code::Done),
            (_, 1) => Err(failures.remove(0)),
            (failed, all) => {
                failures.iter().for_each(|failure| self.output.say(&format!("rill: {failure}")));
                Err(Failure::new(Code::SomeFailed, format!("{failed} of {all} torrents failed")))
            }
        }
    }

    fn act(&self, deed: Deed, word: &OsString) -> Result<(), Failure> {
        let place = format!("torrents/{}", self.find(&word.to_string_lossy())?);
        let (method, path, done) = match deed {
            Deed::Show => return self.print(&self.remote.ask("GET", &place, &[])?, report::one),
            Deed::Remove if self.flags.has(Opt::WithData) => {
                ("DELETE", format!("{place}?data=true"), "removed with its data")
            }
            Deed::Remove => ("DELETE", place, "removed"),
            Deed::Pause => ("POST", format!("{place}/pause"), "paused"),
            Deed::Resume => ("POST", format!("{place}/resume"), "resumed"),
            Deed::Recheck => ("POST", format!("{place}/recheck"), "is checked again"),
        };
        let reply = self.remote.ask(method, &path, &[])?;
        self.print(&reply, |value| format!("{} {done}\n", value.text("info_hash").unwrap_or_default()))
    }

    fn add(&self, word: &OsString) -> Result<(), Failure> {
        let body = match Source::of(word).load(None)? {
            Found::Torrent(torrent) => torrent.encode(),
            Found::Link(magnet) => magnet.to_string().into_bytes(),
        };
        let mut path = format!("torrents?paused={}", self.flags.has(Opt::Paused));
        if let Some(dir) = self.flags.path(Opt::Dir) {
            path.push_str(&format!("&dir={}", absolute(&dir)?));
        }
        let reply = self.remote.ask("POST", &path, &body)?;
        self.print(&reply, |value| {
            let [info_hash, name] = ["info_hash", "name"].map(|name| value.text(name).unwrap_or_default());
            format!("{} added\n", format!("{info_hash} {name}").trim_end())
        })
    }

    /// The torrent that this word means: an info-hash or the beginning of one, or a name.
    fn find(&self, word: &str) -> Result<InfoHash, Failure> {
        if let Some(info_hash) = parse_info_hash(word) {
            return Ok(info_hash);
        }
        let list = self.remote.ask("GET", "torrents", &[])?;
        let torrents = list.value.list("torrents");
        let hash_of = |torrent: &&Value| torrent.text("info_hash").and_then(InfoHash::from_hex);
        let begins = word.len() >= LEAST_DIGITS && word.bytes().all(|digit| digit.is_ascii_hexdigit());
        let start = word.to_ascii_lowercase();
        let is_meant = |torrent: &&Value| {
            let by_hash = begins && torrent.text("info_hash").is_some_and(|hash| hash.starts_with(&start));
            by_hash || torrent.text("name") == Some(word)
        };
        let meant: Vec<&Value> = torrents.iter().filter(is_meant).collect();
        match meant.as_slice() {
            [torrent] => hash_of(torrent).ok_or_else(|| {
                Failure::new(Code::Network, "the session lists a torrent without an info-hash")
            }),
            [] => Err(Failure::new(Code::Other, format!("there is no torrent `{word}` in the session"))),
            several => Err(Failure::new(
                Code::Other,
                format!(
                    "`{word}` means {} torrents of the session; write more of its info-hash",
                    several.len()
                ),
            )),
        }
    }

    fn print(&self, reply: &Reply, for_people: impl Fn(&Value) -> String) -> Result<(), Failure> {
        let text = if self.output.json { reply.text.clone() } else { for_people(&reply.value) };
        screen::print(text.trim_end())
    }
}

/// A folder as the session, which stands elsewhere, must be told of it; encoded for a query.
fn absolute(dir: &Path) -> Result<String, Failure> {
    let whole =
        std::path::absolute(dir).map_err(|error| Failure::disk("can't tell where this is:", dir, &error))?;
    Ok(percent_encode(whole.as_os_str().as_encoded_bytes(), NON_ALPHANUMERIC).to_string())
}
