//! What peers say in the extension protocol: its handshake and the messages it numbers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rill::wire::extension::{ExtensionHandshake, lost_piece};
use rill::wire::ut_metadata::MetadataMessage;
use rill::wire::ut_pex::{MAX_PEX_PEERS, Pex};

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
    match MetadataMessage::decode(payload) {
        Ok(message) => {
            let written = message.encode();
            assert_eq!(MetadataMessage::decode(&written), Ok(message));
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control)),
    }
    match Pex::decode(payload) {
        Ok(pex) => {
            assert!(pex.added.len() <= MAX_PEX_PEERS && pex.dropped.len() <= MAX_PEX_PEERS);
            let again = Pex::decode(&pex.encode()).expect("what we write can be read");
            assert_eq!(again.added.len(), pex.added.len());
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control)),
    }
});
