//! Just enough JSON to read rill's events: a line becomes a table from a path (`files.0.path`) to a value as text.

use std::collections::BTreeMap;

/// Reads one JSON value; strings come without their quotes, everything else as written. Panics on what isn't
/// JSON, which is what a test wants.
pub fn read(line: &str) -> BTreeMap<String, String> {
    let mut reader = Reader { text: line.trim().as_bytes(), at: 0, found: BTreeMap::new() };
    reader.value("");
    reader.space();
    assert_eq!(reader.at, reader.text.len(), "something stands behind the JSON value: {line}");
    reader.found
}

/// Every line read; empty lines are not JSON either.
pub fn read_lines(text: &str) -> Vec<BTreeMap<String, String>> {
    text.lines().map(read).collect()
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    found: BTreeMap<String, String>,
}

impl Reader<'_> {
    fn space(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> u8 {
        self.space();
        *self.text.get(self.at).unwrap_or_else(|| panic!("the JSON ends early: {}", self.shown()))
    }

    fn take(&mut self, wanted: u8) {
        let found = self.peek();
        assert_eq!(char::from(found), char::from(wanted), "at byte {} of {}", self.at, self.shown());
        self.at += 1;
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(self.text).into_owned()
    }

    fn value(&mut self, path: &str) {
        match self.peek() {
            b'{' => self.items(b'}', path),
            b'[' => self.items(b']', path),
            b'"' => {
                let text = self.string();
                self.found.insert(path.to_owned(), text);
            }
            _ => {
                let from = self.at;
                while self.text.get(self.at).is_some_and(|c| c.is_ascii_alphanumeric() || b"+-.".contains(c))
                {
                    self.at += 1;
                }
                let text = String::from_utf8(self.text[from..self.at].to_vec()).unwrap();
                let known = matches!(text.as_str(), "true" | "false" | "null") || text.parse::<f64>().is_ok();
                assert!(known, "{text:?} at byte {from} of {} is no JSON value", self.shown());
                self.found.insert(path.to_owned(), text);
            }
        }
    }

    fn items(&mut self, end: u8, path: &str) {
        self.at += 1;
        let mut number = 0;
        while self.peek() != end {
            if number > 0 {
                self.take(b',');
                self.space();
            }
            let key = if end == b'}' {
                let key = self.string();
                self.take(b':');
                key
            } else {
                number.to_string()
            };
            self.value(&if path.is_empty() { key } else { format!("{path}.{key}") });
            number += 1;
        }
        self.at += 1;
        self.found.insert(format!("{path}#"), number.to_string());
    }

    fn string(&mut self) -> String {
        self.take(b'"');
        let mut text = Vec::new();
        loop {
            let c = self.text[self.at];
            self.at += 1;
            match c {
                b'"' => return String::from_utf8(text).expect("JSON strings are UTF-8"),
                b'\\' => {
                    let escaped = self.text[self.at];
                    self.at += 1;
                    let c = match escaped {
                        b'n' => '\n',
                        b't' => '\t',
                        b'r' => '\r',
                        b'b' => '\x08',
                        b'f' => '\x0c',
                        b'u' => {
                            let digits = std::str::from_utf8(&self.text[self.at..self.at + 4]).unwrap();
                            self.at += 4;
                            char::from_u32(u32::from_str_radix(digits, 16).unwrap())
                                .expect("no surrogates are written")
                        }
                        other => char::from(other),
                    };
                    text.extend(c.to_string().bytes());
                }
                0..0x20 => panic!("a bare control character in {}", self.shown()),
                _ => text.push(c),
            }
        }
    }
}
