//! What the tests stand on: real processes on loopback, a node that misbehaves on command, a client that sends any bytes.
//!
//! Nothing here sleeps for luck: [`wait`] asks for a condition until a deadline, and says what it waited for.

pub mod api;
pub mod binary;
pub mod certificates;
pub mod cluster;
pub mod docker;
pub mod environment;
pub mod example;
pub mod frames;
pub mod front;
pub mod haproxy;
pub mod head;
pub mod http2;
pub mod load;
pub mod mosquitto;
pub mod need;
pub mod network;
pub mod nginx;
pub mod node;
pub mod pattern;
pub mod peer;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod procfs;
pub mod raw;
pub mod report;
pub mod settings;
pub mod simulation;
pub mod wait;
pub mod web_app;
pub mod websocket;
pub mod witness;
