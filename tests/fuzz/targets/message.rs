//! A message that is read is written as the same bytes; a handshake too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rill::id::PeerId;
use rill::wire::client::client_name;
use rill::wire::handshake::{HANDSHAKE_BYTES, Handshake};
use rill::wire::message::Message;

fuzz_target!(|body: &[u8]| {
    match Message::decode(body) {
        Ok(message) => {
            let mut frame = Vec::new();
            message.encode_into(&mut frame);
            assert_eq!(frame[..4], (body.len() as u32).to_be_bytes());
            assert_eq!(frame[4..], *body, "{message:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Some(bytes) = body.first_chunk::<HANDSHAKE_BYTES>() {
        if let Ok(handshake) = Handshake::decode(bytes) {
            assert_eq!(handshake.encode(), *bytes);
        }
    }
    if let Some(id) = body.get(..20).and_then(PeerId::from_slice) {
        let name = client_name(id);
        assert!(!name.is_empty() && !name.contains(char::is_control), "{name:?}");
    }
});
