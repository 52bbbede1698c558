//! An exchange as the access log tells it.

use rustls::ProtocolVersion;

use super::exchange::{self, Next};
use super::session::Session;
use crate::host;
use crate::proxy::access_log::{AccessLog, Asked, End, Note, Record, Tls};
use crate::proxy::relay::RelayEnd;
use crate::proxy::stream::Stream;

/// Something that is under way and has its line in the log however it ends: also where the peer ends in the middle, and its tasks
/// with it.
pub(super) struct Telling<'s, 'a>(pub(super) &'s mut Session<'a>);

impl<'s, 'a> Telling<'s, 'a> {
    pub(super) fn begin(session: &'s mut Session<'a>) -> Self {
        session.note(|note| note.is_open = true);
        Self(session)
    }
}

impl Drop for Telling<'_, '_> {
    fn drop(&mut self) {
        if self.0.note.as_ref().is_some_and(|note| note.is_open) {
            self.0.note(|note| note.end = End::PeerEnded);
            exchange_ended(self.0);
        }
    }
}

/// Carries out an exchange and logs it; one that becomes a tunnel is logged when that ends.
pub(super) async fn run(session: &mut Session<'_>) -> Next {
    let telling = Telling::begin(session);
    let next = exchange::run(telling.0).await;
    match next {
        Next::Tunnel(..) => telling.0.note(|note| note.is_open = false),
        Next::Request | Next::Close | Next::Abort => exchange_ended(telling.0),
    }
    next
}

/// Logs the exchange that has ended, unless a route says otherwise, and begins the note of the next one.
pub(super) fn exchange_ended(session: &mut Session<'_>) {
    let Some(log) = &session.bound.log else { return };
    let is_silent = session.note.as_ref().is_some_and(|note| note.is_silent);
    if is_silent || session.routed.decision.routes().filter_map(|route| route.then.access_log).last() == Some(false) {
        session.note(|note| *note = Note::default());
        return;
    }
    tell(session, log, true);
}

/// Logs a request whose head could not be read.
pub(super) fn unread(session: &mut Session<'_>) {
    let Some(log) = &session.bound.log else { return };
    session.began = host::now();
    tell(session, log, false);
}

fn tell(session: &mut Session<'_>, log: &AccessLog, is_read: bool) {
    let Session { worker, bound, origin, request, answer, routed, upload, download, began, note, .. } = session;
    let Some(note) = note.as_deref_mut() else { return };
    if is_read {
        note.bytes_in += upload.bytes_moved();
        note.bytes_out += download.bytes_passed();
    }
    let duration = host::now().saturating_duration_since(*began);
    let wall = host::wall_timestamp();
    let asked = Asked {
        method: request.method.as_bytes(),
        authority: &request.authority,
        target: &request.target,
        fields: &request.fields,
        protocol: match (request.is_http10, request.is_http2) {
            (true, _) => "HTTP/1.0",
            (_, true) => "HTTP/2.0",
            (false, false) => "HTTP/1.1",
        },
    };
    let record = Record {
        began: wall.checked_sub(duration).unwrap_or(wall),
        duration,
        // A request that went no way was asked nobody's address.
        client: if routed.client.is_unspecified() { origin.client.ip() } else { routed.client },
        sender: origin.client,
        listener: &bound.listener.name,
        route: routed.decision.end.as_ref().map(|entry| &entry.route.name),
        scheme: origin.scheme(),
        asked: is_read.then_some(asked),
        answer: note.own.is_none().then_some(&answer.fields),
        tls: origin.tls,
        note,
    };
    // It is in use only where this is the end of a task that panicked.
    if let Ok(mut dice) = worker.dice.try_borrow_mut() {
        log.log(&record, &mut dice);
    }
    *note = Note::default();
}

/// The version of TLS of a client's connection.
pub(in crate::proxy) fn tls_of(stream: &Stream) -> Option<Tls> {
    let Stream::Tls(stream) = stream else { return None };
    Some(Tls(match stream.session().protocol_version()? {
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        _ => "TLS",
    }))
}

/// Bytes behind the head of a whole answer.
pub(super) fn body_bytes(answer: &[u8]) -> u64 {
    memchr::memmem::find(answer, b"\r\n\r\n").map_or(0, |at| (answer.len() - at - 4) as u64)
}

impl From<RelayEnd> for End {
    fn from(end: RelayEnd) -> Self {
        match end {
            RelayEnd::Closed => Self::Whole,
            RelayEnd::Broken => Self::Broken,
            RelayEnd::Idle => Self::Idle,
            RelayEnd::Drained => Self::Drained,
        }
    }
}
