//! Named threads that report why they ended.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};

/// What a thread of ours needs at most, in bytes: buffers live on the heap, and what recurses ends at a depth of 100
/// (bencode) or 32 (JSON). Name look-ups of libc and TLS are the deepest callers.
const STACK_BYTES: usize = 256 * 1024;

/// Starts a thread with this name. `body` runs to its end; `ended` then hears the result, or the panic's
/// message, so that a bug met in one peer's thread costs that peer and nothing else.
///
/// # Errors
/// When the system has no room for one more thread.
pub fn spawn<T: 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
    ended: impl FnOnce(Result<T, String>) + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    // The kernel keeps fifteen bytes of a name; the builder refuses only NUL.
    let name: String = name.chars().filter(|letter| *letter != '\0').collect();
    // In a box, so that what the library does around a thread is in the program once.
    let whole: Box<dyn FnOnce() + Send> = Box::new(move || {
        ended(catch_unwind(AssertUnwindSafe(body)).map_err(|panic| message_of(panic.as_ref())));
    });
    Builder::new().name(name).stack_size(STACK_BYTES).spawn(whole)
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_with_its_reason() {
        let (tell, told) = crossbeam_channel::bounded(2);
        let tell_too = tell.clone();
        spawn("fine", || 7, move |end| tell.send(end).unwrap()).unwrap().join().unwrap();
        assert_eq!(told.recv().unwrap(), Ok(7));
        spawn("bad\0name", || -> u32 { panic!("seven of {}", 9) }, move |end| tell_too.send(end).unwrap())
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(told.recv().unwrap(), Err("seven of 9".into()));
    }
}
