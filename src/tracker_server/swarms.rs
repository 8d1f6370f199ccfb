//! Who is in which swarm, in compact records, with limits and expiry.
