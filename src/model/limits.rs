//! Every bound of the product in one place, with its unit in its name.

use std::time::Duration;

/// Bytes of a peer id, pool name, node id, region or listener name.
pub const ID_BYTES_MAX: usize = 63;
/// Pools of a catalog.
pub const POOLS_MAX: usize = 1_024;
/// Nodes of a catalog, over all pools.
pub const NODES_MAX: usize = 10_000;
/// Regions of a catalog of which something is said.
pub const REGIONS_MAX: usize = 256;
/// Ranges of addresses of one region's clients.
pub const REGION_CLIENTS_MAX: usize = 4_096;
/// Servers of a catalog.
pub const SERVERS_MAX: usize = 10_000;
/// Servers that were looked at and are told of with a plan: those that were probed, and some of which it is told why not.
pub const CANDIDATES_TOLD_MAX: usize = 24;
/// Labels of one server.
pub const LABELS_MAX: usize = 32;
/// Bytes of a label's name, and of its text.
pub const LABEL_BYTES_MAX: usize = 256;
/// Plans that are carried out or abandoned.
pub const INTENTS_MAX: usize = 64;
/// Plans that are over and are remembered by the catalog.
pub const ATTEMPTS_MAX: usize = 64;
/// Moves of one node whose times are remembered, and so the most that may be allowed in an hour.
pub const MOVES_KEPT_MAX: usize = 60;
/// Bytes of a reason, or of what was seen, that the catalog remembers.
pub const REASON_BYTES_MAX: usize = 512;
/// Events that a peer keeps in memory.
pub const EVENTS_KEPT_MAX: usize = 1_024;
/// What operators want of the leader and it has not looked at yet.
pub const OPERATIONS_WAITING_MAX: usize = 64;
/// Orders of leaders that one peer answers at the same time, and questions about what it has.
pub const ORDERS_OF_OTHERS_MAX: usize = 64;
/// Drivers of one peer.
pub const DRIVERS_MAX: usize = 64;
/// Words of a driver's command, and texts of its environment.
pub const DRIVER_TEXTS_MAX: usize = 256;
/// Bytes of one of them.
pub const DRIVER_TEXT_BYTES_MAX: usize = 4 * 1024;
/// Routes of a catalog.
pub const ROUTES_MAX: usize = 10_000;
/// Values of one condition of a route.
pub const ROUTE_VALUES_MAX: usize = 64;
/// Conditions within conditions of a route: `any` and `not` inside of each other.
pub const CONDITIONS_DEPTH_MAX: usize = 3;
/// Stars of one pattern.
pub const PATTERN_STARS_MAX: usize = 8;
/// Bytes of what the value of a field, a cookie or a query parameter is compared with.
pub const TEXT_PATTERN_BYTES_MAX: usize = 1_024;
/// Fields that a route removes, sets or adds, each.
pub const FIELD_CHANGES_MAX: usize = 32;
/// Bytes of a text in which words in braces stand for something.
pub const TEMPLATE_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a host name (RFC 1035 section 2.3.4).
pub const HOST_BYTES_MAX: usize = 255;
/// Bytes of an answer that a route gives itself.
pub const FIXED_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the name of a cookie of sticky sessions.
pub const COOKIE_NAME_BYTES_MAX: usize = 64;
/// Bytes of its path.
pub const COOKIE_PATH_BYTES_MAX: usize = 255;
/// Bytes of its domain.
pub const COOKIE_DOMAIN_BYTES_MAX: usize = 253;
/// Bytes of a GeoIP file.
pub const GEOIP_FILE_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Requests of a rate limit in its second, minute or hour, and of its burst.
pub const RATE_MAX: u32 = 1_000_000;
/// The longest time until a burst is there again.
pub const BURST_REFILL_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Requests and connections at the same time of a connection limit.
pub const CONNECTION_LIMIT_MAX: u32 = 1_000_000;
/// Clients, or values of a field, of which a peer remembers how they stand with rate limits.
pub const RATE_KEYS_MAX: usize = 1 << 21;
/// Clients, or values of a field, that have something in flight which a connection limit counts.
pub const IN_FLIGHT_KEYS_MAX: usize = 1 << 21;
/// Bytes that a peer remembers all that in.
pub const LIMITER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of one value in a line of the access log; what is longer is cut.
pub const LOG_FIELD_BYTES_MAX: usize = 2 * 1024;
/// Bytes of a format of the access log.
pub const LOG_FORMAT_BYTES_MAX: usize = 4 * 1024;
/// Words in braces of a format of the access log.
pub const LOG_PLACEHOLDERS_MAX: usize = 48;
/// Lines of the access log that wait for their writer; one more is dropped.
pub const LOG_LINES_WAITING_MAX: usize = 16 * 1024;
/// Bytes of those lines.
pub const LOG_BYTES_WAITING_MAX: usize = 8 * 1024 * 1024;
/// Answers that one worker compresses at the same time; more go as they are.
pub const COMPRESSIONS_PER_WORKER_MAX: usize = 256;
/// Media types of a listener's compression.
pub const COMPRESSED_TYPES_MAX: usize = 64;
/// Pages for failures of one listener.
pub const ERROR_PAGES_MAX: usize = 64;
/// Bytes of a page for failures.
pub const ERROR_PAGE_BYTES_MAX: usize = 256 * 1024;
/// Folders of files that one peer serves.
pub const FOLDERS_MAX: usize = 256;
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
/// Streams of one connection of HTTP/2 at the same time.
pub const H2_STREAMS_MAX: u32 = 100;
/// Bytes that a client may send ahead on one stream of HTTP/2.
pub const H2_STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// Bytes that it may send ahead on all streams of a connection.
pub const H2_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes of one stream of HTTP/2 that wait for the client.
pub const H2_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Streams of HTTP/2 that a client reset before anybody took them; one more ends the connection.
pub const H2_RESETS_PENDING_MAX: usize = 20;
/// PING, SETTINGS, PRIORITY, RST_STREAM and unknown frames that a client of HTTP/2 may send at once.
pub const H2_IDLE_FRAMES_MAX: u32 = 1_000;
/// As many of them as it may send a second for ever.
pub const H2_IDLE_FRAMES_PER_S: u32 = 100;
/// Options that the `Connection` fields of a head list: each is looked for among all fields.
pub const CONNECTION_OPTIONS_MAX: usize = 32;
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
/// Bytes that a node may answer to a check of a request.
pub const EXTERNAL_CHECK_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Fields that the answer to a check may add to a request.
pub const EXTERNAL_CHECK_FIELDS_MAX: usize = 32;
/// Copies of requests that one worker has under way; of one more there is none, and that is counted.
pub const MIRRORS_MAX: usize = 256;
/// Bytes of a request body kept so that an idempotent request can be sent again.
pub const REPLAY_BYTES_MAX: usize = 64 * 1024;
/// Peers of a cluster.
pub const PEERS_MAX: usize = 128;
/// Pages in which one peer tells what it observes.
pub const HEARD_PAGES_MAX: usize = 128;
/// Nodes of one such page.
pub const OBSERVATIONS_PER_PAGE_MAX: usize = 192;
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
pub const API_BODY_BYTES_MAX: usize = VALUE_BODY_BYTES_MAX + 64 * 1024;
/// Seeds of a peer.
pub const SEEDS_MAX: usize = 64;
/// Bytes of a value that is gossiped: one that does not fit a message would block every later key of its peer.
pub const GOSSIP_VALUE_BYTES_MAX: usize = 8 * 1024;
/// Keys that are read of one peer's gossip.
pub const GOSSIP_KEYS_PER_PEER_MAX: usize = 256;
/// Bytes of a key that is gossiped.
pub const GOSSIP_KEY_BYTES_MAX: usize = 64;
/// Starts of peers that gossip knows at the same time. Each restart leaves one behind until it is forgotten.
pub const GOSSIP_IDS_MAX: usize = 4 * PEERS_MAX;
/// Bytes to which a message of gossip unpacks. A full one of real peers, which say much the same of the same nodes, stays well
/// below.
pub const GOSSIP_UNPACKED_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of all keys and values of all peers that gossip keeps.
pub const GOSSIP_HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes a second of the rounds of gossip that one peer begins and of the answers that it gives.
pub const GOSSIP_BYTES_PER_SECOND_MAX: u32 = 512 * 1024;
/// Words of gossip from the peer itself, on their way.
pub const GOSSIP_INPUTS_MAX: usize = 4_096;
/// Nodes of which a peer gossips what it has in flight: its busiest.
pub const LOADS_PER_PEER_MAX: usize = 48;
/// Regions of which a peer tells what it is asked; the busiest.
pub const DEMANDS_PER_PEER_MAX: usize = 64;
/// Bytes of a file with certificates or keys.
pub const CERTIFICATE_FILE_BYTES_MAX: usize = 1024 * 1024;
/// Profiles of TLS to nodes, a peer.
pub const TLS_PROFILES_MAX: usize = 256;
/// Certificates of one listener.
pub const CERTIFICATES_PER_LISTENER_MAX: usize = 1_024;
/// Addresses that a peer dials or waits to dial.
pub const DIAL_ADDRESSES_MAX: usize = 512;
/// Cluster keys in a key file: the one that issues and those that are on their way in or out.
pub const CLUSTER_KEYS_MAX: usize = 8;
/// Bytes of a key file.
pub const KEY_FILE_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a peer's words about its software.
pub const SOFTWARE_BYTES_MAX: usize = 64;
/// Bytes of a hello, and of the answer to one.
pub const HELLO_BYTES_MAX: usize = 1024;
/// Bytes of a hint.
pub const HINT_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a gossip message: a full one of chitchat's, and the address of its sender.
pub const GOSSIP_BYTES_MAX: usize = 70_000;
/// Bytes of a question to a peer, and of its answer: a catalog fits.
pub const QUERY_BYTES_MAX: usize = VALUE_BYTES_MAX + 4 * 1024;
/// Bytes of an election message.
pub const ELECTION_BYTES_MAX: usize = 64 * 1024;
/// Peers that vote. A majority of more is slower and no safer; five outlive two failures.
pub const ELECTORS_MAX: usize = 31;
/// Bytes of the file that remembers term, vote and what was accepted.
pub const BALLOT_BYTES_MAX: usize = 16 * 1024;
/// Votes that wait for the disk before they are told.
pub const HELD_ANSWERS_MAX: usize = 256;
/// Writes that wait for the one that is undecided.
pub const WRITES_WAITING_MAX: usize = 64;
/// Writes whose outcome is remembered by their idempotency id.
pub const OUTCOMES_MAX: usize = 1_000;
/// Bytes of the body of the value that a cluster agrees on.
pub const VALUE_BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of that value: its body, and the outcomes beside it.
pub const VALUE_BYTES_MAX: usize = VALUE_BODY_BYTES_MAX + OUTCOMES_MAX * (IDEMPOTENCY_ID_BYTES_MAX + 24) + 64;
/// Bytes of an idempotency id.
pub const IDEMPOTENCY_ID_BYTES_MAX: usize = 128;
/// Questions of other peers that are answered at the same time.
pub const QUESTIONS_AT_ONCE_MAX: usize = 64;
/// Writes and changes of electors of other peers that wait here for a majority. They do not count as questions that are
/// answered: what a majority needs may be asked for.
pub const WRITES_OF_OTHERS_MAX: usize = 64;
/// Bytes of the name of who asked for a write.
pub const AUTHOR_BYTES_MAX: usize = 64;
/// Revisions whose change is remembered, each with what users wanted then.
pub const HISTORY_MAX: usize = 20;
/// Bytes of a catalog message: a value and its envelope.
pub const CATALOG_BYTES_MAX: usize = VALUE_BYTES_MAX + 4 * 1024;
/// Bytes of a speed-test message.
pub const SPEED_BYTES_MAX: usize = 64 * 1024;
/// Messages of a channel that wait for a peer; one more drops the oldest.
pub const OUTBOX_MESSAGES_MAX: usize = 16;
/// Messages of a channel that were received and wait to be taken; one more is dropped.
pub const INBOX_MESSAGES_MAX: usize = 1_024;
/// Events of the link that wait for a subscriber; one more and it is told to look at the whole table instead.
pub const LINK_EVENTS_MAX: usize = 1_024;
/// Refusals that are kept apart by reason and address.
pub const REFUSALS_MAX: usize = 64;
/// Peers dialed at the same time.
pub const DIALS_IN_FLIGHT_MAX: usize = 4;
/// Handshakes of others under way at the same time; one more is refused at once.
pub const HANDSHAKES_MAX: usize = 256;
/// Messages of one peer that are read at the same time.
pub const STREAMS_PER_PEER_MAX: u32 = 64;
/// Questions between two peers under way at the same time, in each direction.
pub const QUESTIONS_PER_PEER_MAX: usize = 14;
/// Those of them whose answers may have to wait for something: the rest of the places is for questions that are answered at
/// once.
pub const PATIENT_QUESTIONS_PER_PEER_MAX: usize = 8;

const _: () = assert!(PATIENT_QUESTIONS_PER_PEER_MAX < QUESTIONS_PER_PEER_MAX, "none waits for one that waits");
const _: () = assert!(TARGET_BYTES_MAX < HEAD_BYTES_MAX);
const _: () = assert!(HEAD_BYTES_MAX <= RELAY_BUFFER_BYTES, "a head fits one relay buffer");
const _: () = assert!(HEARD_PAGES_MAX * OBSERVATIONS_PER_PAGE_MAX >= NODES_MAX, "a peer can tell of every node");
const _: () = assert!(TRAILER_BYTES_MAX <= RELAY_BUFFER_BYTES);
// An id takes 29 bytes beside its name, and what a digest says of it 24. chitchat's messages have 65,507 bytes, and its answer
// to a digest that left no room would end it.
const _: () = assert!(GOSSIP_IDS_MAX * (ID_BYTES_MAX + 53) < 65_507 - 4_096, "a full digest leaves room");
const _: () = assert!(
    PEERS_MAX * HEARD_PAGES_MAX * (OBSERVATIONS_PER_PAGE_MAX * 11) <= GOSSIP_HELD_BYTES_MAX,
    "every peer can tell of every node"
);
const _: () = assert!(HINT_NODES_MAX * (ID_BYTES_MAX + 1) < HINT_BYTES_MAX, "a full hint fits");
const _: () = assert!(5 * (ID_BYTES_MAX + 8) + SOFTWARE_BYTES_MAX + 64 < HELLO_BYTES_MAX, "a full hello fits");
const _: () = assert!(4 * ELECTORS_MAX * (ID_BYTES_MAX + 1) + 1024 < BALLOT_BYTES_MAX, "a full ballot fits");
const _: () = assert!(BALLOT_BYTES_MAX < ELECTION_BYTES_MAX, "a peer can tell its ballot in one message");
