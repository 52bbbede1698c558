//! `[[route]]`.

mod limits;
mod subrequest;
mod then;
mod when;

use crate::document::{Origin, Section, YesNo, name, whole};
use crate::model::{NodeId, PoolName, Route, RouteName};

pub(crate) use then::{CONTENT_TYPE, SECURITY_HEADERS};

use then::ActionRead;

/// What was read of one route; what is `None` was wrong and is reported.
pub(crate) struct RouteRead {
    pub name: Option<(RouteName, Origin)>,
    /// The pools that it names, each with the key that names it.
    pub pools: Vec<(&'static str, PoolName, Origin)>,
    /// The node that it names.
    pub node: Option<(NodeId, Origin)>,
    /// As faults name it.
    pub place: String,
    pub route: Option<Route>,
}

pub(super) fn routes(s: &mut Section<'_, '_, '_>) -> Vec<RouteRead> {
    s.long_list(
        "route",
        "What a request must be like, and what then becomes of it. The first that fits and that says where its way ends counts; \
         those before it that say no end add what they say. A request that none ends goes to the pool of its listener.",
        route,
    )
}

fn route(s: &mut Section<'_, '_, '_>) -> RouteRead {
    let name: Option<RouteName> = s.required("name", &name(), "Its name, unique in the catalog.");
    if let Some(name) = &name {
        s.called("route", name, "");
    }
    let priority = s.key(
        "priority",
        &whole(0, u16::MAX.into()),
        Route::PRIORITY_DEFAULT,
        "Lower ones are looked at first; of equal ones the one that is written first.",
    );
    let enabled = s.key("enabled", &YesNo, true, "One that is switched off is passed over.");
    let when = s.table(
        "when",
        "What a request must be like: each key that is set must fit, and of a list one. Left out: it fits every HTTP request. \
         One that names a TCP listener, and asks nothing that only HTTP has, decides about connections there.",
        |s| when::conditions(s, 0),
    );
    let ActionRead { pools, node, action } = s.table("then", "What becomes of it.", then::action);
    let origin = s.origin_of("name");
    let route = match (&name, action) {
        (Some(name), Some(then)) => Some(Route { name: name.clone(), priority, enabled, when, then }),
        _ => None,
    };
    RouteRead { name: name.map(|name| (name, origin)), pools, node, place: s.name().to_owned(), route }
}
