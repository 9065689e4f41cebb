//! `mxgpu_nv.c`: what a virtual function's driver says to its host, and how it waits for the answer.

use std::time::Duration;

use super::regs::mailbox as regs;
use crate::guest::{Failure, FakeGuest};

/// `enum idh_request`.
#[expect(missing_docs, reason = "AMD's names")]
pub mod request {
    pub const REQ_GPU_INIT_ACCESS: u32 = 1;
    pub const REL_GPU_INIT_ACCESS: u32 = 2;
    pub const REQ_GPU_FINI_ACCESS: u32 = 3;
    pub const REL_GPU_FINI_ACCESS: u32 = 4;
    pub const REQ_GPU_RESET_ACCESS: u32 = 5;
    pub const REQ_GPU_INIT_DATA: u32 = 6;
    pub const READY_TO_RESET: u32 = 201;
}

/// `enum idh_event`.
#[expect(missing_docs, reason = "AMD's names")]
pub mod event {
    pub const READY_TO_ACCESS_GPU: u32 = 1;
    pub const FLR_NOTIFICATION: u32 = 2;
    pub const FLR_NOTIFICATION_CMPL: u32 = 3;
    pub const FAIL: u32 = 5;
    pub const REQ_GPU_INIT_DATA_READY: u32 = 7;
}

const VALID: u8 = 1;
const ACK: u8 = 2;

/// `xgpu_nv_mailbox_trans_msg`.
///
/// # Errors
/// [`Failure`] if the host does not acknowledge.
pub fn send(guest: &mut FakeGuest, request: u32) -> Result<(), Failure> {
    guest.write_byte(regs::CONTROL_TRN, 0)?;
    if guest.read_byte(regs::CONTROL_TRN)? & ACK != 0 {
        return Err(Failure::Invalid("an acknowledgement without a message"));
    }
    guest.write(regs::TRN_DW0, request);
    for offset in [4, 8, 12] {
        guest.write(regs::TRN_DW0.plus(offset), 0);
    }
    guest.write_byte(regs::CONTROL_TRN, VALID)?;
    let acknowledged = guest.read_byte(regs::CONTROL_TRN)? & ACK != 0;
    guest.write_byte(regs::CONTROL_TRN, 0)?;
    if acknowledged {
        Ok(())
    } else {
        Err(Failure::Invalid("the host does not acknowledge a message"))
    }
}

/// What the host says at the moment: `xgpu_nv_mailbox_peek_msg`.
pub fn peek(guest: &mut FakeGuest) -> u32 {
    guest.read(regs::RCV_DW0)
}

/// `xgpu_nv_poll_msg`: waits for what the host has to say, and acknowledges it.
///
/// # Errors
/// [`Failure`] if it never does.
pub fn wait(guest: &mut FakeGuest, event: u32) -> Result<(), Failure> {
    // 6 s in steps of 10 ms.
    for _ in 0..600 {
        if peek(guest) == event {
            guest.write_byte(regs::CONTROL_RCV, ACK)?;
            return Ok(());
        }
        guest.step()?;
        guest.pass(Duration::from_millis(10));
    }
    Err(Failure::Invalid("the host does not answer"))
}

/// A question and its answer: `xgpu_nv_send_access_requests`. Gives the second dword of the answer.
///
/// # Errors
/// [`Failure`] if there is none.
pub fn ask(guest: &mut FakeGuest, request: u32, event: u32) -> Result<u32, Failure> {
    send(guest, request)?;
    wait(guest, event)?;
    Ok(guest.read(regs::RCV_DW0.plus(4)))
}

/// `xgpu_nv_mailbox_get_irq`.
pub fn enable_interrupts(guest: &mut FakeGuest) {
    guest.modify(regs::INT_CNTL, 0, 3);
}
