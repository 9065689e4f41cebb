//! Register fields that the engine or the register block looks at. Names and positions: `gc_10_3_0_sh_mask.h`.

use bitfield_struct::bitfield;

/// CNTL.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cntl {
    /// TRAP packets raise interrupts.
    pub trap_enable: bool,
    #[bits(31)]
    __: u32,
}

/// F32_CNTL.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct F32Cntl {
    /// The engine's microcontroller stands still.
    pub halt: bool,
    #[bits(8)]
    __: u8,
    /// The microcontroller is held in reset.
    pub reset: bool,
    #[bits(22)]
    __: u32,
}

/// FREEZE.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Freeze {
    #[bits(4)]
    __: u8,
    /// The driver asks the engine to stop where it is.
    pub freeze: bool,
    /// The engine has stopped.
    pub frozen: bool,
    #[bits(26)]
    __: u32,
}

/// GFX_RB_CNTL.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct RbCntl {
    /// The ring is read.
    pub rb_enable: bool,
    /// Base-2 logarithm of the ring's size in dwords.
    #[bits(5)]
    pub rb_size: u8,
    #[bits(6)]
    __: u8,
    /// The read pointer is written to RPTR_ADDR.
    pub rptr_writeback_enable: bool,
    #[bits(11)]
    __: u16,
    /// Context of the ring's own addresses.
    #[bits(4)]
    pub rb_vmid: u8,
    #[bits(4)]
    __: u8,
}

/// GFX_RB_WPTR_POLL_CNTL.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct RbWptrPollCntl {
    /// Hardware polling; no driver uses it.
    pub enable: bool,
    __: bool,
    /// The microcontroller polls the write pointer's shadow in memory.
    pub f32_poll_enable: bool,
    __: bool,
    /// Time between polls.
    #[bits(12)]
    pub frequency: u16,
    #[bits(16)]
    __: u16,
}

/// GFX_IB_CNTL.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct IbCntl {
    /// INDIRECT packets are executed.
    pub ib_enable: bool,
    #[bits(31)]
    __: u32,
}

/// GFX_DOORBELL.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Doorbell {
    #[bits(28)]
    __: u32,
    /// The doorbell moves the write pointer.
    pub enable: bool,
    #[bits(3)]
    __: u8,
}

/// GFX_DOORBELL_OFFSET.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct DoorbellOffset {
    #[bits(2)]
    __: u8,
    /// Index of the doorbell, in dwords.
    #[bits(26)]
    pub offset: u32,
    #[bits(4)]
    __: u8,
}

/// STATUS_REG; the bits that change. The others keep their reset values.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct StatusReg {
    /// Nothing to do anywhere in the engine.
    pub idle: bool,
    __: bool,
    /// The ring holds no unread packet.
    pub rb_empty: bool,
    __: bool,
    /// No packet of the ring is being executed.
    pub rb_cmd_idle: bool,
    __: bool,
    /// No packet of an indirect buffer is being executed.
    pub ib_cmd_idle: bool,
    #[bits(2)]
    __: u8,
    /// Packets come from an indirect buffer.
    pub inside_ib: bool,
    /// No packet is being executed.
    pub ex_idle: bool,
    __: bool,
    /// A packet waits to be executed.
    pub packet_ready: bool,
    #[bits(19)]
    __: u32,
}

/// STATUS1_REG; the bits that change.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Status1Reg {
    /// The copy engine has no write request outstanding.
    pub ce_wreq_idle: bool,
    /// The copy engine writes nothing.
    pub ce_wr_idle: bool,
    #[bits(7)]
    __: u8,
    /// The copy engine has no command.
    pub ce_cmd_idle: bool,
    #[bits(22)]
    __: u32,
}

/// STATUS2_REG.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Status2Reg {
    #[bits(16)]
    __: u16,
    /// Operation and sub-operation of the latest packet.
    #[bits(16)]
    pub cmd_op: u16,
}

/// STATUS3_REG; the bits that change.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Status3Reg {
    #[bits(16)]
    __: u16,
    /// Context of the latest packet.
    #[bits(4)]
    pub prev_vm_cmd: u8,
    /// No packet has stopped the engine.
    pub exception_idle: bool,
    #[bits(11)]
    __: u16,
}

/// GFX_CONTEXT_STATUS; the bits that change.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ContextStatus {
    /// The queue is the one being executed.
    pub selected: bool,
    __: bool,
    /// The queue has nothing to do.
    pub idle: bool,
    __: bool,
    /// Why the queue stopped; 0 if it did not.
    #[bits(3)]
    pub exception: u8,
    #[bits(25)]
    __: u32,
}
