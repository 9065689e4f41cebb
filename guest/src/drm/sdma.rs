//! Commands for SDMA 5.2: copies and fills in linear addresses (amdgpu's sdma_v5_2.c, `sdma_v5_2_emit_copy_buffer` and
//! `sdma_v5_2_emit_fill_buffer` of 6.1, use the same packets).

use super::halves;

/// `SDMA_OP_COPY`, sub-operation linear.
const OP_COPY_LINEAR: u32 = 1;
/// `SDMA_OP_CONST_FILL` with a fill size of four bytes.
const OP_CONST_FILL: u32 = 11 | (2 << 30);
/// `SDMA_OP_POLL_REGMEM`: function "equal" (30:28), of memory (31).
const OP_POLL_MEMORY_EQUAL: u32 = 8 | (3 << 28) | (1 << 31);
/// Looks for ever (RETRY_COUNT, 27:16, all ones), every 10 units of time.
const POLL_FOR_EVER: u32 = (0xfff << 16) | 10;
/// No packet has this operation.
const OP_UNDEFINED: u32 = 0xff;
/// A command buffer is a multiple of this many dwords.
const ALIGNMENT: usize = 8;

/// A command buffer under construction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commands {
    words: Vec<u32>,
    written: u64,
}

impl Commands {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Copies bytes, in packets of at most `chunk` bytes.
    pub fn copy(&mut self, source: u64, target: u64, bytes: u64, chunk: u32) {
        self.in_chunks(bytes, chunk, |words, offset, count| {
            words.extend([OP_COPY_LINEAR, count - 1, 0]);
            words.extend(halves(source + offset));
            words.extend(halves(target + offset));
        });
    }

    /// Repeats a dword over a number of bytes divisible by four.
    pub fn fill(&mut self, target: u64, value: u32, bytes: u64, chunk: u32) {
        self.in_chunks(bytes, chunk & !3, |words, offset, count| {
            words.push(OP_CONST_FILL);
            words.extend(halves(target + offset));
            words.extend([value, count - 1]);
        });
    }

    /// Waits until a dword of memory has a value.
    pub fn wait_for(&mut self, address: u64, value: u32) {
        self.words.push(OP_POLL_MEMORY_EQUAL);
        self.words.extend(halves(address));
        self.words.extend([value, u32::MAX, POLL_FOR_EVER]);
    }

    /// A packet that does not exist.
    pub fn undefined(&mut self) {
        self.words.push(OP_UNDEFINED);
    }

    /// Bytes that the commands write.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// The finished buffer: padded with NOPs (zeros), little-endian.
    pub fn finish(mut self) -> Vec<u8> {
        self.words.resize(self.words.len().next_multiple_of(ALIGNMENT), 0);
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn in_chunks(&mut self, bytes: u64, chunk: u32, mut packet: impl FnMut(&mut Vec<u32>, u64, u32)) {
        let mut offset = 0;
        while offset < bytes && chunk > 0 {
            let count = u32::try_from(bytes - offset).unwrap_or(u32::MAX).min(chunk);
            packet(&mut self.words, offset, count);
            offset += u64::from(count);
        }
        self.written += offset;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_split_and_padded() {
        let mut commands = Commands::new();
        commands.copy(0x1_0000_0000, 0x2_0000_0010, 0x18, 0x10);
        assert_eq!(
            commands.words,
            [1, 0xf, 0, 0, 1, 0x10, 2, 1, 0x7, 0, 0x10, 1, 0x20, 2]
        );
        assert_eq!(commands.written(), 0x18);
        assert_eq!(commands.finish().len(), 16 * 4);
    }

    #[test]
    fn a_wait_never_gives_up() {
        let mut commands = Commands::new();
        commands.wait_for(0x3_0000_1000, 5);
        assert_eq!(
            commands.words,
            [0xb000_0008, 0x1000, 3, 5, 0xffff_ffff, 0x0fff_000a]
        );
    }

    #[test]
    fn a_fill_counts_bytes_less_one() {
        let mut commands = Commands::new();
        commands.fill(0x3_0000_0000, 0xdead_beef, 0x1000, 1 << 22);
        assert_eq!(commands.words, [0x8000_000b, 0, 3, 0xdead_beef, 0xfff]);
    }
}
