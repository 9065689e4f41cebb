//! Bytes on their way through a port, with the places where it was opened and closed.

use std::collections::VecDeque;

/// What comes out of a [`Stream`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// So many bytes.
    Bytes(usize),
    /// The guest opened the port.
    Opened {
        /// Counts the openings.
        session: u64,
    },
    /// The guest closed it: no bytes of that session follow.
    Closed {
        /// What it was given and did not read.
        unread: Vec<u8>,
    },
}

/// A queue of bytes that does not grow beyond a bound. Openings and closings have their places between the bytes.
#[derive(Debug)]
pub struct Stream {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// Bytes that have been taken out since the start.
    taken: u64,
    /// Marks with the number of bytes that come before them.
    marks: VecDeque<(u64, Item)>,
}

impl Stream {
    /// An empty one for so many bytes.
    pub const fn new(capacity: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            capacity,
            taken: 0,
            marks: VecDeque::new(),
        }
    }

    /// Bytes that it holds.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it holds neither bytes nor marks.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.marks.is_empty()
    }

    /// Bytes that still fit.
    pub fn room(&self) -> usize {
        self.capacity.saturating_sub(self.bytes.len())
    }

    /// Puts in what fits; gives how much that is.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        self.bytes.extend(bytes.iter().take(count));
        count
    }

    fn position(&self) -> u64 {
        self.taken.saturating_add(self.bytes.len() as u64)
    }

    /// Marks an opening at this place.
    pub fn opened(&mut self, session: u64) {
        self.marks.push_back((self.position(), Item::Opened { session }));
    }

    /// Marks a closing at this place. A session that left no byte, and that nobody has heard of yet, was none: so there are never
    /// more than two marks in one place.
    pub fn closed(&mut self, unread: Vec<u8>) {
        let position = self.position();
        if let Some((at, Item::Opened { .. })) = self.marks.back()
            && *at == position
        {
            self.marks.pop_back();
            return;
        }
        self.marks.push_back((position, Item::Closed { unread }));
    }

    /// Takes the next item out. Bytes go to the start of `buffer`; none if there is nothing.
    pub fn take(&mut self, buffer: &mut [u8]) -> Option<Item> {
        let before_mark = match self.marks.front() {
            Some((at, _)) if *at <= self.taken => return self.marks.pop_front().map(|(_, mark)| mark),
            Some((at, _)) => usize::try_from(at.saturating_sub(self.taken)).unwrap_or(usize::MAX),
            None => usize::MAX,
        };
        let count = self.peek(buffer).min(before_mark);
        self.consume(count);
        (count > 0).then_some(Item::Bytes(count))
    }

    /// Copies the first bytes to the start of `buffer` and leaves them; gives how many.
    pub fn peek(&self, buffer: &mut [u8]) -> usize {
        let (first, second) = self.bytes.as_slices();
        let count = buffer.len().min(self.bytes.len());
        let head = first.len().min(count);
        let tail = count.saturating_sub(head);
        for (part, offset, length) in [(first, 0, head), (second, head, tail)] {
            let to = buffer.get_mut(offset..offset.saturating_add(length));
            if let (Some(to), Some(from)) = (to, part.get(..length)) {
                to.copy_from_slice(from);
            }
        }
        count
    }

    /// Drops the first bytes.
    pub fn consume(&mut self, count: usize) {
        let count = count.min(self.bytes.len());
        self.bytes.drain(..count);
        self.taken = self.taken.saturating_add(count as u64);
    }

    /// Takes all bytes out.
    pub fn take_all(&mut self) -> Vec<u8> {
        let all: Vec<u8> = self.bytes.drain(..).collect();
        self.taken = self.taken.saturating_add(all.len() as u64);
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(stream: &mut Stream) -> Vec<Item> {
        let mut buffer = [0; 64];
        std::iter::from_fn(|| stream.take(&mut buffer)).collect()
    }

    #[test]
    fn marks_have_their_places_between_the_bytes() {
        let mut stream = Stream::new(16);
        stream.opened(1);
        assert_eq!(stream.push(b"ab"), 2);
        stream.closed(vec![7]);
        stream.opened(2);
        stream.push(b"c");
        assert_eq!(
            all(&mut stream),
            [
                Item::Opened { session: 1 },
                Item::Bytes(2),
                Item::Closed { unread: vec![7] },
                Item::Opened { session: 2 },
                Item::Bytes(1)
            ]
        );
        assert!(stream.is_empty());
    }

    #[test]
    fn openings_and_closings_without_bytes_take_no_memory() {
        let mut stream = Stream::new(16);
        for session in 0..1000 {
            stream.opened(session);
            stream.closed(Vec::new());
        }
        assert!(stream.is_empty());
        stream.push(b"a");
        stream.closed(Vec::new());
        for session in 0..1000 {
            stream.opened(session);
            stream.closed(Vec::new());
        }
        assert_eq!(all(&mut stream).len(), 2);
    }

    #[test]
    fn what_does_not_fit_stays_outside() {
        let mut stream = Stream::new(4);
        assert_eq!(stream.push(b"abcdef"), 4);
        assert_eq!((stream.room(), stream.push(b"x")), (0, 0));
        stream.consume(1);
        assert_eq!(stream.push(b"ef"), 1);
        assert_eq!(stream.take_all(), b"bcde");
    }

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..40),
                                          taken in 1usize..30) {
            let mut stream = Stream::new(64);
            let (mut sent, mut received) = (Vec::new(), Vec::new());
            let mut buffer = vec![0; taken];
            for piece in &pieces {
                let count = stream.push(piece);
                sent.extend_from_slice(&piece[..count]);
                prop_assert!(stream.len() <= 64);
                if let Some(Item::Bytes(count)) = stream.take(&mut buffer) {
                    received.extend_from_slice(&buffer[..count]);
                }
            }
            received.extend(stream.take_all());
            prop_assert_eq!(sent, received);
        }
    }
}
