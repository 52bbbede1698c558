//! Lists: which names a query may have, which page is asked for, and the form in which a page is answered.

use axum::Json;
use axum::extract::Query;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::ApiError;
use super::timestamp::rfc3339;
use crate::host;
use crate::model::PeerId;
use crate::peer::Handles;

/// Items of a page at most, and when nothing is asked for.
const LIMIT_MAX: usize = 1_000;

/// The query of one request, checked against the names that its path knows.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// The query of `uri`, unless it has a name that is not `known`, or one twice.
    pub(super) fn of(uri: &Uri, known: &[&str]) -> Result<Self, ApiError> {
        Self::repeating(uri, known, &[])
    }

    /// The same; these names may stand there several times.
    pub(super) fn repeating(uri: &Uri, known: &[&str], repeated: &[&str]) -> Result<Self, ApiError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| ApiError::bad_query("the query cannot be read", "write it as ?name=value&name=value"))?;
        for (at, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(ApiError::unknown_query(name, known));
            }
            if !repeated.contains(&name.as_str()) && pairs[..at].iter().any(|(other, _)| other == name) {
                return Err(ApiError::bad_query(format!("{name} stands there twice"), "write it once"));
            }
        }
        Ok(Self(pairs))
    }

    /// The value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

impl Params {
    /// Every value of a name.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// The part of a list that is asked for: at most `limit` items, of those behind `after`.
#[derive(Debug)]
pub(super) struct Page {
    limit: usize,
    after: Option<String>,
}

impl Page {
    /// The names that every list knows.
    pub(super) const PARAMS: [&str; 2] = ["limit", "after"];

    /// What `params` ask for.
    pub(super) fn of(params: &Params) -> Result<Self, ApiError> {
        let limit = match params.get("limit") {
            None => LIMIT_MAX,
            Some(text) => text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)).ok_or_else(|| {
                ApiError::bad_query(format!("limit {text:?} is not allowed"), format!("use 1 to {LIMIT_MAX}"))
            })?,
        };
        Ok(Self { limit, after: params.get("after").map(ToOwned::to_owned) })
    }

    /// The reply: `all` in the order of their keys, of which only this page is shown. `next` is what `after` must be for
    /// the rest. A page stays right while items come and go, because it begins behind a key and not at a number.
    pub(super) fn reply<T, S: Serialize>(
        self,
        all: Vec<T>,
        key: impl Fn(&T) -> &str,
        show: impl Fn(&T) -> S,
        handles: &Handles,
    ) -> Response {
        self.reply_without(all, key, show, super::peers::missing(handles))
    }

    /// The same, where it is known of which peers nothing is in it.
    pub(super) fn reply_without<T, S: Serialize>(
        self,
        mut all: Vec<T>,
        key: impl Fn(&T) -> &str,
        show: impl Fn(&T) -> S,
        missing_peers: Vec<PeerId>,
    ) -> Response {
        all.sort_by(|a, b| key(a).cmp(key(b)));
        let begin = self.after.map_or(0, |after| all.partition_point(|item| key(item) <= after.as_str()));
        let page = &all[begin..all.len().min(begin + self.limit)];
        let more = begin + page.len() < all.len();
        Json(List {
            items: page.iter().map(show).collect(),
            next: page.last().filter(|_| more).map(key),
            as_of: rfc3339(host::wall_now()),
            missing_peers,
        })
        .into_response()
    }
}

#[derive(Serialize)]
struct List<'a, S> {
    items: Vec<S>,
    next: Option<&'a str>,
    as_of: String,
    /// Peers that are known and do not answer: what they would say is not in here.
    missing_peers: Vec<PeerId>,
}
