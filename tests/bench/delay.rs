//! A delaying proxy for benchmarks: every byte arrives a fixed time after it was sent, in both directions, as over
//! a long line. Built by the driver with plain `rustc`: `delay LISTEN TO MILLISECONDS SIZE`.
//!
//! It notes when 5 % and 95 % of SIZE bytes have passed towards whoever connected, and prints `5 UNIX` and
//! `95 UNIX`; a new connection starts the count again when none is open.

use std::env;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// Chunks on the line at most, of 64 KiB each: 20 ms at far more than loopback's speed.
const LINE_CHUNKS: usize = 2048;

static PASSED: AtomicU64 = AtomicU64::new(0);
static OPEN: AtomicU64 = AtomicU64::new(0);

fn main() {
    let args: Vec<String> = env::args().collect();
    let delay = Duration::from_micros((args[3].parse::<f64>().unwrap() * 1000.0) as u64);
    let size: u64 = args[4].parse().unwrap();
    let listener = TcpListener::bind(&args[1]).unwrap();
    println!("ready");
    for client in listener.incoming().flatten() {
        let server = TcpStream::connect(&args[2]).unwrap();
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        if OPEN.fetch_add(1, Ordering::SeqCst) == 0 {
            PASSED.store(0, Ordering::SeqCst);
        }
        let (back, forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        thread::spawn(move || line(client, server, delay, None));
        thread::spawn(move || {
            line(back, forth, delay, Some(size));
            OPEN.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Carries bytes one way until either side closes.
fn line(mut from: TcpStream, mut to: TcpStream, delay: Duration, counted: Option<u64>) {
    let (put, take) = sync_channel::<(Instant, Vec<u8>)>(LINE_CHUNKS);
    let (spare, reuse) = sync_channel::<Vec<u8>>(LINE_CHUNKS);
    let writer = thread::spawn(move || {
        for (due, bytes) in take {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
            if let Some(size) = counted {
                note(bytes.len() as u64, size);
            }
            let _ = spare.try_send(bytes);
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    loop {
        let mut bytes = reuse.try_recv().unwrap_or_default();
        bytes.resize(64 << 10, 0);
        match from.read(&mut bytes) {
            Ok(length @ 1..) => bytes.truncate(length),
            _ => break,
        }
        if put.send((Instant::now() + delay, bytes)).is_err() {
            break;
        }
    }
    drop(put);
    let _ = from.shutdown(Shutdown::Read);
    let _ = writer.join();
}

fn note(length: u64, size: u64) {
    let before = PASSED.fetch_add(length, Ordering::SeqCst);
    for percent in [5, 95] {
        let mark = size / 100 * percent;
        if before < mark && before + length >= mark {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            println!("{percent} {:.6}", now.as_secs_f64());
        }
    }
}
