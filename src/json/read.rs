//! JSON as it is read: a value and what is in it (RFC 8259), with limits, since a stranger may have written it.

use std::fmt;

/// How deep values may lie in each other: ours go four deep.
const MAX_DEPTH: usize = 32;

/// A value that was read.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it stood there: 64 bits of a size are more than a fraction holds.
    Number(String),
    /// Text.
    Text(String),
    /// A list.
    Array(Vec<Value>),
    /// Members in the order they stood there.
    Object(Vec<(String, Value)>),
}

/// Why something is no JSON: at which byte, and what is wrong there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Where, from 0.
    pub at: usize,
    /// What.
    pub what: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.at, self.what)
    }
}

impl std::error::Error for Fault {}

impl Value {
    /// The value that this text is.
    ///
    /// # Errors
    /// The first thing that is no JSON.
    pub fn read(text: &str) -> Result<Self, Fault> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(MAX_DEPTH)?;
        match reader.peek() {
            None => Ok(value),
            Some(_) => Err(reader.fault("something stands behind the value")),
        }
    }

    /// The first member of this name.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text of the first member of this name.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Self::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The number of the first member of this name, where it is a whole one.
    pub fn whole(&self, name: &str) -> Option<u64> {
        match self.get(name) {
            Some(Self::Number(digits)) => digits.parse().ok(),
            _ => None,
        }
    }

    /// The number of the first member of this name.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.get(name) {
            Some(Self::Number(digits)) => digits.parse().ok(),
            _ => None,
        }
    }

    /// Whether the first member of this name is `true`.
    pub fn is(&self, name: &str) -> bool {
        self.get(name) == Some(&Self::Bool(true))
    }

    /// The values in the list of this name; none where there is no such list.
    pub fn list(&self, name: &str) -> &[Self] {
        match self.get(name) {
            Some(Self::Array(values)) => values,
            _ => &[],
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn fault(&self, what: &'static str) -> Fault {
        Fault { at: self.at, what }
    }

    /// The next byte that isn't blank, which stays.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
        self.text.as_bytes().get(self.at).copied()
    }

    /// Takes this byte, if it is the next one.
    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn value(&mut self, depth: usize) -> Result<Value, Fault> {
        let deeper = depth.checked_sub(1).ok_or(self.fault("the values lie too deep in each other"))?;
        match self.peek() {
            Some(b'{') => self.object(deeper),
            Some(b'[') => self.array(deeper),
            Some(b'"') => self.string().map(Value::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => {
                let words =
                    [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))];
                let rest = &self.text[self.at..];
                let word = words.into_iter().find(|(word, _)| rest.starts_with(word));
                let (word, value) = word.ok_or(self.fault("here no value begins"))?;
                self.at += word.len();
                Ok(value)
            }
            None => Err(self.fault("the text ends where a value should be")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut members = Vec::new();
        self.at += 1;
        while !self.takes(b'}') {
            if !members.is_empty() && !self.takes(b',') {
                return Err(self.fault("a comma or a closing brace is missing"));
            }
            if self.peek() != Some(b'"') {
                return Err(self.fault("a member's name is missing"));
            }
            let name = self.string()?;
            if !self.takes(b':') {
                return Err(self.fault("a colon is missing"));
            }
            members.push((name, self.value(depth)?));
        }
        Ok(Value::Object(members))
    }

    fn array(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut values = Vec::new();
        self.at += 1;
        while !self.takes(b']') {
            if !values.is_empty() && !self.takes(b',') {
                return Err(self.fault("a comma or a closing bracket is missing"));
            }
            values.push(self.value(depth)?);
        }
        Ok(Value::Array(values))
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let rest = &self.text[self.at..];
        let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        let digits = &rest[..rest.bytes().take_while(|byte| is_part(byte)).count()];
        // What std reads and JSON doesn't allow are a leading zero and a bare point.
        let bare = digits.trim_start_matches('-');
        let leading_zero = bare.starts_with('0') && bare[1..].starts_with(|next: char| next.is_ascii_digit());
        let point =
            bare.starts_with('.') || bare.ends_with('.') || bare.contains(".e") || bare.contains(".E");
        if leading_zero || point || digits.parse::<f64>().is_err() {
            return Err(self.fault("here no number begins"));
        }
        self.at += digits.len();
        Ok(Value::Number(digits.to_owned()))
    }

    fn string(&mut self) -> Result<String, Fault> {
        let mut string = String::new();
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.bytes().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count();
            string.push_str(&rest[..plain]);
            self.at += plain;
            match rest.as_bytes().get(plain) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(string);
                }
                Some(b'\\') => string.push(self.escape()?),
                Some(_) => return Err(self.fault("a control character stands in a string")),
                None => return Err(self.fault("a string has no end")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let letter = self.text.as_bytes().get(self.at + 1).copied();
        let plain = match letter {
            Some(b'u') => return self.unicode(),
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(letter @ (b'"' | b'\\' | b'/')) => char::from(letter),
            _ => return Err(self.fault("a backslash stands before something else than an escape")),
        };
        self.at += 2;
        Ok(plain)
    }

    /// `\u00e9`, or two of them for what lies beyond the first plane; half of a pair is no letter.
    fn unicode(&mut self) -> Result<char, Fault> {
        let first = self.unit()?;
        let code = match first {
            0xd800..0xdc00 if self.text[self.at..].starts_with("\\u") => {
                let second = self.unit()?;
                match second {
                    0xdc00..0xe000 => 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                    _ => return Ok(char::REPLACEMENT_CHARACTER),
                }
            }
            other => other,
        };
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn unit(&mut self) -> Result<u32, Fault> {
        let digits = self.text.get(self.at + 2..self.at + 6);
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let unit = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let unit = unit.ok_or(self.fault("\\u needs four hexadecimal digits"))?;
        self.at += 6;
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Array, Object};
    use super::*;

    #[test]
    fn what_we_write_is_read() {
        let text = "a\"b\\c\n\t\u{1b}\u{7f}é\u{1f600}\u{0}";
        let object = Object::new()
            .put("text", text)
            .put("big", u64::MAX)
            .put("small", -1.5)
            .put("list", Array::of([1_u32, 2]).with(Object::new()))
            .put("none", None::<u64>)
            .put("yes", true);
        let value = Value::read(&object.to_string()).unwrap();
        assert_eq!(value.text("text"), Some(text));
        assert_eq!(value.whole("big"), Some(u64::MAX));
        assert_eq!((value.number("small"), value.whole("small")), (Some(-1.5), None));
        assert_eq!(value.list("list").len(), 3);
        assert_eq!((value.get("none"), value.is("yes"), value.is("none")), (Some(&Value::Null), true, false));
        assert_eq!(value.get("nothing"), None);
    }

    #[test]
    fn blanks_and_escapes_are_read_as_others_write_them() {
        let value =
            Value::read(" { \"a\" : [ 1 , 2e3 ] ,\r\n\t\"b\":\"\\u00e9\\/\\ud83d\\ude00\\ud800x\" } ")
                .unwrap();
        assert_eq!(value.list("a")[1], Value::Number("2e3".into()));
        assert_eq!(value.text("b"), Some("é/\u{1f600}\u{fffd}x"));
        assert_eq!(Value::read("[]"), Ok(Value::Array(Vec::new())));
        assert_eq!(Value::read("0"), Ok(Value::Number("0".into())));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "[1",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1,}",
            "01",
            "-",
            "+1",
            ".5",
            "1.",
            "1.e3",
            "1e",
            "nul",
            "truefalse",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u+123\"",
            "\"\n\"",
            "1 2",
            "{}x",
            "inf",
            "NaN",
            "é",
        ] {
            assert!(Value::read(text).is_err(), "{text}");
        }
        let deep = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Value::read(&deep(MAX_DEPTH)).is_ok());
        assert!(Value::read(&deep(MAX_DEPTH + 1)).is_err());
        assert!(Value::read(&"[".repeat(1_000_000)).is_err());
    }
}
