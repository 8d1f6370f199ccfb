//! What peers say in the extension protocol: its handshake and the messages it numbers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rill::wire::extension::{ExtensionHandshake, lost_piece};

fuzz_target!(|payload: &[u8]| {
    let _ = lost_piece(payload);
    match ExtensionHandshake::decode(payload) {
        Ok(handshake) => {
            assert!(handshake.version.as_ref().is_none_or(|name| !name.contains(char::is_control)));
            let again = ExtensionHandshake::decode(&handshake.encode()).expect("what we write can be read");
            assert_eq!(again, handshake);
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control)),
    }
});
