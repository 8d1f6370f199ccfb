//! JSON as it is written, a value at a time, into a string (RFC 8259), and as it is read.

mod read;

use std::fmt::Write;

pub use read::{Fault, Value};

/// An object being written: `{"event":"piece","piece":3}`. Members appear in the order they are put.
#[derive(Debug)]
pub struct Object {
    text: String,
}

/// An array being written.
#[derive(Debug)]
pub struct Array {
    text: String,
}

impl Default for Object {
    fn default() -> Self {
        Self { text: "{".into() }
    }
}

impl Default for Array {
    fn default() -> Self {
        Self { text: "[".into() }
    }
}

impl Object {
    /// An object without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a member.
    #[must_use]
    pub fn put(mut self, key: &str, value: impl Json) -> Self {
        if self.text.len() > 1 {
            self.text.push(',');
        }
        key.write(&mut self.text);
        self.text.push(':');
        value.write(&mut self.text);
        self
    }

    /// Puts a member if there is a value for it; leaves it out otherwise.
    #[must_use]
    pub fn put_some(self, key: &str, value: Option<impl Json>) -> Self {
        match value {
            Some(value) => self.put(key, value),
            None => self,
        }
    }
}

impl Array {
    /// An array of these values.
    pub fn of<T: Json>(values: impl IntoIterator<Item = T>) -> Self {
        values.into_iter().fold(Self::default(), Self::with)
    }

    /// The array with one more value behind the others.
    #[must_use]
    pub fn with(mut self, value: impl Json) -> Self {
        if self.text.len() > 1 {
            self.text.push(',');
        }
        value.write(&mut self.text);
        self
    }
}

/// What can stand in JSON.
pub trait Json {
    /// Writes itself behind what is there.
    fn write(&self, to: &mut String);
}

impl Json for Object {
    fn write(&self, to: &mut String) {
        to.push_str(&self.text);
        to.push('}');
    }
}

impl Json for Array {
    fn write(&self, to: &mut String) {
        to.push_str(&self.text);
        to.push(']');
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}}}", self.text)
    }
}

impl Json for str {
    /// Quotes, backslashes and control characters are escaped; DEL and the C1 controls too, which a terminal
    /// may obey although JSON permits them.
    fn write(&self, to: &mut String) {
        to.push('"');
        for letter in self.chars() {
            match letter {
                '"' => to.push_str("\\\""),
                '\\' => to.push_str("\\\\"),
                '\n' => to.push_str("\\n"),
                '\r' => to.push_str("\\r"),
                '\t' => to.push_str("\\t"),
                control if control.is_control() => {
                    write!(to, "\\u{:04x}", u32::from(control)).expect("a String takes everything");
                }
                other => to.push(other),
            }
        }
        to.push('"');
    }
}

impl Json for [u8] {
    /// Text in bytes; what isn't UTF-8 becomes the replacement character.
    fn write(&self, to: &mut String) {
        String::from_utf8_lossy(self).write(to);
    }
}

impl Json for String {
    fn write(&self, to: &mut String) {
        self.as_str().write(to);
    }
}

impl Json for std::borrow::Cow<'_, str> {
    fn write(&self, to: &mut String) {
        (**self).write(to);
    }
}

impl Json for bool {
    fn write(&self, to: &mut String) {
        to.push_str(if *self { "true" } else { "false" });
    }
}

impl Json for f64 {
    /// At most three digits behind the point; what isn't a number is `null`.
    fn write(&self, to: &mut String) {
        if !self.is_finite() {
            return to.push_str("null");
        }
        let text = format!("{self:.3}");
        to.push_str(text.trim_end_matches('0').trim_end_matches('.'));
    }
}

impl<T: Json + ?Sized> Json for &T {
    fn write(&self, to: &mut String) {
        (**self).write(to);
    }
}

impl<T: Json> Json for Option<T> {
    fn write(&self, to: &mut String) {
        match self {
            Some(value) => value.write(to),
            None => to.push_str("null"),
        }
    }
}

macro_rules! whole_numbers {
    ($($kind:ty)*) => {$(
        impl Json for $kind {
            fn write(&self, to: &mut String) {
                write!(to, "{self}").expect("a String takes everything");
            }
        }
    )*};
}

whole_numbers! { u8 u16 u32 u64 usize i64 }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_reads_as_it_was_put() {
        let object = Object::new()
            .put("event", "piece")
            .put("piece", 3_u32)
            .put("files", Array::of(["a", "b"]).with(Object::new()))
            .put_some("eta", None::<u64>)
            .put("waiting", None::<&str>)
            .put("private", false);
        assert_eq!(
            object.to_string(),
            r#"{"event":"piece","piece":3,"files":["a","b",{}],"waiting":null,"private":false}"#
        );
        assert_eq!(Object::new().to_string(), "{}");
    }

    #[test]
    fn nothing_in_a_name_escapes_its_quotes() {
        let mut text = String::new();
        "a\"b\\c\n\t\u{1b}[2J\u{7f}\u{9b}é\u{0}".write(&mut text);
        assert_eq!(text, r#""a\"b\\c\n\t\u001b[2J\u007f\u009bé\u0000""#);
        let mut bytes = String::new();
        b"ok\xff\xfe".as_slice().write(&mut bytes);
        assert_eq!(bytes, "\"ok\u{fffd}\u{fffd}\"");
    }

    #[test]
    fn numbers_are_short_and_never_nan() {
        let write = |number: f64| Object::new().put("n", number).to_string();
        assert_eq!(write(1.5), r#"{"n":1.5}"#);
        assert_eq!(write(2.0), r#"{"n":2}"#);
        assert_eq!(write(100.0), r#"{"n":100}"#);
        assert_eq!(write(1_700_000_000.123_456), r#"{"n":1700000000.123}"#);
        assert_eq!(write(f64::NAN), r#"{"n":null}"#);
    }
}
