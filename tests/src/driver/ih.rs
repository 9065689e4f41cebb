//! `navi10_ih.c`: the interrupt ring.

use super::gmc::Gmc;
use super::regs::{ih, nbio};
use super::wb::{Slot, WriteBack};
use crate::guest::{Buffer, Failure, FakeGuest, InterruptRing, PAGE, hi, lo};

/// Bytes of ring 0.
const RING_BYTES: u64 = 256 << 10;
/// Dword index of the read pointer's doorbell.
const DOORBELL: u32 = 0x178 << 1;

/// The interrupt handler's software state.
#[derive(Debug)]
pub struct Ih {
    ring: Buffer,
    wptr: Slot,
}

impl Ih {
    /// `navi10_ih_sw_init`: the ring is in the GART, for PSP loading rules out bus addresses.
    ///
    /// # Errors
    /// [`Failure::Exhausted`].
    pub fn new(guest: &mut FakeGuest, gmc: &mut Gmc, wb: &mut WriteBack) -> Result<Self, Failure> {
        Ok(Self {
            ring: gmc.gtt(guest, RING_BYTES, PAGE)?,
            wptr: wb.slot()?,
        })
    }

    /// Where the device writes its write pointer.
    pub const fn wptr(&self) -> &Slot {
        &self.wptr
    }

    /// The ring.
    pub const fn ring(&self) -> &Buffer {
        &self.ring
    }

    /// `navi10_ih_irq_init`.
    ///
    /// # Errors
    /// [`Failure`] if memory is not there.
    pub fn hw_init(&self, guest: &mut FakeGuest) -> Result<(), Failure> {
        const RB_ENABLE: u32 = 1 << 0;
        const RB_GPU_TS_ENABLE: u32 = 1 << 7;
        const WPTR_WRITEBACK_ENABLE: u32 = 1 << 8;
        const WPTR_OVERFLOW_ENABLE: u32 = 1 << 16;
        const ENABLE_INTR: u32 = 1 << 17;
        const MC_SNOOP: u32 = 1 << 20;
        const RPTR_REARM: u32 = 1 << 21;
        const MC_SPACE_4: u32 = 4 << 28;
        const WPTR_OVERFLOW_CLEAR: u32 = 1 << 31;
        // toggle_interrupts(false)
        guest.modify(ih::IH_RB_CNTL, RB_ENABLE | ENABLE_INTR, RB_GPU_TS_ENABLE);
        guest.write(ih::IH_RB_RPTR, 0);
        guest.write(ih::IH_RB_WPTR, 0);
        // nbio_v2_3_ih_control
        guest.write(nbio::INTERRUPT_CNTL2, 0);
        guest.modify(nbio::INTERRUPT_CNTL, 0x9, 0);
        // enable_ring
        let base = self.ring.mc().get();
        guest.write(ih::IH_RB_BASE, lo(base >> 8));
        guest.write(ih::IH_RB_BASE_HI, lo(base >> 40) & 0xff);
        let log2_dwords = (RING_BYTES / 4).ilog2();
        let cntl = MC_SPACE_4
            | WPTR_OVERFLOW_CLEAR
            | WPTR_OVERFLOW_ENABLE
            | log2_dwords << 1
            | WPTR_WRITEBACK_ENABLE
            | MC_SNOOP
            | RPTR_REARM;
        guest.modify(ih::IH_RB_CNTL, 0xf13f_013e, cntl);
        self.wptr.store(guest, 0)?;
        guest.write(ih::IH_RB_WPTR_ADDR_LO, lo(self.wptr.mc().get()));
        guest.write(ih::IH_RB_WPTR_ADDR_HI, hi(self.wptr.mc().get()) & 0xffff);
        guest.write(ih::IH_RB_WPTR, 0);
        guest.write(ih::IH_RB_RPTR, 0);
        guest.write(ih::IH_DOORBELL_RPTR, DOORBELL | 1 << 28);
        guest.write(nbio::BIF_IH_DOORBELL_RANGE, DOORBELL << 2 | 2 << 16);
        guest.set_bus_master(true);
        // toggle_interrupts(true)
        guest.modify(ih::IH_RB_CNTL, 0, RB_ENABLE | RB_GPU_TS_ENABLE | ENABLE_INTR);
        // force_update_wptr_for_self_int: storm and flood control
        guest.modify(ih::IH_STORM_CLIENT_LIST_CNTL, 0, 1);
        guest.modify(ih::IH_INT_FLOOD_CNTL, 0, 1);
        guest.set_interrupt_ring(Some(InterruptRing {
            ring: self.ring.clone(),
            wptr: self.wptr.place(),
            doorbell: DOORBELL,
            rptr: 0,
        }));
        Ok(())
    }
}
