//! The command line as it was typed, before anyone asks whether its values make sense.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use pico_args::Arguments;

use super::exit::Failure;
use super::options::{COMMANDS, Command, Opt, Takes, nearest};

/// What the command line asks for.
#[derive(Debug)]
pub enum Asked {
    /// The help of a command, or of the program.
    Help(Option<Command>),
    /// The version.
    Version,
    /// A command with its flags.
    Do(Flags),
}

/// A command, what it works on, and the options it was given, by hand or by the environment.
#[derive(Debug)]
pub struct Flags {
    /// What to do.
    pub command: Command,
    /// What to do it with: the words that are no options.
    pub operands: Vec<OsString>,
    given: BTreeMap<Opt, Vec<Given>>,
}

/// A value, and who gave it.
#[derive(Debug)]
struct Given {
    text: OsString,
    /// `--down` or `RILL_DOWN`: what a complaint about the value begins with.
    by: String,
}

impl Flags {
    /// Whether a switch is on.
    pub fn has(&self, option: Opt) -> bool {
        self.last(option).is_some_and(|given| given.text == "1")
    }

    /// Whether it was given with a value or as a switch, on or off.
    pub fn is_given(&self, option: Opt) -> bool {
        self.given.contains_key(&option)
    }

    /// Whether it stands on the command line, not in the environment alone.
    pub fn is_typed(&self, option: Opt) -> bool {
        self.last(option).is_some_and(|given| given.by.starts_with('-'))
    }

    /// The value of an option as a path, whatever its bytes are.
    pub fn path(&self, option: Opt) -> Option<PathBuf> {
        self.last(option).map(|given| PathBuf::from(&given.text))
    }

    /// The values of an option as paths, whatever their bytes are.
    pub fn paths(&self, option: Opt) -> Vec<PathBuf> {
        self.every(option).iter().map(|given| PathBuf::from(&given.text)).collect()
    }

    /// The value of an option as text.
    ///
    /// # Errors
    /// When it isn't UTF-8.
    pub fn text(&self, option: Opt) -> Result<Option<String>, Failure> {
        self.read(option, |text| Ok(text.to_owned()))
    }

    /// The value of an option as `make` makes it.
    ///
    /// # Errors
    /// When it isn't UTF-8, or `make` refuses it: its sentence behind the name of the option.
    pub fn read<T>(
        &self,
        option: Opt,
        make: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        self.last(option).map(|given| given.read(&make)).transpose()
    }

    /// The values of an option that may be repeated, each as `make` makes it, in the order they were given.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_all<T>(
        &self,
        option: Opt,
        make: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, Failure> {
        self.every(option).iter().map(|given| given.read(&make)).collect()
    }

    fn every(&self, option: Opt) -> &[Given] {
        self.given.get(&option).map_or(&[], Vec::as_slice)
    }

    fn last(&self, option: Opt) -> Option<&Given> {
        self.every(option).last()
    }
}

impl Given {
    fn read<T>(&self, make: impl Fn(&str) -> Result<T, String>) -> Result<T, Failure> {
        let text = self.text.to_str().ok_or_else(|| {
            Failure::usage(format!("{}: {} is not UTF-8", self.by, self.text.to_string_lossy()))
        })?;
        make(text).map_err(|sentence| Failure::usage(format!("{}: {sentence}", self.by)))
    }
}

/// Reads the words behind the program's name; `variable` looks one up in the environment.
///
/// # Errors
/// A [`Code::Usage`](super::exit::Code::Usage) that names the flag, the value or the command at fault.
pub fn parse(words: Vec<OsString>, variable: impl Fn(&str) -> Option<OsString>) -> Result<Asked, Failure> {
    let mut line = Line::default();
    line.walk(Arguments::from_vec(words))?;
    let command = line.take_command();
    if line.given.contains_key(&Opt::Help) || line.asks_help() {
        return Ok(Asked::Help(command.or_else(|| line.help_topic())));
    }
    if line.given.contains_key(&Opt::Version) {
        return Ok(Asked::Version);
    }
    let command = command.unwrap_or(Command::Get);
    if let Some(word) = &line.unknown {
        return Err(unknown_flag(word, command));
    }
    let mut flags = Flags { command, operands: line.operands, given: line.given };
    flags.refuse_others_options()?;
    flags.read_environment(variable)?;
    flags.count_operands()?;
    Ok(Asked::Do(flags))
}

/// Whether programs are to hear, too, of a line that makes no sense: what can be told of it without the rest.
pub fn wants_json(words: &[OsString], variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let row = Opt::Json.row();
    let given = |word: &OsString| match word.as_bytes().strip_prefix(row.long.as_bytes())? {
        [] => Some("1".into()),
        [b'=', value @ ..] => switch(OsStr::from_bytes(value)),
        _ => None,
    };
    let options = words.iter().take_while(|word| *word != "--");
    let typed = options.filter_map(given).last();
    typed.or_else(|| switch(&variable(&row.variable())?)).is_some_and(|value| value == "1")
}

/// The words, sorted into options and operands.
#[derive(Default)]
struct Line {
    operands: Vec<OsString>,
    given: BTreeMap<Opt, Vec<Given>>,
    /// The first flag the table doesn't know. It is reported once the command is known.
    unknown: Option<String>,
    /// An operand behind `--` is never a command.
    options_ended_at: Option<usize>,
}

impl Line {
    fn walk(&mut self, mut words: Arguments) -> Result<(), Failure> {
        while let Some(word) = next(&mut words) {
            let bytes = word.as_bytes();
            if bytes == b"--" {
                self.options_ended_at = Some(self.operands.len());
                self.operands.append(&mut words.finish());
                return Ok(());
            }
            match bytes {
                [b'-', b'-', ..] => self.long(&word, &mut words)?,
                [b'-', _, ..] => self.short(&word, &mut words)?,
                _ => self.operands.push(word),
            }
        }
        Ok(())
    }

    /// `--dir DIR`, `--dir=DIR`, `--json`.
    fn long(&mut self, word: &OsStr, words: &mut Arguments) -> Result<(), Failure> {
        let bytes = word.as_bytes();
        let (key, value) = match bytes.iter().position(|byte| *byte == b'=') {
            Some(at) => (&bytes[..at], Some(OsString::from_vec(bytes[at + 1..].to_vec()))),
            None => (bytes, None),
        };
        let key = String::from_utf8_lossy(key).into_owned();
        match Opt::typed(&key) {
            Some(option) => self.take(option, key, value, words),
            None => {
                self.unknown.get_or_insert(key);
                Ok(())
            }
        }
    }

    /// `-d DIR`, `-dDIR`, `-d=DIR`, `-q`, `-qv`.
    fn short(&mut self, word: &OsStr, words: &mut Arguments) -> Result<(), Failure> {
        let mut rest = &word.as_bytes()[1..];
        while let [letter, behind @ ..] = rest {
            let key = format!("-{}", char::from(*letter));
            let Some(option) = Opt::typed(&key) else {
                self.unknown.get_or_insert(word.to_string_lossy().into_owned());
                return Ok(());
            };
            if option.row().takes == Takes::Nothing && !behind.starts_with(b"=") {
                self.take(option, key, None, words)?;
                rest = behind;
                continue;
            }
            let value = behind.strip_prefix(b"=").unwrap_or(behind);
            let value = (!behind.is_empty()).then(|| OsString::from_vec(value.to_vec()));
            return self.take(option, key, value, words);
        }
        Ok(())
    }

    fn take(
        &mut self,
        option: Opt,
        key: String,
        value: Option<OsString>,
        words: &mut Arguments,
    ) -> Result<(), Failure> {
        let text = match (option.row().takes, value) {
            (Takes::Nothing, None) => "1".into(),
            (Takes::Nothing, Some(value)) => switch(&value).ok_or_else(|| {
                Failure::usage(format!(
                    "{key} is a switch and takes no value but 1 or 0, not `{}`",
                    value.to_string_lossy()
                ))
            })?,
            (Takes::One(_) | Takes::Many(_), Some(value)) => value,
            (Takes::One(name) | Takes::Many(name), None) => match next(words) {
                Some(value) if !is_option(&value) => value,
                Some(value) => {
                    let value = value.to_string_lossy();
                    return Err(Failure::usage(format!(
                        "{key} needs a {name} behind it and got the flag {value}; if it is meant, \
                         write {key}={value}"
                    )));
                }
                None => return Err(Failure::usage(format!("{key} needs a {name} behind it"))),
            },
        };
        self.given.entry(option).or_default().push(Given { text, by: key });
        Ok(())
    }

    /// The first operand, if it is a command's name.
    fn take_command(&mut self) -> Option<Command> {
        let command = Command::named(self.operands.first()?.to_str()?)?;
        if self.options_ended_at == Some(0) {
            return None;
        }
        self.operands.remove(0);
        Some(command)
    }

    /// `rill help` and `rill help get`, as other programs have it; a torrent called `help` is `./help`.
    fn asks_help(&self) -> bool {
        self.options_ended_at != Some(0) && self.operands.first().is_some_and(|word| word == "help")
    }

    fn help_topic(&self) -> Option<Command> {
        Command::named(self.operands.get(1)?.to_str()?)
    }
}

impl Flags {
    fn refuse_others_options(&self) -> Result<(), Failure> {
        let name = self.command.row().name;
        match self.given.iter().find(|(option, _)| !option.row().on.contains(&self.command)) {
            Some((option, given)) => {
                let others: Vec<&str> = option.row().on.iter().map(|command| command.row().name).collect();
                Err(Failure::usage(format!(
                    "unknown flag {} for `rill {name}`: it belongs to {}",
                    given[0].by,
                    others.join(", ")
                )))
            }
            None => Ok(()),
        }
    }

    /// What the command line left open is read from the environment. An empty variable is as good as none:
    /// that is how compose files unset one.
    fn read_environment(&mut self, variable: impl Fn(&str) -> Option<OsString>) -> Result<(), Failure> {
        for row in self.command.options() {
            // RILL_NAME is what a program that `rill run` started for a torrent finds: no name for another one.
            let typed_only = matches!(row.option, Opt::Help | Opt::Version | Opt::Name);
            if self.is_given(row.option) || typed_only {
                continue;
            }
            let by = row.variable();
            let Some(text) = variable(&by).filter(|text| !text.is_empty()) else { continue };
            let texts = match row.takes {
                Takes::One(_) => vec![text],
                Takes::Many(_) => split_at_blanks(&text),
                Takes::Nothing => vec![switch(&text).ok_or_else(|| {
                    Failure::usage(format!("{by} is a switch: 1 or 0, not `{}`", text.to_string_lossy()))
                })?],
            };
            let given = texts.into_iter().map(|text| Given { text, by: by.clone() }).collect();
            self.given.insert(row.option, given);
        }
        Ok(())
    }

    fn count_operands(&self) -> Result<(), Failure> {
        let row = self.command.row();
        let count = self.operands.len();
        if count < row.at_least {
            return Err(Failure::usage(format!(
                "`rill {}` needs {} {}; `rill {} --help` tells more",
                row.name,
                if row.operands.starts_with('A') { "an" } else { "a" },
                row.operands.split(' ').next().unwrap_or_default().trim_end_matches("..."),
                row.name
            )));
        }
        if count > row.at_most {
            return Err(Failure::usage(format!(
                "`rill {}` doesn't know what to do with `{}`",
                row.name,
                self.operands[row.at_most].to_string_lossy()
            )));
        }
        Ok(())
    }
}

fn unknown_flag(word: &str, command: Command) -> Failure {
    let name = command.row().name;
    Failure::usage(match nearest(word, command) {
        Some(near) => format!("unknown flag {word}; did you mean {near}?"),
        None => format!("unknown flag {word}; `rill {name} --help` lists those of `rill {name}`"),
    })
}

/// pico-args hands out the line word by word; it would find a flag anywhere in it otherwise, inside another
/// flag's value too.
fn next(words: &mut Arguments) -> Option<OsString> {
    words
        .opt_free_from_os_str(|word| Ok::<_, Infallible>(word.to_owned()))
        .expect("taking a word as it is can't fail")
}

fn is_option(word: &OsStr) -> bool {
    word.to_str().is_some_and(|word| Opt::typed(word).is_some())
}

/// On or off, in the words people use.
fn switch(text: &OsStr) -> Option<OsString> {
    match text.to_str()?.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some("1".into()),
        "0" | "false" | "no" | "off" => Some("0".into()),
        _ => None,
    }
}

fn split_at_blanks(text: &OsStr) -> Vec<OsString> {
    text.as_bytes()
        .split(u8::is_ascii_whitespace)
        .filter(|part| !part.is_empty())
        .map(|part| OsString::from_vec(part.to_vec()))
        .collect()
}

/// The hint for a first word that is neither a command nor a file: a command typed wrong.
pub fn commands_in_a_row() -> String {
    COMMANDS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(line: &str, variables: &[(&str, &str)]) -> Result<Asked, Failure> {
        parse(line.split_whitespace().map(OsString::from).collect(), |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    fn flags(line: &str) -> Flags {
        with(line, &[])
    }

    fn with(line: &str, variables: &[(&str, &str)]) -> Flags {
        match ask(line, variables) {
            Ok(Asked::Do(flags)) => flags,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn refusal(line: &str) -> String {
        let failure = ask(line, &[]).map(|asked| format!("{asked:?}")).unwrap_err();
        assert_eq!(failure.code, super::super::exit::Code::Usage);
        failure.message
    }

    #[test]
    fn get_is_what_a_bare_torrent_means() {
        for line in ["X.torrent --json", "get X.torrent --json", "--json get X.torrent", "--json X.torrent"] {
            let flags = flags(line);
            assert_eq!(flags.command, Command::Get, "{line}");
            assert_eq!(flags.operands, ["X.torrent"], "{line}");
            assert!(flags.has(Opt::Json) && !flags.has(Opt::Verbose), "{line}");
        }
        assert_eq!(flags("seed X").command, Command::Seed);
        assert_eq!(flags("get seed").operands, ["seed"]);
        assert_eq!(flags("-- seed").command, Command::Get);
        assert_eq!(flags("-").operands, ["-"]);
    }

    #[test]
    fn values_come_in_four_dresses() {
        for line in ["X -d a/b", "X -da/b", "X -d=a/b", "X --dir a/b", "--dir=a/b X", "-d z X -d a/b"] {
            assert_eq!(flags(line).path(Opt::Dir), Some(PathBuf::from("a/b")), "{line}");
        }
        let flags = flags("X --peer a:1 --peer=b:2 --out=-v -qv -- --json");
        assert_eq!(flags.read_all(Opt::Peer, |text| Ok(text.to_owned())).unwrap(), ["a:1", "b:2"]);
        assert_eq!(flags.text(Opt::Out).unwrap().unwrap(), "-v");
        assert!(flags.has(Opt::Quiet) && flags.has(Opt::Verbose) && !flags.has(Opt::Json));
        assert_eq!(flags.operands, ["X", "--json"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(refusal("X --jsno"), "unknown flag --jsno; did you mean --json?");
        assert!(refusal("X --frobnicate=3").starts_with("unknown flag --frobnicate; `rill get --help`"));
        assert!(refusal("X -x").starts_with("unknown flag -x;"));
        assert!(
            refusal("show X --sequential")
                .contains("unknown flag --sequential for `rill show`: it belongs to get")
        );
        assert_eq!(refusal("X --dir"), "--dir needs a DIR behind it");
        assert!(refusal("X --out --json").contains("write --out=--json"));
        assert!(refusal("X --json=maybe").contains("--json is a switch"));
        assert!(refusal("get").contains("`rill get` needs a TORRENT"));
        assert!(refusal("show a b").contains("doesn't know what to do with `b`"));
    }

    #[test]
    fn help_and_version_come_before_complaints() {
        assert!(matches!(ask("--help", &[]), Ok(Asked::Help(None))));
        assert!(matches!(ask("seed --help --nonsense", &[]), Ok(Asked::Help(Some(Command::Seed)))));
        assert!(matches!(ask("help seed", &[]), Ok(Asked::Help(Some(Command::Seed)))));
        assert!(matches!(ask("-h", &[]), Ok(Asked::Help(None))));
        assert!(matches!(ask("-V", &[]), Ok(Asked::Version)));
    }

    #[test]
    fn the_command_line_wins_over_the_environment() {
        let variables =
            [("RILL_DIR", "env"), ("RILL_NO_DHT", "1"), ("RILL_PEER", "a:1  b:2"), ("RILL_OUT", "")];
        let flags = with("X", &variables);
        assert_eq!(flags.path(Opt::Dir), Some("env".into()));
        assert!(flags.has(Opt::NoDht));
        assert_eq!(flags.read_all(Opt::Peer, |text| Ok(text.to_owned())).unwrap(), ["a:1", "b:2"]);
        assert_eq!(flags.path(Opt::Out), None);
        let flags = with("X -d line --no-dht=0 --peer c:3", &variables);
        assert_eq!(flags.path(Opt::Dir), Some("line".into()));
        assert!(!flags.has(Opt::NoDht));
        assert_eq!(flags.paths(Opt::Peer), [PathBuf::from("c:3")]);
        assert!(!with("X", &[("RILL_NO_DHT", "0")]).has(Opt::NoDht));
        let failure = ask("X", &[("RILL_NO_DHT", "perhaps")]).unwrap_err();
        assert_eq!(failure.message, "RILL_NO_DHT is a switch: 1 or 0, not `perhaps`");
    }

    #[test]
    fn the_name_of_a_torrent_that_is_complete_is_none_for_the_next() {
        let variables = [("RILL_NAME", "finished"), ("RILL_COMMENT", "c")];
        let flags = with("create X", &variables);
        assert_eq!((flags.path(Opt::Name), flags.path(Opt::Comment)), (None, Some("c".into())));
        assert_eq!(with("create X --name n", &variables).path(Opt::Name), Some("n".into()));
    }

    #[test]
    fn a_bad_value_is_reported_with_who_gave_it() {
        let failure = flags("X --down fast").read(Opt::Down, super::super::units::rate).unwrap_err();
        assert!(failure.message.starts_with("--down: `fast` is no rate"), "{failure}");
        let flags = with("X", &[("RILL_DOWN", "fast")]);
        let failure = flags.read(Opt::Down, super::super::units::rate).unwrap_err();
        assert!(failure.message.starts_with("RILL_DOWN: `fast` is no rate"), "{failure}");
    }
}
