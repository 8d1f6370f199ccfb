//! Patterns for paths, as shells have them: `*`, `?`, `[a-z]`, `**`. Matching takes time in proportion to the
//! path, whatever the pattern.

use std::fmt;
use std::str::Chars;

/// A pattern for paths whose components are joined by `/`.
///
/// `*` is any run of characters but `/`, `?` any one of them, `[a-z]` one of a set, `[!a-z]` or `[^a-z]` one that
/// is not, `**` anything across folders, `**/` any number of folders, none included; `\` takes away the next
/// character's meaning. A pattern without `/` is for the name alone: `*.tmp` matches in every folder. A `/` in
/// front holds it to the top.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Glob {
    tokens: Vec<Token>,
    name_only: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    /// This character.
    Literal(char),
    /// One character but `/`, in one of these ranges or, if `not`, in none.
    OneOf { not: bool, ranges: Vec<(char, char)> },
    /// Any run of characters; of `/` too if `across`.
    Run { across: bool },
    /// The two tokens that follow can be left out together.
    Optional,
}

/// Why a pattern makes no sense.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GlobError {
    /// There is nothing in it.
    Empty,
    /// A `[` without its `]`.
    OpenSet(String),
    /// A range that ends before it begins.
    Backwards(String, char, char),
    /// A `\` with nothing behind it.
    Escape(String),
}

impl fmt::Display for GlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "the pattern is empty"),
            Self::OpenSet(pattern) => write!(f, "the pattern '{pattern}' has a [ without its ]"),
            Self::Backwards(pattern, first, last) => {
                write!(f, "the pattern '{pattern}' has the range {first}-{last}, which holds nothing")
            }
            Self::Escape(pattern) => write!(f, "the pattern '{pattern}' ends in a \\ with nothing behind it"),
        }
    }
}

impl std::error::Error for GlobError {}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What in it makes no sense.
    pub fn new(pattern: &str) -> Result<Self, GlobError> {
        let (anchored, rest) = pattern.strip_prefix('/').map_or((false, pattern), |rest| (true, rest));
        // `folder/` is the folder.
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.is_empty() {
            return Err(GlobError::Empty);
        }
        let tokens = Reader { pattern, rest: rest.chars() }.tokens()?;
        let name_only = !anchored && !tokens.iter().any(Token::knows_folders);
        Ok(Self { tokens, name_only })
    }

    /// The pattern for this path and no other, whatever characters it has.
    pub fn exactly(path: &str) -> Self {
        Self { tokens: path.chars().map(Token::Literal).collect(), name_only: false }
    }

    /// Whether it matches this path as a whole.
    pub fn matches(&self, path: &str) -> bool {
        let text = if self.name_only { path.rsplit('/').next().unwrap_or(path) } else { path };
        let mut now = vec![false; self.tokens.len() + 1];
        let mut next = now.clone();
        self.reach(&mut now, 0);
        for letter in text.chars() {
            next.fill(false);
            for at in (0..self.tokens.len()).filter(|at| now[*at]) {
                match &self.tokens[at] {
                    Token::Run { across } if *across || letter != '/' => self.reach(&mut next, at),
                    token if token.takes(letter) => self.reach(&mut next, at + 1),
                    _ => {}
                }
            }
            std::mem::swap(&mut now, &mut next);
        }
        now[self.tokens.len()]
    }

    /// Whether it matches this path or a folder on the way to it.
    pub fn covers(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        ends.into_iter().any(|end| self.matches(&path[..end]))
    }

    /// Marks a place in the pattern, and those that can be reached from it without a character.
    fn reach(&self, places: &mut [bool], at: usize) {
        if !std::mem::replace(&mut places[at], true) {
            match self.tokens.get(at) {
                Some(Token::Run { .. }) => self.reach(places, at + 1),
                Some(Token::Optional) => {
                    self.reach(places, at + 1);
                    self.reach(places, at + 3);
                }
                _ => {}
            }
        }
    }
}

impl Token {
    fn takes(&self, letter: char) -> bool {
        match self {
            Self::Literal(own) => *own == letter,
            Self::OneOf { not, ranges } => {
                letter != '/' && *not != ranges.iter().any(|(first, last)| (*first..=*last).contains(&letter))
            }
            Self::Run { .. } | Self::Optional => false,
        }
    }

    fn knows_folders(&self) -> bool {
        matches!(self, Self::Literal('/') | Self::Run { across: true })
    }
}

/// Reads a pattern from the front.
struct Reader<'a> {
    pattern: &'a str,
    rest: Chars<'a>,
}

impl Reader<'_> {
    fn tokens(mut self) -> Result<Vec<Token>, GlobError> {
        let mut tokens = Vec::new();
        while let Some(letter) = self.rest.next() {
            match letter {
                '*' => self.stars(&mut tokens),
                '?' => tokens.push(Token::OneOf { not: true, ranges: Vec::new() }),
                '[' => tokens.push(self.set()?),
                '\\' => tokens.push(Token::Literal(self.escaped()?)),
                letter => tokens.push(Token::Literal(letter)),
            }
        }
        Ok(tokens)
    }

    /// The first star is read; what else belongs to it follows.
    fn stars(&mut self, tokens: &mut Vec<Token>) {
        let mut across = false;
        while self.take('*') {
            across = true;
        }
        let folders = across
            && matches!(tokens.last(), None | Some(Token::Literal('/')))
            && self.rest.as_str().starts_with('/');
        if folders {
            tokens.push(Token::Optional);
        }
        tokens.push(Token::Run { across });
        if folders {
            self.rest.next();
            tokens.push(Token::Literal('/'));
        }
    }

    /// The opening bracket is read. A closing one that comes first stands for itself.
    fn set(&mut self) -> Result<Token, GlobError> {
        let not = self.take('!') || self.take('^');
        let mut ranges = Vec::new();
        loop {
            let first = match self.in_set()? {
                (']', false) if !ranges.is_empty() => return Ok(Token::OneOf { not, ranges }),
                (letter, _) => letter,
            };
            let mut ahead = self.rest.clone();
            let is_range = ahead.next() == Some('-') && !matches!(ahead.next(), None | Some(']'));
            let last = if is_range {
                self.rest.next();
                self.in_set()?.0
            } else {
                first
            };
            if last < first {
                return Err(GlobError::Backwards(self.pattern.into(), first, last));
            }
            ranges.push((first, last));
        }
    }

    /// The next character of a set, and whether a `\` stood in front of it.
    fn in_set(&mut self) -> Result<(char, bool), GlobError> {
        match self.rest.next() {
            Some('\\') => Ok((self.escaped()?, true)),
            Some(letter) => Ok((letter, false)),
            None => Err(GlobError::OpenSet(self.pattern.into())),
        }
    }

    fn escaped(&mut self) -> Result<char, GlobError> {
        self.rest.next().ok_or_else(|| GlobError::Escape(self.pattern.into()))
    }

    fn take(&mut self, letter: char) -> bool {
        let there = self.rest.as_str().starts_with(letter);
        if there {
            self.rest.next();
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let glob = Glob::new(pattern).unwrap();
        for path in matching {
            assert!(glob.matches(path), "{pattern} should match {path}");
        }
        for path in others {
            assert!(!glob.matches(path), "{pattern} should not match {path}");
        }
    }

    #[test]
    fn names_match_in_every_folder() {
        check("*.tmp", &["a.tmp", "b/c/a.tmp", ".tmp"], &["a.tmpx", "a.tmp/b", "tmp"]);
        check("a?c", &["abc", "x/aéc"], &["ac", "abbc", "a/c"]);
        check("*", &["a", "a/b", ""], &[]);
        check("read*me*", &["readme", "x/read.me.txt"], &["reame"]);
    }

    #[test]
    fn paths_match_as_a_whole() {
        check("a/*.txt", &["a/b.txt", "a/.txt"], &["a/b/c.txt", "x/a/b.txt", "b.txt"]);
        check("/a.txt", &["a.txt"], &["b/a.txt"]);
        check("/*", &["a.txt"], &["b/a.txt"]);
        check("build/", &["build", "x/build"], &["builds"]);
    }

    #[test]
    fn two_stars_cross_folders() {
        check("**/x", &["x", "a/x", "a/b/x"], &["ax", "a/ax", "x/a"]);
        check("a/**", &["a/b", "a/b/c"], &["a", "b/a/c"]);
        check("a/**/z", &["a/z", "a/b/z", "a/b/c/z"], &["a/bz", "az"]);
        check("a**z", &["az", "a/b/z", "abz"], &["b/az"]);
        check("**", &["a", "a/b"], &[]);
    }

    #[test]
    fn sets_and_escapes() {
        check("[a-c]1", &["a1", "c1", "x/b1"], &["d1", "/1", "1"]);
        check("[!a-c]1", &["d1", "é1"], &["a1"]);
        check("[^a]", &["b"], &["a"]);
        check("[]x]", &["]", "x"], &["[", "a"]);
        check("[a-]", &["a", "-"], &["b"]);
        check(r"[\]\-a]", &["]", "-", "a"], &["\\"]);
        check(r"\*\[", &["*["], &["a["]);
        check("a/[!b]c", &["a/xc"], &["a/bc", "a//c"]);
    }

    #[test]
    fn a_folder_covers_what_is_in_it() {
        let glob = Glob::new("extras").unwrap();
        assert!(glob.covers("a/extras/b.txt") && glob.covers("extras") && !glob.covers("a/b"));
        assert!(Glob::new("a/b").unwrap().covers("a/b/c/d"));
        assert!(!Glob::new("a/b").unwrap().covers("x/a/b/c"));
    }

    #[test]
    fn a_path_can_be_taken_at_its_word() {
        assert!(Glob::exactly("a*[").matches("a*["));
        assert!(!Glob::exactly("a*[").matches("ab["));
        assert!(!Glob::exactly("a").matches("b/a"));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        assert_eq!(Glob::new(""), Err(GlobError::Empty));
        assert_eq!(Glob::new("/"), Err(GlobError::Empty));
        assert_eq!(Glob::new("a[b"), Err(GlobError::OpenSet("a[b".into())));
        assert_eq!(Glob::new("[]"), Err(GlobError::OpenSet("[]".into())));
        assert_eq!(Glob::new("a\\"), Err(GlobError::Escape("a\\".into())));
        let error = Glob::new("[z-a]").unwrap_err();
        assert_eq!(error.to_string(), "the pattern '[z-a]' has the range z-a, which holds nothing");
    }

    /// What keeps matchers that try again busy until the sun goes cold.
    #[test]
    fn no_pattern_takes_long() {
        let many = Glob::new(&("*a".repeat(50) + "b")).unwrap();
        assert!(!many.matches(&"a".repeat(20_000)));
        assert!(many.matches(&("a".repeat(20_000) + "b")));
        let deep = Glob::new(&("**/a/".repeat(30) + "b")).unwrap();
        assert!(!deep.matches(&"a/".repeat(5_000)));
    }
}
