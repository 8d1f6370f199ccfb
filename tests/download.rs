//! `rill get` against peers with characters: whatever they do, with one good seeder beside them the download ends
//! with the right bytes.

mod common;

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use common::link::{EXTENDED, Link, Message, fresh_peer_id};
use common::{Answer, Chance, Character, Ended, Folder, Rill, Seeder, Torrent, Tracker, wait_until};

const PIECE: usize = 64 << 10;

/// Two MiB and a bit: 33 pieces, the last one short.
fn small() -> Torrent {
    Torrent::single("small.bin", (2 << 20) + 12345, PIECE)
}

/// Downloads with a seeder of this character and a good but slow one beside it, so that both are used.
fn beside(character: Character) -> (Ended, Seeder, Seeder) {
    let torrent = small();
    let folder = Folder::new("beside");
    let file = torrent.write_file(&folder, &[]);
    let odd = Seeder::start(&torrent, character);
    let good = Seeder::start(&torrent, Character::Slow(4 << 20));
    let out = folder.join("out");
    let ended = Rill::get(&file, &out).peers(&[&odd, &good]).run();
    ended.expect(0);
    torrent.compare(&out).unwrap();
    assert!(odd.connections() >= 1, "the odd peer was never dialled");
    (ended, odd, good)
}

#[test]
fn a_good_seeder_alone() {
    let torrent = small();
    let folder = Folder::new("good");
    let file = torrent.write_file(&folder, &[]);
    let good = Seeder::start(&torrent, Character::Good);
    let out = folder.join("out");
    Rill::get(&file, &out).peers(&[&good]).run().expect(0);
    torrent.compare(&out).unwrap();
    assert_eq!(good.sent(), torrent.bytes.len() as u64, "nothing is fetched twice");
    assert_eq!(Folder::files(&folder), ["out/small.bin", "small.bin.torrent"], "nothing is left behind");
}

#[test]
fn beside_one_that_corrupts_every_piece() {
    let (ended, odd, good) = beside(Character::CorruptsAll);
    assert_eq!(odd.connections(), 1, "whoever sends wrong bytes is not dialled again: {}", ended.stderr);
    assert!(odd.asked() > 0, "the corrupting peer was never used");
    assert!(good.sent() >= small().bytes.len() as u64);
}

#[test]
fn beside_one_that_corrupts_one_piece_in_ten() {
    beside(Character::CorruptsOneIn(10));
}

#[test]
fn beside_one_that_never_unchokes() {
    let (_, odd, _) = beside(Character::NeverUnchokes);
    assert_eq!(odd.asked(), 0, "a peer that chokes us is asked for nothing");
}

#[test]
fn beside_one_that_chokes_in_mid_piece() {
    let (_, odd, _) = beside(Character::ChokesInMidPiece);
    assert!(odd.sent() > 0, "the choking peer was never used");
}

#[test]
fn beside_one_that_leaves_in_mid_block() {
    let (_, odd, _) = beside(Character::LeavesInMidBlock(5));
    assert!(odd.sent() > 5 * 16384, "the peer that leaves was never used");
}

#[test]
fn beside_one_that_goes_silent() {
    let (ended, odd, _) = beside(Character::GoesSilent(5));
    // Five blocks, of which one may be the torrent's last and short.
    assert!(odd.sent() > 4 * 16384 && odd.sent() <= 5 * 16384, "{} bytes", odd.sent());
    assert!(ended.took < Duration::from_secs(20), "a silent peer held the download for {:?}", ended.took);
}

#[test]
fn beside_one_that_sends_one_byte_at_a_time() {
    let (_, odd, _) = beside(Character::OneByteAtATime);
    assert!(odd.asked() > 0, "the dripping peer was never used");
}

#[test]
fn beside_one_that_sends_an_oversize_frame() {
    beside(Character::OversizeFrame);
}

#[test]
fn beside_one_that_claims_a_missing_piece() {
    beside(Character::ClaimsMissingPiece);
}

#[test]
fn beside_one_with_too_long_a_bitfield() {
    beside(Character::LongBitfield);
}

#[test]
fn beside_one_that_sends_what_was_never_asked() {
    beside(Character::SendsUnasked);
}

#[test]
fn beside_one_that_only_keeps_alive() {
    beside(Character::OnlyKeepAlives);
}

#[test]
fn beside_one_that_never_answers_the_handshake() {
    beside(Character::SilentHandshake);
}

#[test]
fn beside_a_web_server() {
    beside(Character::Garbage);
}

#[test]
fn beside_one_of_another_swarm() {
    beside(Character::WrongInfoHash);
}

#[test]
fn beside_one_that_rejects_every_second_request() {
    let (_, odd, _) = beside(Character::Rejects);
    assert!(odd.sent() > 0, "the rejecting peer was never used");
}

#[test]
fn beside_ones_that_babble() {
    let torrent = small();
    let folder = Folder::new("babble");
    let file = torrent.write_file(&folder, &[]);
    let mut peers: Vec<Seeder> =
        (0..24).map(|seed| Seeder::start(&torrent, Character::Babbles(seed))).collect();
    peers.push(Seeder::start(&torrent, Character::Slow(4 << 20)));
    let out = folder.join("out");
    Rill::get(&file, &out).peers(&peers.iter().collect::<Vec<_>>()).run().expect(0);
    torrent.compare(&out).unwrap();
}

/// Characters that are right in their own way serve a whole torrent alone.
fn alone(character: Character) -> Seeder {
    let torrent = Torrent::single("alone.bin", (1 << 20) + 77, PIECE);
    let folder = Folder::new("alone");
    let file = torrent.write_file(&folder, &[]);
    let seeder = Seeder::start(&torrent, character);
    let out = folder.join("out");
    Rill::get(&file, &out).peers(&[&seeder]).run().expect(0);
    torrent.compare(&out).unwrap();
    seeder
}

#[test]
fn one_without_a_bitfield_serves_alone() {
    alone(Character::NoBitfield);
}

#[test]
fn one_with_a_late_bitfield_serves_alone() {
    alone(Character::LateBitfield);
}

#[test]
fn one_with_the_fast_extension_serves_alone() {
    alone(Character::Fast);
}

#[test]
fn one_that_chokes_again_and_again_serves_alone() {
    let seeder = alone(Character::ChokesInMidPiece);
    let (sent, size) = (seeder.sent(), (1 << 20) + 77);
    assert!(sent <= size * 5 / 4, "blocks that came before a choke are kept: {sent} bytes sent for {size}");
}

#[test]
fn one_that_drips_serves_alone() {
    alone(Character::OneByteAtATime);
}

#[test]
fn one_that_rejects_half_serves_alone() {
    let seeder = alone(Character::Rejects);
    assert_eq!(seeder.sent(), (1 << 20) + 77, "what comes beside a refusal is kept");
}

/// A single block from one that takes ten seconds for it.
fn one_block(character: Character) {
    let torrent = Torrent::single("block.bin", 16_000, PIECE);
    let folder = Folder::new("block");
    let file = torrent.write_file(&folder, &[]);
    let seeder = Seeder::start(&torrent, character);
    let out = folder.join("out");
    Rill::get(&file, &out).peers(&[&seeder]).run().expect(0);
    torrent.compare(&out).unwrap();
}

#[test]
fn ones_that_trickle_hold_no_memory_that_is_short() {
    let torrent = Torrent::single("short.bin", 4 << 20, 256 << 10);
    let folder = Folder::new("short");
    let file = torrent.write_file(&folder, &[]);
    let mut peers: Vec<Seeder> = (0..3).map(|_| Seeder::start(&torrent, Character::Trickles(10))).collect();
    peers.push(Seeder::start(&torrent, Character::Slow(4 << 20)));
    let out = folder.join("out");
    let few = ["--memory", "64K"];
    Rill::get(&file, &out).args(few).peers(&peers.iter().collect::<Vec<_>>()).run().expect(0);
    torrent.compare(&out).unwrap();
}

#[test]
fn a_peer_that_trickles_is_waited_for() {
    one_block(Character::Trickles(1_600));
}

#[test]
fn a_peer_that_takes_long_for_a_block_is_given_more_time_the_next_time() {
    one_block(Character::Ponders(Duration::from_secs(9)));
}

#[test]
fn peers_with_a_third_each_make_a_whole() {
    let torrent = small();
    let folder = Folder::new("thirds");
    let file = torrent.write_file(&folder, &[]);
    let third = |n| Character::Has((0..torrent.pieces()).map(|piece| piece % 3 == n).collect());
    let seeders: Vec<Seeder> = (0..3).map(|n| Seeder::start(&torrent, third(n))).collect();
    let out = folder.join("out");
    Rill::get(&file, &out).peers(&seeders.iter().collect::<Vec<_>>()).run().expect(0);
    torrent.compare(&out).unwrap();
    let sent: u64 = seeders.iter().map(Seeder::sent).sum();
    assert_eq!(sent, torrent.bytes.len() as u64, "nothing is fetched twice when only one peer has it");
}

#[test]
fn a_slow_peer_does_not_hold_up_the_end() {
    let torrent = small();
    let folder = Folder::new("slow");
    let file = torrent.write_file(&folder, &[]);
    let slow: Vec<Seeder> = (0..4).map(|_| Seeder::start(&torrent, Character::Slow(8 << 10))).collect();
    let good = Seeder::start(&torrent, Character::Slow(4 << 20));
    let mut peers: Vec<&Seeder> = slow.iter().collect();
    peers.push(&good);
    let out = folder.join("out");
    let ended = Rill::get(&file, &out).peers(&peers).run();
    ended.expect(0);
    torrent.compare(&out).unwrap();
    assert!(ended.took < Duration::from_secs(6), "a slow peer held the download for {:?}", ended.took);
}

#[test]
fn many_files_nested_empty_and_with_strange_names() {
    let torrent = Torrent::many(
        "tree",
        &[
            ("a.bin", 100_000),
            ("empty", 0),
            ("deep/er/still/b.bin", 1),
            ("deep/naïve – 名前.bin", 300_000),
            ("deep/empty too", 0),
            ("z.bin", 70_001),
        ],
        32 << 10,
    );
    let folder = Folder::new("many");
    let file = torrent.write_file(&folder, &[]);
    let good = Seeder::start(&torrent, Character::Good);
    let out = folder.join("out");
    Rill::get(&file, &out).peers(&[&good]).run().expect(0);
    torrent.compare(&out).unwrap();
    let names = Folder::files(&folder);
    assert!(!names.iter().any(|name| name.contains(".part")), "something is left behind: {names:?}");
}

#[test]
fn the_tracker_is_told_the_story() {
    let torrent = small();
    let folder = Folder::new("story");
    let good = Seeder::start(&torrent, Character::Good);
    let tracker = Tracker::start(Answer::Peers(vec![good.address]));
    let file = torrent.write_file(&folder, &[&tracker.url()]);
    let out = folder.join("out");
    Rill::get(&file, &out).run().expect(0);
    torrent.compare(&out).unwrap();
    assert_eq!(tracker.events(), ["started", "completed", "stopped"]);
    let announces = tracker.announces();
    assert_eq!(announces[0]["left"], torrent.bytes.len().to_string());
    assert_eq!(announces[1]["left"], "0");
    assert_eq!(announces[1]["downloaded"], torrent.bytes.len().to_string());
    assert_eq!(announces[0]["compact"], "1");
    for name in ["info_hash", "peer_id", "port", "uploaded", "numwant", "key"] {
        assert!(announces[0].contains_key(name), "the announce lacks {name}: {:?}", announces[0]);
    }
    let hash = decoded(&announces[0]["info_hash"]);
    assert_eq!(hash, torrent.info_hash, "percent-encoded once");
}

fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        if first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&behind[..2]).unwrap(), 16).unwrap());
            rest = &behind[2..];
        } else {
            bytes.push(first);
            rest = behind;
        }
    }
    bytes
}

#[test]
fn trackers_that_lie_beside_one_that_does_not() {
    let torrent = small();
    let folder = Folder::new("liars");
    let good = Seeder::start(&torrent, Character::Good);
    let lies = [
        Answer::Failure("go \x1b[31maway".to_owned()),
        Answer::Body(b"<html>not a tracker</html>".to_vec()),
        Answer::Body(b"d8:intervali-5e5:peers7:1234567e".to_vec()),
        Answer::Body(b"d5:peersd1:ai1eee".to_vec()),
        Answer::Body([b"d5:peers".to_vec(), b"l".repeat(100_000)].concat()),
        Answer::Body(b"d5:peers99999999999999999999:e".to_vec()),
        Answer::Body(Vec::new()),
        Answer::Status("500 Internal Server Error".to_owned()),
        Answer::Status("418 I'm a teapot".to_owned()),
        Answer::Redirect("gopher://example.invalid/".to_owned()),
        Answer::Silence,
        Answer::Endless,
        Answer::Torn,
    ];
    let mut trackers: Vec<Tracker> = lies.into_iter().map(Tracker::start).collect();
    trackers.push(Tracker::start(Answer::Dictionaries(vec![good.address])));
    let urls: Vec<String> = trackers.iter().map(Tracker::url).collect();
    let file = torrent.write_file(&folder, &urls.iter().map(String::as_str).collect::<Vec<_>>());
    let out = folder.join("out");
    let ended = Rill::get(&file, &out).run();
    ended.expect(0);
    torrent.compare(&out).unwrap();
    assert!(!ended.stderr.contains('\x1b'), "a tracker's control characters reached the screen");
    assert!(ended.took < Duration::from_secs(20), "dead trackers held the download for {:?}", ended.took);
}

#[test]
fn killed_twenty_times_at_random_moments() {
    let torrent = Torrent::single("killed.bin", 24 << 20, 256 << 10);
    let folder = Folder::new("killed");
    let file = torrent.write_file(&folder, &[]);
    let out = folder.join("out");
    let seeder = Seeder::start(&torrent, Character::Slow(8 << 20));
    let mut chance = Chance(std::process::id().into());
    let mut kills = 0;
    while kills < 20 {
        let mut running = Rill::get(&file, &out).peers(&[&seeder]).start();
        std::thread::sleep(Duration::from_millis(10 + chance.below(180)));
        if running.has_ended() {
            running.end().expect(0);
            break;
        }
        running.kill();
        kills += 1;
        if out.join("killed.bin").exists() {
            torrent.compare(&out).expect("a final name means finished");
        }
    }
    assert!(kills >= 15, "only {kills} kills before the download ended: nothing was shown");
    Rill::get(&file, &out).peers(&[&seeder]).run().expect(0);
    torrent.compare(&out).unwrap();
    let (sent, size) = (seeder.sent(), torrent.bytes.len() as u64);
    eprintln!("{kills} kills, fetched {:.3} of the size", sent as f64 / size as f64);
    assert!(sent <= size * 5 / 4, "fetched {sent} bytes for {size}, after {kills} kills");
}

#[test]
fn a_full_file_system_is_a_sentence() {
    let Some(disk) = Folder::small("full", 1 << 20, 100) else { return };
    let torrent = small();
    let folder = Folder::new("full-files");
    let file = torrent.write_file(&folder, &[]);
    let good = Seeder::start(&torrent, Character::Good);
    let ended = Rill::get(&file, disk.path()).peers(&[&good]).run();
    ended.expect(8);
    ended.says(&torrent.bytes.len().to_string());
    assert!(!disk.join("small.bin").exists(), "nothing stands under the final name");
}

#[test]
fn no_inodes_left_is_a_full_disk() {
    let Some(disk) = Folder::small("inodes", 16 << 20, 8) else { return };
    let torrent =
        Torrent::many("tree", &[("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1), ("f", 1), ("g", 1)], PIECE);
    let folder = Folder::new("inodes-files");
    let file = torrent.write_file(&folder, &[]);
    let good = Seeder::start(&torrent, Character::Good);
    Rill::get(&file, disk.path()).peers(&[&good]).run().expect(8);
    assert!(!disk.join("tree").exists(), "nothing stands under the final name");
}

#[test]
fn a_file_truncated_by_someone_else_is_a_sentence() {
    let torrent = Torrent::single("cut.bin", 8 << 20, PIECE);
    let folder = Folder::new("cut");
    let file = torrent.write_file(&folder, &[]);
    let seeder = Seeder::start(&torrent, Character::Slow(4 << 20));
    let out = folder.join("out");
    let running = Rill::get(&file, &out).peers(&[&seeder]).start();
    wait_until("half a MiB to be fetched", || seeder.sent() > 512 << 10);
    let part = out.join("cut.bin.part");
    fs::File::options().write(true).open(&part).expect("data goes to NAME.part").set_len(0).unwrap();
    let ended = running.end();
    ended.expect(9);
    ended.says("cut.bin");
    assert!(!out.join("cut.bin").exists(), "nothing stands under the final name");
}

#[test]
fn nothing_reachable_gives_up_with_four() {
    let torrent = small();
    let folder = Folder::new("nobody");
    let file = torrent.write_file(&folder, &[]);
    let nobody = Seeder::start(&torrent, Character::Good);
    let address = nobody.peer();
    drop(nobody);
    let out = folder.join("out");
    let ended = Rill::get(&file, &out).args(["--peer", &address, "--max-time", "2"]).run();
    ended.expect(4);
    assert!(ended.took < Duration::from_secs(6), "gave up after {:?}, not 2 s", ended.took);
}

#[test]
fn max_time_gives_up_with_five() {
    let torrent = small();
    let folder = Folder::new("max-time");
    let file = torrent.write_file(&folder, &[]);
    let slow = Seeder::start(&torrent, Character::Slow(100 << 10));
    let out = folder.join("out");
    let ended = Rill::get(&file, &out).peers(&[&slow]).args(["--max-time", "2"]).run();
    ended.expect(5);
    assert!(ended.took > Duration::from_secs(2) && ended.took < Duration::from_secs(6), "{:?}", ended.took);
    assert!(!out.join("small.bin").exists(), "nothing stands under the final name");
}

#[test]
fn a_stall_gives_up_with_five() {
    let torrent = small();
    let folder = Folder::new("stall");
    let file = torrent.write_file(&folder, &[]);
    let silent = Seeder::start(&torrent, Character::GoesSilent(20));
    let out = folder.join("out");
    let ended = Rill::get(&file, &out).peers(&[&silent]).args(["--stall-timeout", "2"]).run();
    ended.expect(5);
    assert!(ended.took < Duration::from_secs(8), "a stall of 2 s was seen after {:?}", ended.took);
}

/// Stops a slow download with a signal in its middle, then finishes it.
fn stopped_by(signal: &str, code: i32) {
    let torrent = small();
    let folder = Folder::new("signal");
    let file = torrent.write_file(&folder, &[]);
    let slow = Seeder::start(&torrent, Character::Slow(1 << 20));
    let tracker = Tracker::start(Answer::Peers(vec![slow.address]));
    let out = folder.join("out");
    let running = Rill::get(&file, &out).args(["--tracker", &tracker.url(), "--json"]).start();
    wait_until("half a MiB to be fetched", || slow.sent() > 512 << 10);
    running.signal(signal);
    let asked = Instant::now();
    let ended = running.end();
    assert!(asked.elapsed() < Duration::from_secs(3), "stopping took {:?}", asked.elapsed());
    ended.expect(code);
    let last = ended.last_event();
    assert_eq!((last["event"].as_str(), last["code"].as_str()), ("stop", code.to_string().as_str()));
    assert_eq!(tracker.events(), ["started", "stopped"]);
    assert!(!out.join("small.bin").exists(), "nothing stands under the final name");
    let before = slow.sent();
    let good = Seeder::start(&torrent, Character::Good);
    Rill::get(&file, &out).peers(&[&good]).run().expect(0);
    torrent.compare(&out).unwrap();
    let (fetched, size) = (before + good.sent(), torrent.bytes.len() as u64);
    assert!(good.sent() < size, "a clean stop loses nothing that was verified: fetched {fetched} for {size}");
}

#[test]
fn stopped_by_sigint() {
    stopped_by("INT", 130);
}

#[test]
fn stopped_by_sigterm() {
    stopped_by("TERM", 143);
}

#[test]
fn a_finished_file_in_the_way_is_done_at_once() {
    let torrent = small();
    let folder = Folder::new("finished");
    let file = torrent.write_file(&folder, &[]);
    torrent.write_content(&folder);
    let ended = Rill::get(&file, folder.path()).run();
    ended.expect(0);
    torrent.compare(folder.path()).unwrap();
}

#[test]
fn a_damaged_file_in_the_way_is_repaired() {
    let torrent = small();
    let folder = Folder::new("damaged");
    let file = torrent.write_file(&folder, &[]);
    let path = torrent.write_content(&folder);
    let mut bytes = torrent.bytes.clone();
    bytes[5 * PIECE + 7] ^= 1;
    fs::write(&path, &bytes[..torrent.bytes.len() - 100]).unwrap();
    let good = Seeder::start(&torrent, Character::Good);
    Rill::get(&file, folder.path()).peers(&[&good]).run().expect(0);
    torrent.compare(folder.path()).unwrap();
    let wanted = PIECE + torrent.bytes.len() % PIECE;
    assert_eq!(good.sent(), wanted as u64, "only what was damaged is fetched");
}

#[test]
fn a_stranger_in_the_way_is_refused_until_overwrite() {
    let torrent = small();
    let folder = Folder::new("stranger");
    let file = torrent.write_file(&folder, &[]);
    let path = folder.write("small.bin", b"someone's diary");
    let good = Seeder::start(&torrent, Character::Good);
    Rill::get(&file, folder.path()).peers(&[&good]).run().expect(10).says("small.bin");
    assert_eq!(fs::read(&path).unwrap(), b"someone's diary");
    assert_eq!(good.sent(), 0);
    Rill::get(&file, folder.path()).peers(&[&good]).arg("--overwrite").run().expect(0);
    torrent.compare(folder.path()).unwrap();
}

#[test]
fn a_link_in_the_way_is_never_written_through() {
    let torrent = small();
    let folder = Folder::new("link");
    let file = torrent.write_file(&folder, &[]);
    let diary = folder.write("diary", b"someone's diary");
    let good = Seeder::start(&torrent, Character::Good);
    for name in ["out/small.bin", "out/small.bin.part"] {
        fs::create_dir_all(folder.join("out")).unwrap();
        std::os::unix::fs::symlink(&diary, folder.join(name)).unwrap();
        Rill::get(&file, &folder.join("out")).peers(&[&good]).run().expect(10);
        assert_eq!(fs::read(&diary).unwrap(), b"someone's diary", "written through {name}");
        Rill::get(&file, &folder.join("out")).peers(&[&good]).arg("--overwrite").run().expect(0);
        torrent.compare(&folder.join("out")).unwrap();
        assert_eq!(fs::read(&diary).unwrap(), b"someone's diary", "written through {name}");
        fs::remove_dir_all(folder.join("out")).unwrap();
    }
}

#[test]
fn events_are_one_object_a_line_and_the_last_is_complete() {
    let torrent = small();
    let folder = Folder::new("json");
    let good = Seeder::start(&torrent, Character::Good);
    let tracker = Tracker::start(Answer::Peers(vec![good.address]));
    let file = torrent.write_file(&folder, &[&tracker.url()]);
    let out = folder.join("out");
    let ended = Rill::get(&file, &out).arg("--json").run();
    ended.expect(0);
    let events = common::json::read_lines(&ended.stdout);
    let named = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert_eq!(events[0]["event"], "start");
    assert!(events.iter().all(|event| event["time"].parse::<f64>().is_ok_and(|time| time > 1.7e9)));
    assert_eq!(named("piece"), torrent.pieces());
    assert_eq!((named("metadata"), named("tracker") > 0, named("peer") > 0), (1, true, true));
    assert_eq!((named("file"), named("complete")), (1, 1));
    let last = ended.last_event();
    assert_eq!((last["event"].as_str(), last["code"].as_str()), ("complete", "0"));
}

#[test]
fn errors_are_events_too_and_still_sentences() {
    let folder = Folder::new("json-error");
    let missing = folder.join("missing.torrent");
    let ended = Rill::get(&missing, folder.path()).arg("--json").run();
    ended.expect(9).says("missing.torrent");
    let last = ended.last_event();
    assert_eq!((last["event"].as_str(), last["code"].as_str()), ("error", "9"));
}

#[test]
fn selected_files_only() {
    let torrent =
        Torrent::many("tree", &[("a.bin", 200_000), ("b.bin", 200_000), ("c.bin", 200_000)], 32 << 10);
    let folder = Folder::new("select");
    let file = torrent.write_file(&folder, &[]);
    let good = Seeder::start(&torrent, Character::Good);
    let out = folder.join("out");
    Rill::get(&file, &out).peers(&[&good]).args(["--select", "2"]).run().expect(0);
    assert_eq!(fs::read(out.join("tree/b.bin")).unwrap(), torrent.files[1].1);
    assert!(!out.join("tree/a.bin").exists() && !out.join("tree/c.bin").exists());
    assert!(good.sent() < 300_000, "fetched {} bytes for a file of 200,000", good.sent());
}

#[test]
fn in_order_when_asked_to() {
    let torrent = small();
    let folder = Folder::new("sequential");
    let file = torrent.write_file(&folder, &[]);
    let good = Seeder::start(&torrent, Character::Good);
    let out = folder.join("out");
    Rill::get(&file, &out).peers(&[&good]).arg("--sequential").run().expect(0);
    torrent.compare(&out).unwrap();
    let asked: Vec<u32> = good.seen.asked.lock().unwrap().iter().map(|block| block.piece).collect();
    assert!(asked.is_sorted(), "asked for {asked:?}");
}

#[test]
fn pieces_whose_peers_are_gone_do_not_fill_the_memory_for_ever() {
    let (torrent, folder) = (Torrent::single("stranded.bin", 8 << 20, 1 << 20), Folder::new("stranded"));
    let (file, out) = (torrent.write_file(&folder, &[]), folder.join("out"));
    // Memory for two pieces; each of these leaves one half done, and nobody else has it.
    let gone = [0, 2].map(|piece| Seeder::start(&torrent, Character::HasOneAndLeaves(piece, 20)));
    let later = common::fresh_listener();
    let get = Rill::get(&file, &out).args(["--memory", "1M", "--peer", &later.to_string()]);
    let get = get.peers(&gone.each_ref()).start();
    wait_until("both have left", || gone.iter().all(|seeder| seeder.sent() > 20 * 16384));
    drop(gone);
    let others = (0..8).map(|piece| piece != 0 && piece != 2).collect();
    let rest = Seeder::start_at(later, &torrent, Character::Has(others));
    wait_until("the others come", || rest.sent() >= 6 << 20);
    drop(rest);
    let _good = Seeder::start_at(later, &torrent, Character::Good);
    get.end().expect(0);
    torrent.compare(&out).unwrap();
}

#[test]
fn a_liar_that_hangs_up_in_time_is_banned_all_the_same() {
    let (torrent, folder) = (Torrent::single("liar.bin", 1 << 20, 1 << 20), Folder::new("hangs-up"));
    let (file, out) = (torrent.write_file(&folder, &[]), folder.join("out"));
    let liar = Seeder::start(&torrent, Character::CorruptsAndLeaves(2));
    let later = common::fresh_listener();
    let get = Rill::get(&file, &out).peers(&[&liar]).args(["--peer", &later.to_string()]).start();
    wait_until("it has left", || liar.shaken() > 0 && liar.guests() == 0);
    let banned = format!("peer {} is banned", liar.address);
    drop(liar);
    let _good = Seeder::start_at(later, &torrent, Character::Good);
    get.end().expect(0).says(&banned);
    torrent.compare(&out).unwrap();
}

#[test]
fn who_loses_what_we_want_of_it_is_of_no_more_interest() {
    let (torrent, folder) = (small(), Folder::new("lost"));
    let file = torrent.write_file(&folder, &[]);
    let listener = TcpListener::bind((common::fresh_address(), 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let _get = Rill::get(&file, &folder.join("out")).args(["--peer", &address]).start();
    let (stream, _) = listener.accept().unwrap();
    let mut link = Link::shake(stream, torrent.info_hash, EXTENDED, fresh_peer_id()).unwrap();
    let hello = link.hear_until(|said| matches!(said, Message::Extended(0, _))).unwrap();
    let Message::Extended(_, hello) = hello else { unreachable!() };
    let text = b"11:lt_donthavei";
    let at = hello.windows(text.len()).position(|window| window == text).expect("it hears of lost pieces");
    let number = hello[at + text.len()] - b'0';
    link.say(&Message::Have(1)).unwrap();
    link.hear_until(|said| *said == Message::Interested).unwrap();
    link.say(&Message::Extended(number, 1_u32.to_be_bytes().to_vec())).unwrap();
    link.hear_until(|said| *said == Message::NotInterested).unwrap();
}
