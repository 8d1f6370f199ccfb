//! Which instructions hash: chosen once, by what the processor has.
#![allow(unsafe_code)]

use std::fmt;
use std::sync::OnceLock;

/// How many streams go side by side at the most: what the widest registers hold.
pub const WIDEST: usize = 16;

/// A way to compute SHA-1. All give the same results.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Path {
    /// The portable one, and the judge of the others: `sha1_smol`, one stream at a time.
    Smol,
    /// x86-64's SHA instructions, two streams at a time or four.
    Ni,
    /// AVX2: eight streams at a time.
    Avx2,
    /// AVX-512: sixteen streams at a time; fewer in eight short lanes, or by SHA instructions where these take four.
    Avx512,
    /// aarch64's NEON: four streams at a time.
    Neon,
    /// aarch64's SHA-1 instructions, two streams at a time.
    Arm,
}

impl Path {
    /// Every path, on whatever processor.
    pub const ALL: [Self; 6] = [Self::Smol, Self::Ni, Self::Avx2, Self::Avx512, Self::Neon, Self::Arm];

    /// The path in use: the best this processor has, or the one that the environment variable `RILL_SHA1`
    /// names (`smol`, `ni`, `avx2`, `avx512`, `neon`, `arm`) if the processor has it. Decided at the first call.
    pub fn active() -> Self {
        static ACTIVE: OnceLock<Path> = OnceLock::new();
        *ACTIVE.get_or_init(|| {
            let asked = std::env::var("RILL_SHA1").ok().and_then(|name| Self::named(&name));
            asked.filter(|path| path.is_available()).unwrap_or_else(Self::best)
        })
    }

    /// The path of this name; `None` if there is none.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|path| path.name() == name)
    }

    /// The paths that this processor can take.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|path| path.is_available())
    }

    /// Its name in `RILL_SHA1` and in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smol => "smol",
            Self::Ni => "ni",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
            Self::Arm => "arm",
        }
    }

    /// How many streams side by side it takes to make full use of it.
    pub fn streams(self) -> usize {
        match self {
            Self::Smol => 1,
            Self::Ni if takes_four() => 4,
            Self::Ni | Self::Arm => 2,
            Self::Neon => 4,
            Self::Avx2 => 8,
            Self::Avx512 => WIDEST,
        }
    }

    /// Whether this processor can take it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Smol => true,
            #[cfg(target_arch = "x86_64")]
            Self::Ni => {
                is_x86_feature_detected!("sha")
                    && is_x86_feature_detected!("ssse3")
                    && is_x86_feature_detected!("sse4.1")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx2")
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "aarch64")]
            Self::Arm => std::arch::is_aarch64_feature_detected!("sha2"),
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// Itself where the processor can take it, else the active one.
    pub(super) fn or_active(self) -> Self {
        if self.is_available() { self } else { Self::active() }
    }

    fn best() -> Self {
        let by_speed = match takes_four() {
            true => [Self::Avx512, Self::Ni, Self::Avx2, Self::Arm, Self::Neon],
            false => [Self::Avx512, Self::Avx2, Self::Ni, Self::Arm, Self::Neon],
        };
        by_speed.into_iter().find(|path| path.is_available()).unwrap_or(Self::Smol)
    }
}

/// Whether SHA instructions of more than two streams overlap: AMD's unit begins one while three others are under way (4,150
/// million bytes a second of four streams on a Zen 3, 2,900 of two, 3,400 in AVX2 registers); Intel's is busy with the one
/// it has.
#[cfg(target_arch = "x86_64")]
pub(super) fn takes_four() -> bool {
    use std::arch::x86_64::__cpuid;

    static TAKES_FOUR: OnceLock<bool> = OnceLock::new();
    // The maker's name, in the order of these registers.
    let is_by =
        |maker: &[u8; 12], [b, d, c]: [u32; 3]| *maker.as_chunks().0 == [b, d, c].map(u32::to_le_bytes);
    *TAKES_FOUR.get_or_init(|| {
        // SAFETY: every x86-64 has the instruction. (Where the library knows that, it wants no word of it.)
        #[allow(unused_unsafe)]
        let name = unsafe { __cpuid(0) };
        let name = [name.ebx, name.edx, name.ecx];
        Path::Ni.is_available() && (is_by(b"AuthenticAMD", name) || is_by(b"HygonGenuine", name))
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn takes_four() -> bool {
    false
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
