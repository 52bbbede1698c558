//! What the driver asks of an engine, each within a time, and what went wrong in words for people.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use bollard::errors::Error as Bollard;
use bollard::models::{ContainerCreateBody, ContainerStatsResponse, NetworkConnectRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, KillContainerOptions, ListContainersOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, StatsOptionsBuilder, StopContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, ClientVersion};
use futures_util::StreamExt;
use tokio::time::{timeout, timeout_at};

use super::container::{Container, Inspected, NODE_LABEL, State, is_id, one_line};
use super::settings::Engine;
use super::wire::{Unreachable, Wire};
use crate::host;
use crate::model::NodeId;

/// How long an engine may take to tell something.
const LOOK_TIME_MAX: Duration = Duration::from_secs(10);
/// How long it may take to make, remove or connect a container: some copy a whole image.
const CHANGE_TIME_MAX: Duration = Duration::from_secs(60);
/// How much longer than a container it may take to stop it.
const STOP_TIME_MORE: Duration = Duration::from_secs(10);
/// How long fetching an image may take.
const PULL_TIME_MAX: Duration = Duration::from_secs(600);
/// The library's own limit, for the head of an answer alone: above all of ours.
const LIBRARY_TIME_MAX_S: u64 = 24 * 3_600;
/// Containers of one node, and of one machine.
const CONTAINERS_PER_NODE_MAX: usize = 64;
const CONTAINERS_MAX: usize = 512;
/// Characters that are told of what an engine says.
const WORDS_CHARS_MAX: usize = 400;
/// Lines of a container's log that are told, and characters of all of them.
const LOG_LINES_MAX: usize = 8;
const LOG_CHARS_MAX: usize = 800;

/// An engine that answered.
pub(super) struct Client<'a> {
    docker: bollard::Docker,
    engine: &'a Engine,
    port: u16,
}

/// An engine did not do what it was asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    engine: String,
    pub(super) why: Why,
}

/// What it did instead.
#[derive(Debug)]
pub(super) enum Why {
    /// Nobody listens, or not for this process.
    Unreachable(String),
    /// It did not answer.
    TimedOut(Duration),
    /// It said no.
    Answered {
        /// Its status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// What it sent makes no sense, or broke off.
    Odd(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the docker engine at {} ", self.engine)?;
        match &self.why {
            Why::Unreachable(why) => {
                write!(f, "cannot be reached: {why}; does it run, and may this process connect to it?")
            }
            Why::TimedOut(limit) => write!(f, "did not answer within {} s", limit.as_secs_f32().ceil()),
            Why::Answered { status, message } => write!(f, "answered {status}: {message}"),
            Why::Odd(why) => write!(f, "did not answer as one does: {why}"),
        }
    }
}

impl Refusal {
    fn status(&self) -> Option<u16> {
        match self.why {
            Why::Answered { status, .. } => Some(status),
            _ => None,
        }
    }

    /// It knows no such thing.
    pub(super) fn is_unknown(&self) -> bool {
        self.status() == Some(404)
    }

    /// Something else is in the way.
    pub(super) fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }
}

impl<'a> Client<'a> {
    /// Finds out which version of the API both know. Nothing is kept of it, so an engine may be changed under way.
    pub(super) async fn connect(wire: &Wire, engine: &'a Engine, port: u16) -> Result<Self, Refusal> {
        let refusal = |why| Refusal { engine: engine.to_string(), why };
        let answer = timeout(LOOK_TIME_MAX, wire.ping()).await;
        let answer =
            answer.map_err(|_| refusal(Why::TimedOut(LOOK_TIME_MAX)))?.map_err(|error| refusal(read(&error)))?;
        if !answer.status().is_success() {
            let message = "to a ping; is it an engine that listens there?".to_owned();
            return Err(refusal(Why::Answered { status: answer.status().as_u16(), message }));
        }
        let told = answer.headers().get("api-version").and_then(|version| version.to_str().ok());
        let version = told.and_then(version).ok_or_else(|| {
            refusal(Why::Odd("it names no version of its API; is it an engine that listens there?".to_owned()))
        })?;
        let version = if version < *API_DEFAULT_VERSION { version } else { *API_DEFAULT_VERSION };
        let wire = wire.clone();
        let transport = move |request: bollard::BollardRequest| {
            let wire = wire.clone();
            async move { wire.exchange(request, Some(version)).await }
        };
        let docker = bollard::Docker::connect_with_custom_transport(
            transport,
            Some("http://docker"),
            LIBRARY_TIME_MAX_S,
            &version,
        )
        .map_err(|error| refusal(read(&error)))?;
        Ok(Self { docker, engine, port })
    }

    /// Every container of this node.
    pub(super) async fn of_node(&self, node: &NodeId) -> Result<Vec<Container>, Refusal> {
        let filters = HashMap::from([("label", vec![format!("{NODE_LABEL}={node}")])]);
        let mut found = self.list(&filters, CONTAINERS_PER_NODE_MAX).await?;
        found.retain(|found| found.node == *node);
        if found.len() > CONTAINERS_PER_NODE_MAX {
            let why = format!(
                "more than {CONTAINERS_PER_NODE_MAX} containers have the label {NODE_LABEL}={node}; remove old ones"
            );
            return Err(self.odd(why));
        }
        Ok(found)
    }

    /// The containers of nodes that run: as many as are looked at.
    pub(super) async fn running(&self) -> Result<Vec<Container>, Refusal> {
        let filters = HashMap::from([("label", vec![NODE_LABEL.to_owned()]), ("status", vec!["running".to_owned()])]);
        let mut found = self.list(&filters, CONTAINERS_MAX).await?;
        found.retain(|found| found.state == State::Up);
        found.truncate(CONTAINERS_MAX);
        Ok(found)
    }

    async fn list(&self, filters: &HashMap<&str, Vec<String>>, max: usize) -> Result<Vec<Container>, Refusal> {
        // One more than may be: so it is seen that there are too many.
        let limit = i32::try_from(max + 1).unwrap_or(i32::MAX);
        let options = ListContainersOptionsBuilder::new().all(true).limit(limit).filters(filters).build();
        let found = self.within(LOOK_TIME_MAX, self.docker.list_containers(Some(options))).await?;
        Ok(found.into_iter().filter_map(Container::read).take(max + 1).collect())
    }

    /// The container of this id or name; `None`: there is none.
    pub(super) async fn inspect(&self, container: &str) -> Result<Option<Inspected>, Refusal> {
        self.inspect_within(container, LOOK_TIME_MAX).await
    }

    /// The same, in no more than this time.
    pub(super) async fn inspect_within(&self, container: &str, limit: Duration) -> Result<Option<Inspected>, Refusal> {
        let asked = self.docker.inspect_container(container, None);
        match self.within(limit.min(LOOK_TIME_MAX), asked).await {
            Ok(answer) => {
                let read = Inspected::read(answer, self.port);
                read.map(Some).ok_or_else(|| self.odd("it tells nothing of a container that it has".to_owned()))
            }
            Err(refusal) if refusal.is_unknown() => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Makes a container and answers its id.
    pub(super) async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<String, Refusal> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let created = self.within(CHANGE_TIME_MAX, self.docker.create_container(Some(options), body)).await?;
        if is_id(&created.id) { Ok(created.id) } else { Err(self.odd("the id of a new container is none".to_owned())) }
    }

    /// Whether it has this image.
    pub(super) async fn has_image(&self, image: &str) -> Result<bool, Refusal> {
        match self.within(LOOK_TIME_MAX, self.docker.inspect_image(image)).await {
            Ok(_) => Ok(true),
            Err(refusal) if refusal.is_unknown() => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }

    /// Fetches this image from where its name says.
    pub(super) async fn pull(&self, image: &str) -> Result<(), Refusal> {
        let mut options = CreateImageOptionsBuilder::new().from_image(image);
        // Of an image without a tag all tags would be fetched.
        let last = image.rsplit('/').next().unwrap_or(image);
        if !last.contains([':', '@']) {
            options = options.tag("latest");
        }
        let fetching = async {
            let mut told = pin!(self.docker.create_image(Some(options.build()), None, None));
            while let Some(step) = told.next().await {
                step?;
            }
            Ok(())
        };
        self.within(PULL_TIME_MAX, fetching).await
    }

    /// Puts a container on a network. One that is on it already is not moved.
    pub(super) async fn join(&self, network: &str, container: &str) -> Result<(), Refusal> {
        let request = NetworkConnectRequest { container: container.to_owned(), endpoint_config: None };
        match self.within(CHANGE_TIME_MAX, self.docker.connect_network(network, request)).await {
            Err(Refusal { why: Why::Answered { status: 403, message }, .. })
                if message.contains("already exists in network") =>
            {
                Ok(())
            }
            other => other,
        }
    }

    /// Starts a container. One that runs is left alone.
    pub(super) async fn start(&self, container: &str, deadline: Instant) -> Result<(), Refusal> {
        let left = deadline.saturating_duration_since(host::now());
        self.within(left, self.docker.start_container(container, None)).await
    }

    /// Has a container end within this time. One that has ended or is gone is none to stop.
    pub(super) async fn stop(&self, container: &str, within: Duration) -> Result<(), Refusal> {
        let seconds = i32::try_from(within.as_millis().div_ceil(1_000)).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        gone_is_done(self.within(within + STOP_TIME_MORE, self.docker.stop_container(container, Some(options))).await)
    }

    /// Ends a container at once. One that has ended or is gone is none to end.
    pub(super) async fn kill(&self, container: &str) -> Result<(), Refusal> {
        match gone_is_done(
            self.within(LOOK_TIME_MAX, self.docker.kill_container(container, None::<KillContainerOptions>)).await,
        ) {
            // It does not run.
            Err(refusal) if refusal.is_conflict() => Ok(()),
            other => other,
        }
    }

    /// Removes a container, whatever it does; with it the volumes that have no name, where `with_volumes` says so.
    pub(super) async fn remove(&self, container: &str, with_volumes: bool) -> Result<(), Refusal> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(with_volumes).build();
        gone_is_done(self.within(CHANGE_TIME_MAX, self.docker.remove_container(container, Some(options))).await)
    }

    /// The end of a container's log, in one line; `None`: it has none, or its engine cannot read it.
    pub(super) async fn log_end(&self, container: &str) -> Option<String> {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&LOG_LINES_MAX.to_string()).build();
        let mut end: Vec<u8> = Vec::new();
        let reading = async {
            let mut log = pin!(self.docker.logs(container, Some(options)));
            while let Some(Ok(piece)) = log.next().await {
                end.extend_from_slice(piece.as_ref());
                // The last of it is what is told; a character has four bytes at most.
                end.drain(..end.len().saturating_sub(4 * LOG_CHARS_MAX));
            }
        };
        let _ = timeout(LOOK_TIME_MAX, reading).await;
        let end = String::from_utf8_lossy(&end);
        let lines: Vec<String> =
            end.lines().map(|line| one_line(line, LOG_CHARS_MAX)).filter(|line| !line.is_empty()).collect();
        let lines = lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join(" / ");
        let surplus = lines.chars().count().saturating_sub(LOG_CHARS_MAX);
        (!lines.is_empty()).then(|| lines.chars().skip(surplus).collect())
    }

    /// What a container uses at this moment.
    pub(super) async fn stats(&self, container: &str, deadline: Instant) -> Option<ContainerStatsResponse> {
        // One look, without waiting for a second one to compare it with.
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
        let mut told = pin!(self.docker.stats(container, Some(options)));
        timeout_at(deadline.into(), told.next()).await.ok()??.ok()
    }

    async fn within<T>(&self, limit: Duration, asked: impl Future<Output = Result<T, Bollard>>) -> Result<T, Refusal> {
        let refusal = |why| Refusal { engine: self.engine.to_string(), why };
        let answer = timeout(limit, asked).await.map_err(|_| refusal(Why::TimedOut(limit)))?;
        answer.map_err(|error| refusal(read(&error)))
    }

    fn odd(&self, why: String) -> Refusal {
        Refusal { engine: self.engine.to_string(), why: Why::Odd(why) }
    }
}

fn gone_is_done(outcome: Result<(), Refusal>) -> Result<(), Refusal> {
    match outcome {
        Err(refusal) if refusal.is_unknown() => Ok(()),
        other => other,
    }
}

fn version(text: &str) -> Option<ClientVersion> {
    let (major, minor) = text.split_once('.')?;
    Some(ClientVersion { major_version: major.parse().ok()?, minor_version: minor.parse().ok()? })
}

fn read(error: &Bollard) -> Why {
    match error {
        Bollard::DockerResponseServerError { status_code, message } => {
            Why::Answered { status: *status_code, message: one_line(message, WORDS_CHARS_MAX) }
        }
        Bollard::DockerStreamError { error } => Why::Odd(one_line(error, WORDS_CHARS_MAX)),
        Bollard::IOError { err } => match err.get_ref().and_then(|inner| inner.downcast_ref::<Unreachable>()) {
            Some(unreachable) => Why::Unreachable(unreachable.to_string()),
            None => Why::Odd(words(err)),
        },
        other => Why::Odd(words(other)),
    }
}

/// What an error says, and what is behind it.
fn words(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(behind) = source {
        let more = behind.to_string();
        if !told.contains(&more) {
            told = format!("{told}: {more}");
        }
        source = behind.source();
    }
    one_line(&told, WORDS_CHARS_MAX)
}
