//! Faults of a virtual function's host.

use std::time::Duration;

use super::armory::Armory;
use super::fault::Fault;
use crate::sriov::{Answer, Request};

/// What becomes of a message to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::card) enum HostVerdict {
    /// It is answered, or not, at once.
    Answer(Answer),
    /// It is looked at after this time.
    Late(Duration),
}

impl Armory {
    /// What becomes of a message to the host.
    pub(in crate::card) fn host(&mut self, request: Request) -> HostVerdict {
        let concerns = |only: &Option<Request>| only.is_none_or(|only| only == request);
        let fits = |fault: &Fault| match fault {
            Fault::HostSilent { request } if concerns(request) => Some(HostVerdict::Answer(Answer::Silent)),
            Fault::HostRefuses { request } if concerns(request) => Some(HostVerdict::Answer(Answer::Refused)),
            Fault::HostGivesUp { request } if concerns(request) => Some(HostVerdict::Answer(Answer::GivenUp)),
            Fault::HostLate { request, delay } if concerns(request) => Some(HostVerdict::Late(*delay)),
            _ => None,
        };
        self.fire(fits, || request.name().to_owned())
            .unwrap_or(HostVerdict::Answer(Answer::Proceed))
    }

    /// Whether what the host leaves for the guest is damaged.
    pub(in crate::card) fn corrupts_pf2vf(&self) -> bool {
        self.any(|fault| matches!(fault, Fault::CorruptPf2Vf))
    }
}
