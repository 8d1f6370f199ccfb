//! The rounds of SHA-1, written once for any number of streams side by side: lane `n` of every vector
//! belongs to stream `n`.
#![allow(unsafe_code)]

use super::{BLOCK, State};

/// A vector of 32-bit words, one for each stream.
///
/// # Safety
/// Every method may use instructions that not every processor has: call them only where the processor is
/// known to have them. All are inlined into a function that switches those instructions on.
pub(super) trait Lanes: Copy {
    /// How many streams go side by side.
    const COUNT: usize;

    /// The same word for every stream.
    unsafe fn splat(word: u32) -> Self;
    /// The words at `words`, one for each stream; room for `COUNT` of them must be readable.
    unsafe fn load(words: *const u32) -> Self;
    /// Writes the words to `words`, which must have room for `COUNT` of them.
    unsafe fn store(self, words: *mut u32);
    /// Word by word, modulo 2³².
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn xor(self, other: Self) -> Self;
    unsafe fn rotate_left_1(self) -> Self;
    unsafe fn rotate_left_5(self) -> Self;
    unsafe fn rotate_left_30(self) -> Self;
    /// `self ^ c ^ d`: FIPS 180-4 calls it Parity.
    unsafe fn parity(self, c: Self, d: Self) -> Self;
    /// `c` where a bit of `self` is set, else `d`: Ch.
    unsafe fn choose(self, c: Self, d: Self) -> Self;
    /// What two of the three say: Maj.
    unsafe fn majority(self, c: Self, d: Self) -> Self;
    /// The next 64 bytes of every stream as sixteen big-endian words. `streams` holds `COUNT` pointers, with
    /// 64 readable bytes behind each one plus `offset`.
    unsafe fn load_block(streams: &[*const u8], offset: usize) -> [Self; 16];
}

/// The states of `N` streams, word by word: `words[0]` holds the first word of every stream.
#[derive(Clone)]
pub(super) struct States<const N: usize> {
    words: [[u32; N]; 5],
}

impl<const N: usize> States<N> {
    pub(super) const fn new() -> Self {
        Self { words: [[0; N]; 5] }
    }

    pub(super) fn put(&mut self, lane: usize, state: &State) {
        for (words, word) in self.words.iter_mut().zip(state) {
            words[lane] = *word;
        }
    }

    pub(super) fn get(&self, lane: usize) -> State {
        self.words.map(|words| words[lane])
    }
}

/// Compresses the first `blocks` blocks of every stream into its state.
///
/// # Safety
/// The processor must have what `L` needs. Inlined, so that the caller's target features hold inside.
///
/// # Panics
/// When a stream holds fewer than `blocks` blocks, or `L` has another number of lanes than `N`.
#[inline(always)]
pub(super) unsafe fn compress<L: Lanes, const N: usize>(
    states: &mut States<N>,
    streams: &[&[u8]; N],
    blocks: usize,
) {
    assert_eq!(L::COUNT, N);
    assert!(streams.iter().all(|stream| stream.len() / BLOCK >= blocks));
    let pointers = streams.map(<[u8]>::as_ptr);
    // SAFETY: every row of `words` is N words long; the streams hold `blocks` blocks each, see above.
    unsafe {
        let mut state = states.words.each_ref().map(|words| L::load(words.as_ptr()));
        for block in 0..blocks {
            state = rounds(state, L::load_block(&pointers, block * BLOCK));
        }
        for (words, lanes) in states.words.iter_mut().zip(state) {
            lanes.store(words.as_mut_ptr());
        }
    }
}

/// One block of every stream: eighty rounds (FIPS 180-4, 6.1.3: with a circular queue of sixteen words).
///
/// # Safety
/// The processor must have what `L` needs.
#[inline(always)]
unsafe fn rounds<L: Lanes>(state: [L; 5], mut w: [L; 16]) -> [L; 5] {
    let [mut a, mut b, mut c, mut d, mut e] = state;

    /// One round; instead of moving the words along, the names move in [`five`].
    macro_rules! round {
        ($f:ident, $k:ident, $t:expr, $a:ident, $b:ident, $c:ident, $d:ident, $e:ident) => {
            if $t >= 16 {
                let older = w[($t - 3) & 15].parity(w[($t - 8) & 15], w[($t - 14) & 15]);
                w[$t & 15] = older.xor(w[$t & 15]).rotate_left_1();
            }
            $e = $e.add(w[$t & 15].add($k)).add($b.$f($c, $d)).add($a.rotate_left_5());
            $b = $b.rotate_left_30();
        };
    }
    macro_rules! five {
        ($f:ident, $k:ident, $t:expr) => {
            round!($f, $k, $t, a, b, c, d, e);
            round!($f, $k, $t + 1, e, a, b, c, d);
            round!($f, $k, $t + 2, d, e, a, b, c);
            round!($f, $k, $t + 3, c, d, e, a, b);
            round!($f, $k, $t + 4, b, c, d, e, a);
        };
    }
    macro_rules! twenty {
        ($f:ident, $k:literal, $t:literal) => {
            let k = L::splat($k);
            five!($f, k, $t);
            five!($f, k, $t + 5);
            five!($f, k, $t + 10);
            five!($f, k, $t + 15);
        };
    }

    // SAFETY: the caller's promise.
    unsafe {
        twenty!(choose, 0x5a82_7999, 0usize);
        twenty!(parity, 0x6ed9_eba1, 20usize);
        twenty!(majority, 0x8f1b_bcdc, 40usize);
        twenty!(parity, 0xca62_c1d6, 60usize);
        [a.add(state[0]), b.add(state[1]), c.add(state[2]), d.add(state[3]), e.add(state[4])]
    }
}

/// One stream in plain registers: the lone path where the processor has no SHA instructions.
impl Lanes for u32 {
    const COUNT: usize = 1;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        word
    }
    #[inline(always)]
    unsafe fn load(words: *const u32) -> Self {
        // SAFETY: one word is readable by the trait's contract.
        unsafe { *words }
    }
    #[inline(always)]
    unsafe fn store(self, words: *mut u32) {
        // SAFETY: one word is writable by the trait's contract.
        unsafe { *words = self }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        self ^ other
    }
    #[inline(always)]
    unsafe fn rotate_left_1(self) -> Self {
        self.rotate_left(1)
    }
    #[inline(always)]
    unsafe fn rotate_left_5(self) -> Self {
        self.rotate_left(5)
    }
    #[inline(always)]
    unsafe fn rotate_left_30(self) -> Self {
        self.rotate_left(30)
    }
    #[inline(always)]
    unsafe fn parity(self, c: Self, d: Self) -> Self {
        self ^ c ^ d
    }
    #[inline(always)]
    unsafe fn choose(self, c: Self, d: Self) -> Self {
        d ^ (self & (c ^ d))
    }
    #[inline(always)]
    unsafe fn majority(self, c: Self, d: Self) -> Self {
        (self & c) | (d & (self | c))
    }
    #[inline(always)]
    unsafe fn load_block(streams: &[*const u8], offset: usize) -> [Self; 16] {
        // SAFETY: 64 bytes are readable there by the trait's contract; an array of bytes needs no alignment.
        let block = unsafe { *streams[0].add(offset).cast::<[[u8; 4]; 16]>() };
        block.map(u32::from_be_bytes)
    }
}
