//! What happens at nodes and pools right now: counts that workers write and pickers read, without locks.
//!
//! A [`NodeLive`] outlives every view that names its node, so counts survive a change of the view. What pickers read
//! stands apart from what only `/metrics` reads, each on cache lines of its own: a picker on one core does not wait for
//! a line because a worker on another adds to a byte count.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use std::time::Duration;

use super::queue::Queue;

/// One share of the moving averages that a new sample gets: 1/8, as TCP smooths its round trip (RFC 6298 section 2).
const AVERAGE_SHIFT: u32 = 3;

/// A value that shares its cache lines with nothing else. 64 bytes is the line of x86-64 and of most arm64 cores.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct OwnLines<T>(T);

impl<T> Deref for OwnLines<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The live figures of one node at this peer.
#[derive(Debug, Default)]
pub struct NodeLive {
    picking: OwnLines<Picking>,
    /// What it did since the peer started.
    pub counts: OwnLines<NodeCounts>,
}

/// What a picker reads of a node.
#[derive(Debug, Default)]
struct Picking {
    /// Exchanges and connections that hold a place now.
    in_flight: AtomicU32,
    /// What other peers have there, as far as was heard: the same line, so that reading it costs a picker nothing more.
    elsewhere: AtomicU32,
    /// A connection to it was refused or reset and no probe has answered since.
    suspect: AtomicBool,
    /// Moving average of the time to the head of an answer, in µs; 0: never measured.
    response_us: AtomicU32,
}

/// Totals of one node since the peer started.
#[derive(Debug, Default)]
pub struct NodeCounts {
    /// Requests sent and TCP connections relayed.
    pub requests: AtomicU64,
    /// Answers by class: `[0]` 1xx to `[4]` 5xx.
    pub answers: [AtomicU64; 5],
    /// Connections opened.
    pub connections: AtomicU64,
    /// Connections that could not be opened.
    pub connect_failures: AtomicU64,
    /// Exchanges that broke after they were sent: reset, cut short, malformed.
    pub exchange_failures: AtomicU64,
    /// Exchanges that ran into a time-out of the node's.
    pub timeouts: AtomicU64,
    /// Exchanges and connections that were cut because the time of a drain was over.
    pub drains_cut: AtomicU64,
    /// Bytes of bodies and relays from clients to the node.
    pub bytes_sent: AtomicU64,
    /// Bytes of bodies and relays from the node to clients.
    pub bytes_received: AtomicU64,
}

impl NodeLive {
    /// Exchanges and connections that hold a place now.
    pub fn in_flight(&self) -> u32 {
        self.picking.in_flight.load(Relaxed)
    }

    /// What other peers have in flight there, aged; 0 in a cluster of one.
    pub fn in_flight_elsewhere(&self) -> u32 {
        self.picking.elsewhere.load(Relaxed)
    }

    /// What all peers together have in flight there: what a choice goes by. Places are counted at each peer for itself.
    pub fn in_flight_everywhere(&self) -> u32 {
        self.in_flight().saturating_add(self.in_flight_elsewhere())
    }

    /// Notes what others have in flight. Only the view's own actor does.
    pub(crate) fn set_in_flight_elsewhere(&self, count: u32) {
        if self.in_flight_elsewhere() != count {
            self.picking.elsewhere.store(count, Relaxed);
        }
    }

    /// Whether a connection failed and no probe has answered since. Such a node is passed over while others are left.
    pub fn is_suspect(&self) -> bool {
        self.picking.suspect.load(Relaxed)
    }

    /// Notes hard evidence; true where it is news, so that one probe is asked for and not one a request.
    pub fn suspect(&self) -> bool {
        !self.picking.suspect.swap(true, Relaxed)
    }

    /// A probe answered; true where it was suspected, and then whoever waits for a place may try this node again
    /// ([`Queue::wake_all`]).
    pub fn clear_suspicion(&self) -> bool {
        self.picking.suspect.swap(false, Relaxed)
    }

    /// Moving average of the time to the head of an answer; `None` before the first.
    pub fn response_time(&self) -> Option<Duration> {
        match self.response_us() {
            0 => None,
            us => Some(Duration::from_micros(us.into())),
        }
    }

    /// The same in µs; 0: never measured.
    pub(super) fn response_us(&self) -> u32 {
        self.picking.response_us.load(Relaxed)
    }

    /// Adds one measured time to the average. Two workers at once may lose one sample, which an average bears.
    pub fn note_response_time(&self, time: Duration) {
        let sample = u32::try_from(time.as_micros()).unwrap_or(u32::MAX).max(1);
        let old = self.response_us();
        let new = if old == 0 { sample } else { (old - (old >> AVERAGE_SHIFT) + (sample >> AVERAGE_SHIFT)).max(1) };
        self.picking.response_us.store(new, Relaxed);
    }

    /// The node was away: what it measured before says nothing of it now.
    pub fn forget_response_time(&self) {
        self.picking.response_us.store(0, Relaxed);
    }
}

/// The live figures of one pool at this peer.
#[derive(Debug, Default)]
pub struct PoolLive {
    in_flight: OwnLines<InFlight>,
    /// Where `round_robin` stands.
    pub(super) cursor: OwnLines<AtomicUsize>,
    /// Where `round_robin` among regions stands.
    region_cursor: AtomicUsize,
    /// Of those in flight, the ones that are a second or later try.
    retrying: AtomicU32,
    /// Requests that wait for a place at a full node.
    pub queue: Queue,
    /// Requests that were sent again, in total.
    pub retries: AtomicU64,
    /// Retries that the budget refused, in total.
    pub retries_refused: AtomicU64,
}

/// Requests between pick and end, over all nodes.
#[derive(Debug, Default)]
struct InFlight {
    here: AtomicU32,
    elsewhere: AtomicU32,
}

impl PoolLive {
    /// Requests between pick and end, over all nodes.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.here.load(Relaxed)
    }

    /// The same over all peers, as far as was heard.
    pub fn in_flight_everywhere(&self) -> u32 {
        self.in_flight().saturating_add(self.in_flight.elsewhere.load(Relaxed))
    }

    /// Notes what others have in flight. Only the view's own actor does.
    pub(crate) fn set_in_flight_elsewhere(&self, count: u32) {
        if self.in_flight.elsewhere.load(Relaxed) != count {
            self.in_flight.elsewhere.store(count, Relaxed);
        }
    }

    /// Whose turn it is of so many regions, which are not none.
    pub(crate) fn next_region(&self, count: usize) -> usize {
        self.region_cursor.fetch_add(1, Relaxed) % count
    }

    /// Takes a place at `node` unless `places` are taken. Whoever took one gives it back once, by [`Self::leave`];
    /// `view::Taken` sees to that. No guard here: it would have to count references to both, and counts that all
    /// workers write are what a pick costs most.
    pub(crate) fn try_enter(&self, node: &NodeLive, places: u32) -> bool {
        let in_flight = &node.picking.in_flight;
        // Never above `places`, not even for a moment: whoever looked in that moment would go to wait beside a free place.
        let entered = in_flight.fetch_update(SeqCst, Relaxed, |count| (count < places).then_some(count + 1)).is_ok();
        if entered {
            self.in_flight.here.fetch_add(1, Relaxed);
        }
        entered
    }

    /// Gives a place back and lets in whoever waits longest, if anybody does. Sequentially consistent, as is the look at
    /// the waiting line: either whoever lines up meanwhile is seen there, or it sees this place (`queue.rs`).
    pub(crate) fn leave(&self, node: &NodeLive) {
        node.picking.in_flight.fetch_sub(1, SeqCst);
        self.in_flight.here.fetch_sub(1, Relaxed);
        self.queue.wake_one();
    }

    /// Asks the budget for one more try: at most 20 % of the requests in flight, and 3 more, are retries at any time
    /// (as Envoy and linkerd have it), so that retries cannot multiply an overload.
    pub fn try_retry(self: &Arc<Self>) -> Option<RetryPermit> {
        let most = self.in_flight() / 5 + 3;
        let granted = self.retrying.fetch_update(Relaxed, Relaxed, |count| (count < most).then_some(count + 1)).is_ok();
        let counter = if granted { &self.retries } else { &self.retries_refused };
        counter.fetch_add(1, Relaxed);
        granted.then(|| RetryPermit(Arc::clone(self)))
    }
}

/// One retry under way; given back when dropped.
#[derive(Debug)]
pub struct RetryPermit(Arc<PoolLive>);

impl Drop for RetryPermit {
    fn drop(&mut self) {
        self.0.retrying.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_node_gets_more_than_its_places_however_many_ask() {
        let (node, pool) = (NodeLive::default(), PoolLive::default());
        let most = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if pool.try_enter(&node, 2) {
                            most.fetch_max(node.in_flight(), Relaxed);
                            pool.leave(&node);
                        }
                    }
                });
            }
        });
        assert!((1..=2).contains(&most.load(Relaxed)));
        assert_eq!((node.in_flight(), pool.in_flight()), (0, 0));
    }

    #[test]
    fn retries_stay_within_a_fifth_of_what_is_in_flight_and_three_more() {
        let (node, pool) = (NodeLive::default(), Arc::new(PoolLive::default()));
        for _ in 0..10 {
            assert!(pool.try_enter(&node, 100));
        }
        let granted: Vec<RetryPermit> = std::iter::from_fn(|| pool.try_retry()).collect();
        assert_eq!(granted.len(), 5);
        drop(granted);
        assert!(pool.try_retry().is_some(), "permits come back");
        assert_eq!((pool.retries.load(Relaxed), pool.retries_refused.load(Relaxed)), (6, 1));
    }

    #[test]
    fn the_response_time_follows_what_is_measured_and_can_be_forgotten() {
        let node = NodeLive::default();
        assert_eq!(node.response_time(), None);
        node.note_response_time(Duration::from_millis(8));
        assert_eq!(node.response_time(), Some(Duration::from_millis(8)));
        node.note_response_time(Duration::from_millis(16));
        assert_eq!(node.response_time(), Some(Duration::from_millis(9)));
        node.note_response_time(Duration::from_secs(u64::MAX));
        assert!(node.response_time() > Some(Duration::from_secs(500)));
        node.forget_response_time();
        assert_eq!(node.response_time(), None);
    }

    #[test]
    fn a_suspicion_is_news_once() {
        let node = NodeLive::default();
        assert!(node.suspect());
        assert!(!node.suspect());
        assert!(node.clear_suspicion());
        assert!(!node.clear_suspicion());
        assert!(node.suspect());
    }
}
