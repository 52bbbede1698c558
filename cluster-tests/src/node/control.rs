//! Orders to a node in another process: one JSON value a line, each answered by one.

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
