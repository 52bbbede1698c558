//! The keys of what a peer gossips about itself. All of them are ASCII: chitchat 0.11 ends every reader's task on one that is
//! not.

/// Where the peer is.
pub(super) const REGION: &str = "region";
/// Where its API listens, for people.
pub(super) const API: &str = "api";
/// What it runs, for people.
pub(super) const SOFTWARE: &str = "software";
/// There while the peer stops.
pub(super) const LEAVING: &str = "leaving";
/// Rises while the peer's checks keep time: its observations are worth something.
pub(super) const SWEEP: &str = "sweep";
/// The nodes at which it has most in flight.
pub(super) const LOAD: &str = "load";
/// What it is asked, by the region that is a request's first choice.
pub(super) const DEMAND: &str = "demand";
/// The revision of the catalog that it serves by.
pub(super) const CATALOG: &str = "catalog";
/// What goes before the number of a page of observations.
const PAGE: &str = "page.";

/// The key of a page of observations.
pub(super) fn page_key(page: u16) -> String {
    format!("{PAGE}{page}")
}

/// The page that a key is of.
pub(super) fn page_of(key: &str) -> Option<u16> {
    key.strip_prefix(PAGE)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_ascii_and_a_page_is_found_by_its_key() {
        for key in [REGION, API, SOFTWARE, LEAVING, SWEEP, LOAD, DEMAND, CATALOG, PAGE] {
            assert!(key.is_ascii() && !key.is_empty());
            assert_eq!(page_of(key), None);
        }
        assert_eq!(page_of(&page_key(1_023)), Some(1_023));
        assert_eq!(page_of("page.x"), None);
    }
}
