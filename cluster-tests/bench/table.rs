//! What was measured, for people and for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::contender::Kind;
use crate::measure::Measured;
use crate::{Outcome, name_of};

/// Median, least and greatest of some numbers.
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(mut numbers: Vec<f64>) -> Option<Self> {
        numbers.sort_by(f64::total_cmp);
        let (min, max) = (*numbers.first()?, *numbers.last()?);
        let half = numbers.len() / 2;
        let median =
            if numbers.len() % 2 == 1 { numbers[half] } else { f64::midpoint(numbers[half - 1], numbers[half]) };
        Some(Self { median, min, max })
    }

    fn text(&self) -> String {
        format!("{:.2} ({:.2} to {:.2})", self.median, self.min, self.max)
    }

    fn json(&self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

impl Outcome {
    fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = self.rounds[0].iter().map(|(kind, _)| *kind).collect();
        kinds.sort_by_key(|kind| *kind as u8);
        kinds
    }

    fn of(&self, kind: Kind, look: impl Fn(&Measured) -> f64) -> Spread {
        let found =
            self.rounds.iter().flatten().filter(|(found, _)| *found == kind).map(|(_, measured)| look(measured));
        Spread::of(found.collect()).expect("every proxy was measured in every round")
    }

    /// CPU time a request beside the better of nginx and HAProxy of the same round; `None` where neither was measured.
    fn ratio(&self, kind: Kind) -> Option<Spread> {
        self.beside(kind, &[Kind::Nginx, Kind::Haproxy])
    }

    /// CPU time a request beside the best of these in the same round; `None` where none of them was measured.
    fn beside(&self, kind: Kind, others: &[Kind]) -> Option<Spread> {
        let ratios = self.rounds.iter().filter_map(|round| {
            let of = |wanted: Kind| round.iter().find(|(kind, _)| *kind == wanted).map(|(_, measured)| measured.cpu_us);
            let best = others.iter().copied().filter_map(of).min_by(f64::total_cmp)?;
            Some(of(kind)? / best)
        });
        Spread::of(ratios.collect())
    }
}

/// A table of one work.
pub(crate) fn text(outcome: &Outcome) -> String {
    let mut text =
        format!("\n{}: {} rounds, median (least to greatest)\n", name_of(&outcome.work), outcome.rounds.len());
    let _ = writeln!(
        text,
        "{:<9} {:>26} {:>20} {:>11} {:>9} {:>8} {:>7}",
        "proxy", "CPU a request, µs", "beside the best", "requests/s", "p99, ms", "MiB", "failed"
    );
    for kind in outcome.kinds() {
        let cpu = outcome.of(kind, |measured| measured.cpu_us);
        let ratio = outcome.ratio(kind).map_or_else(String::new, |ratio| ratio.text());
        let failed: u64 = outcome
            .rounds
            .iter()
            .flatten()
            .filter(|(found, _)| *found == kind)
            .map(|(_, measured)| measured.failed)
            .sum();
        let _ = writeln!(
            text,
            "{:<9} {:>26} {:>20} {:>11.0} {:>9.2} {:>8.1} {:>7}",
            name_of(&kind),
            cpu.text(),
            ratio,
            outcome.of(kind, |measured| measured.requests_per_second).median,
            outcome.of(kind, |measured| measured.latency_us_p99).median / 1e3,
            outcome.of(kind, |measured| measured.resident_kib as f64).max / 1024.0,
            failed
        );
    }
    if let Some(ratio) = outcome.beside(Kind::Evenkeel, &[Kind::Before]) {
        let _ = writeln!(text, "evenkeel beside the version before: {}", ratio.text());
    }
    text
}

/// Everything, with each single measurement.
pub(crate) fn json(machine: &Value, outcomes: &[Outcome]) -> Value {
    let works: Vec<Value> = outcomes
        .iter()
        .map(|outcome| {
            let proxies: serde_json::Map<String, Value> = outcome
                .kinds()
                .into_iter()
                .map(|kind| {
                    let rounds: Vec<&Measured> = outcome
                        .rounds
                        .iter()
                        .flatten()
                        .filter(|(found, _)| *found == kind)
                        .map(|(_, measured)| measured)
                        .collect();
                    let told = json!({
                        "cpu_us": outcome.of(kind, |measured| measured.cpu_us).json(),
                        "ratio": outcome.ratio(kind).map(|ratio| ratio.json()),
                        "rounds": rounds,
                    });
                    (name_of(&kind), told)
                })
                .collect();
            json!({ "work": name_of(&outcome.work), "proxies": proxies })
        })
        .collect();
    json!({ "machine": machine, "works": works })
}
