//! Buckets that fill, age and are fought over, with time and chance handed in.

use super::*;
use crate::dht::node_id::{random_id, random_id_sharing};
use crate::dice::Dice;
use std::net::Ipv4Addr;

fn address(number: u32) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from(0x0b00_0000 + number).into(), 6881)
}

/// A full far bucket: nine nodes that share no bit with us.
fn crowded(dice: &mut Dice, now: Instant) -> (Table, Vec<Contact>) {
    let ours = random_id(dice);
    let mut table = Table::new(ours);
    let contacts: Vec<_> = (0..9)
        .map(|number| Contact { id: random_id_sharing(ours, 0, dice), address: address(number) })
        .collect();
    contacts.iter().for_each(|contact| table.answered(*contact, now));
    (table, contacts)
}

#[test]
fn a_full_bucket_keeps_its_good_nodes_and_replaces_bad_ones() {
    let (mut dice, now) = (Dice::from_seed(1), Instant::now());
    let (mut table, contacts) = crowded(&mut dice, now);
    assert_eq!(table.len(), K);
    assert!(!table.closest(contacts[8].id, K).contains(&contacts[8]));
    table.failed(contacts[3].address, now);
    assert!(table.closest(contacts[3].id, K).contains(&contacts[3]), "one lost packet is forgiven");
    table.failed(contacts[3].address, now);
    let known = table.closest(contacts[3].id, K);
    assert!(known.contains(&contacts[8]) && !known.contains(&contacts[3]));
    assert_eq!(table.questionable(9, now), [contacts[8]], "whoever waited is asked before it is trusted");
    table.answered(contacts[8], now);
    assert_eq!(table.good(now).len(), K);
}

#[test]
fn silence_makes_nodes_questionable_and_buckets_stale() {
    let (mut dice, start) = (Dice::from_seed(2), Instant::now());
    let (mut table, contacts) = crowded(&mut dice, start);
    let later = start + FRESH;
    assert!(!table.asked(contacts[0], later), "known, and a query is a sign of life");
    let due = table.questionable(100, later);
    assert_eq!(due, contacts[1..8]);
    assert_eq!(table.questionable(100, later), [], "asked a moment ago");
    assert_eq!(table.stale_bucket(later), Some(0));
    assert_eq!(table.stale_bucket(later), None);
    assert!(!table.asked(contacts[8], later), "full");
}

#[test]
fn nobody_takes_an_id_or_more_than_one_place() {
    let (mut dice, now) = (Dice::from_seed(3), Instant::now());
    let ours = random_id(&mut dice);
    let mut table = Table::new(ours);
    let first = Contact { id: random_id(&mut dice), address: address(1) };
    table.answered(first, now);
    table.answered(Contact { address: address(2), ..first }, now);
    for _ in 0..100 {
        table.answered(Contact { id: random_id(&mut dice), address: address(1) }, now);
    }
    table.answered(Contact { id: ours, address: address(3) }, now);
    assert_eq!(table.closest(ours, 100), [first]);
    for port in 1..=4 {
        let address = SocketAddr::new([127, 0, 0, 1].into(), port);
        table.answered(Contact { id: random_id(&mut dice), address }, now);
    }
    assert_eq!(table.len(), 5, "on one machine nodes share an address");
}

#[test]
fn the_closest_come_in_order() {
    let (mut dice, now) = (Dice::from_seed(4), Instant::now());
    let mut table = Table::new(random_id(&mut dice));
    for number in 0..5000 {
        table.answered(Contact { id: random_id(&mut dice), address: address(number) }, now);
    }
    let target = random_id(&mut dice);
    let mut all = table.closest(target, usize::MAX);
    assert!(all.len() > 50 && all.len() < 160, "{}", all.len());
    assert!(all.is_sorted_by_key(|contact| Distance::between(contact.id, target)));
    all.truncate(K);
    assert_eq!(table.closest(target, K), all);
}

#[test]
fn a_node_that_was_started_anew_takes_the_place_of_its_dead_self() {
    let (mut dice, now) = (Dice::from_seed(5), Instant::now());
    let mut table = Table::new(random_id(&mut dice));
    let old = Contact { id: random_id(&mut dice), address: address(1) };
    let new = Contact { id: random_id(&mut dice), ..old };
    table.answered(old, now);
    table.answered(new, now);
    assert_eq!(table.closest(old.id, K), [old], "the first lives still");
    (0..MAX_FAILURES).for_each(|_| table.failed(old.address, now));
    assert!(table.is_empty() && table.asked(new, now));
    table.answered(new, now);
    assert_eq!(table.closest(old.id, K), [new]);
    let nodes = table.buckets.iter().map(|bucket| bucket.nodes.len()).sum::<usize>();
    assert_eq!(nodes, 1, "the old one is forgotten");
}
