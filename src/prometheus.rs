//! The text format of Prometheus (0.0.4) as it is written, a metric at a time.

use std::fmt::{Display, Write};

/// The labels of one sample: names and values.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// Metrics being written.
#[derive(Debug)]
pub struct Metrics {
    text: String,
    prefix: &'static str,
}

impl Metrics {
    /// No metric yet; the name of each will begin with this.
    pub fn new(prefix: &'static str) -> Self {
        Self { text: String::new(), prefix }
    }

    /// Puts a metric that goes up and down.
    pub fn gauge<'a, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, V)>,
    ) {
        self.put(name, "gauge", help, samples);
    }

    /// Puts a metric that only goes up; by custom its name ends in `_total`.
    pub fn counter<'a, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, V)>,
    ) {
        self.put(name, "counter", help, samples);
    }

    /// Puts all that was put into another, behind what is here.
    pub fn append(&mut self, other: Self) {
        self.text.push_str(&other.text);
    }

    /// All that was put.
    pub fn into_text(self) -> String {
        self.text
    }

    fn put<'a, V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, V)>,
    ) {
        let (text, prefix) = (&mut self.text, self.prefix);
        writeln!(text, "# HELP {prefix}{name} {help}\n# TYPE {prefix}{name} {kind}")
            .expect("a String takes everything");
        for (labels, value) in samples {
            text.push_str(prefix);
            text.push_str(name);
            for (at, (label, word)) in labels.iter().enumerate() {
                text.push(if at == 0 { '{' } else { ',' });
                text.push_str(label);
                text.push_str("=\"");
                escape(word, text);
                text.push('"');
            }
            let end = if labels.is_empty() { "" } else { "}" };
            writeln!(text, "{end} {value}").expect("a String takes everything");
        }
    }
}

/// A label's value: backslash, quote and new line are escaped, other control characters are no part of a line.
fn escape(word: &str, to: &mut String) {
    for letter in word.chars() {
        match letter {
            '\\' => to.push_str("\\\\"),
            '"' => to.push_str("\\\""),
            '\n' => to.push_str("\\n"),
            control if control.is_control() => to.push('\u{fffd}'),
            other => to.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_line_and_a_name_can_t_break_it() {
        let mut metrics = Metrics::new("rill_");
        metrics.gauge("up", "Whether it is up.", [(&[] as Labels<'_>, 1)]);
        let labels: Labels<'_> = &[("name", "a\"b\\c\nd\r"), ("state", "x")];
        metrics.counter("bytes_total", "Bytes.", [(labels, 2.5)]);
        metrics.gauge("none", "Nothing of this kind.", [] as [(Labels<'_>, u64); 0]);
        let expected = "# HELP rill_up Whether it is up.\n# TYPE rill_up gauge\nrill_up 1\n\
             # HELP rill_bytes_total Bytes.\n# TYPE rill_bytes_total counter\n\
             rill_bytes_total{name=\"a\\\"b\\\\c\\nd\u{fffd}\",state=\"x\"} 2.5\n\
             # HELP rill_none Nothing of this kind.\n# TYPE rill_none gauge\n";
        assert_eq!(metrics.into_text(), expected);
    }
}
