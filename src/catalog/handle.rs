//! The catalog as the rest of a peer asks for it: what is served by now, and writes, which go to whoever leads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use super::actor::Asked;
use super::applied::{Applied, Source};
use super::body::Record;
use super::json::{self, Etag, Object};
use super::versions::Versions;
use super::write::{self, Author, Keyed, Outcome, Write, WriteRefused, Written};
use crate::election::{self, Change, Declined, IdempotencyId, Request, Standing, Store};
use crate::host::{self, Dice};
use crate::link::{Answer, Link, LinkState};
use crate::model::{Electors, PeerId, Revision, Term};
use crate::wire::{ElectorsChange, Query, QueryAnswer};

/// How long a write may take in all.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// How long a write waits for somebody to lead. An election takes less.
const LEADER_WAIT: Duration = Duration::from_millis(1_500);
/// How long a write waits until the peer that was asked serves by it.
const APPLY_WAIT: Duration = Duration::from_secs(1);
/// Until a leader that could not take a write is asked again, or another one.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How long a change of electors may take at the leader.
const ELECTORS_LIMIT: Duration = Duration::from_secs(6);
/// How long one is asked for again that is declined because a write is undecided, or because the newcomer has not heard of the
/// last one yet.
const ELECTORS_READY_WAIT: Duration = Duration::from_secs(3);
/// How long the note of such a change in the history is waited for.
const NOTE_LIMIT: Duration = Duration::from_secs(1);
/// How long an earlier revision is looked for at other peers.
const DESIRED_LIMIT: Duration = Duration::from_secs(2);
/// Peers that are asked for one at a time: each answers with as much as a catalog.
const DESIRED_ASKED_AT_ONCE: usize = 4;

/// The way to a peer's catalog.
#[derive(Clone, Debug)]
pub struct CatalogHandle {
    own: PeerId,
    link: Option<Arc<dyn Link>>,
    standing: watch::Receiver<Arc<Standing>>,
    applied: watch::Receiver<Arc<Applied>>,
    asked: mpsc::Sender<Asked>,
    elector: mpsc::Sender<Request>,
    store: Arc<Store>,
    versions: Versions,
}

/// What a handle is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// This peer.
    pub own: PeerId,
    /// The way to others; a cluster of one has none.
    pub link: Option<Arc<dyn Link>>,
    /// How its elector stands.
    pub standing: watch::Receiver<Arc<Standing>>,
    /// What it serves by.
    pub applied: watch::Receiver<Arc<Applied>>,
    /// The way to its catalog actor.
    pub asked: mpsc::Sender<Asked>,
    /// The way to its elector.
    pub elector: mpsc::Sender<Request>,
    /// Its elector's disk.
    pub store: Arc<Store>,
    /// What users wanted in the last revisions.
    pub versions: Versions,
}

/// Why the electors are not changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ElectorsRefused {
    /// What was asked for cannot be done as things stand.
    #[error("{0}")]
    Declined(String),
    /// Nobody leads. Nothing was done.
    #[error("nobody leads; ask again in a second, and see /api/v1/leader for who is missing")]
    NoLeader,
    /// It may yet be done.
    #[error("whether it is done is not known yet; look at the electors")]
    OutcomeUnknown,
}

type ElectorsOutcome = Result<Electors, ElectorsRefused>;

impl CatalogHandle {
    /// The handle.
    pub fn new(parts: Parts) -> Self {
        let Parts { own, link, standing, applied, asked, elector, store, versions } = parts;
        Self { own, link, standing, applied, asked, elector, store, versions }
    }

    /// What this peer serves by.
    pub fn applied(&self) -> Arc<Applied> {
        Arc::clone(&self.applied.borrow())
    }

    /// How this peer's elector stands.
    pub fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.standing.borrow())
    }

    /// Does a write, at whoever leads. It is done once, however often it is sent under its id.
    pub async fn write(&self, write: Write) -> Result<Written, WriteRefused> {
        let deadline = host::now() + WRITE_LIMIT;
        let id = write.id.clone();
        let mut perhaps_done = false;
        let mut last = no_leader();
        let written = loop {
            if host::now() >= deadline {
                return Err(if perhaps_done { WriteRefused::OutcomeUnknown { id } } else { last });
            }
            let Some(leader) = self.leader(deadline).await else {
                return Err(if perhaps_done { WriteRefused::OutcomeUnknown { id } } else { no_leader() });
            };
            // Where another one leads meanwhile, nobody waits until the link to the one before it is known to be lost.
            let mut standing = self.standing.clone();
            let another = standing.wait_for(|now| now.leader(&self.own).is_some_and(|now| *now != leader));
            let answer = tokio::select! {
                answer = timeout(deadline.saturating_duration_since(host::now()), self.ask(&leader, &write)) => answer.ok(),
                Ok(_) = another => None,
            };
            match answer.unwrap_or(Err(WriteRefused::OutcomeUnknown { id: id.clone() })) {
                Ok(written) => break written,
                Err(WriteRefused::OutcomeUnknown { .. }) => perhaps_done = true,
                Err(WriteRefused::NotLeading) => {}
                Err(refused) if refused.may_pass() => last = refused,
                Err(refused) => return Err(refused),
            }
            sleep(AGAIN_AFTER).await;
        };
        let applied = self.applies(written.revision).await;
        Ok(Written { applied, ..written })
    }

    /// Does what the leader of this term wants, while this peer is that leader; nobody else does it in its place.
    pub async fn write_as_leader(&self, change: write::Change, term: Term) -> Result<Written, WriteRefused> {
        let write = Write {
            change,
            if_match: None,
            id: IdempotencyId::random(&mut Dice::new()),
            by: Author::new(""),
            via: self.own.clone(),
            at_ms: host::wall_now_ms(),
        };
        let keyed = spawn_blocking(move || Keyed::new(write)).await.map_err(|error| WriteRefused::Unavailable {
            message: format!("the write could not be looked at: {error}"),
        })?;
        let written = self.ask_here(keyed, Some(term)).await?;
        let applied = self.applies(written.revision).await;
        Ok(Written { applied, ..written })
    }

    /// One elector more or less, decided by whoever leads, and noted in the history as asked for by `by`.
    pub async fn change_electors(&self, change: ElectorsChange, by: Author) -> ElectorsOutcome {
        let electors = match self.decide_electors(change.clone()).await {
            // A leader that removes itself leads no more before it can say so.
            Err(ElectorsRefused::OutcomeUnknown) => self.electors_after(&change).await?,
            decided => decided?,
        };
        let note = Write {
            change: write::Change::Electors { change },
            if_match: None,
            id: IdempotencyId::random(&mut Dice::new()),
            by,
            via: self.own.clone(),
            at_ms: host::wall_now_ms(),
        };
        // It is done; a history without it is no reason to say otherwise.
        match timeout(NOTE_LIMIT, self.write(note)).await {
            Ok(Ok(_)) => {}
            Ok(Err(refused)) => tracing::warn!(%refused, "a change of electors is not in the history"),
            Err(_) => tracing::warn!("a change of electors is perhaps not in the history: its note took too long"),
        }
        Ok(electors)
    }

    /// The electors once this change is in force here under a leader; what becomes of it is not known where it is not in time.
    async fn electors_after(&self, change: &ElectorsChange) -> ElectorsOutcome {
        let is_done = |standing: &Arc<Standing>| {
            let has = |peer: &PeerId| standing.electors.as_ref().is_some_and(|electors| electors.contains(peer));
            let leader = standing.leader(&self.own).filter(|leader| has(leader));
            leader.is_some()
                && match change {
                    ElectorsChange::Add(peer) => has(peer),
                    ElectorsChange::Remove(peer) => !has(peer),
                }
        };
        let mut standing = self.standing.clone();
        let seen = timeout(LEADER_WAIT, standing.wait_for(is_done)).await;
        let electors = seen.ok().and_then(Result::ok).and_then(|standing| standing.electors.clone());
        electors.ok_or(ElectorsRefused::OutcomeUnknown)
    }

    async fn decide_electors(&self, change: ElectorsChange) -> ElectorsOutcome {
        let deadline = host::now() + LEADER_WAIT;
        let leader = self.leader(deadline).await.ok_or(ElectorsRefused::NoLeader)?;
        if leader == self.own {
            return self.change_here(change).await;
        }
        let question = Query::Electors(change).encode();
        let (Some(link), Ok(question)) = (&self.link, question) else { return Err(ElectorsRefused::NoLeader) };
        // Longer than the leader takes, so that its answer comes first.
        match link.ask(leader, Bytes::from(question), ELECTORS_LIMIT + Duration::from_secs(1)).await {
            Ok(answer) => match QueryAnswer::decode(&answer) {
                Ok(QueryAnswer::Outcome(outcome)) => {
                    let outcome: Result<Vec<PeerId>, ElectorsRefused> =
                        serde_json::from_slice(&outcome).map_err(|_| ElectorsRefused::OutcomeUnknown)?;
                    Electors::new(outcome?).map_err(|_| ElectorsRefused::OutcomeUnknown)
                }
                _ => Err(ElectorsRefused::OutcomeUnknown),
            },
            Err(error) if is_untouched(error) => Err(ElectorsRefused::NoLeader),
            Err(_) => Err(ElectorsRefused::OutcomeUnknown),
        }
    }

    /// Forgets an elector that is gone for good, at this peer and nowhere else.
    pub async fn forget_elector(&self, peer: PeerId, by: Author) -> Result<(), ElectorsRefused> {
        let (forgotten, by) = (peer.clone(), by.as_str().to_owned());
        let (reply, answer) = oneshot::channel();
        let sent = self.elector.send(Request::Forget { peer, reply }).await;
        sent.map_err(|_| ElectorsRefused::NoLeader)?;
        match timeout(ELECTORS_LIMIT, answer).await {
            Ok(Ok(Ok(()))) => {
                tracing::warn!(%forgotten, %by, "an elector is forgotten at this peer, as gone for good");
                Ok(())
            }
            Ok(Ok(Err(refused))) => Err(ElectorsRefused::Declined(refused.to_string())),
            Ok(Err(_)) | Err(_) => Err(ElectorsRefused::OutcomeUnknown),
        }
    }

    /// The last changes, the oldest first.
    pub fn history(&self) -> Vec<Record> {
        match &self.applied().source {
            Source::File { .. } => Vec::new(),
            Source::Committed { body, .. } => body.history.clone(),
        }
    }

    /// What users wanted in a revision of the history: from this peer's disk, or from whoever has it. `None` where nobody
    /// has.
    pub async fn desired_of(&self, etag: Etag) -> Option<Object> {
        let versions = self.versions.clone();
        if let Ok(Some(desired)) = spawn_blocking(move || versions.get(etag)).await {
            return Some(desired);
        }
        let link = self.link.as_ref()?;
        let question = Bytes::from(Query::Desired(etag.bytes()).encode().ok()?);
        let mut peers = link.known().peers.into_iter().filter(|peer| peer.state == LinkState::Up);
        let mut asking = JoinSet::new();
        let mut ask_next = |asking: &mut JoinSet<Option<Object>>| {
            let Some(peer) = peers.next() else { return };
            let (link, question) = (Arc::clone(link), question.clone());
            asking.spawn(async move {
                let answer = link.ask_at_once(peer.id, question, DESIRED_LIMIT).await.ok()?;
                spawn_blocking(move || desired_in(&answer, etag)).await.ok()?
            });
        };
        (0..DESIRED_ASKED_AT_ONCE).for_each(|_| ask_next(&mut asking));
        let found = async {
            while let Some(answered) = asking.join_next().await {
                if let Ok(Some(desired)) = answered {
                    return Some(desired);
                }
                ask_next(&mut asking);
            }
            None
        };
        timeout(DESIRED_LIMIT, found).await.ok()?
    }

    /// Answers another peer's question. What cannot be read, or is not for the catalog, is left without an answer.
    pub async fn answer(&self, question: Query, answer: Answer) {
        let answered = match question {
            Query::Value(hash) => {
                let store = Arc::clone(&self.store);
                let bytes = spawn_blocking(move || store.bytes(hash)).await;
                QueryAnswer::Bytes(bytes.ok().and_then(Result::ok).flatten())
            }
            Query::Desired(etag) => {
                let (versions, etag) = (self.versions.clone(), Etag::new(etag));
                let kept = spawn_blocking(move || versions.get(etag).map(|desired| json::canonical(&desired))).await;
                QueryAnswer::Bytes(kept.ok().flatten())
            }
            Query::Write(bytes) => {
                let read = move || serde_json::from_slice::<Write>(&bytes).map(Keyed::new);
                let outcome = match spawn_blocking(read).await {
                    Ok(Ok(write)) => self.do_here(write).await,
                    Ok(Err(error)) => Err(WriteRefused::Unavailable {
                        message: format!("the leader cannot read the write: {error}; does it run an older version?"),
                    }),
                    Err(error) => {
                        tracing::error!(%error, "a peer's write could not be looked at");
                        return;
                    }
                };
                QueryAnswer::Outcome(Outcome::from(outcome).encode())
            }
            // Others answer that.
            Query::Drain(_) | Query::Order(_) | Query::Operate(_) | Query::Report | Query::Events => return,
            Query::Electors(change) => {
                let outcome: Result<Vec<PeerId>, ElectorsRefused> =
                    self.change_here(change).await.map(|electors| electors.iter().cloned().collect());
                QueryAnswer::Outcome(serde_json::to_vec(&outcome).unwrap_or_default())
            }
        };
        match answered.encode() {
            Ok(bytes) => answer.send(Bytes::from(bytes)),
            Err(error) => tracing::error!(%error, "an answer to a peer cannot be written"),
        }
    }

    /// The leader that this peer knows; one is waited for that long.
    pub async fn known_leader(&self, wait: Duration) -> Option<PeerId> {
        self.leader(host::now() + wait).await
    }

    /// How this peer's elector stands, as it changes.
    pub fn follow_standing(&self) -> watch::Receiver<Arc<Standing>> {
        self.standing.clone()
    }

    /// What this peer serves by, as it changes.
    pub fn follow(&self) -> watch::Receiver<Arc<Applied>> {
        self.applied.clone()
    }

    /// The leader that this peer knows; one is waited for a little.
    async fn leader(&self, deadline: Instant) -> Option<PeerId> {
        let mut standing = self.standing.clone();
        let wait = LEADER_WAIT.min(deadline.saturating_duration_since(host::now()));
        let known = timeout(wait, standing.wait_for(|standing| standing.leader(&self.own).is_some())).await;
        known.ok()?.ok()?.leader(&self.own).cloned()
    }

    async fn ask(&self, leader: &PeerId, write: &Write) -> Result<Written, WriteRefused> {
        if *leader == self.own {
            return self.write_here(write.clone()).await;
        }
        let unknown = || WriteRefused::OutcomeUnknown { id: write.id.clone() };
        let link = self.link.as_ref().ok_or(WriteRefused::NotLeading)?;
        // A write has no map whose keys are no texts, so it has a text.
        let bytes = serde_json::to_vec(write).unwrap_or_default();
        let length = bytes.len();
        let question = Query::Write(bytes).encode().map_err(|_| WriteRefused::TooLarge { length })?;
        match link.ask(leader.clone(), Bytes::from(question), WRITE_LIMIT).await {
            Ok(answer) => match QueryAnswer::decode(&answer) {
                Ok(QueryAnswer::Outcome(outcome)) => {
                    serde_json::from_slice::<Outcome>(&outcome).map_err(|_| unknown())?.into()
                }
                _ => Err(unknown()),
            },
            Err(error) if is_untouched(error) => Err(WriteRefused::NotLeading),
            Err(_) => Err(unknown()),
        }
    }

    async fn write_here(&self, write: Write) -> Result<Written, WriteRefused> {
        match spawn_blocking(move || Keyed::new(write)).await {
            Ok(write) => self.do_here(write).await,
            Err(error) => {
                tracing::error!(%error, "a write could not be looked at");
                Err(WriteRefused::Unavailable { message: "the write could not be looked at".to_owned() })
            }
        }
    }

    async fn do_here(&self, write: Keyed) -> Result<Written, WriteRefused> {
        if write.write().change.is_of_leader() {
            // It was another one's that leads no more.
            return Err(WriteRefused::Unavailable { message: "only the leader itself writes that".to_owned() });
        }
        self.ask_here(write, None).await
    }

    async fn ask_here(&self, write: Keyed, term: Option<Term>) -> Result<Written, WriteRefused> {
        let id = write.key().id.clone();
        let (reply, outcome) = oneshot::channel();
        let sent = timeout(WRITE_LIMIT, self.asked.send(Asked { write, term, reply })).await;
        sent.ok().and_then(Result::ok).ok_or(WriteRefused::NotLeading)?;
        // Whoever had it is gone, and may have proposed it.
        timeout(WRITE_LIMIT, outcome)
            .await
            .ok()
            .and_then(Result::ok)
            .unwrap_or(Err(WriteRefused::OutcomeUnknown { id }))
    }

    async fn change_here(&self, change: ElectorsChange) -> ElectorsOutcome {
        let change = match change {
            ElectorsChange::Add(peer) => Change::Add(peer),
            ElectorsChange::Remove(peer) => Change::Remove(peer),
        };
        let began = host::now();
        loop {
            let (reply, answer) = oneshot::channel();
            let sent = self.elector.send(Request::Change { change: change.clone(), reply }).await;
            sent.map_err(|_| ElectorsRefused::NoLeader)?;
            let left = ELECTORS_LIMIT.saturating_sub(began.elapsed());
            let Ok(Ok(answered)) = timeout(left, answer).await else { return Err(ElectorsRefused::OutcomeUnknown) };
            match answered {
                Ok(electors) => return Ok(electors),
                Err(election::Refused::Unknown) => return Err(ElectorsRefused::OutcomeUnknown),
                Err(election::Refused::Declined(Declined::Undecided | Declined::NotReady))
                    if began.elapsed() < ELECTORS_READY_WAIT =>
                {
                    sleep(AGAIN_AFTER).await;
                }
                Err(refused) => return Err(ElectorsRefused::Declined(refused.to_string())),
            }
        }
    }

    /// Whether this peer serves by that revision, or does within [`APPLY_WAIT`].
    async fn applies(&self, revision: u64) -> bool {
        timeout(APPLY_WAIT, self.wait_applied(revision)).await.is_ok_and(|is_there| is_there)
    }

    /// Waits until this peer serves by that revision or a later one; false where it ends first.
    pub async fn wait_applied(&self, revision: u64) -> bool {
        let mut applied = self.applied.clone();
        let is_there = |applied: &Arc<Applied>| applied.revision().map(Revision::get) >= Some(revision);
        applied.wait_for(is_there).await.is_ok()
    }
}

/// What users wanted, where an answer has what was asked for. Blocks.
fn desired_in(answer: &[u8], etag: Etag) -> Option<Object> {
    let Ok(QueryAnswer::Bytes(Some(bytes))) = QueryAnswer::decode(answer) else { return None };
    json::parse(&bytes).ok().filter(|desired| Etag::of(desired) == etag)
}

fn no_leader() -> WriteRefused {
    let message = "nobody leads, so nothing can be changed; traffic goes on. See /api/v1/leader for who is missing";
    WriteRefused::Unavailable { message: message.to_owned() }
}

/// Whether a question had no effect.
fn is_untouched(error: crate::link::AskError) -> bool {
    use crate::link::AskError;
    matches!(error, AskError::NotLinked | AskError::NotTaken | AskError::TooLong)
}
