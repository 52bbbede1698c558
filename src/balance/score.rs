//! The health score of a node, 50 to 100: one number from what is measured.

use std::time::Duration;

/// Scores a node from the factors that this version measures: latency (0.40) and connections (0.30), scaled up to 1.
pub fn score(latency: Option<Duration>, connections: u32) -> f64 {
    let connections = (100.0 - 2.0 * f64::from(connections)).max(60.0);
    match latency {
        Some(latency) => {
            let latency = (100.0 - (latency.as_secs_f64() * 1_000.0 - 50.0) * 0.5).clamp(50.0, 100.0);
            (0.40 * latency + 0.30 * connections) / 0.70
        }
        None => connections,
    }
}

/// What a score means.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Band {
    /// 90 and more.
    Excellent,
    /// 80 and more.
    Good,
    /// 70 and more.
    Acceptable,
    /// 60 and more.
    Poor,
    /// Below 60.
    Critical,
}

impl Band {
    /// The band of a score.
    pub fn of(score: f64) -> Self {
        match score {
            score if score >= 90.0 => Self::Excellent,
            score if score >= 80.0 => Self::Good,
            score if score >= 70.0 => Self::Acceptable,
            score if score >= 60.0 => Self::Poor,
            _ => Self::Critical,
        }
    }
}
