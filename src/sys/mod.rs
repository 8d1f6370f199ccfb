//! What std lacks, as safe functions: waiting on a socket and a doorbell at once, signals, reserved blocks,
//! advice about pages. Everything here that needs libc is for Linux.

pub mod bus; //      SIGBUS ends in a sentence
pub mod doorbell; // waiting on a socket and for a letter at once
pub mod file; //     reserved blocks, links, renames, write-back, the page cache
pub mod interfaces; // the addresses of this machine
pub mod limits; //   open files, memory, terminal width
pub mod view; //     a file's bytes as memory, to look at
pub mod slab; //     memory in huge pages, cut into buffers
pub mod net; //      buffers, sendfile, several blocks in one segment
pub mod listen; //   sockets that strangers come to, one for each family
pub mod multicast; // everyone on the local network
pub mod poller; //   waiting on thousands of sockets at once
pub mod datagrams; // many datagrams for one call, answered from where they were sent to
pub mod signals; //  being asked to stop, and for other things
pub mod children; // processes whose parents are gone
pub mod notify; //   a word to the service manager

pub use bus::catch_bus_errors;
pub use children::reap_strangers;
pub use datagrams::Datagrams;
pub use doorbell::{Doorbell, Ready, wait, wait_any};
pub use file::{disk_free, is_full, rename_noreplace, reserve};
pub use interfaces::own_addresses;
pub use limits::{
    HUGE_PAGE_BYTES, faults, keep_memory_small, memory_limit, page_bytes, raise_open_files, terminal_width,
    thread_count,
};
pub use listen::{bind_udp, listen_tcp};
pub use multicast::{bind_shared_udp, multicast_from, multicast_interfaces};
pub use net::{
    Received, acknowledge, connect, receive_some, send_some, sendfile, set_readable_from, set_receive_buffer,
    set_send_buffer,
};
pub use notify::notify;
pub use poller::{Interest, Poller};
pub use signals::{Signal, Stops, Wishes, outlive_file_limit};
pub use slab::{Buffer, Slabs};

/// What a system call that answers with -1 had to say.
fn checked(result: impl Into<i64>) -> std::io::Result<i64> {
    match result.into() {
        -1 => Err(std::io::Error::last_os_error()),
        value => Ok(value),
    }
}
