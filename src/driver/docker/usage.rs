//! What containers use: the difference between two looks, and the memory that they cannot give back.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use bollard::models::{ContainerMemoryStats, ContainerStatsResponse};

/// How far two looks are apart at least: the system counts in hundredths of a second, so what is nearer says nothing.
const LOOKS_APART_MIN: Duration = Duration::from_millis(500);
/// What of the memory can be given back, in the order in which it is looked for: engines tell it by other names with each kind
/// of control group.
const CACHES: [&str; 3] = ["total_inactive_file", "inactive_file", "cache"];

/// The last look at each container that runs. Bounded by how many are looked at.
#[derive(Debug, Default)]
pub(super) struct Looks(HashMap<String, Look>);

#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    /// Nanoseconds of all cores that the container has had, and the whole machine.
    container_ns: u64,
    machine_ns: u64,
    cpu_percent: Option<f64>,
}

impl Looks {
    /// Forgets all but these: they are gone.
    pub(super) fn keep(&mut self, ids: &HashSet<&str>) {
        self.0.retain(|id, _| ids.contains(id.as_str()));
    }

    /// What the container used since the last look, in percent of all cores of the machine; `None`: this is the first look, or it says nothing.
    pub(super) fn cpu_percent(&mut self, id: &str, stats: &ContainerStatsResponse, now: Instant) -> Option<f64> {
        let told = stats.cpu_stats.as_ref()?;
        let look = Look {
            at: now,
            container_ns: told.cpu_usage.as_ref()?.total_usage?,
            machine_ns: told.system_cpu_usage?,
            cpu_percent: None,
        };
        let Some(last) = self.0.get(id).copied() else {
            self.0.insert(id.to_owned(), look);
            return None;
        };
        if now.saturating_duration_since(last.at) < LOOKS_APART_MIN {
            return last.cpu_percent;
        }
        // Less than before: it was started again meanwhile.
        let used = look.container_ns.checked_sub(last.container_ns);
        let passed = look.machine_ns.checked_sub(last.machine_ns).filter(|&passed| passed > 0);
        let cpu_percent = used.zip(passed).map(|(used, passed)| {
            #[expect(clippy::cast_precision_loss, reason = "a percentage needs few digits")]
            let share = used as f64 / passed as f64;
            share * 100.0
        });
        self.0.insert(id.to_owned(), Look { cpu_percent, ..look });
        cpu_percent
    }
}

/// Millions of bytes that a container cannot give back.
pub(super) fn memory_mb(stats: &ContainerStatsResponse) -> Option<f64> {
    let ContainerMemoryStats { usage, stats, .. } = stats.memory_stats.as_ref()?;
    let cache = stats.as_ref().and_then(|stats| CACHES.iter().find_map(|name| stats.get(*name))).copied();
    #[expect(clippy::cast_precision_loss, reason = "millions need few digits")]
    let bytes = (*usage)?.saturating_sub(cache.unwrap_or_default()) as f64;
    Some(bytes / 1e6)
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerCpuStats, ContainerCpuUsage};

    use super::*;
    use crate::host;

    fn stats(container_ns: u64, machine_ns: u64) -> ContainerStatsResponse {
        let cpu_usage = ContainerCpuUsage { total_usage: Some(container_ns), ..ContainerCpuUsage::default() };
        ContainerStatsResponse {
            cpu_stats: Some(ContainerCpuStats {
                cpu_usage: Some(cpu_usage),
                system_cpu_usage: Some(machine_ns),
                online_cpus: Some(4),
                ..ContainerCpuStats::default()
            }),
            ..ContainerStatsResponse::default()
        }
    }

    #[test]
    fn two_looks_tell_percent_of_the_machine() {
        let mut looks = Looks::default();
        let began = host::now();
        let after = |ms| began + Duration::from_millis(ms);
        const S: u64 = 1_000_000_000;
        assert_eq!(looks.cpu_percent("a", &stats(0, 100 * S), began), None, "the first look");
        // Four cores pass four seconds in one; the container had one and a half of them.
        assert_eq!(looks.cpu_percent("a", &stats(S * 3 / 2, 104 * S), after(1_000)), Some(37.5));
        assert_eq!(
            looks.cpu_percent("a", &stats(S * 2, 104 * S + 1), after(1_010)),
            Some(37.5),
            "too soon to say more"
        );
        assert_eq!(looks.cpu_percent("a", &stats(0, 108 * S), after(2_000)), None, "it was started again");
        assert_eq!(looks.cpu_percent("a", &stats(S, 108 * S), after(3_000)), None, "no time has passed on the machine");
        assert_eq!(looks.cpu_percent("a", &ContainerStatsResponse::default(), after(4_000)), None);
        looks.keep(&HashSet::from(["b"]));
        assert_eq!(looks.cpu_percent("a", &stats(2 * S, 112 * S), after(5_000)), None, "forgotten");
    }

    #[test]
    fn memory_is_what_cannot_be_given_back() {
        let with = |cache: &[(&str, u64)]| ContainerStatsResponse {
            memory_stats: Some(ContainerMemoryStats {
                usage: Some(50_000_000),
                stats: Some(cache.iter().map(|&(name, bytes)| (name.to_owned(), bytes)).collect()),
                ..ContainerMemoryStats::default()
            }),
            ..ContainerStatsResponse::default()
        };
        assert_eq!(memory_mb(&with(&[("inactive_file", 20_000_000), ("cache", 40_000_000)])), Some(30.0));
        assert_eq!(memory_mb(&with(&[("cache", 60_000_000)])), Some(0.0));
        assert_eq!(memory_mb(&with(&[])), Some(50.0));
        assert_eq!(memory_mb(&ContainerStatsResponse::default()), None);
    }
}
