//! The kinds of events, as they are written down.

pub use protocol::engine::{EngineName, Hex, Hub};
pub use protocol::event::{Event, Fate, LossCause, ResetKind, Side, TableLevel, UpdateKind, UpdateTarget};

use cp_engine::{QueueId, QueueKind};

/// Of a queue of the command processor; `kiq` is the one that the driver has made its kernel interface queue.
pub fn engine_of_queue(queue: QueueId, kiq: Option<QueueId>) -> EngineName {
    match queue.kind() {
        _ if Some(queue) == kiq => EngineName::Kiq,
        QueueKind::Graphics => EngineName::Gfx,
        QueueKind::Compute => EngineName::Compute,
    }
}
