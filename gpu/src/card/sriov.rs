//! A virtual function and its host: messages, resets on the host's word, registers that the function may not touch.

use std::time::Duration;

use gart::{Location, VramOffset};
use mmio::{Direction, RegOffset};
use protocol::state::SriovState;
use protocol::stats::SriovStats;

use super::accesses;
use super::config::VfRegisters;
use super::gpu::Gpu;
use super::inject::HostVerdict;
use super::losing::LossMode;
use super::turn::Turn;
use crate::blocks::ih::IvEntry;
use crate::blocks::mailbox::{MailboxEffect, MailboxInterrupt};
use crate::event::{Event, Fate, ResetKind, Side};
use crate::images::vbios;
use crate::limited::limited;
use crate::memory::CardMemory;
use crate::sriov::exchange::{self, AREA};
use crate::sriov::{Access, Answer, Flr, HostEffect, HostView, Message, Notice};
use cp_engine::RlcgRequest;

/// How long the host leaves a guest alone that does not take its valid bit back. It takes microseconds; a reset in the middle of it would
/// take the acknowledgement away that the driver waits for.
const PATIENCE: Duration = Duration::from_millis(100);

/// `SOC15_IH_CLIENTID_BIF`
const IH_CLIENT_BIF: u8 = 3;
/// 6.1 `xgpu_nv_mailbox_add_irq_id`
const IH_SOURCE_NOTICE: u8 = 135;
const IH_SOURCE_ACKNOWLEDGEMENT: u8 = 138;

impl<M: CardMemory> Gpu<M> {
    /// Reads a byte of BAR 5 that can be accessed by itself. None: that is none.
    pub fn read_register_byte(&mut self, byte: u32) -> Option<u8> {
        let value = self.fabric.read_lane(byte)?;
        accesses::count(&mut self.observers.accesses.mailbox, Direction::Read);
        Some(if self.answers() { value } else { u8::MAX })
    }

    /// Writes a byte of BAR 5 that can be accessed by itself; tells whether it is one.
    pub fn write_register_byte(&mut self, byte: u32, value: u8) -> bool {
        if self.fabric.read_lane(byte).is_none() {
            return false;
        }
        accesses::count(
            &mut self.observers.accesses.mailbox,
            Direction::Write(value.into()),
        );
        if self.answers() {
            self.fabric.write_lane(byte, value);
            self.settle();
        }
        true
    }

    /// Whether an access from outside is carried out: a virtual function that runs leaves most registers to its host. Counts those that are
    /// not its own either way.
    #[inline]
    pub(super) fn may_access(&mut self, offset: RegOffset, direction: Direction) -> bool {
        let Some(side) = &mut self.host else {
            return true;
        };
        if side.host.access() != Access::Runtime || self.fabric.is_always_a_functions(offset) {
            return true;
        }
        match direction {
            Direction::Read => side.foreign_reads += 1,
            Direction::Write(_) => side.foreign_writes += 1,
        }
        if side.foreign.unmodelled(offset, direction) {
            let name = self.fabric.name(offset);
            limited!(Info, target: "amdgpu::sriov", "guest error: {direction:x?} of {name} ({offset}) while the function runs");
        }
        self.config.vf.registers == VfRegisters::Open
    }

    pub(super) fn apply_mailbox(&mut self, effect: MailboxEffect) {
        // On bare metal nobody is at the other end.
        if self.host.is_none() {
            return;
        }
        match effect {
            MailboxEffect::Sent => {
                let message = Message::decode(self.fabric.blocks.mailbox.message());
                let interrupt = self.fabric.blocks.mailbox.acknowledge();
                self.raise_mailbox(interrupt);
                // A guest that does not wait for the end of one message gets the next one done.
                self.take_up();
                if let Some(side) = &mut self.host {
                    side.taken = Some((message, self.now.saturating_add(PATIENCE)));
                }
            }
            MailboxEffect::Settled => self.take_up(),
            MailboxEffect::Acknowledged => self.fabric.blocks.mailbox.clear_notice(),
        }
    }

    /// What the host has put off and is due.
    pub(super) fn run_host(&mut self) {
        let now = self.now;
        let Some(side) = &mut self.host else { return };
        if side.taken.is_some_and(|(_, until)| until <= now) {
            self.take_up();
        }
        let Some(side) = &mut self.host else { return };
        if let Some((message, _)) = side.late.take_if(|(_, until)| *until <= now) {
            self.hear(message, Answer::Proceed);
        }
        let Some(side) = &mut self.host else { return };
        if side.patience.take_if(|until| *until <= now).is_some() {
            let effects = side.host.lose_patience();
            self.do_for_host(effects);
        }
    }

    /// When it has something to do.
    pub(super) fn host_turn(&self) -> Turn {
        let Some(side) = &self.host else {
            return Turn::None;
        };
        let times = [side.taken, side.late].into_iter().flatten();
        times
            .map(|(_, until)| until)
            .chain(side.patience)
            .min()
            .map_or(Turn::None, Turn::At)
    }

    /// The host looks at the message that it has taken.
    fn take_up(&mut self) {
        let Some(side) = &mut self.host else { return };
        let Some((message, _)) = side.taken.take() else {
            return;
        };
        let verdict = self.fabric.inject.host(message.request);
        let fate = match verdict {
            HostVerdict::Answer(Answer::Proceed) => None,
            HostVerdict::Answer(Answer::Silent) => Some(Fate::NotAnswered),
            HostVerdict::Answer(Answer::Refused) => Some(Fate::Refused),
            HostVerdict::Answer(Answer::GivenUp) => Some(Fate::GivenUp),
            HostVerdict::Late(_) => Some(Fate::Late),
        };
        self.observers.journal.record(Event::Mailbox {
            from: Side::Guest,
            message: message.request.name(),
            data: message.encode(),
            fate,
        });
        match verdict {
            HostVerdict::Answer(answer) => self.hear(message, answer),
            HostVerdict::Late(delay) => {
                if let Some(side) = &mut self.host {
                    side.late = Some((message, self.now.saturating_add(delay)));
                }
            }
        }
    }

    fn hear(&mut self, message: Message, answer: Answer) {
        if let Some(side) = &mut self.host {
            let effects = side.host.message(message, answer);
            self.do_for_host(effects);
        }
    }

    fn do_for_host(&mut self, effects: Vec<HostEffect>) {
        for effect in effects {
            match effect {
                HostEffect::Publish => self.publish(),
                HostEffect::Tell(notice) => self.tell_guest(notice),
                HostEffect::Reset(flr) => {
                    if let Some(side) = &mut self.host {
                        side.flr = flr;
                        side.patience = None;
                    }
                    // The data says what will have happened, even if nothing does.
                    self.publish();
                    self.ask_for(ResetKind::VfFlr);
                }
            }
        }
    }

    fn tell_guest(&mut self, notice: Notice) {
        let data = notice.encode();
        self.observers.journal.record(Event::Mailbox {
            from: Side::Host,
            message: notice.name(),
            data,
            fate: None,
        });
        let interrupt = self.fabric.blocks.mailbox.leave(data);
        self.raise_mailbox(interrupt);
    }

    fn raise_mailbox(&mut self, interrupt: Option<MailboxInterrupt>) {
        let source = match interrupt {
            None => return,
            Some(MailboxInterrupt::Notice) => IH_SOURCE_NOTICE,
            Some(MailboxInterrupt::Acknowledgement) => IH_SOURCE_ACKNOWLEDGEMENT,
        };
        self.raise(&IvEntry {
            client: IH_CLIENT_BIF,
            source,
            ..IvEntry::default()
        });
    }

    /// What the board's firmware and the host leave in VRAM for a virtual function.
    pub(super) fn publish(&mut self) {
        let Some(side) = &self.host else { return };
        let exchange = side.exchange;
        let area = exchange::pf2vf(side.host.features(), &exchange, !side.damaged);
        let image = vbios::build(self.config.asic, self.config.personality);
        let memory = &self.fabric.memory;
        for (at, bytes) in [(exchange.vbios, image.as_slice()), (exchange.pf2vf, &area)] {
            if let Err(error) = memory.write(Location::Vram(VramOffset::new(at)), bytes) {
                log::error!(target: "amdgpu::sriov", "no room for what the host leaves: {error}");
            }
        }
    }

    /// What lies in VRAM for the guest is damaged from now on, or no longer.
    pub(super) fn update_pf2vf(&mut self) {
        let damaged = self.fabric.inject.corrupts_pf2vf();
        if let Some(side) = &mut self.host
            && std::mem::replace(&mut side.damaged, damaged) != damaged
        {
            self.publish();
        }
    }

    /// What becomes of VRAM in the reset that the host does now.
    pub(super) fn flr_loss(&self) -> LossMode {
        self.host.as_ref().map_or(LossMode::Poison, |side| side.flr.vram)
    }

    /// A reset is over: whoever waits for it is told, if it was the host's.
    pub(super) fn flr_done(&mut self, kind: ResetKind) {
        if kind == ResetKind::VfFlr
            && let Some(side) = &mut self.host
        {
            let effects = side.host.flr_done();
            self.do_for_host(effects);
        }
    }

    /// The function was reset over the host's head.
    pub(super) fn forget_guest(&mut self) {
        if let Some(side) = &mut self.host {
            side.host.forget();
            side.taken = None;
            side.late = None;
            side.patience = None;
        }
    }

    /// The host announces a reset of the function, or, without telling anybody, makes up its mind about the next one that the guest asks
    /// for. With patience, what was announced happens after that time, whether the guest is ready or not. Gives whether there is a host.
    pub fn host_flr(&mut self, flr: Flr, announce: bool, patience: Option<Duration>) -> bool {
        let Some(side) = &mut self.host else {
            return false;
        };
        side.patience = patience.map(|time| self.now.saturating_add(time));
        if announce {
            let effects = side.host.announce(flr);
            self.do_for_host(effects);
            self.settle();
        } else {
            side.host.intend(flr);
        }
        true
    }

    /// Whether the function is a virtual one.
    pub const fn has_host(&self) -> bool {
        self.host.is_some()
    }

    /// A virtual function's counters.
    pub(super) fn sriov_stats(&self) -> Option<SriovStats> {
        const LISTED: usize = 32;
        let side = self.host.as_ref()?;
        let mut touched = side.foreign.touched();
        touched.sort_by_key(|touch| std::cmp::Reverse(touch.reads + touch.writes));
        let HostView {
            messages,
            notices,
            out_of_order,
            ..
        } = side.host.view();
        Some(SriovStats {
            messages,
            notices,
            out_of_order,
            rlcg: side.rlcg,
            foreign_reads: side.foreign_reads,
            foreign_writes: side.foreign_writes,
            foreign_registers: touched
                .into_iter()
                .take(LISTED)
                .map(|touch| (self.fabric.name(touch.offset), touch.reads, touch.writes))
                .collect(),
        })
    }

    /// A virtual function at this moment.
    pub(super) fn sriov_state(&self) -> Option<SriovState> {
        let side = self.host.as_ref()?;
        let mut area = [0; AREA];
        let place = Location::Vram(VramOffset::new(side.exchange.vf2pf));
        let read = self.fabric.memory.read(place, &mut area);
        let HostView {
            access,
            announced,
            resetting,
            claims_lost,
            ..
        } = side.host.view();
        let mailbox = &self.fabric.blocks.mailbox;
        Some(SriovState {
            access,
            announced,
            resetting,
            claims_lost,
            notice: mailbox.notice_pending().then(|| mailbox.notice()),
            vf2pf: read.ok().and_then(|()| exchange::vf2pf(&area)),
        })
    }

    /// RLC firmware accesses a register for a virtual function.
    pub(super) fn access_through_rlcg(&mut self, request: &RlcgRequest) {
        if let Some(side) = &mut self.host {
            side.rlcg += 1;
        }
        let read = request.is_read().then(|| self.fabric.read(request.register));
        if read.is_none() {
            self.fabric.write(request.register, request.value);
        }
        self.fabric.blocks.gfx.finish_rlcg(read);
    }
}

#[cfg(test)]
mod tests {
    use protocol::names::{INTERRUPT_CLIENT, INTERRUPT_SOURCE};

    use super::*;

    #[test]
    fn interrupts_of_the_mailbox_are_the_named_ones() {
        assert_eq!(INTERRUPT_CLIENT.number("BIF"), Ok(IH_CLIENT_BIF.into()));
        assert_eq!(
            INTERRUPT_SOURCE.number("PF_VF_MSGBUF_VALID"),
            Ok(IH_SOURCE_NOTICE.into())
        );
        assert_eq!(
            INTERRUPT_SOURCE.number("PF_VF_MSGBUF_ACK"),
            Ok(IH_SOURCE_ACKNOWLEDGEMENT.into())
        );
    }
}
