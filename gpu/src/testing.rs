//! Fakes for the tests of the blocks in this crate.

#![expect(clippy::cast_possible_truncation, reason = "the tests' addresses are small")]

use gart::{Access, Fault, FaultKind, GpuVa, VirtualMemory, Vmid};

/// Memory without translation: every VMID sees the same bytes at the same addresses.
#[derive(Debug)]
pub(crate) struct FlatMemory {
    bytes: Vec<u8>,
    order: Vec<u64>,
}

impl FlatMemory {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            bytes: vec![0; size],
            order: Vec::new(),
        }
    }

    pub(crate) fn u32(&self, at: u64) -> u32 {
        let at = at as usize;
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    pub(crate) fn put(&mut self, at: u64, data: &[u8]) {
        self.bytes[at as usize..at as usize + data.len()].copy_from_slice(data);
    }

    /// Addresses of all writes so far, in order.
    pub(crate) fn order(&self) -> &[u64] {
        &self.order
    }

    fn range(
        &self,
        vmid: Vmid,
        va: GpuVa,
        len: usize,
        access: Access,
    ) -> Result<std::ops::Range<usize>, Fault> {
        let fault = Fault {
            vmid,
            va,
            access,
            kind: FaultKind::InvalidPte,
        };
        let start = usize::try_from(va.get()).map_err(|_| fault)?;
        let end = start
            .checked_add(len)
            .filter(|end| *end <= self.bytes.len())
            .ok_or(fault)?;
        Ok(start..end)
    }
}

impl VirtualMemory for FlatMemory {
    fn read(&mut self, vmid: Vmid, va: GpuVa, data: &mut [u8]) -> Result<(), Fault> {
        data.fill(0);
        let range = self.range(vmid, va, data.len(), Access::Read)?;
        data.copy_from_slice(&self.bytes[range]);
        Ok(())
    }

    fn write(&mut self, vmid: Vmid, va: GpuVa, data: &[u8]) -> Result<(), Fault> {
        let range = self.range(vmid, va, data.len(), Access::Write)?;
        self.order.push(va.get());
        self.bytes[range].copy_from_slice(data);
        Ok(())
    }

    fn copy(&mut self, vmid: Vmid, from: GpuVa, to: GpuVa, len: u64) -> Result<(), Fault> {
        let from = self.range(vmid, from, len as usize, Access::Read)?;
        let to = self.range(vmid, to, len as usize, Access::Write)?;
        self.bytes.copy_within(from, to.start);
        Ok(())
    }

    fn fill(&mut self, vmid: Vmid, va: GpuVa, pattern: u32, len: u64) -> Result<(), Fault> {
        let range = self.range(vmid, va, len as usize, Access::Write)?;
        for (byte, value) in self.bytes[range]
            .iter_mut()
            .zip(pattern.to_le_bytes().into_iter().cycle())
        {
            *byte = value;
        }
        Ok(())
    }

    fn store_u32(&mut self, vmid: Vmid, va: GpuVa, value: u32) -> Result<(), Fault> {
        self.write(vmid, va, &value.to_le_bytes())
    }

    fn store_u64(&mut self, vmid: Vmid, va: GpuVa, value: u64) -> Result<(), Fault> {
        self.write(vmid, va, &value.to_le_bytes())
    }

    fn update_u32(
        &mut self,
        vmid: Vmid,
        va: GpuVa,
        update: &mut dyn FnMut(u32) -> u32,
    ) -> Result<u32, Fault> {
        let mut bytes = [0; 4];
        self.read(vmid, va, &mut bytes)?;
        let old = u32::from_le_bytes(bytes);
        self.store_u32(vmid, va, update(old))?;
        Ok(old)
    }

    fn update_u64(
        &mut self,
        vmid: Vmid,
        va: GpuVa,
        update: &mut dyn FnMut(u64) -> u64,
    ) -> Result<u64, Fault> {
        let mut bytes = [0; 8];
        self.read(vmid, va, &mut bytes)?;
        let old = u64::from_le_bytes(bytes);
        self.store_u64(vmid, va, update(old))?;
        Ok(old)
    }
}
