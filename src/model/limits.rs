//! Every bound of the product in one place, with its unit in its name.

/// Bytes of a peer id, pool name, node id, region or listener name.
pub const ID_BYTES_MAX: usize = 63;
/// Pools of a catalog.
pub const POOLS_MAX: usize = 1_024;
/// Nodes of a catalog, over all pools.
pub const NODES_MAX: usize = 10_000;
/// Listeners of one peer.
pub const LISTENERS_MAX: usize = 256;
/// Addresses kept of one node's name.
pub const ADDRESSES_PER_NODE_MAX: usize = 16;
/// Bytes of a settings file.
pub const SETTINGS_FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Faults of settings that are listed; more are counted.
pub const SETTINGS_FAULTS_MAX: usize = 1_000;
/// Warnings of settings that are listed; more are counted.
pub const SETTINGS_WARNINGS_MAX: usize = 1_000;
/// Bytes of a request's or an answer's head, start line and fields together.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Fields of a head, and of a trailer section.
pub const HEAD_FIELDS_MAX: usize = 100;
/// Bytes of a request target.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a trailer section.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Bytes of the extensions of one chunk, which are read and dropped.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 256;
/// Informational (1xx) answers taken from a node before its final one.
pub const INTERIM_ANSWERS_MAX: usize = 16;
/// Bytes that the relay moves at once in one direction.
pub const RELAY_BUFFER_BYTES: usize = 64 * 1024;
/// Bytes that the relay moves at once where both sides keep up with it.
pub const BULK_BUFFER_BYTES: usize = 256 * 1024;
/// Bytes of a request body kept so that an idempotent request can be sent again.
pub const REPLAY_BYTES_MAX: usize = 64 * 1024;
/// Peers of a cluster.
pub const PEERS_MAX: usize = 128;
/// Pages in which one peer tells what it observes.
pub const HEARD_PAGES_MAX: usize = 128;
/// Nodes of one such page.
pub const OBSERVATIONS_PER_PAGE_MAX: usize = 512;
/// Nodes in one hint.
pub const HINT_NODES_MAX: usize = 128;
/// Checks of nodes under way at the same time.
pub const CHECKS_IN_FLIGHT_MAX: usize = 512;
/// Observations on their way to the view.
pub const VIEW_EVENTS_MAX: usize = 4_096;
/// Bytes that a check reads of an answer.
pub const CHECK_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Connections to the API at the same time.
pub const API_CONNECTIONS_MAX: usize = 256;
/// Bytes of a request body that the API takes.
pub const API_BODY_BYTES_MAX: usize = 1024 * 1024;

const _: () = assert!(TARGET_BYTES_MAX < HEAD_BYTES_MAX);
const _: () = assert!(HEAD_BYTES_MAX <= RELAY_BUFFER_BYTES, "a head fits one relay buffer");
const _: () = assert!(HEARD_PAGES_MAX * OBSERVATIONS_PER_PAGE_MAX >= NODES_MAX, "a peer can tell of every node");
const _: () = assert!(TRAILER_BYTES_MAX <= RELAY_BUFFER_BYTES);
