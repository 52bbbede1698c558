//! A client of HTTP/2 that sends any frames (RFC 9113 section 4), for what no honest codec would send.

use std::net::SocketAddr;

use crate::raw::{Broken, Raw};

/// Types of frames.
pub const DATA: u8 = 0;
/// A head.
pub const HEADERS: u8 = 1;
/// A weight, of which nothing comes any more.
pub const PRIORITY: u8 = 2;
/// The end of a stream in the middle.
pub const RST_STREAM: u8 = 3;
/// Settings.
pub const SETTINGS: u8 = 4;
/// A question whether the other side is there.
pub const PING: u8 = 6;
/// The end of a connection.
pub const GOAWAY: u8 = 7;
/// Room for more bytes.
pub const WINDOW_UPDATE: u8 = 8;
/// More of a head.
pub const CONTINUATION: u8 = 9;

/// The flag of the last frame of a stream.
pub const END_STREAM: u8 = 1;
/// The flag of the last frame of a head.
pub const END_HEADERS: u8 = 4;

/// Errors (RFC 9113 section 7).
pub const PROTOCOL_ERROR: u32 = 1;
/// Something inside went wrong.
pub const INTERNAL_ERROR: u32 = 2;
/// The stream is of no more use.
pub const CANCEL: u32 = 8;
/// The client asks for too much.
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// What a client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream, 0: the connection.
    pub stream: u32,
    /// What is in it.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// As it goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a frame is short").to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], self.kind, self.flags];
        bytes.extend_from_slice(&self.stream.to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// The error that RST_STREAM or GOAWAY tells.
    pub fn error(&self) -> Option<u32> {
        let at = match self.kind {
            RST_STREAM => 0,
            GOAWAY => 4,
            _ => return None,
        };
        Some(u32::from_be_bytes(self.payload.get(at..at + 4)?.try_into().ok()?))
    }
}

/// A head as HPACK writes it without its tables (RFC 7541 section 6.2.2).
pub fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(text.len(), &mut block);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A whole number of a prefix of 7 bits (RFC 7541 section 5.1).
fn length(number: usize, block: &mut Vec<u8>) {
    let Some(mut rest) = number.checked_sub(127) else { return block.push(u8::try_from(number).expect("below 127")) };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).expect("a remainder") | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).expect("below 128"));
}

/// One connection, greeted.
#[derive(Debug)]
pub struct Frames(Raw);

impl Frames {
    /// Connects and says the preface with settings of nothing.
    pub fn connect(to: SocketAddr) -> Self {
        let mut frames = Self(Raw::connect(to));
        let settings = Frame::new(SETTINGS, 0, 0, []).bytes();
        frames.0.send([PREFACE, &settings].concat()).expect("a fresh connection takes bytes");
        frames
    }

    /// Sends frames; false where the connection takes no more.
    pub fn send(&mut self, frames: &[Frame]) -> bool {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        self.0.send(bytes).is_ok()
    }

    /// Sends a head of these fields on a stream, and whether that is all of it.
    pub fn head(&mut self, stream: u32, is_whole: bool, said: &[(&str, &str)]) -> bool {
        let flags = END_HEADERS | if is_whole { END_STREAM } else { 0 };
        self.send(&[Frame::new(HEADERS, flags, stream, fields(said))])
    }

    /// The next frame; `None` at the end of the connection, however it ends.
    fn receive(&mut self) -> Option<Frame> {
        let header = match self.0.bytes(9) {
            Ok(header) => header,
            Err(Broken::Silent) => panic!("no frame came"),
            Err(_) => return None,
        };
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let payload = if length == 0 { Vec::new() } else { self.0.bytes(length).ok()? };
        let stream = u32::from_be_bytes([header[5] & 127, header[6], header[7], header[8]]);
        Some(Frame { kind: header[3], flags: header[4], stream, payload })
    }

    /// The next frame that this is looked for in; `None` where the connection ends before.
    pub fn find(&mut self, mut is: impl FnMut(&Frame) -> bool) -> Option<Frame> {
        std::iter::from_fn(|| self.receive()).find(|frame| is(frame))
    }
}
