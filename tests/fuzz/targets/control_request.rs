//! Requests over HTTP to a session's control: heads, whoever sends them, and JSON as `rill ctl` reads it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rill::control::Gate;
use rill::control::call::MAX_BODY;
use rill::control::request::{MAX_HEAD, read};
use rill::json::{Json, Value};

fuzz_target!(|bytes: &[u8]| {
    let address = "127.0.0.1:6880".parse().expect("an address");
    let open = Gate::new(address, None, &["nas".into()]).expect("loopback needs no token");
    let closed = Gate::new(address, Some("token"), &[]).expect("a good token");
    let wrapped = [b"POST /api/v1/torrents?", bytes, b" HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat();
    let header = [b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n", bytes, b"\r\n\r\n"].concat();
    for request in [bytes, &wrapped, &header] {
        match read(&open, request) {
            Ok(Some((head, used))) => {
                assert!((1..=request.len().min(MAX_HEAD)).contains(&used));
                assert!(head.length as u64 <= MAX_BODY);
                let says_token = request[..used].windows(5).any(|part| part == b"token");
                assert!(says_token || read(&closed, request).is_err(), "in without the token");
            }
            Ok(None) => assert!(request.len() < MAX_HEAD),
            Err(refusal) => {
                assert!((400..=431).contains(&refusal.status), "{}", refusal.status);
                let body = std::str::from_utf8(refusal.body()).expect("UTF-8");
                let why = Value::read(body).expect("a refusal is JSON");
                assert!(why.text("error").is_some_and(|why| why.len() > 5 && why.len() < 1000), "{body}");
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(value) = Value::read(text)
    {
        // What was read can be written and read again.
        let mut again = String::new();
        write(&value, &mut again);
        assert_eq!(Value::read(&again), Ok(value), "{again}");
    }
});

fn write(value: &Value, to: &mut String) {
    let mut items = |values: &mut dyn Iterator<Item = (Option<&str>, &Value)>, to: &mut String| {
        for (at, (name, value)) in values.enumerate() {
            if at > 0 {
                to.push(',');
            }
            if let Some(name) = name {
                name.write(to);
                to.push(':');
            }
            write(value, to);
        }
    };
    match value {
        Value::Null => to.push_str("null"),
        Value::Bool(yes) => yes.write(to),
        Value::Number(digits) => to.push_str(digits),
        Value::Text(text) => text.write(to),
        Value::Array(values) => {
            to.push('[');
            items(&mut values.iter().map(|value| (None, value)), to);
            to.push(']');
        }
        Value::Object(members) => {
            to.push('{');
            items(&mut members.iter().map(|(name, value)| (Some(name.as_str()), value)), to);
            to.push('}');
        }
    }
}
