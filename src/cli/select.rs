//! `--select LIST`: files by number or by pattern, as `rill show` lists them.

use std::fmt;
use std::ops::RangeInclusive;

use crate::glob::Glob;
use crate::metainfo::Info;
use crate::text::count;

/// A list that made sense as it was typed; whether its files exist is known once the torrent is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Select {
    items: Vec<Item>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Item {
    /// Listing numbers, counted from 1.
    Numbers(RangeInclusive<u64>),
    /// A pattern for a file's path, or for a folder it is in.
    Pattern(Glob, String),
}

impl Select {
    /// Reads numbers, runs of numbers and patterns with commas between them. A comma behind `\` or in `[ ]`
    /// belongs to its pattern.
    ///
    /// # Errors
    /// A sentence about the item that makes no sense.
    pub fn parse(list: &str) -> Result<Self, String> {
        let items = cut(list).into_iter().map(item).collect::<Result<Vec<_>, _>>()?;
        if items.is_empty() {
            return Err(format!("`{list}` selects nothing; lists look like 1,3-5,*.txt"));
        }
        Ok(Self { items })
    }

    /// Which of [`Info::files`] are selected.
    ///
    /// # Errors
    /// A sentence, when an item selects no file at all.
    pub fn of(&self, info: &Info) -> Result<Vec<bool>, String> {
        let mut wanted = vec![false; info.files.len()];
        let listed: Vec<usize> = (0..info.files.len()).filter(|at| !info.files[*at].padding).collect();
        for item in &self.items {
            let mut found = false;
            match item {
                Item::Numbers(range) => {
                    let files = listed.len() as u64;
                    if *range.end() > files {
                        let files = count(files, "file");
                        return Err(format!("there is no file {}: the torrent has {files}", range.end()));
                    }
                    range.clone().for_each(|number| wanted[listed[number as usize - 1]] = true);
                    found = true;
                }
                Item::Pattern(glob, _) => {
                    for at in &listed {
                        let hit = glob.covers(&info.path_of(&info.files[*at]));
                        wanted[*at] |= hit;
                        found |= hit;
                    }
                }
            }
            if !found {
                return Err(format!("no file of the torrent matches `{item}`"));
            }
        }
        Ok(wanted)
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbers(range) => write!(f, "{}-{}", range.start(), range.end()),
            Self::Pattern(_, typed) => f.write_str(typed),
        }
    }
}

/// The items between the commas.
fn cut(list: &str) -> Vec<&str> {
    let (mut items, mut from) = (Vec::new(), 0);
    let (mut escaped, mut in_set) = (false, false);
    for (at, letter) in list.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => in_set = true,
            ']' => in_set = false,
            ',' if !in_set => {
                items.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    items.push(&list[from..]);
    items.into_iter().map(str::trim).filter(|item| !item.is_empty()).collect()
}

fn item(text: &str) -> Result<Item, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number(first) && is_number(last) {
        let number = |digits: &str| digits.parse().map_err(|_| format!("`{digits}` is no number of a file"));
        let (first, last) = (number(first)?, number(last)?);
        if first == 0 {
            return Err("files are counted from 1".into());
        }
        if first > last {
            return Err(format!("`{text}` ends before it begins"));
        }
        return Ok(Item::Numbers(first..=last));
    }
    let glob = Glob::new(text).map_err(|error| error.to_string())?;
    Ok(Item::Pattern(glob, text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::info;
    use super::*;

    /// Which of `a`, padding, `b/c`.
    fn select(list: &str) -> Result<Vec<bool>, String> {
        Select::parse(list)?.of(&info())
    }

    #[test]
    fn numbers_are_those_of_the_listing() {
        assert_eq!(select("1"), Ok(vec![true, false, false]));
        assert_eq!(select("2"), Ok(vec![false, false, true]));
        assert_eq!(select("1-2"), Ok(vec![true, false, true]));
        assert_eq!(select(" 2 , 1 ,"), Ok(vec![true, false, true]));
    }

    #[test]
    fn patterns_are_for_files_and_folders() {
        for list in ["b/c", "c", "b", "b/", "b/*", "**/c", "[b,x]"] {
            assert_eq!(select(list), Ok(vec![false, false, true]), "{list}");
        }
        assert_eq!(select("*"), Ok(vec![true, false, true]));
        assert_eq!(select("a,2"), Ok(vec![true, false, true]));
    }

    #[test]
    fn what_selects_nothing_is_told() {
        for (list, sentence) in [
            ("", "selects nothing"),
            (",", "selects nothing"),
            ("0", "counted from 1"),
            ("3", "there is no file 3: the torrent has 2 files"),
            ("1-9", "no file 9"),
            ("2-1", "ends before it begins"),
            ("99999999999999999999999", "no number of a file"),
            ("*.mkv", "no file of the torrent matches `*.mkv`"),
            ("a\\,b", "matches `a\\,b`"),
            ("[a", "["),
        ] {
            let refusal = select(list).unwrap_err();
            assert!(refusal.contains(sentence), "{list}: {refusal}");
        }
    }
}
