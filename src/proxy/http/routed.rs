//! What routes say of the request at hand: found once, before a node is picked, and asked again as heads are written.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;

use super::fields::alike;
use super::origin::Origin;
use super::picture::RequestHead;
use super::session::Session;
use crate::geo::GeoCell;
use crate::host::{self, Dice};
use crate::limit::Held;
use crate::model::{Action, FieldChanges, FieldValue, ListenerName, RegionName, Scheme, SecurityHeaders};
use crate::proxy::listen::Bound;
use crate::proxy::settings::Http;
use crate::route::{Decision, Facts, Head, path, render};
use crate::view::{Regions, View};

/// What routes say of a request. Where there are none it says nothing and cost nothing.
#[derive(Debug)]
pub(crate) struct Routed {
    /// The routes that have a say.
    pub(crate) decision: Decision,
    /// For whom the request is.
    pub(crate) client: IpAddr,
    /// Path and query for the node, where they are not the client's.
    target: Option<Vec<u8>>,
    edits_request: bool,
    edits_answer: bool,
    /// Whether somebody is to be asked about it.
    pub(crate) is_checked: bool,
    /// Whether somebody gets a copy of it.
    pub(crate) is_mirrored: bool,
    /// The fields by which the client is told where its session is.
    pub(crate) cookie: Option<Vec<u8>>,
    /// Where the client is, once somebody asked; `None`: nobody says.
    region: OnceCell<Option<RegionName>>,
    /// Counts it in with limits, as long as it is under way.
    pub(crate) held: Vec<Held>,
}

impl Default for Routed {
    fn default() -> Self {
        Self::of_no_route(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}

impl Routed {
    fn of_no_route(client: IpAddr) -> Self {
        Self {
            decision: Decision::default(),
            client,
            target: None,
            edits_request: false,
            edits_answer: false,
            is_checked: false,
            is_mirrored: false,
            cookie: None,
            region: OnceCell::new(),
            held: Vec::new(),
        }
    }

    /// Asks the routes about the request that `session` has read.
    pub(crate) fn of(session: &Session<'_>, client: IpAddr) -> Self {
        let Session { worker, bound, settings, origin, request, .. } = session;
        worker.with_view(|view| {
            let of = (*settings, *origin, &worker.shared.geo);
            Self::find(view, bound, of, request, client, &mut worker.dice.borrow_mut())
        })
    }

    /// Asks the routes of a picture about a request.
    pub(crate) fn find(
        view: &View,
        bound: &Bound,
        (settings, origin, geo): (&Http, Origin, &GeoCell),
        request: &RequestHead,
        client: IpAddr,
        dice: &mut Dice,
    ) -> Self {
        if view.routes().is_empty() {
            return Self::of_no_route(client);
        }
        let place = Place { regions: view.regions(), settings, is_trusted: origin.trusted, geo };
        let asked = Asked { place: Some(place), ..Asked::of(bound, request, client) };
        let decision = view.routes().find(&asked, dice).decision();
        let any = |is: fn(&Action) -> bool| decision.routes().any(|route| is(&route.then));
        let (edits_request, edits_answer) =
            (any(|then| !then.request_fields.is_empty()), any(|then| !then.answer_fields.is_empty()));
        let (is_checked, is_mirrored) = (any(|then| then.check.is_some()), any(|then| then.mirror.is_some()));
        let judged = judged(&request.target);
        let rewritten = match any(|then| then.rewrite.is_some()) {
            true => rewritten(&decision, &judged),
            false => None,
        };
        let target = rewritten.or(match judged {
            Cow::Borrowed(_) => None,
            Cow::Owned(target) => Some(target),
        });
        Self {
            decision,
            client,
            target,
            edits_request,
            edits_answer,
            is_checked,
            is_mirrored,
            cookie: None,
            region: asked.region,
            held: Vec::new(),
        }
    }

    /// Where the client of the request is; `None`: nobody says, so it counts as being where this peer is.
    pub(crate) fn region(
        &self,
        view: &View,
        (settings, origin, geo): (&Http, Origin, &GeoCell),
        request: &RequestHead,
    ) -> Option<&RegionName> {
        let place = Place { regions: view.regions(), settings, is_trusted: origin.trusted, geo };
        self.region.get_or_init(|| place.of_client(request, self.client)).as_ref()
    }

    /// Path and query as the node gets them.
    pub(crate) fn target<'a>(&'a self, request: &'a RequestHead) -> &'a [u8] {
        self.target.as_deref().unwrap_or(&request.target)
    }

    /// What becomes of the fields that a node gets; `None`: nothing.
    pub(crate) fn of_request<'a>(&'a self, bound: &'a Bound, request: &'a RequestHead) -> Option<Edits<'a>> {
        let asked = || Asked::of(bound, request, self.client);
        self.edits_request.then(|| Edits {
            decision: &self.decision,
            of: |then| &then.request_fields,
            asked: asked(),
            cookie: &[],
            more: NO_MORE,
        })
    }

    /// The security headers that an answer gets.
    pub(crate) fn security_headers(&self, settings: &Http) -> SecurityHeaders {
        let said = self.decision.routes().filter_map(|route| route.then.security_headers).last();
        said.unwrap_or(settings.security_headers)
    }

    /// [`Self::of_answer`] for an answer of this peer's own, which has none of the security headers yet.
    pub(crate) fn of_own_answer<'a>(
        &'a self,
        bound: &'a Bound,
        request: &'a RequestHead,
        (settings, origin): (&Http, Origin),
    ) -> Option<Edits<'a>> {
        let more = self.security_headers(settings);
        if more == SecurityHeaders::Off {
            return self.of_answer(bound, request);
        }
        let asked = Asked::of(bound, request, self.client);
        Some(Edits {
            decision: &self.decision,
            of: |then| &then.answer_fields,
            asked,
            cookie: self.cookie.as_deref().unwrap_or_default(),
            more: (more, origin.over_tls),
        })
    }

    /// What becomes of the fields that the client gets; `None`: nothing.
    pub(crate) fn of_answer<'a>(&'a self, bound: &'a Bound, request: &'a RequestHead) -> Option<Edits<'a>> {
        let asked = || Asked::of(bound, request, self.client);
        (self.edits_answer || self.cookie.is_some()).then(|| Edits {
            decision: &self.decision,
            of: |then| &then.answer_fields,
            asked: asked(),
            cookie: self.cookie.as_deref().unwrap_or_default(),
            more: NO_MORE,
        })
    }
}

/// The target as routes judge it. That is what is sent, unless a route rewrites it, and what others are asked about: they may read a path
/// that climbs in another way.
pub(super) fn judged(target: &[u8]) -> Cow<'_, [u8]> {
    if path::has_dots(path::of(target)) { Cow::Owned(resolved(target)) } else { Cow::Borrowed(target) }
}

/// The target with its path in plain form.
fn resolved(target: &[u8]) -> Vec<u8> {
    let (path, query) = target.split_at(path::of(target).len());
    let mut out = Vec::with_capacity(target.len());
    path::encode(&path::plain(path), &mut out);
    out.extend_from_slice(query);
    out
}

/// The target with the beginnings of its path changed as routes say, one after the other; `None`: it stays.
fn rewritten(decision: &Decision, target: &[u8]) -> Option<Vec<u8>> {
    let mut now: Cow<'_, [u8]> = Cow::Borrowed(target);
    for rewrite in decision.routes().filter_map(|route| route.then.rewrite.as_ref()) {
        let (path, query) = now.split_at(path::of(&now).len());
        // Two slashes would be an empty segment that nobody asked for, and at the beginning of a path some take what follows for a host.
        let changed = |rest: &[u8]| {
            let slashes =
                if rewrite.to.ends_with('/') { rest.iter().take_while(|&&byte| byte == b'/').count() } else { 0 };
            [rewrite.to.as_bytes(), &rest[slashes..], query].concat()
        };
        let next = match path.strip_prefix(rewrite.prefix.as_bytes()) {
            Some(rest) => changed(rest),
            // However it is written: it was the plain form that the route fitted.
            None => {
                let plain = path::plain(path);
                let Some(rest) = plain.strip_prefix(path::plain(rewrite.prefix.as_bytes()).as_ref()) else { continue };
                let mut encoded = Vec::with_capacity(rest.len());
                path::encode(rest, &mut encoded);
                changed(&encoded)
            }
        };
        now = Cow::Owned(next);
    }
    match now {
        Cow::Borrowed(_) => None,
        Cow::Owned(target) => Some(target),
    }
}

/// A request as routes see it.
pub(crate) struct Asked<'a> {
    bound: &'a Bound,
    request: &'a RequestHead,
    client: IpAddr,
    path: Cow<'a, [u8]>,
    /// Where to look for the region, while routes are asked.
    place: Option<Place<'a>>,
    region: OnceCell<Option<RegionName>>,
}

/// What says where clients are.
#[derive(Clone, Copy)]
struct Place<'a> {
    regions: &'a Regions,
    settings: &'a Http,
    is_trusted: bool,
    geo: &'a GeoCell,
}

impl Place<'_> {
    /// Where a client is: where the catalog or the GeoIP file says its address is, or a listed proxy says it is.
    fn of_client(&self, request: &RequestHead, client: IpAddr) -> Option<RegionName> {
        let told = || {
            let name = self.settings.region_header.as_ref().filter(|_| self.is_trusted)?;
            let value = request.fields.value_of(name.as_str().as_bytes())?;
            std::str::from_utf8(value).ok()?.trim().to_ascii_lowercase().parse().ok()
        };
        let listed = of_address(self.regions, self.geo, client).cloned();
        listed.or_else(told)
    }
}

/// Where an address is, as the catalog says or, by the country, the GeoIP file of this peer.
pub(crate) fn of_address<'r>(regions: &'r Regions, geo: &GeoCell, client: IpAddr) -> Option<&'r RegionName> {
    regions.of_client(client).or_else(|| {
        let place = if regions.ask_whereabouts() { geo.whereabouts(client) } else { None };
        regions.of_whereabouts(place?)
    })
}

impl<'a> Asked<'a> {
    pub(crate) fn of(bound: &'a Bound, request: &'a RequestHead, client: IpAddr) -> Self {
        Self {
            bound,
            request,
            client,
            path: path::plain(path::of(&request.target)),
            place: None,
            region: OnceCell::new(),
        }
    }
}

impl Facts for Asked<'_> {
    fn listener(&self) -> &ListenerName {
        &self.bound.listener.name
    }

    fn scheme(&self) -> Scheme {
        self.bound.listener.scheme()
    }

    fn client(&self) -> IpAddr {
        self.client
    }

    fn region(&self) -> Option<&RegionName> {
        let place = self.place?;
        let told = self.region.get_or_init(|| place.of_client(self.request, self.client));
        Some(told.as_ref().unwrap_or(place.regions.own()))
    }

    fn now(&self) -> Timestamp {
        host::wall_timestamp()
    }

    fn head(&self) -> Option<Head<'_>> {
        let RequestHead { method, authority, target, .. } = self.request;
        Some(Head { method: method.as_bytes(), authority, target, path: &self.path })
    }

    fn has_field(&self, name: &str, is_it: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let fields = self.request.fields.iter();
        // Programs that get fields as variables (CGI, WSGI) read `x_tier` as `x-tier`: a condition must not be passed by so.
        fields.filter(|field| alike(field.name, name.as_bytes())).any(|field| is_it(field.value))
    }
}

/// What routes do to the fields of a head, one after the other: what a later one removes or sets an earlier one did not set.
pub(crate) struct Edits<'a> {
    decision: &'a Decision,
    of: fn(&Action) -> &FieldChanges,
    asked: Asked<'a>,
    /// Whole fields that come beside these, whatever routes say.
    cookie: &'a [u8],
    /// Security headers that come too, unless a route says something of them; and whether the client came over TLS.
    more: (SecurityHeaders, bool),
}

const NO_MORE: (SecurityHeaders, bool) = (SecurityHeaders::Off, false);

impl Edits<'_> {
    /// Whether a field of this name goes.
    pub(crate) fn drops(&self, name: &[u8]) -> bool {
        self.decision.routes().any(|route| takes_away((self.of)(&route.then), name))
    }

    /// Writes the fields that come.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.cookie);
        let (more, over_tls) = self.more;
        for (name, value) in more.fields(over_tls).filter(|(name, _)| !self.drops(name.as_bytes())) {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        for route in self.decision.routes() {
            let changes = (self.of)(&route.then);
            let stays = |field: &&FieldValue| {
                let mut later = self.decision.routes().skip_while(|other| other.name != route.name).skip(1);
                !later.any(|other| takes_away((self.of)(&other.then), field.name.as_bytes()))
            };
            for FieldValue { name, value } in changes.set.iter().chain(&changes.add).filter(stays) {
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b": ");
                render(value, &self.asked, &route.name, out);
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}

fn takes_away(changes: &FieldChanges, name: &[u8]) -> bool {
    changes.remove.iter().any(|gone| alike(gone.as_str().as_bytes(), name))
        || changes.set.iter().any(|set| alike(set.name.as_bytes(), name))
}
