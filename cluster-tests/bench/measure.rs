//! One measurement: a load on one proxy, and the CPU time that this proxy took meanwhile.

use std::process::Command;
use std::time::Duration;

use serde::Serialize;

use crate::contender::Contender;
use crate::work::Work;

/// What one measurement found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    /// Requests answered.
    pub(crate) requests: u64,
    /// Requests answered a second.
    pub(crate) requests_per_second: f64,
    /// CPU time a request, in µs.
    pub(crate) cpu_us: f64,
    /// Latency that 99 % stay below, in µs. The load asks as fast as it is answered, so this compares, and says no more.
    pub(crate) latency_us_p99: f64,
    /// Requests that failed or were answered with an error.
    pub(crate) failed: u64,
    /// Resident memory at the end, in KiB.
    pub(crate) resident_kib: u64,
}

/// Puts `connections` kept connections on a proxy for `time`.
pub(crate) fn measure(contender: &Contender, work: Work, connections: u32, time: Duration, core: usize) -> Measured {
    if work == Work::Handshake {
        return handshakes(contender, work, time, core);
    }
    if work.is_http2() {
        return streams(contender, work, connections, time, core);
    }
    let scheme = if work.is_over_tls() { "https" } else { "http" };
    let url = format!("{scheme}://{}{}", contender.address, work.path());
    let before = contender.cpu_time();
    let output = Command::new("taskset")
        .args(["--cpu-list", &core.to_string(), "wrk", "--latency", "--threads", "1"])
        .args(["--connections", &connections.to_string(), "--duration", &format!("{}s", time.as_secs())])
        .args(work.field().iter().flat_map(|field| ["--header", field]))
        .arg(&url)
        .output()
        .expect("wrk runs");
    let cpu = contender.cpu_time() - before;
    let told = String::from_utf8_lossy(&output.stdout);
    let requests = number_before(&told, " requests in ").unwrap_or(0.0);
    assert!(output.status.success() && requests > 0.0, "wrk: {told}{}", String::from_utf8_lossy(&output.stderr));
    Measured {
        requests: count(requests),
        requests_per_second: number_after(&told, "Requests/sec:").unwrap_or(0.0),
        cpu_us: cpu.as_secs_f64() * 1e6 / requests,
        latency_us_p99: told
            .lines()
            .find_map(|line| line.trim().strip_prefix("99%"))
            .and_then(microseconds)
            .unwrap_or(0.0),
        failed: count(number_after(&told, "Non-2xx or 3xx responses:").unwrap_or(0.0)) + socket_errors(&told),
        resident_kib: contender.resident_bytes() / 1024,
    }
}

/// Has one client connect again and again, which remembers no session as wrk does.
fn handshakes(contender: &Contender, work: Work, time: Duration, core: usize) -> Measured {
    let before = contender.cpu_time();
    let output = Command::new("taskset")
        .args([
            "--cpu-list",
            &core.to_string(),
            "openssl",
            "s_time",
            "-new",
            "-connect",
            &contender.address.to_string(),
        ])
        .args(["-www", work.path(), "-time", &time.as_secs().to_string()])
        .output()
        .expect("openssl runs");
    let cpu = contender.cpu_time() - before;
    let told = String::from_utf8_lossy(&output.stdout);
    let requests = number_before(&told, " connections in ").unwrap_or(0.0);
    assert!(output.status.success() && requests > 0.0, "openssl: {told}{}", String::from_utf8_lossy(&output.stderr));
    Measured {
        requests: count(requests),
        requests_per_second: requests / time.as_secs_f64(),
        cpu_us: cpu.as_secs_f64() * 1e6 / requests,
        // openssl tells none.
        latency_us_p99: 0.0,
        failed: 0,
        resident_kib: contender.resident_bytes() / 1024,
    }
}

/// Asks over as many streams of HTTP/2 as there would be connections, eight a connection.
fn streams(contender: &Contender, work: Work, connections: u32, time: Duration, core: usize) -> Measured {
    const STREAMS: u32 = 8;
    let before = contender.cpu_time();
    let output = Command::new("taskset")
        .args(["--cpu-list", &core.to_string(), "h2load", "--threads", "1"])
        .args([
            "--clients",
            &connections.div_ceil(STREAMS).to_string(),
            "--max-concurrent-streams",
            &STREAMS.to_string(),
        ])
        .args(["--duration", &time.as_secs().to_string()])
        .arg(format!("https://{}{}", contender.address, work.path()))
        .output()
        .expect("h2load runs");
    let cpu = contender.cpu_time() - before;
    let told = String::from_utf8_lossy(&output.stdout);
    let requests = number_before(&told, " succeeded, ").unwrap_or(0.0);
    let is_http2 = told.contains("Application protocol: h2");
    assert!(
        output.status.success() && requests > 0.0 && is_http2,
        "h2load: {told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Measured {
        requests: count(requests),
        requests_per_second: requests / time.as_secs_f64(),
        cpu_us: cpu.as_secs_f64() * 1e6 / requests,
        // h2load tells none.
        latency_us_p99: 0.0,
        failed: count(number_before(&told, " failed, ").unwrap_or(0.0)),
        resident_kib: contender.resident_bytes() / 1024,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of a few seconds are whole and small"
)]
fn count(number: f64) -> u64 {
    number as u64
}

/// The number in front of `mark`.
fn number_before(text: &str, mark: &str) -> Option<f64> {
    text.split(mark).next().filter(|front| front.len() < text.len())?.split_whitespace().last()?.parse().ok()
}

/// The number behind `mark`.
fn number_after(text: &str, mark: &str) -> Option<f64> {
    text.split_once(mark)?.1.split_whitespace().next()?.parse().ok()
}

/// Sum of `Socket errors: connect 0, read 0, write 0, timeout 0`.
fn socket_errors(text: &str) -> u64 {
    let Some(line) = text.lines().find_map(|line| line.trim().strip_prefix("Socket errors:")) else { return 0 };
    line.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok()).sum()
}

/// `812.00us`, `1.53ms` or `0.90s` in µs.
fn microseconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let (number, factor) = if let Some(number) = text.strip_suffix("us") {
        (number, 1.0)
    } else if let Some(number) = text.strip_suffix("ms") {
        (number, 1e3)
    } else {
        (text.strip_suffix('s')?, 1e6)
    };
    Some(number.parse::<f64>().ok()? * factor)
}
