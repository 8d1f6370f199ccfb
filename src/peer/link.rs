//! A connection past its handshake: what comes in goes to the intake, what goes out waits here until the socket
//! takes it. Nothing here ever waits for the peer but [`Link::wait`].

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::PeerError;
use super::greeting::Greeted;
use super::intake::{Heard, Intake};
use super::jobs::Jobs;
use crate::sys::{self, Doorbell, Ready, Received};
use crate::wire::message::Message;
use crate::wire::mse::rc4::Rc4;

/// `sendfile` on a blocking socket waits this long at most for room; then the thread sleeps in poll instead.
const SEND_PATIENCE: Duration = Duration::from_millis(1);

/// How long bytes may gather in the socket at most, when fewer come than should: twice what `Pace` reckons with.
const GATHER_TIME: Duration = Duration::from_millis(2);

/// The memory for what goes out is given back when it has grown beyond this and is empty again, in bytes.
const KEEP_BYTES: usize = 64 * 1024;

/// Both directions of a connection.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    intake: Intake,
    cipher: Option<Rc4>,
    out: Vec<u8>,
    sent: usize,
    /// While a block goes out from its file: what is said meanwhile, and follows it.
    behind: Option<Vec<u8>>,
    /// The socket counts as readable once so many bytes have come.
    readable_from: u32,
    /// Something has come of which the other side may not know yet that it has.
    unacknowledged: bool,
}

impl Link {
    /// Takes over a socket whose handshake is done.
    ///
    /// # Errors
    /// When the socket's options can't be set, which means that it is broken.
    pub fn new(greeted: Greeted) -> io::Result<Self> {
        let Greeted { stream, leftover, ciphers, .. } = greeted;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(Some(SEND_PATIENCE))?;
        let (rx, tx) = ciphers.map_or((None, None), |(rx, tx)| (Some(rx), Some(tx)));
        Ok(Self {
            stream,
            intake: Intake::new(&leftover, rx),
            cipher: tx,
            out: Vec::new(),
            sent: 0,
            behind: None,
            readable_from: 1,
            unacknowledged: false,
        })
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// When the connection broke or was closed.
    pub fn read(&mut self, jobs: &mut Jobs) -> Result<usize, PeerError> {
        match self.intake.read(&mut Received(&self.stream), jobs) {
            Ok(0) => Err(PeerError::Closed),
            Ok(count) => {
                self.unacknowledged = true;
                Ok(count)
            }
            Err(error) if is_pause(&error) => Ok(0),
            Err(error) => Err(PeerError::Broken(error)),
        }
    }

    /// The next thing that has arrived whole.
    ///
    /// # Errors
    /// When a frame is longer than any honest one.
    pub fn next(&mut self, jobs: &mut Jobs) -> Result<Option<Heard<'_>>, PeerError> {
        self.intake.next(jobs).map_err(PeerError::Oversize)
    }

    /// Bytes of blocks that have come since the last call, of whole ones and of others.
    pub fn take_fresh_bytes(&mut self) -> u64 {
        self.intake.take_fresh_bytes()
    }

    /// Puts a message behind those that wait to go out.
    pub fn say(&mut self, message: &Message<'_>) {
        self.put(|out| message.encode_into(out));
    }

    /// Puts bytes behind those that wait to go out, encrypted where the link is.
    pub fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(behind) = &mut self.behind {
            return write(behind);
        }
        let before = self.out.len();
        write(&mut self.out);
        if let Some(cipher) = &mut self.cipher {
            cipher.apply(&mut self.out[before..]);
        }
    }

    /// Puts a block's header behind what waits; its data follows from a file. Until
    /// [`end_block`](Self::end_block) nothing that is said comes between.
    pub fn begin_block(&mut self, header: &[u8]) {
        debug_assert!(self.cipher.is_none(), "encrypted blocks don't go out from their files");
        self.out.extend_from_slice(header);
        self.behind = Some(Vec::new());
    }

    /// The block's last byte is out: what was said meanwhile follows.
    pub fn end_block(&mut self) {
        if let Some(behind) = self.behind.take() {
            self.out.extend_from_slice(&behind);
        }
    }

    /// How many bytes wait to go out.
    pub fn waiting(&self) -> usize {
        self.out.len() - self.sent + self.behind.as_ref().map_or(0, Vec::len)
    }

    /// Whether what goes out is encrypted, so that files can't be sent as they are.
    pub fn is_encrypted(&self) -> bool {
        self.cipher.is_some()
    }

    /// Sends what waits, as far as the socket takes it; what waits behind a block stays. With `more`, a file
    /// follows at once. True when all has gone.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn flush(&mut self, more: bool) -> Result<bool, PeerError> {
        while self.sent < self.out.len() {
            match sys::send_some(&self.stream, &self.out[self.sent..], more) {
                Ok(count) => self.sent += count,
                Err(error) if is_pause(&error) => return Ok(false),
                Err(error) => return Err(PeerError::Broken(error)),
            }
        }
        self.out.clear();
        self.out.shrink_to(KEEP_BYTES);
        self.sent = 0;
        Ok(true)
    }

    /// Tells the other side what has come. One that gathers small segments (Nagle's way) holds the last block's end back
    /// until it knows, and the kernel would let it wait for 40 ms.
    pub fn acknowledge(&mut self) {
        if std::mem::take(&mut self.unacknowledged) {
            // Where the kernel won't, it is told a little later.
            let _ = sys::acknowledge(&self.stream);
        }
    }

    /// Sleeps until there is something to read, room to write (where wanted), a ring, or the time is up. What comes
    /// is let gather until there are so many bytes of it, for a moment at most.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn wait(
        &mut self,
        bell: &Doorbell,
        want_write: bool,
        timeout: Duration,
        gather_bytes: u32,
    ) -> Result<Ready, PeerError> {
        if gather_bytes > 1 && timeout > GATHER_TIME {
            self.make_readable_from(gather_bytes);
            let ready = self.poll(bell, want_write, GATHER_TIME)?;
            if ready.readable || ready.writable || ready.rung {
                return Ok(ready);
            }
        }
        self.make_readable_from(1);
        self.poll(bell, want_write, timeout)
    }

    /// Where the kernel won't, what comes is read as it comes.
    fn make_readable_from(&mut self, bytes: u32) {
        if bytes != self.readable_from && sys::set_readable_from(&self.stream, bytes as usize).is_ok() {
            self.readable_from = bytes;
        }
    }

    fn poll(&self, bell: &Doorbell, want_write: bool, timeout: Duration) -> Result<Ready, PeerError> {
        sys::wait(self.stream.as_fd(), Some(bell), want_write, Some(timeout)).map_err(PeerError::Broken)
    }

    /// Says good-bye: the other side reads to the end of what was sent.
    pub fn close(&self) {
        // A socket that is closed already needs no closing.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Nothing is wrong, only not now.
pub fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::id::{InfoHash, PeerId};
    use crate::wire::handshake::{Handshake, Reserved};
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Instant;

    /// A link, and the socket at its other end.
    pub(in crate::peer) fn pair() -> (Link, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        let handshake = Handshake {
            reserved: Reserved::default(),
            info_hash: InfoHash::new([1; 20]),
            peer_id: PeerId::new([2; 20]),
        };
        let greeted = Greeted { stream, handshake, leftover: Vec::new(), ciphers: None, encrypted: false };
        (Link::new(greeted).unwrap(), theirs)
    }

    #[test]
    fn nothing_comes_between_a_header_and_its_block() {
        let (mut link, mut theirs) = pair();
        link.put(|out| out.extend(b"before "));
        link.begin_block(b"header ");
        link.put(|out| out.extend(b"after"));
        assert!(link.flush(true).unwrap());
        (&link.stream).write_all(b"half a block, ").unwrap();
        link.put(|out| out.extend(b" all"));
        assert!(link.flush(true).unwrap());
        assert_eq!(link.waiting(), 9);
        (&link.stream).write_all(b"the other half ").unwrap();
        link.end_block();
        assert!(link.flush(false).unwrap());
        link.close();
        let mut heard = String::new();
        theirs.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "before header half a block, the other half after all");
    }

    #[test]
    fn bytes_gather_for_a_moment_at_most() {
        let (mut link, mut theirs) = pair();
        let (bell, mut jobs) = (Doorbell::new().unwrap(), Jobs::default());
        let (long, gather_bytes) = (Duration::from_secs(20), 50_000);
        let began = Instant::now();
        theirs.write_all(&[0, 0, 0, 0]).unwrap();
        let ready = link.wait(&bell, false, long, gather_bytes).unwrap();
        assert!(ready.readable && began.elapsed() >= GATHER_TIME, "four bytes are let gather");
        assert!(began.elapsed() < long / 2, "and don't gather for ever");
        assert_eq!(link.read(&mut jobs).unwrap(), 4);

        let ready = link.wait(&bell, false, Duration::from_millis(1), gather_bytes).unwrap();
        assert!(!ready.readable && !ready.rung);
        bell.ring();
        assert!(link.wait(&bell, false, long, gather_bytes).unwrap().rung);

        theirs.shutdown(Shutdown::Write).unwrap();
        assert!(link.wait(&bell, false, long, gather_bytes).unwrap().readable);
        assert!(matches!(link.read(&mut jobs), Err(PeerError::Closed)));
    }

    #[test]
    fn what_is_held_back_until_we_know_of_the_rest_comes_at_once() {
        let (mut link, mut theirs) = pair();
        let (bell, mut jobs) = (Doorbell::new().unwrap(), Jobs::default());
        let mut hear = |link: &mut Link| {
            assert!(link.wait(&bell, false, Duration::from_secs(20), 0).unwrap().readable);
            assert_eq!(link.read(&mut jobs).unwrap(), 4);
            assert!(matches!(link.next(&mut jobs), Ok(Some(Heard::Message([])))));
            assert!(matches!(link.next(&mut jobs), Ok(None)));
        };
        let mut times: Vec<Duration> = (0..40)
            .map(|_| {
                // Who answers is taken for one who will answer again, and acknowledges late.
                theirs.write_all(&[0; 4]).unwrap();
                hear(&mut link);
                link.say(&Message::KeepAlive);
                assert!(link.flush(false).unwrap());
                theirs.read_exact(&mut [0; 4]).unwrap();
                theirs.write_all(&[0; 4]).unwrap();
                theirs.write_all(&[0; 4]).unwrap();
                hear(&mut link);
                let began = Instant::now();
                link.acknowledge();
                hear(&mut link);
                began.elapsed()
            })
            .collect();
        times.sort_unstable();
        assert!(times[20] < Duration::from_millis(20), "{times:?}");
    }
}
