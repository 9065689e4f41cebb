//! What the host makes of a guest's messages.
//!
//! Plain state: a message or a decision of the operator goes in, what is to be done comes out. Who owns the host carries that out, tells
//! it when a reset is over, and decides when messages reach it.
//!
//! A guest may say anything at any time. What comes out of order is answered as if it were in order wherever that harms nobody but the
//! guest, which is what lets drivers repeat themselves, and is counted.

use std::collections::BTreeMap;

use serde::Serialize;

use protocol::state::{Access, Flr};

use super::exchange::{Features, Indirect};
use super::message::{Message, Notice, Request};
use crate::limited::limited;
use protocol::loss::LossMode;

/// What has become of a question of the guest's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The host does what was asked for.
    Proceed,
    /// It does nothing and says nothing.
    Silent,
    /// It does nothing and says so.
    Refused,
    /// It does nothing and says that the function cannot be recovered.
    GivenUp,
}

/// What the host does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostEffect {
    /// Leave a notice in the mailbox.
    Tell(Notice),
    /// Write the VBIOS and the host's data into VRAM.
    Publish,
    /// Reset the function, and say when that is over: [`Host::flr_done`].
    Reset(Flr),
}

/// Who waits for the end of a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// A driver that wants the function afterwards.
    ForAccess,
    /// A driver that was told of the reset.
    ForCompletion,
}

/// What a host is doing, for somebody who looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostView {
    /// What the guest may do with the function.
    pub access: Access,
    /// A reset that the guest has been told of, or that the next question for one gets.
    pub announced: Option<Flr>,
    /// A reset is under way.
    pub resetting: bool,
    /// What the host's data says about the latest reset.
    pub claims_lost: bool,
    /// The guest's messages by name.
    pub messages: BTreeMap<&'static str, u64>,
    /// The host's notices by name.
    pub notices: BTreeMap<&'static str, u64>,
    /// Messages that came at a time when no driver would send them.
    pub out_of_order: u64,
}

/// The host of one virtual function.
#[derive(Debug, Clone)]
pub struct Host {
    indirect: Indirect,
    access: Access,
    usual: Flr,
    announced: Option<Flr>,
    waiting: Option<Waiting>,
    claims_lost: bool,
    messages: BTreeMap<&'static str, u64>,
    notices: BTreeMap<&'static str, u64>,
    out_of_order: u64,
}

impl Host {
    /// A host whose resets lose VRAM, and that says so.
    pub const fn new(indirect: Indirect) -> Self {
        let usual = Flr::honest(LossMode::Poison);
        Self {
            indirect,
            access: Access::None,
            usual,
            announced: None,
            waiting: None,
            claims_lost: usual.claims_lost,
            messages: BTreeMap::new(),
            notices: BTreeMap::new(),
            out_of_order: 0,
        }
    }

    /// What the guest may do with the function.
    pub const fn access(&self) -> Access {
        self.access
    }

    /// What the host's data is to say.
    pub const fn features(&self) -> Features {
        Features {
            flr_vram_lost: self.claims_lost,
            indirect: self.indirect,
        }
    }

    /// What it is doing.
    pub fn view(&self) -> HostView {
        HostView {
            access: self.access,
            announced: self.announced,
            resetting: self.waiting.is_some(),
            claims_lost: self.claims_lost,
            messages: self.messages.clone(),
            notices: self.notices.clone(),
            out_of_order: self.out_of_order,
        }
    }

    /// A message of the guest's, and what becomes of it.
    pub fn message(&mut self, message: Message, answer: Answer) -> Vec<HostEffect> {
        let Message { request, data } = message;
        *self.messages.entry(request.name()).or_default() += 1;
        self.check_order(request);
        match answer {
            Answer::Proceed => {}
            Answer::Silent => return Vec::new(),
            Answer::Refused => return vec![self.tell(Notice::Fail)],
            Answer::GivenUp => return vec![self.tell(Notice::Unrecoverable)],
        }
        match request {
            Request::InitData => vec![HostEffect::Publish, self.tell(Notice::InitDataReady)],
            Request::InitAccess => {
                self.access = Access::Full;
                vec![HostEffect::Publish, self.tell(Notice::Ready)]
            }
            Request::ReleaseInit => {
                self.access = Access::Runtime;
                Vec::new()
            }
            Request::FiniAccess => {
                self.access = Access::Full;
                vec![self.tell(Notice::Ready)]
            }
            Request::ReleaseFini => {
                self.access = Access::None;
                Vec::new()
            }
            Request::ResetAccess => self.begin_flr(Waiting::ForAccess),
            Request::ReadyToReset => self.begin_flr(Waiting::ForCompletion),
            Request::LogError => {
                let [code, sub_code, detail] = data;
                limited!(Warn, target: "amdgpu::sriov", "the guest reports an error: {code:#x}, {sub_code:#x}, {detail:#x}");
                Vec::new()
            }
            // The host's data offers nothing that these are for.
            Request::RasPoison | Request::Unknown(_) => Vec::new(),
        }
    }

    fn check_order(&mut self, request: Request) {
        let expected = match request {
            Request::InitAccess | Request::InitData => self.access != Access::Full,
            Request::ReleaseInit | Request::ReleaseFini => self.access == Access::Full,
            Request::FiniAccess => self.access == Access::Runtime,
            // Also from one that was told of a reset and has work pending (6.1 `xgpu_nv_mailbox_flr_work`): it asks for one more.
            Request::ResetAccess => self.access != Access::Full,
            Request::ReadyToReset => self.announced.is_some(),
            Request::LogError => true,
            Request::RasPoison | Request::Unknown(_) => false,
        };
        if !expected {
            self.out_of_order += 1;
            let announced = if self.announced.is_some() { "a" } else { "no" };
            limited!(Warn, target: "amdgpu::sriov",
                "guest error: {request:?} out of order, with access {:?} and {announced} reset announced", self.access);
        }
    }

    /// The operator resets the function: the guest is told, and the reset happens when it is ready, or asks for one.
    pub fn announce(&mut self, flr: Flr) -> Vec<HostEffect> {
        self.announced = Some(flr);
        vec![self.tell(Notice::FlrComing)]
    }

    /// What the next reset that the guest asks for will be; it is told nothing.
    pub const fn intend(&mut self, flr: Flr) {
        self.announced = Some(flr);
    }

    /// The guest has had its time: what was announced happens now, ready or not.
    pub fn lose_patience(&mut self) -> Vec<HostEffect> {
        if self.announced.is_none() || self.waiting.is_some() {
            return Vec::new();
        }
        self.begin_flr(Waiting::ForCompletion)
    }

    fn begin_flr(&mut self, waiting: Waiting) -> Vec<HostEffect> {
        // A driver that asks again while a reset is under way gets that one's end.
        if self.waiting.replace(waiting).is_some() {
            return Vec::new();
        }
        let flr = self.announced.take().unwrap_or(self.usual);
        self.access = Access::None;
        self.claims_lost = flr.claims_lost;
        vec![HostEffect::Reset(flr)]
    }

    /// The reset is over, and the host's data is in VRAM again.
    pub fn flr_done(&mut self) -> Vec<HostEffect> {
        match self.waiting.take() {
            None => Vec::new(),
            Some(Waiting::ForCompletion) => vec![self.tell(Notice::FlrDone)],
            Some(Waiting::ForAccess) => {
                self.access = Access::Full;
                vec![self.tell(Notice::Ready)]
            }
        }
    }

    /// The function was reset from the bus, or the machine around it was switched off: what was said before counts no longer.
    pub fn forget(&mut self) {
        let Self {
            indirect: _,
            access,
            usual,
            announced,
            waiting,
            claims_lost,
            messages: _,
            notices: _,
            out_of_order: _,
        } = self;
        *access = Access::None;
        *announced = None;
        *waiting = None;
        *claims_lost = usual.claims_lost;
    }

    fn tell(&mut self, notice: Notice) -> HostEffect {
        *self.notices.entry(notice.name()).or_default() += 1;
        HostEffect::Tell(notice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: Flr = Flr::honest(LossMode::Poison);
    const KEPT: Flr = Flr::honest(LossMode::Keep);

    fn say(host: &mut Host, request: Request) -> Vec<HostEffect> {
        host.message(
            Message {
                request,
                data: [0; 3],
            },
            Answer::Proceed,
        )
    }

    /// A host whose guest has come up, as all three kernels do it.
    fn running() -> Host {
        let mut host = Host::new(Indirect::default());
        for request in [Request::InitData, Request::InitAccess, Request::ReleaseInit] {
            say(&mut host, request);
        }
        assert_eq!(host.access(), Access::Runtime);
        host
    }

    #[test]
    fn a_driver_that_starts_gets_data_then_the_function_then_leaves_it() {
        let mut host = Host::new(Indirect::default());
        assert_eq!(
            say(&mut host, Request::InitData),
            [HostEffect::Publish, HostEffect::Tell(Notice::InitDataReady)]
        );
        assert_eq!(
            say(&mut host, Request::InitAccess),
            [HostEffect::Publish, HostEffect::Tell(Notice::Ready)]
        );
        assert_eq!(host.access(), Access::Full);
        assert_eq!(say(&mut host, Request::ReleaseInit), []);
        assert_eq!(host.access(), Access::Runtime);
        assert_eq!(host.view().out_of_order, 0);
    }

    #[test]
    fn a_driver_that_ends_gets_the_function_and_gives_it_back() {
        let mut host = running();
        assert_eq!(
            say(&mut host, Request::FiniAccess),
            [HostEffect::Tell(Notice::Ready)]
        );
        assert_eq!(say(&mut host, Request::ReleaseFini), []);
        assert_eq!((host.access(), host.view().out_of_order), (Access::None, 0));
    }

    /// A hung job: `amdgpu_virt_reset_gpu`.
    #[test]
    fn a_reset_that_the_guest_asks_for_ends_with_access() {
        let mut host = running();
        assert_eq!(say(&mut host, Request::ResetAccess), [HostEffect::Reset(LOST)]);
        assert!(host.view().resetting);
        assert_eq!(host.flr_done(), [HostEffect::Tell(Notice::Ready)]);
        assert_eq!(host.access(), Access::Full);
        assert_eq!(host.flr_done(), [], "it is over only once");
    }

    #[test]
    fn a_reset_that_is_announced_waits_for_the_guest_and_ends_with_its_completion() {
        let mut host = running();
        assert_eq!(host.announce(KEPT), [HostEffect::Tell(Notice::FlrComing)]);
        assert_eq!(
            host.access(),
            Access::Runtime,
            "nothing happens before it is ready"
        );
        assert_eq!(say(&mut host, Request::ReadyToReset), [HostEffect::Reset(KEPT)]);
        assert!(!host.features().flr_vram_lost);
        assert_eq!(host.flr_done(), [HostEffect::Tell(Notice::FlrDone)]);
        assert_eq!(host.access(), Access::None, "it asks for the function next");
        assert_eq!(
            say(&mut host, Request::InitAccess),
            [HostEffect::Publish, HostEffect::Tell(Notice::Ready)]
        );
        assert_eq!(host.view().out_of_order, 0);
    }

    /// 6.12 and later with work pending: nothing until the job times out, and then a question for a reset.
    #[test]
    fn a_guest_that_asks_instead_of_being_ready_gets_the_reset_that_was_announced() {
        let mut host = running();
        host.announce(KEPT);
        assert_eq!(say(&mut host, Request::ResetAccess), [HostEffect::Reset(KEPT)]);
        assert_eq!(host.flr_done(), [HostEffect::Tell(Notice::Ready)]);
        assert_eq!(host.view().announced, None);
        say(&mut host, Request::ReleaseInit);
        assert_eq!(
            say(&mut host, Request::ResetAccess),
            [HostEffect::Reset(LOST)],
            "the next one is the usual one"
        );
    }

    #[test]
    fn a_host_that_loses_its_patience_resets_once() {
        let mut host = running();
        assert_eq!(host.lose_patience(), [], "nothing was announced");
        host.announce(KEPT);
        assert_eq!(host.lose_patience(), [HostEffect::Reset(KEPT)]);
        assert_eq!(host.lose_patience(), [], "it happens already");
        assert_eq!(host.flr_done(), [HostEffect::Tell(Notice::FlrDone)]);
        say(&mut host, Request::ResetAccess);
        assert_eq!(host.view().out_of_order, 0, "its jobs were lost with that reset");
    }

    #[test]
    fn what_the_host_says_and_what_happens_can_differ() {
        let mut host = running();
        host.intend(Flr {
            vram: LossMode::Poison,
            claims_lost: false,
        });
        say(&mut host, Request::ResetAccess);
        assert!(!host.features().flr_vram_lost);
    }

    #[test]
    fn a_guest_that_repeats_itself_during_a_reset_does_not_get_two() {
        let mut host = running();
        say(&mut host, Request::ReadyToReset);
        assert_eq!(say(&mut host, Request::ResetAccess), []);
        assert_eq!(host.flr_done(), [HostEffect::Tell(Notice::Ready)]);
    }

    /// 6.1 after twenty bad reads of the host's data: `amdgpu_virt_update_vf2pf_work_item`.
    #[test]
    fn a_guest_that_is_ready_without_being_asked_gets_the_usual_reset() {
        let mut host = running();
        assert_eq!(say(&mut host, Request::ReadyToReset), [HostEffect::Reset(LOST)]);
        assert_eq!(host.view().out_of_order, 1);
    }

    #[test]
    fn whatever_comes_out_of_order_is_counted_and_never_fatal() {
        for first in Request::NAMED.into_iter().chain([Request::Unknown(77)]) {
            for second in Request::NAMED {
                let mut host = Host::new(Indirect::default());
                say(&mut host, first);
                say(&mut host, second);
                host.flr_done();
                let told: u64 = host.view().messages.values().sum();
                assert_eq!(told, 2);
            }
        }
        let mut host = Host::new(Indirect::default());
        say(&mut host, Request::ReleaseInit);
        say(&mut host, Request::Unknown(0));
        assert_eq!(host.view().out_of_order, 2);
    }

    #[test]
    fn a_host_that_is_silent_does_nothing_and_one_that_refuses_says_so() {
        let mut host = running();
        let reset = Message {
            request: Request::ResetAccess,
            data: [0; 3],
        };
        assert_eq!(host.message(reset, Answer::Silent), []);
        assert_eq!(
            host.message(reset, Answer::Refused),
            [HostEffect::Tell(Notice::Fail)]
        );
        assert_eq!(
            host.message(reset, Answer::GivenUp),
            [HostEffect::Tell(Notice::Unrecoverable)]
        );
        assert_eq!(host.access(), Access::Runtime);
    }

    #[test]
    fn a_reset_from_the_bus_makes_it_forget_the_guest() {
        let mut host = running();
        host.announce(KEPT);
        say(&mut host, Request::ReadyToReset);
        host.forget();
        assert_eq!(host.flr_done(), []);
        assert_eq!(host.access(), Access::None);
        assert!(host.features().flr_vram_lost);
        assert_eq!(host.view().messages["READY_TO_RESET"], 1, "counters stay");
    }
}
