//! `gmc_v10_0.c`, `gfxhub_v2_1.c`, `mmhub_v2_0.c`: the MC address space, the GART, the contexts, invalidation.

use gart::{BusAddr, GpuVa, VramOffset};

use super::Kernel;
use super::regs::{GFXHUB, Hub, MMHUB, element, nbio};
use crate::guest::{Buffer, Failure, FakeGuest, PAGE, expect, hi, lo};

/// Bytes of address space that the GART covers.
const GART_SIZE: u64 = 512 << 20;
/// Pages at the window's start that TTM keeps for buffer moves: two transfers of 512 pages.
const TRANSFER_PAGES: u64 = 2 * 512;
/// Page numbers in a user's address space of 48 bits.
const MAX_PFN: u64 = 1 << 36;
const SIXTEEN_GIB: u64 = 16 << 30;
/// The invalidation engine that the driver keeps for itself.
pub const MMIO_ENGINE: u32 = 17;

/// Bits of page-table entries (`amdgpu_vm.h`).
pub mod pte {
    /// Entry is valid.
    pub const VALID: u64 = 1 << 0;
    /// A bus address, not one of the frame buffer.
    pub const SYSTEM: u64 = 1 << 1;
    /// CPU caches are snooped.
    pub const SNOOPED: u64 = 1 << 2;
    /// Shaders may execute.
    pub const EXECUTABLE: u64 = 1 << 4;
    /// Reads allowed.
    pub const READABLE: u64 = 1 << 5;
    /// Writes allowed.
    pub const WRITEABLE: u64 = 1 << 6;
    /// In a directory: the entry is a page itself.
    pub const PDE_PTE: u64 = 1 << 54;
    /// Uncached.
    pub const MTYPE_UC: u64 = 3 << 48;
    /// What a system page of the kernel or of a user has.
    pub const SYSTEM_PAGE: u64 = VALID | SYSTEM | SNOOPED | EXECUTABLE | READABLE | WRITEABLE | MTYPE_UC;
    /// What a VRAM page of a user has.
    pub const VRAM_PAGE: u64 = VALID | EXECUTABLE | READABLE | WRITEABLE;
}

/// An invalidation request for one VMID: all levels, legacy flush (`gfxhub_v2_1_get_invalidate_req`).
pub const fn invalidate_request(vmid: u32) -> u32 {
    0x00f8_0000 | 1 << vmid
}

/// The memory controller's software state.
#[derive(Debug)]
pub struct Gmc {
    /// MC address of VRAM.
    pub fb_start: u64,
    fb_end: u64,
    fb_offset: u64,
    gart_start: u64,
    agp: Option<(u64, u64)>,
    table: Buffer,
    scratch: Buffer,
    dummy_page: BusAddr,
    next_page: u64,
    bound: Vec<(u64, BusAddr)>,
}

impl Gmc {
    /// `gmc_v10_0_mc_init`, `amdgpu_gart_table_vram_alloc`: reads where VRAM is, places the windows, allocates the table.
    ///
    /// # Errors
    /// [`Failure`] if the device's answers make no sense.
    pub fn new(guest: &mut FakeGuest, kernel: Kernel) -> Result<Self, Failure> {
        let vram_size = u64::from(guest.read(nbio::RCC_CONFIG_MEMSIZE)) << 20;
        let fb_start = u64::from(guest.read(GFXHUB.fb_location_base) & 0xff_ffff) << 24;
        let fb_offset = u64::from(guest.read(GFXHUB.fb_offset)) << 24;
        let fb_end = fb_start + vram_size - 1;
        expect(
            "frame buffer base of the multimedia hub",
            u64::from(guest.read(MMHUB.fb_location_base)) << 24,
            fb_start,
        )?;
        // `amdgpu_gmc_gart_location`: the space before the frame buffer, where it suffices and is the smaller one.
        if fb_start < GART_SIZE {
            return Err(Failure::Invalid(
                "the GART would have to lie behind the frame buffer",
            ));
        }
        let agp_start = (fb_end + 1).next_multiple_of(SIXTEEN_GIB);
        let table_size = GART_SIZE / PAGE * 8;
        let table = vram_buffer(guest, fb_start, table_size, PAGE)?;
        let scratch = vram_buffer(guest, fb_start, PAGE, PAGE)?;
        let dummy_page = guest
            .allocate_pages(PAGE)?
            .first()
            .copied()
            .ok_or(Failure::Exhausted("RAM"))?;
        Ok(Self {
            fb_start,
            fb_end,
            fb_offset,
            gart_start: 0,
            agp: (kernel == Kernel::V6_1).then_some((agp_start, (1 << 48) - 1)),
            table,
            scratch,
            dummy_page,
            next_page: TRANSFER_PAGES,
            bound: Vec::new(),
        })
    }

    /// The GART's table; its first 64 bytes are what the driver looks at to know whether VRAM was lost.
    pub const fn table(&self) -> &Buffer {
        &self.table
    }

    /// Allocates a buffer in VRAM.
    ///
    /// # Errors
    /// [`Failure::Exhausted`].
    pub fn vram(&self, guest: &mut FakeGuest, size: u64, align: u64) -> Result<Buffer, Failure> {
        vram_buffer(guest, self.fb_start, size, align)
    }

    /// Allocates a buffer in RAM and binds it.
    ///
    /// # Errors
    /// [`Failure::Exhausted`].
    pub fn gtt(&mut self, guest: &mut FakeGuest, size: u64, align: u64) -> Result<Buffer, Failure> {
        let pages = guest.allocate_pages(size)?;
        let first = self.next_page.next_multiple_of(align.div_ceil(PAGE));
        self.next_page = first + pages.len() as u64;
        if self.next_page > GART_SIZE / PAGE {
            return Err(Failure::Exhausted("GART"));
        }
        for (page, index) in pages.iter().zip(first..) {
            self.bound.push((index, *page));
            self.write_entry(guest, index, *page)?;
        }
        Ok(Buffer::in_ram(
            pages,
            GpuVa::new(self.gart_start + first * PAGE),
            size,
        ))
    }

    fn write_entry(&self, guest: &FakeGuest, index: u64, page: BusAddr) -> Result<(), Failure> {
        let entry = page.get() | pte::SYSTEM_PAGE;
        guest.write_bytes(&self.table, index * 8, &entry.to_le_bytes())
    }

    /// What a page-table entry or a PD base holds for a place in VRAM (`amdgpu_gmc_vram_mc2pa`).
    pub const fn vram_entry(&self, mc: GpuVa) -> u64 {
        mc.get() - self.fb_start + self.fb_offset
    }

    /// The MC address at which the AGP window shows a bus address; none where the driver does not open it.
    pub fn agp_address(&self, page: BusAddr) -> Option<GpuVa> {
        self.agp.map(|(start, _)| GpuVa::new(start + page.get()))
    }

    /// `gmc_v10_0_gart_enable`; after a reset this is what makes GART addresses valid again (`amdgpu_gtt_mgr_recover`).
    ///
    /// # Errors
    /// [`Failure`] if an invalidation is not acknowledged.
    pub fn enable(&self, guest: &mut FakeGuest) -> Result<(), Failure> {
        for (index, page) in &self.bound {
            self.write_entry(guest, *index, *page)?;
        }
        for hub in [&GFXHUB, &MMHUB] {
            self.enable_hub(guest, hub);
        }
        guest.modify(nbio::HDP_MISC_CNTL, 0, 1 << 5);
        guest.write(nbio::HDP_NONSURFACE_BASE, lo(self.fb_start >> 8));
        flush_hdp(guest);
        for hub in [&GFXHUB, &MMHUB] {
            // set_fault_enable_default
            guest.modify(hub.fault_cntl, 0, 0x1ffc);
        }
        self.flush_gart(guest)
    }

    /// Invalidates VMID 0 on both hubs.
    ///
    /// # Errors
    /// [`Failure`] if that is not acknowledged.
    pub fn flush_gart(&self, guest: &mut FakeGuest) -> Result<(), Failure> {
        flush_hdp(guest);
        flush_tlb(guest, &MMHUB, 0)?;
        flush_tlb(guest, &GFXHUB, 0)
    }

    fn enable_hub(&self, guest: &mut FakeGuest, hub: &Hub) {
        // init_gart_aperture_regs
        let base = self.vram_entry(self.table.mc()) | pte::VALID;
        guest.write_pair(hub.page_table_base, hub.page_table_base.plus(4), base);
        guest.write_pair(
            hub.page_table_start,
            hub.page_table_start.plus(4),
            self.gart_start >> 12,
        );
        let gart_end = self.gart_start + GART_SIZE - 1;
        guest.write_pair(hub.page_table_end, hub.page_table_end.plus(4), gart_end >> 12);
        // init_system_aperture_regs
        let (agp_start, agp_end) = self.agp.unwrap_or((0xffff_ffff_ffff, 0));
        guest.write(hub.agp_base, 0);
        guest.write(hub.agp_bot, lo(agp_start >> 24));
        guest.write(hub.agp_top, lo(agp_end >> 24));
        guest.write(hub.system_aperture_low, lo(self.fb_start.min(agp_start) >> 18));
        guest.write(hub.system_aperture_high, lo(self.fb_end.max(agp_end) >> 18));
        let default = self.vram_entry(self.scratch.mc());
        guest.write(hub.system_aperture_default_lsb, lo(default >> 12));
        guest.write(hub.system_aperture_default_msb, lo(default >> 44));
        guest.write_pair(
            hub.fault_default_lo,
            hub.fault_default_hi,
            self.dummy_page.get() >> 12,
        );
        guest.modify(hub.fault_cntl2, 0, 1 << 18);
        // init_tlb_regs: ENABLE_L1_TLB, SYSTEM_ACCESS_MODE 3, ENABLE_ADVANCED_DRIVER_MODEL, MTYPE UC
        guest.modify(hub.l1_tlb_cntl, 0x3879, 1 | 3 << 3 | 1 << 6 | 3 << 11);
        // init_cache_regs
        guest.modify(hub.l2_cntl, 0x0024_0102, 1 | 1 << 11 | 1 << 19);
        guest.modify(hub.l2_cntl2, 0, 3);
        guest.write(hub.l2_cntl3, 0x8010_0007 | 9);
        guest.write(hub.l2_cntl4, 0x0000_0001);
        guest.write(hub.l2_cntl5, 0x0000_3fe0);
        // enable_system_domain: depth 0, no retry
        guest.modify(hub.context_cntl, 0x86, 1);
        // disable_identity_aperture
        let [low, high, offset] = hub.identity_aperture;
        guest.write_pair(low, low.plus(4), 0xf_ffff_ffff);
        guest.write_pair(high, high.plus(4), 0);
        guest.write_pair(offset, offset.plus(4), 0);
        setup_vmid_config(guest, hub);
        // program_invalidation
        for engine in 0..18 {
            let range = element(hub.range, engine, 8);
            guest.write_pair(range, range.plus(4), 0x1f_ffff_ffff);
        }
    }
}

fn vram_buffer(guest: &mut FakeGuest, fb_start: u64, size: u64, align: u64) -> Result<Buffer, Failure> {
    let at: VramOffset = guest.allocate_vram(size, align)?;
    Ok(Buffer::in_vram(at, GpuVa::new(fb_start + at.get()), size))
}

/// Contexts 1 to 15: four levels, faults go to the default page.
fn setup_vmid_config(guest: &mut FakeGuest, hub: &Hub) {
    const ENABLE_DEFAULT: u32 = 1 << 10 | 1 << 12 | 1 << 14 | 1 << 16 | 1 << 18 | 1 << 20 | 1 << 22;
    for vmid in 1..16 {
        // ENABLE_CONTEXT, PAGE_TABLE_DEPTH 3, block size 9 - 9, no retry
        guest.modify(
            element(hub.context_cntl, vmid, 4),
            0xfe,
            1 | 3 << 1 | ENABLE_DEFAULT,
        );
        let start = element(hub.page_table_start, vmid, 8);
        let end = element(hub.page_table_end, vmid, 8);
        guest.write_pair(start, start.plus(4), 0);
        guest.write_pair(end, end.plus(4), MAX_PFN - 1);
    }
}

/// `gmc_v10_0_vm_fault_interrupt_state`, as late initialisation and the resume after a reset call it.
pub fn enable_fault_interrupts(guest: &mut FakeGuest) {
    const ENABLE_INTERRUPT: u32 = 1 << 9 | 1 << 11 | 1 << 13 | 1 << 15 | 1 << 17 | 1 << 19 | 1 << 21;
    for hub in [&MMHUB, &GFXHUB] {
        for vmid in 0..16 {
            guest.modify(element(hub.context_cntl, vmid, 4), 0, ENABLE_INTERRUPT);
        }
    }
}

/// `nbio_v2_3_hdp_flush` through the remapped page.
pub fn flush_hdp(guest: &mut FakeGuest) {
    guest.write(nbio::REMAPPED_HDP_MEM_FLUSH, 0);
}

/// `gmc_v10_0_flush_vm_hub`.
///
/// # Errors
/// [`Failure::Timeout`] if the semaphore is not given or the request not acknowledged.
pub fn flush_tlb(guest: &mut FakeGuest, hub: &Hub, vmid: u32) -> Result<(), Failure> {
    let sem = element(hub.sem, MMIO_ENGINE, 4);
    if hub.takes_semaphore {
        guest.poll("invalidation semaphore", sem, 1, 1)?;
    }
    guest.write(element(hub.req, MMIO_ENGINE, 4), invalidate_request(vmid));
    let acknowledged = guest.poll(
        "invalidation acknowledge",
        element(hub.ack, MMIO_ENGINE, 4),
        1 << vmid,
        1 << vmid,
    );
    if hub.takes_semaphore {
        guest.write(sem, 0);
    }
    acknowledged.map(|_| ())
}

/// The 64-bit value of a pair of registers.
pub fn read_pair(guest: &mut FakeGuest, low: mmio::RegOffset) -> u64 {
    let low_half = guest.read(low);
    u64::from(guest.read(low.plus(4))) << 32 | u64::from(low_half)
}

/// Whether both halves of an address come back as they were written.
///
/// # Errors
/// [`Failure::Mismatch`].
pub fn check_context0(guest: &mut FakeGuest, gmc: &Gmc) -> Result<(), Failure> {
    for hub in [&GFXHUB, &MMHUB] {
        let base = gmc.vram_entry(gmc.table.mc()) | pte::VALID;
        expect("base of context 0", read_pair(guest, hub.page_table_base), base)?;
        let end = (gmc.gart_start + GART_SIZE - 1) >> 12;
        expect("end of context 0", read_pair(guest, hub.page_table_end), end)?;
        expect("high half of the end", hi(end), 0_u32)?;
        expect("context 0 enabled", guest.read(hub.context_cntl) & 7, 1_u32)?;
        expect(
            "context 15 enabled, four levels",
            guest.read(element(hub.context_cntl, 15, 4)) & 7,
            7_u32,
        )?;
    }
    Ok(())
}
