//! Tokens: proof that whoever announces gets what is sent to its address (BEP 5). Nothing is kept for them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::dice::Dice;
use crate::sha1::digest as sha1;

/// How long a secret makes tokens; they are good for one to two of these (BEP 5: five and ten minutes).
const SECRET_LIFE: Duration = Duration::from_secs(5 * 60);

/// The length of our tokens, in bytes: nobody guesses 2⁶⁴ within ten minutes.
const TOKEN_BYTES: usize = 8;

/// Makes tokens and knows its own.
#[derive(Clone, Debug)]
pub struct Tokens {
    present: [u8; 16],
    former: [u8; 16],
    since: Instant,
}

impl Tokens {
    /// With fresh secrets.
    pub fn new(dice: &mut Dice, now: Instant) -> Self {
        Self { present: secret(dice), former: secret(dice), since: now }
    }

    /// The token for whoever is at this address.
    pub fn give(&mut self, ip: IpAddr, dice: &mut Dice, now: Instant) -> [u8; TOKEN_BYTES] {
        self.age(dice, now);
        token(&self.present, ip)
    }

    /// Whether we gave this token to this address, not long ago.
    pub fn know(&mut self, given: &[u8], ip: IpAddr, dice: &mut Dice, now: Instant) -> bool {
        self.age(dice, now);
        given == token(&self.present, ip) || given == token(&self.former, ip)
    }

    fn age(&mut self, dice: &mut Dice, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        if age < SECRET_LIFE {
            return;
        }
        self.former = if age < 2 * SECRET_LIFE { self.present } else { secret(dice) };
        self.present = secret(dice);
        self.since = now;
    }
}

/// Dice of the kernel's seed are chance enough for a secret that lives ten minutes and is never shown.
fn secret(dice: &mut Dice) -> [u8; 16] {
    let halves = [dice.roll().to_ne_bytes(), dice.roll().to_ne_bytes()];
    halves.as_flattened().try_into().expect("twice eight is sixteen")
}

fn token(secret: &[u8; 16], ip: IpAddr) -> [u8; TOKEN_BYTES] {
    let mut bytes = secret.to_vec();
    match ip.to_canonical() {
        IpAddr::V4(ip) => bytes.extend(ip.octets()),
        IpAddr::V6(ip) => bytes.extend(ip.octets()),
    }
    sha1(&bytes)[..TOKEN_BYTES].try_into().expect("a SHA-1 is longer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_address_and_for_ten_minutes_at_most() {
        let (mut dice, start) = (Dice::from_seed(1), Instant::now());
        let mut tokens = Tokens::new(&mut dice, start);
        let (one, other): (IpAddr, IpAddr) = ("1.2.3.4".parse().unwrap(), "1.2.3.5".parse().unwrap());
        let given = tokens.give(one, &mut dice, start);
        assert!(tokens.know(&given, one, &mut dice, start));
        assert!(!tokens.know(&given, other, &mut dice, start));
        assert!(!tokens.know(b"", one, &mut dice, start));
        assert!(tokens.know(&given, one, &mut dice, start + SECRET_LIFE));
        assert_ne!(tokens.give(one, &mut dice, start + SECRET_LIFE), given);
        assert!(!tokens.know(&given, one, &mut dice, start + 2 * SECRET_LIFE));
        let idle = tokens.give(one, &mut dice, start + 2 * SECRET_LIFE);
        assert!(
            !tokens.know(&idle, one, &mut dice, start + 20 * SECRET_LIFE),
            "a long sleep ends both secrets"
        );
    }
}
