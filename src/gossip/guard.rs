//! What of a message chitchat may see.
//!
//! Whoever sends it is a peer: its certificate says so. It may still be faulty or of another version, and chitchat trusts
//! its peers: it ends its task on a key that is not ASCII, on versions that fall and on a digest that leaves no room for an
//! answer; it keeps every id that a digest names, and every key, for as long as the dead are remembered. So:
//!
//! - What no peer of any state would send is refused whole, by rules that are the same everywhere and at all times. Where one
//!   such thing were taken by some and refused by others, those others would refuse the peers that pass it on.
//! - What is only too much for this peer (ids, keys, bytes) is left out of a message, and the rest of it is taken.
//! - Nobody else says what this peer itself says.
//!
//! What a peer says in the name of a third one is not looked at: chitchat signs nothing.
//!
//! Pure: it is told who sent a message and what the time is. It hands chitchat messages that it has put together itself.

mod message;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use chitchat::{ChitchatId, Serializable};
use zstd::bulk::Decompressor;

use self::message::{BLOCK_BYTES_MAX, BLOCK_PLAIN, BLOCKS_END, HEAD_BYTES, Id, Kind, Line, Operation, Rest, What};
use crate::model::PeerId;
use crate::model::limits::{
    GOSSIP_HELD_BYTES_MAX, GOSSIP_IDS_MAX, GOSSIP_KEY_BYTES_MAX, GOSSIP_KEYS_PER_PEER_MAX, GOSSIP_UNPACKED_BYTES_MAX,
    GOSSIP_VALUE_BYTES_MAX, PEERS_MAX,
};
use crate::wire::Advertised;

/// Ids that are taken on anybody's word. The rest of the room is for peers that speak for themselves: somebody who makes up
/// ids keeps no peer out.
const HEARSAY_MAX: usize = GOSSIP_IDS_MAX - PEERS_MAX;
/// So many starts of one peer may stand in that room.
const STARTS_MAX: usize = 4;
/// Between two looks for ids that are silent for long.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// Why a message is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Refused {
    /// It is not one of chitchat 0.11.
    #[error("{0}")]
    Malformed(&'static str),
    /// Small as it came, and large.
    #[error("it unpacks to more than {GOSSIP_UNPACKED_BYTES_MAX} bytes")]
    Unpacked,
    /// Links are to peers of this cluster only.
    #[error("it is of another cluster")]
    Cluster,
    /// No peer is called so.
    #[error("it names a peer by what is not a name")]
    Name,
    /// Nobody can be reached there.
    #[error("it names {0} as the address of a peer")]
    Address(SocketAddr),
    /// chitchat slices keys as if every character had one byte.
    #[error("a key of it is not of 1 to {GOSSIP_KEY_BYTES_MAX} characters of ASCII")]
    Key,
    /// It could not be passed on together with others.
    #[error("a value of it has {0} bytes, and {GOSSIP_VALUE_BYTES_MAX} are allowed")]
    Value(usize),
}

impl Refused {
    /// Whether it could not be read at all, rather than breaking a bound.
    pub(super) fn is_unreadable(&self) -> bool {
        matches!(self, Self::Malformed(_))
    }
}

/// A message that chitchat may see.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) bytes: Vec<u8>,
    /// Ids and values that were left out of it, because there are too many.
    pub(super) left_out: u64,
}

/// What is kept of what was let through: at least as much as chitchat keeps.
pub(super) struct Guard {
    cluster: String,
    /// This peer's own id, as it is written.
    own: Vec<u8>,
    /// An id that is silent for so long is forgotten by chitchat too.
    remembered: Duration,
    ids: BTreeMap<Box<[u8]>, Held>,
    held_bytes: usize,
    forget_at: Instant,
    unpacker: Decompressor<'static>,
    unpacked: Vec<u8>,
}

/// What was let through of one id.
#[derive(Debug)]
struct Held {
    name: Box<str>,
    heartbeat: u64,
    /// When it rose last.
    risen: Instant,
    /// Its keys, and the bytes of the longest value that each had.
    keys: BTreeMap<Box<str>, usize>,
}

impl Guard {
    /// A guard that has let nothing through. `remembered`: for how long chitchat keeps an id that is silent, at most.
    pub(super) fn new(cluster: &str, own: &ChitchatId, remembered: Duration, now: Instant) -> io::Result<Self> {
        Ok(Self {
            cluster: cluster.to_owned(),
            own: own.serialize_to_vec(),
            remembered,
            ids: BTreeMap::new(),
            held_bytes: 0,
            forget_at: now + FORGET_EVERY,
            unpacker: Decompressor::new()?,
            unpacked: Vec::new(),
        })
    }

    /// What chitchat may see of a message. `from` and `address`: who sent it, as the link knows it.
    pub(super) fn admit(
        &mut self,
        from: &PeerId,
        address: SocketAddr,
        message: &[u8],
        now: Instant,
    ) -> Result<Admitted, Refused> {
        self.forget(now);
        let mut unpacked = std::mem::take(&mut self.unpacked);
        let admitted = self.sift((from, address), message, &mut unpacked, now);
        // What one of the largest took must not stay for good.
        unpacked.clear();
        unpacked.shrink_to(2 * BLOCK_BYTES_MAX);
        self.unpacked = unpacked;
        admitted
    }

    /// How many ids had a heartbeat that rose within this time.
    pub(super) fn living(&self, now: Instant, within: Duration) -> usize {
        self.ids.values().filter(|held| now.saturating_duration_since(held.risen) < within).count()
    }

    fn sift(
        &mut self,
        from: (&PeerId, SocketAddr),
        message: &[u8],
        unpacked: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Admitted, Refused> {
        let mut rest = Rest(message);
        let kind = rest.kind()?;
        let lines = match kind {
            Kind::Syn | Kind::SynAck => Some(rest.digest()?),
            Kind::Ack => None,
            Kind::BadCluster => return Err(Refused::Cluster),
        };
        let mut operations = None;
        if kind == Kind::Syn {
            if rest.text()? != self.cluster {
                return Err(Refused::Cluster);
            }
        } else {
            rest.unpack(&mut self.unpacker, unpacked)?;
            operations = Some(Rest(unpacked).operations()?);
        }
        if !rest.0.is_empty() {
            return Err(Refused::Malformed("it goes on after its end"));
        }
        // All of it is looked at before any of it counts.
        let ids = lines.iter().flatten().map(|line| line.id);
        let named = operations.iter().flatten().filter_map(|operation| match operation.what {
            What::Node(id) => Some(id),
            What::Value { .. } | What::LastVersion => None,
        });
        ids.chain(named).try_for_each(|id| self.check_id(&id))?;
        operations.iter().flatten().try_for_each(|operation| check_value(&operation.what))?;

        let mut admitted = Admitted { bytes: Vec::with_capacity(message.len()), left_out: 0 };
        admitted.bytes.extend_from_slice(&message[..HEAD_BYTES]);
        if let Some(lines) = lines {
            self.admit_digest(from, &lines, &mut admitted, now);
        }
        if let Some(operations) = operations {
            self.admit_delta(&operations, &mut admitted);
        } else {
            self.cluster.serialize(&mut admitted.bytes);
        }
        Ok(admitted)
    }

    /// An id that was let through needs no second look.
    fn check_id(&self, id: &Id<'_>) -> Result<(), Refused> {
        if self.ids.contains_key(id.bytes) || id.bytes == self.own {
            return Ok(());
        }
        id.name.parse::<PeerId>().map_err(|_| Refused::Name)?;
        Advertised::new(id.address).map(drop).ok_or(Refused::Address(id.address))
    }

    fn admit_digest(&mut self, from: (&PeerId, SocketAddr), lines: &[Line<'_>], admitted: &mut Admitted, now: Instant) {
        let count_at = admitted.bytes.len();
        admitted.bytes.extend_from_slice(&[0; 2]);
        let mut count: u16 = 0;
        for line in lines {
            if line.id.bytes == self.own || self.admit_id(from, line, now) {
                admitted.bytes.extend_from_slice(line.bytes);
                count += 1;
            } else {
                admitted.left_out += 1;
            }
        }
        admitted.bytes[count_at..][..2].copy_from_slice(&count.to_le_bytes());
    }

    fn admit_id(&mut self, (from, address): (&PeerId, SocketAddr), line: &Line<'_>, now: Instant) -> bool {
        let Line { id, heartbeat, .. } = *line;
        if let Some(held) = self.ids.get_mut(id.bytes) {
            if heartbeat > held.heartbeat {
                (held.heartbeat, held.risen) = (heartbeat, now);
            }
            return true;
        }
        if self.ids.len() >= HEARSAY_MAX {
            let is_its_own = id.name == from.as_str() && id.address == address;
            let starts = || self.ids.values().filter(|held| *held.name == *id.name).count();
            if !is_its_own || self.ids.len() >= GOSSIP_IDS_MAX || starts() >= STARTS_MAX {
                return false;
            }
        }
        let held = Held { name: Box::from(id.name), heartbeat, risen: now, keys: BTreeMap::new() };
        self.ids.insert(Box::from(id.bytes), held);
        true
    }

    fn admit_delta(&mut self, operations: &[Operation<'_>], admitted: &mut Admitted) {
        let mut plain = Vec::new();
        let mut about = None;
        for Operation { bytes, what } in operations {
            if let What::Node(id) = what {
                // chitchat takes values of those only whom a digest named; of this peer it would take them from anybody.
                about = self.ids.get_mut(id.bytes);
            }
            let Some(held) = about.as_deref_mut() else { continue };
            let has_room = match *what {
                What::Node(_) | What::LastVersion => true,
                What::Value { key, value } => held.make_room(key, value.len(), &mut self.held_bytes),
            };
            if has_room {
                plain.extend_from_slice(bytes);
            } else {
                admitted.left_out += 1;
            }
        }
        for block in plain.chunks(BLOCK_BYTES_MAX) {
            admitted.bytes.push(BLOCK_PLAIN);
            admitted.bytes.extend_from_slice(&u16::try_from(block.len()).unwrap_or(u16::MAX).to_le_bytes());
            admitted.bytes.extend_from_slice(block);
        }
        admitted.bytes.push(BLOCKS_END);
    }

    fn forget(&mut self, now: Instant) {
        if now < self.forget_at {
            return;
        }
        self.forget_at = now + FORGET_EVERY;
        let (remembered, held_bytes) = (self.remembered, &mut self.held_bytes);
        self.ids.retain(|_, held| {
            let stays = now.saturating_duration_since(held.risen) < remembered;
            if !stays {
                *held_bytes -= held.keys.iter().map(|(key, longest)| key.len() + longest).sum::<usize>();
            }
            stays
        });
    }
}

impl Held {
    /// Counts a value, if there is room for it. What a key had is not given back: chitchat may keep the longer value.
    fn make_room(&mut self, key: &str, length: usize, held_bytes: &mut usize) -> bool {
        let is_full = self.keys.len() >= GOSSIP_KEYS_PER_PEER_MAX;
        let longest = self.keys.get(key).copied();
        let more = match longest {
            Some(longest) => length.saturating_sub(longest),
            None if is_full => return false,
            None => key.len() + length,
        };
        if more > GOSSIP_HELD_BYTES_MAX.saturating_sub(*held_bytes) {
            return false;
        }
        if more > 0 {
            *held_bytes += more;
            self.keys.insert(Box::from(key), length);
        }
        true
    }
}

fn check_value(what: &What<'_>) -> Result<(), Refused> {
    let What::Value { key, value } = what else { return Ok(()) };
    if !key.is_ascii() || key.is_empty() || key.len() > GOSSIP_KEY_BYTES_MAX {
        return Err(Refused::Key);
    }
    if value.len() > GOSSIP_VALUE_BYTES_MAX { Err(Refused::Value(value.len())) } else { Ok(()) }
}
