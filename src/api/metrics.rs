//! `/metrics`: what the peer counts anyway, read at each scrape.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::UNIX_EPOCH;

use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::cluster::PeerTally;
use super::error::ApiError;
use super::list::Params;
use super::nodes::CLASSES;
use super::pools::NodeTally;
use super::router::Asked;
use crate::election::Leadership;
use crate::gossip::Counted;
use crate::link::{self, Channel, ChannelCounts};
use crate::model::{Electors, Revision, Verdict};
use crate::peer::supervise::ChildState;
use crate::proxy::access_log::AccessLog;
use crate::telemetry::metrics::{self, Kind, Metric};
use crate::view::{NodeView, PoolView};
use crate::wire::Refusal;

/// The form that OpenMetrics 1.0 prescribes, which Prometheus reads.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /metrics`
pub(super) async fn scrape(State(asked): State<Asked>, uri: Uri) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Collected(asked)));
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = text::encode(&mut page, &registry);
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], page).into_response())
}

/// The labels of what there is one of.
const UNLABELLED: [&str; 0] = [];

#[derive(Debug)]
struct Collected(Asked);

type Written = Result<(), std::fmt::Error>;

impl Collector for Collected {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Written {
        let mut page = Page(encoder);
        self.peer(&mut page)?;
        self.cluster(&mut page)?;
        self.agreement(&mut page)?;
        self.pools_and_nodes(&mut page)?;
        self.listeners(&mut page)?;
        self.limits(&mut page)
    }
}

impl Collected {
    fn peer(&self, page: &mut Page<'_>) -> Written {
        let Asked { handles, started } = &self.0;
        page.all(metrics::BUILD_INFO, [([env!("CARGO_PKG_VERSION")], 1.0)])?;
        let since_1970 = started.duration_since(UNIX_EPOCH).unwrap_or_default();
        page.all(metrics::START_TIME, [(UNLABELLED, since_1970.as_secs_f64())])?;
        page.all(metrics::READY, [(UNLABELLED, flag(handles.ready().is_ok()))])?;
        let children = handles.children.children();
        page.all(metrics::CHILD_RESTARTS, children.iter().map(|of| ([of.name.as_str()], count(of.restarts))))?;
        let given_up = children.iter().map(|of| ([of.name.as_str()], flag(of.state == ChildState::GivenUp)));
        page.all(metrics::CHILD_GIVEN_UP, given_up)
    }

    /// A cluster of one has one peer and counts nothing else.
    fn cluster(&self, page: &mut Page<'_>) -> Written {
        let handles = &self.0.handles;
        let by_state = PeerTally::of(handles).by_state();
        page.all(metrics::PEERS, by_state.map(|(state, peers)| ([state.name()], count(peers as u64))))?;
        let counted = handles.cluster.as_ref().map(|cluster| cluster.gossip.read());
        let of_gossip: [Read<Counted, u64>; 6] = [
            (metrics::GOSSIP_SENT, |counted| counted.messages_sent),
            (metrics::GOSSIP_SENT_BYTES, |counted| counted.bytes_sent),
            (metrics::GOSSIP_RECEIVED, |counted| counted.messages_received),
            (metrics::GOSSIP_RECEIVED_BYTES, |counted| counted.bytes_received),
            (metrics::GOSSIP_OVER_BUDGET, |counted| counted.over_budget),
            (metrics::GOSSIP_PEERS_REFUSED, |counted| counted.peers_refused),
        ];
        for (metric, read) in of_gossip {
            page.all(metric, counted.iter().map(|counted| (UNLABELLED, count(read(counted)))))?;
        }
        let unreadable =
            counted.iter().flat_map(|counted| [("message", counted.unreadable), ("value", counted.values_unreadable)]);
        page.all(metrics::GOSSIP_UNREADABLE, unreadable.map(|(what, value)| ([what], count(value))))?;
        let refused = counted.iter().flat_map(|counted| [("message", counted.refused), ("part", counted.left_out)]);
        page.all(metrics::GOSSIP_REFUSED, refused.map(|(what, value)| ([what], count(value))))?;
        self.links(page)?;
        let dropped = handles.cluster.as_ref().map(|_| (UNLABELLED, count(handles.view.load().heard_dropped())));
        page.all(metrics::HEARD_DROPPED, dropped)
    }

    fn agreement(&self, page: &mut Page<'_>) -> Written {
        let handles = &self.0.handles;
        let (standing, applied) = (handles.agreed.standing(), handles.agreed.catalog.applied());
        let is_own = matches!(standing.leadership, Leadership::Own { .. });
        let revision = applied.revision().map_or(0, Revision::get);
        for (metric, value) in [
            (metrics::ELECTION_TERM, count(standing.term.get())),
            (metrics::ELECTION_LEADING, flag(is_own)),
            (metrics::ELECTION_LEADER_KNOWN, flag(standing.leader(&handles.id).is_some())),
            (metrics::ELECTORS, count(standing.electors.as_ref().map_or(0, Electors::len) as u64)),
            (metrics::CATALOG_REVISION, count(revision)),
            (metrics::CATALOG_BEHIND, flag(applied.behind.is_some())),
        ] {
            page.all(metric, [(UNLABELLED, value)])?;
        }
        Ok(())
    }

    fn links(&self, page: &mut Page<'_>) -> Written {
        let counts = self.0.handles.cluster.as_ref().map(|cluster| cluster.link.known().counts);
        let counts = counts.iter();
        let refused = counts.clone().flat_map(|counts| {
            let faults = Refusal::ALL.into_iter().filter(|reason| reason.is_fault());
            faults.map(|reason| ([reason.name()], count(counts.refused(reason))))
        });
        page.all(metrics::LINK_REFUSED, refused)?;
        let of_links: [Read<link::Counts, u64>; 3] = [
            (metrics::LINK_DIALS, |counts| counts.dials),
            (metrics::LINK_DIALS_FAILED, |counts| counts.dials_failed),
            (metrics::LINK_LOST, |counts| counts.losses),
        ];
        for (metric, read) in of_links {
            page.all(metric, counts.clone().map(|counts| (UNLABELLED, count(read(counts)))))?;
        }
        let channels =
            counts.flat_map(|counts| Channel::ALL.into_iter().map(|channel| (channel.name(), counts.of(channel))));
        let of_channels: [Read<ChannelCounts, u64>; 4] = [
            (metrics::LINK_SENT, |counts| counts.sent),
            (metrics::LINK_SENT_BYTES, |counts| counts.bytes_sent),
            (metrics::LINK_RECEIVED, |counts| counts.received),
            (metrics::LINK_RECEIVED_BYTES, |counts| counts.bytes_received),
        ];
        for (metric, read) in of_channels {
            page.all(metric, channels.clone().map(|(name, counts)| ([name], count(read(counts)))))?;
        }
        let dropped = channels.flat_map(|(name, counts)| {
            let ChannelCounts { dropped, late, oversized, untaken, .. } = *counts;
            let why = [("unsent", dropped), ("late", late), ("oversized", oversized), ("untaken", untaken)];
            why.map(|(why, messages)| ([name, why], count(messages)))
        });
        page.all(metrics::LINK_DROPPED, dropped)
    }

    fn limits(&self, page: &mut Page<'_>) -> Written {
        let Asked { handles, .. } = &self.0;
        let view = handles.view.load();
        let refused = view.routes().entries().iter().flat_map(|entry| {
            let (then, limited) = (&entry.route.then, &entry.limited);
            let rate = then.rate_limit.as_ref().map(|_| ("rate", &limited.by_rate));
            let connections = then.connection_limit.as_ref().map(|_| ("connections", &limited.by_connections));
            let of =
                |(limit, refused): (_, &AtomicU64)| ([entry.route.name.as_str(), limit], count(refused.load(Relaxed)));
            [rate, connections].into_iter().flatten().map(of)
        });
        page.all(metrics::REQUESTS_LIMITED, refused)?;
        for (metric, value) in [
            (metrics::LIMIT_MEMORY, handles.limiter.bytes() as u64),
            (metrics::LIMIT_FORGOTTEN, handles.limiter.forgotten()),
            (metrics::LIMIT_UNCOUNTED, handles.limiter.uncounted()),
        ] {
            page.all(metric, [(UNLABELLED, count(value))])?;
        }
        Ok(())
    }

    fn pools_and_nodes(&self, page: &mut Page<'_>) -> Written {
        let view = self.0.handles.view.load();
        let mut pools: Vec<_> = view.pools().map(Arc::as_ref).collect();
        pools.sort_by(|a: &&PoolView, b| a.pool.name.cmp(&b.pool.name));
        let by_verdict = pools.iter().flat_map(|pool| {
            let tally = NodeTally::of(&pool.nodes).by_verdict();
            tally.map(|(verdict, nodes)| ([pool.pool.name.as_str(), verdict], count(nodes as u64)))
        });
        page.all(metrics::POOL_NODES, by_verdict)?;
        let of_pools: [Read<PoolView, f64>; 4] = [
            (metrics::POOL_IN_FLIGHT, |pool| f64::from(pool.live.in_flight())),
            (metrics::POOL_WAITING, |pool| count(pool.live.queue.len() as u64)),
            (metrics::POOL_RETRIES, |pool| count(pool.live.retries.load(Relaxed))),
            (metrics::POOL_RETRIES_REFUSED, |pool| count(pool.live.retries_refused.load(Relaxed))),
        ];
        for (metric, read) in of_pools {
            page.all(metric, pools.iter().map(|pool| ([pool.pool.name.as_str()], read(pool))))?;
        }

        let nodes: Vec<_> = pools.iter().flat_map(|pool| pool.nodes.iter().map(move |node| (*pool, node))).collect();
        let labels = |pool: &PoolView, node: &NodeView| [pool.pool.name.to_string(), node.node.id.to_string()];
        for (metric, read) in OF_NODES {
            let measured = nodes.iter().filter_map(|(pool, node)| read(node).map(|value| (labels(pool, node), value)));
            page.all(metric, measured)?;
        }
        let answers = nodes.iter().flat_map(|(pool, node)| {
            let [pool, id] = labels(pool, node);
            let answers = node.live.counts.answers.iter().map(|of| count(of.load(Relaxed)));
            CLASSES
                .into_iter()
                .zip(answers)
                .map(move |(class, value)| ([pool.clone(), id.clone(), class.to_owned()], value))
        });
        page.all(metrics::NODE_ANSWERS, answers)
    }

    fn listeners(&self, page: &mut Page<'_>) -> Written {
        let listeners = self.0.handles.listeners.now();
        let mut logs = BTreeMap::new();
        for (to, counts) in listeners.iter().filter_map(|listener| listener.log.as_deref()).map(AccessLog::counts) {
            // Listeners with one destination have one writer.
            logs.insert(to.to_string(), Arc::clone(counts));
        }
        page.all(
            metrics::ACCESS_LOG_LINES,
            logs.iter().map(|(to, of)| ([to.as_str()], count(of.written.load(Relaxed)))),
        )?;
        let dropped = logs.iter().flat_map(|(to, of)| {
            let why = [("full", &of.dropped_full), ("unwritable", &of.dropped_unwritable)];
            why.map(|(why, lines)| ([to.as_str(), why], count(lines.load(Relaxed))))
        });
        page.all(metrics::ACCESS_LOG_DROPPED, dropped)?;
        for (name, metric) in metrics::OF_LISTENER {
            let values = listeners.iter().filter_map(|listener| {
                let value = listener.counts.all().find(|(of, _)| of == name)?.1;
                Some(([listener.name.as_str()], count(value)))
            });
            page.all(*metric, values)?;
        }
        let failures: Vec<_> =
            listeners.iter().flat_map(|of| of.failures.all().map(move |(name, n)| (of, name, n))).collect();
        let timeouts = failures.iter().filter_map(|(of, name, value)| {
            let timeout = name.strip_prefix("timeouts_")?;
            // A label without a value is the same as none.
            let pool = if BEFORE_A_POOL.contains(&timeout) { "" } else { of.pool.as_str() };
            Some(([of.name.as_str(), pool, timeout], count(*value)))
        });
        page.all(metrics::TIMEOUTS, timeouts)?;
        let others = failures.iter().filter(|(_, name, _)| !name.starts_with("timeouts_"));
        let others = others.map(|(of, kind, value)| ([of.name.as_str(), of.pool.as_str(), *kind], count(*value)));
        page.all(metrics::FAILURES, others)
    }
}

/// Time-outs that strike while it is not known yet which pool a request is for.
const BEFORE_A_POOL: [&str; 3] = ["handshake", "head", "keep_alive"];

/// A metric and how it is read.
type Read<From, To> = (Metric, fn(&From) -> To);

/// Every number of a node that stands alone; `None` where it was never measured.
const OF_NODES: [Read<NodeView, Option<f64>>; 15] = [
    (metrics::NODE_UP, |node| Some(flag(matches!(node.state.verdict, Verdict::Up | Verdict::Degraded)))),
    (metrics::NODE_IN_FLIGHT, |node| Some(f64::from(node.live.in_flight()))),
    (metrics::NODE_WEIGHT, |node| Some(f64::from(node.node.weight.get()))),
    (metrics::NODE_EFFECTIVE_WEIGHT, |node| Some(node.effective_weight)),
    (metrics::NODE_HEALTH_SCORE, |node| Some(node.health_score())),
    (metrics::NODE_LATENCY, |node| node.latency.map(|latency| latency.as_secs_f64())),
    (metrics::NODE_RESPONSE, |node| node.live.response_time().map(|time| time.as_secs_f64())),
    (metrics::NODE_REQUESTS, |node| Some(count(node.live.counts.requests.load(Relaxed)))),
    (metrics::NODE_CONNECTIONS, |node| Some(count(node.live.counts.connections.load(Relaxed)))),
    (metrics::NODE_CONNECT_FAILURES, |node| Some(count(node.live.counts.connect_failures.load(Relaxed)))),
    (metrics::NODE_EXCHANGE_FAILURES, |node| Some(count(node.live.counts.exchange_failures.load(Relaxed)))),
    (metrics::NODE_TIMEOUTS, |node| Some(count(node.live.counts.timeouts.load(Relaxed)))),
    (metrics::NODE_BYTES_SENT, |node| Some(count(node.live.counts.bytes_sent.load(Relaxed)))),
    (metrics::NODE_BYTES_RECEIVED, |node| Some(count(node.live.counts.bytes_received.load(Relaxed)))),
    (metrics::NODE_CHECKS, |node| Some(count(node.observation.checks_total))),
];

/// The page that is being written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    /// Writes a metric with all its samples.
    fn all<L: AsRef<str>, const N: usize>(
        &mut self,
        metric: Metric,
        samples: impl IntoIterator<Item = ([L; N], f64)>,
    ) -> Written {
        debug_assert_eq!(metric.labels.len(), N, "{}", metric.name);
        let kind = match metric.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
        };
        // The encoder itself puts the unit behind the name, and `_total` behind that of a counter.
        let (stem, unit) = metric.stem();
        let unit = unit.map(|unit| match unit {
            metrics::Unit::Bytes => Unit::Bytes,
            metrics::Unit::Seconds => Unit::Seconds,
        });
        let mut family = self.0.encode_descriptor(stem, metric.help, unit.as_ref(), kind)?;
        for (values, value) in samples {
            let labels: Vec<_> = metric.labels.iter().copied().zip(values.iter().map(AsRef::as_ref)).collect();
            if labels.is_empty() {
                sample(&mut family, metric.kind, value)?;
            } else {
                sample(&mut family.encode_family(&labels)?, metric.kind, value)?;
            }
        }
        Ok(())
    }
}

fn sample(encoder: &mut MetricEncoder<'_>, kind: Kind, value: f64) -> Written {
    match kind {
        Kind::Counter => encoder.encode_counter::<NoLabelSet, _, f64>(&value, None),
        Kind::Gauge => encoder.encode_gauge(&value),
    }
}

fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

/// A count as Prometheus takes it: exact up to 2^53, which a counter of bytes reaches after nine petabytes.
fn count(count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    let count = count as f64;
    count
}
