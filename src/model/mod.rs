//! Plain values, checked when they are parsed. Nothing here does IO, knows a clock or rolls dice.

mod address;
mod catalog;
mod check;
mod cidr;
mod drill;
mod electors;
mod event;
mod evidence;
mod failover;
mod geography;
mod id;
mod intent;
pub mod limits;
mod member;
mod min_timeout;
mod node_key;
mod observation;
mod peer_state;
mod plan;
mod pool;
mod preset;
mod region;
mod route;
mod scaling;
mod security_headers;
mod server;
mod shift;
mod slot;
mod sticky;
mod strategy;
mod term;
mod time;
mod transport;

pub use address::{AddressError, Host, NodeAddress};
pub use catalog::{Catalog, CatalogError, CatalogParts};
pub use check::{
    BodyCheck, Check, CheckKind, CheckTarget, HttpCheck, JsonField, JsonFieldError, MqttCheck, StatusRange, TcpCheck,
    TlsCheck,
};
pub use cidr::{Cidr, CidrError};
pub use drill::{Drill, DrillCounts, DrillOutcome, DrillTold, ScheduledDrill};
pub use electors::{Electors, ElectorsError, ElectorsHash, ElectorsWarning};
pub use event::{Event, Happened, PlanTold, ShiftKind, ShiftTold};
pub use evidence::Evidence;
pub use failover::{By, Failover, Mode};
pub use geography::{CodeError, Continent, Country, Whereabouts};
pub use id::{
    ClusterName, DriverName, FolderName, IdError, ListenerName, NodeId, PeerId, PoolName, RegionName, RouteName,
    ServerId, TlsName,
};
pub use intent::{IntentId, IntentIdError};
pub use member::{Member, Members};
pub use min_timeout::MinTimeout;
pub use node_key::NodeKey;
pub use observation::{Health, Heard, Observation, Verdict};
pub use peer_state::PeerState;
pub use plan::{Candidate, Plan, PlanOutcome, Step, StepTaken};
pub use pool::{Admin, DrainLeft, DrainSeen, HostSent, Node, Observe, Panic, Pool, Run, Weight};
pub use preset::{Preset, PresetError};
pub use region::{Capacity, Demand, Region, RegionStrategy, RegionWeight};
pub use route::{
    Action, Conditions, ConnectionLimit, End, ExternalCheck, Fallback, FieldChanges, FieldName, FieldValue, Files,
    FixedAnswer, Forward, HostPattern, Ipv6Prefix, LIMITED_STATUS_DEFAULT, LimitError, Method, Mirror, Named,
    PathPattern, PatternError, Per, Percent, Period, Piece, Rate, RateLimit, Redirect, RegionChoice, Rewrite, Route,
    Scheme, Share, ShareOf, Target, Template, TemplateError, TextPattern, Variable,
};
pub use scaling::{Band, Load, LoadTarget, Scaling};
pub use security_headers::SecurityHeaders;
pub use server::{Server, ServerAddress};
pub use shift::{Shift, ShiftPolicy, Stays};
pub use slot::{ClusterId, Newness, Revision, Slot, ValueHash, ValueHashError};
pub use sticky::{SameSite, Sticky, StickyCookie};
pub use strategy::{HashKey, Strategy, StrategyError};
pub use term::Term;
pub use time::{DailyTime, Day, MinuteOfDay, TimeError, TimeWindow, Zone};
pub use transport::Transport;
