//! Requests with cookies and without.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::host;
use crate::link::{ClusterKey, KeyRing};
use crate::model::{Admin, Catalog, Check, CheckKind, Member, Members, Node, PoolName, RegionName};
use crate::view::first;

const NOW_S: u64 = 1_700_000_000;
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));

fn cookie(same_site: SameSite, domain: Option<&str>) -> StickyCookie {
    StickyCookie {
        name: "SERVERID".into(),
        ttl: Duration::from_secs(3_600),
        path: "/".into(),
        domain: domain.map(Into::into),
        same_site,
    }
}

/// Two pools whose nodes nobody checks, so all count as up.
fn view(disabled: &[&str]) -> View {
    let pool = |name: &str, ids: [&str; 2]| {
        let mut pool = Pool::new(name.parse().unwrap());
        pool.check = Check::of(CheckKind::None);
        pool.sticky = Some(Sticky::Cookie(cookie(SameSite::Lax, None)));
        pool.nodes = ids.map(|id| Node::new(id.parse().unwrap(), "192.0.2.1:80".parse().unwrap())).into();
        for node in pool.nodes.iter_mut().filter(|node| disabled.contains(&node.id.as_str())) {
            node.admin = Admin::Disabled;
        }
        pool
    };
    let catalog = Catalog::new(vec![pool("web", ["web-1", "web-2"]), pool("shop", ["shop-1", "shop-2"])]).unwrap();
    let own = Member { id: "own".parse().unwrap(), region: RegionName::default() };
    first(&catalog, Arc::new(Members::alone(own)), host::now())
}

fn keys() -> CookieKeys {
    CookieKeys::of(&KeyRing::of(ClusterKey::generate().unwrap()))
}

fn request(cookie: &str) -> RequestHead {
    let mut head = RequestHead { target: b"/cart".to_vec(), ..RequestHead::default() };
    head.fields.push(b"Cookie", cookie.as_bytes());
    head
}

fn web() -> PoolName {
    "web".parse().unwrap()
}

/// The value that a client is given which is sent to this node.
fn value(view: &View, keys: &CookieKeys, node: &str, now_s: u64) -> String {
    let (pool, node) = view.node(&node.parse().unwrap()).unwrap();
    let said = set_cookie(pool, node, None, view, keys, (now_s, false)).unwrap();
    let said = String::from_utf8(said).unwrap();
    said.strip_prefix("Set-Cookie: SERVERID=").unwrap().split(';').next().unwrap().to_owned()
}

#[test]
fn a_session_begins_with_a_cookie_and_goes_on_at_its_node_without_another() {
    let (view, keys) = (view(&[]), keys());
    let pool = view.pool(&web()).unwrap();
    let value = value(&view, &keys, "web-2", NOW_S);
    let head = request(&format!("theme=dark; SERVERID={value}"));
    let (stick, held) = stick_of((&head, CLIENT), (pool, None), &view, &keys, NOW_S + 60);
    let (_, node) = view.node(&"web-2".parse().unwrap()).unwrap();
    assert_eq!(stick, Stick::Node(node.key));
    let again = |now_s| set_cookie(pool, node, held.as_ref(), &view, &keys, (now_s, false));
    assert_eq!(again(NOW_S + 60), None, "it is young");
    assert!(again(NOW_S + 451).is_some(), "an eighth of its time is over");
    let (_, other) = view.node(&"web-1".parse().unwrap()).unwrap();
    assert_eq!(set_cookie(pool, other, held.as_ref(), &view, &keys, (NOW_S, false)), None, "its home serves");
}

#[test]
fn cookies_that_are_forged_foreign_or_expired_are_as_none() {
    let (view, keys, others) = (view(&[]), keys(), keys());
    let pool = view.pool(&web()).unwrap();
    let ours = value(&view, &keys, "web-1", NOW_S);
    let free =
        |cookie: &str, now_s| stick_of((&request(cookie), CLIENT), (pool, None), &view, &keys, now_s).0 == Stick::Free;
    let one = |value: &str| format!("SERVERID={value}");
    assert!(!free(&one(&ours), NOW_S + 3_600 + 449));
    assert!(free(&one(&ours), NOW_S + 3_600 + 450), "expired");
    assert!(free(&one(&value(&view, &others, "web-1", NOW_S)), NOW_S), "of another cluster");
    assert!(free(&one(&value(&view, &keys, "shop-1", NOW_S)), NOW_S), "of another pool");
    assert!(free("SERVERID=web-1", NOW_S) && free("SERVERID=", NOW_S) && free("OTHER=1", NOW_S), "forged, or none");
    assert!(!free(&format!("SERVERID=stale; SERVERID={ours}"), NOW_S), "one of two is ours");
}

#[test]
fn a_session_whose_node_is_gone_gets_a_new_node_and_a_new_cookie() {
    let (before, keys) = (view(&[]), keys());
    let value = value(&before, &keys, "web-1", NOW_S);
    let now = view(&["web-1"]);
    let pool = now.pool(&web()).unwrap();
    let (_, held) = stick_of((&request(&format!("SERVERID={value}")), CLIENT), (pool, None), &now, &keys, NOW_S);
    let (_, other) = now.node(&"web-2".parse().unwrap()).unwrap();
    let said = set_cookie(pool, other, held.as_ref(), &now, &keys, (NOW_S, false));
    assert!(said.is_some_and(|said| said.starts_with(b"Set-Cookie: SERVERID=")));
    let (_, gone) = now.node(&"web-1".parse().unwrap()).unwrap();
    assert_eq!(set_cookie(pool, gone, None, &now, &keys, (NOW_S, false)), None, "nobody's home");
}

#[test]
fn a_home_where_the_route_forbids_to_go_is_none_and_the_session_begins_anew_where_it_allows() {
    let (keys, us): (_, RegionName) = (keys(), "us".parse().unwrap());
    let mut pool = Pool::new(web());
    pool.check = Check::of(CheckKind::None);
    pool.sticky = Some(Sticky::Cookie(cookie(SameSite::Lax, None)));
    pool.nodes = ["web-1", "web-2"].map(|id| Node::new(id.parse().unwrap(), "192.0.2.1:80".parse().unwrap())).into();
    pool.nodes[1].region = Some(us.clone());
    let own = Member { id: "own".parse().unwrap(), region: RegionName::default() };
    let view = first(&Catalog::new(vec![pool]).unwrap(), Arc::new(Members::alone(own)), host::now());
    let pool = view.pool(&web()).unwrap();
    let head = request(&format!("SERVERID={}", value(&view, &keys, "web-1", NOW_S)));
    let choice = |strict| RegionChoice { prefer: vec![us.clone()], strict };
    let stick = |choice: &RegionChoice| stick_of((&head, CLIENT), (pool, Some(choice)), &view, &keys, NOW_S);
    assert!(matches!(stick(&choice(false)).0, Stick::Node(_)), "only preferred");
    let (stick, held) = stick(&choice(true));
    assert_eq!(stick, Stick::Free);
    let (_, other) = view.node(&"web-2".parse().unwrap()).unwrap();
    assert!(set_cookie(pool, other, held.as_ref(), &view, &keys, (NOW_S, false)).is_some(), "a new cookie");
}

#[test]
fn of_many_cookies_of_one_name_the_first_eight_are_looked_at() {
    let (view, keys) = (view(&[]), keys());
    let pool = view.pool(&web()).unwrap();
    let ours = value(&view, &keys, "web-1", NOW_S);
    let behind = |count: usize| {
        let head = request(&format!("{}SERVERID={ours}", "SERVERID=stale; ".repeat(count)));
        stick_of((&head, CLIENT), (pool, None), &view, &keys, NOW_S).0
    };
    assert!(matches!(behind(7), Stick::Node(_)));
    assert_eq!(behind(8), Stick::Free);
}

#[test]
fn the_cookie_has_the_attributes_that_users_say_and_secure_over_tls() {
    let said = |cookie: &StickyCookie, is_secure| String::from_utf8(written(cookie, "v", is_secure)).unwrap();
    assert_eq!(
        said(&cookie(SameSite::Lax, None), false),
        "Set-Cookie: SERVERID=v; Path=/; Max-Age=4050; HttpOnly; SameSite=Lax\r\nCache-Control: private\r\n"
    );
    assert!(
        said(&cookie(SameSite::Strict, Some("example.com")), true)
            .contains("; SameSite=Strict; Domain=example.com; Secure\r\n")
    );
    assert!(said(&cookie(SameSite::None, None), false).contains("; SameSite=None; Secure\r\n"));
}

#[test]
fn a_session_id_is_looked_for_in_cookie_query_and_path() {
    let id = |target: &str, cookie: &str| {
        let head = RequestHead { target: target.into(), ..request(cookie) };
        hash_by(&head, &HashKey::Session("sid".into()))
    };
    let seven = Some(hash::of(b"7"));
    assert_eq!(id("/cart?sid=8", "sid=7"), seven);
    assert_eq!(id("/cart;sid=8?sid=7", "other=1"), seven);
    assert_eq!(id("/cart;sid=7?x=1", "other=1"), seven);
    assert_eq!(id("/cart", "other=1"), None);
}

#[test]
fn a_request_without_what_its_session_is_known_by_goes_by_its_client() {
    let mut pool = Pool::new(web());
    pool.sticky = Some(Sticky::Key(HashKey::Header("x-session".into())));
    let own = Member { id: "own".parse().unwrap(), region: RegionName::default() };
    let view = first(&Catalog::new(vec![pool]).unwrap(), Arc::new(Members::alone(own)), host::now());
    let (stick, _) = stick_of((&request("a=1"), CLIENT), (view.pool(&web()).unwrap(), None), &view, &keys(), NOW_S);
    assert_eq!(stick, Stick::Key(hash::of_address(CLIENT)));
}

#[test]
fn only_consistent_hash_looks() {
    let mut pool = Pool::new(web());
    pool.hash = HashKey::Uri;
    let head = RequestHead { target: b"/a".to_vec(), ..RequestHead::default() };
    assert_eq!(hash_of(&head, &pool), None);
    pool.strategy = Strategy::ConsistentHash;
    assert_eq!(hash_of(&head, &pool), Some(hash::of(b"/a")));
}
