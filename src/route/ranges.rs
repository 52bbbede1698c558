//! Which region the address of a client is in: of all ranges that hold it the narrowest counts.

use std::net::IpAddr;

use crate::model::Region;

/// Ranges of addresses, cut so that none holds another, by where they begin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientRanges {
    v4: Box<[Piece]>,
    v6: Box<[Piece]>,
}

/// From here until the next piece begins.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Piece {
    from: u128,
    /// The place of the region in the catalog.
    region: Option<u32>,
}

/// A range: its first and last address, and its region.
type Range = (u128, u128, u32);

impl ClientRanges {
    /// The ranges of these regions.
    pub fn of(regions: &[Region]) -> Self {
        let mut ranges: [Vec<Range>; 2] = Default::default();
        for (at, region) in (0u32..).zip(regions) {
            for range in &region.clients {
                let (first, last) = range.bounds();
                ranges[usize::from(range.is_v6())].push((first, last, at));
            }
        }
        let [v4, v6] = ranges.map(pieces);
        Self { v4, v6 }
    }

    /// The place of the region that a client is in.
    pub fn of_client(&self, client: IpAddr) -> Option<usize> {
        let (pieces, number) = match client.to_canonical() {
            IpAddr::V4(ip) => (&self.v4, u128::from(ip.to_bits())),
            IpAddr::V6(ip) => (&self.v6, ip.to_bits()),
        };
        let next = pieces.partition_point(|piece| piece.from <= number);
        let region = next.checked_sub(1).and_then(|at| pieces[at].region)?;
        Some(region as usize)
    }
}

/// Cuts ranges, of which any two lie apart or one within the other. Of two that are the same the one that is written first counts.
fn pieces(mut ranges: Vec<Range>) -> Box<[Piece]> {
    // The wider one first, so that the narrower one lies on top; stable, and turned around for those that are the same.
    ranges.reverse();
    ranges.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
    let mut pieces: Vec<Piece> = Vec::new();
    let mut open: Vec<Range> = Vec::new();
    let mut put = |from: u128, region: Option<u32>| match pieces.last_mut() {
        Some(last) if last.from == from => last.region = region,
        Some(last) if last.region == region => {}
        _ => pieces.push(Piece { from, region }),
    };
    let close_before = |open: &mut Vec<Range>, at: Option<u128>, put: &mut dyn FnMut(u128, Option<u32>)| {
        while let Some(&(_, last, _)) = open.last()
            && at.is_none_or(|at| last < at)
        {
            open.pop();
            // Behind the last of all addresses nothing begins.
            if let Some(next) = last.checked_add(1) {
                put(next, open.last().map(|range| range.2));
            }
        }
    };
    for range in ranges {
        close_before(&mut open, Some(range.0), &mut put);
        put(range.0, Some(range.2));
        open.push(range);
    }
    close_before(&mut open, None, &mut put);
    pieces.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn region(name: &str, clients: &[&str]) -> Region {
        let clients = clients.iter().map(|range| range.parse().unwrap()).collect();
        Region { clients, ..Region::new(name.parse().unwrap()) }
    }

    #[test]
    fn the_narrowest_range_counts() {
        let regions = [
            region("all", &["0.0.0.0/0"]),
            region("eu", &["10.0.0.0/8", "2001:db8::/32"]),
            region("ams", &["10.1.0.0/16", "10.1.0.0/16", "2001:db8:1::/48"]),
            region("one", &["10.1.2.3", "255.255.255.255"]),
        ];
        let ranges = ClientRanges::of(&regions);
        for (client, name) in [
            ("9.255.255.255", Some("all")),
            ("10.0.0.0", Some("eu")),
            ("10.1.0.0", Some("ams")),
            ("10.1.2.3", Some("one")),
            ("10.1.2.4", Some("ams")),
            ("10.2.0.0", Some("eu")),
            ("11.0.0.0", Some("all")),
            ("255.255.255.255", Some("one")),
            ("::ffff:10.1.2.3", Some("one")),
            ("2001:db8::1", Some("eu")),
            ("2001:db8:1::1", Some("ams")),
            ("2001:db9::1", None),
        ] {
            let found = ranges.of_client(client.parse().unwrap()).map(|at| regions[at].name.as_str());
            assert_eq!(found, name, "{client}");
        }
    }

    proptest! {
        #[test]
        fn it_is_what_looking_at_every_range_finds(
            ranges in prop::collection::vec((0u32..64, 24u8..=32), 0..12),
            client in 0u32..80,
        ) {
            let ip = |number: u32| IpAddr::V4((0x0a00_0000 + number).into());
            let regions: Vec<Region> = ranges.iter().enumerate().map(|(at, (number, bits))| {
                region(&format!("r{at}"), &[&format!("{}/{}", ip(*number), bits.max(&26))])
            }).collect();
            let holding = regions.iter().enumerate().filter(|(_, region)| region.clients[0].contains(ip(client)));
            let narrowest = holding.max_by_key(|(at, region)| (region.clients[0].prefix_bits(), std::cmp::Reverse(*at)));
            prop_assert_eq!(ClientRanges::of(&regions).of_client(ip(client)), narrowest.map(|(at, _)| at));
        }
    }
}
