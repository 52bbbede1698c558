//! How sessions stay at their node.

use std::sync::Arc;
use std::time::Duration;

use super::strategy::HashKey;

/// What makes the requests of one session go to the same node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Sticky {
    /// A signed cookie that names the node, which the peer sets.
    Cookie(StickyCookie),
    /// A hash of what a request has anyway: all peers find the same node by it, and nothing is kept anywhere.
    Key(HashKey),
}

impl Sticky {
    /// The name that is shown.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cookie(_) => "cookie",
            Self::Key(_) => "key",
        }
    }
}

/// The cookie of a pool's sessions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StickyCookie {
    /// Its name.
    pub name: Arc<str>,
    /// How long a session lasts after its last request.
    pub ttl: Duration,
    /// The paths for which clients send it.
    pub path: Arc<str>,
    /// The domain for which they do; `None`: the host that they asked.
    pub domain: Option<Arc<str>>,
    /// Whether they do for requests that other sites make.
    pub same_site: SameSite,
}

impl StickyCookie {
    /// How long a session lasts of which nothing else is said.
    pub const TTL_DEFAULT: Duration = Duration::from_secs(3_600);

    /// The name of a pool's cookie that is given none: with one name for all, two pools of a site would overwrite each other's.
    pub fn name_of(pool: &str) -> Arc<str> {
        format!("EVENKEEL-{pool}").into()
    }

    /// The age at which a cookie is set anew when it is used.
    pub fn renewed_after(&self) -> Duration {
        self.ttl / 8
    }

    /// How long a cookie that is set now is believed. Who was answered less than [`StickyCookie::ttl`] ago then holds one that
    /// was younger than [`StickyCookie::renewed_after`], and so still has a session.
    pub fn lifetime(&self) -> Duration {
        self.ttl + self.renewed_after()
    }
}

/// `SameSite` of a cookie (RFC 6265bis section 4.1.2.7).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SameSite {
    /// Not for requests that other sites make, but for links to this one.
    #[default]
    Lax,
    /// Not for anything that begins elsewhere.
    Strict,
    /// For all, which browsers take over TLS only.
    None,
}

impl SameSite {
    /// Every one under the name that users write, and the one on the wire.
    pub const ALL: [(&'static str, Self); 3] = [("lax", Self::Lax), ("strict", Self::Strict), ("none", Self::None)];

    /// As the cookie has it.
    pub fn as_attribute(self) -> &'static str {
        match self {
            Self::Lax => "Lax",
            Self::Strict => "Strict",
            Self::None => "None",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_was_answered_within_the_ttl_holds_a_cookie_that_is_believed() {
        let cookie = StickyCookie {
            name: StickyCookie::name_of("web"),
            ttl: StickyCookie::TTL_DEFAULT,
            path: "/".into(),
            domain: None,
            same_site: SameSite::Lax,
        };
        assert_eq!(&*cookie.name, "EVENKEEL-web");
        // The oldest that is not renewed, and then silence for the whole time.
        assert_eq!(cookie.renewed_after() + cookie.ttl, cookie.lifetime());
    }
}
