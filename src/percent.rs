//! What stands for itself in a URL, and what becomes `%XX` (RFC 3986).

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_cleaned_and_its_escapes_stay() {
        assert_eq!(clean_url(" http://h/a b%20c?d={e}#f g "), "http://h/a%20b%20c?d=%7Be%7D");
        assert_eq!(utf8_percent_encode("a-._~/ü", NOT_UNRESERVED).to_string(), "a-._~%2F%C3%BC");
    }
}
