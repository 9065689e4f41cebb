//! Packet headers and bodies as bitfields. Positions: `navi10_sdma_pkt_open.h` (6.1, 7.3).

use bitfield_struct::bitfield;

/// Operation codes, `SDMA_OP_*`.
pub mod op {
    pub const NOP: u8 = 0;
    pub const COPY: u8 = 1;
    pub const WRITE: u8 = 2;
    pub const INDIRECT: u8 = 4;
    pub const FENCE: u8 = 5;
    pub const TRAP: u8 = 6;
    pub const POLL_REGMEM: u8 = 8;
    pub const COND_EXE: u8 = 9;
    pub const ATOMIC: u8 = 10;
    pub const CONST_FILL: u8 = 11;
    pub const PTEPDE: u8 = 12;
    pub const TIMESTAMP: u8 = 13;
    pub const SRBM_WRITE: u8 = 14;
    pub const GCR_REQ: u8 = 17;
}

/// Sub-operation codes, `SDMA_SUBOP_*`.
pub mod sub_op {
    pub const LINEAR: u8 = 0;
    pub const PTEPDE_GEN: u8 = 0;
    pub const POLL_REGMEM: u8 = 0;
    pub const VM_INVALIDATION: u8 = 4;
    pub const TIMESTAMP_SET: u8 = 0;
    pub const TIMESTAMP_GET: u8 = 1;
    pub const TIMESTAMP_GET_GLOBAL: u8 = 2;
}

/// What every header begins with.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Header {
    /// Operation.
    pub op: u8,
    /// Sub-operation.
    pub sub_op: u8,
    /// Whatever the operation makes of it.
    pub rest: u16,
}

/// NOP.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct NopHeader {
    pub op: u8,
    pub sub_op: u8,
    /// Dwords that follow.
    #[bits(14)]
    pub count: u16,
    #[bits(2)]
    __: u8,
}

/// COPY_LINEAR.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CopyLinearHeader {
    pub op: u8,
    pub sub_op: u8,
    pub encrypt: bool,
    __: bool,
    pub tmz: bool,
    #[bits(6)]
    __: u8,
    pub backwards: bool,
    __: bool,
    /// Two destinations: another layout, not modelled.
    pub broadcast: bool,
    #[bits(4)]
    __: u8,
}

/// The byte count of COPY_LINEAR and CONST_FILL, minus one. The header file shows 22 bits, those of the first parts that had the packet;
/// `sdma_v5_2_buffer_funcs` uses 30.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ByteCount {
    #[bits(30)]
    pub minus_one: u32,
    #[bits(2)]
    __: u8,
}

/// The dword count of WRITE_LINEAR, minus one.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct WriteCount {
    #[bits(20)]
    pub minus_one: u32,
    #[bits(12)]
    __: u16,
}

/// INDIRECT.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct IndirectHeader {
    pub op: u8,
    pub sub_op: u8,
    #[bits(4)]
    pub vmid: u8,
    #[bits(11)]
    __: u16,
    pub privileged: bool,
}

/// IB_SIZE of INDIRECT.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct IbSize {
    #[bits(20)]
    pub dwords: u32,
    #[bits(12)]
    __: u16,
}

/// INT_CONTEXT of TRAP.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct IntContext {
    #[bits(28)]
    pub context: u32,
    #[bits(4)]
    __: u8,
}

/// POLL_REGMEM.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct PollHeader {
    pub op: u8,
    pub sub_op: u8,
    #[bits(10)]
    __: u16,
    pub hdp_flush: bool,
    __: bool,
    #[bits(3)]
    pub function: u8,
    pub memory: bool,
}

/// The last dword of POLL_REGMEM.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct PollPace {
    pub interval: u16,
    #[bits(12)]
    pub retry_count: u16,
    #[bits(4)]
    __: u8,
}

impl PollPace {
    /// The RETRY_COUNT that means forever.
    pub const FOREVER: u16 = 0xfff;
}

/// VM_INVALIDATION.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct VmInvalidationHeader {
    pub op: u8,
    pub sub_op: u8,
    #[bits(5)]
    pub gfx_engine: u8,
    #[bits(3)]
    __: u8,
    #[bits(5)]
    pub mm_engine: u8,
    #[bits(3)]
    __: u8,
}

/// The last dword of VM_INVALIDATION.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct InvalidateAck {
    pub ack: u16,
    #[bits(5)]
    pub address_range_hi: u8,
    #[bits(11)]
    __: u16,
}

/// The skip count of COND_EXE.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ExecCount {
    #[bits(14)]
    pub dwords: u16,
    #[bits(18)]
    __: u32,
}

/// ATOMIC. The operation is a `TC_OP_*` number.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct AtomicHeader {
    pub op: u8,
    pub sub_op: u8,
    pub repeat: bool,
    #[bits(8)]
    __: u8,
    /// Number without width and return flag.
    #[bits(5)]
    pub operation: u8,
    /// 64 bits.
    pub qword: bool,
    /// The old value is not asked for.
    pub no_return: bool,
}

/// LOOP_INTERVAL of ATOMIC.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct LoopInterval {
    #[bits(13)]
    pub interval: u16,
    #[bits(19)]
    __: u32,
}

/// The entry count of PTEPDE, minus one.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct EntryCount {
    #[bits(19)]
    pub minus_one: u32,
    #[bits(13)]
    __: u16,
}

/// SRBM_WRITE.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct SrbmWriteHeader {
    pub op: u8,
    pub sub_op: u8,
    #[bits(12)]
    __: u16,
    #[bits(4)]
    pub byte_enable: u8,
}

impl SrbmWriteHeader {
    /// The bits that the enabled bytes make up.
    pub const fn lanes(self) -> u32 {
        let mut lanes = [0_u8; 4];
        let enable = self.byte_enable();
        if enable & 1 != 0 {
            lanes[0] = 0xff;
        }
        if enable & 2 != 0 {
            lanes[1] = 0xff;
        }
        if enable & 4 != 0 {
            lanes[2] = 0xff;
        }
        if enable & 8 != 0 {
            lanes[3] = 0xff;
        }
        u32::from_le_bytes(lanes)
    }
}

/// ADDR of SRBM_WRITE.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct SrbmAddress {
    /// Dword index of the register.
    #[bits(18)]
    pub dword: u32,
    #[bits(2)]
    __: u8,
    /// Not looked at: no driver sets it.
    #[bits(12)]
    pub aperture: u16,
}
