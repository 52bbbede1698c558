//! Routes, as users wrote them: what a request must be like, and what then becomes of it.

mod action;
mod condition;
mod limit;
mod pattern;
mod subrequest;
mod template;

pub use action::{
    Action, End, Fallback, FieldChanges, FieldValue, Files, FixedAnswer, Forward, Redirect, RegionChoice, Rewrite,
    Target,
};
pub use condition::{Conditions, Named, Percent, Scheme, Share, ShareOf};
pub use limit::{ConnectionLimit, Ipv6Prefix, LIMITED_STATUS_DEFAULT, LimitError, Per, Period, Rate, RateLimit};
pub use pattern::{FieldName, HostPattern, Method, PathPattern, PatternError, TextPattern};
pub use subrequest::{ExternalCheck, Mirror};
pub use template::{Piece, Template, TemplateError, Variable};

use super::id::RouteName;

/// What a request must be like, and what then becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Unique in the catalog.
    pub name: RouteName,
    /// Lower ones are looked at first; of equal ones the one that is written first.
    pub priority: u16,
    /// One that is switched off is passed over.
    pub enabled: bool,
    /// What a request must be like.
    pub when: Conditions,
    /// What becomes of it.
    pub then: Action,
}

impl Route {
    /// `priority` of a route that sets none.
    pub const PRIORITY_DEFAULT: u16 = 100;
}
