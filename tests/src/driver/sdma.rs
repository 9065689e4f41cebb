//! `sdma_v5_2.c`: engines, rings, jobs.

use gart::GpuVa;

use super::gmc::{Gmc, invalidate_request, pte};
use super::packet::sdma as packet;
use super::regs::{GFXHUB, element, gc, ih, nbio, sdma as reg};
use super::ring::Ring;
use super::wb::{Slot, WriteBack};
use super::{Kernel, wait_ready};
use crate::guest::{Buffer, Failure, FakeGuest, Interrupt, PAGE, expect, hi, lo};

const RING_BYTES: u64 = 16 << 10;
const IB_BYTES: u64 = 64 << 10;
/// 64-bit doorbell index of instance 0, and the distance to the next.
const DOORBELL: (u32, u32) = (0x100, 0xa);
/// Interrupt clients by instance (`soc15_ih_clientid.h`).
const IH_CLIENTS: [u8; 4] = [8, 9, 1, 5];
/// `SDMA0_5_0__SRCID__SDMA_TRAP`.
pub const SRC_TRAP: u8 = 224;

/// Whose address space a job runs in.
#[derive(Debug, Clone, Copy)]
pub struct JobVm {
    /// VMID that the driver has picked.
    pub vmid: u32,
    /// Process address space, for faults.
    pub pasid: u32,
    /// Value of the VMID's page directory base.
    pub pd_base: u64,
}

/// One engine with its kernel ring.
#[derive(Debug)]
pub struct Sdma {
    instance: usize,
    kernel: Kernel,
    /// The ring.
    pub ring: Ring,
    ib: Buffer,
    test: Slot,
    /// Invalidation engine that late initialisation has given to the ring.
    invalidation_engine: u32,
}

impl Sdma {
    /// `sdma_v5_2_sw_init` for one instance.
    ///
    /// # Errors
    /// [`Failure::Exhausted`].
    pub fn new(
        guest: &mut FakeGuest,
        gmc: &mut Gmc,
        wb: &mut WriteBack,
        kernel: Kernel,
        instance: usize,
    ) -> Result<Self, Failure> {
        let number = u32::try_from(instance).unwrap_or(u32::MAX);
        let doorbell = (DOORBELL.0 + DOORBELL.1 * number) << 1;
        let slots = [wb.slot()?, wb.slot()?, wb.slot()?];
        Ok(Self {
            instance,
            kernel,
            ring: Ring::new(
                gmc.gtt(guest, RING_BYTES, PAGE)?,
                doorbell,
                slots,
                16,
                packet::NOP,
            ),
            ib: gmc.gtt(guest, IB_BYTES, PAGE)?,
            test: wb.slot()?,
            // 0 to 3 are other rings' in `amdgpu_gmc_allocate_vm_inv_eng`; any but 17 will do.
            invalidation_engine: 4 + number,
        })
    }

    fn register(&self, register: mmio::RegOffset) -> mmio::RegOffset {
        reg::of(self.instance, register)
    }

    /// The register of this instance.
    pub fn at(&self, register: mmio::RegOffset) -> mmio::RegOffset {
        self.register(register)
    }

    /// `sdma_v5_2_soft_reset` for this instance.
    pub fn soft_reset(&self, guest: &mut FakeGuest) {
        let bit = 1 << (23 + self.instance);
        guest.modify(gc::GRBM_SOFT_RESET, 0, bit);
        guest.read(gc::GRBM_SOFT_RESET);
        guest.modify(gc::GRBM_SOFT_RESET, bit, 0);
        guest.read(gc::GRBM_SOFT_RESET);
    }

    /// `sdma_v5_2_enable` and `sdma_v5_2_ctx_switch_enable`.
    pub fn unhalt(&self, guest: &mut FakeGuest) {
        guest.modify(self.register(reg::F32_CNTL), 1, 0);
        guest.modify(self.register(reg::PHASE0_QUANTUM), u32::MAX, 0x20 << 8);
        guest.modify(self.register(reg::CNTL), 0, 1 << 18);
    }

    /// `sdma_v5_2_gfx_resume` for this instance, up to the ring test.
    ///
    /// # Errors
    /// [`Failure`] if memory is not there.
    pub fn resume(&mut self, guest: &mut FakeGuest) -> Result<(), Failure> {
        const RB_ENABLE: u32 = 1;
        const RPTR_WRITEBACK_ENABLE: u32 = 1 << 12;
        self.ring.clear(guest)?;
        let at = |register| reg::of(self.instance, register);
        guest.write(at(reg::SEM_WAIT_FAIL_TIMER_CNTL), 0);
        guest.modify(at(reg::GFX_RB_CNTL), 0x7e, self.ring.log2_dwords() << 1);
        guest.write_pair(at(reg::GFX_RB_RPTR), at(reg::GFX_RB_RPTR_HI), 0);
        guest.write_pair(at(reg::GFX_RB_WPTR), at(reg::GFX_RB_WPTR_HI), 0);
        let shadow = self.ring.wptr_shadow.mc().get();
        guest.write_pair(
            at(reg::GFX_RB_WPTR_POLL_ADDR_LO),
            at(reg::GFX_RB_WPTR_POLL_ADDR_HI),
            shadow,
        );
        guest.modify(at(reg::GFX_RB_WPTR_POLL_CNTL), 0, 1 << 2);
        let rptr = self.ring.rptr.mc().get();
        guest.write(at(reg::GFX_RB_RPTR_ADDR_HI), hi(rptr));
        guest.write(at(reg::GFX_RB_RPTR_ADDR_LO), lo(rptr) & !3);
        let base = self.ring.buffer.mc().get();
        guest.write(at(reg::GFX_RB_BASE), lo(base >> 8));
        guest.write(at(reg::GFX_RB_BASE_HI), lo(base >> 40));
        guest.write(at(reg::GFX_MINOR_PTR_UPDATE), 1);
        guest.write_pair(at(reg::GFX_RB_WPTR), at(reg::GFX_RB_WPTR_HI), 0);
        guest.modify(at(reg::GFX_DOORBELL), 0, 1 << 28);
        guest.modify(at(reg::GFX_DOORBELL_OFFSET), 0x0fff_fffc, self.ring.doorbell << 2);
        if let Some(range) = nbio::BIF_SDMA_DOORBELL_RANGE.get(self.instance) {
            guest.write(*range, self.ring.doorbell << 2 | 20 << 16);
        }
        guest.write(at(reg::GFX_MINOR_PTR_UPDATE), 0);
        guest.modify(at(reg::CNTL), 0, 1 << 1 | 1 << 5);
        guest.modify(at(reg::UTCL1_CNTL), 0, 3 << 9);
        guest.modify(at(reg::UTCL1_PAGE), 0xf000, 0);
        guest.modify(at(reg::F32_CNTL), 1, 0);
        guest.modify(at(reg::GFX_RB_CNTL), 0, RPTR_WRITEBACK_ENABLE | RB_ENABLE);
        guest.modify(at(reg::GFX_IB_CNTL), 0, 1);
        Ok(())
    }

    /// `sdma_v5_2_set_trap_irq_state`, when fences get their interrupt.
    pub fn enable_trap(&self, guest: &mut FakeGuest) {
        guest.modify(self.register(reg::CNTL), 0, 1);
    }

    /// `sdma_v5_2_ring_set_wptr`.
    ///
    /// # Errors
    /// [`Failure`] if memory is not there.
    pub fn commit(&mut self, guest: &mut FakeGuest) -> Result<(), Failure> {
        self.ring.pad(guest)?;
        let bytes = self.ring.wptr << 2;
        self.ring.wptr_shadow.store_u64(guest, bytes)?;
        guest.doorbell(self.ring.doorbell, bytes);
        if self.kernel == Kernel::V6_1 {
            // 6.1.192 does not trust the doorbell alone.
            guest.write_pair(
                self.register(reg::GFX_RB_WPTR),
                self.register(reg::GFX_RB_WPTR_HI),
                bytes,
            );
        }
        Ok(())
    }

    /// `sdma_v5_2_ring_test_ring`.
    ///
    /// # Errors
    /// [`Failure::Stalled`] if the engine does not write.
    pub fn test_ring(&mut self, guest: &mut FakeGuest) -> Result<(), Failure> {
        self.test.store(guest, 0xcafe_dead)?;
        self.ring
            .write(guest, &packet::write(self.test.mc(), &[0xdead_beef]))?;
        self.commit(guest)?;
        self.test.wait_for(guest, "SDMA ring test", 0xdead_beef)?;
        // The write-back follows the packet: 64 bits, in bytes.
        let (slot, end) = (self.ring.rptr.clone(), self.ring.wptr << 2);
        wait_ready(guest, "SDMA read pointer write-back", |guest| {
            slot.load_u64(guest).is_ok_and(|rptr| rptr == end)
        })
    }

    /// `sdma_v5_2_ring_test_ib`: a buffer, its fence, its interrupt.
    ///
    /// # Errors
    /// [`Failure`] if one of them does not come.
    pub fn test_ib(&mut self, guest: &mut FakeGuest) -> Result<(), Failure> {
        self.test.store(guest, 0xcafe_dead)?;
        let interrupt = self.run(guest, &packet::write(self.test.mc(), &[0xdead_beef]))?;
        expect(
            "result of the SDMA IB test",
            self.test.load(guest)?,
            0xdead_beef_u32,
        )?;
        expect("context of the trap", interrupt.data[0], 0_u32)
    }

    /// Runs a buffer of the kernel's in VMID 0 and waits for its fence.
    ///
    /// # Errors
    /// [`Failure`] if the fence or its interrupt does not come.
    pub fn run(&mut self, guest: &mut FakeGuest, dwords: &[u32]) -> Result<Interrupt, Failure> {
        let length = self.load_ib(guest, dwords)?;
        let at = self.ib.mc();
        self.run_job(guest, None, at, length)
    }

    /// Puts packets into the engine's own indirect buffer, filled up to multiples of eight; returns their length.
    ///
    /// # Errors
    /// [`Failure`] if they do not fit.
    pub fn load_ib(&self, guest: &FakeGuest, dwords: &[u32]) -> Result<u32, Failure> {
        let mut dwords = dwords.to_vec();
        dwords.resize(dwords.len().next_multiple_of(8), packet::NOP);
        guest.write_dwords(&self.ib, 0, &dwords)?;
        u32::try_from(dwords.len()).map_err(|_| Failure::Exhausted("indirect buffer"))
    }

    /// The engine's own indirect buffer.
    pub const fn ib(&self) -> &Buffer {
        &self.ib
    }

    /// Submits a job and waits until its fence is signalled: by an interrupt, after which the fence must be in memory.
    ///
    /// # Errors
    /// [`Failure`] if the interrupt does not come, or comes before the fence.
    pub fn run_job(
        &mut self,
        guest: &mut FakeGuest,
        vm: Option<JobVm>,
        at: GpuVa,
        dwords: u32,
    ) -> Result<Interrupt, Failure> {
        let mark = guest.interrupts().len();
        let seq = self.submit(guest, vm, at, dwords)?;
        self.wait(guest, mark, seq)
    }

    /// Waits for the interrupt behind job `seq`; `mark` is how many interrupts there were before it.
    ///
    /// # Errors
    /// [`Failure`] if the interrupt does not come, or comes before the fence.
    pub fn wait(&self, guest: &mut FakeGuest, mark: usize, seq: u32) -> Result<Interrupt, Failure> {
        let mine = |interrupt: &&Interrupt| self.is_trap(interrupt);
        let find = |guest: &FakeGuest| {
            guest
                .interrupts()
                .get(mark..)
                .and_then(|new| new.iter().find(mine).copied())
        };
        guest.run_until("SDMA trap", |guest| Ok(find(guest).is_some()))?;
        expect("SDMA fence at its interrupt", self.ring.fence.load(guest)?, seq)?;
        find(guest).ok_or(Failure::Invalid("an interrupt was lost"))
    }

    /// Whether an interrupt is this engine's trap.
    pub fn is_trap(&self, interrupt: &Interrupt) -> bool {
        Some(&interrupt.client) == IH_CLIENTS.get(self.instance) && interrupt.source == SRC_TRAP
    }

    /// `amdgpu_ib_schedule` on this ring: everything that the driver puts around an indirect buffer. Returns the fence's value.
    ///
    /// # Errors
    /// [`Failure`] if memory is not there.
    pub fn submit(
        &mut self,
        guest: &mut FakeGuest,
        vm: Option<JobVm>,
        at: GpuVa,
        dwords: u32,
    ) -> Result<u32, Failure> {
        let fence = self.ring.fence.mc();
        if let Some(vm) = vm {
            self.ring
                .write(guest, &packet::wait_memory(fence, self.ring.seq))?;
            self.flush(guest, vm)?;
        }
        self.flush_hdp(guest)?;
        self.ring.write(guest, &packet::rinse_caches())?;
        // The packet has to end on a multiple of eight dwords.
        while self.ring.wptr % 8 != 2 {
            self.ring.write(guest, &[packet::NOP])?;
        }
        self.ring
            .write(guest, &packet::indirect(vm.map_or(0, |vm| vm.vmid), at, dwords))?;
        self.ring.seq += 1;
        self.ring.write(guest, &packet::fence(fence, self.ring.seq))?;
        self.ring.write(guest, &packet::trap(0))?;
        self.commit(guest)?;
        Ok(self.ring.seq)
    }

    fn flush_hdp(&mut self, guest: &mut FakeGuest) -> Result<(), Failure> {
        if self.instance > 1 {
            super::gmc::flush_hdp(guest);
            return Ok(());
        }
        let bits = 1 << (10 + self.instance);
        self.ring.write(
            guest,
            &packet::flush_hdp(nbio::GPU_HDP_FLUSH_REQ, nbio::GPU_HDP_FLUSH_DONE, bits),
        )
    }

    /// `gmc_v10_0_emit_pasid_mapping`, then the flush: registers and polls up to 6.12, one packet on 7.3.
    fn flush(&mut self, guest: &FakeGuest, vm: JobVm) -> Result<(), Failure> {
        let JobVm { vmid, pasid, pd_base } = vm;
        let base = element(GFXHUB.page_table_base, vmid, 8);
        let mut packets = Vec::new();
        packets.extend(packet::write_register(base, lo(pd_base)));
        packets.extend(packet::write_register(base.plus(4), hi(pd_base)));
        let (engine, request) = (self.invalidation_engine, invalidate_request(vmid));
        if self.kernel == Kernel::V7_3 {
            packets.extend(packet::invalidate(engine, request, 1 << vmid));
        } else {
            let (req, ack) = (element(GFXHUB.req, engine, 4), element(GFXHUB.ack, engine, 4));
            packets.extend(packet::write_register(req, request));
            packets.extend(packet::wait_register(req, 0, 0));
            packets.extend(packet::wait_register(ack, 1 << vmid, 1 << vmid));
        }
        packets.extend(packet::write_register(element(ih::IH_VMID_0_LUT, vmid, 4), pasid));
        self.ring.write(guest, &packets)
    }
}

/// `amdgpu_device_fill_reset_magic` reads what the GART's table begins with; this is what the driver puts there: entries of a buffer
/// move, copied from an indirect buffer.
///
/// # Errors
/// [`Failure`] if the engine does not copy.
pub fn fill_transfer_window(guest: &mut FakeGuest, gmc: &Gmc, sdma: &mut Sdma) -> Result<(), Failure> {
    const ENTRIES: u32 = 16;
    let mut entries = Vec::new();
    for page in sdma.ib().pages().iter().take(ENTRIES as usize) {
        let entry = page.get() | pte::SYSTEM_PAGE;
        entries.extend([lo(entry), hi(entry)]);
    }
    let data_at = IB_BYTES - 4 * entries.len() as u64;
    let ib = sdma.ib().clone();
    guest.write_dwords(&ib, data_at, &entries)?;
    sdma.run(
        guest,
        &packet::copy(ib.mc().plus(data_at), gmc.table().mc(), 8 * ENTRIES),
    )?;
    gmc.flush_gart(guest)
}
