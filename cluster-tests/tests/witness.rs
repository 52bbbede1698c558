//! A witness, which votes and serves nobody: its file is `[cluster]` alone. And a newcomer, whose pools are the cluster's.

use std::net::{SocketAddr, UdpSocket};

use cluster_tests::peer::Peer;
use cluster_tests::report;
use cluster_tests::wait::wait_until;
use serde_json::json;

/// Each founds a cluster from nothing; one in three would begin with the file of the witness, were it as good as any.
const ROUNDS: usize = 6;

fn free() -> SocketAddr {
    let free = UdpSocket::bind("127.0.0.1:0").expect("a port");
    free.local_addr().expect("a bound socket has an address")
}

fn file(id: &str, listen: SocketAddr, seed: SocketAddr, serves: &str) -> String {
    format!(
        "[peer]\nid = \"{id}\"\n[api]\nlisten = \"127.0.0.1:0\"\n[cluster]\nlisten = \"{listen}\"\npreset = \"local\"\n\
         seeds = [\"{seed}\"]\nelectors = [\"a\", \"b\", \"w\"]\n{serves}"
    )
}

const LISTENS: &str = "[[listener]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nprotocol = \"http\"\npool = \"web\"\n";
const POOL: &str = "[[pool]]\nname = \"web\"\nhealth = { type = \"none\" }\n\
                    node = [{ id = \"web-1\", address = \"127.0.0.1:9\" }]\n";

#[test]
fn a_new_cluster_begins_with_the_file_of_a_peer_that_serves_and_the_witness_votes() {
    let mut gave_way = 0;
    let serves = format!("{LISTENS}{POOL}");
    for _ in 0..ROUNDS {
        let seed = free();
        let witness = Peer::start_file(&file("w", free(), seed, ""), &[]);
        let mut others = vec![
            Peer::start_file(&file("a", seed, seed, &serves), &[]),
            Peer::start_file(&file("b", free(), seed, &serves), &[]),
        ];
        let catalog = |peer: &Peer| peer.json("/api/v1/catalog");
        wait_until("the first catalog at all of them", || {
            others.iter().chain([&witness]).all(|peer| catalog(peer)["source"] == "cluster")
        });
        assert_eq!(catalog(&witness)["desired"]["pool"][0]["name"], "web");
        let newcomer = Peer::start_file(&file("n", free(), seed, LISTENS), &[]);
        wait_until("a newcomer without pools to have the cluster's", || {
            catalog(&newcomer)["source"] == "cluster"
                && newcomer.json("/api/v1/pools/web")["listeners"] == json!(["web"])
        });
        gave_way += witness.log().matches("another one may lead").count();

        others.remove(0).process().kill();
        wait_until("the witness and the one that is left to agree on a leader", || {
            let leader = |peer: &Peer| peer.json("/api/v1/leader")["leader"]["id"].clone();
            let led = leader(&witness);
            led == leader(&others[0]) && (led == json!("b") || led == json!("w"))
        });
    }
    report::figure("elections that the witness had won and gave away", gave_way);
}
