//! HTTP: one picture of an exchange (heads, bodies, trailers, upgrade) and codecs behind it.

pub(crate) mod answer;
pub(crate) mod checked;
pub(crate) mod compress;
pub(crate) mod exchange;
pub(crate) mod fields;
pub(crate) mod files;
pub(crate) mod forward;
pub(crate) mod h1;
pub(crate) mod h2;
pub(crate) mod limited;
pub(crate) mod mirror;
pub(crate) mod origin;
pub(crate) mod pages;
pub(crate) mod picture;
pub(crate) mod reply;
pub(crate) mod retry;
pub(crate) mod routed;
pub(crate) mod send;
pub(crate) mod session;
pub(crate) mod subrequest;
pub(crate) mod told;
pub(crate) mod wellness;
