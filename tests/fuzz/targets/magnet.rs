//! A link that is read can be written and read again, and its words can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rill::magnet::{Magnet, parse_info_hash};

fuzz_target!(|text: &str| {
    let _ = parse_info_hash(text);
    let _ = Magnet::in_first_line(text.as_bytes());
    // Most inputs stop at the info-hash: the rest is tried behind a good one as well.
    let hash = "d69f91e6b2ae4c542468d1073a71d4ea13879a7f";
    for link in [text, &format!("magnet:?xt=urn:btih:{hash}&{text}")] {
        match Magnet::parse(link) {
            Ok(magnet) => {
                let written = magnet.to_string();
                assert!(written.is_ascii());
                assert_eq!(written.parse(), Ok(magnet));
            }
            Err(error) => {
                let sentence = error.to_string();
                assert!(!sentence.contains(char::is_control), "{sentence:?}");
            }
        }
    }
});
