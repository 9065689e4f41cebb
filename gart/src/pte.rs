//! Page-table and page-directory entries of GFX10.
//!
//! Layout: amdgpu `gmc_v10_0.c`, comment "PTE format on NAVI 10", and the `AMDGPU_PTE_*`/`AMDGPU_PDE_*` constants of
//! `amdgpu_vm.h` (Linux 6.1). An address in either entry is a bus address if [`system`](Pte::system) is set; otherwise it is the
//! MC address minus the start of VRAM plus FB_OFFSET (`amdgpu_gmc_vram_mc2pa`).

use bitfield_struct::bitfield;

use crate::{BusAddr, Location, VramOffset};

/// Where an entry's address points: on the bus as it is, in VRAM relative to FB_OFFSET (bytes). An address below FB_OFFSET wraps
/// to an offset that no VRAM has, so that it is refused like any other that lies outside.
const fn locate(system: bool, address: u64, fb_offset: u64) -> Location {
    if system {
        Location::System(BusAddr::new(address))
    } else {
        Location::Vram(VramOffset::new(address.wrapping_sub(fb_offset)))
    }
}

/// A page-table entry, or a directory entry that acts as one ([`pde_pte`](Self::pde_pte)).
#[bitfield(u64)]
#[derive(PartialEq, Eq, Hash)]
pub struct Pte {
    /// V: the page is mapped.
    pub valid: bool,
    /// S: the address is a bus address, not a VRAM address.
    pub system: bool,
    /// C: snoop the CPU's caches. No effect here: memory is coherent.
    pub snooped: bool,
    /// Z: trusted memory zone. No effect here.
    pub tmz: bool,
    /// X: instructions may be fetched. The driver also sets it alone, as a mark, in entries that are not valid.
    pub executable: bool,
    /// R: the page may be read.
    pub readable: bool,
    /// W: the page may be written.
    pub writeable: bool,
    /// FRAG: the page is part of a naturally aligned run of `1 << FRAG` pages of 4 KiB that is contiguous in physical memory.
    #[bits(5)]
    pub fragment: u8,
    /// Address bits 47:12. See [`address`](Self::address).
    #[bits(36)]
    pub page_number: u64,
    /// MTYPE: cache policy. No effect here.
    #[bits(3)]
    pub mtype: u8,
    /// T: partially resident texture. With V clear, reads give zeros and writes are dropped, without a fault.
    pub prt: bool,
    /// Free for software.
    #[bits(2)]
    pub software: u8,
    /// P: this entry of a page directory is a leaf.
    pub pde_pte: bool,
    /// L: log accesses. No effect here.
    pub log: bool,
    /// F: translate further. Navi2x drivers do not use it; no effect here.
    pub translate_further: bool,
    #[bits(1)]
    __: u8,
    /// Do not allocate in the MALL cache. No effect here.
    pub noalloc: bool,
    #[bits(5)]
    __: u8,
}

impl Pte {
    /// The page's address in bytes, 4 KiB aligned.
    pub const fn address(self) -> u64 {
        self.page_number() << 12
    }

    /// The same entry for another page; `address` in bytes, of which bits 47:12 are kept.
    #[must_use]
    pub const fn with_address(self, address: u64) -> Self {
        self.with_page_number(address >> 12 & ((1 << 36) - 1))
    }

    /// Where the page begins. `fb_offset` is GCMC_VM_FB_OFFSET in bytes.
    pub const fn location(self, fb_offset: u64) -> Location {
        locate(self.system(), self.address(), fb_offset)
    }

    /// Whether the entry stands for a partially resident page that is not resident.
    pub const fn is_unmapped_prt(self) -> bool {
        self.prt() && !self.valid()
    }
}

/// A page-directory entry. The CONTEXTn_PAGE_TABLE_BASE_ADDR register pair holds one too (its fields are called
/// PAGE_DIRECTORY_ENTRY_LO32/HI32): the entry that points at the root table.
#[bitfield(u64)]
#[derive(PartialEq, Eq, Hash)]
pub struct Pde {
    /// V: there is a table.
    pub valid: bool,
    /// S: the table's address is a bus address.
    pub system: bool,
    /// C: table reads snoop the CPU's caches. No effect here.
    pub coherent: bool,
    #[bits(3)]
    __: u8,
    /// Address bits 47:6. See [`address`](Self::address).
    #[bits(42)]
    pub line_number: u64,
    #[bits(6)]
    __: u8,
    /// P: this entry is a leaf and has the layout of [`Pte`].
    pub pde_pte: bool,
    #[bits(4)]
    __: u8,
    /// Block fragment size, for "translate further" only; no effect here.
    #[bits(5)]
    pub block_fragment_size: u8,
}

impl Pde {
    /// The table's address in bytes, 64-byte aligned.
    pub const fn address(self) -> u64 {
        self.line_number() << 6
    }

    /// The same entry for another table; `address` in bytes, of which bits 47:6 are kept.
    #[must_use]
    pub const fn with_address(self, address: u64) -> Self {
        self.with_line_number(address >> 6 & ((1 << 42) - 1))
    }

    /// Where the table begins. `fb_offset` is GCMC_VM_FB_OFFSET in bytes.
    pub const fn location(self, fb_offset: u64) -> Location {
        locate(self.system(), self.address(), fb_offset)
    }

    /// The same bits read as a page-table entry.
    pub const fn as_pte(self) -> Pte {
        Pte::from_bits(self.into_bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The constants of `amdgpu_vm.h`.
    #[test]
    fn pte_bits_are_where_the_driver_puts_them() {
        assert_eq!(Pte::new().with_valid(true).into_bits(), 1 << 0);
        assert_eq!(Pte::new().with_system(true).into_bits(), 1 << 1);
        assert_eq!(Pte::new().with_snooped(true).into_bits(), 1 << 2);
        assert_eq!(Pte::new().with_tmz(true).into_bits(), 1 << 3);
        assert_eq!(Pte::new().with_executable(true).into_bits(), 1 << 4);
        assert_eq!(Pte::new().with_readable(true).into_bits(), 1 << 5);
        assert_eq!(Pte::new().with_writeable(true).into_bits(), 1 << 6);
        assert_eq!(Pte::new().with_fragment(0x1f).into_bits(), 0x1f << 7);
        assert_eq!(
            Pte::new().with_page_number((1 << 36) - 1).into_bits(),
            0xffff_ffff_f000
        );
        assert_eq!(Pte::new().with_mtype(7).into_bits(), 7 << 48);
        assert_eq!(Pte::new().with_prt(true).into_bits(), 1 << 51);
        assert_eq!(Pte::new().with_software(3).into_bits(), 3 << 52);
        assert_eq!(Pte::new().with_pde_pte(true).into_bits(), 1 << 54);
        assert_eq!(Pte::new().with_log(true).into_bits(), 1 << 55);
        assert_eq!(Pte::new().with_translate_further(true).into_bits(), 1 << 56);
        assert_eq!(Pte::new().with_noalloc(true).into_bits(), 1 << 58);
    }

    #[test]
    fn pde_bits_are_where_the_driver_puts_them() {
        assert_eq!(Pde::new().with_valid(true).into_bits(), 1 << 0);
        assert_eq!(Pde::new().with_system(true).into_bits(), 1 << 1);
        assert_eq!(Pde::new().with_coherent(true).into_bits(), 1 << 2);
        assert_eq!(
            Pde::new().with_line_number((1 << 42) - 1).into_bits(),
            0xffff_ffff_ffc0
        );
        assert_eq!(Pde::new().with_pde_pte(true).into_bits(), 1 << 54);
        assert_eq!(Pde::new().with_block_fragment_size(0x1f).into_bits(), 0x1f << 59);
    }

    #[test]
    fn addresses_round_trip_and_drop_what_does_not_fit() {
        assert_eq!(
            Pte::new().with_address(0x1234_5678_9abc).address(),
            0x1234_5678_9000
        );
        assert_eq!(
            Pde::new().with_address(0x1234_5678_9abc).address(),
            0x1234_5678_9a80
        );
        assert_eq!(Pte::new().with_address(u64::MAX).address(), 0xffff_ffff_f000);
        assert_eq!(Pde::new().with_address(u64::MAX).into_bits(), 0xffff_ffff_ffc0);
    }

    #[test]
    fn vram_addresses_are_relative_to_the_frame_buffer_offset() {
        let entry = Pte::new().with_address(0x30_0000);
        assert_eq!(
            entry.location(0x10_0000),
            Location::Vram(VramOffset::new(0x20_0000))
        );
        assert_eq!(
            entry.with_system(true).location(0x10_0000),
            Location::System(BusAddr::new(0x30_0000))
        );
        // Below the offset: far outside any VRAM.
        assert_eq!(
            entry.location(0x40_0000),
            Location::Vram(VramOffset::new(0x10_0000u64.wrapping_neg()))
        );
    }
}
