//! The face: parses the command line, prints, and turns what happened into an exit code.

use std::process::ExitCode;
use std::time::SystemTime;

// What is said, and how it ends.
pub mod exit; //   every exit code, and which error becomes which
pub mod screen; // where words leave the program

// The line as it was typed, and what it means.
pub mod units; //    sizes, rates and times
pub mod options; //  every command and option, described once
pub mod args; //     the command line, word by word
pub mod help; //     what --help prints
pub mod select; //   --select LIST
pub mod settings; // what was typed, checked and grouped

// What commands share.
pub mod source; //   where a torrent comes from
pub mod target; //   a file that is named to be written
pub mod stop; //     being told to stop
pub mod meter; //    how far a long piece of work is, for people
pub mod listing; //  how the files of a torrent are listed
pub mod row; //      what is known of a torrent by those who print
pub mod progress; // what torrents tell, for people
pub mod events; //   what torrents tell, for programs
pub mod log; //      what the torrents of a server tell, for whoever reads its log
pub mod watch; //    from the threads of torrents to the one that prints
pub mod http; //     where a session is asked, and by whom
pub mod remote; //   a session in another process
pub mod table; //    words in columns
pub mod report; //   what a session tells of its torrents, for people
pub mod station; //  what all torrents of one process share
pub mod around; //   peers whom no tracker named
pub mod journal; //  from the threads of a session to the one that prints
pub mod work; //     what get and seed have in common

// A file per command.
pub mod check;
pub mod create;
pub mod ctl;
pub mod get;
pub mod peers;
pub mod run;
pub mod seed;
pub mod share;
pub mod show;
pub mod tracker;

pub use crate::json;

use args::{Asked, Flags};
use exit::{Code, Failure};
use options::Command;

use crate::sys;

/// Runs the program with the process's own arguments and environment.
pub fn main() -> ExitCode {
    sys::keep_memory_small();
    // Where it can't be had, a file that grows too long ends us with a signal: no reason not to begin.
    let _ = sys::outlive_file_limit();
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    if words.is_empty() {
        screen::say_raw(&help::text(None));
        return Code::Usage.number().into();
    }
    let variable = |name: &str| std::env::var_os(name);
    let json = args::wants_json(&words, variable);
    let code = match args::parse(words, variable) {
        Ok(Asked::Help(command)) => code_of(screen::print_raw(help::text(command).as_bytes())),
        Ok(Asked::Version) => code_of(screen::print_raw(help::version().as_bytes())),
        Ok(Asked::Do(flags)) => run(&flags),
        Err(failure) => {
            screen::Output { json, ..Default::default() }.fail(&failure, unix_time_s());
            failure.code
        }
    };
    code.number().into()
}

fn run(flags: &Flags) -> Code {
    let output = settings::output(flags);
    let done = match flags.command {
        Command::Get => get::run(flags, output),
        Command::Seed => seed::run(flags, output),
        Command::Share => share::run(flags, output),
        Command::Run => run::run(flags, output),
        Command::Show => show::run(flags, output),
        Command::Peers => peers::run(flags, output),
        Command::Check => check::run(flags, output),
        Command::Create => create::run(flags, output),
        Command::Tracker => tracker::run(flags, output),
        Command::Ctl => ctl::run(flags, output),
    };
    done.unwrap_or_else(|failure| {
        output.fail(&failure, unix_time_s());
        failure.code
    })
}

fn code_of(printed: Result<(), Failure>) -> Code {
    match printed {
        Ok(()) => Code::Done,
        Err(failure) => {
            screen::say(&format!("rill: {failure}"));
            failure.code
        }
    }
}

/// Unix time, with its fraction, in seconds; 0 where the clock stands before 1970.
pub fn unix_time_s() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
