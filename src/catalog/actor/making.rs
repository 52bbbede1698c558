//! A write made into the value that is committed next, and given to the elector.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::super::body::Next;
use super::super::json::Etag;
use super::super::reading::{Newest, Said};
use super::super::write::{Keyed, WriteRefused, Written};
use crate::document::Warning;
use crate::election::{Authority, Declined, IdempotencyId, Refused, Remembered, Request, Value};
use crate::model::{Revision, ValueHash};

/// A value that was proposed.
pub(super) struct Proposed {
    pub(super) hash: ValueHash,
    /// The write that it was made for; the first catalog of a cluster has none.
    pub(super) write: Option<Arc<Keyed>>,
    /// Whether it has a resource that was not there.
    pub(super) created: bool,
    /// The ETag of the resource that was put.
    pub(super) resource_etag: Option<Etag>,
    /// What is allowed in it and probably not meant.
    pub(super) warnings: Vec<Warning>,
}

/// What became of making a value.
pub(super) enum Made {
    Proposed(Proposed),
    /// It is done, or was before.
    Done(Written),
    Refused(WriteRefused),
    Again,
    NotLeading,
}

/// Makes a write into a value and gives it to the elector.
pub(super) async fn make(newest: Newest, write: Arc<Keyed>, elector: mpsc::Sender<Request>) -> Made {
    let Said { body, etag } = match newest.said() {
        Ok(said) => said,
        Err(refused) => return Made::Refused(refused),
    };
    let id = write.key().id.clone();
    match newest.value.outcomes.get(write.key()) {
        // It was proposed, and whether it was taken was not heard.
        Some(Remembered::Done(revision)) => return Made::Done(written(revision, None, id)),
        Some(Remembered::Other) => return Made::Refused(WriteRefused::OtherWrite { id }),
        None => {}
    }
    let on = newest.slot.revision;
    let Some(revision) = on.next() else {
        return Made::Refused(WriteRefused::Unavailable { message: "no revision is left".to_owned() });
    };
    let making = {
        let (body, write) = (Arc::clone(&body), Arc::clone(&write));
        spawn_blocking(move || body.after(write.write(), revision.get())).await
    };
    let made = match making {
        Ok(Ok(Next::Changed { bytes, created, resource: resource_etag, warnings, .. })) => {
            let mut outcomes = newest.value.outcomes.clone();
            outcomes.push(write.key().clone(), revision);
            let proposed = |hash| Proposed { hash, write: Some(write), created, resource_etag, warnings };
            return propose(&elector, on, Value { outcomes, body: bytes }, proposed).await;
        }
        Ok(Ok(Next::Same { resource: resource_etag, warnings })) => {
            let warnings = in_words(&warnings);
            Made::Done(Written { changed: false, resource_etag, warnings, ..written(on, Some(etag), id) })
        }
        Ok(Err(refused)) => Made::Refused(refused),
        Err(error) => {
            tracing::error!(%error, "a write could not be looked at");
            Made::Refused(WriteRefused::Unavailable { message: "the write could not be looked at".to_owned() })
        }
    };
    // It is answered by what this peer knows, which has to be the newest there is: a new leader has accepted what the one before
    // it has committed, and may not have read it yet.
    match authority(&elector).await {
        Some(authority) if authority.accepted == on => made,
        Some(_) => Made::Again,
        None => Made::NotLeading,
    }
}

async fn authority(elector: &mpsc::Sender<Request>) -> Option<Authority> {
    let (reply, authority) = oneshot::channel();
    elector.send(Request::Authority(reply)).await.ok()?;
    authority.await.ok()?
}

pub(super) async fn propose(
    elector: &mpsc::Sender<Request>,
    on: Revision,
    value: Value,
    proposed: impl FnOnce(ValueHash) -> Proposed,
) -> Made {
    let encoded = spawn_blocking(move || value.encode()).await;
    let bytes = match encoded {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => return Made::Refused(WriteRefused::Unavailable { message: error.to_string() }),
        Err(error) => return Made::Refused(WriteRefused::Unavailable { message: error.to_string() }),
    };
    let (reply, taken) = oneshot::channel();
    if elector.send(Request::Propose { on, bytes, reply }).await.is_err() {
        return Made::Again;
    }
    match taken.await {
        Ok(Ok(hash)) => Made::Proposed(proposed(hash)),
        Ok(Err(Refused::Declined(Declined::NotLeading))) => Made::NotLeading,
        Ok(Err(Refused::Disk(error))) => Made::Refused(WriteRefused::Unavailable {
            message: format!("the leader cannot write to its disk: {error}"),
        }),
        Ok(Err(_)) | Err(_) => Made::Again,
    }
}

/// A write that changed something, and of which nothing else is known.
pub(super) fn written(revision: Revision, etag: Option<Etag>, id: IdempotencyId) -> Written {
    let (revision, warnings) = (revision.get(), Vec::new());
    Written { revision, etag, changed: true, created: false, resource_etag: None, applied: false, id, warnings }
}

pub(super) fn in_words(warnings: &[Warning]) -> Vec<String> {
    warnings.iter().map(ToString::to_string).collect()
}
