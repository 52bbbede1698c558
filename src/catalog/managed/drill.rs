//! Drills of regions: what of a region's traffic is held away to see whether the others could take it, and what came of it.

use serde::{Deserialize, Serialize};

use super::super::json::Object;
use super::super::write::{Write, WriteRefused};
use super::shift::can_be_shifted;
use super::{Managed, ManagedShift};
use crate::model::{Catalog, Drill, DrillCounts, DrillOutcome, RegionName, ShiftKind};

/// A region's last drill. While it is under way the region is shifted.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ManagedDrill {
    /// The last moment of the schedule that was dealt with, in milliseconds since 1970.
    #[serde(default)]
    pub scheduled_ms: Option<u64>,
    /// The revision that it began with; `None`: it did not.
    #[serde(default)]
    pub begun: Option<u64>,
    /// When it began, or did not.
    pub at_ms: u64,
    /// Who asked for it; empty: it was scheduled.
    #[serde(default)]
    pub by: String,
    /// What became of it; `None`: it is under way.
    #[serde(default)]
    pub ended: Option<DrillEnd>,
    /// What this version does not know.
    #[serde(flatten)]
    pub other: Object,
}

/// The end of a drill.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DrillEnd {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What became of it.
    pub outcome: DrillOutcome,
    /// Why, in words.
    pub why: String,
    /// What was counted.
    #[serde(default)]
    pub counts: DrillCounts,
}

/// What is written of drills.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Drilling {
    /// One is held.
    Begin {
        /// Of which region.
        region: RegionName,
        /// Where its traffic goes first.
        #[serde(default)]
        to: Option<RegionName>,
        /// What is held away, in percent.
        percent: u8,
        /// How long, in milliseconds.
        duration_ms: u64,
        /// When it was due; `None`: an operator asks for it.
        #[serde(default)]
        scheduled_ms: Option<u64>,
    },
    /// It is over.
    End {
        /// Of which region.
        region: RegionName,
        /// The revision that it began with.
        begun: u64,
        /// What became of it.
        outcome: DrillOutcome,
        /// Why, in words.
        why: String,
        /// What was counted.
        counts: DrillCounts,
    },
    /// One that is due is not held.
    Skip {
        /// Of which region.
        region: RegionName,
        /// When it was due.
        scheduled_ms: u64,
        /// Why not.
        why: String,
    },
}

impl Drilling {
    /// In a few words.
    pub fn summary(&self) -> String {
        match self {
            Self::Begin { region, .. } => format!("drill of region \"{region}\""),
            Self::End { region, .. } => format!("end the drill of region \"{region}\""),
            Self::Skip { region, .. } => format!("skip the drill of region \"{region}\""),
        }
    }

    /// Of which region.
    pub fn region(&self) -> &RegionName {
        match self {
            Self::Begin { region, .. } | Self::End { region, .. } | Self::Skip { region, .. } => region,
        }
    }

    /// Whether an operator asks for it.
    pub fn is_by_hand(&self) -> bool {
        matches!(self, Self::Begin { scheduled_ms: None, .. })
    }
}

impl Managed {
    pub(in super::super) fn drill(
        &mut self,
        drilling: &Drilling,
        revision: u64,
        write: &Write,
        catalog: &Catalog,
    ) -> Result<(), WriteRefused> {
        match drilling {
            Drilling::Begin { region, to, percent, duration_ms, scheduled_ms } => {
                can_be_shifted(region, to.as_ref(), catalog)?;
                if let Some((shifted, shift)) = self.shifts.first_key_value() {
                    let message = format!(
                        "region \"{shifted}\" is shifted ({}); there is no drill beside that",
                        shift.kind.name()
                    );
                    return Err(WriteRefused::Conflict { message });
                }
                if !(1..=Drill::PERCENT_MAX).contains(percent) {
                    let message = format!("a drill holds 1 to {} percent away, not {percent}", Drill::PERCENT_MAX);
                    return Err(WriteRefused::Conflict { message });
                }
                let by = write.by.as_str().to_owned();
                let shift = ManagedShift {
                    kind: ShiftKind::Drill,
                    begun: revision,
                    to: to.clone(),
                    stays_percent: 100 - percent,
                    is_returning: false,
                    taken_back: 0,
                    at_ms: write.at_ms,
                    step_ms: write.at_ms,
                    until_ms: Some(write.at_ms.saturating_add(*duration_ms)),
                    by: by.clone(),
                    why: "a drill".to_owned(),
                    other: Object::new(),
                };
                self.shifts.insert(region.clone(), shift);
                let drill = self.drills.entry(region.clone()).or_default();
                drill.scheduled_ms = scheduled_ms.or(drill.scheduled_ms);
                (drill.begun, drill.at_ms, drill.by, drill.ended) = (Some(revision), write.at_ms, by, None);
            }
            Drilling::End { region, begun, outcome, why, counts } => {
                let is_it = |shift: &ManagedShift| shift.kind == ShiftKind::Drill && shift.begun == *begun;
                if !self.shifts.get(region).is_some_and(is_it) {
                    let message = format!("region \"{region}\" has no drill since revision {begun}");
                    return Err(WriteRefused::NotFound { message });
                }
                self.shifts.remove(region);
                let end = DrillEnd { at_ms: write.at_ms, outcome: *outcome, why: why.clone(), counts: *counts };
                self.drill_ended(region, end);
            }
            Drilling::Skip { region, scheduled_ms, why } => {
                if self.drills.get(region).is_some_and(|drill| drill.ended.is_none()) {
                    let message = format!("a drill of region \"{region}\" is held");
                    return Err(WriteRefused::Conflict { message });
                }
                let ended = DrillEnd {
                    at_ms: write.at_ms,
                    outcome: DrillOutcome::Skipped,
                    why: why.clone(),
                    counts: DrillCounts::default(),
                };
                let drill = ManagedDrill {
                    scheduled_ms: Some(*scheduled_ms),
                    at_ms: write.at_ms,
                    ended: Some(ended),
                    ..ManagedDrill::default()
                };
                self.drills.insert(region.clone(), drill);
            }
        }
        Ok(())
    }

    /// A shift that was a drill is none any more.
    pub(super) fn drill_ended(&mut self, region: &RegionName, end: DrillEnd) {
        if let Some(drill) = self.drills.get_mut(region).filter(|drill| drill.ended.is_none()) {
            drill.ended = Some(end);
        }
    }
}
