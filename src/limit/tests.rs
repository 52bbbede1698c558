use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::host;
use crate::model::LIMITED_STATUS_DEFAULT;

const CLIENT: Per = Per::Client(Ipv6Prefix::DEFAULT);

fn limiter() -> (Arc<Limiter>, Instant) {
    let now = host::now();
    (Arc::new(Limiter::new(RandomState::new(), now)), now)
}

fn rate(per: Per, rate: &str, burst: u32) -> RateLimit {
    RateLimit::new(per, rate.parse().unwrap(), NonZeroU32::new(burst).unwrap(), LIMITED_STATUS_DEFAULT).unwrap()
}

fn connections(per: Per, max: u32) -> ConnectionLimit {
    ConnectionLimit { per, max: NonZeroU32::new(max).unwrap(), status: LIMITED_STATUS_DEFAULT }
}

fn client(address: &str) -> Who<'static> {
    Who::client(address.parse().unwrap(), Ipv6Prefix::DEFAULT)
}

const ROUTE: Scope<'_> = Scope::Route(7);

#[test]
fn a_client_of_ipv6_is_known_by_its_prefix_and_one_of_ipv4_by_all_of_its_address() {
    for (one, other, is_same) in [
        ("2001:db8::1", "2001:db8::ffff:1", true),
        ("2001:db8::1", "2001:db8:0:1::1", false),
        ("203.0.113.7", "203.0.113.8", false),
        ("203.0.113.7", "::ffff:203.0.113.7", true),
    ] {
        assert_eq!(client(one) == client(other), is_same, "{one} {other}");
    }
    let of = |address: &str, bits| Who::client(address.parse().unwrap(), Ipv6Prefix::new(bits).unwrap());
    assert_eq!(of("2001:db8:1::1", 32), of("2001:db8:ffff::", 32));
    assert_ne!(of("2001:db8::1", 128), of("2001:db8::2", 128));
}

#[test]
fn who_leaves_the_field_out_is_counted_by_address() {
    let per = Per::Header("x-api-key".parse().unwrap(), Ipv6Prefix::DEFAULT);
    let address: IpAddr = "203.0.113.7".parse().unwrap();
    assert_eq!(Who::of(&per, address, |_| Some(b"gold")), Who::Field(b"gold"));
    assert_eq!(Who::of(&per, address, |_| None), Who::Client(address));
    assert_eq!(Who::of(&Per::Route, address, |_| None), Who::All);
}

#[test]
fn each_limit_counts_for_itself_and_one_that_stays_knows_its_keys_again() {
    let (limiter, now) = limiter();
    let limit = rate(CLIENT, "1/m", 1);
    assert_eq!(limiter.pass(ROUTE, &limit, client("203.0.113.7"), now), Ok(()));
    assert_eq!(limiter.pass(ROUTE, &limit.clone(), client("203.0.113.7"), now), Err(Duration::from_secs(60)));
    assert_eq!(limiter.left(ROUTE, &limit, client("203.0.113.8"), now), RateLeft { requests: 1, wait: Duration::ZERO });
    for (scope, limit, who) in [
        (ROUTE, &limit, client("203.0.113.8")),
        (Scope::Route(8), &limit, client("203.0.113.7")),
        (Scope::Listener("web"), &limit, client("203.0.113.7")),
        (ROUTE, &rate(CLIENT, "2/m", 1), client("203.0.113.7")),
        (ROUTE, &limit, Who::Field(b"203.0.113.7")),
        (ROUTE, &limit, Who::All),
    ] {
        assert_eq!(limiter.pass(scope, limit, who, now), Ok(()), "{scope:?} {limit:?} {who:?}");
    }
}

#[test]
fn what_is_under_way_counts_until_it_is_over_whatever_the_number_is_changed_to() {
    let (limiter, _) = limiter();
    let (who, limit) = (client("203.0.113.7"), connections(CLIENT, 2));
    let first = limiter.enter(ROUTE, &limit, who).unwrap();
    let second = limiter.enter(ROUTE, &limit, who).unwrap();
    assert_eq!(limiter.enter(ROUTE, &limit, who).err(), Some(Full));
    let third = limiter.enter(ROUTE, &connections(CLIENT, 3), who).unwrap();
    assert!(limiter.enter(ROUTE, &limit, client("203.0.113.8")).is_ok());
    drop((first, second));
    assert_eq!(limiter.in_flight(ROUTE, &limit, who), 1);
    drop(third);
    assert_eq!(limiter.in_flight(ROUTE, &limit, who), 0);
}

#[test]
fn a_full_limiter_is_within_its_bound() {
    let (limiter, now) = limiter();
    let (requests, held) = (rate(CLIENT, "1/h", 2), connections(CLIENT, 1));
    let mut all = Vec::new();
    for address in 0..2_500_000u32 {
        let who = Who::Client(IpAddr::V4(address.into()));
        let _ = limiter.pass(ROUTE, &requests, who, now);
        all.extend(limiter.enter(ROUTE, &held, who));
    }
    assert!(limiter.forgotten() > 0 && limiter.uncounted() > 0, "it is full");
    assert!(limiter.bytes() > 56 << 20 && limiter.bytes() <= LIMITER_BYTES_MAX, "{}", limiter.bytes());
}

proptest! {
    #[test]
    fn addresses_are_the_same_client_where_their_prefixes_are(a in any::<u128>(), flipped in 0u32..128, bits in 32u8..=128) {
        let address = |bits: u128| IpAddr::V6(bits.into());
        let (one, other) = (address(a), address(a ^ (1 << (127 - flipped))));
        prop_assume!(one.to_canonical().is_ipv6() && other.to_canonical().is_ipv6());
        let prefix = Ipv6Prefix::new(bits).unwrap();
        prop_assert_eq!(Who::client(one, prefix) == Who::client(other, prefix), flipped >= u32::from(bits));
    }
}
