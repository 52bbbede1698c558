//! What an executor remembers of one node over a crash, and what follows from it for an order.
//!
//! [`Fence`] is the memory and decides; it knows no file, no clock and no driver. [`FenceFile`] is where it stands: eight bytes that name
//! it and its version, the length and the first eight bytes of the SHA-256 of what follows, then JSON, so that a later version may add
//! a field to what was done. A file that is missing, cut off or bent is no memory: whoever finds none asks a leader, and never takes it
//! for a node that nobody has touched.
//!
//! The highest term is kept apart from the plan: an order of a later term that cannot begin yet raises it all the same, so that
//! nothing of an earlier one begins after that.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::effect::{Action, Done, Effect, Failed};
use super::order::Answer;
use crate::host::{DurableError, DurableFile};
use crate::model::limits::HOST_BYTES_MAX;
use crate::model::{IntentId, NodeAddress, NodeId, Term, ValueHash};

/// Characters of a note, or of why something failed.
pub(super) const WORDS_CHARS_MAX: usize = 500;
/// Bytes of an address: a scheme, a host and a port.
const ADDRESS_BYTES_MAX: usize = HOST_BYTES_MAX + 32;
/// Bytes of what follows the head of a file.
const BODY_BYTES_MAX: usize = 16 * 1024;

const MAGIC: [u8; 8] = *b"ekfence1";
const HEAD_BYTES: usize = MAGIC.len() + 4 + 8;

// A character has at most four bytes, in JSON too: those that would have more there are replaced before they are kept.
const _: () = assert!(
    Action::ALL.len() * (4 * WORDS_CHARS_MAX + ADDRESS_BYTES_MAX + 64) + 512 <= BODY_BYTES_MAX,
    "a full record fits"
);

/// What an executor remembers of one node.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Fence {
    /// Which node: a file that was copied to another name is not that one's memory.
    node: NodeId,
    /// The highest term that asked for something.
    term: Term,
    /// The latest plan of which something was begun.
    plan: Option<Plan>,
}

/// What became of a plan here.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Plan {
    intent: IntentId,
    steps: BTreeMap<Action, Step>,
}

/// What became of one action.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// The driver was told, or was about to be.
    Begun,
    Done(Done),
    Failed(Failed),
}

/// What is to be done with an order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Decision {
    /// The driver is told, after [`Fence::begin`] is on disk.
    Run {
        /// Whether it was begun before, and nobody knows how far it came.
        again: bool,
    },
    /// Nothing is done.
    Answer(Answer),
}

/// Why a file is no memory of a node.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum FenceError {
    /// It does not begin like one.
    #[error("it is no fence of this version")]
    Foreign,
    /// It is not as long as it says, or longer than one can be.
    #[error("it has {0} bytes, and says otherwise")]
    Length(usize),
    /// Something in it has changed since it was written.
    #[error("its checksum is wrong")]
    Checksum,
    /// Its checksum is right, and yet nothing can be read in it.
    #[error("it cannot be read: {0}")]
    Content(String),
    /// It is of another node.
    #[error("it is that of node {0}")]
    Node(NodeId),
    /// It says two things that cannot both be.
    #[error("it contradicts itself")]
    Contradiction,
    /// It would have more bytes than it can have.
    #[error("it would have {0} bytes")]
    TooLong(usize),
}

impl Fence {
    /// Of a node of which nothing is remembered, by word of the leader of this term.
    pub(super) fn new(node: NodeId, term: Term) -> Self {
        Self { node, term, plan: None }
    }

    /// The node.
    pub(super) fn node(&self) -> &NodeId {
        &self.node
    }

    /// The highest term.
    pub(super) fn term(&self) -> Term {
        self.term
    }

    /// Notes that this term asked; an earlier one changes nothing.
    pub(super) fn raise(&mut self, term: Term) {
        self.term = self.term.max(term);
    }

    /// The answer to whoever comes too late.
    pub(super) fn stale(&self) -> Answer {
        Answer::Stale { term: self.term, intent: self.plan.as_ref().map(|plan| plan.intent) }
    }

    /// What is to be done with this effect. [`Fence::raise`] comes first; `is_busy`: something of the node goes on, whatever it is.
    ///
    /// What is known is said even then. Nothing begins beside it, not even a probe.
    pub(super) fn decide(&self, effect: &Effect, is_busy: bool) -> Decision {
        let is_late = self.plan.as_ref().is_some_and(|plan| effect.intent < plan.intent);
        if effect.term < self.term || is_late {
            return Decision::Answer(self.stale());
        }
        let plan = self.plan.as_ref().filter(|plan| plan.intent == effect.intent);
        if let Some(answer) = plan.and_then(|plan| plan.answer(effect.action)) {
            return Decision::Answer(answer);
        }
        if is_busy {
            return Decision::Answer(Answer::Running);
        }
        Decision::Run { again: plan.is_some_and(|plan| plan.steps.contains_key(&effect.action)) }
    }

    /// Notes that the driver is about to be told. A later plan takes the place of the one before it. Of a probe nothing is noted: it
    /// changes nothing, and may be repeated.
    pub(super) fn begin(&mut self, intent: IntentId, action: Action) {
        if action == Action::Probe {
            return;
        }
        let plan = self.plan.take().filter(|plan| plan.intent == intent);
        let mut plan = plan.unwrap_or(Plan { intent, steps: BTreeMap::new() });
        plan.steps.insert(action, Step::Begun);
        self.plan = Some(plan);
    }

    /// Notes what came of it.
    pub(super) fn end(&mut self, intent: IntentId, action: Action, outcome: &Result<Done, Failed>) {
        let step = match outcome {
            Ok(done) => Step::Done(done.clone()),
            Err(failed) => Step::Failed(failed.clone()),
        };
        let begun = self.plan.as_mut().filter(|plan| plan.intent == intent);
        // What was never noted as begun (a probe) is not noted as ended.
        if let Some(known) = begun.and_then(|plan| plan.steps.get_mut(&action)) {
            *known = step;
        }
    }

    /// Whether nothing is left of a node that a plan started: its name is never given again. A late order for it finds no fence, and whoever
    /// does not lead is refused then.
    fn is_over(&self) -> bool {
        let Some(plan) = &self.plan else { return false };
        let is_done = |action| matches!(plan.steps.get(&action), Some(Step::Done(_)));
        is_done(Action::Stop) || (plan.steps.contains_key(&Action::Start) && is_done(Action::Undo))
    }

    fn is_consistent(&self) -> bool {
        let whole = |plan: &Plan| !plan.steps.is_empty() && !plan.steps.contains_key(&Action::Probe);
        self.plan.as_ref().is_none_or(whole)
    }

    /// The bytes of its file.
    pub(super) fn encode(&self) -> Result<Vec<u8>, FenceError> {
        Self::seal(&serde_json::to_vec(self).map_err(|error| FenceError::Content(error.to_string()))?)
    }

    /// A body behind the head that vouches for it.
    pub(super) fn seal(body: &[u8]) -> Result<Vec<u8>, FenceError> {
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= BODY_BYTES_MAX);
        let length = length.ok_or(FenceError::TooLong(body.len()))?;
        Ok([&MAGIC[..], &length.to_be_bytes(), &checksum(body), body].concat())
    }

    /// The memory of this node that a file is.
    pub(super) fn decode(node: &NodeId, file: &[u8]) -> Result<Self, FenceError> {
        let Some((head, body)) = file.split_at_checked(HEAD_BYTES) else { return Err(FenceError::Length(file.len())) };
        if !head.starts_with(&MAGIC) {
            return Err(FenceError::Foreign);
        }
        if body.len() > BODY_BYTES_MAX || head[8..12] != u32::try_from(body.len()).unwrap_or(0).to_be_bytes() {
            return Err(FenceError::Length(file.len()));
        }
        if head[12..] != checksum(body) {
            return Err(FenceError::Checksum);
        }
        let fence: Self = serde_json::from_slice(body).map_err(|error| FenceError::Content(error.to_string()))?;
        if fence.node != *node {
            Err(FenceError::Node(fence.node))
        } else if !fence.is_consistent() {
            Err(FenceError::Contradiction)
        } else {
            Ok(fence)
        }
    }
}

impl Plan {
    /// What is to be said of this action without doing it; `None`: it may be done, or goes on.
    fn answer(&self, action: Action) -> Option<Answer> {
        if let Some(why) = self.closed(action) {
            return Some(Answer::Failed { why: format!("{why}: this {action} of plan {} came too late", self.intent) });
        }
        match self.steps.get(&action)? {
            Step::Begun => None,
            Step::Done(done) => Some(Answer::Done(done.clone())),
            Step::Failed(_) if may_be_tried_again(action) => None,
            Step::Failed(failed) => Some(Answer::Failed { why: failed.why.clone() }),
        }
    }

    /// Why this action can never be done any more: another one of the plan has put an end to it. A message may have been on its
    /// way for longer than the plan took.
    fn closed(&self, action: Action) -> Option<&'static str> {
        let was_asked = |other| self.steps.contains_key(&other);
        let is_known = |step: &Step| *step != Step::Begun;
        match action {
            Action::Switch | Action::Start | Action::Finish if was_asked(Action::Undo) => Some("it was undone"),
            Action::Start if was_asked(Action::Stop) => Some("it was stopped"),
            Action::Switch if was_asked(Action::Finish) && !self.steps.get(&action).is_some_and(is_known) => {
                Some("it was finished")
            }
            Action::Undo if matches!(self.steps.get(&Action::Finish), Some(Step::Done(_))) => Some("it was finished"),
            _ => None,
        }
    }
}

/// Whether that it failed is not the last word. What was to be changed and failed needs another plan; what cleans up has to come to
/// an end some time, and asks for nothing that was not decided.
pub(super) fn may_be_tried_again(action: Action) -> bool {
    matches!(action, Action::Undo | Action::Finish | Action::Stop)
}

/// What a driver says, as it is kept and told: in one line of a bounded length, without its secrets, with an address that is one.
pub(super) fn bounded(outcome: Result<Done, Failed>, secrets: &[String]) -> Result<Done, Failed> {
    let told = |text: &str| one_line(&without(text, secrets));
    match outcome {
        Ok(Done { address, note }) => {
            let address = address.map(|text| node_address(&text)).transpose()?;
            Ok(Done { address, note: told(&note) })
        }
        Err(Failed { why }) => Err(Failed::new(told(&why))),
    }
}

/// A text without these, the longest first: one may be a part of another. What is shorter stands in every other word.
fn without(text: &str, secrets: &[String]) -> String {
    const SECRET_BYTES_MIN: usize = 6;
    let mut secrets: Vec<&String> = secrets.iter().filter(|secret| secret.len() >= SECRET_BYTES_MIN).collect();
    secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "(secret)"))
}

fn node_address(text: &str) -> Result<String, Failed> {
    match text.parse::<NodeAddress>() {
        Ok(address) => Ok(address.to_string()),
        Err(error) => Err(Failed::new(one_line(&format!(
            "the driver says that the node is at an address which is none: {error}"
        )))),
    }
}

/// A text from elsewhere as one line that does nothing to whoever reads it: without control characters and without those that
/// turn a line's direction, at most [`WORDS_CHARS_MAX`] long.
pub(super) fn one_line(text: &str) -> String {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let shown = |c: char| match c {
        '\t' | '\n' | '\r' => ' ',
        c if is_hidden(c) => '?',
        c => c,
    };
    let mut characters = text.trim().chars().map(shown);
    let mut line: String = characters.by_ref().take(WORDS_CHARS_MAX - 1).collect();
    match (characters.next(), characters.next()) {
        (Some(last), None) => line.push(last),
        (Some(_), Some(_)) => line.push('…'),
        (None, _) => {}
    }
    line
}

/// The file of a node's fence. It blocks: never on a thread that keeps time.
#[derive(Debug)]
pub(super) struct FenceFile {
    node: NodeId,
    folder: PathBuf,
    file: DurableFile,
}

impl FenceFile {
    /// That of this node in this folder.
    ///
    /// Names end alike: the file of node `a`, while it is written or after it was put aside, is never that of a node `a.new`.
    pub(super) fn new(folder: &Path, node: &NodeId) -> Self {
        let file = DurableFile::new(folder, &format!("fence-{node}.record"), HEAD_BYTES + BODY_BYTES_MAX);
        Self { node: node.clone(), folder: folder.to_owned(), file }
    }

    /// What is remembered; `None`: nothing, because there is no file, or it was damaged and is put aside now.
    ///
    /// An error is a disk that does not answer (or no descriptor that is free), which says nothing about the file.
    pub(super) fn read(&self) -> Result<Option<Fence>, String> {
        let damage = match self.file.read() {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => match Fence::decode(&self.node, &bytes) {
                Ok(fence) => return Ok(Some(fence)),
                Err(error) => error.to_string(),
            },
            Err(error @ DurableError::TooLong { .. }) => error.to_string(),
            Err(error) => {
                return Err(format!("{error}; if that lasts, remove the file, and a leader says anew what holds"));
            }
        };
        let mut aside = self.file.path().as_os_str().to_owned();
        aside.push(".damaged");
        let moved = fs::rename(self.file.path(), &aside);
        tracing::error!(
            node = %self.node,
            file = %self.file.path().display(),
            damage,
            put_aside = moved.is_ok(),
            "a fence is damaged: this executor does not remember who touched the node last, and asks a leader"
        );
        Ok(None)
    }

    /// Brings it to the disk; it is there when this returns.
    pub(super) fn write(&self, fence: &Fence) -> Result<(), String> {
        let bytes = fence.encode().map_err(|error| format!("{}: {error}", self.file.path().display()))?;
        // That it cannot be made is found out by the write.
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        self.file.replace(&bytes).map_err(|error| error.to_string())
    }
}

fn checksum(body: &[u8]) -> [u8; 8] {
    let mut first = [0; 8];
    first.copy_from_slice(&ValueHash::of(body).bytes()[..8]);
    first
}

/// Removes the files of nodes that were started and are gone for so long, and what `beside` names for each. It blocks. How many.
pub(super) fn remove_over(folder: &Path, older_than: Duration, beside: &[PathBuf]) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let is_old = |path: &Path| {
        let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
        modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age >= older_than))
    };
    let nodes = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let name = path.file_name()?.to_str()?;
        let node: NodeId = name.strip_prefix("fence-")?.strip_suffix(".record")?.parse().ok()?;
        is_old(&path).then_some((path, node))
    });
    let mut removed = 0;
    for (path, node) in nodes {
        if !matches!(FenceFile::new(folder, &node).read(), Ok(Some(fence)) if fence.is_over()) {
            continue;
        }
        if fs::remove_file(&path).is_ok() {
            removed += 1;
            for folder in beside {
                // There is none where no command ran.
                let _ = fs::remove_file(folder.join(format!("command-{node}.json")));
            }
        }
    }
    removed
}

#[cfg(test)]
pub(super) mod samples;
#[cfg(test)]
mod tests;
