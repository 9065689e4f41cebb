//! Commands for the command processor's graphics and compute queues: packets of type 3 (nvd.h of amdgpu).

use super::halves;

const WAIT_REG_MEM: u32 = 0x3c;
const DMA_DATA: u32 = 0x50;
/// No packet has this opcode.
const UNDEFINED: u32 = 0xfe;
/// A NOP of one dword: the largest count means none.
const NOP: u32 = 0xffff_1000;
/// A command buffer is padded to a multiple of this many dwords.
const ALIGNMENT: usize = 8;
/// Most bytes of one DMA_DATA; its count has 26 bits.
const CHUNK: u64 = 1 << 22;

/// A command buffer under construction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commands {
    words: Vec<u32>,
}

impl Commands {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Copies bytes, through the L2 cache on both sides, as user-mode drivers do.
    pub fn copy(&mut self, source: u64, target: u64, bytes: u64) {
        /// SRC_SEL and DST_SEL: an address, through L2.
        const THROUGH_L2: u32 = 3 << 29 | 3 << 20;
        /// CP_SYNC: what follows waits until it is done.
        const SYNC: u32 = 1 << 31;
        let mut offset = 0;
        while offset < bytes {
            let count = (bytes - offset).min(CHUNK);
            let [source_low, source_high] = halves(source + offset);
            let [target_low, target_high] = halves(target + offset);
            let command = (count & 0x03ff_ffff) as u32;
            self.packet(
                DMA_DATA,
                &[
                    THROUGH_L2 | SYNC,
                    source_low,
                    source_high,
                    target_low,
                    target_high,
                    command,
                ],
            );
            offset += count;
        }
    }

    /// Waits until a dword of memory has a value.
    pub fn wait_for(&mut self, address: u64, value: u32) {
        /// FUNCTION: equal; MEM_SPACE: memory.
        const EQUAL_IN_MEMORY: u32 = 3 | 1 << 4;
        /// In units of 16 clocks.
        const POLL_INTERVAL: u32 = 0x20;
        let [low, high] = halves(address);
        self.packet(
            WAIT_REG_MEM,
            &[EQUAL_IN_MEMORY, low, high, value, u32::MAX, POLL_INTERVAL],
        );
    }

    /// A packet that does not exist.
    pub fn undefined(&mut self) {
        self.packet(UNDEFINED, &[0]);
    }

    /// The finished buffer: padded with NOPs, little-endian.
    pub fn finish(mut self) -> Vec<u8> {
        self.words
            .resize(self.words.len().next_multiple_of(ALIGNMENT), NOP);
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn packet(&mut self, opcode: u32, body: &[u32]) {
        let count = u32::try_from(body.len().saturating_sub(1)).unwrap_or(0);
        self.words.push(3 << 30 | count << 16 | opcode << 8);
        self.words.extend_from_slice(body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_for_equality_in_memory() {
        let mut commands = Commands::new();
        commands.wait_for(0x1_2345_6000, 7);
        assert_eq!(
            commands.words,
            [0xc005_3c00, 0x13, 0x2345_6000, 1, 7, 0xffff_ffff, 0x20]
        );
        assert_eq!(commands.finish().len(), 8 * 4);
    }

    #[test]
    fn a_copy_is_split() {
        let mut commands = Commands::new();
        commands.copy(0x1_0000_0000, 0x2_0000_0000, (1 << 22) + 4);
        assert_eq!(commands.words.len(), 14);
        assert_eq!(
            commands.words[7..],
            [0xc005_5000, 0xe030_0000, 1 << 22, 1, 1 << 22, 2, 4]
        );
    }
}
