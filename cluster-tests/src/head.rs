//! Heads and bodies of HTTP/1.1 as the tests read them: strictly, by RFC 9112, so that what a proxy garbles is seen.

/// A request's or an answer's start line and fields, verbatim; each character stands for one byte.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Head {
    /// The request line or status line, without its end.
    pub start: String,
    /// Names as sent, values without the white space around them.
    pub fields: Vec<(String, String)>,
}

/// How the end of a body is known (RFC 9112 section 6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// There is no body.
    Empty,
    /// `Content-Length`.
    Counted(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The connection's end.
    UntilClose,
}

/// Bytes as text, one character each.
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// The bytes of a text made by [`text`].
pub fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(character).expect("a character that stands for a byte")).collect()
}

/// Length of the head at the front of `bytes`, its empty line included, once that has come.
pub fn length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

impl Head {
    /// Reads a head with its empty line.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let head = bytes.strip_suffix(b"\r\n\r\n").ok_or("no empty line ends the head")?;
        let head = text(head);
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        if let Some(wrong) = head.replace("\r\n", "").chars().find(|&c| c != '\t' && (c < ' ' || c == '\x7f')) {
            return Err(format!("{wrong:?} within the head"));
        }
        let mut fields = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(|| format!("no colon in {line:?}"))?;
            if name.is_empty() || !name.bytes().all(is_token) {
                return Err(format!("field name {name:?}"));
            }
            fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
        Ok(Self { start, fields })
    }

    /// The values of every field of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The value of the first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether a list field has this member, in any case.
    pub fn lists(&self, name: &str, member: &str) -> bool {
        self.all(name).flat_map(|value| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(member))
    }

    /// The method of a request line.
    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// The target of a request line.
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The status of a status line.
    pub fn status(&self) -> Result<u16, String> {
        let mut words = self.start.splitn(3, ' ');
        let version = words.next().unwrap_or_default();
        let status = words.next().unwrap_or_default();
        if !matches!(version, "HTTP/1.1" | "HTTP/1.0") || status.len() != 3 {
            return Err(format!("status line {:?}", self.start));
        }
        status.parse().map_err(|_| format!("status line {:?}", self.start))
    }

    /// Whether the sender means to keep the connection (RFC 9112 section 9.3).
    pub fn keeps_alive(&self) -> bool {
        if self.start.contains("HTTP/1.0") {
            self.lists("connection", "keep-alive")
        } else {
            !self.lists("connection", "close")
        }
    }

    /// How the body of this request ends.
    pub fn request_framing(&self) -> Result<Framing, String> {
        Ok(self.declared_framing()?.unwrap_or(Framing::Empty))
    }

    /// How the body of this answer to `method` ends.
    pub fn answer_framing(&self, method: &str) -> Result<Framing, String> {
        let status = self.status()?;
        if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            return Ok(Framing::Empty);
        }
        Ok(self.declared_framing()?.unwrap_or(Framing::UntilClose))
    }

    fn declared_framing(&self) -> Result<Option<Framing>, String> {
        let mut codings = self.all("transfer-encoding");
        let mut lengths = self.all("content-length");
        match (codings.next(), lengths.next()) {
            (Some(_), Some(_)) => Err("both Transfer-Encoding and Content-Length".into()),
            (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") && codings.next().is_none() => {
                Ok(Some(Framing::Chunked))
            }
            (Some(coding), None) => Err(format!("Transfer-Encoding: {coding}")),
            (None, Some(length)) => {
                let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
                match length.parse() {
                    Ok(length) if digits && lengths.next().is_none() => Ok(Some(Framing::Counted(length))),
                    _ => Err(format!("Content-Length: {length}")),
                }
            }
            (None, None) => Ok(None),
        }
    }
}

/// Takes a body apart, however it arrives.
#[derive(Debug)]
pub struct Body {
    at: At,
    /// The line of a chunk's size or of a trailer, as far as it has come.
    line: Vec<u8>,
    /// Trailer lines, verbatim.
    pub trailers: Vec<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum At {
    Counted(u64),
    Size,
    Chunk(u64),
    ChunkEnd,
    Trailer,
    UntilClose,
    Done,
}

/// Longest line of a chunk's size or a trailer.
const LINE_BYTES_MAX: usize = 8 * 1024;

impl Body {
    /// A body that ends as `framing` says.
    pub fn new(framing: Framing) -> Self {
        let at = match framing {
            Framing::Empty | Framing::Counted(0) => At::Done,
            Framing::Counted(length) => At::Counted(length),
            Framing::Chunked => At::Size,
            Framing::UntilClose => At::UntilClose,
        };
        Self { at, line: Vec::new(), trailers: Vec::new() }
    }

    /// Whether all of it has come; one that lasts until the connection's end never has.
    pub fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// Whether the connection's end is the body's end.
    pub fn may_end(&self) -> bool {
        matches!(self.at, At::Done | At::UntilClose)
    }

    /// Takes what belongs to the body from the front of `input`, hands content to `sink`, and returns how much it took.
    pub fn feed(&mut self, input: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<usize, String> {
        let mut taken = 0;
        while taken < input.len() && self.at != At::Done {
            let rest = &input[taken..];
            taken += match self.at {
                At::UntilClose => {
                    sink(rest);
                    rest.len()
                }
                At::Counted(left) | At::Chunk(left) => {
                    let part = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    sink(&rest[..part]);
                    let left = left - part as u64;
                    self.at = match (self.at, left) {
                        (At::Counted(_), 0) => At::Done,
                        (At::Counted(_), _) => At::Counted(left),
                        (_, 0) => At::ChunkEnd,
                        (_, _) => At::Chunk(left),
                    };
                    part
                }
                At::Size | At::ChunkEnd | At::Trailer | At::Done => self.feed_line(rest)?,
            };
        }
        Ok(taken)
    }

    fn feed_line(&mut self, rest: &[u8]) -> Result<usize, String> {
        let part = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
        self.line.extend_from_slice(&rest[..part]);
        if self.line.len() > LINE_BYTES_MAX {
            return Err("an endless line within a chunked body".into());
        }
        if self.line.last() == Some(&b'\n') {
            let line = std::mem::take(&mut self.line);
            let line = line.strip_suffix(b"\r\n").ok_or("a bare LF within a chunked body")?;
            self.at = self.after_line(&text(line))?;
        }
        Ok(part)
    }

    fn after_line(&mut self, line: &str) -> Result<At, String> {
        match self.at {
            At::Size => {
                let size = line.split(';').next().unwrap_or_default();
                let hex = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
                match u64::from_str_radix(size, 16) {
                    Ok(0) if hex => Ok(At::Trailer),
                    Ok(size) if hex => Ok(At::Chunk(size)),
                    _ => Err(format!("chunk size {line:?}")),
                }
            }
            At::ChunkEnd if line.is_empty() => Ok(At::Size),
            At::ChunkEnd => Err(format!("{line:?} behind a chunk")),
            _ if line.is_empty() => Ok(At::Done),
            _ => {
                self.trailers.push(line.to_owned());
                Ok(At::Trailer)
            }
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_taken_apart_however_it_arrives() {
        let wire = b"5;ext=1\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\nNEXT";
        for step in 1..wire.len() {
            let mut body = Body::new(Framing::Chunked);
            let mut got = Vec::new();
            let mut taken = 0;
            for part in wire.chunks(step) {
                taken += body.feed(part, &mut |bytes| got.extend_from_slice(bytes)).unwrap();
            }
            assert!(body.is_done());
            assert_eq!((got.as_slice(), taken), (&b"hello!"[..], wire.len() - 4), "in steps of {step}");
            assert_eq!(body.trailers, ["A: b"]);
        }
        for wrong in ["g\r\n", "\r\n", "5\nhello", "1\r\nab\r\n", "0x5\r\n"] {
            assert!(Body::new(Framing::Chunked).feed(wrong.as_bytes(), &mut |_| ()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn ambiguous_framing_is_not_guessed_at() {
        for wrong in [
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: +5",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
        ] {
            let head = Head::parse(format!("HTTP/1.1 200 OK\r\n{wrong}\r\n\r\n").as_bytes()).unwrap();
            assert!(head.answer_framing("GET").is_err(), "{wrong}");
        }
    }
}
