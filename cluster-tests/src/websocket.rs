//! A client of WebSockets (RFC 6455) over a connection of HTTP/1.1, for short messages.

use crate::raw::{Answer, Broken, Raw};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
/// What hides the payload of a client's frames; any four bytes will do.
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// An open WebSocket.
#[derive(Debug)]
pub struct WebSocket {
    raw: Raw,
    /// The answer that opened it.
    pub answer: Answer,
}

impl WebSocket {
    /// Asks for one with these fields, each ended by CR LF; panics where it is refused.
    #[track_caller]
    pub fn open(mut raw: Raw, path: &str, fields: &str) -> Self {
        let answer = Self::ask(&mut raw, path, fields).unwrap_or_else(|broken| panic!("{path}: {broken:?}"));
        assert_eq!(answer.status, 101, "{path}: {}", answer.text());
        Self { raw, answer }
    }

    /// Asks for one; whatever the answer is. Of 101 nothing behind the head is read.
    pub fn ask(raw: &mut Raw, path: &str, fields: &str) -> Result<Answer, Broken> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
        );
        raw.send(request).map_err(|_| Broken::Reset)?;
        let (interim, head) = raw.final_head()?;
        let status = head.status().map_err(Broken::Malformed)?;
        let mut body = Vec::new();
        if status != 101 {
            let framing = head.answer_framing("GET").map_err(Broken::Malformed)?;
            raw.body(framing, &mut |part| body.extend_from_slice(part))?;
        } else if head.field("sec-websocket-accept") != Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
            // The example of RFC 6455 section 1.3.
            return Err(Broken::Malformed(format!("{head:?} opens no WebSocket")));
        }
        Ok(Answer { interim, status, head, body, trailers: Vec::new() })
    }

    /// Says something and reads what is said to that.
    #[track_caller]
    pub fn say(&mut self, text: &str) -> String {
        let said = self.exchange(TEXT, text.as_bytes()).unwrap_or_else(|broken| panic!("{text}: {broken:?}"));
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Sends bytes in one message and reads the next one.
    pub fn ask_bytes(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Broken> {
        self.exchange(BINARY, bytes)
    }

    fn exchange(&mut self, kind: u8, payload: &[u8]) -> Result<Vec<u8>, Broken> {
        let length = u8::try_from(payload.len()).ok().filter(|length| *length < 126).expect("a short message");
        let mut frame = vec![0x80 | kind, 0x80 | length];
        frame.extend_from_slice(&MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.raw.send(frame).map_err(|_| Broken::Reset)?;
        let head = self.raw.bytes(2)?;
        if head[0] != 0x80 | kind || head[1] >= 126 {
            return Err(Broken::Malformed(format!("a frame that begins with {head:x?}")));
        }
        self.raw.bytes(usize::from(head[1]))
    }
}
