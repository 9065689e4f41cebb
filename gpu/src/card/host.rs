//! The host of a virtual function, as far as the GPU around it has to know.

use std::time::Duration;

use mmio::Ledger;

use super::losing::LossMode;
use crate::sriov::{Exchange, Flr, Host, Indirect, Message};

/// The host, and what it has not got round to.
#[derive(Debug)]
pub(super) struct HostSide {
    pub(super) exchange: Exchange,
    pub(super) host: Host,
    /// A message that is acknowledged, and when the guest has to be done with it.
    pub(super) taken: Option<(Message, Duration)>,
    /// A message that the host is late with.
    pub(super) late: Option<(Message, Duration)>,
    /// When the host no longer waits for the guest with the reset that it has announced.
    pub(super) patience: Option<Duration>,
    /// What becomes of VRAM in the reset that has been asked for.
    pub(super) flr: Flr,
    /// What lies in VRAM for the guest is damaged.
    pub(super) damaged: bool,
    /// Accesses to registers that are the host's.
    pub(super) foreign: Ledger,
    pub(super) foreign_reads: u64,
    pub(super) foreign_writes: u64,
    /// Accesses that RLC firmware did for the guest.
    pub(super) rlcg: u64,
}

impl HostSide {
    pub(super) fn new(exchange: Exchange, indirect: Indirect) -> Self {
        Self {
            exchange,
            host: Host::new(indirect),
            taken: None,
            late: None,
            patience: None,
            flr: Flr::honest(LossMode::Poison),
            damaged: false,
            foreign: Ledger::default(),
            foreign_reads: 0,
            foreign_writes: 0,
            rlcg: 0,
        }
    }
}
