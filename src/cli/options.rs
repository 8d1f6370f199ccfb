//! Every command and every option, described once: the command line, the environment, the help and the
//! complaint about an unknown flag all read these two tables.

/// What the program is asked to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Command {
    /// Download, then exit.
    Get,
    /// Verify, then share.
    Seed,
    /// Make, track and seed in one go.
    Share,
    /// Many torrents, long-running.
    Run,
    /// List what is in a torrent.
    Show,
    /// List who has it.
    Peers,
    /// Verify what is on disk.
    Check,
    /// Make a `.torrent`.
    Create,
    /// Be a tracker.
    Tracker,
    /// Ask a session that runs elsewhere.
    Ctl,
}

/// One row of the table of commands.
#[derive(Debug)]
pub struct CommandRow {
    /// Which command the row describes.
    pub command: Command,
    /// What is typed for it.
    pub name: &'static str,
    /// What comes behind it, besides options.
    pub operands: &'static str,
    /// How many operands it takes at least.
    pub at_least: usize,
    /// How many operands it takes at most.
    pub at_most: usize,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// What a person asks about it next; whole sentences.
    pub details: &'static str,
}

use Command::{Check, Create, Ctl, Get, Peers, Run, Seed, Share, Show, Tracker};

const MANY: usize = usize::MAX;

const TORRENT: &str =
    "TORRENT is a path, an http(s) URL, a magnet link, an info-hash, or - for standard input.";

/// Every command, in the order of the help.
pub const COMMANDS: &[CommandRow] = &[
    CommandRow {
        command: Get,
        name: "get",
        operands: "TORRENT...",
        at_least: 1,
        at_most: MANY,
        summary: "download, then exit (the word get may be left out)",
        details: "What is on disk already is checked and kept; an interrupted download continues.",
    },
    CommandRow {
        command: Seed,
        name: "seed",
        operands: "TORRENT...",
        at_least: 1,
        at_most: MANY,
        summary: "verify, then share",
        details: "The data is looked for in DIR under the torrent's own name, or under --out NAME.",
    },
    CommandRow {
        command: Share,
        name: "share",
        operands: "PATH",
        at_least: 1,
        at_most: 1,
        summary: "make a torrent of PATH, track it, seed it, print the one line that fetches it",
        details: "Nothing is written to disk.",
    },
    CommandRow {
        command: Run,
        name: "run",
        operands: "[TORRENT...]",
        at_least: 0,
        at_most: MANY,
        summary: "many torrents in one long-running process",
        details: "It goes on until a signal stops it, and continues where it was when it is started again. \
                  SIGHUP looks into the watched folders at once.",
    },
    CommandRow {
        command: Show,
        name: "show",
        operands: "TORRENT",
        at_least: 1,
        at_most: 1,
        summary: "what is in it",
        details: "What a magnet link stands for is asked of peers; the other options are about how.",
    },
    CommandRow {
        command: Peers,
        name: "peers",
        operands: "TORRENT",
        at_least: 1,
        at_most: 1,
        summary: "announce, and print the peers",
        details: "The DHT is asked too, and the local network where nobody else knows a peer; about private torrents neither is. With -v each peer's source is named: \
                  tracker, dht, lsd, incoming (a neighbour that answered us), magnet, user.",
    },
    CommandRow {
        command: Check,
        name: "check",
        operands: "TORRENT",
        at_least: 1,
        at_most: 1,
        summary: "verify what is on disk, file by file",
        details: "Exits with 0 when everything is whole, with 6 when something differs.",
    },
    CommandRow {
        command: Create,
        name: "create",
        operands: "PATH",
        at_least: 1,
        at_most: 1,
        summary: "make a .torrent",
        details: "The same tree gives the same bytes on every machine.",
    },
    CommandRow {
        command: Tracker,
        name: "tracker",
        operands: "",
        at_least: 0,
        at_most: 0,
        summary: "be a tracker, HTTP and UDP on one port",
        details: "Answers at /announce and /scrape; GET /stats is JSON, /metrics is for Prometheus.",
    },
    CommandRow {
        command: Ctl,
        name: "ctl",
        operands: "ACTION [WHICH...]",
        at_least: 1,
        at_most: MANY,
        summary: "ask a `rill run --http`: list, show, add, remove, pause, resume and more",
        details: "ACTION is list, status, show, add, remove, pause, resume or recheck. For add, WHICH is what \
                  `rill get` takes: a path, an http(s) URL, a magnet link, an info-hash, or - for standard \
                  input. For the others it is a torrent of the session: its info-hash, at least four digits of \
                  its beginning, or its name.",
    },
];

impl Command {
    /// Its row of the table.
    pub fn row(self) -> &'static CommandRow {
        COMMANDS.iter().find(|row| row.command == self).expect("a test walks over every command")
    }

    /// The command of this name.
    pub fn named(name: &str) -> Option<Self> {
        COMMANDS.iter().find(|row| row.name == name).map(|row| row.command)
    }

    /// The options it takes, in the order of the help.
    pub fn options(self) -> impl Iterator<Item = &'static OptionRow> {
        OPTIONS.iter().filter(move |row| row.on.contains(&self))
    }

    /// The sentence that says what a TORRENT may be, for the commands that take one.
    pub fn operand_note(self) -> Option<&'static str> {
        self.row().operands.contains("TORRENT").then_some(TORRENT)
    }
}

/// What may follow an option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    /// Nothing: the option is on or off.
    Nothing,
    /// One value of this name; a later one replaces it.
    One(&'static str),
    /// A value of this name, and the option may be repeated.
    Many(&'static str),
}

/// One row of the table of options.
#[derive(Debug)]
pub struct OptionRow {
    /// Which option the row describes.
    pub option: Opt,
    /// Its long form, dashes included.
    pub long: &'static str,
    /// Its short form, dash included.
    pub short: Option<&'static str>,
    /// What follows it.
    pub takes: Takes,
    /// The commands that know it.
    pub on: &'static [Command],
    /// What it does.
    pub help: &'static str,
}

impl OptionRow {
    /// The environment variable that stands for it: `--no-dht` is `RILL_NO_DHT`.
    pub fn variable(&self) -> String {
        format!("RILL_{}", self.long.trim_start_matches('-').replace('-', "_").to_ascii_uppercase())
    }
}

/// Declares the options: their names as an enum, and the table, in one list.
macro_rules! options {
    ($($option:ident $long:literal $short:expr, $takes:expr, $on:expr, $help:literal;)*) => {
        /// Every option by name, so that a slip of the pen doesn't compile.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[allow(missing_docs)] // each one's sentence stands in the table
        pub enum Opt { $($option,)* }

        /// Every option, in the order of the help.
        pub const OPTIONS: &[OptionRow] = &[$(OptionRow {
            option: Opt::$option, long: $long, short: $short, takes: $takes, on: $on, help: $help,
        },)*];
    };
}

use Takes::{Many, Nothing, One};

const ALL: &[Command] = &[Get, Seed, Share, Run, Show, Peers, Check, Create, Tracker, Ctl];
/// Those that talk to peers.
const NET: &[Command] = &[Get, Seed, Share, Run, Show, Peers];
/// Those that move data.
const MOVE: &[Command] = &[Get, Seed, Share, Run];
/// Those that look for a given torrent's peers.
const FIND: &[Command] = &[Get, Seed, Run, Show, Peers];

options! {
    Dir "--dir" Some("-d"), One("DIR"), &[Get, Seed, Run, Check, Ctl], "where files go or are looked for (default: here)";
    Out "--out" Some("-o"), One("NAME"), &[Get, Seed, Check, Create], "another name for what is written (create: the .torrent, - for standard output)";
    Select "--select" None, One("LIST"), &[Get], "only these files: numbers (1,3-5) or globs, as `rill show` lists them";
    Sequential "--sequential" None, Nothing, &[Get, Run], "fetch pieces in order";
    Overwrite "--overwrite" None, Nothing, &[Get, Show, Create], "replace what is in the way";
    SaveTorrent "--save-torrent" None, One("PATH"), &[Get, Show], "keep the .torrent of a magnet link here";
    Watch "--watch" None, Many("DIR"), &[Run], "take on every .torrent and .magnet file that is put here; one that is removed stops its torrent";
    State "--state" None, One("DIR"), &[Run], "what is remembered between runs (default: .rill inside the target folder)";
    MaxActive "--max-active" None, One("N"), &[Run], "downloads that are active at once; the others wait for their turn (default: 8)";
    OnComplete "--on-complete" None, One("CMD"), &[Run], "run this when a torrent is complete, without a shell, with RILL_NAME, RILL_HASH and RILL_PATH in its environment";
    DhtOnly "--dht-only" None, Nothing, &[Run], "no torrents: be a node of the DHT that others enter by";
    Http "--http" None, One("ADDR"), &[Run, Ctl], "where the JSON API and metrics are, as 127.0.0.1:6880 (run: nowhere if not given; ctl: there)";
    HttpToken "--http-token" None, One("TOKEN"), &[Run, Ctl], "what requests to --http must carry; needed where ADDR is not loopback";
    HttpHost "--http-host" None, Many("NAME"), &[Run], "another name that requests to --http may be sent to";
    Paused "--paused" None, Nothing, &[Ctl], "add: wait to be resumed before anything is fetched";
    WithData "--with-data" None, Nothing, &[Ctl], "remove: its files, too, finished or not";
    Port "--port" Some("-p"), One("PORT"), &[Get, Seed, Share, Run, Show, Peers, Tracker], "listen on this port (default: the first free of 6881-6889; tracker: 6969; 0: any)";
    Bind "--bind" None, Many("ADDR"), &[Get, Seed, Share, Run, Show, Peers, Check, Tracker], "local address for everything";
    Ipv4 "--ipv4" Some("-4"), Nothing, NET, "speak IPv4 only";
    Ipv6 "--ipv6" Some("-6"), Nothing, NET, "speak IPv6 only";
    Peer "--peer" None, Many("HOST:PORT"), FIND, "also try this peer";
    Tracker "--tracker" Some("-t"), Many("URL"), &[Get, Seed, Share, Run, Show, Peers, Create], "also announce here (create: a tier; several in one tier with commas)";
    NoTrackers "--no-trackers" None, Nothing, FIND, "ask no trackers";
    NoDht "--no-dht" None, Nothing, NET, "don't use the DHT";
    NoPex "--no-pex" None, Nothing, NET, "don't exchange addresses with peers";
    NoLsd "--no-lsd" None, Nothing, NET, "don't look on the local network";
    NoWebseeds "--no-webseeds" None, Nothing, &[Get, Seed, Run], "don't download from web servers";
    DhtBootstrap "--dht-bootstrap" None, Many("HOST:PORT"), NET, "enter the DHT here instead of by the well-known routers";
    Encryption "--encryption" None, One("MODE"), NET, "prefer, require or off (default: plain first, then encrypted; accept both)";
    MaxPeers "--max-peers" None, One("N"), MOVE, "connections at most (default: 50; run: 200 over all torrents)";
    Memory "--memory" None, One("SIZE"), MOVE, "buffers for pieces in flight (default: 32M)";
    Down "--down" None, One("RATE"), MOVE, "download at most so many bytes a second, as 500K or 5M (0: no limit)";
    Up "--up" None, One("RATE"), MOVE, "upload at most so many bytes a second (0: no limit)";
    UploadSlots "--upload-slots" None, One("N"), MOVE, "peers served at once (default: as many as keep the line full)";
    SuperSeed "--super-seed" None, Nothing, &[Seed, Share], "show each peer pieces nobody has yet (BEP 16)";
    SeedRatio "--seed-ratio" None, One("R"), MOVE, "share until R times the size is uploaded";
    SeedTime "--seed-time" None, One("TIME"), MOVE, "share for TIME, as 90, 90s, 5m or 2h";
    MaxTime "--max-time" None, One("TIME"), &[Get], "give up after TIME (0: never, the default)";
    StallTimeout "--stall-timeout" None, One("TIME"), &[Get], "give up after TIME without a verified piece (0: never, the default)";
    MetadataTimeout "--metadata-timeout" None, One("TIME"), &[Get, Show], "give up on a magnet link's metadata after TIME (0: never, the default)";
    Magnet "--magnet" None, Nothing, &[Show, Create], "print the magnet link";
    Pieces "--pieces" None, Nothing, &[Peers], "connect, and print which pieces each peer has";
    Scrape "--scrape" None, Nothing, &[Peers], "ask the trackers for their totals (BEP 48)";
    PieceLength "--piece-length" None, One("SIZE"), &[Create, Share], "bytes in a piece, a power of two (default: for about 1,500 pieces)";
    Private "--private" None, Nothing, &[Create], "peers from its trackers alone (BEP 27)";
    WebSeed "--web-seed" None, Many("URL"), &[Create], "a web server that holds the same files (BEP 19)";
    Source "--source" None, One("TEXT"), &[Create], "what tells apart otherwise equal torrents";
    Comment "--comment" None, One("TEXT"), &[Create], "free text";
    Date "--date" None, One("SECONDS"), &[Create], "creation date in Unix seconds, or `now` (default: none)";
    Name "--name" None, One("NAME"), &[Create, Share], "the name inside the torrent (default: the last part of PATH)";
    Exclude "--exclude" None, Many("GLOB"), &[Create, Share], "leave out files that match";
    Hidden "--hidden" None, Nothing, &[Create, Share], "take files whose names begin with a dot, too";
    Allow "--allow" None, One("FILE"), &[Tracker], "serve only the info-hashes in FILE, one a line; read again on SIGHUP";
    Deny "--deny" None, One("FILE"), &[Tracker], "don't serve the info-hashes in FILE; read again on SIGHUP";
    Interval "--interval" None, One("TIME"), &[Tracker], "when peers shall announce again (default: 30m)";
    MinInterval "--min-interval" None, One("TIME"), &[Tracker], "the least time between two announces of a peer's (default: 5m, or the interval)";
    TrustForwardedFor "--trust-forwarded-for" None, Many("CIDR"), &[Tracker], "believe X-Forwarded-For from proxies in this network";
    AllowIpParam "--allow-ip-param" None, Nothing, &[Tracker], "let peers name another address than the one they ask from";
    Json "--json" None, Nothing, ALL, "for programs: JSON on standard output";
    Quiet "--quiet" Some("-q"), Nothing, ALL, "nothing on standard error";
    Verbose "--verbose" Some("-v"), Nothing, ALL, "more on standard error";
    Help "--help" Some("-h"), Nothing, ALL, "print this";
    Version "--version" Some("-V"), Nothing, ALL, "print the version";
}

impl Opt {
    /// Its row of the table.
    pub fn row(self) -> &'static OptionRow {
        &OPTIONS[self as usize]
    }

    /// The option typed as `word`, which is its long or short form with the dashes.
    pub fn typed(word: &str) -> Option<Self> {
        OPTIONS.iter().find(|row| row.long == word || row.short == Some(word)).map(|row| row.option)
    }
}

/// The long option that `word` most resembles, if one is near: at most two slips, or a third of the word.
pub fn nearest(word: &str, command: Command) -> Option<&'static str> {
    let bare = word.trim_start_matches('-');
    command
        .options()
        .map(|row| (slips(bare, row.long.trim_start_matches('-')), row.long))
        .min()
        .filter(|(slips, _)| *slips <= 2.max(bare.chars().count() / 3))
        .map(|(_, long)| long)
}

/// How many letters must be put in, taken out or changed to make one word the other.
fn slips(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, theirs) in other.iter().enumerate() {
            let change = diagonal + usize::from(letter != *theirs);
            diagonal = row[column + 1];
            row[column + 1] = change.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_what_it_describes() {
        for (at, row) in OPTIONS.iter().enumerate() {
            assert_eq!(row.option as usize, at);
            assert_eq!(Opt::typed(row.long), Some(row.option), "two options are called {}", row.long);
            if let Some(short) = row.short {
                assert_eq!(Opt::typed(short), Some(row.option), "two options are called {short}");
            }
            assert!(!row.on.is_empty(), "no command takes {}", row.long);
            assert!(
                !row.help.ends_with('.')
                    && row
                        .help
                        .chars()
                        .next()
                        .is_some_and(|c| !c.is_uppercase() || row.help.starts_with("IP"))
            );
        }
        for row in COMMANDS {
            assert_eq!(row.command.row().name, row.name);
            assert_eq!(Command::named(row.name), Some(row.command));
        }
        assert!(ALL.iter().all(|command| command.row().command == *command));
    }

    #[test]
    fn a_near_miss_is_named() {
        assert_eq!(nearest("--jsn", Command::Get), Some("--json"));
        assert_eq!(nearest("--no-trackrs", Command::Get), Some("--no-trackers"));
        assert_eq!(nearest("--stall-timeot", Command::Get), Some("--stall-timeout"));
        assert_eq!(nearest("--frobnicate", Command::Get), None);
        assert_eq!(nearest("--piece", Command::Tracker), None);
    }

    #[test]
    fn variables_are_called_as_the_options() {
        assert_eq!(Opt::NoDht.row().variable(), "RILL_NO_DHT");
        assert_eq!(Opt::Dir.row().variable(), "RILL_DIR");
    }
}
