//! Whether a queue may go on: the device's say before each packet, for faults on command.

use super::QueueId;

/// What becomes of a queue that is about to execute a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueueVerdict {
    /// The packet is executed.
    #[default]
    Proceed,
    /// The queue stands still in front of it, until it is mapped anew or reset.
    Hang,
    /// It is asked about again after so many ticks of the reference clock.
    Delay(u64),
}

/// What the command processor asks before each packet. Part of the bus.
pub trait QueueGate {
    /// Decides about a packet; `delayed` if it has been put off before.
    fn queue_verdict(&mut self, _queue: QueueId, _delayed: bool) -> QueueVerdict {
        QueueVerdict::Proceed
    }
}
