//! Where a request or connection is to be sent, as its route or its listener says.

use std::borrow::Cow;

use crate::model::{End, Fallback, Files, FixedAnswer, Forward, PoolName, Redirect, RegionChoice, RegionName, Target};
use crate::view::{Ask, View, Wanted, WantedNode};

/// What is to become of a request.
#[derive(Clone, Debug)]
pub(crate) enum Course<'r> {
    /// A node gets it.
    Forward(Way<'r>),
    /// The client is told where to go.
    Redirect(&'r Redirect),
    /// The peer answers.
    Answer(&'r FixedAnswer),
    /// The peer answers with a file.
    Files(&'r Files),
    /// The peer refuses it with this status.
    Refuse(u16),
}

/// Where a request is to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Way<'r> {
    pub(crate) pool: Cow<'r, PoolName>,
    pub(crate) node: Option<WantedNode<'r>>,
    pub(crate) regions: Option<&'r RegionChoice>,
    /// Where else, if that fails.
    pub(crate) fallback: Option<&'r Fallback>,
}

impl<'r> Way<'r> {
    pub(crate) fn to(pool: &'r PoolName) -> Self {
        Self { pool: Cow::Borrowed(pool), node: None, regions: None, fallback: None }
    }

    /// What to ask the picture for.
    pub(crate) fn wanted<'w>(&'w self, ask: Ask, client_region: Option<&'w RegionName>) -> Wanted<'w> {
        Wanted { pool: &self.pool, node: self.node, client_region, regions: self.regions, ask }
    }
}

impl<'r> Course<'r> {
    /// Of a request whose routes say this end; `pool`: of its listener. `None`: the route's node is no more.
    pub(crate) fn of(end: Option<&'r End>, pool: &'r PoolName, view: &View) -> Option<Self> {
        Some(match end {
            None => Self::Forward(Way::to(pool)),
            Some(End::Forward(Forward { to: Target::Pool(pool), regions, fallback })) => {
                Self::Forward(Way { regions: regions.as_ref(), fallback: fallback.as_ref(), ..Way::to(pool) })
            }
            Some(End::Forward(Forward { to: Target::Node { node, strict }, fallback, .. })) => {
                let (pool, _) = view.node(node)?;
                Self::Forward(Way {
                    pool: Cow::Owned(pool.pool.name.clone()),
                    node: Some(WantedNode { id: node, strict: *strict }),
                    regions: None,
                    fallback: fallback.as_ref(),
                })
            }
            Some(End::Redirect(redirect)) => Self::Redirect(redirect),
            Some(End::Answer(answer)) => Self::Answer(answer),
            Some(End::Files(files)) => Self::Files(files),
            Some(End::Refuse(status)) => Self::Refuse(*status),
        })
    }
}
