//! Tokens: proof that whoever announces gets what is sent to its address (BEP 5). Nothing is kept for them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::secret::Secret;
use crate::compact::ip_bytes;

/// For how long tokens are the same; they are good for one to two of these (BEP 5: five and ten minutes).
const AGE: Duration = Duration::from_secs(5 * 60);

/// The length of our tokens, in bytes: nobody guesses 2⁶⁴ within ten minutes.
const TOKEN_BYTES: usize = 8;

/// Makes tokens and knows its own.
#[derive(Clone, Debug)]
pub struct Tokens {
    secret: Secret,
    since: Instant,
}

impl Tokens {
    /// Those of this secret.
    pub const fn new(secret: Secret, now: Instant) -> Self {
        Self { secret, since: now }
    }

    /// The token for whoever is at this address.
    pub fn give(&self, ip: IpAddr, now: Instant) -> [u8; TOKEN_BYTES] {
        self.token(self.age(now), ip)
    }

    /// Whether we gave this token to this address, not long ago.
    pub fn know(&self, given: &[u8], ip: IpAddr, now: Instant) -> bool {
        let age = self.age(now);
        (age.saturating_sub(1)..=age).any(|age| given == self.token(age, ip))
    }

    fn age(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.since).as_secs() / AGE.as_secs()
    }

    fn token(&self, age: u64, ip: IpAddr) -> [u8; TOKEN_BYTES] {
        self.secret.mark(&[b"token", &age.to_be_bytes(), &ip_bytes(ip)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_address_and_for_ten_minutes_at_most() {
        let start = Instant::now();
        let tokens = Tokens::new(Secret::new([1; 16]), start);
        let (one, other): (IpAddr, IpAddr) = ("1.2.3.4".parse().unwrap(), "1.2.3.5".parse().unwrap());
        let given = tokens.give(one, start);
        assert!(tokens.know(&given, one, start));
        assert!(!tokens.know(&given, other, start));
        assert!(!tokens.know(b"", one, start));
        assert!(tokens.know(&given, one, start + 2 * AGE - Duration::from_secs(1)));
        assert_ne!(tokens.give(one, start + AGE), given);
        assert!(!tokens.know(&given, one, start + 2 * AGE));
        assert!(!tokens.know(&given, one, start + 20 * AGE));
        assert!(!Tokens::new(Secret::new([2; 16]), start).know(&given, one, start));
    }
}
