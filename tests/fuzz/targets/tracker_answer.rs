//! What an HTTP tracker answers, to an announce and to a scrape.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rill::id::InfoHash;
use rill::tracker::announce::{Answer, Scraped};

fuzz_target!(|body: &[u8]| {
    if let Err(problem) = Answer::from_bencode(body) {
        assert!(!problem.to_string().contains(char::is_control));
    }
    if let Err(problem) = Scraped::from_bencode(body, InfoHash::new([b'a'; 20])) {
        assert!(!problem.to_string().contains(char::is_control));
    }
});
