//! The registers of configuration space as data.

use gpu::asic::PciIdentity;
use thiserror::Error;

/// How a BAR decodes. There are no I/O BARs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarKind {
    /// Memory below 4 GiB, not prefetchable.
    Memory32,
    /// Memory anywhere, prefetchable; takes the next BAR's place too.
    Memory64Prefetchable,
}

/// A base address register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar {
    /// 0..=5.
    pub index: u8,
    /// Bytes; a power of two.
    pub size: u64,
    /// How it decodes.
    pub kind: BarKind,
}

/// What a configuration space is built from.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Who the function says it is.
    pub identity: PciIdentity,
    /// The BARs that exist.
    pub bars: Vec<Bar>,
    /// Size of the expansion ROM in bytes, a power of two from 2 KiB to 16 MiB; 0 for none.
    pub rom_size: u32,
    /// PM_CTRL.No_Soft_Reset: D3hot keeps the state of the function.
    pub no_soft_reset: bool,
}

/// A [`Layout`] that no function can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// A BAR index beyond 5, or a 64-bit BAR at 5.
    #[error("there is no room for BAR {0}")]
    BarIndex(u8),
    /// Two BARs in one place.
    #[error("BAR {0} is taken twice")]
    BarOverlap(u8),
    /// No power of two, below 16 bytes, or above 2 GiB for a 32-bit BAR.
    #[error("BAR {index} cannot have {size:#x} bytes")]
    BarSize {
        /// 0..=5.
        index: u8,
        /// Bytes.
        size: u64,
    },
    /// No power of two between 2 KiB and 16 MiB.
    #[error("the expansion ROM cannot have {0:#x} bytes")]
    RomSize(u32),
}

/// One register: one, two or four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Register {
    pub(super) name: &'static str,
    pub(super) offset: u16,
    /// Bytes.
    pub(super) width: usize,
    pub(super) reset: u32,
    /// Bits that a write sets.
    pub(super) write_mask: u32,
    /// Bits that a write of one clears.
    pub(super) w1c_mask: u32,
}

const fn register(name: &'static str, offset: u16, width: usize, reset: u32) -> Register {
    Register {
        name,
        offset,
        width,
        reset,
        write_mask: 0,
        w1c_mask: 0,
    }
}

impl Register {
    const fn writable(self, write_mask: u32) -> Self {
        Self { write_mask, ..self }
    }

    const fn w1c(self, w1c_mask: u32) -> Self {
        Self { w1c_mask, ..self }
    }
}

pub(super) const COMMAND: u16 = 0x04;
pub(super) const COMMAND_MEMORY: u16 = 0x2;
pub(super) const COMMAND_MASTER: u16 = 0x4;
pub(super) const BASE_ADDRESS_0: u16 = 0x10;
pub(super) const ROM_ADDRESS: u16 = 0x30;
const PM: u16 = 0x50;
pub(super) const PM_CTRL: u16 = PM + 4;
pub(super) const PM_CTRL_STATE_MASK: u16 = 0x3;
const PM_CTRL_NO_SOFT_RESET: u32 = 0x8;
const EXP: u16 = 0x64;
pub(super) const EXP_DEVCTL: u16 = EXP + 8;
pub(super) const EXP_DEVCTL_BCR_FLR: u16 = 0x8000;
pub(super) const MSI: u16 = 0xa0;
pub(super) const MSI_FLAGS: u16 = MSI + 2;
pub(super) const MSI_FLAGS_ENABLE: u16 = 0x1;
pub(super) const MSI_ADDRESS_LO: u16 = MSI + 4;
pub(super) const MSI_ADDRESS_HI: u16 = MSI + 8;
pub(super) const MSI_DATA_64: u16 = MSI + 12;
/// Length of the MSI capability in bytes.
pub(super) const MSI_SIZE: usize = 14;
const VSEC: u16 = 0x100;

/// Everything that is the same in every function of this kind.
const COMMON: &[Register] = &[
    register("COMMAND", COMMAND, 2, 0)
        // I/O space is hardwired to 0: there are no I/O BARs. Parity, SERR and INTX_DISABLE are kept without effect.
        .writable((COMMAND_MEMORY | COMMAND_MASTER) as u32 | 0x40 | 0x100 | 0x400),
    register("STATUS", 0x06, 2, 0x0010).w1c(0xf900), // CAP_LIST; error bits are never set
    register("CACHE_LINE_SIZE", 0x0c, 1, 0).writable(0xff),
    register("LATENCY_TIMER", 0x0d, 1, 0),
    register("HEADER_TYPE", 0x0e, 1, 0), // type 0, single function
    register("BIST", 0x0f, 1, 0),
    register("CAPABILITY_LIST", 0x34, 1, PM as u32),
    register("INTERRUPT_LINE", 0x3c, 1, 0).writable(0xff),
    register("INTERRUPT_PIN", 0x3d, 1, 0), // no INTx
    // Power management: version 3, D0 and D3hot, no PME.
    register("PM_CAP", PM, 2, 0x01 | (EXP as u32) << 8),
    register("PM_PMC", PM + 2, 2, 0x0003),
    // PCI Express endpoint, version 2.
    register("EXP_CAP", EXP, 2, 0x10 | (MSI as u32) << 8),
    register("EXP_FLAGS", EXP + 2, 2, 0x0002),
    // 256-byte payloads, extended tags, role-based errors, FLR.
    register("EXP_DEVCAP", EXP + 4, 4, 0x1000_8021),
    // Relaxed ordering, no snoop, 512-byte read requests. AUX power and phantom functions are not there; FLR reads as 0.
    register("EXP_DEVCTL", EXP_DEVCTL, 2, 0x2810).writable(0x79ff),
    register("EXP_DEVSTA", EXP + 10, 2, 0).w1c(0x000f), // nothing is ever pending, no error ever detected
    register("EXP_LNKCAP", EXP + 12, 4, 0x0040_0104),   // 16 GT/s, x16, no ASPM
    register("EXP_LNKCTL", EXP + 16, 2, 0).writable(0x00c8),
    register("EXP_LNKSTA", EXP + 18, 2, 0x1104), // 16 GT/s, x16, slot clock
    register("EXP_DEVCAP2", EXP + 36, 4, 0x0000_0010), // completion timeout can be disabled; no atomics
    register("EXP_DEVCTL2", EXP + 40, 2, 0).writable(0x001f),
    register("EXP_LNKCAP2", EXP + 44, 4, 0x0000_001e), // 2.5, 5, 8 and 16 GT/s
    register("EXP_LNKCTL2", EXP + 48, 2, 0x0004).writable(0x000f),
    // MSI: one vector, 64-bit address.
    register("MSI_CAP", MSI, 2, 0x05),
    register("MSI_FLAGS", MSI_FLAGS, 2, 0x0080).writable(MSI_FLAGS_ENABLE as u32 | 0x0070),
    register("MSI_ADDRESS_LO", MSI_ADDRESS_LO, 4, 0).writable(0xffff_fffc),
    register("MSI_ADDRESS_HI", MSI_ADDRESS_HI, 4, 0).writable(u32::MAX),
    register("MSI_DATA_64", MSI_DATA_64, 2, 0).writable(0xffff),
    // A vendor-specific extended capability of 16 bytes, so that the list is not empty: without one amdgpu complains that it cannot
    // access extended configuration space. AMD's cards have the same; the contents are not known and read as 0.
    register("EXT_CAP_ID_VNDR", VSEC, 4, 0x0001_000b),
    register("VNDR_HEADER", VSEC + 4, 4, 0x0101_0001),
];

const BAR_NAMES: [&str; 6] = [
    "BASE_ADDRESS_0",
    "BASE_ADDRESS_1",
    "BASE_ADDRESS_2",
    "BASE_ADDRESS_3",
    "BASE_ADDRESS_4",
    "BASE_ADDRESS_5",
];

impl Layout {
    /// All registers; whatever none of them covers reads as zero and ignores writes.
    pub(super) fn registers(&self) -> Result<Vec<Register>, LayoutError> {
        let Self {
            identity,
            bars,
            rom_size,
            no_soft_reset,
        } = self;
        let power = if *no_soft_reset { PM_CTRL_NO_SOFT_RESET } else { 0 };
        let class = identity.class << 8 | u32::from(identity.revision);
        let mut registers = vec![
            register("VENDOR_ID", 0x00, 2, identity.vendor.into()),
            register("DEVICE_ID", 0x02, 2, identity.device.into()),
            register("CLASS_REVISION", 0x08, 4, class),
            register("SUBSYSTEM_VENDOR_ID", 0x2c, 2, identity.subsystem_vendor.into()),
            register("SUBSYSTEM_ID", 0x2e, 2, identity.subsystem.into()),
            register("PM_CTRL", PM_CTRL, 2, power).writable(PM_CTRL_STATE_MASK.into()),
        ];
        registers.extend_from_slice(COMMON);
        let mut taken = [false; BAR_NAMES.len()];
        for bar in bars {
            for (slot, part) in (bar.index..).zip(bar.registers()?) {
                let slot_taken = taken
                    .get_mut(usize::from(slot))
                    .ok_or(LayoutError::BarIndex(bar.index))?;
                if std::mem::replace(slot_taken, true) {
                    return Err(LayoutError::BarOverlap(slot));
                }
                registers.push(part);
            }
        }
        if *rom_size != 0 {
            if !rom_size.is_power_of_two() || !(0x800..=0x100_0000).contains(rom_size) {
                return Err(LayoutError::RomSize(*rom_size));
            }
            const ENABLE: u32 = 1;
            registers.push(register("ROM_ADDRESS", ROM_ADDRESS, 4, 0).writable(!(rom_size - 1) | ENABLE));
        }
        Ok(registers)
    }
}

impl Bar {
    /// One register, or two for a 64-bit BAR. Address bits below the size are hardwired to 0, which is how software finds the size.
    fn registers(&self) -> Result<Vec<Register>, LayoutError> {
        const MEMORY_TYPE_64: u32 = 0x4;
        const MEMORY_PREFETCH: u32 = 0x8;
        let Self { index, size, kind } = *self;
        let (limit, slots, flags) = match kind {
            BarKind::Memory32 => (1 << 31, 1, 0),
            BarKind::Memory64Prefetchable => (1 << 63, 2, MEMORY_TYPE_64 | MEMORY_PREFETCH),
        };
        if !size.is_power_of_two() || !(16..=limit).contains(&size) {
            return Err(LayoutError::BarSize { index, size });
        }
        let mask = !(size - 1);
        let [m0, m1, m2, m3, m4, m5, m6, m7] = mask.to_le_bytes();
        let halves = [
            (u32::from_le_bytes([m0, m1, m2, m3]), flags),
            (u32::from_le_bytes([m4, m5, m6, m7]), 0),
        ];
        (u16::from(index)..)
            .zip(halves)
            .take(slots)
            .map(|(slot, (mask, flags))| {
                let name = BAR_NAMES
                    .get(usize::from(slot))
                    .ok_or(LayoutError::BarIndex(index))?;
                Ok(register(name, BASE_ADDRESS_0 + 4 * slot, 4, flags).writable(mask))
            })
            .collect()
    }
}
