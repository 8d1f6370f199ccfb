//! Asks the linker for packed relative relocations (RELR), an eighth of a megabyte less of the executable, where
//! the C library linked in can read them: glibc since 2.36. An older one would crash before `main`.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=.cargo/build.rs");
    let native = env::var("HOST") == env::var("TARGET");
    let x86 = env::var("TARGET").is_ok_and(|target| target == "x86_64-unknown-linux-gnu");
    if native && x86 && glibc() >= Some((2, 36)) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The C library's version here: `getconf` prints `glibc 2.36`.
fn glibc() -> Option<(u32, u32)> {
    let told = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let told = String::from_utf8(told.stdout).ok()?;
    let (major, minor) = told.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}
