//! A queue of the command processor: its descriptor in memory, its tests, its jobs.

use gart::GpuVa;
use mmio::RegOffset;

use super::gmc::{Gmc, invalidate_request};
use super::packet::pm4;
use super::regs::{GFXHUB, element, gc, ih};
use super::ring::Ring;
use super::sdma::JobVm;
use super::wb::{Slot, WriteBack};
use crate::guest::{Buffer, Failure, FakeGuest, Interrupt, PAGE, expect, hi, lo};

const RING_BYTES: u64 = 8 << 10;
const IB_BYTES: u64 = 4 << 10;
const MQD_DWORDS: usize = 512;
/// `SOC15_IH_CLIENTID_GRBM_CP`.
pub const IH_CLIENT: u8 = 0x14;
const SRC_EOP: u8 = 181;

/// Micro engine, pipe, queue.
pub type Place = (u32, u32, u32);

/// A queue of the command processor.
#[derive(Debug)]
pub struct Queue {
    /// Where it is.
    pub place: Place,
    /// Its ring.
    pub ring: Ring,
    pub(super) mqd: Buffer,
    eop: Buffer,
    ib: Buffer,
    pub(super) test: Slot,
    invalidation_engine: u32,
}

impl Queue {
    pub(super) fn new(
        guest: &mut FakeGuest,
        gmc: &mut Gmc,
        wb: &mut WriteBack,
        place: Place,
        doorbell: u32,
    ) -> Result<Self, Failure> {
        let slots = [wb.slot()?, wb.slot()?, wb.slot()?];
        let (me, pipe, queue) = place;
        Ok(Self {
            place,
            ring: Ring::new(
                gmc.gtt(guest, RING_BYTES, PAGE)?,
                doorbell << 1,
                slots,
                256,
                pm4::NOP,
            ),
            mqd: gmc.vram(guest, PAGE, PAGE)?,
            eop: gmc.gtt(guest, PAGE, PAGE)?,
            ib: gmc.gtt(guest, IB_BYTES, PAGE)?,
            test: wb.slot()?,
            invalidation_engine: if me == 0 {
                8 + pipe
            } else {
                9 + (pipe + 4 * queue) % 8
            },
        })
    }

    const fn is_graphics(&self) -> bool {
        self.place.0 == 0
    }

    /// `gfx_v10_0_compute_mqd_init` or `gfx_v10_0_gfx_mqd_init`.
    pub(super) fn init_mqd(&self, guest: &FakeGuest) -> Result<(), Failure> {
        const DOORBELL_EN: u32 = 1 << 30;
        guest.write_dwords(&self.mqd, 0, &[0; MQD_DWORDS])?;
        let mqd = self.mqd.mc().get();
        let base = self.ring.buffer.mc().get() >> 8;
        let (rptr, wptr) = (self.ring.rptr.mc().get(), self.ring.wptr_shadow.mc().get());
        let log2 = self.ring.log2_dwords();
        let mut fields = vec![
            (0x80, lo(mqd) & !3),
            (0x81, hi(mqd)),
            (0x82, 1),
            (0x88, lo(base)),
            (0x89, hi(base)),
            (0x8b, lo(rptr) & !3),
            (0x8c, hi(rptr) & 0xffff),
            (0x8d, lo(wptr) & !3),
            (0x8e, hi(wptr) & 0xffff),
            (0x8f, self.ring.doorbell << 2 | DOORBELL_EN),
        ];
        if self.is_graphics() {
            fields.push((0x91, (log2 - 1) | (log2 - 3) << 8));
        } else {
            let eop = self.eop.mc().get() >> 8;
            // HQD_ACTIVE stays clear for queues that the KIQ maps; the register sequence sets it for the KIQ itself.
            fields.retain(|(index, _)| *index != 0x82);
            fields.extend([
                (0x00, 0xc031_0800),
                (0x84, 0x53 << 8),
                (0x91, (log2 - 1) | 9 << 8 | 1 << 30 | 1 << 31),
                (0xa5, lo(eop)),
                (0xa6, hi(eop)),
                (0xa7, (PAGE / 4).ilog2() - 1),
            ]);
        }
        for (index, value) in fields {
            guest.store(&self.mqd, index * 4, value)?;
        }
        Ok(())
    }

    pub(super) fn mqd_dword(&self, guest: &FakeGuest, index: u64) -> Result<u32, Failure> {
        guest.load(&self.mqd, index * 4)
    }

    /// `gfx_v10_0_ring_set_wptr_*`: 64 bits, in dwords.
    ///
    /// # Errors
    /// [`Failure`] if memory is not there.
    pub fn commit(&mut self, guest: &mut FakeGuest) -> Result<(), Failure> {
        self.ring.pad(guest)?;
        self.ring.wptr_shadow.store_u64(guest, self.ring.wptr)?;
        guest.doorbell(self.ring.doorbell, self.ring.wptr);
        Ok(())
    }

    /// `gfx_v10_0_ring_test_ring`.
    ///
    /// # Errors
    /// [`Failure::Timeout`] if the queue does not execute.
    pub fn test_ring(&mut self, guest: &mut FakeGuest) -> Result<(), Failure> {
        guest.write(gc::SCRATCH_REG0, 0xcafe_dead);
        self.ring
            .write(guest, &pm4::set_uconfig(gc::SCRATCH_REG0, 0xdead_beef))?;
        self.commit(guest)?;
        guest.poll("CP ring test", gc::SCRATCH_REG0, u32::MAX, 0xdead_beef)?;
        // Read pointers of the CP are 32 bits, in dwords, within the ring.
        let end = lo(self.ring.wptr % (self.ring.buffer.size() / 4));
        self.ring.rptr.wait_for(guest, "CP read pointer write-back", end)
    }

    /// `gfx_v10_0_ring_test_ib`.
    ///
    /// # Errors
    /// [`Failure`] if the write, the fence or the interrupt does not come.
    pub fn test_ib(&mut self, guest: &mut FakeGuest) -> Result<(), Failure> {
        self.test.store(guest, 0xcafe_dead)?;
        let packets = pm4::write_memory(self.test.mc(), 0xdead_beef);
        guest.write_dwords(&self.ib, 0, &packets)?;
        let at = self.ib.mc();
        self.run_job(guest, None, at, 5)?;
        expect(
            "result of the CP IB test",
            self.test.load(guest)?,
            0xdead_beef_u32,
        )
    }

    /// Submits a job and waits for its interrupt; then the fence has to be in memory.
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
        let (me, pipe, queue) = self.place;
        let ring_id = pipe | me << 2 | queue << 4;
        let mine = |interrupt: &&Interrupt| {
            (interrupt.client, interrupt.source, u32::from(interrupt.ring)) == (IH_CLIENT, SRC_EOP, ring_id)
        };
        let find = |guest: &FakeGuest| {
            guest
                .interrupts()
                .get(mark..)
                .and_then(|new| new.iter().find(mine).copied())
        };
        guest.run_until("end-of-pipe interrupt", |guest| Ok(find(guest).is_some()))?;
        expect("CP fence at its interrupt", self.ring.fence.load(guest)?, seq)?;
        find(guest).ok_or(Failure::Invalid("an interrupt was lost"))
    }

    /// `amdgpu_ib_schedule` on this queue; returns the fence's value.
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
        let mut packets = Vec::new();
        if let Some(JobVm { vmid, pasid, pd_base }) = vm {
            packets.extend(pm4::wait_memory(fence, self.ring.seq));
            let base = element(GFXHUB.page_table_base, vmid, 8);
            packets.extend(pm4::write_register(base, lo(pd_base)));
            packets.extend(pm4::write_register(base.plus(4), hi(pd_base)));
            let (req, ack) = (
                element(GFXHUB.req, self.invalidation_engine, 4),
                element(GFXHUB.ack, self.invalidation_engine, 4),
            );
            packets.extend(flush_and_wait(req, ack, vmid));
            packets.extend(pm4::write_register(element(ih::IH_VMID_0_LUT, vmid, 4), pasid));
        }
        if self.is_graphics() {
            packets.extend(pm4::sync_front_end());
        }
        packets.extend(pm4::indirect(
            vm.map_or(0, |vm| vm.vmid),
            at,
            dwords,
            !self.is_graphics(),
        ));
        self.ring.seq += 1;
        packets.extend(pm4::fence(fence, self.ring.seq.into()));
        self.ring.write(guest, &packets)?;
        self.commit(guest)?;
        Ok(self.ring.seq)
    }
}

/// WAIT_REG_MEM's second operation writes the reference, here the request, and waits for the VMID's bit under the mask: the driver
/// passes the same pair.
pub(super) fn flush_and_wait(req: RegOffset, ack: RegOffset, vmid: u32) -> [u32; 7] {
    pm4::write_then_wait(req, ack, invalidate_request(vmid), 1 << vmid)
}
