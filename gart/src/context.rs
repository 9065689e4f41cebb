//! What the registers say about translation, decoded once per register write: the VMID contexts and the apertures of VMID 0.

use bitfield_struct::bitfield;

use crate::{FaultKind, Pde, Vmid};

/// Bytes in the smallest page.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;
/// Entries in every directory below the root, as a power of two (`amdgpu_vm_pt.c`: 9 bits per level).
pub(crate) const DIRECTORY_BITS: u32 = 9;

/// A kind of table, by what its entries are called: the page-table block or one of the page-directory blocks above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Holds the 4 KiB pages.
    Ptb,
    /// Points at PTBs; its leaves are 2 MiB with the usual block size.
    Pdb0,
    /// Points at PDB0s; its leaves are 1 GiB with the usual block size.
    Pdb1,
    /// Points at PDB1s: the root of a 4-level tree.
    Pdb2,
}

impl Level {
    /// How many levels there can be.
    pub const COUNT: usize = 4;

    /// The root of a context with this PAGE_TABLE_DEPTH (two bits): 0 is a lone page table, 3 has four levels.
    pub const fn root_of(depth: u8) -> Self {
        match depth & 3 {
            0 => Self::Ptb,
            1 => Self::Pdb0,
            2 => Self::Pdb1,
            _ => Self::Pdb2,
        }
    }

    /// The number of levels below this one: 0 for [`Level::Ptb`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The level with so many levels below it; the highest, if there is none with so many.
    #[inline]
    pub(crate) const fn with_below(levels: usize) -> Self {
        match levels {
            0 => Self::Ptb,
            1 => Self::Pdb0,
            2 => Self::Pdb1,
            _ => Self::Pdb2,
        }
    }

    /// What this level's directory entries point at.
    #[inline]
    pub const fn below(self) -> Option<Self> {
        match self {
            Self::Ptb => None,
            Self::Pdb0 => Some(Self::Ptb),
            Self::Pdb1 => Some(Self::Pdb0),
            Self::Pdb2 => Some(Self::Pdb1),
        }
    }

    /// The fault of an entry *in a table of this level* that is not valid.
    pub const fn invalid_entry(self) -> FaultKind {
        match self {
            Self::Ptb => FaultKind::InvalidPte,
            Self::Pdb0 => FaultKind::InvalidPde { level: 0 },
            Self::Pdb1 => FaultKind::InvalidPde { level: 1 },
            Self::Pdb2 => FaultKind::InvalidPde { level: 2 },
        }
    }

    /// log2 of the bytes that one entry of this level covers.
    #[inline]
    pub(crate) const fn entry_shift(self, block_bits: u32) -> u32 {
        match (self as u32).checked_sub(Self::Pdb0 as u32) {
            None => PAGE_SHIFT,
            Some(above) => PAGE_SHIFT
                .wrapping_add(block_bits)
                .wrapping_add(DIRECTORY_BITS.wrapping_mul(above)),
        }
    }

    /// Highest index into a table of this level that is not the root. (The root takes all remaining address bits.)
    #[inline]
    pub(crate) const fn last_index(self, block_bits: u32) -> u64 {
        match self {
            Self::Ptb => (1_u64 << (block_bits & 31)).wrapping_sub(1),
            Self::Pdb0 | Self::Pdb1 | Self::Pdb2 => (1 << DIRECTORY_BITS) - 1,
        }
    }
}

/// GCVM_CONTEXTn_CNTL (GC 10.3, MMHUB 2.x; `gc_10_3_0_sh_mask.h`).
#[bitfield(u32)]
#[derive(PartialEq, Eq, Hash)]
pub struct ContextCntl {
    /// ENABLE_CONTEXT.
    pub enable_context: bool,
    /// PAGE_TABLE_DEPTH: directory levels above the page table.
    #[bits(2)]
    pub page_table_depth: u8,
    /// PAGE_TABLE_BLOCK_SIZE: log2 of the entries of a page table, minus 9.
    #[bits(4)]
    pub page_table_block_size: u8,
    /// RETRY_PERMISSION_OR_INVALID_PAGE_FAULT. No effect here: faults are never retried.
    pub retry_permission_or_invalid_page_fault: bool,
    /// RETRY_OTHER_FAULT. No effect here.
    pub retry_other_fault: bool,
    /// RANGE_PROTECTION_FAULT_ENABLE_INTERRUPT.
    pub range_interrupt: bool,
    /// RANGE_PROTECTION_FAULT_ENABLE_DEFAULT.
    pub range_default: bool,
    /// DUMMY_PAGE_PROTECTION_FAULT_ENABLE_INTERRUPT.
    pub dummy_page_interrupt: bool,
    /// DUMMY_PAGE_PROTECTION_FAULT_ENABLE_DEFAULT.
    pub dummy_page_default: bool,
    /// PDE0_PROTECTION_FAULT_ENABLE_INTERRUPT: directory entries of every level.
    pub pde0_interrupt: bool,
    /// PDE0_PROTECTION_FAULT_ENABLE_DEFAULT.
    pub pde0_default: bool,
    /// VALID_PROTECTION_FAULT_ENABLE_INTERRUPT.
    pub valid_interrupt: bool,
    /// VALID_PROTECTION_FAULT_ENABLE_DEFAULT.
    pub valid_default: bool,
    /// READ_PROTECTION_FAULT_ENABLE_INTERRUPT.
    pub read_interrupt: bool,
    /// READ_PROTECTION_FAULT_ENABLE_DEFAULT.
    pub read_default: bool,
    /// WRITE_PROTECTION_FAULT_ENABLE_INTERRUPT.
    pub write_interrupt: bool,
    /// WRITE_PROTECTION_FAULT_ENABLE_DEFAULT.
    pub write_default: bool,
    /// EXECUTE_PROTECTION_FAULT_ENABLE_INTERRUPT.
    pub execute_interrupt: bool,
    /// EXECUTE_PROTECTION_FAULT_ENABLE_DEFAULT.
    pub execute_default: bool,
    #[bits(9)]
    __: u16,
}

/// One VMID's address space, decoded from its registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// ENABLE_CONTEXT, and not in CONTEXTS_DISABLE.
    pub enabled: bool,
    /// The control register, for the fault enables.
    pub cntl: ContextCntl,
    /// PAGE_TABLE_BASE_ADDR: the entry that points at the root.
    pub root: Pde,
    /// What kind of table the root is.
    pub root_level: Level,
    /// log2 of the entries of a page table, 9..=24.
    pub block_bits: u32,
    /// First mapped page number (PAGE_TABLE_START_ADDR); table indices count from here.
    pub start_page: u64,
    /// Last mapped page number, inclusive (PAGE_TABLE_END_ADDR).
    pub end_page: u64,
}

impl Context {
    /// Decodes the register values. `start_page` and `end_page` are 36-bit page numbers.
    pub fn new(cntl: ContextCntl, root: Pde, start_page: u64, end_page: u64) -> Self {
        Self {
            enabled: cntl.enable_context(),
            cntl,
            root,
            root_level: Level::root_of(cntl.page_table_depth()),
            block_bits: u32::from(cntl.page_table_block_size()).saturating_add(9),
            start_page,
            end_page,
        }
    }
}

/// What VMID 0 can address without a page table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Apertures {
    /// First MC address of VRAM (FB_LOCATION_BASE).
    pub fb_start: u64,
    /// Last MC address of VRAM, inclusive (FB_LOCATION_TOP).
    pub fb_last: u64,
    /// FB_OFFSET in bytes: what page-table entries add to VRAM offsets.
    pub fb_offset: u64,
    /// First MC address of the AGP window (AGP_BOT).
    pub agp_start: u64,
    /// Last MC address of the AGP window, inclusive (AGP_TOP). 0 if there is no window.
    pub agp_last: u64,
    /// Bus address of the window's first byte (AGP_BASE).
    pub agp_base: u64,
}

impl Apertures {
    /// Decodes register values, which count in 16 MiB. A TOP of zero is the state after reset and no window.
    pub const fn new(
        fb_base: u32,
        fb_top: u32,
        fb_offset: u32,
        agp_bot: u32,
        agp_top: u32,
        agp_base: u32,
    ) -> Self {
        const fn first(field: u32) -> u64 {
            ((field & 0xff_ffff) as u64) << 24
        }
        Self {
            fb_start: first(fb_base),
            fb_last: first(fb_top) | 0xff_ffff,
            fb_offset: first(fb_offset),
            agp_start: first(agp_bot),
            agp_last: if agp_top == 0 {
                0
            } else {
                first(agp_top) | 0xff_ffff
            },
            agp_base: first(agp_base),
        }
    }
}

/// Everything that translation depends on beside memory: a hub's registers, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressSpace {
    /// The apertures of VMID 0.
    pub apertures: Apertures,
    /// The contexts by VMID.
    pub contexts: [Context; Vmid::COUNT],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_cntl_bits_are_where_the_headers_put_them() {
        // gfxhub_v2_1_setup_vmid_config with 4 levels, block size 9, plus what amdgpu_gmc_set_vm_fault_masks adds.
        let cntl = ContextCntl::from_bits(0x7f_fe07);
        assert!(cntl.enable_context());
        assert_eq!(cntl.page_table_depth(), 3);
        assert_eq!(cntl.page_table_block_size(), 0);
        assert!(!cntl.retry_permission_or_invalid_page_fault());
        assert_eq!(ContextCntl::new().with_range_interrupt(true).into_bits(), 0x200);
        assert_eq!(
            ContextCntl::new().with_dummy_page_interrupt(true).into_bits(),
            0x800
        );
        assert_eq!(ContextCntl::new().with_pde0_interrupt(true).into_bits(), 0x2000);
        assert_eq!(ContextCntl::new().with_valid_interrupt(true).into_bits(), 0x8000);
        assert_eq!(ContextCntl::new().with_read_interrupt(true).into_bits(), 0x2_0000);
        assert_eq!(
            ContextCntl::new().with_write_interrupt(true).into_bits(),
            0x8_0000
        );
        assert_eq!(
            ContextCntl::new().with_execute_interrupt(true).into_bits(),
            0x20_0000
        );
    }

    #[test]
    fn levels_cover_what_the_driver_computes() {
        // amdgpu_vm_pt_level_shift with block size 9: pages, 2 MiB, 1 GiB, 512 GiB.
        let shifts = [Level::Ptb, Level::Pdb0, Level::Pdb1, Level::Pdb2].map(|level| level.entry_shift(9));
        assert_eq!(shifts, [12, 21, 30, 39]);
        assert_eq!(Level::Pdb0.entry_shift(12), 24);
        assert_eq!(Level::Ptb.last_index(12), 4095);
    }
}
