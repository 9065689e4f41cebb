//! `gfx_v10_0.c`: the RLC's state, the KIQ by registers, everything else by the KIQ.

use mmio::RegOffset;

use super::Kernel;
use super::gmc::{Gmc, MMIO_ENGINE};
use super::packet::pm4;
use super::queue::{IH_CLIENT, Place, Queue, flush_and_wait};
use super::regs::{GFXHUB, element, gc};
use super::wb::WriteBack;
use crate::guest::{Buffer, Failure, FakeGuest, PAGE, expect, hi, lo};

const COMPUTE_QUEUES: u32 = 8;
const SRC_KIQ: u8 = 178;

/// All queues.
#[derive(Debug)]
pub struct Gfx {
    /// The kernel's interface queue.
    pub kiq: Queue,
    /// Compute queues of MEC1.
    pub compute: Vec<Queue>,
    /// Graphics queues: one on 6.1, one per pipe later.
    pub graphics: Vec<Queue>,
    clear_state: Buffer,
}

impl Gfx {
    /// `gfx_v10_0_sw_init`.
    ///
    /// # Errors
    /// [`Failure::Exhausted`].
    pub fn new(
        guest: &mut FakeGuest,
        gmc: &mut Gmc,
        wb: &mut WriteBack,
        kernel: Kernel,
    ) -> Result<Self, Failure> {
        let graphics = if kernel == Kernel::V6_1 { 1 } else { 2 };
        Ok(Self {
            graphics: (0..graphics)
                .map(|pipe| Queue::new(guest, gmc, wb, (0, pipe, 0), 0x8b + pipe))
                .collect::<Result<_, _>>()?,
            compute: (0..COMPUTE_QUEUES)
                .map(|ring| Queue::new(guest, gmc, wb, (1, ring % 4, ring / 4), 3 + ring))
                .collect::<Result<_, _>>()?,
            kiq: Queue::new(guest, gmc, wb, (2, 1, 0), 0)?,
            clear_state: gmc.vram(guest, PAGE, PAGE)?,
        })
    }

    /// `gfx_v10_0_hw_init`.
    ///
    /// # Errors
    /// [`Failure`] at the first handshake that fails.
    pub fn hw_init(&mut self, guest: &mut FakeGuest) -> Result<(), Failure> {
        check_cam(guest)?;
        constants_init(guest);
        self.rlc_resume(guest)?;
        self.kiq_resume(guest)?;
        self.map_compute(guest)?;
        self.map_graphics(guest)?;
        for queue in self.graphics.iter_mut().chain(&mut self.compute) {
            queue.test_ring(guest)?;
        }
        Ok(())
    }

    /// `gfx_v10_0_rlc_resume`: the PSP must have brought the RLC up.
    ///
    /// # Errors
    /// [`Failure::Timeout`] if it has not.
    pub fn rlc_resume(&self, guest: &mut FakeGuest) -> Result<(), Failure> {
        const BOOTLOAD_COMPLETE: u32 = 1 << 31;
        guest.poll("CP idle", gc::CP_STAT, u32::MAX, 0)?;
        let status = gc::RLC_RLCS_BOOTLOAD_STATUS;
        guest.poll("RLC autoload", status, BOOTLOAD_COMPLETE, BOOTLOAD_COMPLETE)?;
        let csib = self.clear_state.mc().get();
        guest.write(gc::RLC_CSIB_ADDR_HI, hi(csib));
        guest.write(gc::RLC_CSIB_ADDR_LO, lo(csib) & !3);
        guest.write(gc::RLC_CSIB_LENGTH, 64);
        // gfx_v10_0_set_safe_mode
        guest.write(gc::RLC_SAFE_MODE, 1 | 1 << 1);
        guest.poll("RLC safe mode", gc::RLC_SAFE_MODE, 1, 0)?;
        Ok(())
    }

    /// `gfx_v10_0_kiq_resume`: the only queue that is started by registers.
    ///
    /// # Errors
    /// [`Failure`] if the queue does not become active.
    pub fn kiq_resume(&mut self, guest: &mut FakeGuest) -> Result<(), Failure> {
        guest.write(gc::CP_MEC_CNTL, 0);
        let (me, pipe, queue) = self.kiq.place;
        let scheduler = me << 5 | pipe << 3 | queue;
        guest.modify(gc::RLC_CP_SCHEDULERS, 0xff, scheduler);
        guest.modify(gc::RLC_CP_SCHEDULERS, 0, 0x80);
        self.kiq.ring.clear(guest)?;
        self.kiq.init_mqd(guest)?;
        grbm_select(guest, self.kiq.place);
        let result = kiq_init_register(guest, &self.kiq);
        grbm_select(guest, (0, 0, 0));
        result
    }

    /// `amdgpu_gfx_enable_kcq`.
    ///
    /// # Errors
    /// [`Failure`] if the KIQ does not execute.
    pub fn map_compute(&mut self, guest: &mut FakeGuest) -> Result<(), Failure> {
        let mut packets = pm4::set_resources(0xff).to_vec();
        for queue in &mut self.compute {
            queue.ring.clear(guest)?;
            queue.init_mqd(guest)?;
            packets.extend(map_queue(0, queue));
        }
        self.kiq.ring.write(guest, &packets)?;
        self.kiq.test_ring(guest)?;
        for queue in &self.compute {
            grbm_select(guest, queue.place);
            let active = guest.read(gc::CP_HQD_ACTIVE);
            grbm_select(guest, (0, 0, 0));
            expect("CP_HQD_ACTIVE of a mapped queue", active & 1, 1_u32)?;
        }
        Ok(())
    }

    /// `gfx_v10_0_cp_async_gfx_ring_resume`.
    ///
    /// # Errors
    /// [`Failure`] if the KIQ does not execute.
    pub fn map_graphics(&mut self, guest: &mut FakeGuest) -> Result<(), Failure> {
        let mut packets = Vec::new();
        for queue in &mut self.graphics {
            queue.ring.clear(guest)?;
            queue.init_mqd(guest)?;
            packets.extend(map_queue(4, queue));
        }
        self.kiq.ring.write(guest, &packets)?;
        self.kiq.test_ring(guest)?;
        guest.write(gc::CP_MAX_CONTEXT, 7);
        guest.write(gc::CP_DEVICE_ID, 1);
        guest.modify(gc::CP_ME_CNTL, 1 << 24 | 1 << 26 | 1 << 28, 0);
        guest.poll("CP idle", gc::CP_STAT, u32::MAX, 0)?;
        for queue in &mut self.graphics {
            queue.ring.write(guest, &pm4::clear_state())?;
            queue.commit(guest)?;
        }
        Ok(())
    }

    /// End-of-pipe interrupts of every pipe in use, and the KIQ's own (`gfx_v10_0_kiq_set_interrupt_state`).
    pub fn enable_interrupts(&self, guest: &mut FakeGuest) {
        const TIME_STAMP_INT_ENABLE: u32 = 1 << 26;
        const GENERIC2_INT_ENABLE: u32 = 1 << 29;
        for (_, register) in self.graphics.iter().zip(gc::CP_INT_CNTL_RING) {
            guest.modify(register, 0, TIME_STAMP_INT_ENABLE);
        }
        for pipe in 0..4 {
            guest.modify(
                element(gc::CP_ME1_PIPE0_INT_CNTL, pipe, 4),
                0,
                TIME_STAMP_INT_ENABLE,
            );
        }
        let (_, pipe, _) = self.kiq.place;
        guest.modify(gc::CPC_INT_CNTL, 0, GENERIC2_INT_ENABLE);
        guest.modify(
            element(gc::CP_ME1_PIPE0_INT_CNTL, 4 + pipe, 4),
            0,
            GENERIC2_INT_ENABLE,
        );
    }

    /// IB tests of every queue that has one; the KIQ is tested by its fence and interrupt.
    ///
    /// # Errors
    /// [`Failure`] at the first that fails.
    pub fn test_ibs(&mut self, guest: &mut FakeGuest) -> Result<(), Failure> {
        for queue in self.graphics.iter_mut().chain(&mut self.compute) {
            queue.test_ib(guest)?;
        }
        Ok(())
    }

    /// Packets on the KIQ with the KIQ's fence: a memory write and, for the interrupt, one to CPC_INT_STATUS
    /// (`gfx_v10_0_ring_emit_fence_kiq`).
    ///
    /// # Errors
    /// [`Failure`] if the fence or its interrupt does not come.
    pub fn run_on_kiq(&mut self, guest: &mut FakeGuest, packets: &[u32]) -> Result<(), Failure> {
        const GENERIC2: u32 = 1 << 29;
        let mark = guest.interrupts().len();
        let ring = &mut self.kiq.ring;
        ring.seq += 1;
        ring.write(guest, packets)?;
        ring.write(guest, &pm4::write_memory(ring.fence.mc(), ring.seq))?;
        ring.write(guest, &pm4::write_register(gc::CPC_INT_STATUS, GENERIC2))?;
        self.kiq.commit(guest)?;
        guest.run_until("KIQ interrupt", |guest| {
            let new = guest.interrupts().get(mark..).unwrap_or_default();
            Ok(new
                .iter()
                .any(|interrupt| (interrupt.client, interrupt.source) == (IH_CLIENT, SRC_KIQ)))
        })?;
        expect(
            "KIQ fence at its interrupt",
            self.kiq.ring.fence.load(guest)?,
            self.kiq.ring.seq,
        )
    }

    /// `amdgpu_kiq_rreg`: a register read by the KIQ.
    ///
    /// # Errors
    /// [`Failure`] if the KIQ does not execute.
    pub fn read_on_kiq(&mut self, guest: &mut FakeGuest, register: RegOffset) -> Result<u32, Failure> {
        let slot = self.kiq.test.clone();
        self.run_on_kiq(guest, &pm4::read_register(register, slot.mc()))?;
        slot.load(guest)
    }

    /// A TLB flush by the KIQ (`amdgpu_virt_kiq_reg_write_reg_wait`).
    ///
    /// # Errors
    /// [`Failure`] if it is not acknowledged.
    pub fn flush_tlb_on_kiq(&mut self, guest: &mut FakeGuest, vmid: u32) -> Result<(), Failure> {
        let (req, ack) = (
            element(GFXHUB.req, MMIO_ENGINE, 4),
            element(GFXHUB.ack, MMIO_ENGINE, 4),
        );
        self.run_on_kiq(guest, &flush_and_wait(req, ack, vmid))
    }
}

fn map_queue(engine: u32, queue: &Queue) -> [u32; 7] {
    pm4::map_queue(
        engine,
        queue.place,
        queue.ring.doorbell,
        queue.mqd.mc(),
        queue.ring.wptr_shadow.mc(),
    )
}

/// `nv_grbm_select`.
pub fn grbm_select(guest: &mut FakeGuest, (me, pipe, queue): Place) {
    guest.write(gc::GRBM_GFX_CNTL, pipe | me << 2 | queue << 8);
}

/// `gfx_v10_0_check_grbm_cam_remapping`, and what follows if it is not set up.
fn check_cam(guest: &mut FakeGuest) -> Result<(), Failure> {
    const PATTERN: u32 = 0xdead_beef;
    let data = guest.read(gc::VGT_ESGS_RING_SIZE);
    guest.write(gc::VGT_ESGS_RING_SIZE, 0);
    guest.write(gc::VGT_ESGS_RING_SIZE_UMD, PATTERN);
    let remapped = guest.read(gc::VGT_ESGS_RING_SIZE);
    guest.write(gc::VGT_ESGS_RING_SIZE_UMD, data);
    expect("user alias of VGT_ESGS_RING_SIZE", remapped, PATTERN)
}

/// `gfx_v10_0_constants_init`: SH_MEM of every VMID, each selected in turn.
fn constants_init(guest: &mut FakeGuest) {
    for vmid in 0..16 {
        guest.write(gc::GRBM_GFX_CNTL, vmid << 4);
        guest.write(gc::SH_MEM_CONFIG, 3 << 12);
        guest.write(gc::SH_MEM_BASES, if vmid == 0 { 0 } else { 0x6000_6000 });
    }
    grbm_select(guest, (0, 0, 0));
}

/// `gfx_v10_0_kiq_init_register`, in its order.
fn kiq_init_register(guest: &mut FakeGuest, kiq: &Queue) -> Result<(), Failure> {
    guest.modify(gc::CP_PQ_WPTR_POLL_CNTL, 1 << 31, 0);
    if guest.read(gc::CP_HQD_ACTIVE) & 1 != 0 {
        guest.write(gc::CP_HQD_DEQUEUE_REQUEST, 1);
        guest.poll("old KIQ dequeued", gc::CP_HQD_ACTIVE, 1, 0)?;
        guest.write(gc::CP_HQD_DEQUEUE_REQUEST, 0);
        guest.write(gc::CP_HQD_PQ_RPTR, 0);
        guest.write_pair(gc::CP_HQD_PQ_WPTR_LO, gc::CP_HQD_PQ_WPTR_HI, 0);
    }
    guest.write(gc::CP_HQD_PQ_DOORBELL_CONTROL, 0);
    let copied: [(RegOffset, u64); 13] = [
        (gc::CP_HQD_EOP_BASE_ADDR, 0xa5),
        (gc::CP_HQD_EOP_BASE_ADDR_HI, 0xa6),
        (gc::CP_HQD_EOP_CONTROL, 0xa7),
        (gc::CP_MQD_BASE_ADDR, 0x80),
        (gc::CP_MQD_BASE_ADDR_HI, 0x81),
        (gc::CP_MQD_CONTROL, 0xa2),
        (gc::CP_HQD_PQ_BASE, 0x88),
        (gc::CP_HQD_PQ_BASE_HI, 0x89),
        (gc::CP_HQD_PQ_CONTROL, 0x91),
        (gc::CP_HQD_PQ_RPTR_REPORT_ADDR, 0x8b),
        (gc::CP_HQD_PQ_RPTR_REPORT_ADDR_HI, 0x8c),
        (gc::CP_HQD_PQ_WPTR_POLL_ADDR, 0x8d),
        (gc::CP_HQD_PQ_WPTR_POLL_ADDR_HI, 0x8e),
    ];
    for (register, index) in copied {
        let value = kiq.mqd_dword(guest, index)?;
        guest.write(register, value);
    }
    guest.write(gc::CP_MEC_DOORBELL_RANGE_LOWER, 0);
    guest.write(gc::CP_MEC_DOORBELL_RANGE_UPPER, 0x8a << 3);
    let doorbell = kiq.mqd_dword(guest, 0x8f)?;
    guest.write(gc::CP_HQD_PQ_DOORBELL_CONTROL, doorbell);
    guest.write_pair(gc::CP_HQD_PQ_WPTR_LO, gc::CP_HQD_PQ_WPTR_HI, 0);
    guest.write(gc::CP_HQD_VMID, 0);
    let persistent = kiq.mqd_dword(guest, 0x84)?;
    guest.write(gc::CP_HQD_PERSISTENT_STATE, persistent);
    guest.write(gc::CP_HQD_ACTIVE, 1);
    guest.modify(gc::CP_PQ_STATUS, 0, 1 << 1);
    expect("KIQ active", guest.read(gc::CP_HQD_ACTIVE) & 1, 1_u32)
}
