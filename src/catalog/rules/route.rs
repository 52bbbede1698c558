//! `[[route]]`.

use crate::document::{OneOrMore, Origin, Section, Words, YesNo, name, parsed, quoted, whole};
use crate::model::limits::ROUTE_VALUES_MAX;
use crate::model::{Action, Conditions, HostPattern, ListenerName, Method, PathPattern, PoolName, Route, RouteName};

const HOST: Words<HostPattern> =
    Words::of("host names or addresses without a port, \"shop.example\", \"*.example.com\"", parsed, quoted);

const PATH: Words<PathPattern> =
    Words::of("paths that begin with /, perhaps with * at the end: \"/health\", \"/api/*\"", parsed, quoted);

const METHOD: Words<Method> = Words::of(
    "methods in capitals, \"GET\"",
    |text| {
        parsed::<Method>(text).map_err(|wrong| {
            let upper = text.to_ascii_uppercase();
            if upper.parse::<Method>().is_ok() { wrong.hint(format!("write \"{upper}\"")) } else { wrong }
        })
    },
    quoted,
);

/// What was read of one route; what is `None` was wrong and is reported.
pub(crate) struct RouteRead {
    pub name: Option<(RouteName, Origin)>,
    pub pool: Option<(PoolName, Origin)>,
    /// As faults name it.
    pub place: String,
    pub route: Option<Route>,
}

pub(super) fn routes(s: &mut Section<'_, '_, '_>) -> Vec<RouteRead> {
    s.list(
        "route",
        "What a request must be like, and where it then goes. Kept in the catalog; this version routes by listener alone.",
        route,
    )
}

fn route(s: &mut Section<'_, '_, '_>) -> RouteRead {
    let name: Option<RouteName> = s.required("name", &name(), "Its name, unique in the catalog.");
    if let Some(name) = &name {
        s.called("route", name, "");
    }
    let priority =
        s.key("priority", &whole(0, u16::MAX.into()), Route::PRIORITY_DEFAULT, "Lower ones are looked at first.");
    let enabled = s.key("enabled", &YesNo, true, "One that is switched off is passed over.");
    let when = s.table(
        "when",
        "What a request must be like: each key that is set must fit. Left out: it fits every request.",
        conditions,
    );
    let pool = s.table("then", "Where it goes.", |s| {
        let pool: Option<PoolName> = s.required("pool", &crate::document::name(), "The pool.");
        s.later(&["rate_limit"]);
        pool.map(|pool| (pool, s.origin_of("pool")))
    });
    let origin = s.origin_of("name");
    let then = pool.as_ref().map(|(pool, _)| Action { pool: pool.clone() });
    let route = match (&name, then) {
        (Some(name), Some(then)) => Some(Route { name: name.clone(), priority, enabled, when, then }),
        _ => None,
    };
    RouteRead { name: name.map(|name| (name, origin)), pool, place: s.name().to_owned(), route }
}

fn conditions(s: &mut Section<'_, '_, '_>) -> Conditions {
    const ANY: &str = "any";
    fn one_or_more<F>(form: F) -> OneOrMore<F> {
        OneOrMore(form, ROUTE_VALUES_MAX)
    }
    let listeners = s.optional("listener", &one_or_more(name::<ListenerName>()), ANY, "Where it came in.");
    let hosts = s.optional("host", &one_or_more(HOST), ANY, "The host that it names.");
    let paths = s.optional("path", &one_or_more(PATH), ANY, "Its path; a `*` at the end stands for whatever follows.");
    let methods = s.optional("method", &one_or_more(METHOD), ANY, "Its method.");
    Conditions {
        listeners: listeners.unwrap_or_default(),
        hosts: hosts.unwrap_or_default(),
        paths: paths.unwrap_or_default(),
        methods: methods.unwrap_or_default(),
    }
}
