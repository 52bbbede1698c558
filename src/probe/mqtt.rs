//! An MQTT check: CONNECT, and the CONNACK says it all (MQTT 3.1.1, sections 3.1 and 3.2, which every broker of version 5 speaks too).

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::Found;
use super::connect::{Connection, open, within};
use super::error::{Phase, ProbeError};
use crate::host::{self, Dice};
use crate::model::{CheckTarget, MqttCheck};
use crate::tls::{Inside, NodeTls};

/// Packet types with their reserved flags (section 2.2).
const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const DISCONNECT: [u8; 2] = [0xe0, 0];
/// MQTT 3.1.1 (section 3.1.2.2).
const LEVEL: u8 = 4;
/// Flags of CONNECT (section 3.1.2.3).
const CLEAN_SESSION: u8 = 0x02;
const WITH_PASSWORD: u8 = 0x40;
const WITH_USER: u8 = 0x80;
/// The broker need not wait for more from a client that is gone at once.
const KEEP_ALIVE_S: u16 = 10;
/// How long the end of a connection may take after the result is known.
const CLOSE_TIME_MAX: Duration = Duration::from_millis(100);

/// The outcome, and when it was known.
pub(super) async fn check(
    target: &CheckTarget,
    check: &MqttCheck,
    tls: &NodeTls,
    deadline: Instant,
    connect: &mut Option<Duration>,
) -> (Result<Found, ProbeError>, Instant) {
    let outcome = exchange(target, check, tls, deadline, connect).await;
    let known = host::now();
    let outcome = match outcome {
        Ok(mut connection) => {
            // Without it the broker takes the client for one that was lost.
            let goodbye = async {
                connection.write_all(&DISCONNECT).await?;
                connection.shutdown().await
            };
            let _ = timeout(CLOSE_TIME_MAX, goodbye).await;
            Ok(Found::Accepted)
        }
        Err(error) => Err(error),
    };
    (outcome, known)
}

async fn exchange(
    target: &CheckTarget,
    check: &MqttCheck,
    tls: &NodeTls,
    deadline: Instant,
    connect: &mut Option<Duration>,
) -> Result<Connection, ProbeError> {
    let hello = hello(check, Dice::new().bits())?;
    let mut connection = open(target, (tls, Inside::Bytes), deadline, connect).await?;
    within(deadline, Phase::Answer, async {
        let broken = |error: std::io::Error| ProbeError::of_io(&error, Phase::Answer);
        connection.write_all(&hello).await.map_err(broken)?;
        connection.flush().await.map_err(broken)?;
        let mut answer = [0; 4];
        connection.read_exact(&mut answer).await.map_err(broken)?;
        judge(answer)?;
        Ok(connection)
    })
    .await
}

/// A broker knows its clients by their names and ends the connection of one that comes again, so each check has another one.
fn hello(check: &MqttCheck, number: u64) -> Result<Vec<u8>, ProbeError> {
    let client = format!("evenkeel-{:08x}", number & 0xffff_ffff);
    let user = check.user.as_deref().map(str::as_bytes);
    let password = check.password.as_deref().filter(|_| user.is_some());
    let flags =
        CLEAN_SESSION | if user.is_some() { WITH_USER } else { 0 } | if password.is_some() { WITH_PASSWORD } else { 0 };
    let mut body = text(b"MQTT")?;
    body.extend([LEVEL, flags]);
    body.extend(KEEP_ALIVE_S.to_be_bytes());
    for field in [Some(client.as_bytes()), user, password].into_iter().flatten() {
        body.extend(text(field)?);
    }
    let mut packet = vec![CONNECT];
    packet.extend(remaining_length(body.len()));
    packet.extend(body);
    Ok(packet)
}

/// Bytes behind their length (section 1.5.3).
fn text(bytes: &[u8]) -> Result<Vec<u8>, ProbeError> {
    let length = u16::try_from(bytes.len())
        .map_err(|_| ProbeError::Own("a user or a password is longer than 65535 bytes".to_owned()))?;
    Ok([&length.to_be_bytes(), bytes].concat())
}

/// Seven bits a byte, the lowest first (section 2.2.3).
fn remaining_length(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(length & 0x7f).unwrap_or_default();
        length >>= 7;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return bytes;
        }
    }
}

/// A CONNACK has two bytes more: flags, and how it went (section 3.2.2.3).
fn judge([kind, length, _, code]: [u8; 4]) -> Result<(), ProbeError> {
    if (kind, length) != (CONNACK, 2) {
        return Err(ProbeError::Malformed("it is no CONNACK of MQTT 3.1.1".to_owned()));
    }
    let why = match code {
        0 => return Ok(()),
        1 => "the broker does not speak MQTT 3.1.1",
        2 => "the broker does not take the client's name",
        3 => "the broker says that it is not available",
        4 => "user or password are wrong",
        5 => "the client is not allowed to connect",
        _ => "the broker refuses it with a code that MQTT 3.1.1 does not have",
    };
    Err(ProbeError::Declined(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_is_as_the_standard_has_it() {
        let anonymous = hello(&MqttCheck::default(), 0x1234).unwrap();
        let expected = b"\x10\x1d\0\x04MQTT\x04\x02\0\x0a\0\x11evenkeel-00001234";
        assert_eq!(anonymous, expected);
        let known = MqttCheck { user: Some("u".into()), password: Some(b"pw".as_slice().into()) };
        let hello_of = hello(&known, 0x1234).unwrap();
        assert_eq!(hello_of[9], CLEAN_SESSION | WITH_USER | WITH_PASSWORD);
        assert!(hello_of.ends_with(b"\0\x01u\0\x02pw"), "{hello_of:?}");
        let alone = MqttCheck { user: None, password: known.password };
        assert_eq!(hello(&alone, 0x1234).unwrap(), expected, "there is no password without a user");
    }

    #[test]
    fn lengths_are_written_seven_bits_a_byte() {
        for (length, bytes) in
            [(0, &[0][..]), (127, &[127]), (128, &[0x80, 1]), (16_383, &[0xff, 0x7f]), (16_384, &[0x80, 0x80, 1])]
        {
            assert_eq!(remaining_length(length), bytes);
        }
    }

    #[test]
    fn what_is_no_good_answer_is_told_in_words() {
        assert_eq!(judge([0x20, 2, 0, 0]), Ok(()));
        assert_eq!(judge([0x20, 2, 1, 0]), Ok(()), "a session that is there is none of our business");
        let words = |answer| judge(answer).unwrap_err().to_string();
        assert_eq!(words([0x20, 2, 0, 5]), "answer: the client is not allowed to connect");
        assert!(words([0x20, 2, 0, 99]).contains("does not have"));
        assert!(words(*b"HTTP").contains("no CONNACK"));
    }
}
