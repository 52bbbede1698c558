//! A peer that gets no CPU, or whose wall clock is set: it accuses nobody, nobody else is accused because of it, and it is
//! back as soon as it runs.

#![expect(clippy::unwrap_used, reason = "in a test, where it cannot go on it is to stop")]

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cluster_tests::cluster::{Cluster, Shape, Special};
use cluster_tests::wait::{PATIENCE, pause, wait_for};
use cluster_tests::witness::Witness;
use cluster_tests::{need, procfs, report};
use evenkeel::host;
use rustix::process::Signal;

const STARVED: usize = 0;

fn three() -> Option<Cluster> {
    let cluster = Cluster::start(Shape { peers: 3, nodes: 2, preset: "lan", health: None })?;
    cluster.wait_agreed(PATIENCE);
    Some(cluster)
}

/// Lines that a peer has written since.
fn lines(cluster: &Cluster, peer: usize, since: usize) -> Vec<String> {
    cluster.log(peer).lines().skip(since).map(str::to_owned).collect()
}

fn length(cluster: &Cluster, peer: usize) -> usize {
    cluster.log(peer).lines().count()
}

/// The verdicts of those that are well stand, and they see each other.
#[track_caller]
fn assert_the_others_are_well(cluster: &Cluster) {
    for by in [1, 2] {
        for of in [1, 2] {
            assert_eq!(cluster.sees_peer(by, of).as_deref(), Some("alive"));
        }
        for node in 0..2 {
            assert_eq!(cluster.sees_node(by, node), ("up".to_owned(), "admitted".to_owned()));
        }
    }
}

/// Nobody wrote that a node is down, and that a peer is dead only of the one that was starved.
#[track_caller]
fn assert_accused_nobody(cluster: &Cluster, since: [usize; 3]) {
    for (peer, since) in since.into_iter().enumerate() {
        for line in lines(cluster, peer, since) {
            assert!(!line.contains("node is down"), "{}: {line}", cluster.id(peer));
            let of_the_starved = peer != STARVED && line.contains(&format!("peer={}", cluster.id(STARVED)));
            assert!(!line.contains("peer is dead") || of_the_starved, "{}: {line}", cluster.id(peer));
        }
    }
}

#[test]
fn a_peer_that_is_stopped_for_three_seconds_accuses_nobody_and_is_back_when_it_goes_on() {
    let Some(mut cluster) = three() else { return };
    let since = [0, 1, 2].map(|peer| length(&cluster, peer));
    let stopped = host::now();
    cluster.peer(STARVED).process().signal(Signal::STOP);
    wait_for("the others to see that it hangs", PATIENCE, || {
        let dead = [1, 2].iter().all(|&by| cluster.sees_peer(by, STARVED).as_deref() == Some("dead"));
        dead.then_some(())
    });
    report::figure("seen as dead by both others after", format!("{:?}", stopped.elapsed()));
    while stopped.elapsed() < Duration::from_secs(3) {
        assert_the_others_are_well(&cluster);
    }
    cluster.peer(STARVED).process().signal(Signal::CONT);
    let began = host::now();
    wait_for("the one that goes on to be alive to the others", PATIENCE, || {
        assert_the_others_are_well(&cluster);
        let alive = [1, 2].iter().all(|&by| cluster.sees_peer(by, STARVED).as_deref() == Some("alive"));
        alive.then_some(())
    });
    cluster.wait_agreed(PATIENCE);
    report::figure("all agree after it goes on", format!("{:?}", began.elapsed()));
    // As long as a verdict of its own would take to come.
    pause(Duration::from_secs(2));
    cluster.wait_agreed(PATIENCE);
    assert_accused_nobody(&cluster, since);
}

#[test]
fn a_peer_that_gets_a_slice_of_cpu_now_and_then_accuses_nobody() {
    // About what it needs in all, and every slice later than it wanted to wake: its rounds, its checks and its links are late
    // again and again, and what others said meanwhile waits unread.
    const SLICE: Duration = Duration::from_millis(15);
    const BETWEEN_SLICES: Duration = Duration::from_millis(300);
    const STARVED_FOR: Duration = Duration::from_secs(10);
    let Some(mut cluster) = three() else { return };
    let since = [0, 1, 2].map(|peer| length(&cluster, peer));
    let pid = cluster.peer(STARVED).pid();
    let had = procfs::cpu_time(pid);
    let began = host::now();
    let mut slices = 0;
    while began.elapsed() < STARVED_FOR {
        cluster.peer(STARVED).process().signal(Signal::STOP);
        pause(BETWEEN_SLICES);
        assert_the_others_are_well(&cluster);
        cluster.peer(STARVED).process().signal(Signal::CONT);
        pause(SLICE);
        slices += 1;
    }
    let share = (procfs::cpu_time(pid) - had).as_secs_f64() / began.elapsed().as_secs_f64();
    report::figure("slices, and percent of a core that it got", format!("{slices}, {:.1}", 100.0 * share));
    let held_up = lines(&cluster, STARVED, since[STARVED]).iter().filter(|line| line.contains("held up")).count();
    report::figure("times that the starved peer says that it was held up", held_up);
    assert!(held_up > 0, "it was not starved");
    let took = cluster.wait_agreed(PATIENCE);
    report::figure("all agree after it is let run", format!("{took:?}"));
    assert_accused_nobody(&cluster, since);
}

/// A library that adds what a file says to the wall clock of the process that it is loaded into.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *offset_s;

__attribute__((constructor)) static void map_offset(void) {
    const char *path = getenv("TEST_CLOCK_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED) offset_s = mapped;
}

static int64_t offset(void) { return offset_s ? *offset_s : 0; }

int clock_gettime(clockid_t id, struct timespec *at) {
    int result = syscall(SYS_clock_gettime, id, at);
    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE || id == CLOCK_TAI)) at->tv_sec += offset();
    return result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    (void)zone;
    struct timespec now;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    if (result == 0 && at) { at->tv_sec = now.tv_sec; at->tv_usec = now.tv_nsec / 1000; }
    return result;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"#;

/// Compiles the shim; `None` where there is no compiler of C.
fn shim(folder: &Path) -> Option<PathBuf> {
    let compiler = need::program("cc")?;
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    std::fs::write(&source, SHIM).unwrap();
    let built =
        Command::new(compiler).args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some(library)
}

/// The hour that a peer's API says that it is, in hours since any fixed moment of this month or the next.
fn day_and_hour(cluster: &Cluster, peer: usize) -> String {
    let said = cluster.json(peer, "/api/v1/cluster")["as_of"].as_str().unwrap().to_owned();
    said[.."2026-01-01T00".len()].to_owned()
}

#[test]
fn a_wall_clock_that_is_set_by_an_hour_and_by_a_day_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = shim(folder.path()) else { return };
    let clock = folder.path().join("clock");
    let mut file = std::fs::File::create(&clock).unwrap();
    let mut set = |seconds: i64| {
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&seconds.to_ne_bytes()).unwrap();
    };
    set(0);
    let variables = vec![("LD_PRELOAD", library.into_os_string()), ("TEST_CLOCK_FILE", clock.into_os_string())];
    let shape = Shape { peers: 3, nodes: 2, preset: "lan", health: None };
    let Some(mut cluster) = Cluster::start_special(shape, Special { variables, ..Special::default() }) else { return };
    cluster.wait_agreed(PATIENCE);
    let mut witness = Witness::of(&mut cluster);
    const HOUR: i64 = 3_600;
    for seconds in [HOUR, -HOUR, 24 * HOUR, -24 * HOUR, 0] {
        set(seconds);
        let (own, other) = (day_and_hour(&cluster, 0), day_and_hour(&cluster, 1));
        assert_eq!(own == other, seconds == 0, "the first peer's clock says {own}, the others' {other}");
        // Longer than anything is fresh, and than silence takes to be death.
        let began = host::now();
        witness.look_until(&cluster, || began.elapsed() > Duration::from_millis(3_500));
    }
    witness.end(&mut cluster, 16 << 20);
}
