//! A GPU around one engine: flat memory, a handful of foreign registers, and the loop that the device runs.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use gart::{Access, Fault, FaultKind, GpuVa, VirtualMemory, Vmid};
use mmio::{Effects, RegOffset, RegisterBlock, RegisterBus};

use crate::{
    Ahead, Budget, Engine, EngineEvent, Gate, InvalidateRegisters, NAVI21, SdmaEffect, SdmaRegisters,
    StartedBy, Step, Verdict, offset,
};

/// What each context sees: addresses 0..this, each context its own bytes.
pub const SPACE: u64 = 2 << 20;
const CONTEXTS: u64 = 3;
const PAGE: u64 = 4096;

/// Hub registers, as on Navi21.
pub const INVALIDATE: InvalidateRegisters = InvalidateRegisters {
    gfx_req: RegOffset::from_byte(0xa1fc),
    gfx_ack: RegOffset::from_byte(0xa244),
    stride: 4,
};

/// Memory of three contexts. Holes fault in all of them.
#[derive(Debug, Clone)]
pub struct Memory {
    pub bytes: Vec<u8>,
    holes: Vec<Range<u64>>,
    pub faults: Vec<Fault>,
    /// Bytes moved by copies, fills and writes.
    pub moved: u64,
}

impl Memory {
    pub fn new() -> Self {
        Self {
            bytes: vec![0; usize::try_from(SPACE * CONTEXTS).unwrap()],
            holes: Vec::new(),
            faults: Vec::new(),
            moved: 0,
        }
    }

    /// Makes a range of addresses fault.
    pub fn hole(&mut self, start: u64, end: u64) {
        self.holes.push(start..end);
    }

    /// Where the bytes of an address are, and how many of `len` there are in its page.
    fn piece(&mut self, vmid: Vmid, va: GpuVa, len: u64, access: Access) -> Result<Range<usize>, Fault> {
        let at = va.get();
        let in_page = (PAGE - at % PAGE).min(len);
        let mapped = u64::from(vmid.get()) < CONTEXTS
            && at < SPACE
            && !self
                .holes
                .iter()
                .any(|hole| hole.start < at + in_page && at < hole.end);
        if !mapped {
            let kind = FaultKind::InvalidPte;
            let fault = Fault {
                vmid,
                va,
                access,
                kind,
            };
            self.faults.push(fault);
            return Err(fault);
        }
        let start = usize::try_from(u64::from(vmid.get()) * SPACE + at).unwrap();
        Ok(start..start + usize::try_from(in_page).unwrap())
    }

    fn aligned(va: GpuVa, size: u64) {
        assert!(va.get().is_multiple_of(size), "{va} is not aligned to {size}");
    }
}

impl VirtualMemory for Memory {
    fn read(&mut self, vmid: Vmid, va: GpuVa, data: &mut [u8]) -> Result<(), Fault> {
        let mut done = 0;
        while done < data.len() {
            let left = (data.len() - done) as u64;
            match self.piece(vmid, va.plus(done as u64), left, Access::Read) {
                Ok(piece) => {
                    let len = piece.len();
                    data[done..done + len].copy_from_slice(&self.bytes[piece]);
                    done += len;
                }
                Err(fault) => {
                    data[done..].fill(0);
                    return Err(fault);
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, vmid: Vmid, va: GpuVa, data: &[u8]) -> Result<(), Fault> {
        let mut done = 0;
        while done < data.len() {
            let left = (data.len() - done) as u64;
            let piece = self.piece(vmid, va.plus(done as u64), left, Access::Write)?;
            let len = piece.len();
            self.bytes[piece].copy_from_slice(&data[done..done + len]);
            self.moved += len as u64;
            done += len;
        }
        Ok(())
    }

    fn copy(&mut self, vmid: Vmid, from: GpuVa, to: GpuVa, len: u64) -> Result<(), Fault> {
        let mut done = 0;
        while done < len {
            let src = self.piece(vmid, from.plus(done), len - done, Access::Read)?;
            let dst = self.piece(vmid, to.plus(done), src.len() as u64, Access::Write)?;
            let src = src.start..src.start + dst.len();
            self.moved += dst.len() as u64;
            done += dst.len() as u64;
            self.bytes.copy_within(src, dst.start);
        }
        Ok(())
    }

    fn fill(&mut self, vmid: Vmid, va: GpuVa, pattern: u32, len: u64) -> Result<(), Fault> {
        let data: Vec<u8> = pattern
            .to_le_bytes()
            .into_iter()
            .cycle()
            .take(usize::try_from(len).unwrap())
            .collect();
        self.write(vmid, va, &data)
    }

    fn store_u32(&mut self, vmid: Vmid, va: GpuVa, value: u32) -> Result<(), Fault> {
        Self::aligned(va, 4);
        let piece = self.piece(vmid, va, 4, Access::Write)?;
        self.bytes[piece].copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn store_u64(&mut self, vmid: Vmid, va: GpuVa, value: u64) -> Result<(), Fault> {
        Self::aligned(va, 8);
        let piece = self.piece(vmid, va, 8, Access::Write)?;
        self.bytes[piece].copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn update_u32(
        &mut self,
        vmid: Vmid,
        va: GpuVa,
        update: &mut dyn FnMut(u32) -> u32,
    ) -> Result<u32, Fault> {
        Self::aligned(va, 4);
        let piece = self.piece(vmid, va, 4, Access::Write)?;
        let old = u32::from_le_bytes(self.bytes[piece.clone()].try_into().unwrap());
        self.bytes[piece].copy_from_slice(&update(old).to_le_bytes());
        Ok(old)
    }

    fn update_u64(
        &mut self,
        vmid: Vmid,
        va: GpuVa,
        update: &mut dyn FnMut(u64) -> u64,
    ) -> Result<u64, Fault> {
        Self::aligned(va, 8);
        let piece = self.piece(vmid, va, 8, Access::Write)?;
        let old = u64::from_le_bytes(self.bytes[piece.clone()].try_into().unwrap());
        self.bytes[piece].copy_from_slice(&update(old).to_le_bytes());
        Ok(old)
    }
}

/// What an engine reaches: memory, its own registers, and everyone else's.
#[derive(Debug)]
pub struct Bus<'a> {
    pub memory: &'a mut Memory,
    pub registers: &'a mut SdmaRegisters,
    pub foreign: &'a mut BTreeMap<RegOffset, u32>,
    pub writes: &'a mut Vec<(RegOffset, u32)>,
    pub effects: &'a mut Effects<SdmaEffect>,
    pub verdicts: &'a mut VecDeque<Verdict>,
}

impl Gate for Bus<'_> {
    fn verdict(&mut self, ahead: &Ahead<'_>) -> Verdict {
        match self.verdicts.pop_front() {
            // A device delays a packet once.
            Some(Verdict::Delay(_)) if ahead.delayed => Verdict::Proceed,
            Some(verdict) => verdict,
            None => Verdict::Proceed,
        }
    }
}

impl RegisterBus for Bus<'_> {
    fn read_register(&mut self, offset: RegOffset) -> u32 {
        if self
            .registers
            .files()
            .iter()
            .any(|file| file.relative(offset).is_some())
        {
            return self.registers.read(offset);
        }
        self.foreign.get(&offset).copied().unwrap_or(0)
    }

    fn write_register(&mut self, offset: RegOffset, value: u32) {
        self.writes.push((offset, value));
        if self
            .registers
            .files()
            .iter()
            .any(|file| file.relative(offset).is_some())
        {
            self.registers.write(offset, value, self.effects);
        } else {
            self.foreign.insert(offset, value);
        }
    }
}

macro_rules! to_memory {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $ret:ty;)*) => {
        impl VirtualMemory for Bus<'_> {
            $(fn $name(&mut self, $($arg: $ty),*) -> $ret {
                self.memory.$name($($arg),*)
            })*
        }
    };
}

to_memory! {
    read(vmid: Vmid, va: GpuVa, data: &mut [u8]) -> Result<(), Fault>;
    write(vmid: Vmid, va: GpuVa, data: &[u8]) -> Result<(), Fault>;
    copy(vmid: Vmid, from: GpuVa, to: GpuVa, len: u64) -> Result<(), Fault>;
    fill(vmid: Vmid, va: GpuVa, pattern: u32, len: u64) -> Result<(), Fault>;
    store_u32(vmid: Vmid, va: GpuVa, value: u32) -> Result<(), Fault>;
    store_u64(vmid: Vmid, va: GpuVa, value: u64) -> Result<(), Fault>;
    update_u32(vmid: Vmid, va: GpuVa, update: &mut dyn FnMut(u32) -> u32) -> Result<u32, Fault>;
    update_u64(vmid: Vmid, va: GpuVa, update: &mut dyn FnMut(u64) -> u64) -> Result<u64, Fault>;
}

/// Where the ring lies.
pub const RING: u64 = 0x1_0000;
/// Its size in bytes.
pub const RING_BYTES: u64 = 0x1000;
/// Where the read pointer is written back to.
pub const RPTR: u64 = 0x2000;
/// Where the write pointer's shadow lies.
pub const WPTR: u64 = 0x2020;
/// A budget that the stories do not exhaust.
pub const PLENTY: Budget = Budget {
    packets: 10_000,
    bytes: 64 << 20,
};

/// Everything around one engine.
#[derive(Debug)]
pub struct Gpu {
    pub memory: Memory,
    pub registers: SdmaRegisters,
    pub engine: Engine,
    pub foreign: BTreeMap<RegOffset, u32>,
    /// Register writes of the engine.
    pub writes: Vec<(RegOffset, u32)>,
    pub effects: Effects<SdmaEffect>,
    pub events: Vec<EngineEvent>,
    /// What becomes of the next packets; then they proceed.
    pub verdicts: VecDeque<Verdict>,
    pub now: Duration,
    /// The driver's write pointer, in bytes.
    pub wptr: u64,
}

impl Gpu {
    /// Powered on and untouched.
    pub fn cold() -> Self {
        Self {
            memory: Memory::new(),
            registers: SdmaRegisters::new(NAVI21[0], StartedBy::Driver),
            engine: Engine::new(INVALIDATE),
            foreign: BTreeMap::new(),
            writes: Vec::new(),
            effects: Effects::default(),
            events: Vec::new(),
            verdicts: VecDeque::new(),
            now: Duration::ZERO,
            wptr: 0,
        }
    }

    /// After `sdma_v5_2_start`, with the trap interrupt enabled.
    pub fn new() -> Self {
        let mut gpu = Self::cold();
        gpu.resume(0);
        gpu.change(offset::CNTL, 0, 1);
        gpu
    }

    /// `sdma_v5_2_gfx_resume_instance` of 7.3; pointers start at `wptr`.
    pub fn resume(&mut self, wptr: u64) {
        let size = (RING_BYTES / 4).ilog2() << 1;
        let (lo, hi) = (
            u32::try_from(wptr & 0xffff_ffff).unwrap(),
            u32::try_from(wptr >> 32).unwrap(),
        );
        self.set(offset::GFX_RB_CNTL, 0x0004_0000 | size);
        self.set(offset::GFX_RB_RPTR, lo);
        self.set(offset::GFX_RB_RPTR_HI, hi);
        self.set(offset::GFX_RB_WPTR, lo);
        self.set(offset::GFX_RB_WPTR_HI, hi);
        self.set(offset::GFX_RB_WPTR_POLL_ADDR_LO, WPTR as u32);
        self.set(offset::GFX_RB_WPTR_POLL_ADDR_HI, 0);
        self.change(offset::GFX_RB_WPTR_POLL_CNTL, 0, 4);
        self.set(offset::GFX_RB_RPTR_ADDR_HI, 0);
        self.set(offset::GFX_RB_RPTR_ADDR_LO, RPTR as u32);
        self.set(offset::GFX_RB_BASE, (RING >> 8) as u32);
        self.set(offset::GFX_RB_BASE_HI, 0);
        self.set(offset::GFX_DOORBELL, 1 << 28);
        self.set(offset::GFX_DOORBELL_OFFSET, 0x200 << 2);
        self.change(offset::F32_CNTL, 1, 0);
        self.set(offset::GFX_RB_CNTL, 0x0004_1001 | size);
        self.change(offset::GFX_IB_CNTL, 0, 1);
        self.wptr = wptr;
    }

    /// Bus write to a register of the instance.
    pub fn set(&mut self, relative: RegOffset, value: u32) {
        let at = NAVI21[0].base.plus(relative.byte());
        self.registers.write(at, value, &mut self.effects);
    }

    /// Read, clear bits, set bits, write: what the driver does most of the time.
    pub fn change(&mut self, relative: RegOffset, clear: u32, set: u32) {
        let value = self.get(relative);
        self.set(relative, value & !clear | set);
    }

    /// Bus read of a register of the instance.
    pub fn get(&mut self, relative: RegOffset) -> u32 {
        self.registers.read(NAVI21[0].base.plus(relative.byte()))
    }

    /// Puts dwords into the ring and rings the doorbell.
    pub fn submit(&mut self, dwords: &[u32]) {
        for dword in dwords {
            let at = usize::try_from(RING + self.wptr % RING_BYTES).unwrap();
            self.memory.bytes[at..at + 4].copy_from_slice(&dword.to_le_bytes());
            self.wptr += 4;
        }
        self.registers.ring_doorbell(self.wptr);
    }

    /// One step, as the device does it.
    pub fn step(&mut self, budget: &mut Budget) -> Step {
        let config = self.registers.queue_config();
        let mut bus = Bus {
            memory: &mut self.memory,
            registers: &mut self.registers,
            foreign: &mut self.foreign,
            writes: &mut self.writes,
            effects: &mut self.effects,
            verdicts: &mut self.verdicts,
        };
        let step = self
            .engine
            .step(&config, &mut bus, self.now, budget, &mut self.events);
        self.registers.publish(self.engine.status());
        step
    }

    /// Steps while there is progress.
    pub fn run(&mut self) -> Step {
        for _ in 0..200 {
            let step = self.step(&mut PLENTY.clone());
            if step != Step::Progress {
                return step;
            }
        }
        panic!("no end of progress");
    }

    /// Submits and runs.
    pub fn execute(&mut self, dwords: &[u32]) -> Step {
        self.submit(dwords);
        self.run()
    }

    /// Writes dwords into a context.
    pub fn poke(&mut self, vmid: u32, at: u64, dwords: &[u32]) {
        let bytes: Vec<u8> = dwords.iter().flat_map(|dword| dword.to_le_bytes()).collect();
        let start = usize::try_from(u64::from(vmid) * SPACE + at).unwrap();
        self.memory.bytes[start..start + bytes.len()].copy_from_slice(&bytes);
    }

    /// Bytes of a context.
    pub fn bytes(&self, vmid: u32, at: u64, len: usize) -> &[u8] {
        let start = usize::try_from(u64::from(vmid) * SPACE + at).unwrap();
        &self.memory.bytes[start..start + len]
    }

    /// A dword of a context.
    pub fn dword(&self, vmid: u32, at: u64) -> u32 {
        u32::from_le_bytes(self.bytes(vmid, at, 4).try_into().unwrap())
    }

    /// A qword of a context.
    pub fn qword(&self, vmid: u32, at: u64) -> u64 {
        u64::from_le_bytes(self.bytes(vmid, at, 8).try_into().unwrap())
    }

    /// The read pointer as the driver finds it in memory, in bytes.
    pub fn written_back(&self) -> u64 {
        self.qword(0, RPTR)
    }
}
