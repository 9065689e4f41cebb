//! The bus interface (NBIF 3.3.0 / NBIO 2.3 registers): memory size, identity, the index/data windows, doorbell ranges, HDP flush.
//!
//! Offsets: Linux 6.1 `nbio/nbio_2_3_offset.h`; users: `nbio_v2_3.c`, `nv.c`, `amdgpu_device.c` (index/data windows).
//!
//! Fidelity: the windows, the memory size and the HDP flush handshake are modelled. Doorbell ranges are stored: doorbells are
//! found by the offsets that the engines themselves are given, in or out of a range.

use gart::VramOffset;
use mmio::{Effects, RegOffset, RegisterBlock, RegisterFile, offset_of};
use regs::nbio::v2_3::ROWS;

use crate::asic::Personality;

/// Segment 0 begins at the BAR's first byte on every ASIC: drivers use these windows before they know any base.
const fn window(name: &str) -> RegOffset {
    offset_of(ROWS, name)
}

/// Low part of the window's address; bit 31 selects memory rather than registers.
pub const MM_INDEX: RegOffset = window("MM_INDEX");
/// The dword at the window's address.
pub const MM_DATA: RegOffset = window("MM_DATA");
/// High part of the window's address: bits 31 and up.
pub const MM_INDEX_HI: RegOffset = window("MM_INDEX_HI");
/// Address in the system management network.
pub const PCIE_INDEX2: RegOffset = window("PCIE_INDEX2");
/// The dword at that address.
pub const PCIE_DATA2: RegOffset = window("PCIE_DATA2");
/// RCC_BIF_STRAP0.STRAP_PX_CAPABLE: the board can power the chip off behind a living bus interface.
const STRAP_PX_CAPABLE: u32 = 1 << 7;

/// Registers of which more than the value is known.
#[derive(Debug, Clone, Copy)]
struct Places {
    strap: Option<RegOffset>,
    function_strap: Option<RegOffset>,
    memory_size: Option<RegOffset>,
    iov_identifier: Option<RegOffset>,
    flush_request: Option<RegOffset>,
    flush_done: Option<RegOffset>,
}

impl Places {
    fn of(file: &RegisterFile) -> Self {
        Self {
            strap: file.offset("RCC_BIF_STRAP0"),
            function_strap: file.offset("RCC_DEV0_EPF0_STRAP0"),
            memory_size: file.offset("RCC_CONFIG_MEMSIZE"),
            iov_identifier: file.offset("RCC_IOV_FUNC_IDENTIFIER"),
            flush_request: file.offset("GPU_HDP_FLUSH_REQ"),
            flush_done: file.offset("GPU_HDP_FLUSH_DONE"),
        }
    }
}

/// What the MM_INDEX/MM_DATA window points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// A dword of VRAM.
    Vram(VramOffset),
    /// A register.
    Register(RegOffset),
}

/// The bus interface.
#[derive(Debug)]
pub struct Nbio {
    file: RegisterFile,
    places: Places,
    vram_mib: u32,
    revision: u8,
    iov_identifier: u32,
    px_capable: bool,
}

impl Nbio {
    /// In the state after power-on, for a function of this kind with `vram_size` bytes. `bases`
    /// are in dwords, by segment.
    pub fn new(bases: &[u32], vram_size: u64, personality: &Personality, px_capable: bool) -> Self {
        let file = RegisterFile::placed("", bases, ROWS);
        let mut nbio = Self {
            places: Places::of(&file),
            file,
            vram_mib: u32::try_from(vram_size >> 20).unwrap_or(u32::MAX - 1),
            revision: personality.pci.revision,
            iov_identifier: personality.iov_identifier,
            px_capable,
        };
        nbio.strap();
        nbio
    }

    /// What the board's straps and memory make these registers read.
    fn strap(&mut self) {
        let places = self.places;
        self.set(places.memory_size, self.vram_mib);
        self.set(places.iov_identifier, self.iov_identifier);
        self.set(places.strap, if self.px_capable { STRAP_PX_CAPABLE } else { 0 });
        // STRAP_ATI_REV_ID_DEV0_F0 [27:24] is the revision of the silicon, the low nibble of the PCI revision here.
        self.set(places.function_strap, u32::from(self.revision & 0xf) << 24);
    }

    fn set(&mut self, at: Option<RegOffset>, value: u32) {
        if let Some(at) = at {
            self.file.set(at, value);
        }
    }

    /// While a reset is under way the memory size reads as all ones: the driver waits for that to end (6.1
    /// `amdgpu_device_mode1_reset`).
    pub fn set_in_reset(&mut self, in_reset: bool) {
        self.strap();
        if in_reset {
            self.set(self.places.memory_size, u32::MAX);
        }
    }

    /// Where the MM_INDEX/MM_DATA window points.
    pub fn window(&self) -> Window {
        let low = self.file.get(MM_INDEX);
        if low & 1 << 31 == 0 {
            return Window::Register(RegOffset::from_byte(low));
        }
        let high = u64::from(self.file.get(MM_INDEX_HI));
        Window::Vram(VramOffset::new(high << 31 | u64::from(low & 0x7fff_fffc)))
    }

    /// Where the PCIE_INDEX2/PCIE_DATA2 window points.
    pub fn smn_address(&self) -> RegOffset {
        RegOffset::from_byte(self.file.get(PCIE_INDEX2))
    }
}

impl RegisterBlock for Nbio {
    type Effect = std::convert::Infallible;

    fn files(&self) -> Vec<&RegisterFile> {
        vec![&self.file]
    }

    fn read(&mut self, offset: RegOffset) -> u32 {
        self.file.read(offset).unwrap_or(0)
    }

    fn write(&mut self, offset: RegOffset, value: u32, _effects: &mut Effects<Self::Effect>) {
        let is_flush = self.places.flush_request == Some(offset);
        if self.file.write(offset, value).is_some()
            && is_flush
            && let Some(done) = self.places.flush_done
        {
            // A bit per client, and a flush takes no time. Another client's request must not take back what this one waits for.
            self.file.set(done, self.file.get(done) | value);
        }
    }

    fn reset(&mut self) {
        let Self {
            file,
            places: _,
            vram_mib: _,
            revision: _,
            iov_identifier: _,
            px_capable: _,
        } = self;
        file.reset();
        self.strap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asic::NAVI21;

    const BASES: &[u32] = &[0x0, 0x14, 0xd20, 0x1_0400, 0x0241_b000];
    // As the driver computes them.
    const RCC_BIF_STRAP0: RegOffset = RegOffset::from_byte(0x3480);
    const RCC_CONFIG_MEMSIZE: RegOffset = RegOffset::from_byte(0x378c);
    const RCC_IOV_FUNC_IDENTIFIER: RegOffset = RegOffset::from_byte(0x3794);
    const GPU_HDP_FLUSH_REQ: RegOffset = RegOffset::from_byte(0x3898);
    const GPU_HDP_FLUSH_DONE: RegOffset = RegOffset::from_byte(0x389c);

    fn nbio() -> Nbio {
        Nbio::new(BASES, 1 << 30, &NAVI21.bare_metal, false)
    }

    #[test]
    fn the_table_has_no_defects() {
        assert_eq!(RegisterFile::table_defects(ROWS), Vec::<String>::new());
    }

    #[test]
    fn the_memory_size_is_in_mib_and_survives_a_reset() {
        let mut nbio = nbio();
        nbio.write(RCC_CONFIG_MEMSIZE, 7, &mut Effects::default());
        nbio.reset();
        assert_eq!(nbio.read(RCC_CONFIG_MEMSIZE), 1024);
        assert_eq!(nbio.read(RCC_IOV_FUNC_IDENTIFIER), 0);
    }

    #[test]
    fn a_virtual_function_says_so_before_and_after_a_reset() {
        let mut nbio = Nbio::new(BASES, 1 << 30, &NAVI21.virtual_function, false);
        assert_eq!(nbio.read(RCC_IOV_FUNC_IDENTIFIER), 1);
        nbio.reset();
        assert_eq!(nbio.read(RCC_IOV_FUNC_IDENTIFIER), 1);
    }

    #[test]
    fn the_boards_straps_cannot_be_written_and_survive_a_reset() {
        for (px_capable, strap) in [(false, 0), (true, 0x80)] {
            let mut nbio = Nbio::new(BASES, 1 << 30, &NAVI21.bare_metal, px_capable);
            nbio.write(RCC_BIF_STRAP0, !strap, &mut Effects::default());
            nbio.reset();
            assert_eq!(nbio.read(RCC_BIF_STRAP0), strap);
        }
    }

    #[test]
    fn the_memory_size_reads_as_all_ones_while_a_reset_is_under_way() {
        let mut nbio = nbio();
        nbio.set_in_reset(true);
        assert_eq!(nbio.read(RCC_CONFIG_MEMSIZE), u32::MAX);
        nbio.set_in_reset(false);
        assert_eq!(nbio.read(RCC_CONFIG_MEMSIZE), 1024);
    }

    #[test]
    fn the_window_reaches_beyond_4_gib() {
        let mut nbio = nbio();
        let at = 0x3_ffff_0000_u64;
        nbio.write(MM_INDEX, 0xffff_0000 | 1 << 31, &mut Effects::default());
        nbio.write(MM_INDEX_HI, 0x7, &mut Effects::default());
        assert_eq!(nbio.window(), Window::Vram(VramOffset::new(at)));
    }

    #[test]
    fn without_bit_31_the_window_is_on_registers() {
        let mut nbio = nbio();
        nbio.write(MM_INDEX, 0x378c, &mut Effects::default());
        assert_eq!(nbio.window(), Window::Register(RCC_CONFIG_MEMSIZE));
    }

    #[test]
    fn a_flush_is_done_when_requested() {
        let mut nbio = nbio();
        nbio.write(GPU_HDP_FLUSH_REQ, 0x400, &mut Effects::default());
        assert_eq!(nbio.read(GPU_HDP_FLUSH_DONE), 0x400);
    }

    /// Two engines request and then poll, each for its own bit.
    #[test]
    fn a_clients_flush_stays_done_when_another_client_requests_one() {
        let mut nbio = nbio();
        nbio.write(GPU_HDP_FLUSH_REQ, 0x400, &mut Effects::default());
        nbio.write(GPU_HDP_FLUSH_REQ, 0x800, &mut Effects::default());
        assert_eq!(nbio.read(GPU_HDP_FLUSH_DONE), 0xc00);
    }
}
