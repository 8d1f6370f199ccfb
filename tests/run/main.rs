//! `rill run`: what it does for months, and how it is asked meanwhile: by a client that isn't ours (curl), by `rill ctl`,
//! and by plain sockets where no client would be so rude.

#[path = "../common/mod.rs"]
mod common;

mod calls; //    what each call does, by curl and by `rill ctl`
mod doors; //    who gets in, and that the rude keep nobody waiting
mod lasting; //  what it is told is remembered, and no torrent's trouble is another's
mod metrics; //  what Prometheus reads
mod session; //  a session at work, and how it is asked
mod torrents; // what becomes of torrents: pausing, checking, removing
