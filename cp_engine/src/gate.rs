//! Whether a queue may go on: the device's say before each packet, for faults on command.

use super::QueueId;

/// What becomes of a queue that is about to execute a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueueVerdict {
    /// The packet is executed.
    #[default]
    Proceed,
    /// The queue stands still in front of it, until it is mapped again or reset.
    Hang,
    /// It is asked about again after so many ticks of the reference clock.
    Delay(u64),
}

/// A packet that a queue is about to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueAhead {
    /// It has been put off before.
    pub delayed: bool,
    /// It enters an indirect buffer.
    pub enters: bool,
}

/// What the command processor asks before each packet. Part of the bus.
pub trait QueueGate {
    /// Decides about a packet.
    fn queue_verdict(&mut self, _queue: QueueId, _ahead: QueueAhead) -> QueueVerdict {
        QueueVerdict::Proceed
    }
}
