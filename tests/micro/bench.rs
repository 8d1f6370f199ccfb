//! The micro-benchmarks: `cargo bench --bench micro`, or `cargo bench --bench micro -- sha1` for one table.
//! A table is a function that takes the [`Bench`] and fills it; each room has a file of its own.

mod bencode;
mod frame;
mod picker;
mod sha1;
mod timing;

use timing::Bench;

/// A name for the command line, and what fills the table.
type Table = (&'static str, fn(&mut Bench));

const TABLES: &[Table] =
    &[("sha1", sha1::table), ("bencode", bencode::table), ("picker", picker::table), ("frame", frame::table)];

fn main() {
    // Cargo adds `--bench`; what else is there names the tables that are wanted.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for (name, table) in TABLES {
        if wanted.is_empty() || wanted.iter().any(|word| word == *name) {
            println!("\n## {name}\n");
            table(&mut Bench::new());
        }
    }
}
