//! Bytes to heads. A head is looked at line by line as it arrives and parsed once it is whole.

use httparse::{Header, Status};

use super::framing;
use crate::model::limits::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX, HOST_BYTES_MAX, TARGET_BYTES_MAX};
use crate::proxy::http::fields::{Fields, Known, is_token, is_token_byte, list};
use crate::proxy::http::picture::{AnswerHead, Malformed, Method, Refusal, RequestHead};

/// Empty lines before a request line that are passed over (RFC 9112 section 2.2 asks for one at least).
const LEADING_EMPTY_LINES_MAX: usize = 4;

/// Finds the end of a head in bytes that arrive piece by piece, each looked at once.
#[derive(Debug, Default)]
pub(crate) struct HeadScan {
    /// Bytes already looked at.
    seen: usize,
    /// Where the line begins that is being looked at.
    line_start: usize,
}

/// What a head's bytes show so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scanned {
    /// It goes on.
    More,
    /// It is whole, with this many bytes.
    Whole(usize),
    /// A line feed without a carriage return before it.
    BareLineFeed,
    /// More than [`HEAD_BYTES_MAX`] bytes and no end.
    TooLong,
}

impl HeadScan {
    /// Looks at what is new in `input`, which begins where the head does.
    pub(crate) fn scan(&mut self, input: &[u8]) -> Scanned {
        while let Some(at) = memchr::memchr(b'\n', &input[self.seen..]) {
            let line_feed = self.seen + at;
            if line_feed == 0 || input[line_feed - 1] != b'\r' {
                return Scanned::BareLineFeed;
            }
            self.seen = line_feed + 1;
            let is_empty = line_feed - 1 == self.line_start;
            self.line_start = line_feed + 1;
            if line_feed >= HEAD_BYTES_MAX {
                return Scanned::TooLong;
            }
            if is_empty {
                return Scanned::Whole(self.seen);
            }
        }
        self.seen = input.len();
        if input.len() >= HEAD_BYTES_MAX { Scanned::TooLong } else { Scanned::More }
    }
}

/// The bytes of empty lines before a request line, or a refusal where what follows can be no request line.
pub(crate) fn leading_empty_lines(input: &[u8]) -> Result<usize, Refusal> {
    let mut rest = input;
    let mut lines = 0;
    while let Some(after) = rest.strip_prefix(b"\r\n") {
        rest = after;
        lines += 1;
    }
    if lines > LEADING_EMPTY_LINES_MAX {
        return Err(Refusal::bad("too many empty lines before the request"));
    }
    match rest {
        [] | [b'\r'] => Ok(input.len() - rest.len()),
        [first, ..] if is_token_byte(*first) => Ok(input.len() - rest.len()),
        [0x16, ..] => Err(Refusal::bad("TLS was spoken to a plain HTTP listener")),
        _ => Err(Refusal::bad("malformed request line")),
    }
}

/// A refusal for a head that is too long, by the part that makes it so.
pub(crate) fn too_long(input: &[u8]) -> Refusal {
    let line_end = memchr::memchr(b'\n', input).unwrap_or(input.len());
    if line_end > TARGET_BYTES_MAX {
        Refusal::new(414, "request target is too long")
    } else {
        Refusal::new(431, "request head is too large")
    }
}

/// Reads a request's head, which is whole and has no bare line feed, into `head`. `over_tls`: how it came.
pub(crate) fn request(bytes: &[u8], over_tls: bool, head: &mut RequestHead) -> Result<(), Refusal> {
    let mut fields = [const { httparse::EMPTY_HEADER }; HEAD_FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(bytes) {
        Ok(Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(Refusal::bad("malformed request head")),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::new(431, "request head has too many fields")),
        Err(error) => {
            let line_end = memchr::memchr(b'\r', bytes).unwrap_or(bytes.len());
            return match of_later_minor(bytes, line_end.saturating_sub("HTTP/1.1".len())) {
                Some(bytes) => request(&bytes, over_tls, head),
                None => Err(request_fault(bytes, error)),
            };
        }
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Refusal::bad("malformed request line"));
    };
    // Field syntax is httparse's; a request line is the same bytes only where nothing was skipped or trimmed.
    let line_length = method.len() + 1 + target.len() + " HTTP/1.1".len();
    if !bytes.starts_with(method.as_bytes()) || bytes.get(line_length..line_length + 2) != Some(b"\r\n") {
        return Err(Refusal::bad("malformed request line"));
    }
    if target.len() > TARGET_BYTES_MAX {
        return Err(Refusal::new(414, "request target is too long"));
    }

    head.method = Method::of(method.as_bytes());
    head.is_http10 = minor == 0;
    take_fields(parsed.headers, &mut head.fields).map_err(Refusal::bad)?;
    take_target(target.as_bytes(), over_tls, head)?;
    head.length = framing::of_request(head)?;
    take_connection(head)?;
    take_max_forwards(head)?;
    take_expectation(head)
}

/// What is wrong with a head that httparse refused, as far as the client can use it.
fn request_fault(bytes: &[u8], error: httparse::Error) -> Refusal {
    let line_end = memchr::memchr(b'\r', bytes).unwrap_or(bytes.len());
    let line = &bytes[..line_end];
    let mut words = line.split(|&byte| byte == b' ').skip(2);
    let is_version = matches!(words.next(), Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
        if major.is_ascii_digit() && minor.is_ascii_digit())
        && words.next().is_none();
    match error {
        httparse::Error::Version if is_version => Refusal::new(505, "HTTP version is not supported"),
        httparse::Error::HeaderName => Refusal::bad("malformed field name"),
        httparse::Error::HeaderValue => Refusal::bad("malformed field value"),
        _ => Refusal::bad("malformed request line"),
    }
}

/// A head of HTTP/1.2 to 1.9 as one of HTTP/1.1: a minor version adds to what is framed alike, so whoever does not know it
/// reads the latest that it knows (RFC 9110 section 2.5). None exists, so the copy is nobody's common case.
fn of_later_minor(bytes: &[u8], version_at: usize) -> Option<Vec<u8>> {
    let minor_at = version_at + "HTTP/1.".len();
    let is_later =
        bytes.get(version_at..minor_at) == Some(b"HTTP/1.") && matches!(bytes.get(minor_at), Some(b'2'..=b'9'));
    is_later.then(|| {
        let mut bytes = bytes.to_vec();
        bytes[minor_at] = b'1';
        bytes
    })
}

fn take_fields(parsed: &[Header<'_>], fields: &mut Fields) -> Result<(), &'static str> {
    fields.clear();
    for field in parsed {
        if !is_token(field.name.as_bytes()) {
            return Err("malformed field name");
        }
        if field.value.iter().any(|&byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f) {
            return Err("malformed field value");
        }
        fields.push(field.name.as_bytes(), field.value.trim_ascii());
    }
    Ok(())
}

/// Takes the target apart (RFC 9112 section 3.2) and settles what host the request is for.
fn take_target(target: &[u8], over_tls: bool, head: &mut RequestHead) -> Result<(), Refusal> {
    if !is_target(target) {
        return Err(Refusal::bad("malformed request target"));
    }
    match head.method {
        // No proxy of the forward kind, and nothing may learn what the fields of a request looked like behind it.
        Method::Connect => return Err(Refusal::new(405, "CONNECT is not allowed")),
        Method::Trace => return Err(Refusal::new(405, "TRACE is not allowed")),
        _ => {}
    }

    let mut hosts = head.fields.values(Known::Host);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::bad("more than one Host"));
    }
    match host {
        Some(host) if !is_authority(host) => return Err(Refusal::bad("malformed Host")),
        None if !head.is_http10 => return Err(Refusal::bad("Host is missing")),
        _ => {}
    }

    head.target.clear();
    head.authority.clear();
    if target[0] == b'/' {
        head.target.extend_from_slice(target);
        head.authority.extend_from_slice(host.unwrap_or_default());
    } else if target == b"*" {
        if head.method != Method::Options {
            return Err(Refusal::bad("the target * is for OPTIONS only"));
        }
        head.target.extend_from_slice(target);
        head.authority.extend_from_slice(host.unwrap_or_default());
    } else if let Some(rest) = strip_scheme(target, if over_tls { b"https://" } else { b"http://" }) {
        // The target wins over Host (RFC 9112 section 3.2.2), which goes to the node as the target says.
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if !is_authority(authority) {
            return Err(Refusal::bad("malformed request target"));
        }
        head.authority.extend_from_slice(authority);
        // OPTIONS without a path asks about the server as a whole (RFC 9112 section 3.2.4).
        let is_of_server = path.is_empty() && head.method == Method::Options;
        if is_of_server {
            head.target.push(b'*');
        } else if !path.starts_with(b"/") {
            head.target.push(b'/');
        }
        head.target.extend_from_slice(path);
    } else if strip_scheme(target, b"https://").is_some() {
        return Err(Refusal::new(421, "https was asked for without TLS"));
    } else if strip_scheme(target, b"http://").is_some() {
        return Err(Refusal::new(421, "http was asked for over TLS"));
    } else {
        return Err(Refusal::bad("malformed request target"));
    }
    Ok(())
}

/// Whether a target is made of what one may have in it.
pub(crate) fn is_target(target: &[u8]) -> bool {
    !target.is_empty() && target.iter().all(|&byte| (0x21..=0x7e).contains(&byte) && byte != b'#')
}

fn strip_scheme<'a>(target: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = target.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// `uri-host [ ":" port ]` (RFC 9110 section 7.2), without user information, not empty.
pub(crate) fn is_authority(bytes: &[u8]) -> bool {
    let (is_host, port) = if let Some(rest) = bytes.strip_prefix(b"[") {
        let Some(end) = memchr::memchr(b']', rest) else { return false };
        let is_ip = std::str::from_utf8(&rest[..end]).is_ok_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
        (is_ip, &rest[end + 1..])
    } else {
        let end = memchr::memchr(b':', bytes).unwrap_or(bytes.len());
        let (host, port) = bytes.split_at(end);
        // Longer ones, and ones with nothing between two dots, are no names (RFC 1035 section 2.3.4): routes know none of them, and a
        // node may read one as a name that a route guards.
        let mut before = b'.';
        let is_of_name = |&byte: &u8| {
            let is_gap = byte == b'.' && before == b'.';
            before = byte;
            !is_gap && (byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(&byte))
        };
        let is_name = (1..=HOST_BYTES_MAX).contains(&host.len()) && host.iter().all(is_of_name);
        (is_name, port)
    };
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => {
            digits.len() <= 5
                && digits.iter().all(u8::is_ascii_digit)
                && digits.iter().fold(0_u32, |number, digit| number * 10 + u32::from(digit - b'0')) <= 65_535
        }
        _ => false,
    };
    is_host && is_port
}

/// What `Connection` and `Upgrade` say (RFC 9110 sections 7.6.1 and 7.8).
fn take_connection(head: &mut RequestHead) -> Result<(), Refusal> {
    let options = head.fields.take_connection().ok_or(Refusal::bad("Connection lists too many options"))?;
    head.persistent = !options.close && (options.keep_alive || !head.is_http10);
    // An upgrade to h2c would put requests past this proxy, and one with a body leaves two readings of what follows it.
    head.upgrade = options.upgrade
        && !head.is_http10
        && head.length == super::super::picture::Length::None
        && list(head.fields.values(Known::Upgrade)).next().is_some()
        && list(head.fields.values(Known::Upgrade)).all(|protocol| !protocol.eq_ignore_ascii_case(b"h2c"));
    Ok(())
}

/// `Max-Forwards` (RFC 9110 section 7.6.2), which means something with OPTIONS and TRACE alone.
pub(crate) fn take_max_forwards(head: &mut RequestHead) -> Result<(), Refusal> {
    head.max_forwards = None;
    if head.method != Method::Options {
        return Ok(());
    }
    for value in head.fields.values(Known::MaxForwards) {
        let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        if !is_number || head.max_forwards.is_some() {
            return Err(Refusal::bad("malformed Max-Forwards"));
        }
        // One that is larger than any way is long passes on as the largest this peer can say.
        let number =
            value.iter().fold(0_u32, |number, digit| number.saturating_mul(10).saturating_add(u32::from(digit - b'0')));
        head.max_forwards = Some(number);
    }
    Ok(())
}

/// `Expect` (RFC 9110 section 10.1.1).
pub(crate) fn take_expectation(head: &mut RequestHead) -> Result<(), Refusal> {
    head.expects_continue = false;
    for expectation in list(head.fields.values(Known::Expect)) {
        if !expectation.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::new(417, "only 100-continue can be expected"));
        }
        // RFC 9110 section 10.1.1: ignored in HTTP/1.0 and where no body follows.
        head.expects_continue = !head.is_http10 && head.length != super::super::picture::Length::None;
    }
    Ok(())
}

/// Reads an answer's head, which is whole and has no bare line feed, into `head`. `request` is what was asked.
pub(crate) fn answer(bytes: &[u8], request: &RequestHead, head: &mut AnswerHead) -> Result<(), Malformed> {
    let mut fields = [const { httparse::EMPTY_HEADER }; HEAD_FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut fields);
    match parsed.parse(bytes) {
        Ok(Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(Malformed("malformed head")),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed("too many fields")),
        Err(httparse::Error::HeaderName) => return Err(Malformed("malformed field name")),
        Err(httparse::Error::HeaderValue) => return Err(Malformed("malformed field value")),
        Err(_) => {
            return match of_later_minor(bytes, 0) {
                Some(bytes) => answer(&bytes, request, head),
                None => Err(Malformed("malformed status line")),
            };
        }
    }
    let (Some(status), Some(minor)) = (parsed.code, parsed.version) else {
        return Err(Malformed("malformed status line"));
    };
    // httparse passes over empty lines before the head; behind a node they are left-overs of another answer.
    if !bytes.starts_with(b"HTTP/1.") || !(100..=599).contains(&status) {
        return Err(Malformed("malformed status line"));
    }
    head.status = status;
    head.reason.clear();
    head.reason.extend_from_slice(parsed.reason.unwrap_or_default().as_bytes());
    take_fields(parsed.headers, &mut head.fields).map_err(Malformed)?;

    let options = head.fields.take_connection().ok_or(Malformed("Connection lists too many options"))?;
    head.persistent = !options.close && (options.keep_alive || minor == 1);
    framing::of_answer(request, minor == 0, head)
}

#[cfg(test)]
mod tests;
