//! Effective weight: what a node's weight is worth right now. Every strategy uses it.

use std::time::Duration;

use crate::model::Weight;

/// Where slow start begins.
const RAMP_BOTTOM: f64 = 0.1;
/// What a degraded node keeps of its weight.
const DEGRADED_FACTOR: f64 = 0.5;

/// How far a node that has been usable for `age` is up its ramp: linear from a tenth to 1 over `slow_start`.
pub fn ramp(age: Duration, slow_start: Duration) -> f64 {
    if age >= slow_start {
        1.0
    } else {
        RAMP_BOTTOM + (1.0 - RAMP_BOTTOM) * age.as_secs_f64() / slow_start.as_secs_f64()
    }
}

/// Weight × slow start × degraded. `top_ramp` is the ramp of the longest usable sibling: the ramp counts relative to it,
/// since holding every node of a pool back would only rename its shares. So no node starts slowly when all are new.
pub fn effective(weight: Weight, ramp: f64, top_ramp: f64, degraded: bool) -> f64 {
    let slow_start = (ramp / top_ramp).min(1.0);
    f64::from(weight.get()) * slow_start * if degraded { DEGRADED_FACTOR } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW_START: Duration = Duration::from_secs(30);

    #[test]
    fn slow_start_is_linear_from_a_tenth() {
        for (age_s, expected) in [(0, 0.1), (10, 0.4), (15, 0.55), (30, 1.0), (3_000, 1.0)] {
            assert!((ramp(Duration::from_secs(age_s), SLOW_START) - expected).abs() < 1e-9, "{age_s} s");
        }
        assert!((ramp(Duration::ZERO, Duration::ZERO) - 1.0).abs() < f64::EPSILON, "zero switches it off");
    }

    #[test]
    fn a_new_node_is_held_back_beside_old_ones_and_not_beside_new_ones() {
        let weight = Weight::new(10).unwrap();
        for (ramp, top_ramp, degraded, expected) in
            [(0.1, 1.0, false, 1.0), (1.0, 1.0, false, 10.0), (0.1, 0.1, false, 10.0), (0.2, 0.4, true, 2.5)]
        {
            assert!((effective(weight, ramp, top_ramp, degraded) - expected).abs() < 1e-9);
        }
    }
}
