//! Memory through a hub: [`VirtualMemory`] over a [`Hub`] and a [`PhysicalMemory`].

use crate::context::PAGE_SIZE;
use crate::{
    Access, Backing, ClientId, Fault, FaultInterrupt, FaultKind, GpuVa, Hub, Location, MemoryError,
    PhysicalMemory, Series, VirtualMemory, Vmid,
};

/// Collects the faults of a run of accesses, for whoever owns the interrupt handler.
#[derive(Debug, Default)]
pub struct FaultSink {
    interrupts: Vec<FaultInterrupt>,
    faults: u64,
    dropped: u64,
}

impl FaultSink {
    /// Interrupts that are kept until [`take`](Self::take); what comes on top is counted and dropped, as the interrupt ring would.
    pub const CAPACITY: usize = 1024;

    /// Takes a fault down in the hub's registers, and as an interrupt if its context wants one.
    pub fn report(&mut self, hub: &mut Hub, fault: &Fault, client: ClientId) {
        self.push(hub.record_fault(fault, client));
    }

    fn push(&mut self, interrupt: Option<FaultInterrupt>) {
        self.faults = self.faults.saturating_add(1);
        let Some(interrupt) = interrupt else { return };
        if self.interrupts.len() < Self::CAPACITY {
            self.interrupts.push(interrupt);
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// The interrupts since the last call, oldest first.
    pub fn take(&mut self) -> Vec<FaultInterrupt> {
        std::mem::take(&mut self.interrupts)
    }

    /// All faults so far, with or without an interrupt.
    pub const fn faults(&self) -> u64 {
        self.faults
    }

    /// Interrupts lost to a full sink.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// One client's view of memory through a hub.
#[derive(Debug)]
pub struct Space<'a, M: ?Sized> {
    hub: &'a mut Hub,
    memory: &'a M,
    client: ClientId,
    sink: &'a mut FaultSink,
}

/// A run of bytes in one physical place.
#[derive(Clone, Copy)]
struct Run {
    backing: Backing,
    len: u64,
}

/// How far an access goes in one step. It begins with whole runs; if a run turns out to be partly in no memory it goes on page by
/// page, so that what precedes the bad page is still done and the fault names that page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stride {
    Run,
    Page,
}

impl Stride {
    /// `len` bytes at `va`, cut off at the next page if need be.
    fn limit(self, va: GpuVa, len: u64) -> u64 {
        match self {
            Self::Run => len,
            Self::Page => len.min(to_next_page(va)),
        }
    }
}

const fn to_next_page(va: GpuVa) -> u64 {
    PAGE_SIZE.wrapping_sub(va.get() & (PAGE_SIZE - 1))
}

/// A usize as u64: no Rust target has wider pointers.
const fn wide(len: usize) -> u64 {
    len as u64
}

impl<'a, M: PhysicalMemory + ?Sized> Space<'a, M> {
    /// The memory that `client` sees through `hub`.
    pub const fn new(hub: &'a mut Hub, memory: &'a M, client: ClientId, sink: &'a mut FaultSink) -> Self {
        Self {
            hub,
            memory,
            client,
            sink,
        }
    }

    fn report(&mut self, fault: Fault) -> Fault {
        let interrupt = self.hub.record_fault(&fault, self.client);
        self.sink.push(interrupt);
        fault
    }

    fn report_memory(&mut self, vmid: Vmid, va: GpuVa, access: Access, error: MemoryError) -> Fault {
        self.report(Fault {
            vmid,
            va: va.canonical(),
            access,
            kind: FaultKind::Memory(error),
        })
    }

    /// The run at `va`, at most `len` bytes.
    #[inline]
    fn run(&mut self, vmid: Vmid, va: GpuVa, access: Access, len: u64) -> Result<Run, Fault> {
        // Most of what engines access, and nothing to walk.
        if vmid == Vmid::KERNEL
            && let Some((location, remaining, _)) = self.hub.space().apertures.find(va)
        {
            return Ok(Run {
                backing: Backing::Memory(location),
                len: remaining.min(len),
            });
        }
        self.walk(vmid, va, access, len)
    }

    fn walk(&mut self, vmid: Vmid, va: GpuVa, access: Access, len: u64) -> Result<Run, Fault> {
        match self.hub.translate(self.memory, vmid, va, access) {
            Ok(found) => Ok(Run {
                backing: found.backing,
                len: found.remaining.min(len),
            }),
            Err(fault) => Err(self.report(fault)),
        }
    }

    /// Calls `step(memory, place, bytes done, bytes in this step)` for the pieces of `len` bytes at `va`, ascending. On a fault
    /// returns how many bytes were done, and the fault.
    fn pieces(
        &mut self,
        vmid: Vmid,
        va: GpuVa,
        access: Access,
        len: u64,
        mut step: impl FnMut(&M, Backing, u64, u64) -> Result<(), MemoryError>,
    ) -> Result<(), (u64, Fault)> {
        let mut stride = Stride::Run;
        let mut done: u64 = 0;
        while done < len {
            let at = va.plus(done);
            let rest = stride.limit(at, len.saturating_sub(done));
            let run = self.run(vmid, at, access, rest).map_err(|fault| (done, fault))?;
            match step(self.memory, run.backing, done, run.len) {
                Ok(()) => done = done.saturating_add(run.len),
                Err(_) if run.len > to_next_page(at) => stride = Stride::Page,
                Err(error) => return Err((done, self.report_memory(vmid, at, access, error))),
            }
        }
        Ok(())
    }

    /// One naturally aligned word, which lies in one page. `None` in a partially resident page.
    fn word(&mut self, vmid: Vmid, va: GpuVa, access: Access) -> Result<Option<Location>, Fault> {
        Ok(match self.run(vmid, va, access, 8)?.backing {
            Backing::Memory(location) => Some(location),
            Backing::Prt => None,
        })
    }
}

/// `slice[start..start + len]`, cut off at its end.
fn part(slice: &[u8], start: u64, len: u64) -> &[u8] {
    let rest = usize::try_from(start)
        .ok()
        .and_then(|start| slice.get(start..))
        .unwrap_or_default();
    usize::try_from(len)
        .ok()
        .and_then(|len| rest.get(..len))
        .unwrap_or(rest)
}

fn part_mut(slice: &mut [u8], start: u64, len: u64) -> &mut [u8] {
    let rest = usize::try_from(start)
        .ok()
        .and_then(|start| slice.get_mut(start..))
        .unwrap_or_default();
    let len = usize::try_from(len).unwrap_or(rest.len()).min(rest.len());
    rest.split_at_mut(len).0
}

/// The pattern as it continues after `done` bytes.
const fn rotate_pattern(pattern: u32, done: u64) -> u32 {
    pattern.rotate_right((done << 3 & 0x18) as u32)
}

/// As hardware does, words are aligned by dropping the low address bits.
const fn align(va: GpuVa, size: u64) -> GpuVa {
    GpuVa::new(va.get() & !size.wrapping_sub(1))
}

impl<M: PhysicalMemory + ?Sized> VirtualMemory for Space<'_, M> {
    fn read(&mut self, vmid: Vmid, va: GpuVa, data: &mut [u8]) -> Result<(), Fault> {
        let result = self.pieces(
            vmid,
            va,
            Access::Read,
            wide(data.len()),
            |memory, backing, done, len| {
                let piece = part_mut(data, done, len);
                match backing {
                    Backing::Memory(location) => memory.read(location, piece),
                    Backing::Prt => {
                        piece.fill(0);
                        Ok(())
                    }
                }
            },
        );
        result.map_err(|(done, fault)| {
            part_mut(data, done, u64::MAX).fill(0);
            fault
        })
    }

    fn write(&mut self, vmid: Vmid, va: GpuVa, data: &[u8]) -> Result<(), Fault> {
        self.pieces(
            vmid,
            va,
            Access::Write,
            wide(data.len()),
            |memory, backing, done, len| match backing {
                Backing::Memory(location) => memory.write(location, part(data, done, len)),
                Backing::Prt => Ok(()),
            },
        )
        .map_err(|(_, fault)| fault)
    }

    fn copy(&mut self, vmid: Vmid, from: GpuVa, to: GpuVa, len: u64) -> Result<(), Fault> {
        let mut stride = Stride::Run;
        let mut done: u64 = 0;
        while done < len {
            let (source, target) = (from.plus(done), to.plus(done));
            let rest = stride.limit(target, stride.limit(source, len.saturating_sub(done)));
            let read = self.run(vmid, source, Access::Read, rest)?;
            let write = self.run(vmid, target, Access::Write, read.len)?;
            let result = match (read.backing, write.backing) {
                (Backing::Memory(source), Backing::Memory(target)) => {
                    self.memory.copy(source, target, write.len)
                }
                (Backing::Prt, Backing::Memory(target)) => self.memory.fill(target, 0, write.len),
                (_, Backing::Prt) => Ok(()),
            };
            match result {
                Ok(()) => done = done.saturating_add(write.len),
                Err(_) if write.len > to_next_page(source).min(to_next_page(target)) => stride = Stride::Page,
                Err(error) => {
                    // Which side it was cannot be told from the error: try the source alone.
                    let unreadable = match read.backing {
                        Backing::Memory(location) => {
                            let last = location.plus(write.len.saturating_sub(1));
                            let mut byte = [0];
                            self.memory
                                .read(location, &mut byte)
                                .and(self.memory.read(last, &mut byte))
                                .is_err()
                        }
                        Backing::Prt => false,
                    };
                    let (va, access) = if unreadable {
                        (source, Access::Read)
                    } else {
                        (target, Access::Write)
                    };
                    return Err(self.report_memory(vmid, va, access, error));
                }
            }
        }
        Ok(())
    }

    fn fill(&mut self, vmid: Vmid, va: GpuVa, pattern: u32, len: u64) -> Result<(), Fault> {
        self.pieces(
            vmid,
            va,
            Access::Write,
            len,
            |memory, backing, done, len| match backing {
                Backing::Memory(location) => memory.fill(location, rotate_pattern(pattern, done), len),
                Backing::Prt => Ok(()),
            },
        )
        .map_err(|(_, fault)| fault)
    }

    fn write_series(&mut self, vmid: Vmid, va: GpuVa, series: Series, len: u64) -> Result<(), Fault> {
        self.pieces(
            vmid,
            va,
            Access::Write,
            len,
            |memory, backing, done, len| match backing {
                Backing::Memory(location) => memory.write_series(location, series, done, len),
                Backing::Prt => Ok(()),
            },
        )
        .map_err(|(_, fault)| fault)
    }

    fn store_u32(&mut self, vmid: Vmid, va: GpuVa, value: u32) -> Result<(), Fault> {
        let va = align(va, 4);
        let Some(location) = self.word(vmid, va, Access::Write)? else {
            return Ok(());
        };
        let result = self.memory.store_u32(location, value);
        result.map_err(|error| self.report_memory(vmid, va, Access::Write, error))
    }

    fn store_u64(&mut self, vmid: Vmid, va: GpuVa, value: u64) -> Result<(), Fault> {
        let va = align(va, 8);
        let Some(location) = self.word(vmid, va, Access::Write)? else {
            return Ok(());
        };
        let result = self.memory.store_u64(location, value);
        result.map_err(|error| self.report_memory(vmid, va, Access::Write, error))
    }

    fn update_u32(
        &mut self,
        vmid: Vmid,
        va: GpuVa,
        update: &mut dyn FnMut(u32) -> u32,
    ) -> Result<u32, Fault> {
        let va = align(va, 4);
        let Some(location) = self.word(vmid, va, Access::Write)? else {
            update(0);
            return Ok(0);
        };
        let result = self.memory.update_u32(location, update);
        result.map_err(|error| self.report_memory(vmid, va, Access::Write, error))
    }

    fn update_u64(
        &mut self,
        vmid: Vmid,
        va: GpuVa,
        update: &mut dyn FnMut(u64) -> u64,
    ) -> Result<u64, Fault> {
        let va = align(va, 8);
        let Some(location) = self.word(vmid, va, Access::Write)? else {
            update(0);
            return Ok(0);
        };
        let result = self.memory.update_u64(location, update);
        result.map_err(|error| self.report_memory(vmid, va, Access::Write, error))
    }
}

#[cfg(test)]
#[path = "space_tests.rs"]
mod tests;
