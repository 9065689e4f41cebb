//! Whether a packet may do what it says: the device's say before each packet, for faults on command.
//!
//! The engine knows nothing of faults. It asks, and what it is told is what a broken engine would do: stand still, be late, pass a
//! packet over, stop half-way, write a wrong bit. A device that never interferes implements [`Gate`] without a function.

use std::time::Duration;

use gart::Vmid;

use crate::{Packet, PteUpdate};

/// A packet that the engine is about to begin. Its read pointer is at it, and nothing of it has been done.
#[derive(Debug, Clone, Copy)]
pub struct Ahead<'a> {
    /// The packet.
    pub packet: &'a Packet,
    /// Context of the packet.
    pub vmid: Vmid,
    /// What it will announce as [`EngineEvent::PageTableUpdate`](crate::EngineEvent::PageTableUpdate), if it will.
    pub update: Option<PteUpdate>,
    /// It has been [delayed](Verdict::Delay) already.
    pub delayed: bool,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verdict {
    /// What it says.
    #[default]
    Proceed,
    /// Nothing, and the next one follows: no data, no event, no count.
    Skip,
    /// The engine stands still in front of it, until [`Engine::reset`](crate::Engine::reset).
    Hang,
    /// The engine stands still inside it, after so many bytes of its data; in front of it, if it moves none.
    HangAfter(u64),
    /// It is asked about again after this time, and nothing is begun before.
    Delay(Duration),
    /// What it says, and then bits of one of its 64-bit entries are inverted in memory.
    Corrupt {
        /// Which entry, from 0.
        entry: u64,
        /// Which bits.
        xor: u64,
    },
}

/// What the engine asks before each packet. Part of the bus, because the answer may depend on where an address leads.
pub trait Gate {
    /// Decides about a packet.
    fn verdict(&mut self, _ahead: &Ahead<'_>) -> Verdict {
        Verdict::Proceed
    }
}

/// How far a delayed packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Delay {
    /// There is none: the next packet is asked about for the first time.
    #[default]
    None,
    /// Nothing begins before this time.
    Until {
        /// When it was decided.
        since: Duration,
        /// When the packet may begin.
        time: Duration,
    },
}
