//! The one UDP socket and QUIC endpoint of a peer, and how it is tuned.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use socket2::{Domain, Protocol, Socket, Type};

use super::super::key::ResetSecret;
use super::super::trust::{Trust, TrustError};
use super::super::{Channel, Timing};
use crate::model::limits::{HANDSHAKES_MAX, QUESTIONS_PER_PEER_MAX, STREAMS_PER_PEER_MAX};

/// The kernel's default of 208 KiB drops packets when many peers speak at once.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// What a connection may have sent and not heard acknowledged: this, and no more, is kept for a peer that froze.
const SEND_WINDOW_BYTES: u64 = 512 * 1024;
/// What all messages of a connection may have under way to this peer.
const RECEIVE_WINDOW_BYTES: u32 = 1024 * 1024;
/// What one message may have under way to this peer.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
/// Beside questions: the hello, and a ping.
const STREAMS_OF_THE_LINK: usize = 2;
/// A restarted peer tells each of the others once; this is between two of them.
const RESET_INTERVAL: Duration = Duration::from_micros(100);
/// What a path to a peer that was never met is taken to be, as a part of the time after which silence is loss. A first packet
/// is sent again after three times this: it may have met a cut that was mended just then, and QUIC's own guess of a third of a
/// second (RFC 9002 section 6.2.2) leaves a dial one try.
const INITIAL_RTT_PARTS: u32 = 20;
/// Bytes kept of connections that are not accepted yet, all together.
const INCOMING_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Binds the socket. Its buffers are as large as the system allows, which may be less than asked for.
pub(super) fn bind(listen: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
    // A blocking socket would stop the runtime's thread for good, without an error.
    socket.set_nonblocking(true)?;
    // More than `net.core.rmem_max` is cut down silently: that is the operator's to raise.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    if listen.is_ipv6() {
        // One socket for both families, where `[::]` is listened on.
        socket.set_only_v6(false)?;
    }
    socket.bind(&listen.into())?;
    Ok(socket.into())
}

/// The endpoint on a bound socket. Must be called in a runtime.
pub(super) fn open(socket: UdpSocket, secret: &ResetSecret, server: ServerConfig) -> io::Result<Endpoint> {
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret.reset.as_slice())));
    // With keys that outlive the process, a restarted peer knows its old connection ids and resets them at once.
    let connection_id = secret.connection_id;
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(connection_id)));
    config.min_reset_interval(RESET_INTERVAL);
    Endpoint::new(config, Some(server), socket, Arc::new(TokioRuntime))
}

/// The two halves of what QUIC is told about trust and time.
pub(super) fn configs(trust: &Trust, timing: Timing) -> Result<(ClientConfig, ServerConfig), TrustError> {
    let transport = Arc::new(transport(timing)?);
    let setup = |error: quinn::crypto::rustls::NoInitialCipherSuite| TrustError::Setup(error.to_string());
    let client = QuicClientConfig::try_from(Arc::clone(&trust.client)).map_err(setup)?;
    let mut client = ClientConfig::new(Arc::new(client));
    client.transport_config(Arc::clone(&transport));
    let server = QuicServerConfig::try_from(Arc::clone(&trust.server)).map_err(setup)?;
    let mut server = ServerConfig::with_crypto(Arc::new(server));
    server.transport_config(transport);
    // A peer's address does not change under a connection: it would be another process.
    server.migration(false);
    server.max_incoming(HANDSHAKES_MAX);
    server.incoming_buffer_size_total(INCOMING_BYTES_MAX);
    Ok((client, server))
}

fn transport(timing: Timing) -> Result<TransportConfig, TrustError> {
    let idle = IdleTimeout::try_from(timing.idle)
        .map_err(|_| TrustError::Setup(format!("an idle time of {:?} is too long", timing.idle)))?;
    let questions = VarInt::from_u32(u32::try_from(QUESTIONS_PER_PEER_MAX + STREAMS_OF_THE_LINK).unwrap_or(u32::MAX));
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(timing.keep_alive))
        .initial_rtt(timing.idle / INITIAL_RTT_PARTS)
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS_PER_PEER_MAX))
        .max_concurrent_bidi_streams(questions)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(None);
    Ok(transport)
}

/// Greater goes first where messages wait for room on the network.
pub(super) fn priority(channel: Channel) -> i32 {
    match channel {
        Channel::Election => 3,
        Channel::Hint => 2,
        Channel::Gossip | Channel::Query => 1,
        Channel::Catalog => 0,
        Channel::Speed => -1,
    }
}
