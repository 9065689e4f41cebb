//! What one round of work does to a buffer in VRAM, and what has to be there afterwards.
//!
//! It is made without Vulkan, so that what is expected rests on nothing that is tested.

/// Size of every buffer in bytes.
pub const SIZE: usize = 64 << 10;
/// The most that one command touches, in bytes: RADV takes a compute shader from 4 KiB on.
pub const MOST: usize = 4092;

/// One command, on the buffer in VRAM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `vkCmdFillBuffer`: places and lengths are multiples of four.
    Fill {
        /// Where.
        at: usize,
        /// How many bytes.
        length: usize,
        /// With what.
        value: u32,
    },
    /// `vkCmdUpdateBuffer`.
    Update {
        /// Where.
        at: usize,
        /// What.
        bytes: Vec<u8>,
    },
    /// `vkCmdCopyBuffer` from the source in system memory, at the same place of which the bytes are.
    Upload {
        /// Where.
        at: usize,
        /// How many bytes.
        length: usize,
    },
    /// `vkCmdCopyBuffer` within VRAM.
    Move {
        /// From here.
        from: usize,
        /// To here.
        to: usize,
        /// How many bytes.
        length: usize,
    },
}

/// A round.
#[derive(Debug)]
pub struct Plan {
    /// What the source in system memory holds.
    pub source: Vec<u8>,
    /// Commands; those of one group do not depend on each other, and the next group comes behind a barrier.
    pub groups: Vec<Vec<Command>>,
    /// What VRAM holds at the end.
    pub expected: Vec<u8>,
}

impl Plan {
    /// A round that differs from others with another seed. A spoiled one leaves its last copy out and expects what it would have done.
    pub fn new(seed: u64, spoiled: bool) -> Self {
        let mut random = Random(seed.wrapping_mul(2).wrapping_add(1));
        let source = random.bytes(SIZE);
        let value = random.word();
        let mut clear = Vec::new();
        for at in (0..SIZE).step_by(MOST) {
            let length = MOST.min(SIZE - at);
            clear.push(Command::Fill { at, length, value });
        }
        // Every length up to a cache line, then odd ones, at places that are aligned to nothing.
        let mut upload = Vec::new();
        let mut at = 1;
        for length in (1..=64).chain([127, 255, 1000, 1023, 2047, 3333, 4091, MOST]) {
            upload.push(Command::Upload { at, length });
            at += length + 3;
        }
        let mut over = Vec::new();
        for (index, length) in [4, 64, 512, 1000, 1020].into_iter().enumerate() {
            over.push(Command::Update {
                at: 400 + index * 2048,
                bytes: random.bytes(length),
            });
            over.push(Command::Fill {
                at: 1600 + index * 2048,
                length: 4 + length / 2 / 4 * 4,
                value: random.word(),
            });
        }
        let half = SIZE / 2;
        let moved = [
            (1, half + 5, 4001),
            (4096, half + 4099, 4092),
            (9000, half + 9001, 3),
        ];
        let moves = moved.map(|(from, to, length)| Command::Move { from, to, length });
        let mut groups = vec![clear, upload, over, moves.to_vec()];
        let mut expected = vec![0; SIZE];
        for command in groups.iter().flatten() {
            command.apply(&source, &mut expected);
        }
        if spoiled && let Some(last) = groups.last_mut() {
            last.pop();
        }
        Self {
            source,
            groups,
            expected,
        }
    }
}

impl Command {
    /// Does to `target` what the GPU is to do.
    fn apply(&self, source: &[u8], target: &mut [u8]) {
        match self {
            Self::Fill { at, length, value } => {
                for (byte, new) in piece(target, *at, *length)
                    .iter_mut()
                    .zip(value.to_le_bytes().iter().cycle())
                {
                    *byte = *new;
                }
            }
            Self::Update { at, bytes } => copy(bytes, piece(target, *at, bytes.len())),
            Self::Upload { at, length } => {
                let bytes = source.get(*at..at + length).unwrap_or_default();
                copy(bytes, piece(target, *at, *length));
            }
            Self::Move { from, to, length } => {
                let bytes = target.get(*from..from + length).unwrap_or_default().to_vec();
                copy(&bytes, piece(target, *to, *length));
            }
        }
    }
}

fn piece(target: &mut [u8], at: usize, length: usize) -> &mut [u8] {
    target.get_mut(at..at + length).unwrap_or_default()
}

fn copy(from: &[u8], to: &mut [u8]) {
    for (new, byte) in from.iter().zip(to) {
        *byte = *new;
    }
}

/// Numbers that differ (xorshift64, G. Marsaglia 2003).
#[derive(Debug)]
struct Random(u64);

impl Random {
    const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn word(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.next().to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.word().to_le_bytes()[1]).collect()
    }
}

/// What is put into memory that the processor looks at later.
pub fn pattern(seed: u64) -> Vec<u8> {
    Random(seed.wrapping_mul(2).wrapping_add(0x5eed)).bytes(SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(command: &Command) -> (usize, usize) {
        match command {
            Command::Fill { at, length, .. } | Command::Upload { at, length } => (*at, *length),
            Command::Update { at, bytes } => (*at, bytes.len()),
            Command::Move { to, length, .. } => (*to, *length),
        }
    }

    #[test]
    fn commands_are_small_enough_and_within_the_buffer() {
        for command in Plan::new(7, false).groups.iter().flatten() {
            let (at, length) = span(command);
            assert!(length <= MOST && at + length <= SIZE, "{command:?}");
            if let Command::Move { from, to, length } = command {
                assert!(from + length <= SIZE / 2 && *to >= SIZE / 2);
            }
            if !matches!(command, Command::Upload { .. } | Command::Move { .. }) {
                assert!(at % 4 == 0 && length % 4 == 0, "{command:?}");
            }
        }
    }

    #[test]
    fn commands_of_a_group_do_not_meet() {
        for group in Plan::new(7, false).groups {
            let mut spans: Vec<_> = group.iter().map(span).collect();
            spans.sort_unstable();
            for pair in spans.windows(2) {
                let [(at, length), (next, _)] = pair else {
                    panic!("{pair:?}")
                };
                assert!(at + length <= *next, "{pair:?}");
            }
        }
    }

    #[test]
    fn a_command_that_is_left_out_shows() {
        let (whole, spoiled) = (Plan::new(3, false), Plan::new(3, true));
        assert_eq!(whole.expected, spoiled.expected);
        let mut found = vec![0; SIZE];
        for command in spoiled.groups.iter().flatten() {
            command.apply(&spoiled.source, &mut found);
        }
        assert_ne!(found, spoiled.expected);
    }

    #[test]
    fn rounds_differ() {
        assert_ne!(Plan::new(1, false).expected, Plan::new(2, false).expected);
        assert_ne!(pattern(1), pattern(2));
    }
}
