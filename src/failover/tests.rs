//! The machine against a catalog that is the real one, and executors and nodes that are made up, in virtual time.

mod drills;
mod moves;
mod scaling;
mod shifts;
mod takeover;
mod world;
