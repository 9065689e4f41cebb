//! The GPU itself: what it consists of, and the accesses that come in.

use std::time::Duration;

use mmio::{Direction, RegOffset};

use super::accesses;
use super::config::{GpuConfig, GpuError};
use super::engines::Engines;
use super::fabric::Fabric;
use super::host::HostSide;
use super::interrupts::Interrupts;
use super::losing::Losses;
use super::observers::Observers;
use super::power::Power;
use super::turn::Turn;
use crate::event::{Event, Journal};
use crate::limited::limited;
use crate::memory::CardMemory;

/// The GPU.
#[derive(Debug)]
pub struct Gpu<M> {
    pub(super) config: GpuConfig,
    pub(super) fabric: Fabric<M>,
    pub(super) now: Duration,
    pub(super) engines: Engines,
    pub(super) power: Power,
    pub(super) losses: Losses,
    pub(super) interrupts: Interrupts,
    pub(super) observers: Observers,
    /// A virtual function's.
    pub(super) host: Option<HostSide>,
}

impl<M: CardMemory> Gpu<M> {
    /// The GPU after power-on, its discovery binary in place.
    ///
    /// # Errors
    /// [`GpuError`] if the profile contradicts itself.
    pub fn new(config: GpuConfig, memory: M) -> Result<Self, GpuError> {
        let fabric = Fabric::new(&config, memory)?;
        let mut gpu = Self {
            config,
            fabric,
            now: Duration::ZERO,
            engines: Engines::new(&config),
            power: Power::default(),
            losses: Losses::default(),
            interrupts: Interrupts::default(),
            observers: Observers::default(),
            host: config
                .personality
                .host
                .map(|exchange| HostSide::new(exchange, config.vf.indirect)),
        };
        gpu.boot();
        Ok(gpu)
    }

    /// The physical memories.
    pub const fn memory(&self) -> &M {
        &self.fabric.memory
    }

    /// The physical memories, to map and unmap guest memory.
    pub const fn memory_mut(&mut self) -> &mut M {
        &mut self.fabric.memory
    }

    /// Tells the time since some fixed moment. Never goes back.
    pub fn set_time(&mut self, since_start: Duration) {
        self.now = since_start.max(self.now);
        self.observers.journal.set_time(self.now);
        // The reference clock runs at 100 MHz.
        self.fabric
            .set_clock(u64::try_from(self.now.as_nanos() / 10).unwrap_or(u64::MAX));
    }

    /// What happened so far.
    pub const fn journal(&self) -> &Journal {
        &self.observers.journal
    }

    /// Keeps this many events.
    pub fn keep_events(&mut self, count: usize) {
        self.observers.journal.keep(count);
    }

    /// Takes down what waits in the journal for more of its kind.
    pub fn flush_journal(&mut self) {
        self.observers.journal.flush();
    }

    /// How long the journal may wait until it is told the time, if it waits for that.
    pub fn journal_due(&self) -> Option<Duration> {
        Some(self.observers.journal.due()?.saturating_sub(self.now))
    }

    /// Takes down something that the surroundings saw.
    pub fn record(&mut self, event: Event) {
        self.observers.journal.record(event);
    }

    /// Reads a register of BAR 5.
    pub fn read_register(&mut self, offset: RegOffset) -> u32 {
        let owner = self.fabric.owner(offset);
        accesses::count(
            accesses::of(&mut self.observers.accesses, owner, offset),
            Direction::Read,
        );
        if !self.answers() || !self.may_access(offset, Direction::Read) {
            return u32::MAX;
        }
        let value = self.fabric.read_of(owner, offset);
        if let Some(times) = self.fabric.ledger.read(offset, value) {
            let name = self.fabric.name(offset);
            limited!(Warn, target: "amdgpu::mmio", "guest spins on {name} ({offset}): read {times} times, always {value:#x}");
        }
        self.settle();
        value
    }

    /// Writes a register of BAR 5.
    pub fn write_register(&mut self, offset: RegOffset, value: u32) {
        let direction = Direction::Write(value);
        let owner = self.fabric.owner(offset);
        accesses::count(
            accesses::of(&mut self.observers.accesses, owner, offset),
            direction,
        );
        if !self.answers() || !self.may_access(offset, direction) {
            return;
        }
        self.fabric.ledger.write();
        self.fabric.write_of(owner, offset, value);
        self.settle();
    }

    /// Writes a doorbell of BAR 2. `index` counts dwords; a 64-bit doorbell is written through its low dword's index.
    pub fn write_doorbell(&mut self, index: u32, value: u64) {
        if !self.answers() {
            return;
        }
        self.fabric.ledger.write();
        if self.fabric.doorbell(index, value) {
            self.settle();
            return;
        }
        if self.engines.cp.doorbell(index, value) {
            self.engines.cp_turn = Turn::Now;
        } else {
            log::debug!(target: "amdgpu::doorbell", "guest error: doorbell {index:#x} belongs to no queue");
        }
    }

    /// Accesses of the guest's CPUs to BAR 5, by block.
    pub const fn register_accesses(&self) -> &protocol::stats::RegisterAccesses {
        &self.observers.accesses
    }

    /// Whether an interrupt has become due since the last call.
    pub const fn take_interrupt(&mut self) -> bool {
        std::mem::replace(&mut self.interrupts.due, false)
    }
}
