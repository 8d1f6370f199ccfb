//! Whatever is read is written in canonical form, and that form is read as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rill::bencode::{decode, decode_front, encode};

fuzz_target!(|bytes: &[u8]| {
    let Ok((value, rest)) = decode_front(bytes) else { return };
    assert_eq!(value.raw().len() + rest.len(), bytes.len());
    let canonical = encode(value);
    let again = decode(&canonical).expect("what we write can be read");
    assert_eq!(encode(again), canonical);
    assert_eq!(again.items().count(), value.items().count());
    for (key, _) in value.entries().take(50) {
        let (ours, theirs) =
            (again.get(key).expect("every key is kept"), value.get(key).expect("it is there"));
        assert_eq!(encode(ours), encode(theirs));
        assert_eq!(ours.as_int::<i64>(), theirs.as_int::<i64>());
        assert_eq!(ours.as_str(), theirs.as_str());
    }
    let _ = format!("{value:?}");
});
