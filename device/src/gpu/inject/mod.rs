//! Faults on command.
//!
//! A fault is armed by a request, waits in the [`Armory`] for its moment, and happens there as a broken part would make it happen: the
//! block in question is not told why it stands still or what became of its packet. The blocks have neutral places where they ask
//! whether they may go on ([`sdma_engine::Gate`], [`QueueGate`](cp_engine::QueueGate)); while nothing is armed, asking is one branch.
//!
//! * `fault`: the kinds and their parameters
//! * `armory`: which are armed, how often they happen, what is told about it
//! * `packets`: engines: what becomes of a packet
//! * `interrupts`: what becomes of interrupts, and of the acknowledgements of invalidations
//! * `processors`: what becomes of commands and messages to the security processor and the management unit
//! * `host`: what becomes of messages to the host of a virtual function, and of what it leaves in VRAM
//! * `presence`: what becomes of resets, and whether the part is there
//!
//! Nothing here recognises a driver, a client or a test: an opportunity is a packet, an entry, an interrupt or a command like any other.

mod armory;
mod fault;
mod host;
mod interrupts;
mod packets;
mod presence;
mod processors;
#[cfg(test)]
mod tests;

pub use protocol::state::ArmedView;

pub use armory::{Armory, InjectError, Order};
pub use fault::{EngineName, Fault, HangWhen, InterruptPart, ResetFailure};
pub(super) use host::HostVerdict;
pub(super) use interrupts::{InterruptVerdict, Late};
pub(super) use presence::Presence;

use gart::{Access, ClientId, FaultKind, GpuVa, Vmid};

use super::Gpu;
use super::engines::Turn;
use super::fabric::Fabric;

impl Gpu {
    /// Arms a fault, or lets it happen if its moment is now; gives its number.
    ///
    /// # Errors
    /// [`InjectError`] if there is no room for it, or nothing that it could happen to.
    pub fn inject(&mut self, order: Order) -> Result<u64, InjectError> {
        if let Some(EngineName::Sdma(index)) = order.fault.engine()
            && index >= self.sdma.len()
        {
            return Err(InjectError::NoEngine(EngineName::Sdma(index)));
        }
        if order.fault.is_of_a_host() && !self.has_host() {
            return Err(InjectError::NoHost);
        }
        let id = match order.fault {
            Fault::Hang {
                engine,
                when: HangWhen::Now,
            } => self.hang_now(engine)?,
            Fault::VmFault { vmid, va, access } => {
                self.fault_at(vmid, va, access);
                self.fabric.inject.strike(&order.fault, "reported".to_owned())
            }
            _ => self.fabric.inject.arm(order)?,
        };
        self.update_presence();
        self.settle();
        Ok(id)
    }

    /// The faults that are armed.
    pub fn armed_faults(&self) -> Vec<ArmedView> {
        self.fabric.inject.list()
    }

    /// Disarms one fault or all of them; gives how many there were. What has happened stays: an engine that hangs needs its reset, an
    /// interrupt that is lost does not come. Acknowledgements that were withheld are given.
    pub fn clear_faults(&mut self, id: Option<u64>) -> usize {
        let cleared = self.fabric.inject.clear(id);
        self.release_acknowledgements();
        self.update_presence();
        self.settle();
        cleared
    }

    fn hang_now(&mut self, engine: EngineName) -> Result<u64, InjectError> {
        let detail = if let EngineName::Sdma(index) = engine {
            let slot = self.sdma.get_mut(index);
            let slot = slot.ok_or(InjectError::NoEngine(engine))?;
            slot.engine.hang();
            // One step, so that its registers show it.
            slot.turn = Turn::Now;
            "stands still".to_owned()
        } else {
            let fabric = &self.fabric;
            let queues = self.cp.hang(|queue| fabric.engine_of(queue) == engine);
            if queues == 0 {
                return Err(InjectError::NoQueue(engine));
            }
            self.cp_turn = Turn::Now;
            format!("{queues} queues stand still")
        };
        let fault = Fault::Hang {
            engine,
            when: HangWhen::Now,
        };
        Ok(self.fabric.inject.strike(&fault, detail))
    }

    /// An access by SDMA0 that does not translate, as far as anybody can tell.
    fn fault_at(&mut self, vmid: Vmid, va: GpuVa, access: Access) {
        let fault = gart::Fault {
            vmid,
            va,
            access,
            kind: FaultKind::InvalidPte,
        };
        let Fabric { gfxhub, faults, .. } = &mut self.fabric;
        faults.report(gfxhub, &fault, ClientId::SDMA0);
    }

    /// Takes down what faults did.
    pub(super) fn note_faults(&mut self) {
        for event in self.fabric.inject.take_news() {
            self.journal.record(event);
        }
    }
}
