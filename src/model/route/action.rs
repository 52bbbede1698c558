//! What becomes of a request.

use std::sync::Arc;
use std::time::Duration;

use super::super::check::StatusRange;
use super::super::id::{FolderName, NodeId, PoolName, RegionName};
use super::super::security_headers::SecurityHeaders;
use super::limit::{ConnectionLimit, RateLimit};
use super::pattern::FieldName;
use super::subrequest::{ExternalCheck, Mirror};
use super::template::Template;

/// What becomes of a request. A route without an end adds what else it says, and routes behind it are looked at too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Action {
    /// Where its way ends.
    pub end: Option<End>,
    /// What becomes of the fields that a node gets.
    pub request_fields: FieldChanges,
    /// What becomes of the fields that the client gets.
    pub answer_fields: FieldChanges,
    /// What becomes of the path that a node gets.
    pub rewrite: Option<Rewrite>,
    /// How many may come in a time.
    pub rate_limit: Option<RateLimit>,
    /// How many there may be at the same time.
    pub connection_limit: Option<ConnectionLimit>,
    /// Who is asked before it goes on.
    pub check: Option<ExternalCheck>,
    /// Who gets a copy of it.
    pub mirror: Option<Mirror>,
    /// Whether the access log of the listener has it; `None`: another route says, or yes.
    pub access_log: Option<bool>,
    /// Whether answers are compressed where the listener does so; `None`: another route says, or yes.
    pub compression: Option<bool>,
    /// Which security headers its answer gets; `None`: another route or the listener says.
    pub security_headers: Option<SecurityHeaders>,
}

impl Action {
    /// Sends to this pool and does nothing else.
    pub fn to_pool(pool: PoolName) -> Self {
        let forward = Forward { to: Target::Pool(pool), regions: None, fallback: None };
        Self { end: Some(End::Forward(forward)), ..Self::default() }
    }

    /// The pools that it names: where its way goes, and who else gets something of it.
    pub fn pools(&self) -> impl Iterator<Item = &PoolName> {
        let forward = match &self.end {
            Some(End::Forward(forward)) => Some(forward),
            _ => None,
        };
        let pool = forward.and_then(|forward| match &forward.to {
            Target::Pool(pool) => Some(pool),
            Target::Node { .. } => None,
        });
        let fallback = forward.and_then(|forward| forward.fallback.as_ref()).map(|fallback| &fallback.pool);
        let check = self.check.as_ref().map(|check| &check.pool);
        let mirror = self.mirror.as_ref().map(|mirror| &mirror.pool);
        pool.into_iter().chain(fallback).chain(check).chain(mirror)
    }

    /// The node that it names.
    pub fn node(&self) -> Option<&NodeId> {
        match &self.end {
            Some(End::Forward(Forward { to: Target::Node { node, .. }, .. })) => Some(node),
            _ => None,
        }
    }
}

/// Where the way of a request ends.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// At a node.
    Forward(Forward),
    /// The client is told to go elsewhere.
    Redirect(Redirect),
    /// The peer answers it.
    Answer(FixedAnswer),
    /// The peer answers it with a file of its own.
    Files(Files),
    /// The peer refuses it with a status of 400 to 599. A connection that is not HTTP is reset.
    Refuse(u16),
}

/// Which node a request is sent to.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// Where.
    pub to: Target,
    /// In which regions.
    pub regions: Option<RegionChoice>,
    /// Where else, if that fails.
    pub fallback: Option<Fallback>,
}

/// Regions that a request is sent to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegionChoice {
    /// These, the best first.
    pub prefer: Vec<RegionName>,
    /// Whether it goes nowhere else; else to any while none of them can take it.
    pub strict: bool,
}

/// Where a request is sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// Whom the pool's strategy picks.
    Pool(PoolName),
    /// One node.
    Node {
        /// Which.
        node: NodeId,
        /// Whether it gets the request or nobody; else another one of its pool does while it cannot be used.
        strict: bool,
    },
}

/// Where a request is sent that the first pool did not answer well.
#[derive(Clone, Debug, PartialEq)]
pub struct Fallback {
    /// Where.
    pub pool: PoolName,
    /// Answers that are not well: of a node, or of the peer itself where no node could be asked.
    pub statuses: Vec<StatusRange>,
}

impl Fallback {
    /// 502, 503 and 504: what a proxy says of a server behind it.
    pub const STATUSES_DEFAULT: [u16; 3] = [502, 503, 504];

    /// Whether an answer of this status is not well.
    pub fn is_for(&self, status: u16) -> bool {
        self.statuses.iter().any(|range| range.contains(status))
    }
}

/// Where a client is told to go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Redirect {
    /// The `Location`.
    pub to: Template,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

impl Redirect {
    /// Whether it leads somewhere for a request that names this host and port. One of HTTP/1.0 need not name any.
    pub fn leads(&self, authority: &[u8]) -> bool {
        !authority.is_empty() || !self.to.names_host()
    }

    /// Found: nobody remembers it, so a mistake can be mended.
    pub const STATUS_DEFAULT: u16 = 302;
    /// Every status that says where to go.
    pub const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];
}

/// An answer of the peer itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FixedAnswer {
    /// 200 to 599.
    pub status: u16,
    /// What it says; of 204 and 304 nothing.
    pub body: Arc<str>,
    /// What that is.
    pub content_type: Arc<str>,
}

impl FixedAnswer {
    /// The type of a body that says none.
    pub const CONTENT_TYPE_DEFAULT: &'static str = "text/plain; charset=utf-8";

    /// Whether an answer of this status has a body (RFC 9110 section 6.4.1).
    pub fn may_have_body(status: u16) -> bool {
        !matches!(status, 204 | 304)
    }
}

/// Files of whichever peer answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Files {
    /// The folder, by the name that peers' settings have for it.
    pub folder: FolderName,
    /// How long clients may keep a file without asking again; `None`: nothing is said.
    pub cache: Option<Duration>,
    /// Whether a file never changes: clients do not ask again even when they load anew (RFC 8246).
    pub immutable: bool,
    /// The path of the file that stands in for those that are not there.
    pub fallback: Option<Arc<str>>,
}

/// What becomes of the fields of a head: first some go, then some are set, then some are added.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FieldChanges {
    /// These go.
    pub remove: Vec<FieldName>,
    /// These take the place of all of their name. Named as they are written.
    pub set: Vec<FieldValue>,
    /// These come beside those of their name.
    pub add: Vec<FieldValue>,
}

impl FieldChanges {
    /// Whether they change nothing.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// A field to be written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldValue {
    /// Its name, in any case of letters.
    pub name: Arc<str>,
    /// What it says.
    pub value: Template,
}

/// What becomes of the path that a node gets: one beginning takes the place of another. A path that begins otherwise stays.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rewrite {
    /// What goes.
    pub prefix: Arc<str>,
    /// What comes.
    pub to: Arc<str>,
}
