//! Announce, scrape and stats over HTTP.
