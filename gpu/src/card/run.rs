//! The engines' turns: who runs next, with how much budget, and what comes of it.

use std::time::Duration;

use gart::ClientId;
use sdma_engine::{Budget, EngineEvent, Step, WaitTarget};

use super::bus::EngineBus;
use super::gpu::Gpu;
use super::turn::Turn;
use super::turn::Work;
use crate::asic::SdmaInstance;
use crate::blocks::ih::IvEntry;
use crate::event::{EngineName, Event, Hex, ResetKind};
use crate::limited::limited;
use crate::memory::CardMemory;
use cp_engine::pm4::Place;
use cp_engine::{CpEvent, CpStep, QueueId};

/// What one engine may do before the next one, and before the front end's messages, get a turn: some 50 us.
const BUDGET: Budget = Budget {
    packets: 256,
    bytes: 512 << 10,
};
/// The same for the command processor.
const CP_BUDGET: cp_engine::Budget = cp_engine::Budget {
    packets: 256,
    bytes: 512 << 10,
};
/// Shortest pause before a poll is looked at again, and the longest: between them a poll that has waited for long is looked at
/// less often.
const POLL_PAUSE: (Duration, Duration) = (Duration::from_micros(20), Duration::from_millis(1));
/// A wait that is an event.
const TOLD_WAIT: Duration = Duration::from_millis(100);
/// A wait that is worth a line in the log.
const LONG_WAIT: Duration = Duration::from_secs(1);
/// IH source of an SDMA trap (`ivsrcid/sdma0/irqsrcs_sdma0_5_0.h`).
const IH_SOURCE_SDMA_TRAP: u8 = 224;

impl<M: CardMemory> Gpu<M> {
    /// Gives every engine that has something to do one budget.
    pub fn run(&mut self) -> Work {
        self.come_back();
        if self.survey() {
            return Work::Busy;
        }
        if !self.runs() {
            // Memory that loses its contents does not wait for a bus.
            self.lose_slice();
            return self.absent();
        }
        self.run_host();
        if let Some(kind) = self.power.pending.take() {
            if !self.reset_goes_wrong(kind) {
                self.carry_out(kind);
            } else if self.runs() {
                // Nothing was reset, and nobody knows.
                self.flr_done(kind);
            }
        }
        if std::mem::take(&mut self.power.baco_exit_asked) {
            self.leave_baco();
        }
        self.lose_slice();
        if self.power.asleep || self.losses.is_under_way() || self.observers.oracle.is_surveying() {
            return self.work();
        }
        self.raise_late();
        for index in 0..self.engines.sdma.len() {
            if self
                .engines
                .sdma
                .get(index)
                .is_some_and(|slot| self.is_due(slot.turn))
            {
                self.step_sdma(index);
            }
        }
        if self.is_due(self.engines.cp_turn) {
            self.step_cp();
        }
        self.work()
    }

    /// The part does nothing, or only comes back some time.
    fn absent(&self) -> Work {
        if self.losses.is_under_way() || self.observers.oracle.is_surveying() {
            return Work::Busy;
        }
        self.power
            .comes_back_at()
            .map_or(Work::Idle, |time| Work::Wait(time.saturating_sub(self.now)))
    }

    pub(super) fn is_due(&self, turn: Turn) -> bool {
        match turn {
            Turn::Now => true,
            Turn::At(time) => time <= self.now,
            Turn::None => false,
        }
    }

    fn work(&self) -> Work {
        let observed = self.observers.oracle.is_surveying();
        if self.power.is_asked() || self.losses.is_under_way() || observed {
            return Work::Busy;
        }
        if self.power.asleep {
            return Work::Idle;
        }
        let turns = self.engines.turns().chain([self.host_turn()]);
        let mut next = self.interrupts.late.next();
        for turn in turns {
            match turn {
                Turn::Now => return Work::Busy,
                Turn::At(time) => next = Some(next.map_or(time, |earliest| earliest.min(time))),
                Turn::None => {}
            }
        }
        next.map_or(Work::Idle, |time| Work::Wait(time.saturating_sub(self.now)))
    }

    /// When to look again at something that is polled every `interval` since `since`.
    fn poll_turn(&self, interval: Duration, since: Duration) -> Turn {
        let (shortest, longest) = POLL_PAUSE;
        let patience = (self.now.saturating_sub(since) / 8).min(longest);
        Turn::At(self.now + interval.max(shortest).max(patience))
    }

    fn step_sdma(&mut self, index: usize) {
        let Some(slot) = self.engines.sdma.get_mut(index) else {
            return;
        };
        let Some(config) = self
            .fabric
            .blocks
            .sdma
            .get(index)
            .map(sdma_engine::SdmaRegisters::queue_config)
        else {
            return;
        };
        let instance = slot.instance;
        let mut events = Vec::new();
        let mut budget = BUDGET;
        let mut bus = EngineBus::new(&mut self.fabric, instance.hub_client, EngineName::Sdma(index));
        let step = slot
            .engine
            .step(&config, &mut bus, self.now, &mut budget, &mut events);
        let status = slot.engine.status();
        if let Some(registers) = self.fabric.blocks.sdma.get_mut(index) {
            registers.publish(status);
        }
        let (turn, wait) = match step {
            Step::Progress => (Turn::Now, None),
            Step::Idle | Step::Halted(_) | Step::Hung => (Turn::None, None),
            Step::Waiting(wait) => (self.poll_turn(wait.interval, wait.since), Some(wait)),
        };
        if let Some(slot) = self.engines.sdma.get_mut(index) {
            slot.turn = turn;
            slot.wait = wait;
        }
        self.tell_wait(index);
        self.notice_long_wait(index);
        // Effects of the packets' own register writes come before what the packets announce.
        self.settle();
        for event in events {
            self.sdma_event(index, instance, event);
        }
    }

    /// Records once per wait that an engine has stood still for a while.
    fn tell_wait(&mut self, index: usize) {
        let now = self.now;
        let Some(slot) = self.engines.sdma.get_mut(index) else {
            return;
        };
        let Some(wait) = slot
            .wait
            .filter(|wait| now.saturating_sub(wait.since) >= TOLD_WAIT && slot.told != Some(wait.since))
        else {
            return;
        };
        slot.told = Some(wait.since);
        let target = self.describe(&wait.target);
        self.observers.journal.record(Event::EngineWaits {
            engine: EngineName::Sdma(index),
            target,
        });
    }

    /// Says once per wait that an engine has stood still for long: the driver is about to notice too.
    fn notice_long_wait(&mut self, index: usize) {
        let now = self.now;
        let Some(slot) = self.engines.sdma.get_mut(index) else {
            return;
        };
        let Some(wait) = slot
            .wait
            .filter(|wait| now.saturating_sub(wait.since) >= LONG_WAIT)
        else {
            return;
        };
        if slot.logged != Some(wait.since) {
            slot.logged = Some(wait.since);
            limited!(Warn, target: "amdgpu::sdma",
                "SDMA{index} has waited for {} s: {}", LONG_WAIT.as_secs(), self.describe(&wait.target)
            );
        }
    }

    /// What an engine looks at, in words.
    pub(super) fn describe(&self, target: &WaitTarget) -> String {
        match target {
            WaitTarget::Register(offset) => format!("register {} ({offset})", self.fabric.name(*offset)),
            WaitTarget::Memory { vmid, at } => format!("memory at {at} in VMID {vmid}"),
            WaitTarget::WritePointer(at) => format!("write pointer at {at}"),
            WaitTarget::Delay => "nothing, it is slow".to_owned(),
        }
    }

    fn sdma_event(&mut self, index: usize, instance: &SdmaInstance, event: EngineEvent) {
        match event {
            EngineEvent::Trap { context, vmid } => {
                self.raise(&IvEntry {
                    client: instance.ih_client,
                    source: IH_SOURCE_SDMA_TRAP,
                    vmid,
                    data: [context, 0, 0, 0],
                    ..IvEntry::default()
                });
            }
            EngineEvent::Fence { at, value, .. } => self.observers.journal.record(Event::Fence {
                engine: EngineName::Sdma(index),
                at: Hex(at.get()),
                value: value.into(),
            }),
            EngineEvent::PageTableUpdate {
                kind,
                dst,
                entries,
                vmid,
            } => {
                self.page_tables_updated(kind, vmid, dst, entries);
            }
            EngineEvent::Copied {
                src,
                dst,
                bytes,
                vmid,
            } => self.copied(vmid, src, dst, bytes),
            EngineEvent::PollTimeout { vmid } => {
                limited!(Info, target: "amdgpu::sdma", "SDMA{index}: a poll in VMID {vmid} gave up");
            }
            EngineEvent::Halted(reason) => {
                self.observers.journal.record(Event::EngineHalted {
                    engine: EngineName::Sdma(index),
                    reason: reason.to_string(),
                });
                limited!(Warn, target: "amdgpu::sdma", "guest error: SDMA{index} stopped: {reason}");
            }
        }
    }

    fn step_cp(&mut self) {
        let mut events = Vec::new();
        let mut budget = CP_BUDGET;
        let config = self.fabric.blocks.gfx.cp_config();
        let clock = self.fabric.clock();
        let mut bus = EngineBus::new(&mut self.fabric, ClientId::CPG, EngineName::Gfx);
        let step = self
            .engines
            .cp
            .step(&mut bus, clock, &config, &mut budget, &mut events);
        self.engines.cp_turn = match step {
            CpStep::Progress => Turn::Now,
            CpStep::Waiting => {
                let since = *self.engines.cp_waits_since.get_or_insert(self.now);
                self.poll_turn(Duration::ZERO, since)
            }
            CpStep::Idle => Turn::None,
        };
        if step != CpStep::Waiting {
            self.engines.cp_waits_since = None;
        }
        // Commands from the packets' own register writes are older than what the processor changed itself; both come before what
        // the packets announce. If there were any, a queue that waits may have been waiting for them.
        if !self.fabric.effects.is_empty() {
            self.engines.cp_turn = Turn::Now;
        }
        self.settle();
        for change in self.engines.cp.take_changes() {
            self.fabric.blocks.gfx.publish(&change);
        }
        self.fabric.blocks.gfx.set_hung(self.engines.cp.is_hung());
        for event in events {
            self.cp_event(&event);
        }
    }

    /// The driver's name of a queue's ring, as its messages have it.
    fn queue_name(&self, queue: QueueId) -> String {
        let kind = match queue.kind() {
            _ if self.fabric.blocks.gfx.cp_config().kiq == Some(queue) => "kiq",
            cp_engine::QueueKind::Graphics => "gfx",
            cp_engine::QueueKind::Compute => "comp",
        };
        format!("{kind}_{queue}")
    }

    pub(super) fn cp_event(&mut self, event: &CpEvent) {
        match *event {
            CpEvent::Fence { queue, at, value } => {
                let engine = self.engine_of(queue);
                let at = Hex(at.get());
                self.observers.journal.record(Event::Fence { engine, at, value });
            }
            CpEvent::LongWait { queue, wait } => {
                let target = format!("queue {queue}: {}", self.describe_poll(&wait));
                let engine = self.engine_of(queue);
                self.observers
                    .journal
                    .record(Event::EngineWaits { engine, target });
            }
            CpEvent::BadOpcode {
                queue, vmid, header, ..
            } => {
                limited!(Warn, target: "amdgpu::cp", "guest error: queue {queue} stopped at the packet {header:#010x}");
                self.queue_halted(queue, &format!("illegal packet {header:#010x} in VMID {vmid}"));
            }
            CpEvent::PrivilegedRegister {
                queue,
                vmid,
                register,
                ..
            } => {
                let name = self.fabric.name(register);
                self.queue_halted(
                    queue,
                    &format!("VMID {vmid} may not access the register {name} ({register})"),
                );
            }
            CpEvent::QueueReset { queue } => {
                self.record_part_reset(ResetKind::Queue, self.queue_name(queue));
            }
            CpEvent::QueueNotReset { queue } => {
                let name = self.queue_name(queue);
                self.fabric.inject.queue_not_reset(self.engine_of(queue), &name);
            }
            CpEvent::RingFault { queue } => self.queue_halted(queue, "its ring cannot be read"),
            CpEvent::EndOfPipe { .. } | CpEvent::KiqFence { .. } | CpEvent::InvalidateTlb { .. } => {}
        }
        if let Some(interrupt) = event.interrupt() {
            self.raise(&IvEntry {
                client: interrupt.client,
                source: interrupt.source,
                ring: interrupt.ring_id,
                vmid: interrupt.vmid,
                data: [interrupt.data, 0, 0, 0],
                ..IvEntry::default()
            });
        }
    }
    /// The engine that a queue of the command processor is.
    pub(super) fn engine_of(&self, queue: QueueId) -> EngineName {
        self.fabric.engine_of(queue)
    }

    /// What a queue of the command processor looks at, in words.
    pub(super) fn describe_poll(&self, wait: &cp_engine::Wait) -> String {
        match wait.poll {
            Place::Register(register) => format!("{} {wait}", self.fabric.name(register)),
            Place::Memory(_) => wait.to_string(),
        }
    }

    /// Records that a queue of the command processor stands still until it is mapped again.
    pub(super) fn queue_halted(&mut self, queue: QueueId, reason: &str) {
        let engine = self.engine_of(queue);
        let reason = format!("queue {queue}: {reason}");
        self.observers
            .journal
            .record(Event::EngineHalted { engine, reason });
    }
}

#[cfg(test)]
mod tests {
    use protocol::names::INTERRUPT_SOURCE;

    use super::*;

    #[test]
    fn a_trap_is_the_named_one() {
        assert_eq!(
            INTERRUPT_SOURCE.number("SDMA_TRAP"),
            Ok(IH_SOURCE_SDMA_TRAP.into())
        );
    }
}
