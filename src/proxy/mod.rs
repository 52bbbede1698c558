//! The data plane: one thread a core, its own runtime, its own listeners and connections to nodes. It reads the view and
//! waits for nobody.

pub mod access_log;
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
pub mod limits;
mod listen;
mod mqtt;
mod pick;
mod presence;
mod pump;
mod relay;
mod settings;
mod sticky;
mod stream;
mod tcp;
mod tls_stream;
mod way;
mod worker;

pub use actor::WorkerActor;
pub use counts::{FailureCounts, ListenerCounts};
pub use http::compress::{Algorithm, Compression, MediaPattern};
pub use http::files::Folder;
pub use http::pages::{ErrorPage, ErrorPages};
pub use listen::{BindError, BindErrors, Bound, Listeners, bind, retire};
pub use settings::{Http, Idle, Listener, Protocol, Settings, Tcp, Tls};
pub use sticky::{CookieKeys, CookieKeysCell};
pub use worker::{Phase, Shared};
