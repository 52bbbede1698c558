use std::sync::atomic::AtomicU32;
use std::task::Wake;
use std::thread::Thread;
use std::time::Duration;

use super::*;
use crate::balance::{NodeLive, PoolLive};

/// A line in which everybody has already tried once in vain.
fn line_of(queue: &Queue, length: usize) -> Vec<Waiting> {
    (0..length)
        .map(|_| {
            let mut waiting = queue.wait(u32::MAX).unwrap();
            assert!(has_turn(&mut waiting), "the first try after lining up");
            waiting.again();
            waiting
        })
        .collect()
}

fn has_turn(waiting: &mut Waiting) -> bool {
    Pin::new(waiting).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

fn turns(line: &mut [Waiting]) -> Vec<bool> {
    line.iter_mut().map(has_turn).collect()
}

#[test]
fn who_lined_up_first_is_let_in_first() {
    let queue = Queue::default();
    let mut line = line_of(&queue, 3);
    assert_eq!(turns(&mut line), [false; 3]);
    queue.wake_one();
    assert_eq!(turns(&mut line), [true, false, false]);
    queue.wake_one();
    assert_eq!(turns(&mut line), [true, true, false]);
    line.remove(0).served();
    assert_eq!(turns(&mut line), [true, false]);
    assert_eq!(queue.len(), 2);
}

#[test]
fn the_line_is_bounded_and_empty_when_all_have_left() {
    let queue = Queue::default();
    let line = [queue.wait(2).unwrap(), queue.wait(2).unwrap()];
    assert_eq!(queue.wait(2).unwrap_err(), QueueFull);
    assert!(!queue.is_empty());
    drop(line);
    assert!(queue.is_empty());
    assert_eq!(queue.wait(0).unwrap_err(), QueueFull);
    queue.wake_one();
    queue.wake_all();
}

#[test]
fn each_newcomer_tries_once_and_only_when_nobody_else_is_about_to() {
    let queue = Queue::default();
    let mut line: Vec<Waiting> = (0..3).map(|_| queue.wait(9).unwrap()).collect();
    assert_eq!(turns(&mut line), [true, false, false]);
    line[0].again();
    assert_eq!(turns(&mut line), [false, true, false]);
    line.remove(1).served();
    assert_eq!(turns(&mut line), [false, true]);
    line[1].again();
    assert_eq!(turns(&mut line), [false, false]);
}

#[test]
fn a_turn_that_is_dropped_goes_on_to_the_next() {
    let queue = Queue::default();
    let mut line = line_of(&queue, 3);
    queue.wake_one();
    drop(line.remove(0));
    assert_eq!(turns(&mut line), [true, false]);
}

#[test]
fn a_turn_that_comes_to_nothing_goes_to_those_behind_and_the_place_in_line_is_kept() {
    let queue = Queue::default();
    let mut line = line_of(&queue, 3);
    queue.wake_one();
    line[0].again();
    assert_eq!(turns(&mut line), [false, true, false]);
    line[1].again();
    line[2].again();
    assert_eq!(turns(&mut line), [false; 3]);
    queue.wake_one();
    assert_eq!(turns(&mut line), [true, false, false]);
}

#[test]
fn a_place_given_back_while_all_are_trying_is_not_lost() {
    let queue = Queue::default();
    let mut line = line_of(&queue, 1);
    queue.wake_one();
    queue.wake_one();
    line[0].again();
    assert_eq!(turns(&mut line), [true]);
    line[0].again();
    assert_eq!(turns(&mut line), [false]);
}

#[test]
fn after_a_change_everybody_tries_once_more_in_order() {
    let queue = Queue::default();
    let mut line = line_of(&queue, 3);
    queue.wake_all();
    assert_eq!(turns(&mut line), [true, false, false]);
    line.remove(0).served();
    assert_eq!(turns(&mut line), [true, false]);
    line[0].again();
    assert_eq!(turns(&mut line), [false, true]);
    line[1].again();
    assert_eq!(turns(&mut line), [false, false]);
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on(waiting: &mut Waiting) {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let started = crate::host::now();
    while Pin::new(&mut *waiting).poll(&mut Context::from_waker(&waker)).is_pending() {
        std::thread::park_timeout(Duration::from_secs(20));
        assert!(started.elapsed() < Duration::from_secs(20), "a wake-up was lost");
    }
}

#[test]
fn no_wake_up_is_lost_and_no_place_is_given_twice_among_threads() {
    const PLACES: u32 = 2;
    const ROUNDS: u32 = 3_000;
    let (node, pool) = (NodeLive::default(), PoolLive::default());
    let (most, waited) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for thread in 0..6_u32 {
            let (node, pool, most, waited) = (&node, &pool, &most, &waited);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    if !pool.queue.is_empty() || !pool.try_enter(node, PLACES) {
                        waited.fetch_add(1, Ordering::Relaxed);
                        let mut waiting = pool.queue.wait(u32::MAX).unwrap();
                        // Some give up while they wait, or with a turn in hand.
                        if (round + thread) % 7 == 0 {
                            has_turn(&mut waiting);
                            continue;
                        }
                        loop {
                            block_on(&mut waiting);
                            if pool.try_enter(node, PLACES) {
                                break;
                            }
                            waiting.again();
                        }
                        waiting.served();
                    }
                    most.fetch_max(node.in_flight(), Ordering::Relaxed);
                    if round % 3 == 0 {
                        std::thread::yield_now();
                    }
                    pool.leave(node);
                }
            });
        }
    });
    assert_eq!((node.in_flight(), pool.queue.len()), (0, 0));
    assert!(most.load(Ordering::Relaxed) <= PLACES);
    assert!(waited.load(Ordering::Relaxed) > 0, "nobody ever waited");
}
