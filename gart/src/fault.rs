//! Translation faults as values, and what becomes of them: a status register image and an interrupt.

use bitfield_struct::bitfield;
use thiserror::Error;

use crate::{ContextCntl, GpuVa, HubId, MemoryError, Vmid};

/// What an engine wanted to do at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read.
    Read,
    /// Write (atomics count as writes).
    Write,
}

/// Why a translation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FaultKind {
    /// The context is not enabled.
    #[error("context disabled")]
    ContextDisabled,
    /// The address lies outside the context's START..END, or (VMID 0) in no aperture.
    #[error("address outside every aperture")]
    OutOfRange,
    /// A directory entry is not valid and is no leaf.
    #[error("page directory entry at level {level} not valid")]
    InvalidPde {
        /// n of the PDBn that holds the entry: 0 points at a page table, 2 is the root of a 4-level tree. The base register counts
        /// as one above the root (3 for a 4-level tree).
        level: u8,
    },
    /// A leaf entry, of whatever level, is not valid.
    #[error("page table entry not valid")]
    InvalidPte,
    /// The page may not be read, or may not be written.
    #[error("no permission")]
    Permission,
    /// A table or the page itself is in no memory.
    #[error("{0}")]
    Memory(MemoryError),
}

/// A failed access: architectural, guest-visible, becomes status registers and an interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("VMID {vmid} {access:?} at {va}: {kind}")]
pub struct Fault {
    /// Whose context.
    pub vmid: Vmid,
    /// The faulting address.
    pub va: GpuVa,
    /// Read or write.
    pub access: Access,
    /// Why.
    pub kind: FaultKind,
}

/// Who used the hub: the CID field of the fault status. The number space is the hub's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientId(u16);

impl ClientId {
    /// GFXHUB: command processor fetcher. This and the next ones: `gfxhub_client_ids` in `gfxhub_v2_1.c` (Linux 6.1).
    pub const CPF: Self = Self(4);
    /// GFXHUB: compute command processor.
    pub const CPC: Self = Self(5);
    /// GFXHUB: graphics command processor.
    pub const CPG: Self = Self(6);
    /// GFXHUB: run list controller.
    pub const RLC: Self = Self(7);
    /// GFXHUB: SDMA instance 0.
    pub const SDMA0: Self = Self(13);
    /// GFXHUB: SDMA instance 1.
    pub const SDMA1: Self = Self(14);
    /// GFXHUB: SDMA instance 2.
    pub const SDMA2: Self = Self(16);
    /// GFXHUB: SDMA instance 3.
    pub const SDMA3: Self = Self(17);
    /// MMHUB: PSP. This and the next ones: `mmhub_client_ids_sienna_cichlid` in `mmhub_v2_0.c` (Linux 6.1).
    pub const MP0: Self = Self(5);
    /// MMHUB: SMU.
    pub const MP1: Self = Self(6);
    /// MMHUB: host data path.
    pub const HDP: Self = Self(14);
    /// MMHUB: interrupt handler.
    pub const OSS: Self = Self(15);

    /// From a number, of which nine bits are kept.
    pub const fn new(id: u16) -> Self {
        Self(id & 0x1ff)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// GCVM_L2_PROTECTION_FAULT_STATUS.
///
/// PERMISSION_FAULTS is a set of *V missing* 1, *R missing* 2, *W missing* 4, *X missing* 8. WALKER_ERROR has no public
/// description; the numbers here follow the order of the enable bits in L2_PROTECTION_FAULT_CNTL (range 1, PDE0 2, PDE1 3, PDE2 4,
/// translate further 5, NACK 6, dummy page 7). The driver prints both and acts on neither.
#[bitfield(u32)]
#[derive(PartialEq, Eq, Hash)]
pub struct FaultStatus {
    /// More faults came after this one, before it was cleared.
    pub more_faults: bool,
    /// Where the walk ended; 0 at a leaf.
    #[bits(3)]
    pub walker_error: u8,
    /// What the leaf lacked.
    #[bits(4)]
    pub permission_faults: u8,
    /// The walk reached no leaf.
    pub mapping_error: bool,
    /// The client that asked.
    #[bits(9)]
    pub cid: u16,
    /// Set for a write.
    pub rw: bool,
    /// Set for an atomic. Always 0 here: atomics count as writes.
    pub atomic: bool,
    /// The context.
    #[bits(4)]
    pub vmid: u8,
    /// Set for a virtual function. Always 0 here, as a virtual function sees itself.
    pub vf: bool,
    /// The virtual function's number.
    #[bits(5)]
    pub vfid: u8,
    #[bits(2)]
    __: u8,
}

impl FaultStatus {
    /// V is missing.
    const NOT_VALID: u8 = 1;

    /// The image of one fault, without MORE_FAULTS.
    pub fn describe(fault: &Fault, client: ClientId) -> Self {
        let missing = match fault.access {
            Access::Read => 2,
            Access::Write => 4,
        };
        let (walker_error, permission_faults) = match fault.kind {
            FaultKind::ContextDisabled | FaultKind::OutOfRange => (1, 0),
            FaultKind::InvalidPde { level } => (level.min(2).saturating_add(2), 0),
            // The driver leaves neither R nor W in entries that are not valid, so the asked right is missing as well.
            FaultKind::InvalidPte => (0, Self::NOT_VALID | missing),
            FaultKind::Permission => (0, missing),
            FaultKind::Memory(_) => (6, 0),
        };
        Self::new()
            .with_walker_error(walker_error)
            .with_mapping_error(walker_error != 0)
            .with_permission_faults(permission_faults)
            .with_cid(client.get())
            .with_rw(fault.access == Access::Write)
            .with_vmid(fault.vmid.get())
    }
}

/// Whether a context's control register lets this fault raise an interrupt. A disabled context counts as a range fault, absent
/// memory as a page that is not valid.
pub(crate) fn interrupt_enabled(cntl: ContextCntl, fault: &Fault) -> bool {
    match (fault.kind, fault.access) {
        (FaultKind::ContextDisabled | FaultKind::OutOfRange, _) => cntl.range_interrupt(),
        (FaultKind::InvalidPde { .. }, _) => cntl.pde0_interrupt(),
        (FaultKind::InvalidPte | FaultKind::Memory(_), _) => cntl.valid_interrupt(),
        (FaultKind::Permission, Access::Read) => cntl.read_interrupt(),
        (FaultKind::Permission, Access::Write) => cntl.write_interrupt(),
    }
}

/// A fault that the interrupt handler is to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultInterrupt {
    /// The hub that saw it.
    pub hub: HubId,
    /// Whose context.
    pub vmid: Vmid,
    /// The faulting address.
    pub va: GpuVa,
    /// Read or write.
    pub access: Access,
    /// The status image of this fault (the register may still hold an earlier one).
    pub status: FaultStatus,
}

impl FaultInterrupt {
    /// IH source id of a page fault, on both hubs.
    pub const SOURCE_ID: u8 = 0;

    /// IH client id: UTCL2 for GFXHUB, VMC for MMHUB (`soc15_ih_clientid.h`).
    pub const fn client_id(&self) -> u8 {
        match self.hub {
            HubId::Gfx => 0x1b,
            HubId::Mm => 0x12,
        }
    }

    /// The IH entry's VMID_SRC bit. `gmc_v10_0_process_interrupt` takes the hub from it.
    pub const fn vmid_src(&self) -> bool {
        matches!(self.hub, HubId::Mm)
    }

    /// The IH entry's ring id. KFD reads PERMISSION_FAULTS from bits 3 and up (`kfd_int_process_v9.c`).
    pub const fn ring_id(&self) -> u8 {
        self.status.permission_faults() << 3
    }

    /// The IH entry's source data: bits 43:12 of the address; then bits 47:44, and bit 5 for a write
    /// (AMDGPU_GMC9_FAULT_SOURCE_DATA_WRITE). Bit 7, retry, stays clear.
    pub const fn source_data(&self) -> [u32; 4] {
        let page = self.va.canonical().get() >> 12;
        let write = match self.access {
            Access::Read => 0,
            Access::Write => 0x20,
        };
        [
            (page & 0xffff_ffff) as u32,
            (page >> 32 & 0xf) as u32 | write,
            0,
            0,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: FaultKind, access: Access) -> Fault {
        Fault {
            vmid: Vmid::from_field(3),
            va: GpuVa::new(0x1234_5678_9abc),
            access,
            kind,
        }
    }

    #[test]
    fn status_fields_are_where_the_headers_put_them() {
        assert_eq!(FaultStatus::new().with_more_faults(true).into_bits(), 0x1);
        assert_eq!(FaultStatus::new().with_walker_error(7).into_bits(), 0xe);
        assert_eq!(FaultStatus::new().with_permission_faults(15).into_bits(), 0xf0);
        assert_eq!(FaultStatus::new().with_mapping_error(true).into_bits(), 0x100);
        assert_eq!(FaultStatus::new().with_cid(0x1ff).into_bits(), 0x3_fe00);
        assert_eq!(FaultStatus::new().with_rw(true).into_bits(), 0x4_0000);
        assert_eq!(FaultStatus::new().with_atomic(true).into_bits(), 0x8_0000);
        assert_eq!(FaultStatus::new().with_vmid(15).into_bits(), 0xf0_0000);
        assert_eq!(FaultStatus::new().with_vf(true).into_bits(), 0x100_0000);
        assert_eq!(FaultStatus::new().with_vfid(31).into_bits(), 0x3e00_0000);
    }

    #[test]
    fn an_unmapped_page_looks_as_in_the_logs_of_real_cards() {
        let status = FaultStatus::describe(&fault(FaultKind::InvalidPte, Access::Read), ClientId::SDMA0);
        assert_eq!(
            (
                status.walker_error(),
                status.permission_faults(),
                status.mapping_error()
            ),
            (0, 3, false)
        );
        let status = FaultStatus::describe(&fault(FaultKind::InvalidPte, Access::Write), ClientId::SDMA0);
        assert_eq!((status.permission_faults(), status.rw()), (5, true));
        assert_eq!((status.cid(), status.vmid()), (13, 3));
    }

    #[test]
    fn source_data_gives_the_driver_its_address_back() {
        let interrupt = FaultInterrupt {
            hub: HubId::Mm,
            vmid: Vmid::KERNEL,
            va: GpuVa::new(0xffff_f234_5678_9abc),
            access: Access::Write,
            status: FaultStatus::new().with_permission_faults(5),
        };
        let [low, high, ..] = interrupt.source_data();
        // gmc_v10_0_process_interrupt.
        assert_eq!(
            u64::from(low) << 12 | u64::from(high & 0xf) << 44,
            0xf234_5678_9000
        );
        assert_eq!((high & 0x20, high & 0x80), (0x20, 0));
        assert_eq!(
            (interrupt.client_id(), interrupt.vmid_src(), interrupt.ring_id()),
            (0x12, true, 0x28)
        );
    }
}
