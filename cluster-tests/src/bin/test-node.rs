//! A node whose behaviour can be set: `test-node --name web-1 --listen 127.0.0.1:8001 [--control 127.0.0.1:8002]`.
//!
//! It prints `listening ADDRESS` and `control ADDRESS`. The control port takes one JSON command a line:
//! `{"order":{"target":"*","behaviour":{"delay_ms":50}}}`, `"at_ease"`, `"forget"`, `"seen"`. Without orders the target says
//! what is wanted: `/bytes/N`, `/chunked/N`, `/status/N`, `/delay/MS`, `/echo`, `/digest`, `/upgrade`, `/freeze`, `/close`, `/reset`.

use std::net::SocketAddr;

use clap::Parser;
use cluster_tests::node::{Node, serve_control};
use cluster_tests::report;
use tokio::net::TcpListener;

#[derive(Parser)]
#[command(about = "A node whose behaviour can be set while it runs")]
struct Arguments {
    /// Its name, which it answers with.
    #[arg(long, default_value = "node")]
    name: String,
    /// Where it listens; port 0: a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// As many more of its kind, at the ports that follow. Commands are for the first.
    #[arg(long, default_value_t = 0)]
    more: u16,
    /// Where it takes commands; port 0: a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    control: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let node = Node::bind(&arguments.name, arguments.listen, None).await?;
    for number in 1..=arguments.more {
        let at = SocketAddr::new(arguments.listen.ip(), arguments.listen.port() + number);
        let node = Node::bind(&format!("{}-{number}", arguments.name), at, None).await?;
        tokio::spawn(node.run(std::future::pending()));
    }
    let control = TcpListener::bind(arguments.control).await?;
    report::line(&format!("listening {}", node.address()));
    report::line(&format!("control {}", control.local_addr()?));
    let orders = serve_control(control, &node).await;
    tokio::select! {
        () = node.run(std::future::pending()) => {}
        () = orders => {}
    }
    Ok(())
}
