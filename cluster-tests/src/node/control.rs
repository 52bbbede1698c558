//! Orders to a node in another process: one JSON value a line, each answered by one.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::behaviour::Behaviour;
use super::record::Record;
use super::server::Node;

/// What a node can be told and asked.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Set what happens to requests of a target; `*`: to all without an order of their own.
    Order {
        /// The target, verbatim.
        target: String,
        /// What happens.
        behaviour: Behaviour,
    },
    /// Drop all orders.
    AtEase,
    /// Forget the requests it got.
    Forget,
    /// Say what it got; the answer is a [`super::Seen`].
    Seen,
}

/// Where a node takes orders, as it printed it.
pub(crate) fn control_of(log: &str) -> Option<SocketAddr> {
    log.lines().find_map(|line| line.strip_prefix("control ")?.parse().ok())
}

/// Gives an order to a node that takes them there.
pub(crate) fn tell(control: SocketAddr, command: &Command) -> serde_json::Value {
    let mut stream = std::net::TcpStream::connect(control).expect("a node's control port is open");
    let line = serde_json::to_string(command).expect("a command is JSON");
    stream.write_all(format!("{line}\n").as_bytes()).expect("a command is taken");
    let mut reply = String::new();
    std::io::BufReader::new(stream).read_line(&mut reply).expect("a command is answered");
    let reply: serde_json::Value = serde_json::from_str(&reply).expect("an answer is JSON");
    assert!(reply.get("error").is_none(), "the node refused {line}: {reply}");
    reply
}

/// Takes orders for `node` on `listener` for as long as it runs.
pub async fn serve_control(listener: TcpListener, node: &Node) -> impl Future<Output = ()> + use<> {
    let record = node.record();
    async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(orders(stream, Arc::clone(&record)));
        }
    }
}

async fn orders(stream: TcpStream, record: Arc<Record>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let reply = match serde_json::from_str(&line) {
            Ok(command) => perform(command, &record),
            Err(error) => serde_json::json!({ "error": error.to_string() }),
        };
        write.write_all(format!("{reply}\n").as_bytes()).await?;
    }
    Ok(())
}

fn perform(command: Command, record: &Record) -> serde_json::Value {
    match command {
        Command::Order { target, behaviour } => record.order(&target, behaviour),
        Command::AtEase => record.at_ease(),
        Command::Forget => record.forget(),
        Command::Seen => return serde_json::json!(record.seen()),
    }
    serde_json::json!({ "done": true })
}
