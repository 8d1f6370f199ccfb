//! Diffie and Hellman's key exchange over the 768-bit prime that message stream encryption prescribes.
//!
//! The prime is 2⁷⁶⁸ − c with c below 2⁷⁰⁴: a limb that sticks out above is folded back in by multiplying it
//! with c. Times depend on the secret; who can measure them can do worse things to 768 bits.

/// The length of a public key and of the shared secret, in bytes.
pub const KEY_BYTES: usize = 96;

/// The length of our exponent, in bytes; more than 160 bits add nothing (the specification).
pub const EXPONENT_BYTES: usize = 20;

/// A number below 2⁷⁶⁸, least significant limb first.
type Number = [u64; LIMBS];

const LIMBS: usize = 12;

/// What both sides raise to their secret power.
const GENERATOR: Number = [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

const PRIME: Number = [
    0x0000_0000_0009_0563,
    0xf44c_42e9_a63a_3621,
    0xe485_b576_625e_7ec6,
    0x4fe1_356d_6d51_c245,
    0x302b_0a6d_f25f_1437,
    0xef95_19b3_cd3a_431b,
    0x514a_0879_8e34_04dd,
    0x020b_bea6_3b13_9b22,
    0x2902_4e08_8a67_cc74,
    0xc4c6_628b_80dc_1cd1,
    0xc90f_daa2_2168_c234,
    0xffff_ffff_ffff_ffff,
];

/// c, the distance from the prime up to 2⁷⁶⁸; its highest limb is zero and left away.
const C: [u64; LIMBS - 1] = distance();

const fn distance() -> [u64; LIMBS - 1] {
    let mut c = [0; LIMBS - 1];
    let mut at = 0;
    let mut carry = true; // −p is !p + 1
    while at < LIMBS - 1 {
        (c[at], carry) = (!PRIME[at]).overflowing_add(carry as u64);
        at += 1;
    }
    c
}

/// One side's secret.
pub struct Secret([u8; EXPONENT_BYTES]);

impl Secret {
    /// The secret made of these bytes, which must come from the kernel's chance.
    pub const fn new(bytes: [u8; EXPONENT_BYTES]) -> Self {
        Self(bytes)
    }

    /// What the other side is told.
    pub fn public_key(&self) -> [u8; KEY_BYTES] {
        to_bytes(power(&GENERATOR, &self.0))
    }

    /// What only both sides can compute, given what the other told. Any bytes give something; that a peer can
    /// force a weak value harms nobody but itself.
    pub fn shared(&self, their_public_key: &[u8; KEY_BYTES]) -> [u8; KEY_BYTES] {
        to_bytes(power(&from_bytes(their_public_key), &self.0))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

fn power(base: &Number, exponent: &[u8; EXPONENT_BYTES]) -> Number {
    let mut result = [0; LIMBS];
    result[0] = 1;
    let bits = exponent.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1));
    for bit in bits.skip_while(|bit| !bit) {
        result = multiply(&result, &result);
        if bit {
            result = multiply(&result, base);
        }
    }
    below_prime(result)
}

/// The product, congruent modulo the prime, though not always below it.
fn multiply(a: &Number, b: &Number) -> Number {
    let mut wide = [0; 2 * LIMBS];
    for (at, limb) in a.iter().enumerate() {
        wide[at + LIMBS] = add_product(&mut wide[at..at + LIMBS], b, *limb);
    }
    for top in (LIMBS..2 * LIMBS).rev() {
        // c has one limb less than the prime, so most of what is folded lands below `top`. What is carried
        // back into it is at most 1, and gone after the next round.
        while wide[top] != 0 {
            let limb = std::mem::take(&mut wide[top]);
            let folded = &mut wide[top - LIMBS..=top];
            let (low, high) = folded.split_at_mut(LIMBS - 1);
            let carry = add_product(low, &C, limb);
            let (sum, overflow) = high[0].overflowing_add(carry);
            (high[0], high[1]) = (sum, u64::from(overflow));
        }
    }
    *wide.first_chunk().expect("24 limbs begin with 12")
}

/// Adds `factor` × `limb` to a number of as many limbs, and gives what is carried out of it.
fn add_product(sum: &mut [u64], factor: &[u64], limb: u64) -> u64 {
    let mut carry = 0;
    for (sum, factor) in sum.iter_mut().zip(factor) {
        let wide = u128::from(*factor) * u128::from(limb) + u128::from(*sum) + u128::from(carry);
        (*sum, carry) = (wide as u64, (wide >> 64) as u64);
    }
    carry
}

/// The same number modulo the prime; one subtraction is enough, as twice the prime is above 2⁷⁶⁸.
fn below_prime(number: Number) -> Number {
    let mut less = [0; LIMBS];
    let mut borrow = false;
    for at in 0..LIMBS {
        let (difference, one) = number[at].overflowing_sub(PRIME[at]);
        let (difference, two) = difference.overflowing_sub(u64::from(borrow));
        (less[at], borrow) = (difference, one || two);
    }
    if borrow { number } else { less }
}

fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Number {
    let mut number = [0; LIMBS];
    for (limb, bytes) in number.iter_mut().rev().zip(bytes.chunks_exact(8)) {
        *limb = u64::from_be_bytes(bytes.try_into().expect("chunks_exact gives eight bytes"));
    }
    number
}

fn to_bytes(number: Number) -> [u8; KEY_BYTES] {
    let mut bytes = [0; KEY_BYTES];
    for (bytes, limb) in bytes.chunks_exact_mut(8).zip(number.iter().rev()) {
        bytes.copy_from_slice(&limb.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn counting_from(first: u8) -> Secret {
        Secret::new(std::array::from_fn(|at| first + at as u8))
    }

    // Python: pow(2, int.from_bytes(bytes(range(1, 21))), P), and so on.
    const YA: &str = "96e112dab29e8c5272accb9b17b26887ce54a144a4e3b697c7d159b7a817e556\
        b0918db2b4c658e02a87f7e5fb14b18a553e084cbf3dad2d30f16596ccb982d4\
        06258c61b30c5c1dae2ddc60bdbd48d79896312aad63238c39e1a633821eb693";
    const YB: &str = "d32ae8cedd0de9ca4fe67e35626bb8c7cdb0966727d899f6a62fdb2b68817f9d\
        dc4b684e3eb34030b8dba4e028b7cff3264020340cb4eab61923cdc4e4216ba8\
        73368d83f0a38e497f1f6b4e3d2012eb91a3ee6056f966f9eae732089b6fa46e";
    const S: &str = "d05ed96a95215a89b44073afe5d0b1626289ac01cff7849392948b2470b34654\
        7e944d7562a897ae86976bc389999083ec09572dbdc8ed7f6a0a86a1aa42a3ca\
        04209b72d8239890360435640643b76479ed7836f1857963fcc7cb72084c3ab4";

    #[test]
    fn the_results_are_those_of_python() {
        let (a, b) = (counting_from(1), counting_from(101));
        let (ya, yb) = (a.public_key(), b.public_key());
        assert_eq!((hex(&ya), hex(&yb)), (YA.to_owned(), YB.to_owned()));
        assert_eq!(hex(&a.shared(&yb)), S);
        assert_eq!(hex(&b.shared(&ya)), S);
        // The largest exponent, and a key above the prime.
        assert!(hex(&Secret::new([0xff; 20]).public_key()).starts_with("fe9aac142f64ad4d5bca7e30bea17d62"));
        assert!(hex(&a.shared(&[0xff; 96])).ends_with("42824a2af367fa3f3d37fecf996ba27c65e41"));
    }

    #[test]
    fn numbers_at_the_edges() {
        let a = counting_from(1);
        let prime = to_bytes(PRIME);
        let mut less_one = prime;
        less_one[95] -= 1;
        let one = to_bytes(std::array::from_fn(|at| u64::from(at == 0)));
        assert_eq!(a.shared(&[0; 96]), [0; 96]);
        assert_eq!(a.shared(&prime), [0; 96]);
        assert_eq!(a.shared(&one), one);
        // (−1)^a for an even a.
        assert_eq!(a.shared(&less_one), one);
        assert_eq!(Secret::new([0; 20]).public_key(), one);
    }

    #[test]
    fn both_sides_always_agree() {
        let mut dice = Dice::from_seed(768);
        let mut secret = || Secret::new(std::array::from_fn(|_| dice.roll() as u8));
        for _ in 0..50 {
            let (a, b) = (secret(), secret());
            assert_eq!(a.shared(&b.public_key()), b.shared(&a.public_key()));
        }
    }
}
