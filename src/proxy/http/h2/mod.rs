//! HTTP/2 from clients (RFC 9113). The codec is the crate h2; each stream of a connection is one exchange, by the same engine as
//! a request of HTTP/1.1.
//!
//! A stream shows the engine what a connection of HTTP/1.1 would show it behind a head: a body that was announced as it is,
//! another one in chunks, with trailers behind the last. And what the engine writes is read as HTTP/1.1 and becomes frames. So
//! there is one engine with one picture of an exchange, its rules of framing hold for both, and an answer that is not whole
//! cannot end like one that is.

mod answer;
mod connection;
mod floods;
mod head;
mod stream;
mod upload;
mod websocket;
mod wire;

pub(crate) use connection::{PREFACE_HEAD, serve};
pub(crate) use stream::ClientStream;
