//! `smu_cmn.c`, `smu_v11_0.c`, `sienna_cichlid_ppt.c`: the mailbox of the management unit.

use super::regs::{mp, nbio};
use crate::guest::{Failure, FakeGuest, expect};

const RESULT_OK: u32 = 1;

/// Messages of `smu_v11_0_7_ppsmc.h`.
#[expect(missing_docs, reason = "AMD's names")]
pub mod message {
    pub const GET_SMU_VERSION: u32 = 0x2;
    pub const GET_DRIVER_IF_VERSION: u32 = 0x3;
    pub const SET_ALLOWED_FEATURES_MASK_LOW: u32 = 0x4;
    pub const SET_ALLOWED_FEATURES_MASK_HIGH: u32 = 0x5;
    pub const ENABLE_ALL_SMU_FEATURES: u32 = 0x6;
    pub const GET_RUNNING_SMU_FEATURES_LOW: u32 = 0xc;
    pub const GET_RUNNING_SMU_FEATURES_HIGH: u32 = 0xd;
    pub const SET_DRIVER_DRAM_ADDR_HIGH: u32 = 0xe;
    pub const SET_DRIVER_DRAM_ADDR_LOW: u32 = 0xf;
    pub const TRANSFER_TABLE_DRAM_TO_SMU: u32 = 0x13;
    pub const MODE1_RESET: u32 = 0x30;
    pub const RUN_DC_BTC: u32 = 0x36;
    pub const MODE2_RESET: u32 = 0x5d;
}

/// `smu_cmn_send_smc_msg_with_param`: returns the reply.
///
/// # Errors
/// [`Failure`] if the mailbox is not free, or the answer is not "OK".
pub fn send(guest: &mut FakeGuest, message: u32, argument: u32) -> Result<u32, Failure> {
    if guest.read(mp::MP1_C2PMSG_90) == 0 {
        return Err(Failure::Invalid(
            "the management unit is busy with an earlier message",
        ));
    }
    guest.write(mp::MP1_C2PMSG_90, 0);
    guest.write(mp::MP1_C2PMSG_82, argument);
    guest.write(mp::MP1_C2PMSG_66, message);
    guest.poll("result of an SMU message", mp::MP1_C2PMSG_90, u32::MAX, RESULT_OK)?;
    Ok(guest.read(mp::MP1_C2PMSG_82))
}

/// `smu_v11_0_check_fw_status`, `smu_v11_0_check_fw_version` and the set-up that follows.
///
/// # Errors
/// [`Failure`] if the firmware does not run or does not answer.
pub fn hw_init(guest: &mut FakeGuest, table: u64) -> Result<(), Failure> {
    guest.write(nbio::PCIE_INDEX2, mp::SMN_MP1_FIRMWARE_FLAGS);
    expect("MP1 firmware flags", guest.read(nbio::PCIE_DATA2) & 1, 1_u32)?;
    expect(
        "driver interface",
        send(guest, message::GET_DRIVER_IF_VERSION, 0)?,
        0x40_u32,
    )?;
    mode1_is_supported(guest)?;
    send(
        guest,
        message::SET_DRIVER_DRAM_ADDR_HIGH,
        (table >> 32 & 0xffff_ffff) as u32,
    )?;
    send(
        guest,
        message::SET_DRIVER_DRAM_ADDR_LOW,
        (table & 0xffff_ffff) as u32,
    )?;
    send(guest, message::TRANSFER_TABLE_DRAM_TO_SMU, 0)?;
    send(guest, message::RUN_DC_BTC, 0)?;
    send(guest, message::SET_ALLOWED_FEATURES_MASK_HIGH, u32::MAX)?;
    send(guest, message::SET_ALLOWED_FEATURES_MASK_LOW, u32::MAX)?;
    send(guest, message::ENABLE_ALL_SMU_FEATURES, 0)?;
    for half in [
        message::GET_RUNNING_SMU_FEATURES_LOW,
        message::GET_RUNNING_SMU_FEATURES_HIGH,
    ] {
        expect("running features", send(guest, half, 0)?, 0_u32)?;
    }
    Ok(())
}

/// `sienna_cichlid_is_mode1_reset_supported`: new enough firmware, and a living secure OS.
///
/// # Errors
/// [`Failure`] if the driver would have to go through the PSP instead.
pub fn mode1_is_supported(guest: &mut FakeGuest) -> Result<(), Failure> {
    const SUPPORTED_FROM: u32 = 0x003a_1a00;
    if send(guest, message::GET_SMU_VERSION, 0)? < SUPPORTED_FROM {
        return Err(Failure::Invalid("SMU firmware too old for MODE1"));
    }
    if guest.read(mp::MP0_C2PMSG_81) == 0 {
        return Err(Failure::Invalid("no secure OS: MODE1 not supported"));
    }
    Ok(())
}
