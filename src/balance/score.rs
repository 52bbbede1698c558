//! The health score: 50 to 100, from what was measured of a node. Factors that nobody measured are left out and the
//! weights of the others scaled up to 1, so that a node is not punished for what is not known of it.

use std::time::Duration;

use serde::Serialize;

/// Share of the latency in the score.
const LATENCY_SHARE: f32 = 0.40;
/// Share of the connections.
const CONNECTIONS_SHARE: f32 = 0.30;

/// A node's score as a function of its connections: everything else is settled when the view is made, so that a pick
/// costs one multiplication.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    settled: f32,
    connections_share: f32,
}

impl Score {
    /// The score of a node whose checks take `latency` to connect, on average; `None`: never measured.
    pub fn of(latency: Option<Duration>) -> Self {
        match latency {
            Some(latency) => {
                let scale = 1.0 / (LATENCY_SHARE + CONNECTIONS_SHARE);
                Self {
                    settled: LATENCY_SHARE * scale * latency_points(latency),
                    connections_share: CONNECTIONS_SHARE * scale,
                }
            }
            None => Self { settled: 0.0, connections_share: 1.0 },
        }
    }

    /// The score with `connections` in flight.
    pub fn at(self, connections: u32) -> f32 {
        self.settled + self.connections_share * (100.0 - 2.0 * connections.min(20) as f32)
    }
}

/// 100 up to 50 ms, half a point less for each further one, never under 50.
fn latency_points(latency: Duration) -> f32 {
    (100.0 - (latency.as_secs_f32() * 1_000.0 - 50.0) * 0.5).clamp(50.0, 100.0)
}

/// A score in a word.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
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
    /// The band of this score.
    pub fn of(score: f64) -> Self {
        match score {
            score if score >= 90.0 => Self::Excellent,
            score if score >= 80.0 => Self::Good,
            score if score >= 70.0 => Self::Acceptable,
            score if score >= 60.0 => Self::Poor,
            _ => Self::Critical,
        }
    }

    /// The word that is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Excellent => "excellent",
            Self::Good => "good",
            Self::Acceptable => "acceptable",
            Self::Poor => "poor",
            Self::Critical => "critical",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_band_is_reached_by_latency_and_connections_alone() {
        for (latency_ms, connections, score, band) in [
            (0, 0, 100.0, Band::Excellent),
            (50, 0, 100.0, Band::Excellent),
            (70, 5, 90.0, Band::Excellent),
            (70, 10, 85.714, Band::Good),
            (150, 0, 71.429, Band::Acceptable),
            (150, 10, 62.857, Band::Poor),
            (150, 20, 54.286, Band::Critical),
            (10_000, 1_000, 54.286, Band::Critical),
        ] {
            let got = Score::of(Some(Duration::from_millis(latency_ms))).at(connections);
            assert!((got - score).abs() < 0.01, "{latency_ms} ms, {connections}: {got}");
            assert_eq!(Band::of(f64::from(got)), band, "{latency_ms} ms, {connections}");
        }
    }

    #[test]
    fn a_latency_never_measured_leaves_the_whole_score_to_the_connections() {
        assert!((Score::of(None).at(0) - 100.0).abs() < 1e-4);
        assert!((Score::of(None).at(7) - 86.0).abs() < 1e-4);
        assert!((Score::of(None).at(500) - 60.0).abs() < 1e-4);
    }
}
