//! Moves bytes one way, from one connection to another, as fast as the slower of them: nothing is read while what was
//! read before has not been written. Bodies, upgraded connections and TCP relays all go through it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};

use super::buffer::{self, Size, Stock};
use super::http::compress::Codec;
use super::http::h1::body::{BodyFault, Decoder, Encoder, Step};
use super::stream::Leg;

/// Pieces up to this are copied behind what is to be written anyway; larger ones are written from where they were read.
const COPY_BYTES_MAX: usize = 2 * 1024;
/// Once so much is to be written, it is.
const OUT_BYTES_MAX: usize = 16 * 1024;
/// After so many reads in a row that filled the buffer, with a sink that kept up, a larger one is used.
const BULK_READS: u8 = 2;

/// One direction of a relay.
#[derive(Debug)]
pub(crate) struct Pump {
    decoder: Decoder,
    encoder: Encoder,
    /// To be written first: heads, framing, small pieces.
    out: Vec<u8>,
    out_written: usize,
    /// To be written after `out`: so many bytes at the front of the source's buffer.
    direct: usize,
    /// A copy of the body so far, so that it can be sent again; `None` once it is too long or not wanted.
    kept: Option<Vec<u8>>,
    state: State,
    /// Whether a trailer section ends here.
    drops_trailers: bool,
    /// Bytes of data that were taken from the source.
    bytes_moved: u64,
    /// Whether bytes of a body, or of its framing, were used up.
    has_read: bool,
    /// Bytes of any kind that were written.
    bytes_written: u64,
    /// Reads in a row that filled the buffer and whose bytes the sink took at once.
    full_reads: u8,
    /// What the pump last had to wait for.
    waits_for: Side,
    /// Compresses what goes through.
    codec: Option<Box<Codec>>,
    /// What came out of it, before it is framed.
    packed: Vec<u8>,
    /// Bytes that came out of it.
    bytes_packed: Option<u64>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Moving,
    /// Everything was taken in, and not everything written.
    Flushing,
    Done,
}

/// A side of the relay.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    Source,
    Sink,
}

/// Why a pump stopped before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PumpError {
    /// Reading failed.
    #[error("reading: {0}")]
    Read(io::Error),
    /// What was read is no body.
    #[error(transparent)]
    Body(#[from] BodyFault),
    /// Writing failed.
    #[error("writing: {0}")]
    Write(io::Error),
    /// It could not be compressed.
    #[error("compressing: {0}")]
    Pack(io::Error),
}

impl Pump {
    /// A pump that first writes what `begin` put into its buffer.
    pub(crate) fn new(decoder: Decoder, encoder: Encoder) -> Self {
        Self {
            decoder,
            encoder,
            out: Vec::new(),
            out_written: 0,
            direct: 0,
            kept: None,
            state: State::Moving,
            drops_trailers: false,
            bytes_moved: 0,
            has_read: false,
            bytes_written: 0,
            full_reads: 0,
            waits_for: Side::Source,
            codec: None,
            packed: Vec::new(),
            bytes_packed: None,
        }
    }

    /// Compresses the body, of which nothing was moved yet.
    pub(crate) fn pack(&mut self, codec: Codec) {
        self.codec = Some(Box::new(codec));
        self.bytes_packed = Some(0);
    }

    /// Has a trailer section end here: a field of it could take the place of one that was settled at the head (RFC 9110 section
    /// 6.5.1 lets it be dropped).
    pub(crate) fn drop_trailers(&mut self) {
        self.drops_trailers = true;
    }

    /// A pump of everything up to the end.
    pub(crate) fn raw() -> Self {
        Self::new(Decoder::UntilClose, Encoder::Plain)
    }

    /// Begins anew with the memory it has: `head` is written first.
    pub(crate) fn restart(&mut self, decoder: Decoder, encoder: Encoder, head: impl FnOnce(&mut Vec<u8>)) {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        head(&mut out);
        *self = Self { out, ..Self::new(decoder, encoder) };
    }

    /// Keeps a copy of the body from here on, up to the bound that [`Pump::poll`] is given.
    pub(crate) fn keep_body(&mut self) {
        self.kept = Some(Vec::new());
    }

    /// As [`Pump::keep_body`], for a body that was begun before: `kept` was taken of it, which can be nothing but framing.
    pub(crate) fn keep_body_after(&mut self, kept: Vec<u8>) {
        self.bytes_moved = kept.len() as u64;
        self.has_read = true;
        self.kept = Some(kept);
    }

    /// Forgets the exchange that has ended, and gives back memory that only a large one needed.
    pub(crate) fn rest(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        buffer::rest(&mut out);
        *self = Self { out, ..Self::new(Decoder::Ended, Encoder::Plain) };
    }

    /// Whether all of the body so far was kept.
    pub(crate) fn has_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// The kept body.
    pub(crate) fn take_kept(&mut self) -> Option<Vec<u8>> {
        self.kept.take()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether nothing of the body was looked at yet.
    pub(crate) fn is_unread(&self) -> bool {
        !self.has_read
    }

    pub(crate) fn bytes_moved(&self) -> u64 {
        self.bytes_moved
    }

    /// Bytes of data that went on, compressed or as they came.
    pub(crate) fn bytes_passed(&self) -> u64 {
        self.bytes_packed.unwrap_or(self.bytes_moved)
    }

    /// Bytes of any kind that were written.
    pub(crate) fn bytes_written(&self) -> u64 {
        self.bytes_written
    }

    /// Grows whenever anything moves.
    pub(crate) fn progress(&self) -> u64 {
        self.bytes_moved + self.bytes_written
    }

    pub(crate) fn waits_for(&self) -> Side {
        self.waits_for
    }

    /// Gives up in the middle and says what is left of the body. What was taken in of it leaves the source's buffer, so that
    /// nobody can take it for the beginning of something else.
    pub(crate) fn abandon<A>(&mut self, from: &mut Leg<A>) -> Decoder {
        from.input.consume(std::mem::take(&mut self.direct));
        self.state = State::Done;
        std::mem::replace(&mut self.decoder, Decoder::Ended)
    }

    /// Moves what can be moved now. Ready once the body has ended and everything was written.
    pub(crate) fn poll<A, B>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Leg<A>,
        to: &mut B,
        stock: &Stock,
        replay_bytes_max: usize,
    ) -> Poll<Result<(), PumpError>>
    where
        A: AsyncRead + Unpin,
        B: AsyncWrite + Unpin,
    {
        loop {
            let mut wants_input = false;
            while self.state == State::Moving && self.direct == 0 && self.out.len() < OUT_BYTES_MAX {
                let mut trailers = Vec::new();
                match self.decoder.step(from.input.filled(), &mut trailers)? {
                    Step::Data { skip, len } => {
                        from.input.consume(skip);
                        self.has_read = true;
                        self.take_data(from, len, replay_bytes_max).map_err(PumpError::Pack)?;
                    }
                    Step::More { skip } => {
                        from.input.consume(skip);
                        self.has_read |= skip > 0;
                        wants_input = true;
                        break;
                    }
                    Step::End { skip } => {
                        from.input.consume(skip);
                        self.has_read |= skip > 0;
                        if self.drops_trailers {
                            trailers.clear();
                        }
                        if !trailers.is_empty() {
                            // A body that is sent again has none.
                            self.kept = None;
                        }
                        self.pack_with(Codec::finish).map_err(PumpError::Pack)?;
                        self.codec = None;
                        self.encoder.end(&trailers, &mut self.out);
                        self.state = State::Flushing;
                    }
                }
            }
            if self.out_written < self.out.len() || self.direct > 0 {
                self.waits_for = Side::Sink;
                match self.poll_write(cx, from, to) {
                    Poll::Ready(written) => written.map_err(PumpError::Write)?,
                    Poll::Pending => {
                        self.full_reads = 0;
                        return Poll::Pending;
                    }
                }
                continue;
            }
            match self.state {
                State::Done => return Poll::Ready(Ok(())),
                State::Flushing => {
                    self.waits_for = Side::Sink;
                    ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(PumpError::Write)?;
                    self.state = State::Done;
                }
                State::Moving if wants_input => {
                    // Nothing that was written may stay behind in a TLS layer while the source is silent.
                    if let Poll::Ready(Err(error)) = Pin::new(&mut *to).poll_flush(cx) {
                        return Poll::Ready(Err(PumpError::Write(error)));
                    }
                    self.waits_for = Side::Source;
                    if self.full_reads >= BULK_READS && self.codec.is_none() {
                        from.input.resize(Size::Bulk, stock);
                    } else if self.bytes_moved >= COPY_BYTES_MAX as u64 {
                        from.input.resize(Size::Large, stock);
                    }
                    let Poll::Ready(filled) = from.poll_fill(cx, stock) else {
                        // What the source said so far is of use while it is silent.
                        if self.codec.as_ref().is_some_and(|codec| codec.holds()) {
                            self.pack_with(Codec::flush).map_err(PumpError::Pack)?;
                            continue;
                        }
                        return Poll::Pending;
                    };
                    if filled.map_err(PumpError::Read)? == 0 {
                        self.decoder.end_of_input()?;
                    }
                    self.full_reads = if from.input.is_full() { self.full_reads.saturating_add(1) } else { 0 };
                }
                State::Moving => {}
            }
        }
    }

    /// Takes `len` bytes of data that are at the front of the source's buffer.
    fn take_data<A>(&mut self, from: &mut Leg<A>, len: usize, replay_bytes_max: usize) -> io::Result<()> {
        let data = &from.input.filled()[..len];
        self.bytes_moved += len as u64;
        if let Some(kept) = &mut self.kept {
            if kept.len() + len <= replay_bytes_max {
                kept.extend_from_slice(data);
            } else {
                self.kept = None;
            }
        }
        if self.encoder == Encoder::Discard {
            from.input.consume(len);
            return Ok(());
        }
        if self.codec.is_some() {
            let packed = self.pack_with(|codec, out| codec.push(&from.input.filled()[..len], out));
            from.input.consume(len);
            return packed;
        }
        self.encoder.before(len, &mut self.out);
        if len <= COPY_BYTES_MAX {
            self.out.extend_from_slice(data);
            from.input.consume(len);
            self.encoder.after(&mut self.out);
        } else {
            self.direct = len;
        }
        Ok(())
    }

    /// Has the codec do something, and frames what comes out of it.
    fn pack_with(&mut self, work: impl FnOnce(&mut Codec, &mut Vec<u8>) -> io::Result<()>) -> io::Result<()> {
        let Some(codec) = &mut self.codec else { return Ok(()) };
        work(codec, &mut self.packed)?;
        if !self.packed.is_empty() {
            *self.bytes_packed.get_or_insert(0) += self.packed.len() as u64;
            self.encoder.before(self.packed.len(), &mut self.out);
            self.out.append(&mut self.packed);
            self.encoder.after(&mut self.out);
        }
        Ok(())
    }

    fn poll_write<A, B>(&mut self, cx: &mut Context<'_>, from: &mut Leg<A>, to: &mut B) -> Poll<io::Result<()>>
    where
        B: AsyncWrite + Unpin,
    {
        let first = &self.out[self.out_written..];
        let written = if self.direct == 0 {
            ready!(Pin::new(to).poll_write(cx, first))?
        } else {
            let second = &from.input.filled()[..self.direct];
            if first.is_empty() {
                ready!(Pin::new(to).poll_write(cx, second))?
            } else {
                ready!(Pin::new(to).poll_write_vectored(cx, &[IoSlice::new(first), IoSlice::new(second)]))?
            }
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.bytes_written += written as u64;
        let of_first = written.min(first.len());
        self.out_written += of_first;
        if self.out_written == self.out.len() {
            self.out.clear();
            self.out_written = 0;
        }
        let of_second = written - of_first;
        if of_second > 0 {
            from.input.consume(of_second);
            self.direct -= of_second;
            if self.direct == 0 {
                self.encoder.after(&mut self.out);
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::proxy::http::picture::Length;

    /// Pumps `input`, which arrives over a connection that holds `width` bytes at a time, and returns what comes out.
    async fn pump(mut pump: Pump, input: Vec<u8>, width: usize) -> (Result<(), PumpError>, Vec<u8>) {
        let (mut writer, source) = duplex(width);
        let (mut sink, mut reader) = duplex(width);
        let write = async move {
            // A pump that refuses what it reads takes no more of it.
            let _ = writer.write_all(&input).await;
        };
        let mut out = Vec::new();
        let read = async { reader.read_to_end(&mut out).await.unwrap() };
        let work = async {
            let stock = Stock::default();
            let mut from = Leg::new(source);
            let result = poll_fn(|cx| pump.poll(cx, &mut from, &mut sink, &stock, 0)).await;
            drop((from, sink));
            result
        };
        let ((), result, _) = tokio::join!(write, work, read);
        (result, out)
    }

    fn chunked(data: &[u8], size: usize) -> Vec<u8> {
        let mut input = Vec::new();
        for chunk in data.chunks(size) {
            input.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            input.extend_from_slice(chunk);
            input.extend_from_slice(b"\r\n");
        }
        input.extend_from_slice(b"0\r\nX-Sum: 1\r\n\r\n");
        input
    }

    fn data() -> Vec<u8> {
        (0..200_000_u32).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect()
    }

    #[tokio::test]
    async fn a_body_comes_out_as_it_went_in_however_narrow_the_way() {
        for (size, width) in [(1, 4_096), (1_000, 7), (3_000, 64), (70_000, 1_000), (200_000, 1 << 20)] {
            let plain = Pump::new(Decoder::new(Length::Chunked), Encoder::Plain);
            let (result, out) = pump(plain, chunked(&data(), size), width).await;
            result.unwrap();
            assert!(out == data(), "chunks of {size} through {width}");

            let again = Pump::new(Decoder::new(Length::Chunked), Encoder::Chunked);
            let (_, out) = pump(again, chunked(&data(), size), width).await;
            let (result, out) = pump(Pump::new(Decoder::new(Length::Chunked), Encoder::Plain), out, width).await;
            result.unwrap();
            assert!(out == data(), "chunks of {size} through {width}, twice");
        }
    }

    #[tokio::test]
    async fn a_body_that_ends_early_or_is_none_is_not_taken_for_whole() {
        let cut = Pump::new(Decoder::new(Length::Counted(10)), Encoder::Plain);
        assert!(matches!(pump(cut, b"short".to_vec(), 64).await.0, Err(PumpError::Body(BodyFault::Cut))));
        let wrong = Pump::new(Decoder::new(Length::Chunked), Encoder::Plain);
        assert!(matches!(pump(wrong, b"5\r\nhello!".to_vec(), 64).await.0, Err(PumpError::Body(BodyFault::Chunk))));
    }

    /// Gives up on a body after each of its bytes, goes on with it elsewhere, and returns what came out there.
    fn pump_in_two_tries(input: &[u8], first: usize) -> Vec<u8> {
        const KEPT_BYTES_MAX: usize = 1 << 20;
        let stock = Stock::default();
        let mut cx = Context::from_waker(Waker::noop());
        let (mut writer, source) = duplex(1 << 20);
        let mut from = Leg::new(source);
        let mut given_up = Pump::new(Decoder::new(Length::Chunked), Encoder::Chunked);
        given_up.keep_body();
        let (mut sink, _reader) = duplex(16);
        assert!(Pin::new(&mut writer).poll_write(&mut cx, &input[..first]).is_ready());
        if let Poll::Ready(result) = given_up.poll(&mut cx, &mut from, &mut sink, &stock, KEPT_BYTES_MAX) {
            result.unwrap();
        }
        let kept = given_up.take_kept().unwrap();
        let decoder = given_up.abandon(&mut from);

        assert!(Pin::new(&mut writer).poll_write(&mut cx, &input[first..]).is_ready());
        let mut again = Pump::new(decoder, Encoder::Plain);
        let mut out = kept.clone();
        again.keep_body_after(kept);
        assert!(!again.is_unread(), "it was begun before, whatever was kept of it");
        let (mut sink, mut reader) = duplex(1 << 20);
        assert!(again.poll(&mut cx, &mut from, &mut sink, &stock, KEPT_BYTES_MAX).is_ready());
        let mut buf = vec![0; 1 << 20];
        let mut read = tokio::io::ReadBuf::new(&mut buf);
        let _ = Pin::new(&mut reader).poll_read(&mut cx, &mut read);
        out.extend_from_slice(read.filled());
        // What stands behind the body is the next request, also where it was not read yet.
        let _ = from.poll_fill(&mut cx, &stock);
        assert_eq!(from.input.filled(), b"NEXT", "after {first} bytes");
        out
    }

    #[test]
    fn a_body_in_chunks_goes_on_at_another_node_where_it_stood() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _inside = runtime.enter();
        for (body, data) in
            [(&b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\nNEXT"[..], &b"hello world"[..]), (b"0\r\n\r\nNEXT", b"")]
        {
            for first in 1..body.len() {
                assert_eq!(pump_in_two_tries(body, first), data, "{first} bytes at the first node");
            }
        }
    }

    #[test]
    fn an_abandoned_body_leaves_nothing_of_itself_in_front_of_what_follows() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _inside = runtime.enter();
        let stock = Stock::default();
        let (mut writer, source): (DuplexStream, DuplexStream) = duplex(1 << 20);
        let (mut sink, _reader) = duplex(16);
        let mut from = Leg::new(source);
        let mut cx = Context::from_waker(Waker::noop());
        let input = [vec![b'x'; 5_000], b"GET /next".to_vec()].concat();
        assert!(Pin::new(&mut writer).poll_write(&mut cx, &input).is_ready());

        let mut pump = Pump::new(Decoder::new(Length::Counted(5_000)), Encoder::Plain);
        assert!(pump.poll(&mut cx, &mut from, &mut sink, &stock, 0).is_pending(), "the sink takes 16 bytes");
        let left = pump.abandon(&mut from);
        assert_eq!((left.remaining(), from.input.filled()), (Some(0), &b"GET /next"[..]));
    }
}
