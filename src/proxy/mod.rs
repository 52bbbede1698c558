//! The data plane: one thread a core, its own runtime, its own listeners and connections to nodes. It reads the view and
//! waits for nobody.

mod actor;
mod alarm;
mod buffer;
mod complaint;
mod connect;
mod counts;
mod drains;
pub mod explain;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handshake;
mod http;
mod idle;
mod listen;
mod pick;
mod presence;
mod pump;
mod relay;
mod settings;
mod stream;
mod tcp;
mod tls_stream;
mod way;
mod worker;

pub use actor::WorkerActor;
pub use counts::{FailureCounts, ListenerCounts};
pub use listen::{BindError, Bound, Listeners, bind, retire};
pub use settings::{Http, Idle, Listener, Protocol, Settings, Tcp, Tls};
pub use worker::{Phase, Shared};
