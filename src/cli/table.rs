//! Words in columns, for people.

/// On which side of its column a word stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// On the left: names.
    Left,
    /// On the right: numbers.
    Right,
}

/// Lines of words in columns. The last column isn't filled up.
#[derive(Debug)]
pub struct Table<const COLUMNS: usize> {
    sides: [Side; COLUMNS],
    lines: Vec<Line<COLUMNS>>,
}

#[derive(Debug)]
enum Line<const COLUMNS: usize> {
    Words([String; COLUMNS]),
    /// What belongs to the line above and is in no column.
    Note(String),
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table with these words at the head of its columns.
    pub fn new(heads: [(&str, Side); COLUMNS]) -> Self {
        let words = heads.map(|(head, _)| head.to_owned());
        Self { sides: heads.map(|(_, side)| side), lines: vec![Line::Words(words)] }
    }

    /// Puts a line.
    pub fn line(&mut self, words: [String; COLUMNS]) {
        self.lines.push(Line::Words(words));
    }

    /// Puts a sentence under the last line.
    pub fn note(&mut self, sentence: &str) {
        self.lines.push(Line::Note(format!("  {sentence}")));
    }

    /// The lines, each with its end.
    pub fn text(&self) -> String {
        let mut widths = [0; COLUMNS];
        for line in &self.lines {
            let Line::Words(words) = line else { continue };
            for (width, word) in widths.iter_mut().zip(words) {
                *width = (*width).max(word.chars().count());
            }
        }
        let mut text = String::new();
        for line in &self.lines {
            match line {
                Line::Note(sentence) => text.push_str(sentence),
                Line::Words(words) => {
                    let cells =
                        words.iter().zip(widths).zip(self.sides).map(|((word, width), side)| match side {
                            Side::Left => format!("{word:<width$}"),
                            Side::Right => format!("{word:>width$}"),
                        });
                    let cells: Vec<String> = cells.collect();
                    text.push_str(cells.join("  ").trim_end());
                }
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_word() {
        let mut table = Table::new([("NAME", Side::Left), ("SIZE", Side::Right), ("X", Side::Left)]);
        table.line(["é".into(), "12345".into(), String::new()]);
        table.note("a sentence of any length");
        table.line(["longer".into(), "1".into(), "y".into()]);
        let expected = "NAME     SIZE  X\né       12345\n  a sentence of any length\nlonger      1  y\n";
        assert_eq!(table.text(), expected);
    }
}
