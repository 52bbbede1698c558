//! Files of this peer's own: a route names a folder, the settings say where it is. Ranges, conditions and compressed neighbours
//! (`app.js.br`) are tower-http's; what may be opened is this file's business.

use std::fs::{File, Metadata};
use std::future::{Future, poll_fn};
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes};
use hyper::http;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tokio::task::spawn_blocking;
use tower_http::services::ServeDir;
use tower_http::services::fs::{Backend, File as OpenFile, ServeFileSystemResponseBody as FileBody};

use super::answer;
use super::exchange::{Next, refuse};
use super::forward::{self, AnswerPlan};
use super::h1::body::Decoder;
use super::picture::{Length, Method};
use super::reply::{Own, Reply};
use super::session::Session;
use crate::host;
use crate::model::{Files, FolderName};
use crate::proxy::access_log::End;
use crate::proxy::counts::bump;
use crate::proxy::presence::Presence;
use crate::proxy::pump::PumpError;
use crate::proxy::stream::Leg;
use crate::route::path;

/// Names that begin with a dot are nobody's to see, except this folder at the root (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// A folder whose files routes may serve.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Folder {
    /// As routes name it.
    pub name: FolderName,
    /// Where it is.
    pub root: PathBuf,
}

/// Answers a request with a file.
pub(super) async fn serve(session: &mut Session<'_>, files: &Files) -> Next {
    let Some(folder) = session.settings.folders.iter().find(|folder| folder.name == files.folder) else {
        if let Some(times) = session.worker.folders_missing.count(host::now()) {
            tracing::warn!(folder = %files.folder, times, "a route serves files of a folder that the settings of this peer do not name");
        }
        return refuse(session, &Own::Reply(Reply::NO_FILE)).await;
    };
    if !can_be_had_by(&session.request.method) {
        return refuse(session, &Own::Reply(Reply::NOT_OF_FILES)).await;
    }
    let target = session.routed.target(&session.request).to_vec();
    let asks_for_part =
        session.request.method == Method::Get && session.request.fields.value_of(b"range").is_some_and(is_one_range);
    let mut found = find(session, folder, &target, asks_for_part).await;
    if let Some(answer) = &found
        && !(still_holds(session, answer) && is_part(session, answer))
    {
        found = find(session, folder, &target, false).await;
    }
    let mut is_fallback = false;
    if found.as_ref().is_none_or(|answer| answer.status() == http::StatusCode::NOT_FOUND)
        && let Some(fallback) = &files.fallback
    {
        is_fallback = true;
        // Whoever asks for a part has the rest of another file.
        found = find(session, folder, fallback.as_bytes(), false).await;
    }
    let Some(answer) = found else { return refuse(session, &Own::Reply(Reply::NO_FILE)).await };
    match answer.status().as_u16() {
        404 => refuse(session, &Own::Reply(Reply::NO_FILE)).await,
        500 => refuse(session, &Own::Reply(Reply::FILE_BROKEN)).await,
        _ => send(session, files, answer, is_fallback).await,
    }
}

/// Whether a file can be answered with.
pub(crate) fn can_be_had_by(method: &Method) -> bool {
    matches!(method, Method::Get | Method::Head)
}

/// What tower-http says of this target. `None`: it can be no file.
async fn find(
    session: &Session<'_>,
    folder: &Folder,
    target: &[u8],
    with_range: bool,
) -> Option<http::Response<FileBody>> {
    let method = if session.request.method == Method::Head { http::Method::HEAD } else { http::Method::GET };
    let mut request = http::Request::builder().method(method).uri(target).body(()).ok()?;
    for field in session.request.fields.iter().filter(|field| is_of_files(field.name, with_range)) {
        if let (Ok(name), Ok(value)) =
            (http::HeaderName::from_bytes(field.name), http::HeaderValue::from_bytes(field.value))
        {
            request.headers_mut().append(name, value);
        }
    }
    let backend = Beneath { root: Arc::from(folder.root.as_path()) };
    let mut folder =
        ServeDir::with_backend(&folder.root, backend).precompressed_br().precompressed_gzip().precompressed_zstd();
    match folder.try_call(request).await {
        Ok(answer) => Some(answer),
        Err(error) => {
            tracing::debug!(%error, "a file cannot be served");
            None
        }
    }
}

/// Whether a `Range` asks for one part. Others may be passed over, and what is no range must be (RFC 9110 section 14.2): the answer
/// then is the whole file.
fn is_one_range(value: &[u8]) -> bool {
    let number = |text: &[u8]| {
        let text = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
        text.parse::<u64>().ok()
    };
    let Some((unit, range)) = value.split_at_checked(6).filter(|(unit, _)| unit.eq_ignore_ascii_case(b"bytes=")) else {
        return false;
    };
    debug_assert_eq!(unit.len(), 6);
    let range = range.trim_ascii();
    let Some(dash) = memchr::memchr(b'-', range) else { return false };
    match (&range[..dash], &range[dash + 1..]) {
        (b"", last) => number(last).is_some(),
        (first, b"") => number(first).is_some(),
        (first, last) => number(first).zip(number(last)).is_some_and(|(first, last)| first <= last),
    }
}

fn is_of_files(name: &[u8], with_range: bool) -> bool {
    const NAMES: [&[u8]; 5] =
        [b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"accept-encoding"];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known)) || (with_range && name.eq_ignore_ascii_case(b"range"))
}

/// Whether a part may be sent: `If-Range` names the very file that the client has the rest of (RFC 9110 section 13.1.5).
fn still_holds(session: &Session<'_>, answer: &http::Response<FileBody>) -> bool {
    let Some(wanted) = session.request.fields.value_of(b"if-range") else { return true };
    if answer.status() != http::StatusCode::PARTIAL_CONTENT
        && answer.status() != http::StatusCode::RANGE_NOT_SATISFIABLE
    {
        return true;
    }
    let is = |name: http::HeaderName| answer.headers().get(name).is_some_and(|value| value.as_bytes() == wanted);
    !wanted.starts_with(b"W/") && (is(http::header::ETAG) || is(http::header::LAST_MODIFIED))
}

/// Whether the answer is what was asked for of a file as long as this one: of what is shorter than its end that is asked for, it is all
/// of it (RFC 9110 section 14.1.2), and an empty one has no parts.
fn is_part(session: &Session<'_>, answer: &http::Response<FileBody>) -> bool {
    let is_empty = || answer.headers().get(http::header::CONTENT_LENGTH).is_some_and(|length| length == "0");
    let is_end = || {
        let end =
            session.request.fields.value_of(b"range").and_then(|range| range.get(6..)?.trim_ascii().strip_prefix(b"-"));
        end.is_some_and(|end| end.iter().any(|&digit| digit != b'0'))
    };
    match answer.status() {
        http::StatusCode::PARTIAL_CONTENT => !is_empty(),
        http::StatusCode::RANGE_NOT_SATISFIABLE => !is_end(),
        _ => true,
    }
}

/// Sends what was found, as the answer of a node would be.
async fn send(session: &mut Session<'_>, files: &Files, found: http::Response<FileBody>, is_fallback: bool) -> Next {
    let has_body = session.request.length != Length::None;
    let may_persist = session.request.persistent && session.keeps_connection() && !has_body;
    let (head, body) = found.into_parts();
    take_head(session, files, &head, is_fallback);
    let decoder = Decoder::new(session.answer.length);
    let codec = answer::dress(session);
    let plan = AnswerPlan::of(&session.request, &session.answer, may_persist);
    let now = host::now();
    {
        let Session { download, request, answer, worker, routed, bound, .. } = &mut *session;
        let edits = routed.of_answer(bound, request);
        download.restart(decoder, plan.encoder, |out| {
            worker.with_date(now, |date| forward::answer_head(request, answer, plan, (date, edits.as_ref()), out));
        });
        codec.into_iter().for_each(|codec| download.pack(codec));
    }
    bump(&session.bound.counts.answers_own);
    let status = session.answer.status;
    session.note(|note| note.answered(status));
    let sent = pump(session, BodyReader::of(body)).await;
    session.bound.counts.bytes_sent.fetch_add(session.download.bytes_passed(), std::sync::atomic::Ordering::Relaxed);
    let end = match sent {
        Sent::Whole if plan.persistent => return Next::Request,
        Sent::Whole => return Next::Close,
        Sent::Cut => End::NodeCut,
        Sent::Idle => {
            bump(&session.bound.failures.timeouts_stream_idle);
            End::Idle
        }
        Sent::ClientGone => {
            bump(&session.bound.failures.clients_gone);
            End::ClientGone
        }
    };
    session.note(|note| note.end = end);
    Next::Abort
}

/// The same target as a folder's. In plain form it begins with one slash, so that nobody takes its first segment for a host.
fn with_slash(target: &[u8]) -> Vec<u8> {
    let (path, query) = target.split_at(path::of(target).len());
    let mut out = Vec::with_capacity(target.len() + 1);
    path::encode(&path::plain(path), &mut out);
    if out.last() != Some(&b'/') {
        out.push(b'/');
    }
    out.extend_from_slice(query);
    out
}

/// Makes the head that was found the answer at hand.
fn take_head(session: &mut Session<'_>, files: &Files, head: &http::response::Parts, is_fallback: bool) {
    let answer = &mut session.answer;
    answer.fields.clear();
    answer.status = head.status.as_u16();
    answer.reason.clear();
    answer.reason.extend_from_slice(head.status.canonical_reason().unwrap_or_default().as_bytes());
    answer.persistent = true;
    let mut length = None;
    for (name, value) in &head.headers {
        match *name {
            http::header::CONTENT_LENGTH => {
                length = value.to_str().ok().and_then(|value| value.parse().ok());
                answer.fields.push(b"Content-Length", value.as_bytes());
            }
            // It was made of the path that the folder has; the client knows the one that it asked for.
            http::header::LOCATION => {
                answer.fields.push(b"Location", &with_slash(&session.request.target));
            }
            http::header::CONTENT_TYPE
                if value.as_bytes().starts_with(b"text/") && !value.as_bytes().contains(&b';') =>
            {
                answer.fields.push(b"Content-Type", &[value.as_bytes(), b"; charset=utf-8"].concat());
            }
            _ => answer.fields.push(canonical(name.as_str()).as_bytes(), value.as_bytes()),
        }
    }
    if matches!(answer.status, 200 | 206 | 304)
        && let Some(value) = cache_control(files, is_fallback)
    {
        answer.fields.push(b"Cache-Control", value.as_bytes());
    }
    let has_body = session.request.method != Method::Head && !matches!(answer.status, 204 | 304);
    if length.is_none() && has_body {
        answer.fields.push(b"Content-Length", b"0");
    }
    let said = length.or((has_body).then_some(0));
    answer.length = if has_body { Length::Counted(length.unwrap_or(0)) } else { Length::None };
    answer.length_said = said;
}

/// The page of an application is asked for anew each time: it names what is kept for long.
fn cache_control(files: &Files, is_fallback: bool) -> Option<String> {
    let cache = files.cache?;
    if is_fallback {
        return Some("no-cache".to_owned());
    }
    let immutable = if files.immutable { ", immutable" } else { "" };
    Some(format!("public, max-age={}{immutable}", cache.as_secs()))
}

/// `last-modified` as people write it.
fn canonical(name: &str) -> String {
    let mut begins = true;
    let upper = name.chars().map(|character| {
        let shown = if begins { character.to_ascii_uppercase() } else { character };
        begins = character == '-';
        shown
    });
    if name == "etag" { "ETag".to_owned() } else { upper.collect() }
}

enum Sent {
    Whole,
    /// The file could not be read on.
    Cut,
    Idle,
    ClientGone,
}

/// Writes the answer. No more of the file is read than the client takes.
async fn pump(session: &mut Session<'_>, body: BodyReader) -> Sent {
    let mut from = Leg::new(body);
    let mut progress = 0;
    let Session { download, client, worker, alarm, settings, .. } = session;
    let idle = settings.stream_idle_timeout;
    alarm.set(host::now() + idle);
    let sent = poll_fn(|cx| {
        match download.poll(cx, &mut from, &mut client.io, &worker.stock, 0) {
            Poll::Ready(Ok(())) => return Poll::Ready(Sent::Whole),
            Poll::Ready(Err(PumpError::Write(_))) => return Poll::Ready(Sent::ClientGone),
            Poll::Ready(Err(_)) => return Poll::Ready(Sent::Cut),
            Poll::Pending => {}
        }
        if matches!(client.poll_presence(cx, &worker.stock), Presence::Gone) {
            return Poll::Ready(Sent::ClientGone);
        }
        loop {
            if download.progress() != progress {
                progress = download.progress();
                alarm.set(host::now() + idle);
            }
            if alarm.poll(cx).is_pending() {
                return Poll::Pending;
            }
            if download.progress() == progress {
                return Poll::Ready(Sent::Idle);
            }
        }
    })
    .await;
    from.input.release(&worker.stock);
    sent
}

/// The body of an answer of tower-http as something to read from.
struct BodyReader {
    body: Pin<Box<FileBody>>,
    chunk: Bytes,
}

impl BodyReader {
    fn of(body: FileBody) -> Self {
        Self { body: Box::pin(body), chunk: Bytes::new() }
    }
}

impl AsyncRead for BodyReader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.chunk.is_empty() {
            match ready!(self.body.as_mut().poll_frame(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(error)),
                Some(Ok(frame)) => self.chunk = frame.into_data().unwrap_or_default(),
            }
        }
        let count = self.chunk.len().min(buf.remaining());
        let piece = self.chunk.split_to(count);
        buf.put_slice(&piece);
        Poll::Ready(Ok(()))
    }
}

/// Opens what is beneath a folder and nothing else: no link leads out of it, whoever changes it meanwhile (openat2(2)).
#[derive(Clone, Debug)]
struct Beneath {
    root: Arc<Path>,
}

impl Beneath {
    /// The file at a path that begins with the root.
    fn open_now(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let not_found = || io::Error::from(io::ErrorKind::NotFound);
        let inside = path.strip_prefix(&self.root).map_err(|_| not_found())?;
        let is_hidden = |(at, part): (usize, std::path::Component<'_>)| {
            let name = part.as_os_str();
            name.as_encoded_bytes().starts_with(b".") && !(at == 0 && name == WELL_KNOWN)
        };
        if inside.components().enumerate().any(is_hidden) {
            return Err(not_found());
        }
        let root = rustix::fs::open(&*self.root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        match openat2(&root, inside, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Ok(file) => Ok(File::from(file)),
            // It leads out, or in circles: nobody is told that there is something.
            Err(rustix::io::Errno::XDEV | rustix::io::Errno::LOOP) => Err(not_found()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Backend for Beneath {
    type File = Opened;
    type Metadata = Metadata;
    type OpenFuture = Pin<Box<dyn Future<Output = io::Result<Opened>> + Send>>;
    type MetadataFuture = Pin<Box<dyn Future<Output = io::Result<Metadata>> + Send>>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        let beneath = self.clone();
        Box::pin(async move {
            let opened = spawn_blocking(move || {
                // Without waiting for the other end of a pipe, which is no file anyway.
                let file = beneath.open_now(&path, OFlags::RDONLY | OFlags::NONBLOCK)?;
                if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
            });
            opened.await.map_err(io::Error::other)?.map(|file| Opened(tokio::fs::File::from_std(file)))
        })
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        let beneath = self.clone();
        Box::pin(async move {
            let asked = spawn_blocking(move || beneath.open_now(&path, OFlags::PATH)?.metadata());
            asked.await.map_err(io::Error::other)?
        })
    }
}

/// An open file.
#[derive(Debug)]
struct Opened(tokio::fs::File);

impl AsyncRead for Opened {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncSeek for Opened {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        Pin::new(&mut self.0).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.0).poll_complete(cx)
    }
}

impl OpenFile for Opened {
    type Metadata = Metadata;
    type MetadataFuture<'a> = Pin<Box<dyn Future<Output = io::Result<Metadata>> + Send + 'a>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        Box::pin(self.0.metadata())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_one_part_is_asked_for_and_all_others_are_passed_over() {
        for range in ["bytes=0-5", "bytes=5-", "bytes=-5", "Bytes=0-0", "bytes= 1-2 "] {
            assert!(is_one_range(range.as_bytes()), "{range}");
        }
        for range in [
            "items=0-5",
            "bytes=abc",
            "bytes=5-2",
            "bytes=0-1,3-4",
            "bytes=-",
            "bytes=",
            "0-5",
            "bytes=+1-2",
            "bytes=1-99999999999999999999",
            "",
        ] {
            assert!(!is_one_range(range.as_bytes()), "{range}");
        }
    }

    #[test]
    fn a_folder_is_told_by_a_path_that_no_browser_takes_for_a_host() {
        for (target, at) in [
            ("/docs", "/docs/"),
            ("/docs?a=//b", "/docs/?a=//b"),
            ("//evil.example/%2e%2e%2fcss", "/css/"),
            ("//css", "/css/"),
            ("/a%20b/c", "/a%20b/c/"),
        ] {
            assert_eq!(with_slash(target.as_bytes()), at.as_bytes(), "{target}");
        }
    }

    #[test]
    fn only_what_is_beneath_the_folder_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("site"), folder.path().join("secret"));
        std::fs::create_dir_all(root.join(".git")).unwrap();
        std::fs::create_dir_all(root.join(".well-known/sub/.well-known")).unwrap();
        for file in ["a", ".env", ".git/config", ".well-known/a", ".well-known/sub/.well-known/a"] {
            std::fs::write(root.join(file), "x").unwrap();
        }
        std::fs::write(&outside, "x").unwrap();
        std::os::unix::fs::symlink(&outside, root.join("out")).unwrap();
        std::os::unix::fs::symlink("/etc", root.join("etc")).unwrap();
        std::os::unix::fs::symlink("a", root.join("in")).unwrap();
        std::os::unix::fs::symlink("loop", root.join("loop")).unwrap();
        let beneath = Beneath { root: Arc::from(root.as_path()) };
        for (path, is_open) in [
            ("a", true),
            ("in", true),
            (".well-known/a", true),
            (".env", false),
            (".git/config", false),
            (".well-known/sub/.well-known/a", false),
            ("out", false),
            ("etc/passwd", false),
            ("loop", false),
            ("../secret", false),
            ("none", false),
        ] {
            let opened = beneath.open_now(&root.join(path), OFlags::RDONLY);
            assert_eq!(opened.is_ok(), is_open, "{path}: {opened:?}");
        }
        assert!(beneath.open_now(&outside, OFlags::RDONLY).is_err());
    }
}
