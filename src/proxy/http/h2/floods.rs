//! Frames that cost a peer work and say nothing: how many of them one connection may send.
//!
//! The codec bounds what it remembers, and so its memory, but not how often it is asked. Here the headers of frames are counted
//! as they come by. Floods of DATA, CONTINUATION and of streams that are reset before anybody took them are the codec's to see.
//! Pure: the clock is an argument, and is asked for only by those who send such frames at all.

use std::time::Instant;

use crate::model::limits::{H2_IDLE_FRAMES_MAX, H2_IDLE_FRAMES_PER_S};

/// Bytes of a frame's header (RFC 9113 section 4.1).
const HEADER_BYTES: usize = 9;
/// Bytes of the preface that stands before a client's first frame (RFC 9113 section 3.4).
const PREFACE_BYTES: usize = 24;

const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
/// CONTINUATION; what is larger is unknown, and passed over (RFC 9113 section 5.5).
const LAST_KNOWN: u8 = 9;

/// Counts frames of a client that ask for nothing.
#[derive(Debug)]
pub(super) struct FrameCount {
    /// Bytes until the next header: of the preface, or of a payload.
    skip: usize,
    header: [u8; HEADER_BYTES],
    header_filled: usize,
    /// What may still be sent, and since when no more was added to it.
    allowance: u32,
    refilled: Option<Instant>,
}

impl FrameCount {
    /// For a connection whose next byte is the first of the preface.
    pub(super) fn new() -> Self {
        Self {
            skip: PREFACE_BYTES,
            header: [0; HEADER_BYTES],
            header_filled: 0,
            allowance: H2_IDLE_FRAMES_MAX,
            refilled: None,
        }
    }

    /// Looks at the next bytes that came. False once the client sends more such frames than it may.
    pub(super) fn take(&mut self, mut bytes: &[u8], now: impl Fn() -> Instant) -> bool {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return true;
            }
            let count = (HEADER_BYTES - self.header_filled).min(bytes.len());
            let (of_header, rest) = bytes.split_at(count);
            self.header[self.header_filled..self.header_filled + count].copy_from_slice(of_header);
            self.header_filled += count;
            bytes = rest;
            if self.header_filled == HEADER_BYTES {
                self.header_filled = 0;
                let [high, middle, low, kind, ..] = self.header;
                self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                let is_idle = matches!(kind, PRIORITY | RST_STREAM | SETTINGS | PING) || kind > LAST_KNOWN;
                if is_idle && !self.count(now()) {
                    return false;
                }
            }
        }
    }

    fn count(&mut self, now: Instant) -> bool {
        let since = *self.refilled.get_or_insert(now);
        let earned = now.saturating_duration_since(since).as_secs().saturating_mul(H2_IDLE_FRAMES_PER_S.into());
        if earned > 0 {
            self.refilled = Some(now);
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            self.allowance = self.allowance.saturating_add(earned).min(H2_IDLE_FRAMES_MAX);
        }
        match self.allowance.checked_sub(1) {
            Some(left) => {
                self.allowance = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::host;

    fn frame(kind: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, 0, 0, 0, 0, 0];
        frame.resize(HEADER_BYTES + usize::from(length), 6);
        frame
    }

    fn greeted() -> FrameCount {
        let mut count = FrameCount::new();
        assert!(count.take(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", host::now));
        count
    }

    #[test]
    fn pings_settings_resets_and_unknown_frames_are_bounded_and_what_carries_a_request_is_not() {
        let now = host::now();
        for (kind, is_idle) in [
            (0, false),
            (1, false),
            (2, true),
            (3, true),
            (4, true),
            (6, true),
            (7, false),
            (8, false),
            (9, false),
            (10, true),
        ] {
            let mut count = greeted();
            let taken = (0..H2_IDLE_FRAMES_MAX + 1).filter(|_| count.take(&frame(kind, 8), || now)).count();
            assert_eq!(
                u32::try_from(taken).unwrap(),
                if is_idle { H2_IDLE_FRAMES_MAX } else { H2_IDLE_FRAMES_MAX + 1 },
                "{kind}"
            );
        }
    }

    #[test]
    fn who_sends_few_of_them_may_for_ever() {
        let (start, mut count) = (host::now(), greeted());
        for second in 0..1_000 {
            let now = start + Duration::from_secs(second);
            assert!((0..H2_IDLE_FRAMES_PER_S).all(|_| count.take(&frame(PING, 8), || now)), "{second}");
        }
    }

    proptest! {
        #[test]
        fn frames_are_found_however_their_bytes_arrive(
            frames in prop::collection::vec((0_u8..12, any::<u8>()), 0..40),
            widths in prop::collection::vec(1_usize..50, 1..20),
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|&(kind, length)| frame(kind, length)).collect();
            let idle = frames.iter().filter(|(kind, _)| matches!(kind, 2 | 3 | 4 | 6 | 10 | 11)).count();
            let now = host::now();
            let mut count = greeted();
            let mut rest = &bytes[..];
            for width in widths.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*width).min(rest.len()));
                prop_assert!(count.take(piece, || now));
                rest = after;
            }
            prop_assert_eq!(count.allowance as usize, H2_IDLE_FRAMES_MAX as usize - idle);
        }
    }
}
