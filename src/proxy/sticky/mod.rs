//! Sessions that stay at their node: the signed cookie that names it, and what of a request else says where it is.

mod cookie;
mod keys;
mod request;

pub use keys::{CookieKeys, CookieKeysCell};
pub(crate) use request::{Held, hash_of, set_cookie, stick_of};
