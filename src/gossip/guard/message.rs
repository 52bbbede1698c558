//! chitchat 0.11's messages as they stand on the wire, read strictly and without a copy.
//!
//! | what | bytes; numbers are little-endian |
//! | --- | --- |
//! | message | magic `53 b0`, version 0, kind; then SYN (0): digest, cluster; SYN-ACK (1): digest, delta; ACK (2): delta; BAD-CLUSTER (3) |
//! | text | length in two bytes, UTF-8 |
//! | id | name as text, generation (8), family 4 or 6 (1), IP, port (2) |
//! | digest | count (2), then of each: id, heartbeat (8), last collected version (8), last version (8) |
//! | delta | blocks until one of kind 0; kind 1 is a zstd frame and kind 2 plain, both with a length (2) before; unpacked and put together they are operations |
//! | operation | 0: id, last collected version (8), version it begins after (8). 1: key and value as texts, version (8), status 0 to 2. 2: last version (8) |
//!
//! An operation of kind 1 or 2 is about the id before it; kind 2 is written where no value was, in place of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use zstd::bulk::Decompressor;

use super::Refused;
use crate::model::limits::GOSSIP_UNPACKED_BYTES_MAX;

/// Magic, version and kind.
pub(super) const HEAD_BYTES: usize = 4;
const MAGIC_AND_VERSION: [u8; 3] = [0x53, 0xb0, 0];
/// A block's length stands in two bytes, and chitchat gives itself as much room to unpack one.
pub(super) const BLOCK_BYTES_MAX: usize = u16::MAX as usize;
pub(super) const BLOCKS_END: u8 = 0;
const BLOCK_PACKED: u8 = 1;
pub(super) const BLOCK_PLAIN: u8 = 2;
const STATUS_MAX: u8 = 2;

const CUT: Refused = Refused::Malformed("it ends too early");

/// What a message is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Syn,
    SynAck,
    Ack,
    BadCluster,
}

/// Bytes that are still to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest<'a>(pub(super) &'a [u8]);

/// Who is meant: one start of one peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Id<'a> {
    /// All of it as it stands there; two ids are the same where these are.
    pub(super) bytes: &'a [u8],
    pub(super) name: &'a str,
    pub(super) address: SocketAddr,
}

/// A line of a digest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) id: Id<'a>,
    pub(super) heartbeat: u64,
}

/// One step of a delta.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) what: What<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum What<'a> {
    Node(Id<'a>),
    Value { key: &'a str, value: &'a str },
    LastVersion,
}

impl<'a> Rest<'a> {
    pub(super) fn kind(&mut self) -> Result<Kind, Refused> {
        if self.array::<3>()? != MAGIC_AND_VERSION {
            return Err(Refused::Malformed("it does not begin as chitchat 0.11 does"));
        }
        match self.byte()? {
            0 => Ok(Kind::Syn),
            1 => Ok(Kind::SynAck),
            2 => Ok(Kind::Ack),
            3 => Ok(Kind::BadCluster),
            _ => Err(Refused::Malformed("it is of no known kind")),
        }
    }

    pub(super) fn digest(&mut self) -> Result<Vec<Line<'a>>, Refused> {
        let count = self.number16()?;
        // Not with room for `count`: that is only what the other side says.
        let mut lines = Vec::new();
        for _ in 0..count {
            let start = self.0;
            let id = self.id()?;
            let heartbeat = u64::from_le_bytes(self.array()?);
            self.take(16)?;
            lines.push(Line { bytes: self.since(start), id, heartbeat });
        }
        Ok(lines)
    }

    /// Unpacks the blocks of a delta into `unpacked`, which is empty before.
    pub(super) fn unpack(
        &mut self,
        unpacker: &mut Decompressor<'static>,
        unpacked: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        loop {
            let kind = self.byte()?;
            if kind == BLOCKS_END {
                return Ok(());
            }
            let length = usize::from(self.number16()?);
            let block = self.take(length)?;
            let before = unpacked.len();
            match kind {
                BLOCK_PLAIN => unpacked.extend_from_slice(block),
                BLOCK_PACKED => {
                    unpacked.resize(before + BLOCK_BYTES_MAX, 0);
                    let room = &mut unpacked[before..];
                    let length = unpacker.decompress_to_buffer(block, room);
                    let length = length.map_err(|_| Refused::Malformed("a block of it cannot be unpacked"))?;
                    unpacked.truncate(before + length);
                }
                _ => return Err(Refused::Malformed("a block of it is of no known kind")),
            }
            if unpacked.len() > GOSSIP_UNPACKED_BYTES_MAX {
                return Err(Refused::Unpacked);
            }
        }
    }

    /// All of this as operations of a delta, each where it may stand.
    pub(super) fn operations(mut self) -> Result<Vec<Operation<'a>>, Refused> {
        const ORDER: Refused = Refused::Malformed("its operations follow in no known order");
        let mut operations: Vec<Operation<'a>> = Vec::new();
        let mut last_version = 0;
        while !self.0.is_empty() {
            let start = self.0;
            let before = operations.last().map(|operation| operation.what);
            let what = match self.byte()? {
                0 => {
                    let id = self.id()?;
                    self.take(16)?;
                    last_version = 0;
                    What::Node(id)
                }
                1 => {
                    let (key, value) = (self.text()?, self.text()?);
                    let version = u64::from_le_bytes(self.array()?);
                    let is_known = self.byte()? <= STATUS_MAX;
                    if !is_known || version <= last_version || matches!(before, None | Some(What::LastVersion)) {
                        return Err(ORDER);
                    }
                    last_version = version;
                    What::Value { key, value }
                }
                2 => {
                    self.take(8)?;
                    // After a value of a later version it would end chitchat's task.
                    if !matches!(before, Some(What::Node(_))) {
                        return Err(ORDER);
                    }
                    What::LastVersion
                }
                _ => return Err(Refused::Malformed("an operation of it is of no known kind")),
            };
            operations.push(Operation { bytes: self.since(start), what });
        }
        Ok(operations)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Refused> {
        let length = usize::from(self.number16()?);
        std::str::from_utf8(self.take(length)?).map_err(|_| Refused::Malformed("a text of it is not UTF-8"))
    }

    fn id(&mut self) -> Result<Id<'a>, Refused> {
        let start = self.0;
        let name = self.text()?;
        self.take(8)?;
        let ip: IpAddr = match self.byte()? {
            4 => Ipv4Addr::from(self.array::<4>()?).into(),
            6 => Ipv6Addr::from(self.array::<16>()?).into(),
            _ => return Err(Refused::Malformed("an address of it is of no known family")),
        };
        let address = SocketAddr::new(ip, self.number16()?);
        Ok(Id { bytes: self.since(start), name, address })
    }

    fn byte(&mut self) -> Result<u8, Refused> {
        self.array().map(|[byte]| byte)
    }

    fn number16(&mut self) -> Result<u16, Refused> {
        self.array().map(u16::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let (array, rest) = self.0.split_first_chunk().ok_or(CUT)?;
        self.0 = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Refused> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(CUT)?;
        self.0 = rest;
        Ok(taken)
    }

    /// What was read since `start` was all that was left.
    fn since(&self, start: &'a [u8]) -> &'a [u8] {
        &start[..start.len() - self.0.len()]
    }
}
