//! Encrypted handshakes: a stranger on either side, raw and with the right keys, and two of ours on a line that cuts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rill::id::InfoHash;
use rill::wire::mse::dh::Secret;
use rill::wire::mse::initiator::Initiator;
use rill::wire::mse::rc4::Rc4;
use rill::wire::mse::responder::Responder;
use rill::wire::mse::{Agreed, Encryption, MseError, SEED_BYTES, TorrentTag, is_plain};

const TORRENT: InfoHash = InfoHash::new([0x5a; 20]);
/// Nearly no secret at all: powers that cost little.
const fn seed(last: u8) -> [u8; SEED_BYTES] {
    let mut seed = [0; SEED_BYTES];
    seed[19] = last;
    seed
}

const WISHES: [Encryption; 3] = [Encryption::PlainFirst, Encryption::Prefer, Encryption::Require];

fuzz_target!(|bytes: &[u8]| {
    let _ = is_plain(bytes);
    let Some((&[wish, cut], bytes)) = bytes.split_first_chunk() else { return };
    let (ours, theirs) = (WISHES[usize::from(wish % 3)], WISHES[usize::from(wish / 3 % 3)]);
    let cut = usize::from(cut) + 1;
    stranger_dials(ours, bytes, cut);
    stranger_answers(ours, bytes, cut);
    friends(ours, theirs, bytes, cut);
});

fn find(tag: TorrentTag) -> Option<InfoHash> {
    (tag == TorrentTag::of(TORRENT)).then_some(TORRENT)
}

fn sentence(error: MseError) {
    assert!(!error.to_string().contains(char::is_control));
}

/// Raw bytes to a responder; and behind a key that is known, fields under the cipher that belongs to it.
fn stranger_dials(ours: Encryption, bytes: &[u8], cut: usize) {
    let mut raw = Responder::new(ours, seed(1));
    let mut out = Vec::new();
    for part in bytes.chunks(cut) {
        match raw.receive(part, find, &mut out) {
            Ok(agreed) => assert!(agreed.is_none(), "nobody guesses the keys"),
            Err(error) => return sentence(error),
        }
    }
    let secret = Secret::new(std::array::from_fn(|at| if at == 19 { 3 } else { 0 }));
    let mut responder = Responder::new(ours, seed(1));
    let mut out = Vec::new();
    responder.receive(&secret.public_key(), find, &mut out).expect("a key is always taken");
    let shared = secret.shared(out.first_chunk().expect("the responder sends its key"));
    let hash = |parts: &[&[u8]]| rill::sha1::digest(&parts.concat());
    let mut fields = [&[0; 8], bytes].concat();
    Rc4::discarded(&hash(&[b"keyA", &shared, TORRENT.as_bytes()])).apply(&mut fields);
    let tag = hash(&[b"req2", TORRENT.as_bytes()]);
    let cover = hash(&[b"req3", &shared]);
    let covered: [u8; 20] = std::array::from_fn(|at| tag[at] ^ cover[at]);
    let turn = [&hash(&[b"req1", &shared])[..], &covered, &fields].concat();
    for part in turn.chunks(cut) {
        match responder.receive(part, find, &mut out) {
            Ok(Some(agreed)) => return assert!(agreed.early.len() <= fields.len()),
            Ok(None) => {}
            Err(error) => return sentence(error),
        }
    }
}

fn stranger_answers(ours: Encryption, bytes: &[u8], cut: usize) {
    let mut out = Vec::new();
    let mut initiator = Initiator::begin(TORRENT, ours, b"hello", &seed(2), &mut out);
    for part in bytes.chunks(cut) {
        match initiator.receive(part, &mut out) {
            Ok(agreed) => assert!(agreed.is_none(), "nobody guesses the keys"),
            Err(error) => return sentence(error),
        }
    }
}

/// Whatever the wishes, the first bytes and the cuts, both sides agree on the same.
fn friends(a: Encryption, b: Encryption, first: &[u8], cut: usize) {
    let first = &first[..first.len().min(1000)];
    let mut to_b = Vec::new();
    let mut to_a = Vec::new();
    let mut initiator = Initiator::begin(TORRENT, a, first, &seed(5), &mut to_b);
    let mut responder = Responder::new(b, seed(6));
    let (mut at_a, mut at_b): (Option<Agreed>, Option<Agreed>) = (None, None);
    for _ in 0..2 {
        for part in std::mem::take(&mut to_b).chunks(cut) {
            at_b = responder.receive(part, find, &mut to_a).expect("friends keep to the protocol").or(at_b);
        }
        for part in std::mem::take(&mut to_a).chunks(cut) {
            at_a = initiator.receive(part, &mut to_b).expect("friends keep to the protocol").or(at_a);
        }
    }
    let (at_a, at_b) = (at_a.expect("two turns are enough"), at_b.expect("two turns are enough"));
    assert_eq!(at_b.early, first);
    assert!(at_a.early.is_empty());
    assert_eq!(at_a.ciphers.is_some(), at_b.ciphers.is_some());
}
