//! What would become of a request, found by the code that decides about real ones: its head is read, routed and given a node, and
//! then nothing is sent.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::sync::watch;

use super::http::files;
use super::http::h1::head;
use super::http::limited::only_value;
use super::http::origin::Origin;
use super::http::picture::RequestHead;
use super::http::reply::Reply;
use super::http::routed::{Asked, Routed};
use super::http::wellness;
use super::limits::{self, Standing};
use super::listen::{Bound, Listeners};
use super::settings::{Http, Protocol};
use super::sticky::{self, CookieKeysCell};
use super::tcp;
use super::way::{Course, Way};
use crate::geo::GeoCell;
use crate::host::{self, Dice};
use crate::limit::Limiter;
use crate::model::{FieldName, FolderName, ListenerName, NodeId, PoolName, RegionName, RouteName, Scheme};
use crate::route::{Entry, render};
use crate::view::{Ask, Unavailable, View, ViewCell};

/// What a person wants to know.
#[derive(Clone, Debug)]
pub struct Question {
    /// Where it comes in; `None`: at the first listener that takes it, of this scheme where there is one.
    pub listener: Option<ListenerName>,
    /// Of its URL.
    pub scheme: Option<Scheme>,
    /// Its head: start line, `Host` and fields, each line ended by CR LF, and an empty line. `None`: a connection that is not HTTP.
    pub head: Option<Vec<u8>>,
    /// Who sends it.
    pub from: IpAddr,
}

/// What would become of it.
#[derive(Debug)]
pub struct Answer {
    /// The picture by which it was decided.
    pub view: Arc<View>,
    /// Where it came in.
    pub listener: ListenerName,
    /// For whom it is: the sender, or whom a trusted proxy names.
    pub client: IpAddr,
    /// Where that client is.
    pub client_region: RegionName,
    /// The routes that have a say, in order.
    pub routes: Vec<Arc<Entry>>,
    /// How its client stands with the limits of these routes, in the order in which they are asked. Nothing was taken of them.
    pub limits: Vec<Standing>,
    /// Where its way ends, unless a limit refuses it.
    pub end: Ended,
}

/// Where the way of a request ends.
#[derive(Debug)]
pub enum Ended {
    /// The listener refuses its head: the status, and why.
    Malformed(u16, &'static str),
    /// The client is told to go elsewhere: the status, and where.
    Redirect(u16, String),
    /// The peer answers with this status.
    Answer(u16),
    /// The peer says how it is, by `health_path` of the listener.
    Health,
    /// The peer refuses it with this status.
    Refuse(u16),
    /// The peer resets the connection, which is not HTTP.
    Reset,
    /// The peer answers with a file of this folder, or that there is none.
    File(FolderName),
    /// A node of this pool gets it.
    Forward {
        /// The pool.
        pool: PoolName,
        /// The path and query that the node gets; `None`: it is not HTTP.
        target: Option<String>,
        /// Who was picked this time, or why nobody.
        pick: Result<NodeId, Unavailable>,
        /// The regions that were looked at one after the other; empty where regions make no difference.
        regions: Vec<RegionName>,
        /// The node where its session is at home; `None`: nowhere.
        home: Option<NodeId>,
        /// The pool that gets it if that fails.
        fallback: Option<PoolName>,
    },
}

/// Why a question has no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoAnswer {
    /// There is none of that name.
    #[error("there is no listener {0}")]
    NoListener(ListenerName),
    /// This one speaks something else.
    #[error("listener {0} takes {1}")]
    OtherProtocol(ListenerName, &'static str),
    /// None takes it.
    #[error("no listener of this peer takes {0}")]
    NoneTakes(&'static str),
}

/// Answers questions about the listeners of a peer.
#[derive(Clone, Debug)]
pub struct Explainer {
    listeners: watch::Receiver<Listeners>,
    view: ViewCell,
    beside: Beside,
}

/// What decides beside the picture.
#[derive(Clone, Debug)]
pub(crate) struct Beside {
    pub(crate) cookie_keys: CookieKeysCell,
    pub(crate) geo: GeoCell,
    pub(crate) limiter: Arc<Limiter>,
}

impl Explainer {
    pub(crate) fn new(listeners: watch::Receiver<Listeners>, view: ViewCell, beside: Beside) -> Self {
        Self { listeners, view, beside }
    }

    /// What would become of this request now. A pick is one of many that could be: it goes by chance and turns as real ones do.
    pub fn explain(&self, question: &Question, dice: &mut Dice) -> Result<Answer, NoAnswer> {
        let bound = &self.listener(question)?;
        let view = self.view.load();
        match (&bound.listener.protocol, &question.head) {
            (Protocol::Http(settings), Some(head)) => {
                Ok(explain_http((bound, settings), view, &self.beside, head, question.from, dice))
            }
            _ => Ok(explain_tcp(bound, view, &self.beside, question.from, dice)),
        }
    }

    fn listener(&self, question: &Question) -> Result<Arc<Bound>, NoAnswer> {
        let listeners = self.listeners.borrow();
        let wanted = if question.head.is_some() { "http" } else { "tcp" };
        let speaks = |bound: &Bound| match bound.listener.protocol {
            Protocol::Http(_) => "http",
            Protocol::Tcp(_) => "tcp",
        };
        let Some(name) = &question.listener else {
            let takes = || listeners.iter().filter(|bound| speaks(bound) == wanted);
            let of_scheme = takes().find(|bound| Some(bound.listener.scheme()) == question.scheme);
            return of_scheme.or_else(|| takes().next()).map(Arc::clone).ok_or(NoAnswer::NoneTakes(wanted));
        };
        let found = listeners.iter().find(|bound| bound.listener.name == *name).map(Arc::clone);
        let found = found.ok_or_else(|| NoAnswer::NoListener(name.clone()))?;
        let spoken = speaks(&found);
        if spoken == wanted { Ok(found) } else { Err(NoAnswer::OtherProtocol(name.clone(), spoken)) }
    }
}

fn explain_http(
    (bound, settings): (&Bound, &Http),
    view: Arc<View>,
    Beside { cookie_keys, geo, limiter }: &Beside,
    head: &[u8],
    from: IpAddr,
    dice: &mut Dice,
) -> Answer {
    let mut request = RequestHead::default();
    let origin = Origin::of(SocketAddr::new(from, 0), bound.listener.tls.is_some(), settings);
    let refused = head::request(head, bound.listener.tls.is_some(), &mut request).err();
    let client = origin.client_of(&request.fields, settings);
    let routed = Routed::find(&view, bound, (settings, origin, geo), &request, client, dice);
    let client_region = routed.region(&view, (settings, origin, geo), &request).cloned();
    let (end, routes, limits) = match refused {
        Some(refusal) => (Ended::Malformed(refusal.status, refusal.reason), Vec::new(), Vec::new()),
        // As for the peer itself, not for a node.
        None if request.max_forwards == Some(0) => (Ended::Answer(Reply::OPTIONS.status), Vec::new(), Vec::new()),
        // How well this peer is, which the health of the pool says below.
        None if wellness::is_asked(settings, &request) => (Ended::Health, Vec::new(), Vec::new()),
        None => {
            let routes = routed.decision.before.iter().chain(&routed.decision.end).map(Arc::clone).collect();
            let end = routed.decision.end.as_ref().and_then(|entry| entry.route.then.end.as_ref());
            let ended = match Course::of(end, &bound.listener.pool, &view) {
                Some(Course::Forward(way)) => {
                    let ask = view.pool(&way.pool).map_or(Ask::of(client, host::now()), |pool| {
                        let (keys, now_s) = (cookie_keys.load(), host::wall_now_ms() / 1_000);
                        let (stick, _) = sticky::stick_of((&request, client), (pool, way.regions), &view, &keys, now_s);
                        Ask { hash: sticky::hash_of(&request, &pool.pool), stick, ..Ask::of(client, host::now()) }
                    });
                    let target = String::from_utf8_lossy(routed.target(&request)).into_owned();
                    forward(&view, &way, ask, client_region.as_ref(), Some(target), dice)
                }
                Some(Course::Redirect(redirect)) if !redirect.leads(&request.authority) => {
                    Ended::Refuse(Reply::NO_HOST.status)
                }
                Some(Course::Redirect(redirect)) => {
                    let mut to = Vec::new();
                    if let Some(entry) = &routed.decision.end {
                        render(&redirect.to, &Asked::of(bound, &request, client), &entry.route.name, &mut to);
                    }
                    Ended::Redirect(redirect.status, String::from_utf8_lossy(&to).into_owned())
                }
                Some(Course::Answer(answer)) => Ended::Answer(answer.status),
                // Which file it is only the disk knows.
                Some(Course::Files(files)) if files::can_be_had_by(&request.method) => {
                    Ended::File(files.folder.clone())
                }
                Some(Course::Files(_)) => Ended::Answer(405),
                Some(Course::Refuse(status)) => Ended::Refuse(status),
                None => Ended::Refuse(503),
            };
            let field = |name: &FieldName| only_value(&request.fields, name);
            (ended, routes, limits::look(limiter, &routed.decision, client, field, host::now()))
        }
    };
    let client_region = client_region.unwrap_or_else(|| view.regions().own().clone());
    Answer { listener: bound.listener.name.clone(), client, client_region, routes, limits, end, view }
}

fn explain_tcp(
    bound: &Bound,
    view: Arc<View>,
    Beside { geo, limiter, .. }: &Beside,
    from: IpAddr,
    dice: &mut Dice,
) -> Answer {
    let client = from.to_canonical();
    let client_region = tcp::region_of(&view, geo, client);
    // Who it says it is by MQTT nobody knows here.
    let asking = tcp::Asking { client, client_id: None };
    let decision = tcp::decide(&view, bound, (client, geo), dice);
    let end = decision.end.as_ref().and_then(|entry| entry.route.then.end.as_ref());
    let ended = match Course::of(end, &bound.listener.pool, &view) {
        Some(Course::Forward(way)) => {
            forward(&view, &way, asking.of(&way.pool, &view), client_region.as_ref(), None, dice)
        }
        Some(Course::Redirect(_) | Course::Answer(_) | Course::Files(_) | Course::Refuse(_)) | None => Ended::Reset,
    };
    let routes = decision.before.iter().chain(&decision.end).map(Arc::clone).collect();
    let limits = limits::look(limiter, &decision, client, |_| None, host::now());
    let client_region = client_region.unwrap_or_else(|| view.regions().own().clone());
    Answer { listener: bound.listener.name.clone(), client, client_region, routes, limits, end: ended, view }
}

fn forward(
    view: &View,
    way: &Way<'_>,
    ask: Ask,
    region: Option<&RegionName>,
    target: Option<String>,
    dice: &mut Dice,
) -> Ended {
    let wanted = way.wanted(ask, region);
    let pick = view.rehearse(&wanted, dice);
    Ended::Forward {
        pool: way.pool.clone().into_owned(),
        target,
        pick,
        home: view.home_of_session(&wanted).cloned(),
        regions: view.region_order(&wanted).into_iter().cloned().collect(),
        fallback: way.fallback.map(|fallback| fallback.pool.clone()),
    }
}

impl Answer {
    /// The name of the route that says where the way ends; `None`: the listener does.
    pub fn ending_route(&self) -> Option<&RouteName> {
        self.routes.last().map(|entry| &entry.route).filter(|route| route.then.end.is_some()).map(|route| &route.name)
    }
}
