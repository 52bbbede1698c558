//! What a limit costs a request: a check of a rate and a count of a connection, for few clients and for a million, from one thread
//! and from two at once. Prints nanoseconds a check, the mean of a run.
//!
//! `cargo bench --bench limit`

#![expect(clippy::print_stdout, reason = "it is there to print")]

use std::hash::RandomState;
use std::hint::black_box;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Barrier};
use std::time::Instant;

use evenkeel::host::now;
use evenkeel::limit::{Limiter, Scope, Who};
use evenkeel::model::{ConnectionLimit, Ipv6Prefix, Per, RateLimit};

const CHECKS: u32 = 2_000_000;
const ROUTE: Scope<'_> = Scope::Route(7);

fn main() {
    let per = Per::Client(Ipv6Prefix::DEFAULT);
    let burst = NonZeroU32::new(20).expect("not 0");
    let rate = RateLimit::new(per.clone(), "10/s".parse().expect("a rate"), burst, 429).expect("a limit");
    let whole =
        RateLimit::new(Per::Route, "1000000/s".parse().expect("a rate"), NonZeroU32::MIN, 429).expect("a limit");
    let connections = ConnectionLimit { per, max: NonZeroU32::new(100).expect("not 0"), status: 429 };
    println!("limit: ns a check, mean of {CHECKS}");
    println!("{:34}{:>14}{:>14}", "", "one thread", "two threads");
    for (name, clients) in [("1 client", 1), ("1000 clients", 1_000), ("1000000 clients", 1_000_000)] {
        row(&format!("rate, {name}"), &|limiter, turn, now| {
            let _ = black_box(limiter.pass(ROUTE, &rate, client(turn, clients), now));
        });
    }
    row("rate of a route", &|limiter, _, now| {
        let _ = black_box(limiter.pass(ROUTE, &whole, Who::All, now));
    });
    for (name, clients) in [("1 client", 1), ("1000 clients", 1_000)] {
        row(&format!("connections in and out, {name}"), &|limiter, turn, _| {
            drop(black_box(limiter.enter(ROUTE, &connections, client(turn, clients))));
        });
    }
}

fn client(turn: u32, clients: u32) -> Who<'static> {
    // Scattered, as clients are.
    let number = turn.wrapping_mul(2_654_435_761) % clients;
    Who::client(IpAddr::V6(Ipv6Addr::from(u128::from(number) << 64)), Ipv6Prefix::DEFAULT)
}

type Check<'a> = &'a (dyn Fn(&Arc<Limiter>, u32, Instant) + Sync);

fn row(name: &str, check: Check<'_>) {
    println!("{name:34}{:>14}{:>14}", ns(check, 1), ns(check, 2));
}

/// Nanoseconds a check, where so many threads check at once.
fn ns(check: Check<'_>, threads: u32) -> u128 {
    let limiter = Arc::new(Limiter::new(RandomState::new(), now()));
    let start = Barrier::new(threads as usize);
    let times = std::thread::scope(|scope| {
        let of_thread = |thread: u32| {
            let (limiter, start) = (&limiter, &start);
            scope.spawn(move || {
                // As many clients are known as will be.
                (0..1_000_000).for_each(|turn| check(limiter, turn, now()));
                start.wait();
                let began = now();
                (0..CHECKS).for_each(|turn| check(limiter, turn.wrapping_add(thread), began));
                began.elapsed().as_nanos() / u128::from(CHECKS)
            })
        };
        let running: Vec<_> = (0..threads).map(of_thread).collect();
        running.into_iter().map(|thread| thread.join().expect("a thread")).collect::<Vec<_>>()
    });
    times.iter().sum::<u128>() / u128::from(threads)
}
