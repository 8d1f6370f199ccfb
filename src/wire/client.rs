//! Which program a peer id belongs to (BEP 20), fit for a terminal.

use crate::id::PeerId;

/// The client behind a peer id, as `Transmission 3.00`; ids that follow no known habit come back as the
/// printable part of their beginning. Never empty, never a control character.
pub fn client_name(id: PeerId) -> String {
    let bytes = id.as_bytes();
    azureus_style(bytes).or_else(|| shadow_style(bytes)).unwrap_or_else(|| unknown_style(bytes))
}

/// Two letters of each client that is met in swarms today, and its name.
const AZUREUS: &[(&[u8; 2], &str)] = &[
    (b"7T", "aTorrent"),
    (b"AG", "Ares"),
    (b"AZ", "Vuze"),
    (b"BC", "BitComet"),
    (b"BG", "BTGetit"),
    (b"BI", "BiglyBT"),
    (b"BT", "BitTorrent"),
    (b"BW", "BitWombat"),
    (b"CD", "ctorrent"),
    (b"DE", "Deluge"),
    (b"FD", "Free Download Manager"),
    (b"FL", "FlashGet"),
    (b"FW", "FrostWire"),
    (b"GT", "anacrolix/torrent"),
    (b"HL", "Halite"),
    (b"KT", "KTorrent"),
    (b"LT", "libtorrent"),
    (b"PI", "PicoTorrent"),
    (b"RL", "rill"),
    (b"SD", "Thunder"),
    (b"ST", "SymTorrent"),
    (b"TB", "Torch"),
    (b"TL", "Tribler"),
    (b"TR", "Transmission"),
    (b"TT", "TuoTu"),
    (b"UE", "uTorrent Embedded"),
    (b"UM", "uTorrent for Mac"),
    (b"UT", "uTorrent"),
    (b"UW", "uTorrent Web"),
    (b"WT", "BitLet"),
    (b"WW", "WebTorrent"),
    (b"WD", "WebTorrent Desktop"),
    (b"XL", "Xunlei"),
    (b"ZO", "Zona"),
    (b"lt", "rTorrent"),
    (b"qB", "qBittorrent"),
];

/// `-TR3000-…`: a dash, two letters, four version characters, a dash. rTorrent and some others write the
/// version without the closing dash.
fn azureus_style(id: &[u8; 20]) -> Option<String> {
    let [b'-', first, second, version @ ..] = id else { return None };
    let version = version.first_chunk::<4>().expect("seventeen bytes begin with four");
    let closed = id[7] == b'-';
    let letters = [*first, *second];
    if !letters.iter().chain(version).all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let name = AZUREUS.iter().find(|(known, _)| **known == letters).map(|(_, name)| *name);
    match name {
        Some("Transmission") => Some(format!("Transmission {}", transmission_version(version))),
        Some(name) => Some(format!("{name} {}", dotted(version))),
        None if closed => Some(format!("{} {}", letters.escape_ascii(), dotted(version))),
        None => None,
    }
}

/// `TR3000` is 3.00, `TR400B` a 4.0.0 that is not released: since 4.0 the digits are major, minor, patch.
fn transmission_version([major, minor, patch, build]: &[u8; 4]) -> String {
    let [major, minor, patch, build] = [major, minor, patch, build].map(|byte| char::from(*byte));
    match major {
        '0'..='3' => format!("{major}.{minor}{patch}"),
        _ if build == '0' => format!("{major}.{minor}.{patch}"),
        _ => format!("{major}.{minor}.{patch} dev"),
    }
}

/// `1`, `3`, `A`, `0` as `1.3.10`: letters count on from nine, zeros at the end go, two numbers stay.
fn dotted(version: &[u8; 4]) -> String {
    let mut numbers: Vec<u32> =
        version.iter().map(|byte| char::from(*byte).to_digit(36).unwrap_or_default()).collect();
    while numbers.len() > 2 && numbers.last() == Some(&0) {
        numbers.pop();
    }
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

/// Older habits: `M7-10-5--…` of the first BitTorrent, `A2-1-36-0-…` of aria2, `S58B-----…` of Shadow's.
fn shadow_style(id: &[u8; 20]) -> Option<String> {
    let name = match id[0] {
        b'M' => "BitTorrent",
        b'A' if id[1] == b'2' => "aria2",
        b'A' => "ABC",
        b'O' => "Osprey",
        b'Q' => "BTQueue",
        b'R' => "Tribler",
        b'S' => "Shadow",
        b'T' => "BitTornado",
        b'U' => "UPnP",
        _ => return None,
    };
    let start = if name == "aria2" { 3 } else { 1 };
    let rest = &id[start..];
    let numbers: Vec<&[u8]> =
        rest.split(|byte| *byte == b'-').take_while(|number| !number.is_empty()).take(4).collect();
    let plain = |number: &[u8]| number.len() <= 3 && number.iter().all(u8::is_ascii_digit);
    if numbers.len() >= 3 && numbers[..3].iter().all(|number| plain(number)) {
        let shown: Vec<_> = numbers[..3].iter().map(|number| number.escape_ascii().to_string()).collect();
        return Some(format!("{name} {}", shown.join(".")));
    }
    let version = rest.first_chunk::<3>().expect("at least seventeen bytes begin with three");
    let dashes = id[4..].starts_with(b"--");
    if dashes && version.iter().all(|byte| byte.is_ascii_alphanumeric()) {
        let shown = version.map(|byte| char::from(byte).to_digit(36).unwrap_or_default().to_string());
        return Some(format!("{name} {}", shown.join(".")));
    }
    None
}

/// The printable characters that the id begins with, or its first bytes in hexadecimal.
fn unknown_style(id: &[u8; 20]) -> String {
    let printable: String =
        id.iter().take_while(|byte| byte.is_ascii_graphic()).map(|byte| char::from(*byte)).collect();
    if printable.len() >= 4 {
        return printable;
    }
    format!("unknown {:016x}", u64::from_be_bytes(*id.first_chunk().expect("twenty bytes begin with eight")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    fn name(id: &[u8; 20]) -> String {
        client_name(PeerId::new(*id))
    }

    #[test]
    fn known_clients_are_named_with_their_version() {
        assert_eq!(name(b"-TR3000-abcdefghijkl"), "Transmission 3.00");
        assert_eq!(name(b"-TR4060-abcdefghijkl"), "Transmission 4.0.6");
        assert_eq!(name(b"-TR410Z-abcdefghijkl"), "Transmission 4.1.0 dev");
        assert_eq!(name(b"-LT2080-abcdefghijkl"), "libtorrent 2.0.8");
        assert_eq!(name(b"-lt0D80-abcdefghijkl"), "rTorrent 0.13.8");
        assert_eq!(name(b"-qB4520-abcdefghijkl"), "qBittorrent 4.5.2");
        assert_eq!(name(b"-UT355W-abcdefghijkl"), "uTorrent 3.5.5.32");
        assert_eq!(name(b"-DE13F0-abcdefghijkl"), "Deluge 1.3.15");
        assert_eq!(name(b"-AZ5760-abcdefghijkl"), "Vuze 5.7.6");
        assert_eq!(name(b"-RL0100-abcdefghijkl"), "rill 0.1");
        assert_eq!(name(b"A2-1-36-0-abcdefghij"), "aria2 1.36.0");
        assert_eq!(name(b"M7-10-5--abcdefghijk"), "BitTorrent 7.10.5");
        assert_eq!(name(b"S58B-----abcdefghijk"), "Shadow 5.8.11");
    }

    #[test]
    fn unknown_clients_show_what_can_be_shown() {
        assert_eq!(name(b"-XY1230-abcdefghijkl"), "XY 1.2.3");
        assert_eq!(name(b"some-words\x00\x1b[2J\x07abcd"), "some-words");
        assert_eq!(name(&[0x1b; 20]), "unknown 1b1b1b1b1b1b1b1b");
        assert_eq!(name(&[0; 20]), "unknown 0000000000000000");
    }

    #[test]
    fn whatever_the_id_the_name_is_printable() {
        let mut dice = Dice::from_seed(20);
        for round in 0..20_000 {
            let mut id: [u8; 20] = std::array::from_fn(|_| dice.roll() as u8);
            if round % 2 == 0 {
                id[0] = *dice.pick(b"-AMOQRSTU").unwrap();
            }
            let name = name(&id);
            assert!(!name.is_empty() && name.len() <= 40, "{id:?}: {name:?}");
            assert!(name.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{id:?}: {name:?}");
        }
    }
}
