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
mod tests {
    use super::*;
    use crate::proxy::http::picture::Length;

    #[test]
    fn an_absolute_target_is_of_the_scheme_of_its_connection() {
        let asked = |scheme: &str, over_tls| {
            let mut head = RequestHead::default();
            let text = format!("GET {scheme}://shop.example/a?b HTTP/1.1\r\nHost: other\r\n\r\n");
            request(text.as_bytes(), over_tls, &mut head)
                .map(|()| (head.target, head.authority))
                .map_err(|refusal| refusal.status)
        };
        let taken = Ok((b"/a?b".to_vec(), b"shop.example".to_vec()));
        assert_eq!(
            (asked("http", false), asked("https", true), asked("HTTPS", true)),
            (taken.clone(), taken.clone(), taken)
        );
        assert_eq!((asked("https", false), asked("http", true)), (Err(421), Err(421)));
    }

    #[test]
    fn a_host_is_a_name_that_routes_can_know() {
        let longest = "a".repeat(255);
        for host in ["a", "a.b", "a.b.", "a.b:80", "10.0.0.1", "[::1]:8", "a_b", &longest] {
            assert!(is_authority(host.as_bytes()), "{host}");
        }
        let too_long = "a".repeat(256);
        for host in ["", ".", ".a", "a..b", "a..", "..", ":80", "a:b", "a b", "[::1", &too_long] {
            assert!(!is_authority(host.as_bytes()), "{host}");
        }
    }

    /// What a whole head becomes, or the status that refuses it.
    fn read(text: &str) -> Result<RequestHead, u16> {
        read_bytes(text.replace('\n', "\r\n").as_bytes())
    }

    fn read_bytes(bytes: &[u8]) -> Result<RequestHead, u16> {
        let start = leading_empty_lines(bytes).map_err(|refusal| refusal.status)?;
        let bytes = &bytes[start..];
        match HeadScan::default().scan(bytes) {
            Scanned::Whole(length) => {
                assert_eq!(length, bytes.len(), "the sample is one head");
                let mut head = RequestHead::default();
                request(bytes, false, &mut head).map(|()| head).map_err(|refusal| refusal.status)
            }
            Scanned::BareLineFeed => Err(400),
            Scanned::TooLong => Err(too_long(bytes).status),
            Scanned::More => panic!("the sample is not whole"),
        }
    }

    #[test]
    fn a_head_is_the_same_however_it_is_cut_into_pieces() {
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nNEXT";
        for first in 0..bytes.len() {
            let mut scan = HeadScan::default();
            let early = scan.scan(&bytes[..first]);
            let found = if early == Scanned::More { scan.scan(bytes) } else { early };
            assert_eq!(found, Scanned::Whole(bytes.len() - 4), "first {first} bytes");
        }
    }

    #[test]
    fn the_four_forms_of_a_target_say_what_and_for_which_host() {
        for (text, target, authority) in [
            ("GET /a?b=c HTTP/1.1\nHost: x.example:80\n\n", "/a?b=c", "x.example:80"),
            ("GET http://y.example/a HTTP/1.1\nHost: x.example\n\n", "/a", "y.example"),
            ("GET HTTP://y.example HTTP/1.1\nHost: x\n\n", "/", "y.example"),
            ("GET http://y.example?q HTTP/1.1\nHost: x\n\n", "/?q", "y.example"),
            ("OPTIONS * HTTP/1.1\nHost: x\n\n", "*", "x"),
            ("OPTIONS http://y.example:80 HTTP/1.1\nHost: x\n\n", "*", "y.example:80"),
            ("GET / HTTP/1.1\nHost: [::1]:8080\n\n", "/", "[::1]:8080"),
            ("GET / HTTP/1.0\n\n", "/", ""),
            ("GET / HTTP/1.2\nHost: x\n\n", "/", "x"),
            ("GET / HTTP/1.9\nHost: x\n\n", "/", "x"),
            ("\n\nGET / HTTP/1.1\nHost: x\n\n", "/", "x"),
        ] {
            let head = read(text).unwrap_or_else(|status| panic!("{text:?}: {status}"));
            assert_eq!(head.target, target.as_bytes(), "{text:?}");
            assert_eq!(head.authority, authority.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn a_connection_goes_on_only_where_both_versions_and_options_say_so() {
        for (text, persistent) in [
            ("GET / HTTP/1.1\nHost: x\n\n", true),
            ("GET / HTTP/1.1\nHost: x\nConnection: close\n\n", false),
            ("GET / HTTP/1.1\nHost: x\nConnection: keep-alive, Close\n\n", false),
            ("GET / HTTP/1.0\n\n", false),
            ("GET / HTTP/1.0\nConnection: Keep-Alive\n\n", true),
        ] {
            assert_eq!(read(text).unwrap().persistent, persistent, "{text:?}");
        }
    }

    #[test]
    fn only_an_upgrade_that_can_be_tunnelled_is_offered_to_a_node() {
        for (text, upgrade) in [
            ("GET / HTTP/1.1\nHost: x\nConnection: Upgrade\nUpgrade: websocket\n\n", true),
            ("GET / HTTP/1.1\nHost: x\nUpgrade: websocket\n\n", false),
            ("GET / HTTP/1.1\nHost: x\nConnection: Upgrade\n\n", false),
            (
                "GET / HTTP/1.1\nHost: x\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AA\n\n",
                false,
            ),
            ("GET / HTTP/1.1\nHost: x\nConnection: Upgrade\nUpgrade: websocket, h2c\n\n", false),
            ("GET / HTTP/1.0\nConnection: Upgrade\nUpgrade: websocket\n\n", false),
            ("POST / HTTP/1.1\nHost: x\nContent-Length: 2\nConnection: Upgrade\nUpgrade: websocket\n\n", false),
        ] {
            assert_eq!(read(text).unwrap().upgrade, upgrade, "{text:?}");
        }
    }

    #[test]
    fn a_body_is_as_long_as_its_fields_say_in_one_way_only() {
        let with = |fields: &str| read(&format!("POST / HTTP/1.1\nHost: x\n{fields}\n"));
        for (fields, length) in [
            ("", Length::None),
            ("Content-Length: 0\n", Length::None),
            ("Content-Length: 5\n", Length::Counted(5)),
            ("Content-Length: 0005\n", Length::Counted(5)),
            ("Transfer-Encoding: chunked\n", Length::Chunked),
            ("Transfer-Encoding:  CHUNKED \n", Length::Chunked),
        ] {
            assert_eq!(with(fields).unwrap().length, length, "{fields:?}");
        }
        for (fields, status) in [
            ("Content-Length: 5\nContent-Length: 5\n", 400),
            ("Content-Length: 5\nContent-Length: 6\n", 400),
            ("Content-Length: 5, 5\n", 400),
            ("Content-Length: +5\n", 400),
            ("Content-Length: -5\n", 400),
            ("Content-Length: 0x5\n", 400),
            ("Content-Length: 5 5\n", 400),
            ("Content-Length:\n", 400),
            ("Content-Length: 99999999999999999999\n", 400),
            ("Content-Length: 5\nTransfer-Encoding: chunked\n", 400),
            ("Transfer-Encoding: chunked\nContent-Length: 5\n", 400),
            ("Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n", 400),
            ("Transfer-Encoding: chunked, chunked\n", 400),
            ("Transfer-Encoding: xchunked\n", 400),
            ("Transfer-Encoding: chunked;q=1\n", 400),
            ("Transfer-Encoding: \x0bchunked\n", 400),
            ("Transfer-Encoding: identity\n", 400),
            ("Transfer-Encoding:\n", 400),
            ("Transfer-Encoding: gzip, chunked\n", 501),
            ("Transfer-Encoding: chunked, gzip\n", 400),
        ] {
            assert_eq!(with(fields).map(|head| head.length), Err(status), "{fields:?}");
        }
        assert_eq!(read("POST / HTTP/1.0\nTransfer-Encoding: chunked\n\n").map(|head| head.length), Err(400));
    }

    #[test]
    fn any_number_of_hops_may_be_allowed_to_options() {
        let with = |value: &str| read(&format!("OPTIONS / HTTP/1.1\nHost: x\nMax-Forwards: {value}\n\n"));
        for (value, hops) in [("0", 0), ("007", 7), ("4294967295", u32::MAX), ("99999999999", u32::MAX)] {
            assert_eq!(with(value).unwrap().max_forwards, Some(hops), "{value}");
        }
        for value in ["", "-1", "+1", "1 2", "x", "1\nMax-Forwards: 1"] {
            assert_eq!(with(value).map(|head| head.max_forwards), Err(400), "{value:?}");
        }
    }

    #[test]
    fn a_malformed_head_is_refused_with_the_status_that_fits() {
        let long = "x".repeat(40_000);
        let many = "X: 1\n".repeat(101);
        for (text, status) in [
            ("GET  / HTTP/1.1\nHost: x\n\n", 400),
            ("GET / HTTP/1.1 \nHost: x\n\n", 400),
            (" GET / HTTP/1.1\nHost: x\n\n", 400),
            ("GET /a b HTTP/1.1\nHost: x\n\n", 400),
            ("GET / http/1.1\nHost: x\n\n", 400),
            ("GET / HTTP/2.0\nHost: x\n\n", 505),
            ("GET / HTTP/1.x\nHost: x\n\n", 400),
            ("GET / HTTP/1.12\nHost: x\n\n", 400),
            ("GET  / HTTP/1.2\nHost: x\n\n", 400),
            ("GET / HTTP/1.2\n\n", 400),
            ("PRI * HTTP/2.0\n\n", 505),
            ("GET /\n\n", 400),
            ("G[T / HTTP/1.1\nHost: x\n\n", 400),
            ("GET /#top HTTP/1.1\nHost: x\n\n", 400),
            ("GET x.example:80 HTTP/1.1\nHost: x\n\n", 400),
            ("GET * HTTP/1.1\nHost: x\n\n", 400),
            ("GET https://x/ HTTP/1.1\nHost: x\n\n", 421),
            ("GET http://u@x/ HTTP/1.1\nHost: x\n\n", 400),
            ("GET http:///a HTTP/1.1\nHost: x\n\n", 400),
            ("CONNECT x:80 HTTP/1.1\nHost: x:80\n\n", 405),
            ("TRACE / HTTP/1.1\nHost: x\n\n", 405),
            ("GET / HTTP/1.1\n\n", 400),
            ("GET / HTTP/1.1\nHost: x\nHost: x\n\n", 400),
            ("GET / HTTP/1.1\nHost:\n\n", 400),
            ("GET / HTTP/1.1\nHost: x y\n\n", 400),
            ("GET / HTTP/1.1\nHost: u@x\n\n", 400),
            ("GET / HTTP/1.1\nHost: x:port\n\n", 400),
            ("GET / HTTP/1.1\nHost: x:65536\n\n", 400),
            ("GET / HTTP/1.1\nHost: x, y\n\n", 400),
            ("GET / HTTP/1.1\nHost : x\n\n", 400),
            ("GET / HTTP/1.1\nHost: x\n: y\n\n", 400),
            ("GET / HTTP/1.1\nHost: x\nA B: y\n\n", 400),
            ("GET / HTTP/1.1\nHost: x\nno colon\n\n", 400),
            ("GET / HTTP/1.1\nHost: x\n folded\n\n", 400),
            ("GET / HTTP/1.1\n Host: x\n\n", 400),
            ("GET / HTTP/1.1\nHost: x\nX: a\x00b\n\n", 400),
            ("GET / HTTP/1.1\nHost: x\nX: a\rb\n\n", 400),
            ("GET / HTTP/1.1\nHost: x\nX: a\x7fb\n\n", 400),
            ("GET / HTTP/1.1\nHost: x\nExpect: more\n\n", 417),
            (&format!("GET /{long} HTTP/1.1\nHost: x\n\n"), 414),
            (&format!("GET / HTTP/1.1\nHost: x\nX: {long}\n\n"), 431),
            (&format!("GET / HTTP/1.1\nHost: x\n{many}\n"), 431),
            (&format!("GET / HTTP/1.1\nHost: x\nConnection: {}\n\n", "a,".repeat(14_000)), 400),
            ("\n\n\n\n\n\nGET / HTTP/1.1\nHost: x\n\n", 400),
        ] {
            let shown: String = text.chars().take(60).collect();
            assert_eq!(read(text).map(|_| ()), Err(status), "{shown:?}");
        }
        assert_eq!(read_bytes(b"GET / HTTP/1.1\nHost: x\n\n").map(|_| ()), Err(400));
        assert_eq!(read_bytes(b"\x16\x03\x01\x02\x00\x01").map(|_| ()), Err(400));
    }

    fn read_answer(method: Method, text: &str) -> Result<AnswerHead, Malformed> {
        let bytes = text.replace('\n', "\r\n").into_bytes();
        assert_eq!(HeadScan::default().scan(&bytes), Scanned::Whole(bytes.len()));
        let request = RequestHead { method, ..RequestHead::default() };
        let mut head = AnswerHead::default();
        answer(&bytes, &request, &mut head).map(|()| head)
    }

    #[test]
    fn an_answer_ends_as_its_head_and_its_request_say() {
        for (method, text, length, persistent) in [
            (Method::Get, "HTTP/1.1 200 OK\nContent-Length: 5\n\n", Length::Counted(5), true),
            (Method::Get, "HTTP/1.1 200\nContent-Length: 5\n\n", Length::Counted(5), true),
            (Method::Get, "HTTP/1.2 200 OK\nContent-Length: 5\n\n", Length::Counted(5), true),
            (Method::Head, "HTTP/1.1 200 OK\nContent-Length: 5\n\n", Length::None, true),
            (Method::Head, "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", Length::None, true),
            (Method::Get, "HTTP/1.1 304 Not Modified\nContent-Length: 5\n\n", Length::None, true),
            (Method::Get, "HTTP/1.1 204 No Content\n\n", Length::None, true),
            (Method::Get, "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", Length::Chunked, true),
            (Method::Get, "HTTP/1.1 200 OK\n\n", Length::UntilClose, false),
            (Method::Get, "HTTP/1.0 200 OK\nContent-Length: 5\n\n", Length::Counted(5), false),
            (Method::Get, "HTTP/1.1 200 OK\nContent-Length: 5\nConnection: close\n\n", Length::Counted(5), false),
        ] {
            let head = read_answer(method, text).unwrap_or_else(|fault| panic!("{text:?}: {fault}"));
            assert_eq!((head.length, head.persistent), (length, persistent), "{text:?}");
        }
    }

    #[test]
    fn a_length_is_said_of_a_body_that_another_request_would_get_and_never_of_none() {
        for (method, text, said) in [
            (Method::Head, "HTTP/1.1 200 OK\nContent-Length: 5\n\n", Some(5)),
            (Method::Get, "HTTP/1.1 304 Not Modified\nContent-Length: 5\n\n", Some(5)),
            (Method::Get, "HTTP/1.1 204 No Content\nContent-Length: 5\n\n", None),
            (Method::Head, "HTTP/1.1 204 No Content\nContent-Length: 5\n\n", None),
            (Method::Head, "HTTP/1.1 103 Early Hints\nContent-Length: 5\n\n", None),
        ] {
            assert_eq!(read_answer(method, text).unwrap().length_said, said, "{text:?}");
        }
    }

    #[test]
    fn an_answer_that_can_be_read_in_two_ways_is_refused() {
        for text in [
            "HTTP/1.1 200 OK\nContent-Length: 5\nTransfer-Encoding: chunked\n\n",
            "HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 5\n\n",
            "HTTP/1.1 200 OK\nContent-Length: 5, 5\n\n",
            "HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked\n\n",
            "HTTP/1.0 200 OK\nTransfer-Encoding: chunked\n\n",
            "HTTP/1.1 200 OK\nX: a\n folded\n\n",
            "HTTP/1.1 200 OK\nX : a\n\n",
            "HTTP/1.1 99 Low\n\n",
            "HTTP/1.1 1000 High\n\n",
            "HTTP/1.1 600 High\n\n",
            "HTTP/2.0 200 OK\n\n",
            "HTP/1.1 200 OK\n\n",
        ] {
            assert!(read_answer(Method::Get, text).is_err(), "{text:?}");
        }
    }
}
