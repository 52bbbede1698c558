//! Clients that ask on a schedule, and what became of every request.
//!
//! With a rate the loop is open: request `n` is due `n / rate` seconds after the start whether or not those before it were
//! answered, and where no client is free another one comes along. So a proxy that falls behind meets more requests at once,
//! as it would with real clients, and not fewer. An answer's time counts from when its request was due.
//!
//! A client never asks twice for one request. It looks whether its kept connection still stands before it sends, as every
//! client does; a connection that closes under a request is that request's failure.

use std::net::SocketAddr;
use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use evenkeel::host;

use crate::raw::{Answer, Broken, End, Raw, TlsClient};

/// Clients of one load. Beyond so many, requests go out late, which [`Offered`] shows.
const CLIENTS_MAX: usize = 1_000;
/// Nobody panics while it holds one of the locks below.
const LOCKED: &str = "no client panics with the lists in hand";

/// What became of a request.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// When it was to be sent.
    pub due: Instant,
    /// When its client began to send it.
    pub sent: Instant,
    /// When its answer was whole, or missing for good.
    pub ended: Instant,
    /// The answer.
    pub answer: Result<Answer, Broken>,
    /// Whether its client found that its kept connection had ended before it sent anything, and took a new one.
    pub reconnected: bool,
}

/// How clients ask.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom.
    pub to: SocketAddr,
    /// When.
    pub pace: Pace,
    /// Clients at the start, each with one connection, which it keeps while the other side does.
    pub clients: u32,
    /// The request.
    pub request: String,
    /// Over TLS, as this says.
    pub tls: Option<TlsClient>,
}

/// When clients ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pace {
    /// So many requests a second, all clients together, whatever becomes of them.
    PerSecond(u32),
    /// Each client as soon as it was answered.
    OneAfterTheOther,
}

/// How a load went out.
#[derive(Clone, Copy, Debug)]
pub struct Offered {
    /// Requests sent.
    pub requests: usize,
    /// From the first to the last of them.
    pub over: Duration,
    /// The longest that one was sent after it was due.
    pub late_max: Duration,
}

/// Clients at work.
#[derive(Debug)]
pub struct Load(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    plan: Plan,
    began: Instant,
    /// The request that is due next.
    next: AtomicU64,
    /// Clients that wait until their request is due.
    waiting: AtomicUsize,
    stopped: Mutex<bool>,
    stopping: Condvar,
    outcomes: Mutex<Vec<Outcome>>,
    clients: Mutex<Vec<JoinHandle<()>>>,
}

impl Plan {
    /// `GET /` at `rate` a second by 16 clients, or more where that takes more.
    pub fn get(to: SocketAddr, rate: u32) -> Self {
        let request = "GET / HTTP/1.1\r\nHost: test\r\n\r\n".to_owned();
        Self { to, pace: Pace::PerSecond(rate), clients: 16, request, tls: None }
    }

    /// The same over TLS.
    pub fn over_tls(self, client: TlsClient) -> Self {
        Self { tls: Some(client), ..self }
    }

    fn connect(&self) -> std::io::Result<Raw> {
        match &self.tls {
            None => Raw::try_connect(self.to),
            Some(client) => Raw::try_connect_tls(self.to, client),
        }
    }

    /// `GET /` by so many clients, each as soon as it was answered.
    pub fn busy(to: SocketAddr, clients: u32) -> Self {
        Self { pace: Pace::OneAfterTheOther, clients, ..Self::get(to, 1) }
    }
}

impl Load {
    /// Starts the clients.
    pub fn start(plan: &Plan) -> Self {
        let shared = Arc::new(Shared {
            plan: plan.clone(),
            began: host::now(),
            next: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            stopped: Mutex::new(false),
            stopping: Condvar::new(),
            outcomes: Mutex::default(),
            clients: Mutex::default(),
        });
        for _ in 0..plan.clients {
            shared.take_on_client();
        }
        Self(shared)
    }

    /// Looks at what became of the requests so far, in the order in which they ended.
    pub fn look<T>(&self, look: impl FnOnce(&[Outcome]) -> T) -> T {
        look(&self.0.outcomes())
    }

    /// How many requests have ended so far.
    pub fn count(&self) -> usize {
        self.look(<[Outcome]>::len)
    }

    /// Stops the clients, after the request each is at, and says what became of all, in the order in which they ended.
    #[track_caller]
    pub fn stop(self) -> Vec<Outcome> {
        let Self(shared) = self;
        *shared.stopped.lock().expect(LOCKED) = true;
        shared.stopping.notify_all();
        loop {
            // One that is waited for may have taken on another before it ended.
            let Some(client) = shared.clients.lock().expect(LOCKED).pop() else { break };
            client.join().expect("a client ends");
        }
        std::mem::take(&mut shared.outcomes())
    }
}

impl Shared {
    fn outcomes(&self) -> MutexGuard<'_, Vec<Outcome>> {
        self.outcomes.lock().expect(LOCKED)
    }

    fn take_on_client(self: &Arc<Self>) {
        let mut clients = self.clients.lock().expect(LOCKED);
        if clients.len() < CLIENTS_MAX {
            let shared = Arc::clone(self);
            clients.push(std::thread::spawn(move || shared.client()));
        }
    }

    fn client(self: &Arc<Self>) {
        let mut connection = None;
        while let Some(due) = self.next_due() {
            let sent = host::now();
            let (answer, reconnected) = ask(&self.plan, &mut connection);
            let outcome = Outcome { due, sent, ended: host::now(), answer, reconnected };
            self.outcomes().push(outcome);
        }
    }

    /// Waits until the next request that nobody has taken is due; `None` once the load stops.
    fn next_due(self: &Arc<Self>) -> Option<Instant> {
        let Pace::PerSecond(rate) = self.plan.pace else {
            return (!*self.stopped.lock().expect(LOCKED)).then(host::now);
        };
        let number = self.next.fetch_add(1, Relaxed);
        let due = self.began + Duration::from_nanos(number * 1_000_000_000 / u64::from(rate));
        self.waiting.fetch_add(1, SeqCst);
        let stopped = self.stopped.lock().expect(LOCKED);
        let wait = due.saturating_duration_since(host::now());
        let (stopped, _) = self.stopping.wait_timeout_while(stopped, wait, |stopped| !*stopped).expect(LOCKED);
        let (is_stopped, was_last) = (*stopped, self.waiting.fetch_sub(1, SeqCst) == 1);
        drop(stopped);
        if is_stopped {
            return None;
        }
        if was_last {
            // All others wait for answers, and the next request must not.
            self.take_on_client();
        }
        Some(due)
    }
}

impl Outcome {
    /// Whether it was answered with 200.
    pub fn is_good(&self) -> bool {
        self.answer.as_ref().is_ok_and(|answer| answer.status == 200)
    }

    /// The node that answered.
    pub fn node(&self) -> Option<&str> {
        self.answer.as_ref().ok()?.field("node")
    }

    /// How long it took from when it was due.
    pub fn took(&self) -> Duration {
        self.ended.saturating_duration_since(self.due)
    }
}

impl Offered {
    /// How these requests went out.
    pub fn of(outcomes: &[Outcome]) -> Self {
        let sent = || outcomes.iter().map(|outcome| outcome.sent);
        let over = sent().min().zip(sent().max()).map(|(first, last)| last - first);
        let late = outcomes.iter().map(|outcome| outcome.sent.saturating_duration_since(outcome.due)).max();
        Self { requests: outcomes.len(), over: over.unwrap_or_default(), late_max: late.unwrap_or_default() }
    }

    /// Requests a second that were really sent.
    pub fn rate(&self) -> f64 {
        self.requests.saturating_sub(1) as f64 / self.over.as_secs_f64()
    }
}

impl std::fmt::Display for Offered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { requests, over, late_max } = self;
        write!(f, "{requests} requests over {over:.1?}, {:.1} a second, the latest {late_max:.1?} late", self.rate())
    }
}

/// The outcomes that are not 200, each as a line, at most `max`.
pub fn failures(outcomes: &[Outcome], max: usize) -> Vec<String> {
    let failed = outcomes.iter().filter(|outcome| !outcome.is_good());
    let told = failed.map(|outcome| match &outcome.answer {
        Ok(answer) => format!("{} after {:?}: {}", answer.head.start, outcome.took(), answer.text().trim()),
        Err(broken) => format!("{broken:?} after {:?}", outcome.took()),
    });
    told.take(max).collect()
}

/// Asks once, on the kept connection where it still stands and on a new one otherwise; `true`: it no longer stood.
fn ask(plan: &Plan, connection: &mut Option<Raw>) -> (Result<Answer, Broken>, bool) {
    let (mut raw, reconnected) = match connection.take().map(|mut kept| (kept.state(), kept)) {
        Some((End::Open, kept)) => (kept, false),
        Some((End::Bytes(bytes), _)) => {
            return (Err(Broken::Malformed(format!("{} bytes that nobody asked for", bytes.len()))), false);
        }
        ended => match plan.connect() {
            Ok(raw) => (raw, ended.is_some()),
            Err(_) => return (Err(Broken::Reset), ended.is_some()),
        },
    };
    let answer = raw.ask(&plan.request);
    if answer.as_ref().is_ok_and(|answer| answer.head.keeps_alive()) {
        *connection = Some(raw);
    }
    (answer, reconnected)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::node::{Behaviour, TestNode};
    use crate::wait::wait_until;

    #[test]
    fn a_slow_node_is_asked_as_often_as_a_fast_one() {
        let node = TestNode::start("slow");
        node.order("*", Behaviour::delayed(400));
        let load = Load::start(&Plan { clients: 2, ..Plan::get(node.address(), 200) });
        wait_until("answers", || load.count() >= 100);
        let outcomes = load.stop();
        assert_eq!(failures(&outcomes, 5), [""; 0]);
        assert!(node.seen().in_flight_max >= 60, "200 a second for 400 ms are 80 at once, of however many clients");
        let offered = Offered::of(&outcomes);
        assert!((190.0..210.0).contains(&offered.rate()), "{offered}");
    }

    #[test]
    fn a_connection_that_closes_under_a_request_is_a_failure_and_one_that_closed_before_is_not() {
        const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let plan = Plan { clients: 1, ..Plan::get(listener.local_addr().unwrap(), 1) };
        let server = std::thread::spawn(move || {
            // The first connection closes behind its answer, the second one when it is asked again.
            for is_asked_again in [false, true] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1024];
                assert!(stream.read(&mut request).unwrap() > 0);
                stream.write_all(ANSWER).unwrap();
                if is_asked_again {
                    assert!(stream.read(&mut request).unwrap() > 0);
                }
            }
            listener
        });
        let mut connection = None;
        let status = |asked: (Result<Answer, Broken>, bool)| (asked.0.map(|answer| answer.status), asked.1);
        assert_eq!(status(ask(&plan, &mut connection)), (Ok(200), false));
        let kept: &mut Raw = connection.as_mut().unwrap();
        wait_until("the other side to close", || kept.state() != End::Open);
        assert_eq!(status(ask(&plan, &mut connection)), (Ok(200), true), "nothing was sent on what had closed");
        assert_eq!(status(ask(&plan, &mut connection)), (Err(Broken::Closed), false));
        let listener = server.join().unwrap();
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "it was asked once and never again");
    }
}
