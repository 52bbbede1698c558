//! Nodes that are containers of a docker engine.
//!
//! A switch makes a new container for the node, stops those that it has and starts the new one; the way back is there until the
//! switch is for good. All of it is kept in the engine, in labels and states of containers, so a peer may end at any point and be
//! told the same again: it looks at what is there and does the rest.
//!
//! A container that is new is made before any other is stopped. So what cannot be made (an image is missing) costs nothing, and what
//! stood for the node before can be written into the new one's label while it still runs.

mod client;
mod container;
mod create;
mod settings;
mod template;
#[cfg(test)]
mod tests;
mod usage;
mod wire;

use std::fmt::{self, Display};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tokio::time::{sleep, timeout};

use super::effect::{Action, Done, Driver, Effect, Failed, ServerAt, Usage};
use crate::host::{self, Names};
use crate::model::{Host, ServerAddress};
use client::{Client, Refusal};
use container::{Before, Container, Here, Inspected, Progress, State};
use create::Texts;
use usage::Looks;
use wire::Wire;

pub use settings::{DockerFault, DockerSettings, Engine, EngineError, Publish};
pub use template::{Template, TemplateError};

/// How long a container runs before it counts as started, where no health check says more: what cannot do its work mostly ends at once.
const RUNS_FOR_MIN: Duration = Duration::from_secs(1);
/// Time between two looks at a container that is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// What the last look at it has, however late it is.
const LAST_LOOK_TIME: Duration = Duration::from_secs(1);
/// How long it may take until a container is gone that somebody else removes.
const REMOVAL_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a connection to a server may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
/// How long one look at what all nodes use may take.
const USAGE_TIME_MAX: Duration = Duration::from_secs(5);
/// Names of containers that one note tells.
const NAMES_TOLD_MAX: usize = 4;
/// Requests to an engine at the same time, of one effect or one look.
const REQUESTS_AT_ONCE_MAX: usize = 8;

/// Nodes that are containers of one docker engine.
pub struct Docker {
    settings: DockerSettings,
    texts: Texts,
    wire: Wire,
    names: Names,
    looks: Mutex<Looks>,
}

/// Whether a container that is unhealthy, but was so before anybody touched it, is as it should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Unhealthy {
    Fails,
    Passes,
}

impl Docker {
    /// Nothing is asked of the engine yet: it may come up later than the peer.
    pub fn new(settings: DockerSettings) -> Result<Self, DockerFault> {
        if let Some(fault) = settings.faults().into_iter().next() {
            return Err(fault);
        }
        let texts = Texts::read(&settings)?;
        let names = Names::of_system();
        let wire = Wire::new(settings.engine.clone(), names.clone());
        Ok(Self { settings, texts, wire, names, looks: Mutex::default() })
    }

    async fn connect(&self) -> Result<Client<'_>, Refusal> {
        Client::connect(&self.wire, &self.settings.engine, self.settings.port).await
    }

    async fn look(&self, client: &Client<'_>, effect: &Effect) -> Result<Here, Failed> {
        let found = client.of_node(&effect.node.id).await;
        let found = found
            .map_err(|refusal| failed(format_args!("containers of node {}", effect.node.id), "listed", &refusal))?;
        Ok(Here::new(found, effect.intent))
    }

    async fn switch(&self, client: &Client<'_>, effect: &Effect) -> Result<Done, Failed> {
        let here = self.look(client, effect).await?;
        let own = self.own(client, effect, &here, here.stands()).await?;
        let others: Vec<&Container> = here.others_up().collect();
        self.stop_all(client, &others).await?;
        let done = self.stand(client, &own).await?;
        let stopped = names(&others);
        Ok(if stopped.is_empty() { done } else { Done { note: format!("{}; {stopped} stopped", done.note), ..done } })
    }

    async fn start(&self, client: &Client<'_>, effect: &Effect) -> Result<Done, Failed> {
        let here = self.look(client, effect).await?;
        if let Some(other) = here.others_up().next() {
            let node = &effect.node.id;
            return Err(Failed::new(format!(
                "node {node} cannot be started: container {} of it runs at the docker engine at {}; stop that node first",
                other.name, self.settings.engine
            )));
        }
        let own = self.own(client, effect, &here, None).await?;
        self.stand(client, &own).await
    }

    async fn undo(&self, client: &Client<'_>, effect: &Effect) -> Result<Done, Failed> {
        let here = self.look(client, effect).await?;
        // A node without an address was to be started: nothing is to come back.
        let before = if effect.node.address.is_some() { here.before() } else { Before::Nothing };
        // They are removed last, so that their labels say what stood there before until it stands there again.
        for own in here.own.iter().filter(|own| own.state == State::Up) {
            client.kill(&own.id).await.map_err(|refusal| failed_of(own, "stopped", &refusal))?;
        }
        let stands = match &before {
            Before::Nothing => Ok(Done { address: None, note: "nothing stood there before".to_owned() }),
            Before::Container(before) => {
                let unhealthy = if before.state == State::Up { Unhealthy::Passes } else { Unhealthy::Fails };
                self.stand_as(client, before, unhealthy, false).await
            }
        };
        let removed = self.remove_all(client, &here.own.iter().collect::<Vec<_>>()).await;
        let done = stands?;
        removed.map(|()| done)
    }

    async fn finish(&self, client: &Client<'_>, effect: &Effect) -> Result<Done, Failed> {
        let here = self.look(client, effect).await?;
        let earlier: Vec<&Container> = here.earlier().collect();
        if here.own.is_empty() && !earlier.is_empty() {
            return Err(Failed::new(format!(
                "containers of node {} of before plan {} stay: its own is not there at the docker engine at {}, so nothing would be left",
                effect.node.id, effect.intent, self.settings.engine
            )));
        }
        self.remove_all(client, &earlier).await?;
        Ok(Done { address: None, note: removed(&earlier) })
    }

    async fn stop(&self, client: &Client<'_>, effect: &Effect) -> Result<Done, Failed> {
        let here = self.look(client, effect).await?;
        let all: Vec<&Container> = here.own.iter().chain(&here.others).collect();
        let up: Vec<&Container> = all.iter().copied().filter(|found| found.state == State::Up).collect();
        self.stop_all(client, &up).await?;
        self.remove_all(client, &all).await?;
        Ok(Done { address: None, note: removed(&all) })
    }

    /// The plan's own container: the one that is there, else a new one that names what stood there before it.
    async fn own(
        &self,
        client: &Client<'_>,
        effect: &Effect,
        here: &Here,
        before: Option<&Container>,
    ) -> Result<Container, Failed> {
        if let Some(own) = here.own.iter().find(|own| own.state != State::Going) {
            return Ok(own.clone());
        }
        // Half gone: whoever removed them did not end that.
        self.remove_all(client, &here.own.iter().collect::<Vec<_>>()).await?;
        let name = container::name(effect);
        let cannot = |why: &dyn Display| Failed::new(format!("container {name} cannot be made: {why}"));
        let body = create::body(&self.settings, &self.texts, effect, before).map_err(|why| cannot(&why))?;
        let mut created = client.create(&name, body.clone()).await;
        if matches!(&created, Err(refusal) if refusal.is_unknown())
            && matches!(client.has_image(&self.settings.image).await, Ok(false))
        {
            let image = &self.settings.image;
            if !self.settings.pull {
                let engine = &self.settings.engine;
                return Err(cannot(&format!(
                    "the docker engine at {engine} has no image {image}; pull it on this machine, or set pull = true"
                )));
            }
            client
                .pull(image)
                .await
                .map_err(|refusal| cannot(&format!("its image {image} cannot be pulled: {refusal}")))?;
            created = client.create(&name, body).await;
        }
        let id = match created {
            Ok(id) => id,
            Err(refusal) if refusal.is_conflict() => self.made_before(client, effect, &name, &refusal).await?,
            Err(refusal) => return Err(cannot(&refusal)),
        };
        Ok(Container {
            id,
            name,
            node: effect.node.id.clone(),
            intent: Some(effect.intent),
            before: before.map(|before| before.id.clone()),
            created_s: 0,
            state: State::New,
            is_healthy: None,
        })
    }

    /// The container of that name, if it is the one that was to be made: somebody asked for it a moment ago, and was not answered.
    async fn made_before(
        &self,
        client: &Client<'_>,
        effect: &Effect,
        name: &str,
        conflict: &Refusal,
    ) -> Result<String, Failed> {
        let cannot = |why: &dyn Display| Failed::new(format!("container {name} cannot be made: {why}"));
        let found = client.inspect(name).await.map_err(|refusal| cannot(&refusal))?;
        match found {
            Some(found) if found.made_for == (Some(effect.node.id.clone()), Some(effect.intent)) => Ok(found.id),
            Some(_) => Err(cannot(&format!(
                "the docker engine at {} has another of that name, which was not made for node {} and plan {}; rename or remove it",
                self.settings.engine, effect.node.id, effect.intent
            ))),
            None => Err(cannot(conflict)),
        }
    }

    /// Has the plan's own container run, and says where the node is then.
    async fn stand(&self, client: &Client<'_>, own: &Container) -> Result<Done, Failed> {
        // One that runs was on all of them before it was started.
        if own.state != State::Up && self.settings.networks.len() > 1 {
            let found = client.inspect(&own.id).await.map_err(|refusal| failed_of(own, "looked at", &refusal))?;
            let found = found.ok_or_else(|| self.removed_meanwhile(own))?;
            for network in found.missing(&self.settings.networks) {
                let joined = client.join(network, &own.id).await;
                joined.map_err(|refusal| failed_of(own, &format!("put on network {network}"), &refusal))?;
            }
        }
        self.stand_as(client, own, Unhealthy::Fails, true).await
    }

    /// Has a container run, waits until it is well, and says where the node is then. `has_address`: it was made as the settings say.
    async fn stand_as(
        &self,
        client: &Client<'_>,
        container: &Container,
        unhealthy: Unhealthy,
        has_address: bool,
    ) -> Result<Done, Failed> {
        let deadline = host::now() + self.settings.start_timeout;
        let was_up = container.state == State::Up;
        if !was_up {
            client.start(&container.id, deadline).await.map_err(|refusal| failed_of(container, "started", &refusal))?;
        }
        let (found, mut note) = self.wait(client, container, unhealthy, deadline).await?;
        let address = found.address(self.settings.publish, &self.settings.networks, self.settings.port);
        if address.is_none() {
            if has_address {
                let end = match self.settings.publish {
                    Publish::Nowhere => "has no address on a network".to_owned(),
                    Publish::At(ip) => format!("is not published at {ip}"),
                };
                return Err(Failed::new(format!(
                    "container {} runs at the docker engine at {}, and its port {} {end}",
                    container.name, self.settings.engine, self.settings.port
                )));
            }
            // An operator made it, and knows where it is reached.
            note.push_str(", where it was reached before");
        }
        let how = if was_up { "ran already" } else { "was started" };
        Ok(Done { address, note: format!("container {} {how} and {note}", container.name) })
    }

    /// Waits until a container runs and is healthy, with a word about that.
    async fn wait(
        &self,
        client: &Client<'_>,
        container: &Container,
        unhealthy: Unhealthy,
        deadline: Instant,
    ) -> Result<(Inspected, String), Failed> {
        let mut ran: Option<(String, Instant)> = None;
        loop {
            // What the engine does not tell now, it may tell in a moment.
            let left = deadline.saturating_duration_since(host::now()).max(LAST_LOOK_TIME);
            let waits_for = match client.inspect_within(&container.id, left).await {
                Ok(None) => return Err(self.removed_meanwhile(container)),
                Ok(Some(found)) => match found.progress() {
                    Progress::Healthy => return Ok((found, "is healthy".to_owned())),
                    Progress::Runs { since } => {
                        let now = host::now();
                        match &ran {
                            Some((known, from)) if *known == since => {
                                if now.saturating_duration_since(*from) >= RUNS_FOR_MIN {
                                    return Ok((found, "runs".to_owned()));
                                }
                            }
                            _ => ran = Some((since, now)),
                        }
                        "it has not run for long enough".to_owned()
                    }
                    Progress::Unhealthy if unhealthy == Unhealthy::Passes => {
                        return Ok((found, "is unhealthy, as it was".to_owned()));
                    }
                    Progress::Unhealthy => return Err(self.fell(client, container, "it is unhealthy").await),
                    Progress::Ended(how) => return Err(self.fell(client, container, &how).await),
                    Progress::Waiting(why) => why,
                },
                Err(refusal) => refusal.to_string(),
            };
            if host::now() >= deadline {
                let seconds = self.settings.start_timeout.as_secs();
                let why = format!("it is not there after {seconds} s (start_timeout): {waits_for}");
                return Err(self.fell(client, container, &why).await);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn removed_meanwhile(&self, container: &Container) -> Failed {
        let Container { name, .. } = container;
        Failed::new(format!(
            "container {name} was removed from the docker engine at {} while it was awaited; leave containers of nodes to the cluster",
            self.settings.engine
        ))
    }

    /// A container that does not run as it should, with what it said last.
    async fn fell(&self, client: &Client<'_>, container: &Container, why: &str) -> Failed {
        let end = client.log_end(&container.id).await;
        let end =
            end.map_or_else(|| "its log is empty or cannot be read".to_owned(), |end| format!("its log ends: {end}"));
        Failed::new(format!(
            "container {} of the docker engine at {}: {why}; {end}",
            container.name, self.settings.engine
        ))
    }

    async fn stop_all(&self, client: &Client<'_>, containers: &[&Container]) -> Result<(), Failed> {
        all(containers.iter().map(|container| self.stop_one(client, container)).collect()).await
    }

    async fn stop_one(&self, client: &Client<'_>, container: &Container) -> Result<(), Failed> {
        let stopped = client.stop(&container.id, self.settings.stop_timeout).await;
        stopped.map_err(|refusal| failed_of(container, "stopped", &refusal))
    }

    async fn remove_all(&self, client: &Client<'_>, containers: &[&Container]) -> Result<(), Failed> {
        all(containers.iter().map(|container| self.remove_one(client, container)).collect()).await
    }

    /// Removes it and waits until it is gone. Of what an operator made the volumes are the operator's.
    async fn remove_one(&self, client: &Client<'_>, container: &Container) -> Result<(), Failed> {
        let removed = match client.remove(&container.id, container.intent.is_some()).await {
            // Somebody else removes it at this moment.
            Err(refusal) if refusal.is_conflict() => gone(client, container, refusal).await,
            other => other,
        };
        removed.map_err(|refusal| failed_of(container, "removed", &refusal))
    }

    async fn probe(&self, server: Option<&ServerAt>) -> Result<Done, Failed> {
        let not_asked = |why: &str| Ok(Done { address: None, note: format!("nothing was asked: {why}") });
        let Some(server) = server else { return not_asked("the plan has no server") };
        let cannot = |why: &dyn Display| {
            Failed::new(format!("server {} at {} cannot be connected to: {why}", server.id, server.address))
        };
        let address: ServerAddress = server.address.parse().map_err(|error| cannot(&error))?;
        let Some(port) = address.port else {
            return not_asked(&format!("the address of server {} has no port", server.id));
        };
        let limit = CONNECT_TIME_MAX.min(self.settings.start_timeout);
        let connecting = async {
            let addresses = match &address.host {
                Host::Ip(ip) => vec![*ip],
                Host::Name(name) => self.names.resolve(name).await.map_err(|error| cannot(&error))?.addresses,
            };
            wire::connect_to_any(&addresses, port.get()).await.map_err(|error| cannot(&error))
        };
        let connected = timeout(limit, connecting).await;
        connected.unwrap_or_else(|_| Err(cannot(&format!("no answer within {} s", limit.as_secs()))))?;
        Ok(Done { address: None, note: format!("server {} takes connections at {}", server.id, server.address) })
    }

    async fn measure(&self) -> Result<Vec<Usage>, Refusal> {
        let deadline = host::now() + USAGE_TIME_MAX;
        let client = self.connect().await?;
        let mut running = client.running().await?;
        // One a node: during a switch the later one.
        running.sort_by(|a, b| (&a.node, b.intent, b.created_s).cmp(&(&b.node, a.intent, a.created_s)));
        running.dedup_by(|later, kept| later.node == kept.node);
        let asked: Vec<_> = running.iter().map(|found| client.stats(&found.id, deadline)).collect();
        let told: Vec<_> = stream::iter(asked).buffered(REQUESTS_AT_ONCE_MAX).collect().await;
        let now = host::now();
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.keep(&running.iter().map(|found| found.id.as_str()).collect());
        let usages = running.iter().zip(told).map(|(found, stats)| Usage {
            node: found.node.clone(),
            cpu_percent: stats.as_ref().and_then(|stats| looks.cpu_percent(&found.id, stats, now)),
            memory_mb: stats.as_ref().and_then(usage::memory_mb),
            is_healthy: found.is_healthy,
        });
        Ok(usages.collect())
    }
}

#[async_trait]
impl Driver for Docker {
    async fn act(&self, effect: &Effect) -> Result<Done, Failed> {
        if effect.action == Action::Probe {
            return self.probe(effect.to.as_ref()).await;
        }
        let client = self.connect().await.map_err(|refusal| {
            Failed::new(format!("{} of node {} cannot be done: {refusal}", effect.action, effect.node.id))
        })?;
        match effect.action {
            Action::Switch => self.switch(&client, effect).await,
            Action::Finish => self.finish(&client, effect).await,
            Action::Undo => self.undo(&client, effect).await,
            Action::Start => self.start(&client, effect).await,
            Action::Stop => self.stop(&client, effect).await,
            Action::Probe => Ok(Done::default()),
        }
    }

    fn secrets(&self) -> Vec<String> {
        self.settings.environment.values().cloned().collect()
    }

    async fn usage(&self) -> Result<Vec<Usage>, Failed> {
        let cannot = |why: &dyn Display| Failed::new(format!("what nodes use cannot be told: {why}"));
        let measured = timeout(USAGE_TIME_MAX + LOOK_EVERY, self.measure()).await;
        let late = |_| {
            cannot(&format!(
                "the docker engine at {} did not answer within {} s",
                self.settings.engine,
                USAGE_TIME_MAX.as_secs()
            ))
        };
        measured.map_err(late)?.map_err(|refusal| cannot(&refusal))
    }
}

impl fmt::Debug for Docker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Docker").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Waits until a container is gone that somebody else removes.
async fn gone(client: &Client<'_>, container: &Container, conflict: Refusal) -> Result<(), Refusal> {
    let deadline = host::now() + REMOVAL_TIME_MAX;
    while client.inspect(&container.id).await?.is_some() {
        if host::now() >= deadline {
            return Err(conflict);
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Does all of it, some at the same time, and says the first thing that went wrong.
async fn all<F: Future<Output = Result<(), Failed>>>(asked: Vec<F>) -> Result<(), Failed> {
    let outcomes: Vec<_> = stream::iter(asked).buffer_unordered(REQUESTS_AT_ONCE_MAX).collect().await;
    outcomes.into_iter().collect()
}

fn failed(what: impl Display, done: &str, refusal: &Refusal) -> Failed {
    Failed::new(format!("{what} cannot be {done}: {refusal}"))
}

fn failed_of(container: &Container, done: &str, refusal: &Refusal) -> Failed {
    failed(format_args!("container {}", container.name), done, refusal)
}

fn names(containers: &[&Container]) -> String {
    let told: Vec<&str> = containers.iter().take(NAMES_TOLD_MAX).map(|container| container.name.as_str()).collect();
    match containers.len().saturating_sub(NAMES_TOLD_MAX) {
        0 => told.join(", "),
        more => format!("{} and {more} more", told.join(", ")),
    }
}

fn removed(containers: &[&Container]) -> String {
    if containers.is_empty() {
        "nothing was left to remove".to_owned()
    } else {
        format!("{} removed", names(containers))
    }
}
