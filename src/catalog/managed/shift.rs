//! Regions from which traffic is held away, and how far it has come back.

use serde::{Deserialize, Serialize};

use super::super::json::Object;
use super::super::write::{Write, WriteRefused};
use super::{DrillEnd, Managed};
use crate::model::{Catalog, DrillCounts, DrillOutcome, RegionName, Shift, ShiftKind, Stays};

/// A region's shift.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ManagedShift {
    /// Why there is one.
    pub kind: ShiftKind,
    /// The revision that it began with, by which it is told from others.
    pub begun: u64,
    /// Where the traffic goes first.
    #[serde(default)]
    pub to: Option<RegionName>,
    /// What stays, in percent.
    #[serde(default)]
    pub stays_percent: u8,
    /// Whether it comes back step by step.
    #[serde(default)]
    pub is_returning: bool,
    /// How often it was taken back while it returned.
    #[serde(default)]
    pub taken_back: u32,
    /// When it began, in milliseconds since 1970, as the clock of the peer that was told had it.
    pub at_ms: u64,
    /// When what stays became this much.
    pub step_ms: u64,
    /// When it ends by itself; `None`: when the region has been well.
    #[serde(default)]
    pub until_ms: Option<u64>,
    /// Who asked for it; empty: the cluster by itself.
    #[serde(default)]
    pub by: String,
    /// Why, in words.
    #[serde(default)]
    pub why: String,
    /// What this version does not know.
    #[serde(flatten)]
    pub other: Object,
}

/// What is written of shifts.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shifting {
    /// A region's traffic is held away. One that is shifted already is from now on as this says.
    Begin {
        /// Which.
        region: RegionName,
        /// Why there is a shift.
        kind: ShiftKind,
        /// Where the traffic goes first.
        #[serde(default)]
        to: Option<RegionName>,
        /// What stays, in percent.
        #[serde(default)]
        stays_percent: u8,
        /// How long, in milliseconds; `None`: until the region has been well.
        #[serde(default)]
        duration_ms: Option<u64>,
        /// Why, in words.
        #[serde(default)]
        why: String,
    },
    /// More of it stays, or less again: of the shift that began with that revision.
    Turn {
        /// Which.
        region: RegionName,
        /// The revision that the shift began with.
        begun: u64,
        /// What stays, in percent.
        stays_percent: u8,
        /// Whether it comes back.
        is_returning: bool,
        /// Why, in words.
        #[serde(default)]
        why: Option<String>,
    },
    /// It is over.
    End {
        /// Which.
        region: RegionName,
        /// The revision that the shift began with; `None`: whichever there is.
        #[serde(default)]
        begun: Option<u64>,
    },
}

/// A drill that ends before its time.
fn stopped(write: &Write, why: &str) -> DrillEnd {
    DrillEnd { at_ms: write.at_ms, outcome: DrillOutcome::Stopped, why: why.to_owned(), counts: DrillCounts::default() }
}

impl Shifting {
    /// Of which region.
    pub fn region(&self) -> &RegionName {
        match self {
            Self::Begin { region, .. } | Self::Turn { region, .. } | Self::End { region, .. } => region,
        }
    }

    /// In a few words.
    pub fn summary(&self) -> String {
        match self {
            Self::Begin { region, to: Some(to), .. } => format!("shift region \"{region}\" to \"{to}\""),
            Self::Begin { region, to: None, .. } => format!("shift region \"{region}\""),
            Self::Turn { region, stays_percent, .. } => format!("shift of region \"{region}\": {stays_percent} % stay"),
            Self::End { region, .. } => format!("restore region \"{region}\""),
        }
    }
}

impl Managed {
    pub(in super::super) fn shift(
        &mut self,
        shifting: &Shifting,
        revision: u64,
        write: &Write,
        catalog: &Catalog,
    ) -> Result<(), WriteRefused> {
        let not_found = |message: String| Err(WriteRefused::NotFound { message });
        match shifting {
            Shifting::Begin { region, kind, to, stays_percent, duration_ms, why } => {
                can_be_shifted(region, to.as_ref(), catalog)?;
                if let Some(known) = self.shifts.get(region).filter(|_| *kind == ShiftKind::Lost) {
                    let message = format!("region \"{region}\" is shifted already ({})", known.kind.name());
                    return Err(WriteRefused::Conflict { message });
                }
                let stays = Stays::new(*stays_percent).filter(|stays| *stays < Stays::ALL);
                let Some(stays) = stays else {
                    let message = format!("{stays_percent} percent cannot stay; 0 to 99 can");
                    return Err(WriteRefused::Conflict { message });
                };
                // Of a region that is lost nothing stays, whatever an operator lets stay.
                let lost = self.shifts.get(region).filter(|known| known.kind == ShiftKind::Lost);
                let stays = lost.map_or(stays, |lost| stays.min(Stays::new(lost.stays_percent).unwrap_or(stays)));
                let shift = ManagedShift {
                    kind: *kind,
                    begun: revision,
                    to: to.clone(),
                    stays_percent: stays.percent(),
                    is_returning: false,
                    taken_back: 0,
                    at_ms: write.at_ms,
                    step_ms: write.at_ms,
                    until_ms: duration_ms.map(|duration_ms| write.at_ms.saturating_add(duration_ms)),
                    by: write.by.as_str().to_owned(),
                    why: why.clone(),
                    other: Object::new(),
                };
                self.shifts.insert(region.clone(), shift);
                self.drill_ended(region, stopped(write, "traffic of the region is held away for another reason"));
            }
            Shifting::Turn { region, begun, stays_percent, is_returning, why } => {
                let Some(shift) = self.shifts.get_mut(region).filter(|shift| shift.begun == *begun) else {
                    return not_found(format!("region \"{region}\" is not shifted since revision {begun}"));
                };
                shift.taken_back += u32::from(shift.is_returning && !is_returning);
                (shift.stays_percent, shift.is_returning) = (*stays_percent, *is_returning);
                shift.step_ms = write.at_ms;
                if let Some(why) = why {
                    shift.why.clone_from(why);
                }
            }
            Shifting::End { region, begun } => {
                let is_it = |shift: &ManagedShift| begun.is_none_or(|begun| begun == shift.begun);
                if !self.shifts.get(region).is_some_and(is_it) {
                    return not_found(format!("region \"{region}\" is not shifted"));
                }
                self.shifts.remove(region);
                self.drill_ended(region, stopped(write, "an operator ended it"));
            }
        }
        Ok(())
    }

    pub(super) fn shifts_over(&self, catalog: &mut Catalog) {
        let shifts = self.shifts.iter().map(|(region, shift)| Shift {
            region: region.clone(),
            stays: Stays::new(shift.stays_percent).unwrap_or(Stays::ALL),
            to: shift.to.clone(),
        });
        catalog.set_shifts(shifts.collect());
    }
}

/// Whether there is such a region, and such a one to shift it to.
pub(super) fn can_be_shifted(
    region: &RegionName,
    to: Option<&RegionName>,
    catalog: &Catalog,
) -> Result<(), WriteRefused> {
    for named in std::iter::once(region).chain(to) {
        // A node of which nobody says where it is is wherever the peer is that leads.
        if !catalog.has_region(named) && catalog.nodes().all(|(_, node)| node.region.is_some()) {
            let message = format!("there is no region \"{named}\": neither a node nor a [[region]] names it");
            return Err(WriteRefused::NotFound { message });
        }
    }
    if to == Some(region) {
        let message = format!("traffic of region \"{region}\" cannot be shifted to itself");
        return Err(WriteRefused::Conflict { message });
    }
    Ok(())
}
