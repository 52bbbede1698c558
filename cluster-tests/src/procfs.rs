//! What the kernel says of a process: memory, CPU time, open files.

use std::fs;
use std::time::Duration;

/// Resident memory of a process, in bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    status_bytes(pid, "VmRSS:")
}

/// The most memory that was resident since the process started, or since [`forget_peak`], in bytes.
pub fn peak_resident_bytes(pid: u32) -> u64 {
    status_bytes(pid, "VmHWM:")
}

/// Begins a new peak at what is resident now, and says how much that is.
pub fn forget_peak(pid: u32) -> u64 {
    // proc(5): 5 resets the high water mark.
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("one's own process takes a reset of its peak");
    peak_resident_bytes(pid)
}

fn status_bytes(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a live process has a status");
    let kilobytes = status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse().ok());
    kilobytes.map_or_else(|| panic!("no {field} in {status}"), |kilobytes: u64| kilobytes * 1024)
}

/// CPU time of all threads of a process so far, in user and kernel mode, as the scheduler accounts it in nanoseconds.
///
/// `/proc/<pid>/stat` counts in ticks of 10 ms, too coarse for a short round. A thread that ended takes its time with it, so
/// this is for processes that keep their threads.
pub fn cpu_time(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a live process has threads");
    let nanoseconds = threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("schedstat")).ok())
        .filter_map(|line| line.split(' ').next()?.parse::<u64>().ok())
        .sum();
    Duration::from_nanos(nanoseconds)
}

/// The same of its threads of this name alone.
pub fn cpu_time_of_threads(pid: u32, name: &str) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a live process has threads");
    let folders = threads.filter_map(|thread| Some(thread.ok()?.path()));
    let named = folders.filter(|folder| fs::read_to_string(folder.join("comm")).is_ok_and(|comm| comm.trim() == name));
    let nanoseconds = named
        .filter_map(|folder| fs::read_to_string(folder.join("schedstat")).ok())
        .filter_map(|line| line.split(' ').next()?.parse::<u64>().ok())
        .sum();
    Duration::from_nanos(nanoseconds)
}

/// Bytes that an interface of the calling thread's network has received and sent.
pub fn interface_bytes(interface: &str) -> (u64, u64) {
    let table = fs::read_to_string("/proc/thread-self/net/dev").expect("a network has a table of interfaces");
    let row = table.lines().find_map(|line| line.trim_start().strip_prefix(interface)?.strip_prefix(':'));
    let row = row.unwrap_or_else(|| panic!("no interface {interface} in {table}"));
    let columns: Vec<u64> = row.split_whitespace().filter_map(|column| column.parse().ok()).collect();
    (columns[0], columns[8])
}

/// Processes that `pid` started and that still run.
pub fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Open file descriptors of a process.
pub fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_outlasts_the_memory_that_made_it_until_it_is_forgotten() {
        // Nobody's memory but this process's own is at hand; other tests of it use far less.
        const BYTES: usize = 64 << 20;
        let own = std::process::id();
        let before = forget_peak(own);
        let memory = vec![1_u8; BYTES];
        assert!(std::hint::black_box(&memory).iter().all(|&byte| byte == 1));
        drop(memory);
        let (peak, after) = (peak_resident_bytes(own), forget_peak(own));
        let grown = |to: u64| to.saturating_sub(before);
        assert!(grown(peak) > BYTES as u64 / 2, "from {before} to {peak}");
        assert!(
            grown(after) < BYTES as u64 / 2,
            "from {before} to {after}: memory was given back, and the peak with it"
        );
    }
}
