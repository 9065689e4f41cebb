//! A device around the graphics block: flat memory, its registers, a few more registers, and the wiring that the module describes.

use std::collections::{HashMap, HashSet};

use gart::{Access, Fault, FaultKind, GpuVa, VirtualMemory, Vmid};
use mmio::{Effects, RegOffset, RegisterBlock, RegisterBus};

use crate::pm4::opcode;
use crate::spec::GfxLayout;
use crate::*;

/// Of graphics on Navi21.
pub const BASES: &[u32] = &[0x1260, 0xa000, 0x1c000];

pub const KIQ: QueueId = QueueId::new(2, 1, 0);
pub const COMPUTE: QueueId = QueueId::new(1, 0, 0);
pub const GFX: QueueId = QueueId::new(0, 0, 0);
pub const KIQ_DOORBELL: u32 = 0;
pub const COMPUTE_DOORBELL: u32 = 3 << 1;
pub const GFX_DOORBELL: u32 = 0x8b << 1;

/// Ring size of every queue here, as the driver's log2-of-dwords-less-one field has it: 1024 dwords.
pub const RING_FIELD: u32 = 9;
pub const RING_DWORDS: u64 = 2 << RING_FIELD;
pub const MEMORY: u64 = 0x20_0000;

/// Memory map of a queue: ring, pointers, MQD.
pub const fn home(queue: QueueId) -> u64 {
    0x10_0000 + (queue.index() as u64) * 0x2000
}
pub const fn rptr_at(queue: QueueId) -> u64 {
    home(queue) + 0x1000
}
pub const fn wptr_at(queue: QueueId) -> u64 {
    home(queue) + 0x1008
}
pub const fn mqd_at(queue: QueueId) -> u64 {
    home(queue) + 0x1800
}

pub const GRBM_GFX_CNTL: u32 = 0x8088;
pub const SCRATCH_REG0: u32 = 0x30100;
pub const CP_HQD_ACTIVE: u32 = 0xc82c;
pub const RLC_CP_SCHEDULERS: u32 = 0x3b284;
pub const CP_VMID_RESET: u32 = 0xc2cc;
/// A register of another block that acknowledges: reads what was written to [`INVALIDATE_REQ`].
pub const INVALIDATE_REQ: u32 = 0xa1fc;
pub const INVALIDATE_ACK: u32 = 0xa244;

pub struct Bus {
    pub memory: Vec<u8>,
    pub gfx: GfxRegisters,
    pub others: HashMap<u32, u32>,
    pub effects: Effects<GfxEffect>,
    /// Pages that fault, by context.
    pub holes: HashSet<(u8, u64)>,
    pub faults: usize,
    /// What becomes of the packets of one queue.
    pub verdict: Option<(QueueId, QueueVerdict)>,
}

impl Bus {
    fn check(
        &mut self,
        vmid: Vmid,
        va: GpuVa,
        len: usize,
        access: Access,
    ) -> Result<std::ops::Range<usize>, Fault> {
        let start = va.get();
        let end = start.checked_add(len as u64).filter(|end| *end <= MEMORY);
        let hole = (start >> 12..=(start + len.max(1) as u64 - 1) >> 12)
            .any(|page| self.holes.contains(&(vmid.get(), page)));
        match end {
            Some(end) if !hole => Ok(start as usize..end as usize),
            _ => {
                self.faults += 1;
                Err(Fault {
                    vmid,
                    va,
                    access,
                    kind: FaultKind::InvalidPte,
                })
            }
        }
    }

    pub fn write_mmio(&mut self, byte: u32, value: u32) {
        self.write_register(RegOffset::from_byte(byte), value);
    }
    pub fn read_mmio(&mut self, byte: u32) -> u32 {
        self.read_register(RegOffset::from_byte(byte))
    }
    pub fn dword(&self, at: u64) -> u32 {
        u32::from_le_bytes(self.memory[at as usize..][..4].try_into().unwrap())
    }
    pub fn set_dword(&mut self, at: u64, value: u32) {
        self.memory[at as usize..][..4].copy_from_slice(&value.to_le_bytes());
    }
    pub fn set_dwords(&mut self, at: u64, values: &[u32]) {
        for (index, value) in values.iter().enumerate() {
            self.set_dword(at + index as u64 * 4, *value);
        }
    }
}

impl QueueGate for Bus {
    fn queue_verdict(&mut self, queue: QueueId, ahead: QueueAhead) -> QueueVerdict {
        match self.verdict {
            // A device delays a packet once.
            Some((of, QueueVerdict::Delay(_))) if of == queue && ahead.delayed => QueueVerdict::Proceed,
            Some((of, verdict)) if of == queue => verdict,
            _ => QueueVerdict::Proceed,
        }
    }
}

impl RegisterBus for Bus {
    fn read_register(&mut self, offset: RegOffset) -> u32 {
        if offset.byte() == INVALIDATE_ACK {
            return self.others.get(&INVALIDATE_REQ).copied().unwrap_or(0) & 0xffff;
        }
        if self
            .gfx
            .files()
            .iter()
            .any(|file| file.relative(offset).is_some())
        {
            return self.gfx.read(offset);
        }
        self.others.get(&offset.byte()).copied().unwrap_or(0)
    }
    fn write_register(&mut self, offset: RegOffset, value: u32) {
        if self
            .gfx
            .files()
            .iter()
            .any(|file| file.relative(offset).is_some())
        {
            self.gfx.write(offset, value, &mut self.effects);
        } else if self.others.len() < 4096 {
            self.others.insert(offset.byte(), value);
        }
    }
}

impl VirtualMemory for Bus {
    fn read(&mut self, vmid: Vmid, va: GpuVa, data: &mut [u8]) -> Result<(), Fault> {
        data.fill(0);
        let range = self.check(vmid, va, data.len(), Access::Read)?;
        data.copy_from_slice(&self.memory[range]);
        Ok(())
    }
    fn write(&mut self, vmid: Vmid, va: GpuVa, data: &[u8]) -> Result<(), Fault> {
        let range = self.check(vmid, va, data.len(), Access::Write)?;
        self.memory[range].copy_from_slice(data);
        Ok(())
    }
    fn copy(&mut self, vmid: Vmid, from: GpuVa, to: GpuVa, len: u64) -> Result<(), Fault> {
        let from = self.check(vmid, from, len as usize, Access::Read)?;
        let to = self.check(vmid, to, len as usize, Access::Write)?;
        self.memory.copy_within(from, to.start);
        Ok(())
    }
    fn fill(&mut self, vmid: Vmid, va: GpuVa, pattern: u32, len: u64) -> Result<(), Fault> {
        let range = self.check(vmid, va, len as usize, Access::Write)?;
        for (byte, value) in self.memory[range]
            .iter_mut()
            .zip(pattern.to_le_bytes().into_iter().cycle())
        {
            *byte = value;
        }
        Ok(())
    }
    fn store_u32(&mut self, vmid: Vmid, va: GpuVa, value: u32) -> Result<(), Fault> {
        assert_eq!(va.get() % 4, 0, "fences and pointers are aligned");
        self.write(vmid, va, &value.to_le_bytes())
    }
    fn store_u64(&mut self, vmid: Vmid, va: GpuVa, value: u64) -> Result<(), Fault> {
        assert_eq!(va.get() % 8, 0, "fences and pointers are aligned");
        self.write(vmid, va, &value.to_le_bytes())
    }
    fn update_u32(&mut self, _: Vmid, _: GpuVa, _: &mut dyn FnMut(u32) -> u32) -> Result<u32, Fault> {
        unreachable!("no packet of the model is atomic")
    }
    fn update_u64(&mut self, _: Vmid, _: GpuVa, _: &mut dyn FnMut(u64) -> u64) -> Result<u64, Fault> {
        unreachable!("no packet of the model is atomic")
    }
}

/// A type 3 packet.
pub fn packet(op: u8, body: &[u32]) -> Vec<u32> {
    let mut dwords = vec![3 << 30 | (body.len() as u32 - 1) << 16 | u32::from(op) << 8];
    dwords.extend(body);
    dwords
}
pub fn lo(at: u64) -> u32 {
    at as u32
}
pub fn hi(at: u64) -> u32 {
    (at >> 32) as u32
}

/// The driver's WRITE_DATA to memory.
pub fn write_memory(at: u64, values: &[u32]) -> Vec<u32> {
    packet(
        opcode::WRITE_DATA,
        &[&[5 << 8 | 1 << 20, lo(at), hi(at)], values].concat(),
    )
}
/// The driver's fence (`gfx_v10_0_ring_emit_fence`).
pub fn fence(at: u64, seq: u32, interrupt: bool) -> Vec<u32> {
    let control = 1 << 29 | if interrupt { 2 << 24 } else { 0 };
    packet(
        opcode::RELEASE_MEM,
        &[0x14 | 5 << 8, control, lo(at), hi(at), seq, 0, 0],
    )
}
/// The driver's ring test (`gfx_v10_0_ring_test_ring`).
pub fn scratch_test() -> Vec<u32> {
    packet(opcode::SET_UCONFIG_REG, &[SCRATCH_REG0 / 4 - 0xc000, 0xdead_beef])
}
/// A poll of memory for a value.
pub fn wait_memory(at: u64, value: u32) -> Vec<u32> {
    packet(
        opcode::WAIT_REG_MEM,
        &[1 << 4 | 3, lo(at), hi(at), value, u32::MAX, 4],
    )
}
pub fn indirect(at: u64, dwords: u32, vmid: u32) -> Vec<u32> {
    packet(
        opcode::INDIRECT_BUFFER,
        &[lo(at), hi(at), dwords | vmid << 24 | 1 << 23],
    )
}

pub struct Rig {
    pub bus: Bus,
    pub cp: CommandProcessor,
    pub events: Vec<CpEvent>,
    /// Write pointers, by queue.
    pub wptr: HashMap<QueueId, u64>,
    pub other_effects: Vec<GfxEffect>,
    pub clock: u64,
}

impl Rig {
    pub fn new() -> Self {
        Self {
            bus: Bus {
                memory: vec![0; MEMORY as usize],
                gfx: GfxRegisters::new(GfxLayout::GC_10_3, BASES),
                others: HashMap::new(),
                effects: Effects::default(),
                holes: HashSet::new(),
                faults: 0,
                verdict: None,
            },
            cp: CommandProcessor::new(),
            events: Vec::new(),
            wptr: HashMap::new(),
            other_effects: Vec::new(),
            clock: 0,
        }
    }

    /// With KIQ, a compute queue and a graphics queue as the driver brings them up.
    pub fn up() -> Self {
        let mut rig = Self::new();
        rig.unhalt();
        rig.start_kiq();
        rig.write_mqd(COMPUTE, COMPUTE_DOORBELL);
        rig.write_mqd(GFX, GFX_DOORBELL);
        rig.submit(
            KIQ,
            &[packet(opcode::SET_RESOURCES, &[0, 0xff, 0, 0, 0, 0, 0])].concat(),
        );
        rig.submit(KIQ, &map(COMPUTE, COMPUTE_DOORBELL));
        rig.submit(KIQ, &map(GFX, GFX_DOORBELL));
        assert_eq!(rig.run(), CpStep::Idle);
        rig
    }

    pub fn mmio(&mut self, byte: u32, value: u32) {
        self.bus.write_mmio(byte, value);
        self.settle();
    }

    pub fn unhalt(&mut self) {
        self.mmio(0x86d8, 0);
        self.mmio(0x86d4, 0);
    }

    pub fn select(&mut self, queue: QueueId) {
        let id = u32::from(queue.queue()) << 8 | u32::from(queue.me()) << 2 | u32::from(queue.pipe());
        self.mmio(GRBM_GFX_CNTL, id);
    }

    /// What `gfx_v10_0_kiq_init_register` writes, as far as it matters.
    pub fn start_kiq(&mut self) {
        self.mmio(RLC_CP_SCHEDULERS, 2 << 5 | 1 << 3 | 0x80);
        self.select(KIQ);
        let ring = home(KIQ) >> 8;
        for (register, value) in [
            (0xc824, lo(mqd_at(KIQ))),
            (0xc844, lo(ring)),
            (0xc848, hi(ring)),
            (0xc868, RING_FIELD),
            (0xc850, lo(rptr_at(KIQ))),
            (0xc854, 0),
            (0xc858, lo(wptr_at(KIQ))),
            (0xc860, 1 << 30 | KIQ_DOORBELL << 2),
            (0xc8fc, 0),
            (0xc900, 0),
            (0xc830, 0),
            (CP_HQD_ACTIVE, 1),
        ] {
            self.mmio(register, value);
        }
        self.mmio(GRBM_GFX_CNTL, 0);
        self.wptr.insert(KIQ, 0);
    }

    pub fn write_mqd(&mut self, queue: QueueId, doorbell: u32) {
        let at = mqd_at(queue);
        let ring = home(queue) >> 8;
        for dword in 0..0x200 {
            self.bus.set_dword(at + dword * 4, 0);
        }
        for (index, value) in [
            (0x80, lo(at)),
            (0x82, 1),
            (0x88, lo(ring)),
            (0x89, hi(ring)),
            (0x8b, lo(rptr_at(queue))),
            (0x8d, lo(wptr_at(queue))),
            (0x8f, 1 << 30 | doorbell << 2),
            (0x91, RING_FIELD),
        ] {
            self.bus.set_dword(at + index * 4, value);
        }
        self.bus.set_dwords(wptr_at(queue), &[0, 0]);
        self.wptr.insert(queue, 0);
    }

    /// Puts dwords into a ring and rings its doorbell.
    pub fn submit(&mut self, queue: QueueId, dwords: &[u32]) {
        self.place(queue, dwords);
        self.ring(queue);
    }

    pub fn place(&mut self, queue: QueueId, dwords: &[u32]) {
        let wptr = self.wptr.get_mut(&queue).unwrap();
        for dword in dwords {
            let at = home(queue) + *wptr % RING_DWORDS * 4;
            *wptr += 1;
            self.bus.memory[at as usize..][..4].copy_from_slice(&dword.to_le_bytes());
        }
        let wptr = *wptr;
        self.bus.set_dwords(wptr_at(queue), &[lo(wptr), hi(wptr)]);
    }

    pub fn ring(&mut self, queue: QueueId) {
        let doorbell = match queue {
            KIQ => KIQ_DOORBELL,
            COMPUTE => COMPUTE_DOORBELL,
            _ => GFX_DOORBELL,
        };
        self.cp.doorbell(doorbell, self.wptr[&queue]);
    }

    /// Effects and changes, in the order that the module prescribes.
    fn settle(&mut self) {
        for effect in self.bus.effects.take() {
            match effect {
                GfxEffect::Cp(command) => self.cp.apply(command),
                GfxEffect::Event(event) => self.events.push(event),
                other => self.other_effects.push(other),
            }
        }
        for change in self.cp.take_changes() {
            self.bus.gfx.publish(&change);
        }
    }

    pub fn step(&mut self, budget: &mut Budget) -> CpStep {
        let config = self.bus.gfx.cp_config();
        self.clock += 1;
        let step = self
            .cp
            .step(&mut self.bus, self.clock, &config, budget, &mut self.events);
        self.settle();
        step
    }

    /// Runs until nothing moves any more.
    pub fn run(&mut self) -> CpStep {
        for _ in 0..10_000 {
            let step = self.step(&mut Budget {
                packets: 1000,
                bytes: 1 << 20,
            });
            if step != CpStep::Progress {
                return step;
            }
        }
        panic!("the rings never run dry");
    }

    pub fn state(&self, queue: QueueId) -> QueueState {
        self.cp.queue(queue).unwrap().state
    }
}

/// The driver's MAP_QUEUES (`gfx10_kiq_map_queues`).
pub fn map(queue: QueueId, doorbell: u32) -> Vec<u32> {
    let engine = if queue.me() == 0 { 4 } else { 0 };
    let me = u32::from(queue.me() != 1);
    let control =
        u32::from(queue.queue()) << 13 | u32::from(queue.pipe()) << 16 | me << 18 | engine << 26 | 1 << 29;
    packet(
        opcode::MAP_QUEUES,
        &[
            control,
            doorbell << 2,
            lo(mqd_at(queue)),
            hi(mqd_at(queue)),
            lo(wptr_at(queue)),
            hi(wptr_at(queue)),
        ],
    )
}

pub fn unmap(doorbell: u32, action: u32) -> Vec<u32> {
    packet(opcode::UNMAP_QUEUES, &[action | 1 << 29, doorbell << 2, 0, 0, 0])
}
