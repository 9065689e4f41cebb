//! Packets that wait. Waiting is a state, looked at again in every step; only this ring stands still meanwhile.

use std::time::Duration;

use gart::{GpuVa, VirtualMemory, Vmid};
use mmio::{RegOffset, RegisterBus};

use crate::packet::{Atomic, AtomicOp, AtomicWidth, PollFunction, PollRegMem, PollTarget, Retries};
use crate::stats::bump;
use crate::{POLL_UNIT, Stats, Wait, WaitTarget};

/// A poll of memory that faults is not repeated more often than this, whatever the packet says: each look raises an interrupt.
const FAULT_INTERVAL: Duration = Duration::from_millis(1);

/// A packet that waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiter {
    condition: Condition,
    interval: Duration,
    /// Looks left, if they are counted.
    looks: Option<u32>,
    since: Duration,
    /// Time of the next look that counts.
    next: Duration,
    /// The latest look faulted.
    faulted: bool,
}

#[derive(Debug, Clone, Copy)]
enum Condition {
    Memory { vmid: Vmid, at: GpuVa, test: Test },
    Register { register: RegOffset, test: Test },
    Atomic { vmid: Vmid, atomic: Atomic },
}

#[derive(Debug, Clone, Copy)]
struct Test {
    function: PollFunction,
    mask: u32,
    reference: u32,
}

impl Test {
    const fn holds(self, value: u32) -> bool {
        self.function.holds(value & self.mask, self.reference)
    }
}

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// The condition holds.
    Passed,
    /// Not yet.
    Waiting(Wait),
    /// The looks are used up.
    TimedOut,
}

fn interval(units: u16) -> Duration {
    POLL_UNIT.saturating_mul(u32::from(units.max(1)))
}

impl Waiter {
    fn new(condition: Condition, units: u16, looks: Option<u32>, now: Duration) -> Self {
        Self {
            condition,
            interval: interval(units),
            looks,
            since: now,
            next: now,
            faulted: false,
        }
    }

    /// POLL_REGMEM.
    pub(crate) fn poll(vmid: Vmid, poll: PollRegMem, now: Duration) -> Self {
        let test = Test {
            function: poll.function,
            mask: poll.mask,
            reference: poll.reference,
        };
        let condition = match poll.target {
            PollTarget::Memory(at) => Condition::Memory { vmid, at, test },
            PollTarget::Register(register) | PollTarget::HdpFlush { done: register, .. } => {
                Condition::Register { register, test }
            }
        };
        let looks = match poll.retries {
            Retries::Forever => None,
            Retries::Times(count) => Some(u32::from(count).saturating_add(1)),
        };
        Self::new(condition, poll.interval, looks, now)
    }

    /// The acknowledgement of an invalidation.
    pub(crate) fn acknowledgement(register: RegOffset, ack: u16, now: Duration) -> Self {
        let test = Test {
            function: PollFunction::Equal,
            mask: u32::from(ack),
            reference: u32::from(ack),
        };
        Self::new(Condition::Register { register, test }, 1, None, now)
    }

    /// A compare-and-swap that is repeated until it succeeds.
    pub(crate) fn atomic(vmid: Vmid, atomic: Atomic, units: u16, now: Duration) -> Self {
        Self::new(Condition::Atomic { vmid, atomic }, units, None, now)
    }

    /// Looks. A look before its time is free: it may end the wait, but is not counted.
    pub(crate) fn look<B: VirtualMemory + RegisterBus>(
        &mut self,
        bus: &mut B,
        now: Duration,
        stats: &mut Stats,
    ) -> Look {
        let due = now >= self.next;
        if due || !self.faulted {
            let faults = stats.faults;
            if self.holds(bus, stats) {
                return Look::Passed;
            }
            self.faulted = stats.faults != faults;
        }
        if due {
            if let Some(looks) = &mut self.looks {
                *looks = looks.saturating_sub(1);
                if *looks == 0 {
                    return Look::TimedOut;
                }
            }
            let pause = match self.faulted {
                true => self.interval.max(FAULT_INTERVAL),
                false => self.interval,
            };
            self.next = now.saturating_add(pause);
        }
        Look::Waiting(Wait {
            interval: self.next.saturating_sub(now),
            since: self.since,
            target: self.target(),
        })
    }

    fn holds<B: VirtualMemory + RegisterBus>(&self, bus: &mut B, stats: &mut Stats) -> bool {
        match self.condition {
            Condition::Memory { vmid, at, test } => {
                let mut data = [0; 4];
                if bus.read(vmid, at, &mut data).is_err() {
                    bump(&mut stats.faults);
                    data = [0; 4];
                }
                test.holds(u32::from_le_bytes(data))
            }
            Condition::Register { register, test } => test.holds(bus.read_register(register)),
            Condition::Atomic { vmid, atomic } => execute(bus, vmid, atomic, stats),
        }
    }

    const fn target(&self) -> WaitTarget {
        match self.condition {
            Condition::Memory { vmid, at, .. } => WaitTarget::Memory { vmid, at },
            Condition::Register { register, .. } => WaitTarget::Register(register),
            Condition::Atomic { vmid, atomic } => WaitTarget::Memory { vmid, at: atomic.at },
        }
    }
}

/// Executes an atomic once. Returns whether it took place: a compare-and-swap may not, and nothing does after a fault.
pub(crate) fn execute<B: VirtualMemory>(bus: &mut B, vmid: Vmid, atomic: Atomic, stats: &mut Stats) -> bool {
    let Atomic {
        op,
        width,
        at,
        operand,
        compare,
        ..
    } = atomic;
    let result = match width {
        AtomicWidth::Dword => {
            let (operand, compare) = (low(operand), low(compare));
            let old = bus.update_u32(vmid, at, &mut |old| apply_u32(op, old, operand, compare));
            old.map(|old| old == compare)
        }
        AtomicWidth::Qword => {
            let old = bus.update_u64(vmid, at, &mut |old| apply_u64(op, old, operand, compare));
            old.map(|old| old == compare)
        }
    };
    match result {
        Ok(equal) => equal || op != AtomicOp::CompareSwap,
        Err(_) => {
            bump(&mut stats.faults);
            false
        }
    }
}

const fn low(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

macro_rules! apply {
    ($name:ident, $unsigned:ty) => {
        /// The value that takes the old one's place.
        fn $name(op: AtomicOp, old: $unsigned, operand: $unsigned, compare: $unsigned) -> $unsigned {
            let signed_order = old.cast_signed().cmp(&operand.cast_signed());
            match op {
                AtomicOp::Swap => operand,
                AtomicOp::CompareSwap if old == compare => operand,
                AtomicOp::CompareSwap => old,
                AtomicOp::Add => old.wrapping_add(operand),
                AtomicOp::Sub => old.wrapping_sub(operand),
                AtomicOp::SignedMin if signed_order.is_gt() => operand,
                AtomicOp::SignedMax if signed_order.is_lt() => operand,
                AtomicOp::SignedMin | AtomicOp::SignedMax => old,
                AtomicOp::UnsignedMin => old.min(operand),
                AtomicOp::UnsignedMax => old.max(operand),
                AtomicOp::And => old & operand,
                AtomicOp::Or => old | operand,
                AtomicOp::Xor => old ^ operand,
                AtomicOp::Increment if old >= operand => 0,
                AtomicOp::Increment => old.wrapping_add(1),
                AtomicOp::Decrement if old == 0 || old > operand => operand,
                AtomicOp::Decrement => old.wrapping_sub(1),
            }
        }
    };
}

apply!(apply_u32, u32);
apply!(apply_u64, u64);
