//! From a dial, or a datagram of somebody unknown, to a connection that is taken or refused.
//!
//! Whoever dials speaks first: a hello on the first bidirectional stream, on which the answer comes back. Nothing else is
//! read before that. In TLS 1.3 the side that dials holds a connection before the other side has looked at its certificate,
//! so a dial has succeeded only with the welcome.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, ConnectionError, Incoming, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::super::keep::{Newcomer, Refused, Token};
use super::super::settle::Side;
use super::super::trust::names_peer;
use super::{Shared, Verdict, carry, close};
use crate::host;
use crate::model::limits::{HANDSHAKES_MAX, HELLO_BYTES_MAX};
use crate::wire::{Hello, HelloAnswer, Refusal};

/// A dial, its hello and the answer take at least this long at most; three times the idle time, where that is longer.
const GREETING_LIMIT: Duration = Duration::from_secs(2);
/// With more handshakes under way a newcomer first proves that it can be reached at its address.
const HANDSHAKES_UNPROVEN_MAX: usize = 32;
/// How long a refused peer has to read why.
const REFUSAL_LIMIT: Duration = Duration::from_millis(500);
/// Bytes of a message of a greeting: the greater is the answer's, with its kind and variant.
const MESSAGE_BYTES_MAX: usize = HELLO_BYTES_MAX + 3;

impl Shared {
    fn greeting_limit(&self) -> Duration {
        GREETING_LIMIT.max(3 * self.timing.idle)
    }

    /// What becomes of a connection whose other end has said who it is.
    async fn judge(self: &Arc<Self>, newcomer: Newcomer) -> Option<Verdict> {
        let (verdict, decided) = oneshot::channel();
        self.with(|core| {
            let token = newcomer.token;
            core.verdicts.insert(token, verdict);
            core.keeper.greeted(newcomer, host::now());
            if core.keeper.is_closed() {
                core.verdicts.remove(&token);
            }
        });
        decided.await.ok()
    }

    fn is_named(&self, connection: &Connection, hello: &Hello) -> bool {
        let Some(identity) = connection.peer_identity() else { return false };
        let Ok(chain) = identity.downcast::<Vec<CertificateDer<'static>>>() else { return false };
        let trust = &self.client.load().trust;
        chain.first().is_some_and(|leaf| names_peer(leaf, &trust.cluster_name, &hello.id))
    }
}

/// Why a greeting led to nothing.
enum Failed {
    /// One side refuses.
    Refused(Refused),
    /// Nobody answers, or not in time.
    Silent,
}

impl From<ConnectionError> for Failed {
    fn from(error: ConnectionError) -> Self {
        close::refusal(&error)
            .map_or(Self::Silent, |(reason, by_other)| Self::Refused(Refused { reason, by_other, peer: None }))
    }
}

/// Dials, and carries messages if that leads to a link.
pub(super) async fn dial(shared: Arc<Shared>, token: Token, address: SocketAddr) {
    let greeting = timeout(shared.greeting_limit(), greet(&shared, address)).await;
    let (connection, hello) = match greeting.unwrap_or(Err(Failed::Silent)) {
        Ok(greeted) => greeted,
        Err(failed) => {
            let refused = if let Failed::Refused(refused) = failed { Some(refused) } else { None };
            shared.with(|core| core.keeper.failed(token, refused, host::now()));
            return;
        }
    };
    let carrier = shared.register(token, &connection);
    let is_named = shared.is_named(&connection, &hello);
    let newcomer = Newcomer { token, side: Side::Dialed, remote: address, hello, is_named };
    match shared.judge(newcomer).await {
        Some(Verdict::Take) => carry::carry(&shared, token, &carrier).await,
        Some(Verdict::Refuse(reason)) => connection.close(close::code_of(reason), reason.name().as_bytes()),
        None => connection.close(close::GOODBYE, b""),
    }
    shared.unregister(token);
}

/// The connection to whoever answers at `address`, and who that is.
async fn greet(shared: &Shared, address: SocketAddr) -> Result<(Connection, Hello), Failed> {
    let dialing = shared.client.load_full();
    let own = shared.lock().keeper.own().encode();
    let own = own.expect("the bounds of ids and software leave room: model::limits asserts it");
    let connecting = shared
        .endpoint
        .connect_with(dialing.config.clone(), address, &dialing.trust.cluster_name.to_str())
        .map_err(|_| Failed::Silent)?;
    let connection = connecting.await?;
    match say_hello(&connection, &own).await {
        Some(Ok(HelloAnswer::Welcome(hello))) => Ok((connection, hello)),
        Some(Ok(HelloAnswer::Refused { reason, by })) => {
            connection.close(close::GOODBYE, b"refused");
            Err(Failed::Refused(Refused { reason, by_other: true, peer: Some(by) }))
        }
        Some(Err(())) => {
            connection.close(close::code_of(Refusal::Malformed), b"answer");
            Err(Failed::Refused(Refused { reason: Refusal::Malformed, by_other: false, peer: None }))
        }
        // The other side has looked at the certificate by now.
        None => Err(connection.closed().await.into()),
    }
}

/// The answer to the hello: `None` where the connection ended before it, `Err` where it cannot be read.
async fn say_hello(connection: &Connection, own: &[u8]) -> Option<Result<HelloAnswer, ()>> {
    let (mut to, mut from) = connection.open_bi().await.ok()?;
    to.write_all(own).await.ok()?;
    to.finish().ok()?;
    read_message(&mut from).await.map(|message| message.and_then(|message| HelloAnswer::decode(&message).map_err(drop)))
}

/// Bytes up to the end of the stream: `None` where there is no connection any more, `Err` where they are too many.
async fn read_message(from: &mut RecvStream) -> Option<Result<Vec<u8>, ()>> {
    match from.read_to_end(MESSAGE_BYTES_MAX).await {
        Ok(message) => Some(Ok(message)),
        Err(quinn::ReadToEndError::TooLong) => Some(Err(())),
        Err(quinn::ReadToEndError::Read(quinn::ReadError::ConnectionLost(_))) => None,
        Err(quinn::ReadToEndError::Read(_)) => Some(Err(())),
    }
}

/// Takes whoever comes, until the endpoint is closed.
pub(super) async fn accept_all(shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    while let Some(incoming) = shared.endpoint.accept().await {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let under_way = HANDSHAKES_MAX - places.available_permits();
        if under_way > HANDSHAKES_UNPROVEN_MAX && incoming.may_retry() {
            // It may be an address of somebody else; the proof costs this peer one small packet and no memory.
            let _ = incoming.retry();
            continue;
        }
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let remote = canonical(incoming.remote_address());
            let heard = timeout(shared.greeting_limit(), hear(incoming)).await;
            drop(place);
            match heard {
                Ok(Ok((connection, answer, hello))) => receive(&shared, connection, answer, hello).await,
                Ok(Err(Failed::Refused(Refused { reason, by_other, .. }))) => {
                    shared.with(|core| core.keeper.refused(reason, remote, by_other, host::now()));
                }
                // Garbage, or somebody who went away: no hello, no trace.
                Ok(Err(Failed::Silent)) | Err(_) => {}
            }
        });
    }
}

/// The connection of somebody who dialed, where its answer goes, and who it says that it is.
async fn hear(incoming: Incoming) -> Result<(Connection, SendStream, Hello), Failed> {
    let connection = incoming.accept()?.await?;
    let (answer, mut from) = connection.accept_bi().await?;
    let Some(message) = read_message(&mut from).await else { return Err(connection.closed().await.into()) };
    match message.and_then(|message| Hello::decode(&message).map_err(drop)) {
        Ok(hello) => Ok((connection, answer, hello)),
        Err(()) => {
            connection.close(close::code_of(Refusal::Malformed), b"hello");
            Err(Failed::Refused(Refused { reason: Refusal::Malformed, by_other: false, peer: None }))
        }
    }
}

/// Answers a hello, and carries messages if it is taken.
async fn receive(shared: &Arc<Shared>, connection: Connection, mut answer: SendStream, hello: Hello) {
    let token = shared.with(|core| core.keeper.begin());
    let carrier = shared.register(token, &connection);
    let is_named = shared.is_named(&connection, &hello);
    let remote = canonical(connection.remote_address());
    let newcomer = Newcomer { token, side: Side::Accepted, remote, hello, is_named };
    match shared.judge(newcomer).await {
        Some(Verdict::Take) => {
            let welcome = HelloAnswer::Welcome(shared.lock().keeper.own().clone());
            // If it cannot be sent the connection has ended, which is what carrying finds first.
            let _ = send_answer(&mut answer, &welcome).await;
            carry::carry(shared, token, &carrier).await;
        }
        Some(Verdict::Refuse(reason)) => {
            let by = shared.lock().keeper.own().id.clone();
            // The refused peer closes once it has read why.
            let told = async {
                if send_answer(&mut answer, &HelloAnswer::Refused { reason, by }).await.is_ok() {
                    connection.closed().await;
                }
            };
            let _ = timeout(REFUSAL_LIMIT, told).await;
            connection.close(close::code_of(reason), reason.name().as_bytes());
        }
        None => connection.close(close::GOODBYE, b""),
    }
    shared.unregister(token);
}

async fn send_answer(to: &mut SendStream, answer: &HelloAnswer) -> Result<(), quinn::WriteError> {
    let message = answer.encode().expect("the bounds of ids and software leave room: model::limits asserts it");
    to.write_all(&message).await?;
    // It was not finished before.
    let _ = to.finish();
    Ok(())
}

/// A socket for both families tells of IPv4 addresses as of IPv6 ones.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
