//! The cluster's desired state as a document.

pub mod rules;
