//! Faults on command, as somebody asks for them: armed, disarmed, and those whose moment is now.

use cp_engine::QueueKind;
use gart::{Access, ClientId, FaultKind, GpuVa, Vmid};

use super::fabric::Fabric;
use super::gpu::Gpu;
use super::inject::{ArmedView, EngineName, Fault, HangWhen, InjectError, Order};
use super::turn::Turn;
use crate::memory::CardMemory;

impl<M: CardMemory> Gpu<M> {
    /// Arms a fault, or lets it happen if its moment is now; gives its number.
    ///
    /// # Errors
    /// [`InjectError`] if there is no room for it, or nothing that it could happen to.
    pub fn inject(&mut self, order: Order) -> Result<u64, InjectError> {
        if let Some(EngineName::Sdma(index)) = order.fault.engine()
            && index >= self.engines.sdma.len()
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
            let slot = self.engines.sdma.get_mut(index);
            let slot = slot.ok_or(InjectError::NoEngine(engine))?;
            slot.engine.hang();
            // One step, so that its registers show it.
            slot.turn = Turn::Now;
            "stands still".to_owned()
        } else {
            let fabric = &self.fabric;
            let queues = self.engines.cp.hang(|queue| fabric.engine_of(queue) == engine);
            if queues == 0 {
                return Err(InjectError::NoQueue(engine));
            }
            self.engines.cp_turn = Turn::Now;
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
        let Fabric { blocks, faults, .. } = &mut self.fabric;
        faults.report(&mut blocks.gfxhub, &fault, ClientId::SDMA0);
    }

    /// Takes down what faults did.
    pub(super) fn note_faults(&mut self) {
        for event in self.fabric.inject.take_news() {
            self.observers.journal.record(event);
        }
    }

    /// Acknowledges what was withheld, if nothing is to be withheld any more.
    fn release_acknowledgements(&mut self) {
        for hub in [&mut self.fabric.blocks.gfxhub, &mut self.fabric.blocks.mmhub] {
            let id = hub.id();
            let held = |fault: &Fault| matches!(fault, Fault::WithholdAcknowledge { hub } if *hub == id);
            if !self.fabric.inject.any(held) {
                gart::InvalidationEngine::all().for_each(|engine| hub.hold_acknowledge(engine, false));
            }
        }
    }

    /// Takes over which faults last.
    fn update_presence(&mut self) {
        let inject = &self.fabric.inject;
        let works = |which: EngineName| !inject.any(|fault| fault.spoils_queue_reset(which));
        for (index, registers) in self.fabric.blocks.sdma.iter_mut().enumerate() {
            registers.set_freeze_works(works(EngineName::Sdma(index)));
        }
        let graphics = works(EngineName::Gfx);
        let compute = works(EngineName::Compute);
        self.fabric
            .blocks
            .gfx
            .set_queue_reset(QueueKind::Graphics, graphics);
        self.fabric
            .blocks
            .gfx
            .set_queue_reset(QueueKind::Compute, compute);
        self.power.off_bus = self.fabric.inject.any(|fault| matches!(fault, Fault::OffBus));
        self.update_pf2vf();
    }
}
