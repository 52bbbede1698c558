//! Pages of a listener for statuses that mean a failure, and what the peer says where there is none.

use std::io::Write;
use std::sync::Arc;

use super::fields::{self, Fields};
use super::reply::Reply;
use super::session::Session;
use crate::model::StatusRange;

/// Pages of a listener. The default has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorPages {
    /// The first that is for a status counts.
    pub pages: Vec<ErrorPage>,
    /// Whether they also take the place of nodes' answers.
    pub intercept: bool,
}

/// A page for some statuses.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorPage {
    /// Within 400 to 599.
    pub statuses: Vec<StatusRange>,
    /// What it says.
    pub body: Arc<[u8]>,
    /// What that is.
    pub content_type: Arc<str>,
}

impl ErrorPages {
    /// The page for a status.
    pub(crate) fn of(&self, status: u16) -> Option<&ErrorPage> {
        self.pages.iter().find(|page| page.statuses.iter().any(|range| range.contains(status)))
    }
}

/// What takes the place of the node's answer that is at hand; `None`: it is passed on. One that asks who the client is (401, 407)
/// always is.
pub(super) fn instead(session: &Session<'_>) -> Option<(Reply, Fields)> {
    /// What says how and when to ask again, of which a page says nothing.
    const KEPT: [&[u8]; 2] = [b"allow", b"retry-after"];
    let (pages, answer) = (&session.settings.error_pages, &session.answer);
    if !pages.intercept || matches!(answer.status, 401 | 407) || answer.status < 400 {
        return None;
    }
    pages.of(answer.status)?;
    let mut kept = Fields::default();
    for field in answer.fields.iter().filter(|field| !field.dropped) {
        if KEPT.iter().any(|name| field.name.eq_ignore_ascii_case(name)) {
            kept.push(field.name, field.value);
        }
    }
    let reason = "the node's answer is one of a status that has a page";
    Some((Reply { status: answer.status, reason, retry_after_s: None }, kept))
}

/// Whether the client takes JSON and no page: a program, then.
pub(super) fn wants_json(request: &Fields) -> bool {
    let accepted =
        || request.iter().filter(|field| field.name.eq_ignore_ascii_case(b"accept")).map(|field| field.value);
    let mut takes_json = false;
    for range in fields::list(accepted()) {
        let kind = range.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
        if kind == b"*/*" || kind.starts_with(b"text/") || kind == b"application/xhtml+xml" {
            return false;
        }
        takes_json |= kind == b"application/json" || kind.ends_with(b"+json");
    }
    takes_json
}

/// A reply as problem details (RFC 9457).
pub(super) fn problem(reply: &Reply, phrase: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(128);
    // The words are this program's own, without quotes.
    let written =
        writeln!(body, "{{\"status\":{},\"title\":\"{phrase}\",\"detail\":\"{}\"}}", reply.status, reply.reason);
    debug_assert!(written.is_ok(), "a Vec takes everything");
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_answered_in_json_and_everybody_else_as_people_are() {
        for (accept, is_program) in [
            ("application/json", true),
            ("Application/JSON;q=0.9, application/problem+json", true),
            ("application/json, text/plain, */*", false),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false),
            ("*/*", false),
            ("image/png", false),
            ("", false),
        ] {
            let mut request = Fields::default();
            request.push(b"Accept", accept.as_bytes());
            assert_eq!(wants_json(&request), is_program, "{accept}");
        }
        assert!(!wants_json(&Fields::default()));
        let problem = problem(&Reply::NO_NODE, "Service Unavailable");
        let read: serde_json::Value = serde_json::from_slice(&problem).unwrap();
        assert_eq!(read["detail"], "no node is available");
    }

    #[test]
    fn every_reply_of_this_peer_can_stand_in_json() {
        for reply in [Reply::OPTIONS, Reply::NO_NODE, Reply::MALFORMED, Reply::HEAD_TIMEOUT, Reply::DRAINED] {
            assert!(serde_json::from_slice::<serde_json::Value>(&problem(&reply, "x")).is_ok(), "{reply:?}");
        }
    }
}
