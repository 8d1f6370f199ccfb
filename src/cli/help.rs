//! What `--help` prints, made from the tables.

use std::fmt::Write;

use super::options::{COMMANDS, Command, OptionRow, Takes};

/// Where the sentences begin, in columns.
const INDENT: usize = 28;

/// How wide a line may be, in columns: what a terminal has had since there were terminals.
const WIDTH: usize = 80;

/// The version, as `--version` prints it.
pub fn version() -> String {
    format!("rill {}\n", env!("CARGO_PKG_VERSION"))
}

/// The help of the program, or of one command.
pub fn text(command: Option<Command>) -> String {
    command.map_or_else(of_program, of_command)
}

fn of_program() -> String {
    let mut text = String::from(
        "rill downloads, shares, makes and tracks torrents.\n\n\
         Usage: rill [get] TORRENT... [OPTION...]\n       rill COMMAND [OPTION...]\n\nCommands:\n",
    );
    for row in COMMANDS {
        line(&mut text, &format!("{} {}", row.name, row.operands), row.summary);
    }
    let note = Command::Get.operand_note().expect("get takes torrents");
    write!(text, "\n{note}\n`rill COMMAND --help` lists the options of a command. The common ones:\n\n")
        .expect("a String takes everything");
    let common = ["--dir", "--json", "--quiet", "--verbose", "--help", "--version"];
    for row in Command::Get.options().filter(|row| common.contains(&row.long)) {
        line(&mut text, &form(row), row.help);
    }
    text
}

fn of_command(command: Command) -> String {
    let row = command.row();
    let mut summary = row.summary.to_owned();
    summary[..1].make_ascii_uppercase();
    let mut text = format!("Usage: rill {} {}", row.name, row.operands).trim_end().to_owned();
    write!(text, " [OPTION...]\n\n{summary}.\n").expect("a String takes everything");
    for sentence in [row.details, command.operand_note().unwrap_or_default()] {
        if !sentence.is_empty() {
            wrapped(&mut text, sentence, 0, 0);
        }
    }
    text.push_str("\nOptions:\n");
    for row in command.options() {
        line(&mut text, &form(row), row.help);
    }
    let example = command.options().find(|row| row.takes != Takes::Nothing).map(OptionRow::variable);
    text.push('\n');
    wrapped(
        &mut text,
        &format!(
            "Sizes and rates: K, M, G are powers of 1024. Times: 90, 90s, 5m, 2h. Every option is also \
             read from the environment, as RILL_ and its name ({}, RILL_JSON=1); what may be repeated \
             is separated by blanks there. The command line wins.",
            example.unwrap_or_else(|| "RILL_QUIET=1".into())
        ),
        0,
        0,
    );
    text
}

/// `-d, --dir DIR`.
fn form(row: &OptionRow) -> String {
    let short = row.short.map_or_else(|| "    ".to_owned(), |short| format!("{short}, "));
    match row.takes {
        Takes::Nothing => format!("{short}{}", row.long),
        Takes::One(value) | Takes::Many(value) => format!("{short}{} {value}", row.long),
    }
}

/// What is typed on the left, the sentence on the right.
fn line(text: &mut String, left: &str, right: &str) {
    let start = text.len();
    write!(text, "  {left}").expect("a String takes everything");
    let mut column = text.len() - start;
    if column + 2 > INDENT {
        text.push('\n');
        column = 0;
    }
    wrapped(text, right, column, INDENT);
}

/// Words up to the width, from this column on, later lines behind the indent.
fn wrapped(text: &mut String, sentence: &str, mut column: usize, indent: usize) {
    let mut fresh = true;
    for word in sentence.split(' ') {
        let letters = word.chars().count();
        if !fresh && column + 1 + letters > WIDTH {
            text.push('\n');
            column = 0;
            fresh = true;
        }
        if fresh {
            text.extend(std::iter::repeat_n(' ', indent.saturating_sub(column)));
            column = column.max(indent);
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += letters;
        fresh = false;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_explains_its_options() {
        for row in COMMANDS {
            let text = text(Some(row.command));
            assert!(text.starts_with(&format!("Usage: rill {}", row.name)));
            for option in row.command.options() {
                assert!(text.contains(option.long), "{} of {}", option.long, row.name);
            }
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "too wide:\n{text}");
            assert!(text.lines().all(|line| line == line.trim_end()), "blanks at an end:\n{text}");
            assert!(of_program().contains(row.summary.split(' ').next().unwrap()));
        }
    }

    #[test]
    fn a_long_sentence_continues_under_its_beginning() {
        let mut text = String::new();
        line(&mut text, "--x", "word ".repeat(20).trim_end());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[1].starts_with(&" ".repeat(INDENT)) && lines[1].as_bytes()[INDENT] == b'w');
    }
}
