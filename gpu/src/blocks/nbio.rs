//! The bus interface (NBIF 3.3.0 / NBIO 2.3 registers): memory size, identity, the index/data windows, doorbell ranges, HDP flush.
//!
//! Offsets: Linux 6.1 `nbio/nbio_2_3_offset.h`; users: `nbio_v2_3.c`, `nv.c`, `amdgpu_device.c` (index/data windows).
//!
//! Fidelity: the windows, the memory size and the HDP flush handshake are modelled. Doorbell ranges are stored: doorbells are
//! found by the offsets that the engines themselves are given, in or out of a range.

use gart::VramOffset;
use mmio::{Effects, RegOffset, RegSpec, RegisterBlock, RegisterFile};

use crate::asic::Personality;

const fn at(byte: u32) -> RegOffset {
    RegOffset::from_byte(byte)
}

/// Low part of the window's address; bit 31 selects memory rather than registers.
pub const MM_INDEX: RegOffset = at(0x0);
/// The dword at the window's address.
pub const MM_DATA: RegOffset = at(0x4);
/// High part of the window's address: bits 31 and up.
pub const MM_INDEX_HI: RegOffset = at(0x18);
/// Address in the system management network.
pub const PCIE_INDEX2: RegOffset = at(0x38);
/// The dword at that address.
pub const PCIE_DATA2: RegOffset = at(0x3c);
const RCC_BIF_STRAP0: RegOffset = at(0x3480);
/// STRAP_PX_CAPABLE: the board can power the chip off behind a living bus interface.
const STRAP_PX_CAPABLE: u32 = 1 << 7;
const RCC_DEV0_EPF0_STRAP0: RegOffset = at(0x34c4);
const RCC_CONFIG_MEMSIZE: RegOffset = at(0x378c);
const RCC_IOV_FUNC_IDENTIFIER: RegOffset = at(0x3794);
const GPU_HDP_FLUSH_REQ: RegOffset = at(0x3898);
const GPU_HDP_FLUSH_DONE: RegOffset = at(0x389c);

static SPECS: &[RegSpec] = &[
    RegSpec::modelled("MM_INDEX", MM_INDEX),
    RegSpec::modelled("MM_DATA", MM_DATA),
    RegSpec::modelled("MM_INDEX_HI", MM_INDEX_HI),
    // Before the driver has found the scratch registers it looks for number 7 from dword 0 on, and must find "not posted"
    // (6.1 `amdgpu_device_need_post`).
    RegSpec::constant("dword 7", at(0x1c), 0),
    RegSpec::modelled("PCIE_INDEX2", PCIE_INDEX2),
    RegSpec::modelled("PCIE_DATA2", PCIE_DATA2),
    // Scratch 7 has ASIC_INIT_COMPLETE: 0 makes the driver post the card.
    RegSpec::stored("BIOS_SCRATCH_{}", at(0x130)).array(16, 4),
    // Where boot firmware leaves the place of the discovery binary if it is not the default one.
    RegSpec::constant("DRIVER_SCRATCH_{}", at(0x250), 0).array(3, 4),
    // A strap of the board: STRAP_PX_CAPABLE, see `Board::px_capable`.
    RegSpec::modelled("RCC_BIF_STRAP0", RCC_BIF_STRAP0).write_mask(0),
    RegSpec::stored("RCC_BIF_STRAP2", at(0x3488)),
    RegSpec::stored("RCC_BIF_STRAP3", at(0x348c)),
    RegSpec::stored("RCC_BIF_STRAP5", at(0x3494)),
    RegSpec::modelled("RCC_DEV0_EPF0_STRAP0", RCC_DEV0_EPF0_STRAP0).write_mask(0),
    RegSpec::stored("RCC_DOORBELL_APER_EN", at(0x3780)),
    RegSpec::modelled("RCC_CONFIG_MEMSIZE", RCC_CONFIG_MEMSIZE).write_mask(0),
    // Bit 0: a virtual function. See `Personality::iov_identifier`.
    RegSpec::modelled("RCC_IOV_FUNC_IDENTIFIER", RCC_IOV_FUNC_IDENTIFIER).write_mask(0),
    RegSpec::stored("INTERRUPT_CNTL", at(0x3844)),
    RegSpec::stored("INTERRUPT_CNTL2", at(0x3848)),
    RegSpec::stored("BIF_BX_PF_DOORBELL_SELFRING_GPA_APER_BASE_HIGH", at(0x384c)),
    RegSpec::stored("BIF_BX_PF_DOORBELL_SELFRING_GPA_APER_BASE_LOW", at(0x3850)),
    RegSpec::stored("BIF_BX_PF_DOORBELL_SELFRING_GPA_APER_CNTL", at(0x3854)),
    RegSpec::stored("BIF_BX_DEV0_EPF0_VF0_HDP_MEM_COHERENCY_FLUSH_CNTL", at(0x385c)),
    RegSpec::stored("BIF_DOORBELL_INT_CNTL", at(0x3874)),
    RegSpec::stored("BIF_FB_EN", at(0x387c)),
    RegSpec::modelled("GPU_HDP_FLUSH_REQ", GPU_HDP_FLUSH_REQ),
    RegSpec::modelled("GPU_HDP_FLUSH_DONE", GPU_HDP_FLUSH_DONE).write_mask(0),
    RegSpec::stored("REMAP_HDP_MEM_FLUSH_CNTL", at(0x3934)).reset(0x385c),
    RegSpec::stored("REMAP_HDP_REG_FLUSH_CNTL", at(0x3938)).reset(0x3858),
    RegSpec::stored("BIF_RB_CNTL", at(0x393c)),
    RegSpec::stored("BIF_SDMA{}_DOORBELL_RANGE", at(0x3bc0)).array(2, 4),
    RegSpec::stored("BIF_IH_DOORBELL_RANGE", at(0x3bc8)),
    RegSpec::stored("BIF_MMSCH0_DOORBELL_RANGE", at(0x3bcc)),
    RegSpec::stored("BIF_ACV_DOORBELL_RANGE", at(0x3bd0)),
    RegSpec::stored("BIF_SDMA2_DOORBELL_RANGE", at(0x3bd8)),
    RegSpec::stored("BIF_SDMA3_DOORBELL_RANGE", at(0x3bdc)),
    // The page that the driver remaps the HDP flush registers to. Memory is coherent here: a flush has nothing to do.
    RegSpec::modelled("HDP_MEM_FLUSH (remapped)", at(0x7_f000)).write_mask(0),
    RegSpec::modelled("HDP_REG_FLUSH (remapped)", at(0x7_f004)).write_mask(0),
];

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
    vram_mib: u32,
    revision: u8,
    iov_identifier: u32,
    px_capable: bool,
}

impl Nbio {
    /// In the state after power-on, for a function of this kind with `vram_size` bytes.
    pub fn new(vram_size: u64, personality: &Personality, px_capable: bool) -> Self {
        let mut nbio = Self {
            file: RegisterFile::new("", RegOffset::from_byte(0), SPECS),
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
        self.file.set(RCC_CONFIG_MEMSIZE, self.vram_mib);
        self.file.set(RCC_IOV_FUNC_IDENTIFIER, self.iov_identifier);
        self.file
            .set(RCC_BIF_STRAP0, if self.px_capable { STRAP_PX_CAPABLE } else { 0 });
        // STRAP_ATI_REV_ID_DEV0_F0 [27:24] is the revision of the silicon, the low nibble of the PCI revision here.
        self.file
            .set(RCC_DEV0_EPF0_STRAP0, u32::from(self.revision & 0xf) << 24);
    }

    /// While a reset is under way the memory size reads as all ones: the driver waits for that to end (6.1
    /// `amdgpu_device_mode1_reset`).
    pub fn set_in_reset(&mut self, in_reset: bool) {
        self.strap();
        if in_reset {
            self.file.set(RCC_CONFIG_MEMSIZE, u32::MAX);
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
        if self.file.write(offset, value).is_some() && offset == GPU_HDP_FLUSH_REQ {
            // A bit per client, and a flush takes no time. Another client's request must not take back what this one waits for.
            let done = self.file.get(GPU_HDP_FLUSH_DONE);
            self.file.set(GPU_HDP_FLUSH_DONE, done | value);
        }
    }

    fn reset(&mut self) {
        let Self {
            file,
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

    fn nbio() -> Nbio {
        Nbio::new(1 << 30, &NAVI21.bare_metal, false)
    }

    #[test]
    fn the_table_has_no_defects() {
        assert_eq!(RegisterFile::table_defects(SPECS), Vec::<String>::new());
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
        let mut nbio = Nbio::new(1 << 30, &NAVI21.virtual_function, false);
        assert_eq!(nbio.read(RCC_IOV_FUNC_IDENTIFIER), 1);
        nbio.reset();
        assert_eq!(nbio.read(RCC_IOV_FUNC_IDENTIFIER), 1);
    }

    #[test]
    fn the_boards_straps_cannot_be_written_and_survive_a_reset() {
        for (px_capable, strap) in [(false, 0), (true, 0x80)] {
            let mut nbio = Nbio::new(1 << 30, &NAVI21.bare_metal, px_capable);
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
