use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{
    ChitchatConfig, ChitchatHandle, ChitchatMessage, Deserializable, FailureDetectorConfig, spawn_chitchat,
};
use proptest::prelude::*;
use tokio::sync::mpsc;

use super::*;
use crate::host;

const REMEMBERED: Duration = Duration::from_secs(140);

/// What is put together for a guard: by hand, since chitchat writes nothing that is wrong.
#[derive(Clone, Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn message(kind: u8) -> Self {
        Self(vec![0x53, 0xb0, 0, kind])
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.raw(&u16::try_from(text.len()).unwrap().to_le_bytes()).raw(text.as_bytes())
    }

    fn number(self, number: u64) -> Self {
        self.raw(&number.to_le_bytes())
    }

    fn id(self, id: &ChitchatId) -> Self {
        self.raw(&id.serialize_to_vec())
    }

    fn digest<'a>(self, ids: impl IntoIterator<Item = (&'a ChitchatId, u64)>) -> Self {
        let lines: Vec<_> = ids.into_iter().collect();
        let head = self.raw(&u16::try_from(lines.len()).unwrap().to_le_bytes());
        lines.into_iter().fold(head, |bytes, (id, heartbeat)| bytes.id(id).number(heartbeat).number(0).number(9))
    }

    fn node(self, id: &ChitchatId) -> Self {
        self.raw(&[0]).id(id).number(0).number(0)
    }

    fn value(self, key: &str, value: &str, version: u64) -> Self {
        self.raw(&[1]).text(key).text(value).number(version).raw(&[0])
    }

    fn last_version(self, version: u64) -> Self {
        self.raw(&[2]).number(version)
    }

    /// Operations in blocks, packed as chitchat packs them.
    fn delta(self, operations: &Self) -> Self {
        let blocks = operations.0.chunks(60_000).fold(self, |bytes, block| {
            let packed = zstd::bulk::compress(block, 0).unwrap();
            bytes.raw(&[1]).raw(&u16::try_from(packed.len()).unwrap().to_le_bytes()).raw(&packed)
        });
        blocks.raw(&[0])
    }

    fn syn<'a>(ids: impl IntoIterator<Item = (&'a ChitchatId, u64)>) -> Self {
        Self::message(0).digest(ids).text("evenkeel")
    }

    fn ack(operations: &Self) -> Self {
        Self::message(2).delta(operations)
    }
}

struct Guarded {
    guard: Guard,
    start: Instant,
}

impl Guarded {
    fn new() -> Self {
        let start = host::now();
        Self { guard: Guard::new("evenkeel", &own(), REMEMBERED, start).unwrap(), start }
    }

    fn at(&mut self, seconds: u64, from: &str, bytes: &Bytes) -> Result<Admitted, Refused> {
        let now = self.start + Duration::from_secs(seconds);
        self.guard.admit(&from.parse().unwrap(), address(1), &bytes.0, now)
    }

    fn take(&mut self, bytes: &Bytes) -> Result<Admitted, Refused> {
        self.at(0, "p1", bytes)
    }

    /// Says of a delta whether chitchat gets it as it came.
    fn left_out(&mut self, operations: &Bytes) -> Result<u64, Refused> {
        let admitted = self.take(&Bytes::ack(operations))?;
        ChitchatMessage::deserialize(&mut &admitted.bytes[..]).unwrap();
        Ok(admitted.left_out)
    }
}

fn address(number: u32) -> SocketAddr {
    SocketAddr::from((std::net::Ipv4Addr::from(0x0a00_0000 + number), 7_940))
}

fn own() -> ChitchatId {
    ChitchatId::new("own", 1, address(0))
}

fn peer(name: &str) -> ChitchatId {
    ChitchatId::new(name, 1, address(1))
}

fn read(admitted: &Admitted) -> String {
    format!("{:?}", ChitchatMessage::deserialize(&mut &admitted.bytes[..]).unwrap())
}

#[test]
fn a_key_that_would_end_chitchats_task_is_refused() {
    let mut guarded = Guarded::new();
    let p1 = peer("p1");
    assert_eq!(guarded.take(&Bytes::syn([(&p1, 1)])).unwrap().left_out, 0);
    for key in ["région", "", "\u{1f980}", &"k".repeat(GOSSIP_KEY_BYTES_MAX + 1)] {
        assert_eq!(guarded.left_out(&Bytes::default().node(&p1).value(key, "x", 1)), Err(Refused::Key), "{key:?}");
    }
    assert_eq!(guarded.left_out(&Bytes::default().node(&p1).value("region", "eu", 1)), Ok(0));
}

#[test]
fn a_value_that_is_too_long_to_be_passed_on_is_refused() {
    let mut guarded = Guarded::new();
    let p1 = peer("p1");
    let value = |length: usize| Bytes::default().node(&p1).value("page.1", &"v".repeat(length), 1);
    assert_eq!(guarded.left_out(&value(GOSSIP_VALUE_BYTES_MAX)), Ok(0));
    let long = GOSSIP_VALUE_BYTES_MAX + 1;
    assert_eq!(guarded.left_out(&value(long)), Err(Refused::Value(long)));
}

#[test]
fn versions_that_fall_are_refused() {
    let mut guarded = Guarded::new();
    let p1 = peer("p1");
    let node = || Bytes::default().node(&p1);
    for bad in [
        node().value("a", "x", 10).last_version(5),
        node().value("a", "x", 10).value("b", "x", 10),
        node().value("a", "x", 0),
        node().last_version(5).value("a", "x", 10),
        node().last_version(5).last_version(6),
        Bytes::default().value("a", "x", 1),
        Bytes::default().last_version(1),
    ] {
        assert!(matches!(guarded.left_out(&bad), Err(Refused::Malformed(_))));
    }
    assert_eq!(guarded.left_out(&node().last_version(5)), Ok(0));
    assert_eq!(guarded.left_out(&node()), Ok(0));
}

#[test]
fn names_and_addresses_that_no_peer_has_are_refused_wherever_they_stand() {
    let mut guarded = Guarded::new();
    let named = |name: &str| ChitchatId::new(name, 1, address(1));
    let at = |address: &str| ChitchatId::new("p1", 1, address.parse().unwrap());
    for id in [named(""), named("P1"), named("p 1"), named(&"p".repeat(64)), named("pé")] {
        assert_eq!(guarded.take(&Bytes::syn([(&id, 1)])).unwrap_err(), Refused::Name);
        assert_eq!(guarded.left_out(&Bytes::default().node(&id)), Err(Refused::Name));
    }
    for id in [at("0.0.0.0:1"), at("10.0.0.1:0"), at("224.0.0.1:7940"), at("[::]:7940"), at("[ff02::1]:7940")] {
        let refused = Refused::Address(id.gossip_advertise_addr);
        assert_eq!(guarded.take(&Bytes::syn([(&id, 1)])).unwrap_err(), refused);
        assert_eq!(guarded.left_out(&Bytes::default().node(&id)), Err(refused));
    }
    assert_eq!(guarded.take(&Bytes::syn([(&at("[fd00::1]:7940"), 1)])).unwrap().left_out, 0);
}

#[test]
fn messages_of_another_cluster_are_refused() {
    let mut guarded = Guarded::new();
    assert_eq!(guarded.take(&Bytes::message(0).digest([]).text("other")).unwrap_err(), Refused::Cluster);
    assert_eq!(guarded.take(&Bytes::message(3)).unwrap_err(), Refused::Cluster);
}

#[test]
fn what_is_not_a_message_cannot_be_read() {
    let mut guarded = Guarded::new();
    let whole = Bytes::message(1).digest([(&peer("p1"), 1)]).delta(&Bytes::default().node(&peer("p1")));
    assert_eq!(guarded.take(&whole).unwrap().left_out, 0);
    for length in 0..whole.0.len() {
        let refused = guarded.take(&Bytes(whole.0[..length].to_vec())).unwrap_err();
        assert!(refused.is_unreadable(), "{length} bytes: {refused}");
    }
    for bad in [
        whole.clone().raw(&[0]),
        Bytes::message(4),
        Bytes(vec![0x53, 0xb1, 0, 3]),
        Bytes(vec![0x53, 0xb0, 1, 3]),
        Bytes::message(2).raw(&[3, 0, 0, 0]),
        Bytes::message(2).raw(&[1, 4, 0]).raw(b"none").raw(&[0]),
        Bytes::ack(&Bytes::default().raw(&[3])),
        Bytes::ack(&Bytes::default().node(&peer("p1")).raw(&[1]).text("a").text("x").number(1).raw(&[3])),
    ] {
        assert!(guarded.take(&bad).unwrap_err().is_unreadable());
    }
}

#[test]
fn a_small_message_that_unpacks_to_much_is_refused_with_little_memory() {
    let mut guarded = Guarded::new();
    let block = zstd::bulk::compress(&vec![b'x'; 65_000], 0).unwrap();
    let one = Bytes::default().raw(&[1]).raw(&u16::try_from(block.len()).unwrap().to_le_bytes()).raw(&block);
    let bomb = Bytes::message(2).raw(&one.0.repeat(70_000 / one.0.len())).raw(&[0]);
    assert!(bomb.0.len() <= 70_004);
    assert_eq!(guarded.take(&bomb).unwrap_err(), Refused::Unpacked);
    assert!(guarded.guard.unpacked.capacity() <= 2 * BLOCK_BYTES_MAX);
    // A block that alone unpacks to more than a block may hold.
    let large = zstd::bulk::compress(&vec![0; 70_000], 0).unwrap();
    let large = Bytes::message(2).raw(&[1]).raw(&u16::try_from(large.len()).unwrap().to_le_bytes()).raw(&large);
    assert!(guarded.take(&large.raw(&[0])).unwrap_err().is_unreadable());
}

#[test]
fn made_up_ids_are_left_out_beyond_a_bound_and_keep_no_real_peer_out() {
    let mut guarded = Guarded::new();
    let known = peer("known");
    guarded.take(&Bytes::syn([(&known, 1)])).unwrap();
    let mut left_out = 0;
    for batch in 0..10 {
        let ids: Vec<ChitchatId> = (0..300).map(|number| peer(&format!("ghost-{batch}-{number}"))).collect();
        left_out += guarded.take(&Bytes::syn(ids.iter().map(|id| (id, 1)))).unwrap().left_out;
    }
    assert_eq!(guarded.guard.ids.len(), HEARSAY_MAX);
    assert_eq!(left_out, 3_000 + 1 - HEARSAY_MAX as u64);

    // Known peers are named on, new ones when they speak themselves, and both in one message with ghosts.
    let (new, ghost) = (peer("new"), peer("ghost"));
    let admitted = guarded.at(0, "new", &Bytes::syn([(&known, 2), (&new, 1), (&ghost, 1), (&own(), 1)])).unwrap();
    assert_eq!(admitted.left_out, 1);
    let read = read(&admitted);
    assert!(
        read.contains("known") && read.contains("new") && read.contains("own") && !read.contains("ghost"),
        "{read}"
    );

    // One that makes up starts of its own has a few.
    let starts: Vec<ChitchatId> = (0..100).map(|start| ChitchatId::new("liar", start, address(1))).collect();
    let left_out = guarded.at(0, "liar", &Bytes::syn(starts.iter().map(|id| (id, 1)))).unwrap().left_out;
    assert_eq!(left_out, 100 - STARTS_MAX as u64);

    // All that is silent is forgotten, and what beats is not.
    guarded.at(100, "p1", &Bytes::syn([(&known, 3)])).unwrap();
    guarded.at(150, "p1", &Bytes::syn([(&ghost, 1)])).unwrap();
    assert_eq!(guarded.guard.ids.len(), 2);
}

#[test]
fn keys_and_bytes_of_peers_are_bounded_and_the_rest_of_a_message_is_taken() {
    let mut guarded = Guarded::new();
    let (p1, p2) = (peer("p1"), peer("p2"));
    guarded.take(&Bytes::syn([(&p1, 1), (&p2, 1)])).unwrap();
    let keys = GOSSIP_KEYS_PER_PEER_MAX as u64 + 44;
    let many = (1..=keys).fold(Bytes::default().node(&p1), |bytes, at| bytes.value(&format!("k{at}"), "x", at));
    assert_eq!(guarded.left_out(&many.clone().node(&p2).value("region", "eu", 1)), Ok(44));
    assert_eq!(guarded.left_out(&many), Ok(44), "those that it has may change");

    let long = "v".repeat(GOSSIP_VALUE_BYTES_MAX);
    let ids: Vec<ChitchatId> = (0..HEARSAY_MAX - 2).map(|number| peer(&format!("ghost-{number}"))).collect();
    guarded.take(&Bytes::syn(ids.iter().map(|id| (id, 1)))).unwrap();
    let mut left_out = 0;
    for (id, half) in ids.iter().flat_map(|id| [(id, 0_u64), (id, 1)]) {
        let values = (1..=100)
            .fold(Bytes::default().node(id), |bytes, at| bytes.value(&format!("k{half}-{at}"), &long, 100 * half + at));
        left_out += guarded.left_out(&values).unwrap();
    }
    assert!(left_out > 0);
    let held = &guarded.guard;
    let summed: usize = held.ids.values().flat_map(|held| &held.keys).map(|(key, longest)| key.len() + longest).sum();
    assert_eq!(summed, held.held_bytes);
    assert!((GOSSIP_HELD_BYTES_MAX - 10_000..=GOSSIP_HELD_BYTES_MAX).contains(&held.held_bytes), "{}", held.held_bytes);
    guarded.at(REMEMBERED.as_secs(), "p1", &Bytes::syn([])).unwrap();
    assert_eq!(guarded.guard.held_bytes, 0);
}

#[test]
fn nobody_says_what_this_peer_says() {
    let mut guarded = Guarded::new();
    let p1 = peer("p1");
    guarded.take(&Bytes::syn([(&p1, 1), (&own(), 7)])).unwrap();
    let about_both = Bytes::default()
        .node(&own())
        .value("region", "mars", u64::MAX)
        .node(&p1)
        .value("region", "eu", 1)
        .node(&peer("unknown"))
        .last_version(3);
    let admitted = guarded.take(&Bytes::ack(&about_both)).unwrap();
    let read = read(&admitted);
    assert!(read.contains("eu") && !read.contains("mars") && !read.contains("own"), "{read}");
    assert_eq!(admitted.left_out, 0, "a late answer to this peer's own words is no fault");
}

/// Who sent it, and what.
type Carried = (ChitchatId, Vec<u8>);

/// Carries messages between peers of a test, each through the guard of who gets it.
struct Wire {
    own: ChitchatId,
    inboxes: Arc<Mutex<BTreeMap<SocketAddr, mpsc::Sender<Carried>>>>,
    carried: Arc<Mutex<Vec<usize>>>,
}

struct End {
    wire: Wire,
    inbox: mpsc::Receiver<Carried>,
    guard: Guard,
}

#[async_trait]
impl Transport for Wire {
    async fn open(&self, listen: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let (sender, inbox) = mpsc::channel(1_000);
        self.inboxes.lock().unwrap().insert(listen, sender);
        let wire =
            Self { own: self.own.clone(), inboxes: Arc::clone(&self.inboxes), carried: Arc::clone(&self.carried) };
        let guard = Guard::new("evenkeel", &self.own, REMEMBERED, host::now())?;
        Ok(Box::new(End { wire, inbox, guard }))
    }
}

#[async_trait]
impl Socket for End {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let inbox = self.wire.inboxes.lock().unwrap().get(&to).cloned();
        if let Some(inbox) = inbox {
            inbox.try_send((self.wire.own.clone(), message.serialize_to_vec()))?;
        }
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        let (from, bytes) = self.inbox.recv().await.unwrap();
        let from_peer = from.node_id.parse().unwrap();
        let admitted = self.guard.admit(&from_peer, from.gossip_advertise_addr, &bytes, host::now()).unwrap();
        assert_eq!(admitted.left_out, 0);
        self.wire.carried.lock().unwrap().push(bytes.len());
        Ok((from.gossip_advertise_addr, ChitchatMessage::deserialize(&mut &admitted.bytes[..]).unwrap()))
    }
}

async fn until(peers: &[ChitchatHandle], what: impl Fn(&chitchat::Chitchat) -> bool) {
    loop {
        let mut left = 0;
        for peer in peers {
            let chitchat = peer.chitchat();
            left += usize::from(!what(&*chitchat.lock().await));
        }
        if left == 0 {
            return;
        }
        tokio::time::advance(Duration::from_millis(10)).await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn all_that_real_peers_say_to_each_other_passes_as_it_is() {
    let (inboxes, carried) = (Arc::default(), Arc::<Mutex<Vec<usize>>>::default());
    let mut peers = Vec::new();
    for number in 1..=3 {
        let own = ChitchatId::new(format!("p{number}"), 1, address(number));
        let wire = Wire { own: own.clone(), inboxes: Arc::clone(&inboxes), carried: Arc::clone(&carried) };
        let config = ChitchatConfig {
            listen_addr: own.gossip_advertise_addr,
            chitchat_id: own,
            cluster_id: "evenkeel".to_owned(),
            gossip_interval: Duration::from_millis(100),
            seed_nodes: vec![address(1).to_string()],
            failure_detector_config: FailureDetectorConfig::default(),
            marked_for_deletion_grace_period: Duration::from_secs(2),
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        peers.push(spawn_chitchat(config, vec![("region".to_owned(), "eu".to_owned())], &wire).await.unwrap());
    }
    let mut dice = host::Dice::from_seed(1);
    for peer in &peers {
        let chitchat = peer.chitchat();
        let mut chitchat = chitchat.lock().await;
        for page in 0..crate::model::limits::HEARD_PAGES_MAX {
            let text: String = (0..1_500).map(|_| char::from(b'a' + (dice.bits() % 26) as u8)).collect();
            chitchat.self_node_state().set(format!("page.{page}"), text);
        }
    }
    until(&peers, |chitchat| {
        let pages = chitchat.node_states().values().map(|state| state.key_values().count());
        pages.clone().count() == 3 && pages.sum::<usize>() == 3 * 129
    })
    .await;
    for peer in &peers {
        let chitchat = peer.chitchat();
        let mut chitchat = chitchat.lock().await;
        (0..100).for_each(|page| chitchat.self_node_state().delete(&format!("page.{page}")));
    }
    // Until the deleted ones are forgotten too.
    until(&peers, |chitchat| {
        chitchat.node_states().values().all(|state| state.key_values_including_deleted().count() == 29)
    })
    .await;
    let carried = carried.lock().unwrap();
    let most = carried.iter().max();
    assert!(most.is_some_and(|bytes| *bytes > 50_000), "full deltas were among them: {most:?}");
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(kind in 0..5_u8, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut guarded = Guarded::new();
        let _ = guarded.take(&Bytes(bytes.clone()));
        let _ = guarded.take(&Bytes::message(kind).raw(&bytes));
        let _ = guarded.take(&Bytes::ack(&Bytes(bytes.clone())));
        let _ = guarded.take(&Bytes::ack(&Bytes::default().node(&peer("p1")).raw(&bytes)));
        prop_assert!(guarded.guard.ids.len() <= GOSSIP_IDS_MAX);
    }

    #[test]
    fn a_real_message_that_is_bent_is_taken_or_refused(at in 0..200_usize, with in any::<u8>(), cut in 0..400_usize) {
        let mut guarded = Guarded::new();
        let (p1, p2) = (peer("p1"), peer("p2"));
        let operations = Bytes::default().node(&p1).value("region", "eu", 1).value("api", "x", 2).node(&p2).last_version(4);
        let mut plain = Bytes::message(1).digest([(&p1, 1), (&p2, 2)]).raw(&[2]);
        plain = plain.raw(&u16::try_from(operations.0.len()).unwrap().to_le_bytes()).raw(&operations.0).raw(&[0]);
        let at = at % plain.0.len();
        plain.0[at] = with;
        plain.0.truncate(cut);
        if let Ok(admitted) = guarded.take(&plain) {
            prop_assert!(admitted.bytes.len() <= plain.0.len());
        }
    }
}
