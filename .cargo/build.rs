//! Asks the linker for packed relative relocations (RELR), an eighth of a megabyte less of the executable, where
//! the C library linked in can read them: glibc since 2.36, musl since 1.2.4. An older one would crash before `main`.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=.cargo/build.rs");
    let native = env::var("HOST") == env::var("TARGET");
    let reads_them = match env::var("TARGET").as_deref() {
        Ok("x86_64-unknown-linux-gnu") => native && glibc() >= Some((2, 36)),
        // Rust brings its own musl, since 1.93 one that is new enough.
        Ok("x86_64-unknown-linux-musl") => rust() >= Some((1, 93)),
        _ => false,
    };
    if reads_them {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The C library's version here: `getconf` prints `glibc 2.36`.
fn glibc() -> Option<(u32, u32)> {
    version("getconf", "GNU_LIBC_VERSION")
}

/// The compiler's version: it prints `rustc 1.95.0 (59807616e 2026-04-14)`.
fn rust() -> Option<(u32, u32)> {
    version(&env::var("RUSTC").ok()?, "--version")
}

/// The first two numbers in the second word that a program prints when asked this.
fn version(program: &str, question: &str) -> Option<(u32, u32)> {
    let told = Command::new(program).arg(question).output().ok()?;
    let told = String::from_utf8(told.stdout).ok()?;
    let mut numbers = told.split_whitespace().nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
