//! How a plan is carried out: drivers, which do it, and the executor, which lets nobody do it twice or in an old leader's name.
//!
//! A driver knows neither leaders nor peers. It is told one [`Effect`] at a time of a node, in the order of a plan, and does it; told the
//! same one again ([`Effect::again`]) it finds what it has done already. The executor stands before it: it remembers on disk by which term
//! and which intent a node was touched last, refuses whatever is older, and answers what was done with what came of it.

#[cfg(feature = "docker")]
mod docker;
mod effect;
mod exec;
mod executor;
mod fence;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod order;

#[cfg(feature = "docker")]
pub use docker::{Docker, DockerFault, DockerSettings, Engine, EngineError, Publish, Template, TemplateError};
pub use effect::{Action, Done, Driver, Effect, Failed, NodeAt, ServerAt, Usage};
pub use exec::{Exec, ExecSettings};
pub use executor::{Executor, Kind};
pub use order::{Answer, Described, DriverDescribed, Order};
