//! The data plane: one thread a core, its own runtime, its own listeners and connections to nodes. It reads the view and
//! waits for nobody.

mod counts;
mod settings;

pub use counts::{Counts, ListenerCounts};
pub use settings::{Cidr, CidrError, Http, Idle, Listener, Protocol, Settings, Tcp};
