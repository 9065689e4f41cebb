//! The mailbox between a virtual function and its host: four dwords each way, a valid bit and an acknowledgement for each.
//!
//! Registers: Linux 6.1 `mxgpu_nv.h`; the handshake: `xgpu_nv_mailbox_trans_msg`, `xgpu_nv_mailbox_rcv_msg`. The driver reads and
//! writes the two low bytes of CONTROL by themselves, since each direction has one.
//!
//! The guest sets its valid bit when its message is complete, waits for the acknowledgement, and clears the bit, which takes the
//! acknowledgement back. The host's notices stay until the guest acknowledges them, or until the next one replaces them: the driver
//! looks at some and never acknowledges them. On bare metal nobody is at the other end, and no bit is ever acknowledged.

use super::segment;
use mmio::{Effects, RegOffset, RegisterBlock, RegisterFile, offset_of};
use regs::nbio::v2_3::MAILBOX;

use crate::sriov::message::Dwords;

const TRN_DW0: RegOffset = offset_of(MAILBOX, "BIF_BX_PF_MAILBOX_MSGBUF_TRN_DW{}");
const RCV_DW0: RegOffset = offset_of(MAILBOX, "BIF_BX_PF_MAILBOX_MSGBUF_RCV_DW{}");
const CONTROL: RegOffset = offset_of(MAILBOX, "BIF_BX_PF_MAILBOX_CONTROL");
const INT_CNTL: RegOffset = offset_of(MAILBOX, "BIF_BX_PF_MAILBOX_INT_CNTL");

/// CONTROL.TRN_MSG_VALID: the guest's message is complete.
const TRN_VALID: u32 = 1 << 0;
/// CONTROL.TRN_MSG_ACK: the host has it.
const TRN_ACK: u32 = 1 << 1;
/// CONTROL.RCV_MSG_VALID: the host's notice is complete.
const RCV_VALID: u32 = 1 << 8;
/// CONTROL.RCV_MSG_ACK: the guest has it. Written as one, reads as zero.
const RCV_ACK: u32 = 1 << 9;
/// INT_CNTL.VALID_INT_EN: an interrupt for each notice.
const VALID_INT_EN: u32 = 1 << 0;
/// INT_CNTL.ACK_INT_EN: an interrupt for each acknowledgement.
const ACK_INT_EN: u32 = 1 << 1;

/// What a register write tells the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailboxEffect {
    /// There is a message: take it with [`Mailbox::message`], and [`Mailbox::acknowledge`] it.
    Sent,
    /// The guest has seen the acknowledgement, or waits for it no longer: it does nothing at the mailbox until there is a notice.
    Settled,
    /// The guest has the host's notice.
    Acknowledged,
}

/// An interrupt that the mailbox raises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailboxInterrupt {
    /// There is a notice.
    Notice,
    /// The guest's message is acknowledged.
    Acknowledgement,
}

/// The mailbox.
#[derive(Debug)]
pub struct Mailbox {
    file: RegisterFile,
}

impl Mailbox {
    /// In the state after power-on. `bases` are the bus interface's, in dwords, by segment.
    pub fn new(bases: &[u32]) -> Self {
        Self {
            file: RegisterFile::new("", segment(bases, 2), MAILBOX),
        }
    }

    /// The place of a byte that can be accessed by itself, as a number of bits, if it is one: the two lower ones of CONTROL.
    pub const fn lane(&self, byte_offset: u32) -> Option<u32> {
        let control = self.file.base().plus(CONTROL.byte());
        match byte_offset.checked_sub(control.byte()) {
            Some(lane @ (0 | 1)) => Some(8 * lane),
            _ => None,
        }
    }

    /// Reads one of these bytes.
    pub fn read_lane(&self, shift: u32) -> u8 {
        (self.file.get(CONTROL) >> shift & 0xff) as u8
    }

    /// Writes one of these bytes; the other stays.
    pub fn write_lane(&mut self, shift: u32, value: u8, effects: &mut Effects<MailboxEffect>) {
        let value = u32::from(value) << shift;
        if shift == 0 {
            self.set_trn_valid(value & TRN_VALID != 0, effects);
        } else if value & RCV_ACK != 0 {
            self.notice_acknowledged(effects);
        }
    }

    fn set_trn_valid(&mut self, valid: bool, effects: &mut Effects<MailboxEffect>) {
        let control = self.file.get(CONTROL);
        match (control & TRN_VALID != 0, valid) {
            (false, true) => {
                self.file.set(CONTROL, control | TRN_VALID);
                effects.push(MailboxEffect::Sent);
            }
            (true, false) => {
                self.file.set(CONTROL, control & !(TRN_VALID | TRN_ACK));
                effects.push(MailboxEffect::Settled);
            }
            _ => {}
        }
    }

    fn notice_acknowledged(&mut self, effects: &mut Effects<MailboxEffect>) {
        let control = self.file.get(CONTROL);
        if control & RCV_VALID != 0 {
            self.file.set(CONTROL, control & !RCV_VALID);
            effects.push(MailboxEffect::Acknowledged);
        }
    }

    /// The guest's message.
    pub fn message(&self) -> Dwords {
        self.buffer(TRN_DW0)
    }

    /// The host's notice that the guest sees.
    pub fn notice(&self) -> Dwords {
        self.buffer(RCV_DW0)
    }

    /// Whether there is a notice that the guest has not acknowledged.
    pub fn notice_pending(&self) -> bool {
        self.file.get(CONTROL) & RCV_VALID != 0
    }

    fn buffer(&self, first: RegOffset) -> Dwords {
        [0, 4, 8, 12].map(|byte| self.file.get(first.plus(byte)))
    }

    /// The host has taken the message. Gives the interrupt that the guest wants for that.
    pub fn acknowledge(&mut self) -> Option<MailboxInterrupt> {
        let control = self.file.get(CONTROL);
        if control & TRN_VALID == 0 {
            return None;
        }
        self.file.set(CONTROL, control | TRN_ACK);
        self.interrupt(ACK_INT_EN, MailboxInterrupt::Acknowledgement)
    }

    /// The host leaves a notice, in place of the one before. Gives the interrupt that the guest wants for that.
    pub fn leave(&mut self, notice: Dwords) -> Option<MailboxInterrupt> {
        for (byte, dword) in (0..).step_by(4).zip(notice) {
            self.file.set(RCV_DW0.plus(byte), dword);
        }
        self.file.set(CONTROL, self.file.get(CONTROL) | RCV_VALID);
        self.interrupt(VALID_INT_EN, MailboxInterrupt::Notice)
    }

    /// The host clears the number of the notice, so that nobody takes it for the answer to the next question. What came with it stays: the
    /// driver reads that after it has acknowledged (`xgpu_nv_send_access_requests`).
    pub fn clear_notice(&mut self) {
        self.file.set(RCV_DW0, 0);
    }

    fn interrupt(&self, enable: u32, interrupt: MailboxInterrupt) -> Option<MailboxInterrupt> {
        (self.file.get(INT_CNTL) & enable != 0).then_some(interrupt)
    }
}

impl RegisterBlock for Mailbox {
    type Effect = MailboxEffect;

    fn files(&self) -> Vec<&RegisterFile> {
        vec![&self.file]
    }

    fn read(&mut self, offset: RegOffset) -> u32 {
        self.file.read(offset).unwrap_or(0)
    }

    fn write(&mut self, offset: RegOffset, value: u32, effects: &mut Effects<Self::Effect>) {
        if self.file.relative(offset) == Some(CONTROL) {
            let [low, high, _, _] = value.to_le_bytes();
            self.write_lane(0, low, effects);
            self.write_lane(8, high, effects);
        } else {
            self.file.write(offset, value);
        }
    }

    fn reset(&mut self) {
        let Self { file } = self;
        file.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRN: u32 = 0;
    const RCV: u32 = 8;

    /// The guest's side, as the driver's `WREG8` and `RREG8` are.
    struct Guest {
        mailbox: Mailbox,
        effects: Effects<MailboxEffect>,
    }

    impl Guest {
        fn new() -> Self {
            Self {
                mailbox: Mailbox::new(&[]),
                effects: Effects::default(),
            }
        }

        fn byte(&mut self, shift: u32, value: u8) -> Vec<MailboxEffect> {
            self.mailbox.write_lane(shift, value, &mut self.effects);
            self.effects.take()
        }

        fn dword(&mut self, offset: RegOffset, value: u32) {
            self.mailbox.write(offset, value, &mut self.effects);
        }
    }

    #[test]
    fn the_table_has_no_defects() {
        assert_eq!(RegisterFile::table_defects(MAILBOX), Vec::<String>::new());
    }

    /// `xgpu_nv_mailbox_trans_msg`.
    #[test]
    fn a_message_is_sent_by_its_valid_bit_and_settled_when_that_falls() {
        let mut guest = Guest::new();
        assert_eq!(guest.byte(TRN, 0), [], "nothing was valid");
        for (byte, dword) in (0..).step_by(4).zip([6, 0, 2, 9]) {
            guest.dword(TRN_DW0.plus(byte), dword);
        }
        assert_eq!(guest.byte(TRN, 1), [MailboxEffect::Sent]);
        assert_eq!(guest.mailbox.message(), [6, 0, 2, 9]);
        assert_eq!(guest.mailbox.read_lane(TRN) & 2, 0);
        assert_eq!(guest.mailbox.acknowledge(), None, "no interrupt is enabled");
        assert_eq!(guest.mailbox.read_lane(TRN), 3);
        assert_eq!(guest.byte(TRN, 1), [], "it is the same message");
        assert_eq!(guest.byte(TRN, 0), [MailboxEffect::Settled]);
        assert_eq!(
            guest.mailbox.read_lane(TRN),
            0,
            "the acknowledgement goes with it"
        );
    }

    #[test]
    fn nothing_is_acknowledged_when_nothing_was_sent() {
        let mut guest = Guest::new();
        guest.dword(INT_CNTL, 3);
        assert_eq!(guest.mailbox.acknowledge(), None);
        assert_eq!(guest.mailbox.read_lane(TRN), 0);
    }

    /// `xgpu_nv_mailbox_rcv_msg`, and what `xgpu_nv_send_access_requests` reads afterwards.
    #[test]
    fn a_notice_stays_until_the_guest_has_it_and_its_data_longer() {
        let mut guest = Guest::new();
        assert_eq!(guest.mailbox.leave([7, 1, 5, 0]), None);
        assert_eq!(guest.mailbox.read(RCV_DW0), 7);
        assert_eq!(guest.mailbox.read_lane(RCV), 1);
        assert_eq!(guest.byte(RCV, 2), [MailboxEffect::Acknowledged]);
        assert!(!guest.mailbox.notice_pending());
        guest.mailbox.clear_notice();
        assert_eq!(guest.mailbox.notice(), [0, 1, 5, 0]);
        assert_eq!(guest.byte(RCV, 2), [], "there is none to acknowledge");
    }

    #[test]
    fn the_next_notice_replaces_one_that_nobody_acknowledged() {
        let mut guest = Guest::new();
        guest.mailbox.leave([2, 0, 0, 0]);
        guest.mailbox.leave([3, 0, 0, 0]);
        assert_eq!(guest.mailbox.read(RCV_DW0), 3);
        assert!(guest.mailbox.notice_pending());
    }

    #[test]
    fn interrupts_come_where_they_are_enabled() {
        let mut guest = Guest::new();
        guest.dword(INT_CNTL, VALID_INT_EN);
        assert_eq!(guest.mailbox.leave([2, 0, 0, 0]), Some(MailboxInterrupt::Notice));
        guest.byte(TRN, 1);
        assert_eq!(guest.mailbox.acknowledge(), None);
        guest.dword(INT_CNTL, ACK_INT_EN);
        assert_eq!(guest.mailbox.leave([2, 0, 0, 0]), None);
        assert_eq!(
            guest.mailbox.acknowledge(),
            Some(MailboxInterrupt::Acknowledgement)
        );
    }

    #[test]
    fn the_guest_writes_neither_the_hosts_buffer_nor_its_bits() {
        let mut guest = Guest::new();
        guest.dword(RCV_DW0, 3);
        guest.byte(TRN, 2);
        guest.byte(RCV, 1);
        assert_eq!(guest.mailbox.notice(), [0; 4]);
        assert_eq!(guest.mailbox.read(CONTROL), 0);
    }

    #[test]
    fn a_dword_write_of_control_is_one_of_both_bytes() {
        let mut guest = Guest::new();
        guest.mailbox.leave([1, 0, 0, 0]);
        guest.dword(CONTROL, TRN_VALID | RCV_ACK);
        assert_eq!(
            guest.effects.take(),
            [MailboxEffect::Sent, MailboxEffect::Acknowledged]
        );
    }

    #[test]
    fn only_the_two_bytes_of_control_can_be_accessed_by_themselves() {
        let mailbox = Mailbox::new(&[0x0, 0x14, 0xd20]);
        assert_eq!(mailbox.lane(0x3978), Some(0));
        assert_eq!(mailbox.lane(0x3979), Some(8));
        for other in [0, 0x3958, 0x3977, 0x397a, 0x397c] {
            assert_eq!(mailbox.lane(other), None);
        }
    }

    #[test]
    fn a_reset_empties_it() {
        let mut guest = Guest::new();
        guest.dword(INT_CNTL, 3);
        guest.byte(TRN, 1);
        guest.mailbox.leave([1, 2, 3, 4]);
        guest.mailbox.reset();
        let registers: Vec<_> = guest.mailbox.file.registers().collect();
        for register in registers {
            assert_eq!(guest.mailbox.read(register.offset), 0, "{}", register.name);
        }
    }
}
