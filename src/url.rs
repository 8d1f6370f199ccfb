//! URLs as text (RFC 3986): what becomes `%XX` in them, and ports that are none.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

/// What becomes `%XX` in a value and in a component of a path: all but the unreserved characters.
pub const NOT_UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a URL from a torrent may hold though no URL may: encoded rather than refused.
const NOT_IN_URL: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The URL as it may go over the wire: without a fragment, without what no URL may hold.
pub fn clean_url(url: &str) -> String {
    let url = url.trim();
    utf8_percent_encode(url.split_once('#').map_or(url, |(url, _)| url), NOT_IN_URL).to_string()
}

/// What stands behind the host's colon and is no port. Libraries dial the usual one then, without a word.
pub fn odd_port(url: &str) -> Option<&str> {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).split(['/', '?', '#']).next()?;
    let place = authority.rsplit('@').next()?;
    // The colons between brackets are those of an address.
    let (_, port) = place.rsplit(']').next()?.rsplit_once(':')?;
    let is_odd = port.starts_with('+') || port.parse::<u16>().is_err();
    // None at all is the usual one.
    Some(port).filter(|port| !port.is_empty() && is_odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_holds() {
        assert_eq!(clean_url(" http://h/a b%20c?d={e}#f g "), "http://h/a%20b%20c?d=%7Be%7D");
        let odd = |url| odd_port(url).unwrap_or("fine");
        assert_eq!(odd("http://h:65536/a:1"), "65536");
        assert_eq!(["udp://me:you@[::1]:80?x:y", "http://[::1]/", "http://h:/"].map(odd), ["fine"; 3]);
        assert_eq!(["http://h:+1", "http://[::1]:x"].map(odd), ["+1", "x"]);
        assert_eq!(utf8_percent_encode("a-._~/ü", NOT_UNRESERVED).to_string(), "a-._~%2F%C3%BC");
    }
}
