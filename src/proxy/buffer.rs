//! Bytes that were read and not yet used, and a worker's stock of empty ones.
//!
//! A connection holds a buffer only while it has bytes in it or is about to read: an idle one costs no buffer.

use std::cell::RefCell;

use crate::model::limits::{BULK_BUFFER_BYTES, RELAY_BUFFER_BYTES};

/// Empty buffers of each size that a worker keeps.
const STOCK_MAX: [usize; 3] = [64, 64, 16];

/// Bytes of memory that a resting connection keeps in each of the places where it puts heads together: enough for most.
const KEPT_BYTES_MAX: usize = 2 * 1024;

/// Empties `bytes`, and gives back memory that only a large exchange needed.
pub(crate) fn rest(bytes: &mut Vec<u8>) {
    bytes.clear();
    if bytes.capacity() > KEPT_BYTES_MAX {
        *bytes = Vec::new();
    }
}

/// How large a buffer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Size {
    /// What a buffer begins with; enough for nearly every head.
    Small,
    /// For bodies, and for heads that are too large for a small one.
    Large,
    /// For bodies that come and go as fast as they can be moved: fewer system calls a byte. Never held by one that waits.
    Bulk,
}

impl Size {
    const ALL: [Self; 3] = [Self::Small, Self::Large, Self::Bulk];

    fn bytes(self) -> usize {
        match self {
            Self::Small => 8 * 1024,
            Self::Large => RELAY_BUFFER_BYTES,
            Self::Bulk => BULK_BUFFER_BYTES,
        }
    }
}

/// Bytes in the order in which they arrived: `[start..end]` of `bytes` are not yet used.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// The bytes that are not yet used.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Uses up the first `count` bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.len(), "only bytes that are there can be used");
        self.start += count;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Room for more bytes: what is there moves to the front, and a buffer that is full grows. Empty once
    /// [`RELAY_BUFFER_BYTES`] unused bytes are there.
    pub(crate) fn room(&mut self, stock: &Stock) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = stock.take(Size::Small);
        }
        if self.end == self.bytes.len() {
            if self.start > 0 {
                self.bytes.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else if self.bytes.len() < RELAY_BUFFER_BYTES {
                let mut large = stock.take(Size::Large);
                large[..self.end].copy_from_slice(&self.bytes[..self.end]);
                stock.give_back(std::mem::replace(&mut self.bytes, large));
            }
        }
        &mut self.bytes[self.end..]
    }

    /// Changes an empty buffer for one of this size.
    pub(crate) fn resize(&mut self, size: Size, stock: &Stock) {
        if self.is_empty() && self.bytes.len() != size.bytes() {
            let other = stock.take(size);
            stock.give_back(std::mem::replace(&mut self.bytes, other));
        }
    }

    /// Whether there is no room left.
    pub(crate) fn is_full(&self) -> bool {
        self.end == self.bytes.len() && self.start == 0
    }

    /// Notes that the first `count` bytes of the room were written.
    pub(crate) fn commit(&mut self, count: usize) {
        debug_assert!(self.end + count <= self.bytes.len(), "only the room can be written");
        self.end += count;
    }

    /// Gives the memory back to the worker while there is nothing in it.
    pub(crate) fn release(&mut self, stock: &Stock) {
        if self.is_empty() && !self.bytes.is_empty() {
            stock.give_back(std::mem::take(&mut self.bytes));
        }
    }
}

/// A worker's empty buffers.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    shelves: [RefCell<Vec<Vec<u8>>>; 3],
}

impl Stock {
    fn take(&self, size: Size) -> Vec<u8> {
        self.shelves[size as usize].borrow_mut().pop().unwrap_or_else(|| vec![0; size.bytes()])
    }

    fn give_back(&self, bytes: Vec<u8>) {
        let Some(size) = Size::ALL.into_iter().find(|size| size.bytes() == bytes.len()) else { return };
        let mut shelf = self.shelves[size as usize].borrow_mut();
        if shelf.len() < STOCK_MAX[size as usize] {
            shelf.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(buffer: &mut Buffer, stock: &Stock, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = buffer.room(stock);
            let count = room.len().min(rest.len());
            assert!(count > 0, "the buffer is full");
            room[..count].copy_from_slice(&rest[..count]);
            buffer.commit(count);
            rest = &rest[count..];
        }
    }

    #[test]
    fn bytes_come_out_as_they_went_in_while_the_buffer_moves_and_grows() {
        let stock = Stock::default();
        let mut buffer = Buffer::default();
        let bytes: Vec<u8> = (0..40_000_u32).map(|i| i.to_le_bytes()[0]).collect();
        write(&mut buffer, &stock, &bytes[..8_000]);
        buffer.consume(5_000);
        write(&mut buffer, &stock, &bytes[8_000..]);
        assert_eq!(buffer.filled(), &bytes[5_000..]);
    }

    #[test]
    fn a_buffer_never_grows_beyond_its_bound() {
        let stock = Stock::default();
        let mut buffer = Buffer::default();
        write(&mut buffer, &stock, &vec![1; RELAY_BUFFER_BYTES]);
        assert!(buffer.room(&stock).is_empty());
    }

    #[test]
    fn an_empty_buffer_goes_back_to_the_stock_and_is_used_again() {
        let stock = Stock::default();
        let mut buffer = Buffer::default();
        write(&mut buffer, &stock, b"x");
        buffer.release(&stock);
        assert_eq!(buffer.filled(), b"x", "a buffer with bytes in it is kept");
        buffer.consume(1);
        buffer.release(&stock);
        assert_eq!(stock.shelves[0].borrow().len(), 1);
        buffer.room(&stock);
        assert_eq!(stock.shelves[0].borrow().len(), 0);
    }
}
