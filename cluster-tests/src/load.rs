//! Clients that keep asking at a steady rate, and what became of every request.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use evenkeel::host;

use crate::raw::{Answer, Broken, Raw};
use crate::wait::pause_until;

/// What became of a request.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// When it was sent.
    pub sent: Instant,
    /// How long its answer took, to its end.
    pub took: Duration,
    /// The answer.
    pub answer: Result<Answer, Broken>,
    /// Whether a kept connection had ended before it took the request, which was then asked again on another one, as RFC
    /// 9112 section 9.5 has every client do.
    pub asked_again: bool,
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    clients: Vec<JoinHandle<()>>,
}

/// How clients ask.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom.
    pub to: SocketAddr,
    /// Requests a second, all clients together.
    pub rate: u32,
    /// Clients, each with one connection at a time.
    pub clients: u32,
    /// The request.
    pub request: String,
    /// Requests on one connection before a client takes a new one; `u32::MAX`: as many as the other side allows.
    pub requests_per_connection: u32,
}

impl Plan {
    /// `GET /` at `rate` by 16 clients that keep their connections.
    pub fn get(to: SocketAddr, rate: u32) -> Self {
        let request = "GET / HTTP/1.1\r\nHost: test\r\n\r\n".to_owned();
        Self { to, rate, clients: 16, request, requests_per_connection: u32::MAX }
    }
}

impl Load {
    /// Starts the clients.
    pub fn start(plan: &Plan) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let outcomes = Arc::new(Mutex::new(Vec::new()));
        let began = host::now();
        let clients = (0..plan.clients)
            .map(|number| {
                let (plan, stop, outcomes) = (plan.clone(), Arc::clone(&stop), Arc::clone(&outcomes));
                std::thread::spawn(move || client(&plan, number, began, &stop, &outcomes))
            })
            .collect();
        Self { stop, outcomes, clients }
    }

    /// What became of the requests so far.
    pub fn so_far(&self) -> Vec<Outcome> {
        self.outcomes.lock().expect("no client panics with the list in hand").clone()
    }

    /// How many requests have ended so far.
    pub fn count(&self) -> usize {
        self.outcomes.lock().expect("no client panics with the list in hand").len()
    }

    /// Stops the clients, after the request each is at, and says what became of all.
    #[track_caller]
    pub fn stop(self) -> Vec<Outcome> {
        self.stop.store(true, Relaxed);
        for client in self.clients {
            client.join().expect("a client ends");
        }
        std::mem::take(&mut self.outcomes.lock().expect("no client panics with the list in hand"))
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
}

/// The outcomes that are not 200, each as a line, at most `max`.
pub fn failures(outcomes: &[Outcome], max: usize) -> Vec<String> {
    let failed = outcomes.iter().filter(|outcome| !outcome.is_good());
    let told = failed.map(|outcome| match &outcome.answer {
        Ok(answer) => format!("{} after {:?}: {}", answer.head.start, outcome.took, answer.text().trim()),
        Err(broken) => format!("{broken:?} after {:?}", outcome.took),
    });
    told.take(max).collect()
}

fn client(plan: &Plan, number: u32, began: Instant, stop: &AtomicBool, outcomes: &Mutex<Vec<Outcome>>) {
    let step = Duration::from_secs(1) * plan.clients / plan.rate;
    let mut due = began + Duration::from_secs(1) * number / plan.rate;
    let mut connection: Option<(Raw, u32)> = None;
    while !stop.load(Relaxed) {
        pause_until(due);
        due += step;
        let sent = host::now();
        let (answer, asked_again) = ask(plan, &mut connection);
        let outcome = Outcome { sent, took: sent.elapsed(), answer, asked_again };
        outcomes.lock().expect("no client panics with the list in hand").push(outcome);
    }
}

/// Asks once, on the connection at hand or a new one, and again where the one at hand turns out to have ended.
fn ask(plan: &Plan, connection: &mut Option<(Raw, u32)>) -> (Result<Answer, Broken>, bool) {
    let (mut raw, used, kept) = match connection.take().filter(|(_, used)| *used < plan.requests_per_connection) {
        Some((raw, used)) => (raw, used, true),
        None => match Raw::try_connect(plan.to) {
            Ok(raw) => (raw, 0, false),
            Err(_) => return (Err(Broken::Reset), false),
        },
    };
    let answer = raw.ask(&plan.request);
    if kept && matches!(answer, Err(Broken::Closed | Broken::Reset)) {
        return (ask(plan, connection).0, true);
    }
    if answer.as_ref().is_ok_and(|answer| answer.head.keeps_alive()) {
        *connection = Some((raw, used + 1));
    }
    (answer, false)
}
