//! Reads Rust source just well enough for the house rules: what is code and not comment or string, what is
//! test, and which paths a file names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file of the house.
pub struct Source {
    /// Where it lies below `src/`, as `peer/worker.rs`.
    pub name: String,
    /// Everything, as it stands.
    pub text: String,
    /// The text without comments, strings and test items; line breaks kept.
    pub code: String,
    /// Whether the whole file is test: it, or a file above it, is declared under `#[cfg(test)]`.
    pub test: bool,
}

impl Source {
    /// All of `src/`, sorted by name.
    pub fn all() -> Vec<Source> {
        let root = root().join("src");
        let mut files = Vec::new();
        walk(&root, &mut files);
        files.sort();
        let mut sources: Vec<Source> = files.iter().map(|path| Source::read(&root, path)).collect();
        let mut shipped = BTreeSet::new();
        for source in &sources {
            let module = source.module();
            shipped.extend(modules_of(&source.code).into_iter().map(|name| [&module[..], &[name]].concat()));
        }
        for source in &mut sources {
            let module = source.module();
            source.test = (1..=module.len()).any(|depth| !shipped.contains(&module[..depth]));
        }
        sources
    }

    /// The names that shipped code gives the fields of JSON, each with its line.
    pub fn fields(&self) -> Vec<(&str, usize)> {
        let mut fields = Vec::new();
        for (at, (text, code)) in self.text.lines().zip(self.code.lines()).enumerate() {
            let calls = [".put(\"", ".put_some(\""].iter().filter(|_| code.contains(".put"));
            let names = calls.flat_map(|call| text.split(call).skip(1));
            let quoted = names.filter_map(|rest| rest.split_once('"'));
            // What has no value behind its name is put elsewhere: on a screen.
            let named = quoted.filter(|(_, behind)| behind.starts_with(','));
            fields.extend(named.map(|(name, _)| (name, at + 1)));
        }
        fields
    }

    fn read(root: &Path, path: &Path) -> Source {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(path).unwrap();
        let code = without_tests(&code_only(&text));
        Source { name, text, code, test: false }
    }

    /// The module this file is, as `["peer", "worker"]`; empty for `lib.rs` and `main.rs`.
    pub fn module(&self) -> Vec<String> {
        let path = self.name.trim_end_matches(".rs");
        let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
        if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            parts.pop();
        }
        parts
    }

    /// The line number of a byte position in `code` or `text`.
    pub fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    /// Every place in the code where this word stands by itself, as line numbers. A word may hold `::`.
    pub fn lines_with(&self, word: &str) -> Vec<usize> {
        self.code
            .match_indices(word)
            .filter(|(at, _)| {
                let before = self.code[..*at].chars().next_back();
                let after = self.code[at + word.len()..].chars().next();
                let last = word.chars().next_back().unwrap();
                !before.is_some_and(is_word) && (!is_word(last) || !after.is_some_and(is_word))
            })
            .map(|(at, _)| self.line(at))
            .collect()
    }

    /// Every path inside the crate that the code names, written from the crate's root, with its line.
    pub fn crate_paths(&self) -> Vec<(Vec<String>, usize)> {
        let found = paths(&self.code, &self.module());
        let found: BTreeSet<_> = found.into_iter().map(|(path, at)| (path, self.line(at))).collect();
        found.into_iter().collect()
    }
}

/// The modules a piece of code declares in files of their own, in order.
pub fn modules_of(code: &str) -> Vec<String> {
    code.lines()
        .filter_map(|line| {
            let line = line.trim().strip_suffix(';')?;
            let at = line.rfind("mod ")?;
            let visible = line[..at].trim();
            (visible.is_empty() || visible.starts_with("pub")).then(|| line[at + 4..].to_owned())
        })
        .collect()
}

/// The repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the house, tests and all: its path and its text.
pub fn every_file() -> Vec<(String, String)> {
    let root = root();
    let mut files = Vec::new();
    ["src", "tests"].iter().for_each(|folder| walk(&root.join(folder), &mut files));
    files.sort();
    let name = |path: &PathBuf| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// A chapter of the README: from its heading to the next.
pub fn chapter(heading: &str) -> String {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = readme.split_once(&format!("\n## {heading}\n")).expect("the README has this chapter");
    rest.split("\n## ").next().unwrap().to_owned()
}

/// The files below a folder that end in `.rs`.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The text with comments and the insides of strings blanked out; every line keeps its place.
pub fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest, code.chars().next_back()) {
            length
        } else if rest.starts_with('"') {
            string(rest)
        } else if rest.starts_with('\'') {
            character(rest)
        } else {
            0
        };
        if skip == 0 {
            let c = rest.chars().next().unwrap();
            code.push(c);
            at += c.len_utf8();
        } else {
            code.extend(rest[..skip].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            at += skip;
        }
    }
    code
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().unwrap().len_utf8();
        }
    }
    at
}

/// The length of a raw string (`r"…"`, `br#"…"#`) that starts here.
fn raw_string(rest: &str, before: Option<char>) -> Option<usize> {
    if before.is_some_and(is_word) {
        return None;
    }
    let inner = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = inner.len() - inner.trim_start_matches('#').len();
    let body = inner[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |found| found + end.len());
    Some(rest.len() - body.len() + length)
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a character literal; 0 for a lifetime or label.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(0, |found| 3 + found + 1),
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

/// Blanks out every item under `#[cfg(test)]`: up to its closing brace, or its semicolon.
pub fn without_tests(code: &str) -> String {
    let mut code = code.to_owned();
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(test)]") {
        let start = from + found;
        let mut depth = 0;
        let mut end = code.len();
        for (at, c) in code[start + 12..].char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ';' if depth == 0 => {}
                _ => continue,
            }
            if depth == 0 {
                end = start + 12 + at + 1;
                break;
            }
        }
        let blank: String = code[start..end]
            .chars()
            .flat_map(|c| std::iter::repeat_n(if c == '\n' { '\n' } else { ' ' }, c.len_utf8()))
            .collect();
        code.replace_range(start..end, &blank);
        from = end;
    }
    code
}

/// The paths that start with `crate::` or `super::`, with `{…}` lists written out, seen from `module`.
pub fn paths(code: &str, module: &[String]) -> Vec<(Vec<String>, usize)> {
    let mut found = Vec::new();
    for (start, first) in ["crate::", "super::"].iter().flat_map(|word| code.match_indices(word)) {
        let before = code[..start].chars().next_back();
        if before.is_some_and(|c| is_word(c) || c == ':') {
            continue; // `pub(crate)::…` isn't one, and a later `super` of a chain is read with its first
        }
        let mut base: Vec<String> = if first == "crate::" { Vec::new() } else { module.to_vec() };
        let mut rest = &code[start..];
        if first == "crate::" {
            rest = &rest[7..];
        }
        while let Some(after) = rest.strip_prefix("super::") {
            base.pop();
            rest = after;
        }
        tree(rest, &base, &mut |path| found.push((path, start)));
    }
    found
}

/// Reads one path or `{…}` list; returns what stands behind it.
fn tree<'a>(mut rest: &'a str, base: &[String], found: &mut dyn FnMut(Vec<String>)) -> &'a str {
    let mut path = base.to_vec();
    loop {
        rest = rest.trim_start();
        if let Some(mut inside) = rest.strip_prefix('{') {
            loop {
                inside = inside.trim_start().trim_start_matches(',').trim_start();
                if let Some(behind) = inside.strip_prefix('}') {
                    return behind;
                }
                let behind = tree(inside, &path, found);
                if behind.len() == inside.len() {
                    return ""; // not a list we understand; never go round for ever
                }
                inside = behind;
            }
        }
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if end > 0 {
            path.push(rest[..end].to_owned());
        }
        rest = rest[end..].trim_start_matches('*');
        match rest.strip_prefix("::") {
            Some(after) => rest = after,
            None => break,
        }
    }
    found(path);
    match rest.trim_start().strip_prefix("as ") {
        Some(renamed) => renamed.trim_start().trim_start_matches(is_word),
        None => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_no_code() {
        let text = "let a = \"print! \\\" fs::\"; // std::fs\n/* a /* b */ c */ let b = 'x'; r#\"dbg!\"#; &'a str; '\\'';";
        let code = code_only(text);
        assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), "let a = ; let b = ; ; &'a str; ;");
        assert_eq!(code.matches('\n').count(), 1);
    }

    #[test]
    fn test_items_are_left_out() {
        let code = without_tests(
            "fn a() {}\n#[cfg(test)]\nmod tests { fn x() { std::fs } }\nfn b() {}\n#[cfg(test)]\nmod t;\nc",
        );
        assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), "fn a() {} fn b() {} c");
    }

    #[test]
    fn paths_are_written_out() {
        let module = ["peer".to_owned(), "worker".to_owned()];
        let code =
            "use crate::{id::PeerId, wire::{frame, message::*}}; super::Letter; use super::super::rate as r;";
        let mut all: Vec<String> =
            paths(code, &module).into_iter().map(|(path, _)| path.join("::")).collect();
        all.sort();
        assert_eq!(all, ["id::PeerId", "peer::Letter", "rate", "wire::frame", "wire::message"]);
    }
}
