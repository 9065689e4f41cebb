//! The fabric as an engine sees it.

use gart::{ClientId, Fault, FaultSink, GpuVa, Hub, Series, Space, VirtualMemory, Vmid};
use mmio::{RegOffset, RegisterBus};

use super::blocks::Blocks;
use super::fabric::Fabric;
use crate::event::EngineName;
use crate::memory::CardMemory;

/// What an engine on the graphics hub reaches: memory through its contexts, and all registers.
#[derive(Debug)]
pub(super) struct EngineBus<'a, M> {
    pub(super) fabric: &'a mut Fabric<M>,
    client: ClientId,
    /// Who asks; a queue of the command processor says which one it is.
    pub(super) engine: EngineName,
}

impl<'a, M: CardMemory> EngineBus<'a, M> {
    pub(super) const fn new(fabric: &'a mut Fabric<M>, client: ClientId, engine: EngineName) -> Self {
        Self {
            fabric,
            client,
            engine,
        }
    }

    fn space(&mut self, vmid: Vmid) -> Space<'_, M> {
        self.fabric.used_vmids |= 1_u16.wrapping_shl(u32::from(vmid.get()));
        let Fabric {
            blocks: Blocks { gfxhub, .. },
            memory,
            faults,
            ..
        } = &mut *self.fabric;
        Space::new(gfxhub, memory, self.client, faults)
    }
}

/// Memory as the blocks on the multimedia hub see it (interrupt handler, security processor).
pub(super) const fn mm_space<'a, M: CardMemory>(
    mmhub: &'a mut Hub,
    memory: &'a M,
    client: ClientId,
    faults: &'a mut FaultSink,
) -> Space<'a, M> {
    Space::new(mmhub, memory, client, faults)
}

impl<M: CardMemory> VirtualMemory for EngineBus<'_, M> {
    fn read(&mut self, vmid: Vmid, va: GpuVa, data: &mut [u8]) -> Result<(), Fault> {
        self.space(vmid).read(vmid, va, data)
    }

    fn write(&mut self, vmid: Vmid, va: GpuVa, data: &[u8]) -> Result<(), Fault> {
        self.space(vmid).write(vmid, va, data)
    }

    fn copy(&mut self, vmid: Vmid, from: GpuVa, to: GpuVa, len: u64) -> Result<(), Fault> {
        self.space(vmid).copy(vmid, from, to, len)
    }

    fn fill(&mut self, vmid: Vmid, va: GpuVa, pattern: u32, len: u64) -> Result<(), Fault> {
        self.space(vmid).fill(vmid, va, pattern, len)
    }

    fn write_series(&mut self, vmid: Vmid, va: GpuVa, series: Series, len: u64) -> Result<(), Fault> {
        self.space(vmid).write_series(vmid, va, series, len)
    }

    fn store_u32(&mut self, vmid: Vmid, va: GpuVa, value: u32) -> Result<(), Fault> {
        self.space(vmid).store_u32(vmid, va, value)
    }

    fn store_u64(&mut self, vmid: Vmid, va: GpuVa, value: u64) -> Result<(), Fault> {
        self.space(vmid).store_u64(vmid, va, value)
    }

    fn update_u32(
        &mut self,
        vmid: Vmid,
        va: GpuVa,
        update: &mut dyn FnMut(u32) -> u32,
    ) -> Result<u32, Fault> {
        self.space(vmid).update_u32(vmid, va, update)
    }

    fn update_u64(
        &mut self,
        vmid: Vmid,
        va: GpuVa,
        update: &mut dyn FnMut(u64) -> u64,
    ) -> Result<u64, Fault> {
        self.space(vmid).update_u64(vmid, va, update)
    }
}

impl<M: CardMemory> RegisterBus for EngineBus<'_, M> {
    fn read_register(&mut self, offset: RegOffset) -> u32 {
        self.fabric.read(offset)
    }

    fn write_register(&mut self, offset: RegOffset, value: u32) {
        self.fabric.write(offset, value);
    }
}
