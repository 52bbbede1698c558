//! The client id of an MQTT CONNECT packet, by which a client that comes back finds its broker. Pure.

use std::ops::Range;

use crate::balance::hash;

const CONNECT: u8 = 0x10;
/// Bytes of a packet's length (MQTT 5.0 section 1.5.5).
const LENGTH_BYTES_MAX: usize = 4;
/// A bridge of another broker says so in the level of its protocol (a practice of mosquitto).
const BRIDGE: u8 = 0x80;

/// What the first bytes of a connection say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum FirstPacket {
    /// Nothing yet.
    More,
    /// The hash of the id of the client.
    ClientId(u64),
    /// It is no CONNECT, or the client leaves its id to the broker (MQTT 3.1.1 section 3.1.3.1).
    Other,
}

/// Looks at the first bytes of a connection. MQTT 3.1, 3.1.1 and 5.0 (section 3.1 of each).
pub(super) fn first_packet(bytes: &[u8]) -> FirstPacket {
    let mut reader = Reader { bytes, at: 0, end: usize::MAX };
    match client_id(&mut reader) {
        Ok(id) if id.is_empty() => FirstPacket::Other,
        Ok(id) => FirstPacket::ClientId(hash::of(&bytes[id])),
        Err(Short::More) => FirstPacket::More,
        Err(Short::Other) => FirstPacket::Other,
    }
}

enum Short {
    More,
    Other,
}

fn client_id(reader: &mut Reader<'_>) -> Result<Range<usize>, Short> {
    if reader.byte()? != CONNECT {
        return Err(Short::Other);
    }
    let length = reader.length()?;
    reader.end = reader.at + length;
    let name = reader.field()?;
    let level = reader.byte()? & !BRIDGE;
    if !matches!((&reader.bytes[name], level), (b"MQIsdp", 3) | (b"MQTT", 4 | 5)) {
        return Err(Short::Other);
    }
    // Flags, and the seconds of keep-alive.
    reader.skip(3)?;
    if level == 5 {
        let properties = reader.length()?;
        reader.skip(properties)?;
    }
    reader.field()
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
    /// Where the packet ends, as far as that is known: what is to be behind it will not come, however long one waits.
    end: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, Short> {
        let at = self.at;
        self.skip(1)?;
        Ok(self.bytes[at])
    }

    fn skip(&mut self, count: usize) -> Result<(), Short> {
        if count > self.end - self.at {
            return Err(Short::Other);
        }
        if count > self.bytes.len() - self.at {
            return Err(Short::More);
        }
        self.at += count;
        Ok(())
    }

    /// A number of one to four bytes, seven bits in each.
    fn length(&mut self) -> Result<usize, Short> {
        let mut length = 0;
        for place in 0..LENGTH_BYTES_MAX {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(length);
            }
        }
        Err(Short::Other)
    }

    /// Bytes with their count before them.
    fn field(&mut self) -> Result<Range<usize>, Short> {
        let count = usize::from(u16::from_be_bytes([self.byte()?, self.byte()?]));
        let from = self.at;
        self.skip(count)?;
        Ok(from..self.at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn connect(name: &str, level: u8, properties: Option<&[u8]>, id: &str) -> Vec<u8> {
        let field = |text: &str| {
            let mut field = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
            field.extend_from_slice(text.as_bytes());
            field
        };
        let mut body = field(name);
        body.extend_from_slice(&[level, 2, 0, 60]);
        if let Some(properties) = properties {
            body.push(u8::try_from(properties.len()).unwrap());
            body.extend_from_slice(properties);
        }
        body.extend(field(id));
        let mut packet = vec![CONNECT, u8::try_from(body.len()).unwrap()];
        packet.extend(body);
        packet
    }

    #[test]
    fn the_id_is_found_in_every_version_and_only_where_there_is_one() {
        let found = FirstPacket::ClientId(hash::of(b"meter-7"));
        for packet in [
            connect("MQIsdp", 3, None, "meter-7"),
            connect("MQTT", 4, None, "meter-7"),
            connect("MQTT", 4 | BRIDGE, None, "meter-7"),
            connect("MQTT", 5, Some(&[]), "meter-7"),
            connect("MQTT", 5, Some(&[0x11, 0, 0, 0, 60]), "meter-7"),
        ] {
            assert_eq!(first_packet(&packet), found);
            for length in 0..packet.len() {
                assert_eq!(first_packet(&packet[..length]), FirstPacket::More, "{length} of {packet:?}");
            }
        }
        assert_eq!(first_packet(&connect("MQTT", 4, None, "")), FirstPacket::Other);
        assert_eq!(first_packet(&connect("MQTT", 9, None, "meter-7")), FirstPacket::Other);
        assert_eq!(first_packet(&connect("HTTP", 4, None, "meter-7")), FirstPacket::Other);
        assert_eq!(first_packet(b"GET / HTTP/1.1\r\n"), FirstPacket::Other);
        let mut short = connect("MQTT", 4, None, "meter-7");
        short[1] = 12;
        assert_eq!(first_packet(&short), FirstPacket::Other, "its length ends before the id does");
        assert_eq!(first_packet(&[CONNECT, 0xff, 0xff, 0xff, 0xff]), FirstPacket::Other);
    }

    #[test]
    fn nobody_waits_for_what_is_to_be_behind_the_end_of_the_packet() {
        let whole = connect("MQTT", 4, None, "");
        // An id of 65,535 bytes in a packet of twelve, of which none came yet.
        let mut long_id = whole.clone();
        long_id[12..].copy_from_slice(&[0xff, 0xff]);
        // Properties of 268,435,455 bytes, the same.
        let mut properties = connect("MQTT", 5, Some(&[]), "");
        properties.truncate(12);
        properties[1] = 14;
        properties.extend_from_slice(&[0xff, 0xff, 0xff, 0x7f]);
        // A packet that ends behind its name.
        let mut short = whole[..8].to_vec();
        short[1] = 6;
        for packet in [long_id, properties, short] {
            assert_eq!(first_packet(&packet), FirstPacket::Other, "{packet:?}");
        }
        // Properties that are as long as they say are waited for.
        let mut waits = connect("MQTT", 5, Some(&[]), "");
        waits.truncate(12);
        waits[1] = 100;
        waits.push(80);
        assert_eq!(first_packet(&waits), FirstPacket::More);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            first_packet(&bytes);
            first_packet(&[&[CONNECT][..], &bytes].concat());
        }
    }
}
