//! The compressors, fed piece by piece. Each holds a window of 256 KiB at most and what its level takes beside it.

use std::cell::Cell;
use std::io::{self, Write};
use std::rc::Rc;

use zstd::zstd_safe::CParameter;

use super::Algorithm;

/// The window of Brotli and Zstandard, as a power of two: what a page repeats is near, and every answer under way holds one.
const WINDOW_LOG: u32 = 18;
/// Bytes that Brotli hands on at once.
const BROTLI_BUFFER_BYTES: usize = 4 * 1024;

/// How many answers are compressed at the same time by one worker.
#[derive(Debug, Default)]
pub(crate) struct Codecs(Rc<Cell<usize>>);

/// One of them; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Place(Rc<Cell<usize>>);

impl Codecs {
    /// A place, where fewer than `max` are taken.
    pub(crate) fn take(&self, max: usize) -> Option<Place> {
        if self.0.get() >= max {
            return None;
        }
        self.0.set(self.0.get() + 1);
        Some(Place(Rc::clone(&self.0)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A compressor of one answer.
pub(crate) struct Codec {
    inner: Inner,
    /// Something was taken in of which not everything has come out.
    holds: bool,
    _place: Place,
}

enum Inner {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    /// It has ended, or could not begin.
    Ended,
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codec").field("holds", &self.holds).finish_non_exhaustive()
    }
}

impl Codec {
    /// `level`: 1 to 9.
    pub(super) fn new(algorithm: Algorithm, level: u8, place: Place) -> Self {
        let inner = match algorithm {
            Algorithm::Gzip => {
                Inner::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level.into())))
            }
            Algorithm::Brotli => {
                let writer = brotli::CompressorWriter::new(Vec::new(), BROTLI_BUFFER_BYTES, level.into(), WINDOW_LOG);
                Inner::Brotli(Box::new(writer))
            }
            Algorithm::Zstd => zstd_of(level).map_or(Inner::Ended, Inner::Zstd),
        };
        Self { inner, holds: false, _place: place }
    }

    /// Takes in a piece; what comes out by then is put behind `out`.
    pub(crate) fn push(&mut self, data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.holds = true;
        match &mut self.inner {
            Inner::Gzip(encoder) => encoder.write_all(data)?,
            Inner::Brotli(encoder) => encoder.write_all(data)?,
            Inner::Zstd(encoder) => encoder.write_all(data)?,
            Inner::Ended => return Err(io::ErrorKind::OutOfMemory.into()),
        }
        self.hand_on(out);
        Ok(())
    }

    /// Whether a reader could read more if it were flushed.
    pub(crate) fn holds(&self) -> bool {
        self.holds
    }

    /// Has everything come out that was taken in.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.holds = false;
        match &mut self.inner {
            Inner::Gzip(encoder) => encoder.flush()?,
            Inner::Brotli(encoder) => encoder.flush()?,
            Inner::Zstd(encoder) => encoder.flush()?,
            Inner::Ended => return Err(io::ErrorKind::OutOfMemory.into()),
        }
        self.hand_on(out);
        Ok(())
    }

    /// Ends it.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.holds = false;
        let rest = match std::mem::replace(&mut self.inner, Inner::Ended) {
            Inner::Gzip(encoder) => encoder.finish()?,
            Inner::Brotli(encoder) => encoder.into_inner(),
            Inner::Zstd(encoder) => encoder.finish()?,
            Inner::Ended => return Err(io::ErrorKind::OutOfMemory.into()),
        };
        out.extend_from_slice(&rest);
        Ok(())
    }

    fn hand_on(&mut self, out: &mut Vec<u8>) {
        let made = match &mut self.inner {
            Inner::Gzip(encoder) => encoder.get_mut(),
            Inner::Brotli(encoder) => encoder.get_mut(),
            Inner::Zstd(encoder) => encoder.get_mut(),
            Inner::Ended => return,
        };
        out.append(made);
    }
}

fn zstd_of(level: u8) -> io::Result<zstd::stream::write::Encoder<'static, Vec<u8>>> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level.into())?;
    encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
    Ok(encoder)
}
