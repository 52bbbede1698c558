//! A pick allocates nothing, with any strategy and as many nodes as there may be.
//!
//! Only an allocator can count allocations, and an allocator is `unsafe`: this is the one file that has any.

#![expect(unsafe_code, reason = "a counting allocator; it only counts and hands on to the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use evenkeel::host::{Dice, now};
use evenkeel::model::limits::NODES_MAX;
use evenkeel::model::{
    Catalog, Check, CheckKind, Member, Members, Node, NodeAddress, NodeId, Pool, PoolName, RegionName, Strategy,
};
use evenkeel::view::{Ask, PoolView, Tried, Unavailable, first};

thread_local! {
    /// Allocations of this thread; those of the test harness beside it do not matter.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed on unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

fn pool(strategy: Strategy, exact: bool, size: usize) -> Arc<PoolView> {
    let name: PoolName = "p".parse().expect("a name");
    let mut pool = Pool::new(name.clone());
    pool.strategy = strategy;
    pool.exact = exact;
    pool.check = Check::of(CheckKind::None);
    pool.nodes = (0..size)
        .map(|i| {
            let id: NodeId = format!("node-{i}").parse().expect("a name");
            Node::new(id, NodeAddress::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 80))))
        })
        .collect();
    let view = first(&Catalog::new(vec![pool]).expect("a catalog"), alone(), now());
    Arc::clone(view.pool(&name).expect("the pool"))
}

/// A cluster of one.
fn alone() -> Arc<Members> {
    Arc::new(Members::alone(Member { id: "own".parse().expect("a name"), region: RegionName::default() }))
}

#[test]
fn the_count_sees_an_allocation() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1_u64)))), 1);
}

#[test]
fn a_pick_allocates_nothing() {
    let modes = Strategy::ALL.into_iter().map(|(name, strategy)| (name, strategy, false));
    for (name, strategy, exact) in modes.chain([("exact", Strategy::HealthScore, true)]) {
        for size in [1, 3, 64, 65, NODES_MAX] {
            let pool = pool(strategy, exact, size);
            // One suspect, so that passing over is in it; retries, so that the tried are.
            if size > 1 {
                pool.nodes[0].live.suspect();
            }
            let mut dice = Dice::from_seed(5);
            let counted = allocations(|| {
                for i in 0..300_u32 {
                    let ask = Ask { hash: Some(u64::from(i)), ..Ask::of(IpAddr::V4(Ipv4Addr::from_bits(i)), now()) };
                    let mut tried = Tried::default();
                    for _ in 0..3 {
                        match pool.take(&ask, &tried, &mut dice) {
                            Ok(taken) => tried.add(&taken),
                            Err(why) => assert_eq!(why, Unavailable::NoNode),
                        }
                    }
                }
            });
            assert_eq!(counted, 0, "{name}, {size} nodes");
        }
    }
}
