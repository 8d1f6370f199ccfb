//! A stranger's words, made safe for screens and file systems: names, comments, warnings, failure reasons. And what
//! sentences of ours are put together from: the system's words, numbers of things.
//!
//! The rule, the same everywhere, so that the result can be foretold: bytes that aren't UTF-8 become `%` and two
//! hexadecimal digits each; what could move a cursor, break a line or turn the reading direction becomes a space
//! in prose and `_` in a file name, as do `/` and `\` there; what is too long is cut.

use std::io;

/// The longest file name Linux takes, in bytes.
pub const MAX_FILE_NAME_BYTES: usize = 255;

/// The longest URL taken, in bytes: what servers commonly take.
pub const MAX_URL_BYTES: usize = 2048;

/// The longest extension that is kept when a file name is cut, in bytes, with its dot.
const MAX_EXTENSION_BYTES: usize = 16;

/// Words for a person to read: one line, at most `limit` bytes.
pub fn prose(bytes: &[u8], limit: usize) -> String {
    // What lies behind the limit costs nothing; three more bytes, so that the cut splits no letter.
    let mut text =
        clean(
            &bytes[..bytes.len().min(limit.saturating_add(3))],
            |letter| if moves(letter) { ' ' } else { letter },
        );
    text.truncate(boundary(&text, limit));
    text
}

/// A name for a file or folder: one component, at most `limit` bytes, cut in front of its extension. The rest is
/// the caller's to judge: it can be empty, `.` or `..`.
pub fn file_name(bytes: &[u8], limit: usize) -> String {
    let name = clean(bytes, |letter| match letter {
        '/' | '\\' => '_',
        letter if moves(letter) => '_',
        letter => letter,
    });
    if name.len() <= limit {
        return name;
    }
    let extension = match name.rfind('.') {
        Some(dot) if name.len() - dot <= MAX_EXTENSION_BYTES => &name[dot..],
        _ => "",
    };
    let stem = boundary(&name, limit.saturating_sub(extension.len()));
    format!("{}{extension}", &name[..stem])
}

/// A URL with the space around it removed, if it has a scheme and something behind it, is no longer than
/// [`MAX_URL_BYTES`] and can be shown as it is.
pub fn url(text: &str) -> Option<&str> {
    let text = text.trim();
    let (scheme, rest) = text.split_once("://")?;
    let sound = !scheme.is_empty() && !rest.is_empty() && text.len() <= MAX_URL_BYTES;
    (sound && !text.contains(moves)).then_some(text)
}

/// `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 peer`, `2 peers`, `1,400 pieces`.
pub fn count(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// The system's words for what went wrong, in the middle of a sentence: without the number that std puts behind
/// them, and without a capital letter.
pub fn system_words(error: &io::Error) -> String {
    let text = error.to_string();
    let mut words = text.split(" (os error").next().unwrap_or_default().to_owned();
    // What begins with an abbreviation, as `I/O error` does, keeps it.
    let is_a_word = words.as_bytes().get(1).is_some_and(u8::is_ascii_lowercase);
    if let Some(first) = words.get_mut(..1).filter(|_| is_a_word) {
        first.make_ascii_lowercase();
    }
    words
}

fn clean(bytes: &[u8], letter: impl Fn(char) -> char) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.extend(chunk.valid().chars().map(&letter));
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("%{byte:02X}")));
    }
    text
}

/// Control characters (C0, DEL, C1), line and paragraph separators, and the marks that turn the reading direction.
fn moves(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The last place at or before `limit` where the text can be cut.
fn boundary(text: &str, limit: usize) -> usize {
    (0..=limit.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).expect("0 is always a boundary")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn honest_names_stay_as_they_are() {
        for name in ["a.txt", "Grüße 世界 🦀.mkv", " spaces ", "-rf", "~", "..hidden", "a%20b", "x.part"]
        {
            assert_eq!(file_name(name.as_bytes(), 255), name);
            assert_eq!(prose(name.as_bytes(), 255), name);
        }
    }

    #[test]
    fn nothing_moves_the_cursor_or_leaves_the_folder() {
        for (bytes, name) in [
            (&b"/etc/passwd"[..], "_etc_passwd"),
            (b"a\\b", "a_b"),
            (b"a\0b\nc\x1b[2Jd\x7f", "a_b_c_[2Jd_"),
            ("\u{85}\u{9b}31m".as_bytes(), "__31m"),
            ("exe\u{202e}gpj.\u{2028}\u{2066}".as_bytes(), "exe_gpj.__"),
            (b"caf\xe9 \xff\xfe", "caf%E9 %FF%FE"),
        ] {
            assert_eq!(file_name(bytes, 255), name);
        }
        assert_eq!(prose(b"no\r\nsuch/torrent\t\x1b[31m", 255), "no  such/torrent  [31m");
    }

    #[test]
    fn what_is_too_long_is_cut_between_letters_and_keeps_its_extension() {
        let name = file_name(format!("{}.mkv", "世".repeat(200)).as_bytes(), 255);
        assert_eq!(name, format!("{}.mkv", "世".repeat(83)));
        let name = file_name(format!("a.{}", "b".repeat(300)).as_bytes(), 255);
        assert_eq!(name, format!("a.{}", "b".repeat(253)));
        assert_eq!(prose("é".repeat(200).as_bytes(), 25), "é".repeat(12));
        assert_eq!(prose(&[0xff; 200], 8), "%FF%FF%F");
    }

    #[test]
    fn the_system_s_words_go_into_a_sentence() {
        let gone = io::Error::from_raw_os_error(libc::ENOENT);
        assert_eq!(system_words(&gone), "no such file or directory");
        for words in ["I/O error", "", "A"] {
            assert_eq!(system_words(&io::Error::other(words)), words);
        }
    }

    #[test]
    fn things_are_counted_as_people_do() {
        assert_eq!([0, 1, 2].map(|number| count(number, "seed")), ["0 seeds", "1 seed", "2 seeds"]);
        assert_eq!(count(1_234_567, "piece"), "1,234,567 pieces");
    }

    #[test]
    fn urls_are_sound_or_left_out() {
        assert_eq!(url(" udp://a:1/x y\n"), Some("udp://a:1/x y"));
        let long = format!("http://{}", "a".repeat(MAX_URL_BYTES));
        for text in ["", "a", "http:", "http://", "://a", "http://a\x1b[2J", "http://\u{202e}a", &long] {
            assert_eq!(url(text), None, "{text}");
        }
    }
}
