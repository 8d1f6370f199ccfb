//! `rill run`: many torrents in one process, for months: what it is told to do is remembered through whatever
//! happens to the process and to its disks, and no torrent's trouble is another's.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    Answer, Chance, Folder, PATIENCE, Rill, Running, Seeding, Torrent, Tracker, fresh_address,
    fresh_listener, wait_until,
};

const PIECE: usize = 32 << 10;

/// Torrents of their own content, and someone who seeds them all.
struct Swarm {
    torrents: Vec<Torrent>,
    address: SocketAddr,
    _seed: Seeding,
}

impl Swarm {
    fn new(count: usize, length: usize, more: &[&str]) -> Swarm {
        let name = |number: usize| format!("torrent-{number}.bin");
        let torrents: Vec<Torrent> =
            (0..count).map(|number| Torrent::single(&name(number), length + number, PIECE)).collect();
        let seed = Seeding::start(&torrents, &[], more);
        Swarm { torrents, address: seed.address, _seed: seed }
    }
}

/// A folder with all that a server has: `watch`, `data` and `state`.
struct Server {
    folder: Folder,
    peer: SocketAddr,
    state: PathBuf,
    data: PathBuf,
}

impl Server {
    fn new(peer: SocketAddr) -> Server {
        let folder = Folder::new("run");
        fs::create_dir(folder.join("watch")).unwrap();
        let (state, data) = (folder.join("state"), folder.join("data"));
        Server { folder, peer, state, data }
    }

    fn rill(&self) -> Rill {
        let address = fresh_listener();
        let path = |path: &Path| path.to_string_lossy().into_owned();
        Rill::new(["run", "-d", &path(&self.data), "--state", &path(&self.state)])
            .args(["--watch", &path(&self.folder.join("watch")), "--peer", &self.peer.to_string()])
            .args(["--bind", &address.ip().to_string(), "-p", &address.port().to_string()])
    }

    /// Puts a `.torrent` into the watched folder.
    fn drop_in(&self, torrent: &Torrent, trackers: &[&str]) -> PathBuf {
        self.folder.write(format!("watch/{}.torrent", torrent.name), &torrent.encode(trackers))
    }

    fn wait_for_data(&self, torrent: &Torrent) {
        wait_until(&format!("{} should be complete", torrent.name), || torrent.compare(&self.data).is_ok());
    }

    /// The torrents of the state folder, by their info-hashes.
    fn remembered(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.state).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut hashes: Vec<String> =
            names.filter_map(|name| name.strip_suffix(".kept").map(str::to_owned)).collect();
        hashes.sort();
        hashes
    }
}

fn stop(rill: Running) -> String {
    let start = Instant::now();
    rill.signal("TERM");
    let ended = rill.end();
    ended.expect(143);
    assert!(start.elapsed() < Duration::from_secs(3), "it took {:?} to stop", start.elapsed());
    ended.stdout.clone() + &ended.stderr
}

#[test]
fn twenty_torrents_dropped_at_once_complete_and_are_seeded_on_without_a_second_look() {
    let swarm = Swarm::new(20, 150_000, &[]);
    let server = Server::new(swarm.address);
    let told = server.folder.join("told");
    let script =
        "#!/bin/sh\necho \"$RILL_NAME $RILL_HASH $RILL_PATH\" >> \"$1\"\necho done with $RILL_NAME\n";
    let script = server.folder.write("hook.sh", script.as_bytes());
    let hook = format!("/bin/sh {} {}", script.display(), told.display());
    let mut rill = server.rill().args(["--on-complete", &hook]).env("PATH", "/usr/bin:/bin").start();
    let files: Vec<PathBuf> = swarm.torrents.iter().map(|torrent| server.drop_in(torrent, &[])).collect();
    swarm.torrents.iter().for_each(|torrent| server.wait_for_data(torrent));
    wait_until("each should have been told of", || {
        fs::read_to_string(&told).unwrap_or_default().lines().count() == 20
    });
    let last = &swarm.torrents[19];
    let line = format!("{} {} {}", last.name, last.hex(), server.data.join(&last.name).display());
    assert!(fs::read_to_string(&told).unwrap().lines().any(|told| told == line), "{line}");
    for torrent in &swarm.torrents {
        rill.wait_for(&format!("{}: on-complete: done with {}", torrent.name, torrent.name));
    }

    // A file that is taken away takes its torrent with it, and no data.
    fs::remove_file(&files[7]).unwrap();
    rill.wait_for(&format!("{}: removed", swarm.torrents[7].name));
    swarm.torrents[7].compare(&server.data).unwrap();
    wait_until("it should be forgotten", || server.remembered().len() == 19);
    stop(rill);

    let mut rill = server.rill().args(["--json", "--on-complete", &hook]).start();
    for torrent in swarm.torrents.iter().filter(|torrent| torrent.name != swarm.torrents[7].name) {
        wait_until("it should be seeding again", || {
            let said = rill.stdout();
            let is_its = |line: &str| line.contains(&torrent.hex()) && line.contains(r#""phase":"seeding""#);
            said.lines().any(is_its)
        });
    }
    assert!(!rill.has_ended());
    let said = stop(rill);
    assert!(!said.contains(r#""phase":"checking""#), "what is whole is hashed again:\n{said}");
    assert!(!said.contains(r#""event":"complete""#), "what was complete is complete again:\n{said}");
    assert!(said.lines().any(|line| line.contains(r#""event":"stop""#) && line.contains(r#""code":143"#)));
    assert_eq!(fs::read_to_string(&told).unwrap().lines().count(), 20, "the hook ran again");
}

#[test]
fn killed_ten_times_every_torrent_is_there_once_and_ends_right() {
    // Slow enough that each kill finds something under way.
    let swarm = Swarm::new(12, 400_000, &["--up", "1M"]);
    let server = Server::new(swarm.address);
    let mut chance = Chance(8);
    let mut files = Vec::new();
    for round in 0..10 {
        let rill = server.rill().start();
        files.push(server.drop_in(&swarm.torrents[round], &[]));
        if round % 4 == 3 {
            fs::remove_file(&files[round - 3]).unwrap();
        }
        thread::sleep(Duration::from_millis(100 + chance.below(500)));
        rill.kill();
    }
    let mut rill = server.rill().start();
    files.extend(swarm.torrents[10..].iter().map(|torrent| server.drop_in(torrent, &[])));
    let stays: Vec<&Torrent> = swarm
        .torrents
        .iter()
        .zip(&files)
        .filter(|(_, file)| file.exists())
        .map(|(torrent, _)| torrent)
        .collect();
    assert_eq!(stays.len(), 10);
    stays.iter().for_each(|torrent| server.wait_for_data(torrent));
    let mut hashes: Vec<String> = stays.iter().map(|torrent| torrent.hex()).collect();
    hashes.sort();
    wait_until("exactly those that stay should be remembered", || server.remembered() == hashes);
    assert!(!rill.has_ended());
    let said = stop(rill);
    assert!(!said.contains("can't be used"), "a kill left what can't be read:\n{said}");
}

#[test]
fn a_state_folder_that_is_full_or_read_only_loses_nothing() {
    let swarm = Swarm::new(3, 200_000, &[]);
    let mut server = Server::new(swarm.address);
    let Some(disk) = Folder::small("run-state", 256 << 10, 200) else { return };
    server.state = disk.path().to_path_buf();
    let [first, second, third] = &swarm.torrents[..] else { unreachable!("three torrents") };

    let mut rill = server.rill().start();
    server.drop_in(first, &[]);
    server.wait_for_data(first);
    wait_until("the first should be saved", || server.remembered() == [first.hex()]);

    // Full.
    let filler = disk.join("filler");
    let _ = fs::File::create(&filler).unwrap().write_all(&vec![0; 1 << 20]);
    server.drop_in(second, &[]);
    server.wait_for_data(second);
    rill.wait_for("can't save");
    assert_eq!(server.remembered(), [first.hex()]);
    fs::remove_file(&filler).unwrap();
    rill.wait_for("everything is saved again");
    assert_eq!(server.remembered().len(), 2);

    // Read-only, from the start.
    let remount = |how: &str| {
        let mut mount = Command::new("mount");
        assert!(mount.args(["-o", &format!("remount,{how}")]).arg(disk.path()).status().unwrap().success());
    };
    rill.kill();
    remount("ro");
    let mut rill = server.rill().start();
    server.drop_in(third, &[]);
    server.wait_for_data(third);
    rill.wait_for("can't save");
    assert_eq!(rill.stderr().matches("can't save").count(), 1, "one warning is enough:\n{}", rill.stderr());
    remount("rw");
    rill.wait_for("everything is saved again");
    assert_eq!(server.remembered().len(), 3);
    rill.kill();
    let rill = server.rill().start();
    wait_until("three torrents should be remembered", || rill.stderr().contains("3 torrents remembered"));
}

#[test]
fn a_full_disk_and_a_hung_tracker_are_nobody_else_s_trouble() {
    let swarm = Swarm::new(2, 500_000, &[]);
    let mut server = Server::new(swarm.address);
    let Some(disk) = Folder::small("run-data", 4 << 20, 200) else { return };
    server.data = disk.path().to_path_buf();
    let hung = Tracker::start(Answer::Silence);
    let too_large = Torrent::single("too-large.bin", 8 << 20, PIECE);
    let mut rill = server.rill().start();
    server.drop_in(&too_large, &[&hung.url()]);
    server.drop_in(&swarm.torrents[0], &[&hung.url()]);
    server.drop_in(&swarm.torrents[1], &[]);
    rill.wait_for("too-large.bin: error: disk full");
    swarm.torrents.iter().for_each(|torrent| server.wait_for_data(torrent));
    wait_until("the hung tracker should have been asked", || !hung.announces().is_empty());
    stop(rill);
}

#[test]
fn a_bad_file_is_set_aside_and_one_that_is_being_written_is_waited_for() {
    let swarm = Swarm::new(1, 100_000, &[]);
    let server = Server::new(swarm.address);
    let mut rill = server.rill().start();
    let torrent = &swarm.torrents[0];
    let bytes = torrent.encode(&[]);
    let half = server.folder.join("watch/slow.torrent");
    let mut file = fs::File::create(&half).unwrap();
    file.write_all(&bytes[..bytes.len() / 2]).unwrap();
    server.folder.write("watch/bad.torrent", b"d4:infode");
    server.folder.write("watch/.hidden.torrent", b"nothing");
    server.folder.write("watch/notes.txt", b"nothing");
    // It grows while the bad one's time runs out.
    for byte in &bytes[bytes.len() / 2..bytes.len() - 1] {
        file.write_all(&[*byte]).unwrap();
        thread::sleep(Duration::from_millis(10));
    }
    file.write_all(&bytes[bytes.len() - 1..]).unwrap();
    drop(file);
    server.wait_for_data(torrent);
    rill.wait_for("bad.torrent is no torrent");
    wait_until("the bad one should have another name", || {
        server.folder.join("watch/bad.torrent.invalid").exists()
    });
    let link = format!("magnet:?xt=urn:btih:{}", torrent.hex());
    server.folder.write("watch/again.magnet", link.as_bytes());
    let said = stop(rill);
    assert_eq!(said.matches("no torrent").count(), 1, "{said}");
    assert_eq!(said.matches(": added").count(), 1, "the same torrent twice is one:\n{said}");
    assert!(half.exists() && server.folder.join("watch/.hidden.torrent").exists());
}

#[test]
fn a_stop_waits_for_no_tracker_and_the_others_hear_of_it() {
    let good = Tracker::start(Answer::Peers(vec![]));
    let hung = hangs_at_the_end();
    let server = Server::new(fresh_listener());
    let socket = server.folder.join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    let rill = server.rill().env("NOTIFY_SOCKET", socket.to_str().unwrap()).start();
    let mut word = [0; 32];
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = manager.recv(&mut word).unwrap();
    assert_eq!(&word[..length], b"READY=1");
    for number in 0..5 {
        let torrent = Torrent::single(&format!("t{number}"), 50_000 + number, PIECE);
        server.drop_in(&torrent, &[&hung, &good.url()]);
    }
    rill.signal("HUP");
    wait_until("all should have announced", || good.announces().len() >= 5);
    let said = stop(rill);
    assert!(said.contains("stopped by SIGTERM"), "{said}");
    let stopped = good.events().iter().filter(|event| *event == "stopped").count();
    assert_eq!(stopped, 5, "{:?}", good.events());
    let length = manager.recv(&mut word).unwrap();
    assert_eq!(&word[..length], b"STOPPING=1");
}

/// A tracker that answers, and hangs when it is told that we leave.
fn hangs_at_the_end() -> String {
    let listener = TcpListener::bind((fresh_address(), 0)).unwrap();
    let url = format!("http://{}/announce", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            if request.contains("event=stopped") {
                held.push(stream);
                continue;
            }
            let _ = lines.take_while(|line| !line.is_empty()).count();
            let body = "d8:intervali1800e5:peers0:e";
            let _ = write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    url
}

#[test]
fn what_can_t_be_read_is_set_aside_and_the_rest_goes_on() {
    let swarm = Swarm::new(2, 60_000, &[]);
    let server = Server::new(swarm.address);
    let rill = server.rill().start();
    let files: Vec<PathBuf> = swarm.torrents.iter().map(|torrent| server.drop_in(torrent, &[])).collect();
    swarm.torrents.iter().for_each(|torrent| server.wait_for_data(torrent));
    wait_until("both should be saved", || server.remembered().len() == 2);
    stop(rill);
    files.iter().for_each(|file| fs::remove_file(file).unwrap());
    let torn = server.state.join(format!("{}.kept", swarm.torrents[0].hex()));
    let bytes = fs::read(&torn).unwrap();
    fs::write(&torn, &bytes[..bytes.len() / 2]).unwrap();
    fs::write(server.state.join(".new-torn"), "half").unwrap();
    let mut rill = server.rill().start();
    rill.wait_for("can't be used");
    rill.wait_for("1 torrent remembered");
    assert!(torn.with_extension("kept.bad").exists());
    assert_eq!(fs::read(torn.with_extension("kept.bad")).unwrap(), &bytes[..bytes.len() / 2]);
    assert!(!server.state.join(".new-torn").exists());
    // A second one leaves the folder alone.
    let second = server.rill().run();
    second.expect(10).says("belongs to another rill that runs");
    stop(rill);
}

#[test]
fn data_that_is_gone_is_not_fetched_again_unasked() {
    let swarm = Swarm::new(1, 60_000, &[]);
    let server = Server::new(swarm.address);
    let rill = server.rill().start();
    server.drop_in(&swarm.torrents[0], &[]);
    server.wait_for_data(&swarm.torrents[0]);
    stop(rill);
    fs::remove_file(server.data.join(&swarm.torrents[0].name)).unwrap();
    let mut rill = server.rill().start();
    rill.wait_for("was complete and is gone");
    stop(rill);
    assert!(!server.data.join(&swarm.torrents[0].name).exists());
}

#[test]
fn a_node_of_the_dht_and_nothing_else() {
    let folder = Folder::new("run-dht");
    let address = fresh_listener();
    let state = folder.join("state").to_string_lossy().into_owned();
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let args = ["run", "--dht-only", "--no-dht=0", "--state", &state, "--bind", &ip, "-p", &port];
    let mut rill = Rill::new(args).start();
    rill.wait_for(&format!("a node of the DHT on UDP port {port}"));
    stop(rill);
    let mut rill = Rill::new(args).arg("--json").start();
    rill.wait_for(r#""event":"start""#);
    rill.signal("INT");
    let last = rill.end().expect(130).last_event();
    assert_eq!((last["event"].as_str(), last["code"].as_str()), ("stop", "130"));
    for more in [&["x.torrent"][..], &["--watch", &state], &["--http", "0"], &["--on-complete", "true"]] {
        Rill::new(args).args(more).run().expect(2).says("takes no torrents");
    }
}
