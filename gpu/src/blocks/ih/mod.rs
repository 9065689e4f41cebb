//! The interrupt handler (OSSSYS 5.0.3): clients' interrupts become entries in a ring in memory, then a message-signalled
//! interrupt.
//!
//! The order is a contract: the entry is written, then the write pointer in memory, and only then is an interrupt asked for.
//!
//! Fidelity: ring 0 with write-back, overflow, doorbell and re-arm is modelled; rings 1 and 2 are stored only. Storm and flood
//! control have no effect.

mod entry;
pub mod registers;

pub use protocol::state::IhState;
pub use protocol::stats::IhStats;

pub use entry::{ENTRY_BYTES, IvEntry};

use super::segment;
use gart::{GpuVa, VirtualMemory, Vmid};
use mmio::{Effects, RegOffset, RegisterBlock, RegisterFile};
use registers::{
    ENABLE_INTR, IH_DOORBELL_RPTR, IH_RB_BASE, IH_RB_BASE_HI, IH_RB_CNTL, IH_RB_RPTR, IH_RB_WPTR,
    IH_RB_WPTR_ADDR_HI, IH_RB_WPTR_ADDR_LO, IH_VMID_LUT, IH_VMID_LUT_MM, RB_ENABLE, RB_OVERFLOW, RPTR_REARM,
    WPTR_OVERFLOW_CLEAR, WPTR_WRITEBACK_ENABLE,
};
use regs::osssys::v5_0::ROWS;

/// What a register write asks of the rest of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IhEffect {
    /// Entries are waiting and the driver has re-armed: send the interrupt again.
    Interrupt,
}

/// The interrupt handler.
#[derive(Debug)]
pub struct InterruptHandler {
    file: RegisterFile,
    /// With RPTR_REARM: no further interrupt until the read pointer has been written.
    armed: bool,
    stats: IhStats,
}

impl InterruptHandler {
    /// In the state after power-on. `bases` are OSSSYS's, in dwords, by segment.
    pub fn new(bases: &[u32]) -> Self {
        Self {
            file: RegisterFile::new("", segment(bases, 0), ROWS),
            armed: true,
            stats: IhStats::default(),
        }
    }

    /// Counts since the start.
    pub const fn stats(&self) -> IhStats {
        self.stats
    }

    /// The ring at this moment.
    pub fn state(&self) -> IhState {
        let ring_bytes = self.ring_bytes();
        let wptr = self.file.get(IH_RB_WPTR);
        let rptr = self.file.get(IH_RB_RPTR);
        let filled = (wptr & !RB_OVERFLOW).wrapping_sub(rptr) & ring_bytes.wrapping_sub(1);
        let cntl = self.file.get(IH_RB_CNTL);
        IhState {
            enabled: cntl & RB_ENABLE != 0,
            ring_bytes,
            rptr,
            wptr: wptr & !RB_OVERFLOW,
            pending: filled / ENTRY_BYTES,
            overflow: wptr & RB_OVERFLOW != 0,
            armed: cntl & ENABLE_INTR != 0 && (self.armed || cntl & RPTR_REARM == 0),
        }
    }

    /// The process address space that the driver has entered for a VMID.
    pub fn pasid(&self, vmid: Vmid, mm_hub: bool) -> u16 {
        let table = if mm_hub { IH_VMID_LUT_MM } else { IH_VMID_LUT };
        (self.file.get(table.plus(4 * u32::from(vmid.get()))) & 0xffff) as u16
    }

    /// Size of ring 0 in bytes.
    fn ring_bytes(&self) -> u32 {
        let log2_dwords = self.file.get(IH_RB_CNTL) >> 1 & 0x1f;
        4_u32
            .checked_shl(log2_dwords)
            .filter(|bytes| *bytes >= ENTRY_BYTES)
            .unwrap_or(ENTRY_BYTES)
    }

    /// Puts an entry into the ring. Returns whether to send an interrupt.
    pub fn raise(&mut self, entry: &IvEntry, timestamp: u64, memory: &mut impl VirtualMemory) -> bool {
        let cntl = self.file.get(IH_RB_CNTL);
        if cntl & RB_ENABLE == 0 {
            self.stats.dropped += 1;
            return false;
        }
        let mask = self.ring_bytes().wrapping_sub(1);
        let wptr = self.file.get(IH_RB_WPTR) & mask & !(ENTRY_BYTES - 1);
        let base = GpuVa::new(self.file.get_pair(IH_RB_BASE, IH_RB_BASE_HI) << 8);
        let mut written = memory
            .write(Vmid::KERNEL, base.plus(u64::from(wptr)), &entry.encode(timestamp))
            .is_ok();

        let next = wptr.wrapping_add(ENTRY_BYTES) & mask;
        let mut overflow = self.file.get(IH_RB_WPTR) & RB_OVERFLOW;
        if next == self.file.get(IH_RB_RPTR) & mask {
            overflow = RB_OVERFLOW;
            self.stats.overflows += 1;
        }
        self.file.set(IH_RB_WPTR, next | overflow);
        if cntl & WPTR_WRITEBACK_ENABLE != 0 {
            let at = GpuVa::new(self.file.get_pair(IH_RB_WPTR_ADDR_LO, IH_RB_WPTR_ADDR_HI));
            written &= memory.store_u32(Vmid::KERNEL, at, next | overflow).is_ok();
        }
        if written {
            self.stats.entries += 1;
        } else {
            self.stats.faults += 1;
        }
        self.interrupt()
    }

    /// Whether an interrupt is due now; disarms if the driver works with re-arming.
    fn interrupt(&mut self) -> bool {
        let cntl = self.file.get(IH_RB_CNTL);
        let due = cntl & ENABLE_INTR != 0 && (self.armed || cntl & RPTR_REARM == 0);
        if due {
            self.armed = false;
            self.stats.interrupts += 1;
        }
        due
    }

    /// The dword index of the read pointer's doorbell, if it is enabled.
    pub fn doorbell_index(&self) -> Option<u32> {
        let doorbell = self.file.get(IH_DOORBELL_RPTR);
        (doorbell & 1 << 28 != 0).then_some(doorbell & 0x03ff_ffff)
    }

    /// The driver has consumed entries up to `rptr` (bytes).
    pub fn set_rptr(&mut self, rptr: u32, effects: &mut Effects<IhEffect>) {
        self.file
            .set(IH_RB_RPTR, rptr & self.ring_bytes().wrapping_sub(1));
        self.armed = true;
        let pending = self.file.get(IH_RB_WPTR) & !RB_OVERFLOW != self.file.get(IH_RB_RPTR);
        if pending && self.file.get(IH_RB_CNTL) & RB_ENABLE != 0 && self.interrupt() {
            effects.push(IhEffect::Interrupt);
        }
    }
}

impl RegisterBlock for InterruptHandler {
    type Effect = IhEffect;

    fn files(&self) -> Vec<&RegisterFile> {
        vec![&self.file]
    }

    fn read(&mut self, offset: RegOffset) -> u32 {
        self.file.read(offset).unwrap_or(0)
    }

    fn write(&mut self, offset: RegOffset, value: u32, effects: &mut Effects<IhEffect>) {
        let Some(_) = self.file.write(offset, value) else {
            return;
        };
        match self.file.relative(offset) {
            Some(IH_RB_RPTR) => self.set_rptr(value, effects),
            Some(IH_RB_CNTL) if value & WPTR_OVERFLOW_CLEAR != 0 => {
                let wptr = self.file.get(IH_RB_WPTR);
                self.file.set(IH_RB_WPTR, wptr & !RB_OVERFLOW);
            }
            _ => {}
        }
    }

    fn reset(&mut self) {
        let Self {
            file,
            armed,
            stats: _,
        } = self;
        file.reset();
        *armed = true;
    }
}

#[cfg(test)]
mod tests;
