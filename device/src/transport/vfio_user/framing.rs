//! Messages out of a byte stream.

use std::ops::Range;
use std::os::fd::OwnedFd;

use thiserror::Error;

use super::protocol::{HEADER_SIZE, Header, MAX_MESSAGE_SIZE};

/// Room for a whole message and for what follows it.
const BUFFER_SIZE: usize = MAX_MESSAGE_SIZE + (64 << 10);
/// Below this much free space a read is not worth its system call; what is buffered moves to the front first.
const LOW_SPACE: usize = 16 << 10;
/// Most descriptors that may wait for the rest of their message.
const MAX_WAITING_FDS: usize = 253; // SCM_MAX_FD: what one message of the kernel's can carry

/// The stream makes no sense any more: where the next message begins is not known.
#[derive(Debug, Error)]
pub enum FramingError {
    /// The header gives a size that no message has.
    #[error("message of {} bytes (between {HEADER_SIZE} and {MAX_MESSAGE_SIZE} are possible)", .0.size)]
    Size(Header),
    /// More descriptors than any message may carry came before the message was complete.
    #[error("{0} descriptors with one message")]
    Descriptors(usize),
}

/// A complete message. Its payload stays in the buffer: see [`Framing::payload`].
#[derive(Debug)]
pub struct Frame {
    /// The header.
    pub header: Header,
    /// The descriptors that came with it.
    pub fds: Vec<OwnedFd>,
    payload: Range<usize>,
}

/// Bytes that were received and not yet consumed, and descriptors that wait for their message.
#[derive(Debug)]
pub struct Framing {
    buffer: Box<[u8]>,
    /// What of the buffer is filled and not consumed.
    filled: Range<usize>,
    /// Position in the stream of `filled.start`.
    position: u64,
    /// Descriptors, each with the position of the last byte of the read that brought it: the byte belongs to the descriptor's message.
    fds: Vec<(u64, OwnedFd)>,
}

impl Default for Framing {
    fn default() -> Self {
        Self {
            buffer: vec![0; BUFFER_SIZE].into_boxed_slice(),
            filled: 0..0,
            position: 0,
            fds: Vec::new(),
        }
    }
}

impl Framing {
    /// Where the next bytes go; never empty. What was consumed is overwritten.
    pub fn space(&mut self) -> &mut [u8] {
        if self.filled.is_empty() {
            self.filled = 0..0;
        } else if self.filled.start > 0 && self.buffer.len() - self.filled.end < self.wanted().max(LOW_SPACE)
        {
            self.buffer.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
        }
        self.buffer.get_mut(self.filled.end..).unwrap_or_default()
    }

    /// How many bytes the message at the front still lacks, as far as its header is known.
    fn wanted(&self) -> usize {
        match self.header() {
            Some(header) => (header.size as usize)
                .min(MAX_MESSAGE_SIZE)
                .saturating_sub(self.filled.len()),
            None => HEADER_SIZE,
        }
    }

    fn header(&self) -> Option<Header> {
        let filled = self.buffer.get(self.filled.clone())?;
        filled.first_chunk().map(Header::decode)
    }

    /// Says that `count` bytes were put into [`space`](Self::space), and that `fds` came with them.
    ///
    /// # Errors
    /// [`FramingError::Descriptors`] if too many wait; all are closed.
    pub fn received(
        &mut self,
        count: usize,
        fds: impl IntoIterator<Item = OwnedFd>,
    ) -> Result<(), FramingError> {
        self.filled.end = (self.filled.end + count).min(self.buffer.len());
        let end = self.position + self.filled.len() as u64;
        let last = end.saturating_sub(1);
        self.fds.extend(fds.into_iter().map(|fd| (last, fd)));
        if self.fds.len() > MAX_WAITING_FDS {
            return Err(FramingError::Descriptors(std::mem::take(&mut self.fds).len()));
        }
        Ok(())
    }

    /// Whether part of a message has arrived.
    pub fn is_mid_message(&self) -> bool {
        !self.filled.is_empty()
    }

    /// The next complete message, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`FramingError::Size`] as soon as a header with an impossible size is there.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FramingError> {
        let Some(header) = self.header() else {
            return Ok(None);
        };
        let size = header.size as usize;
        if !(HEADER_SIZE..=MAX_MESSAGE_SIZE).contains(&size) {
            return Err(FramingError::Size(header));
        }
        if self.filled.len() < size {
            return Ok(None);
        }
        let payload = self.filled.start + HEADER_SIZE..self.filled.start + size;
        self.filled.start = payload.end;
        self.position += size as u64;
        let end = self.position;
        let fds = if self.fds.is_empty() {
            Vec::new()
        } else {
            let mine = self.fds.partition_point(|(last, _)| *last < end);
            self.fds.drain(..mine).map(|(_, fd)| fd).collect()
        };
        Ok(Some(Frame { header, fds, payload }))
    }

    /// The payload of a frame, until bytes are received again.
    pub fn payload(&self, frame: &Frame) -> &[u8] {
        self.buffer.get(frame.payload.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use proptest::prelude::*;

    use super::*;

    fn message(id: u16, payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(HEADER_SIZE + payload.len()).unwrap();
        let header = Header {
            id,
            command: 1,
            size,
            flags: 0,
            error: 0,
        };
        [&header.encode(), payload].concat()
    }

    fn feed(framing: &mut Framing, bytes: &[u8], fds: Vec<OwnedFd>) {
        framing.space()[..bytes.len()].copy_from_slice(bytes);
        framing.received(bytes.len(), fds).unwrap();
    }

    fn fd() -> OwnedFd {
        std::io::pipe().unwrap().0.into()
    }

    #[test]
    fn a_header_survives_the_wire() {
        let header = Header {
            id: 0x1122,
            command: 0x3344,
            size: 0x5566_7788,
            flags: 0x99aa_bbcc,
            error: 0xddee_ff00,
        };
        let bytes = header.encode();
        assert_eq!(bytes[..8], [0x22, 0x11, 0x44, 0x33, 0x88, 0x77, 0x66, 0x55]);
        assert_eq!(Header::decode(&bytes), header);
    }

    #[test]
    fn nothing_is_a_message_before_its_last_byte() {
        let mut framing = Framing::default();
        let bytes = message(7, b"payload");
        for byte in &bytes[..bytes.len() - 1] {
            feed(&mut framing, &[*byte], vec![]);
            assert!(framing.next_frame().unwrap().is_none());
        }
        feed(&mut framing, &bytes[bytes.len() - 1..], vec![]);
        let frame = framing.next_frame().unwrap().unwrap();
        assert_eq!(framing.payload(&frame), b"payload");
        assert!(!framing.is_mid_message());
    }

    #[test]
    fn sizes_that_no_message_has_are_refused_at_the_header() {
        for size in [0, 15, u32::try_from(MAX_MESSAGE_SIZE).unwrap() + 1, u32::MAX] {
            let mut framing = Framing::default();
            let mut bytes = message(9, b"");
            bytes[4..8].copy_from_slice(&size.to_le_bytes());
            feed(&mut framing, &bytes, vec![]);
            let Err(FramingError::Size(header)) = framing.next_frame() else {
                panic!("size {size} was taken");
            };
            assert_eq!((header.id, header.size), (9, size));
        }
    }

    #[test]
    fn the_longest_message_fits_behind_a_partly_consumed_one() {
        let mut framing = Framing::default();
        let long = message(2, &vec![0x5a; MAX_MESSAGE_SIZE - HEADER_SIZE]);
        let mut bytes = [message(1, &[1; 40 << 10]), long].concat();
        let mut ids = Vec::new();
        while !bytes.is_empty() {
            let space = framing.space();
            let count = space.len().min(bytes.len()).min(30_000);
            space[..count].copy_from_slice(&bytes[..count]);
            bytes.drain(..count);
            framing.received(count, vec![]).unwrap();
            while let Some(frame) = framing.next_frame().unwrap() {
                ids.push((frame.header.id, framing.payload(&frame).len()));
            }
        }
        assert_eq!(ids, [(1, 40 << 10), (2, MAX_MESSAGE_SIZE - HEADER_SIZE)]);
    }

    #[test]
    fn descriptors_go_to_the_message_that_ends_their_read() {
        let mut framing = Framing::default();
        let descriptor = fd();
        let raw = descriptor.as_raw_fd();
        let second = message(2, b"abc");
        feed(
            &mut framing,
            &[message(1, b""), second[..9].to_vec()].concat(),
            vec![descriptor],
        );
        let first = framing.next_frame().unwrap().unwrap();
        assert!(first.fds.is_empty());
        assert!(framing.next_frame().unwrap().is_none());
        let own = fd();
        let own_raw = own.as_raw_fd();
        feed(&mut framing, &second[9..], vec![own]);
        feed(&mut framing, &message(3, b""), vec![]);
        let frame = framing.next_frame().unwrap().unwrap();
        let got: Vec<_> = frame.fds.iter().map(AsRawFd::as_raw_fd).collect();
        assert_eq!(got, [raw, own_raw]);
        assert!(framing.next_frame().unwrap().unwrap().fds.is_empty());
    }

    #[test]
    fn descriptors_cannot_pile_up_behind_a_message_that_never_ends() {
        let mut framing = Framing::default();
        let mut result = Ok(());
        for _ in 0..300 {
            framing.space()[0] = 0;
            result = framing.received(0, [fd()]);
            if result.is_err() {
                break;
            }
        }
        assert!(matches!(result, Err(FramingError::Descriptors(254))));
    }

    proptest! {
        /// However a stream is cut, the same messages come out.
        #[test]
        fn cuts_do_not_matter(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..20),
            cuts in prop::collection::vec(1usize..500, 1..50),
        ) {
            let mut stream: Vec<u8> = payloads.iter().zip(0..).flat_map(|(payload, id)| message(id, payload)).collect();
            let mut framing = Framing::default();
            let mut out = Vec::new();
            for cut in cuts.iter().cycle() {
                if stream.is_empty() { break; }
                let cut = (*cut).min(stream.len());
                feed(&mut framing, &stream[..cut], vec![]);
                stream.drain(..cut);
                while let Some(frame) = framing.next_frame().unwrap() {
                    out.push(framing.payload(&frame).to_vec());
                }
            }
            prop_assert_eq!(out, payloads);
        }
    }
}
