//! The registers of one SDMA instance as data.
//!
//! Names, offsets, masks and reset values are those of `gc_10_1_0_{offset,sh_mask,default}.h` (SDMA 5.0) and
//! `gc_10_3_0_{offset,sh_mask,default}.h` (SDMA 5.2); `dw` counts dwords from the instance's base as those headers do. Rows exist for
//! every register that `sdma_v5_0.c` and `sdma_v5_2.c` touch or dump in Linux 6.1, 6.12 and 7.3, and that `amdgpu_amdkfd_gfx_v10.c` and
//! `amdgpu_amdkfd_gfx_v10_3.c` touch for user queues. Offsets and fields with behaviour are the same in both generations.

use mmio::{RegOffset, RegSpec, merged};

/// The registers of one generation of the engine.
#[derive(Debug, PartialEq, Eq)]
pub struct Generation {
    /// The public registers and those of the kernel queue.
    pub(crate) main: &'static [RegSpec],
    /// The page queue.
    pub(crate) page: &'static [RegSpec],
    /// User queues.
    pub(crate) rlc: &'static [RegSpec],
    /// The hypervisor's registers.
    pub(crate) hypervisor: &'static [RegSpec],
}

/// SDMA 5.0: GC 10.1.
pub static SDMA_5_0: Generation = Generation {
    main: MAIN_5_0,
    page: PAGE_5_0,
    rlc: RLC_5_0,
    hypervisor: HYP,
};

/// SDMA 5.2: GC 10.3.
pub static SDMA_5_2: Generation = Generation {
    main: MAIN_5_2,
    page: PAGE_5_2,
    rlc: RLC_5_2,
    hypervisor: HYP,
};

const fn dw(dword: u32) -> RegOffset {
    RegOffset::from_dword(dword)
}

/// Offsets relative to the instance's base.
pub mod offset {
    use mmio::RegOffset;

    use super::dw;

    /// TRAP_ENABLE and switches without effect here.
    pub const CNTL: RegOffset = dw(0x1c);
    /// HALT and RESET of the microcontroller.
    pub const F32_CNTL: RegOffset = dw(0x2a);
    /// FREEZE and FROZEN.
    pub const FREEZE: RegOffset = dw(0x2b);
    /// Busy bits.
    pub const STATUS_REG: RegOffset = dw(0x25);
    /// Busy bits of the copy engine.
    pub const STATUS1_REG: RegOffset = dw(0x26);
    /// The latest packet's operation.
    pub const STATUS2_REG: RegOffset = dw(0x38);
    /// The latest packet's context.
    pub const STATUS3_REG: RegOffset = dw(0x4c);
    /// Read pointer, high dword, as the fetcher sees it.
    pub const RB_RPTR_FETCH_HI: RegOffset = dw(0x20);
    /// Read pointer, low dword, as the fetcher sees it.
    pub const RB_RPTR_FETCH: RegOffset = dw(0x22);
    /// Position in the indirect buffer as the fetcher sees it.
    pub const IB_OFFSET_FETCH: RegOffset = dw(0x23);
    /// Enable, size, context and write-back of the ring.
    pub const GFX_RB_CNTL: RegOffset = dw(0x80);
    /// Ring address >> 8, low dword.
    pub const GFX_RB_BASE: RegOffset = dw(0x81);
    /// Ring address >> 40.
    pub const GFX_RB_BASE_HI: RegOffset = dw(0x82);
    /// Read pointer in bytes, low dword.
    pub const GFX_RB_RPTR: RegOffset = dw(0x83);
    /// Read pointer, high dword.
    pub const GFX_RB_RPTR_HI: RegOffset = dw(0x84);
    /// Write pointer in bytes, low dword.
    pub const GFX_RB_WPTR: RegOffset = dw(0x85);
    /// Write pointer, high dword.
    pub const GFX_RB_WPTR_HI: RegOffset = dw(0x86);
    /// Polling of the write pointer's shadow.
    pub const GFX_RB_WPTR_POLL_CNTL: RegOffset = dw(0x87);
    /// Where the read pointer is written to, high dword.
    pub const GFX_RB_RPTR_ADDR_HI: RegOffset = dw(0x88);
    /// Where the read pointer is written to, low dword.
    pub const GFX_RB_RPTR_ADDR_LO: RegOffset = dw(0x89);
    /// IB_ENABLE.
    pub const GFX_IB_CNTL: RegOffset = dw(0x8a);
    /// Position in the indirect buffer.
    pub const GFX_IB_RPTR: RegOffset = dw(0x8b);
    /// Position in the indirect buffer.
    pub const GFX_IB_OFFSET: RegOffset = dw(0x8c);
    /// Address of the indirect buffer, low dword.
    pub const GFX_IB_BASE_LO: RegOffset = dw(0x8d);
    /// Address of the indirect buffer, high dword.
    pub const GFX_IB_BASE_HI: RegOffset = dw(0x8e);
    /// Size of the indirect buffer in dwords.
    pub const GFX_IB_SIZE: RegOffset = dw(0x8f);
    /// Busy and exception bits of the queue.
    pub const GFX_CONTEXT_STATUS: RegOffset = dw(0x91);
    /// Enable of the doorbell.
    pub const GFX_DOORBELL: RegOffset = dw(0x92);
    /// Index of the doorbell.
    pub const GFX_DOORBELL_OFFSET: RegOffset = dw(0xab);
    /// Dwords left in the indirect buffer.
    pub const GFX_IB_SUB_REMAIN: RegOffset = dw(0xaf);
    /// The write pointer's shadow in memory, high dword.
    pub const GFX_RB_WPTR_POLL_ADDR_HI: RegOffset = dw(0xb2);
    /// The write pointer's shadow in memory, low dword.
    pub const GFX_RB_WPTR_POLL_ADDR_LO: RegOffset = dw(0xb3);

    /// Relative to the instance's base for hypervisor registers: where UCODE_DATA goes.
    pub const UCODE_ADDR: RegOffset = dw(0x0);
    /// Relative to the instance's base for hypervisor registers: microcode upload.
    pub const UCODE_DATA: RegOffset = dw(0x1);
}

/// STATUS_REG at rest: everything idle, ring empty.
pub(crate) const STATUS_IDLE: u32 = 0x46de_e557;
/// STATUS1_REG at rest; `sdma_v5_2_stop_queue` (7.3) tests the low ten bits.
pub(crate) const STATUS1_IDLE: u32 = 0x0000_03ff;
/// STATUS3_REG at rest.
pub(crate) const STATUS3_IDLE: u32 = 0x03f0_0000;
/// GFX_CONTEXT_STATUS at rest: SELECTED and IDLE.
pub(crate) const CONTEXT_IDLE: u32 = 0x0000_0005;

/// The engine's public registers and those of its kernel queue, as far as the generations have them in common.
const MAIN: &[RegSpec] = &[
    RegSpec::stored("POWER_CNTL", dw(0x1a)).reset(0x4000_0050),
    RegSpec::stored("CLK_CTRL", dw(0x1b)).reset(0x0000_0100),
    RegSpec::modelled("CNTL", offset::CNTL).reset(0x0000_00c2),
    RegSpec::modelled("RB_RPTR_FETCH_HI", offset::RB_RPTR_FETCH_HI).write_mask(0),
    RegSpec::stored("SEM_WAIT_FAIL_TIMER_CNTL", dw(0x21)),
    RegSpec::modelled("RB_RPTR_FETCH", offset::RB_RPTR_FETCH).write_mask(0),
    RegSpec::modelled("IB_OFFSET_FETCH", offset::IB_OFFSET_FETCH).write_mask(0),
    RegSpec::modelled("STATUS_REG", offset::STATUS_REG)
        .reset(STATUS_IDLE)
        .write_mask(0),
    RegSpec::modelled("STATUS1_REG", offset::STATUS1_REG)
        .reset(STATUS1_IDLE)
        .write_mask(0),
    RegSpec::stored("RD_BURST_CNTL", dw(0x27)).reset(0x0000_0002),
    RegSpec::constant("UCODE_CHECKSUM", dw(0x29), 0),
    RegSpec::modelled("F32_CNTL", offset::F32_CNTL)
        .reset(0x0000_0001)
        .write_mask(0x0000_0303),
    RegSpec::modelled("FREEZE", offset::FREEZE).write_mask(0x0000_0053),
    RegSpec::stored("PHASE0_QUANTUM", dw(0x2c))
        .reset(0x0001_0002)
        .write_mask(0x40ff_ff0f),
    RegSpec::stored("PHASE1_QUANTUM", dw(0x2d))
        .reset(0x0001_0002)
        .write_mask(0x40ff_ff0f),
    RegSpec::constant("ID", dw(0x34), 0x0000_0001),
    RegSpec::constant("VERSION", dw(0x35), 0x0000_0500),
    RegSpec::modelled("STATUS2_REG", offset::STATUS2_REG).write_mask(0),
    RegSpec::stored("ATOMIC_CNTL", dw(0x39)).reset(0x0000_0200),
    RegSpec::stored("UTCL1_CNTL", dw(0x3c)).reset(0xd000_0191),
    RegSpec::stored("UTCL1_WATERMK", dw(0x3d)).reset(0xfffb_d9fb),
    RegSpec::constant("UTCL1_RD_STATUS", dw(0x3e), 0x0101_1555),
    RegSpec::constant("UTCL1_WR_STATUS", dw(0x3f), 0x5101_1555),
    RegSpec::constant("UTCL1_RD_XNACK0", dw(0x43), 0),
    RegSpec::constant("UTCL1_RD_XNACK1", dw(0x44), 0),
    RegSpec::constant("UTCL1_WR_XNACK0", dw(0x45), 0),
    RegSpec::constant("UTCL1_WR_XNACK1", dw(0x46), 0),
    RegSpec::stored("UTCL1_TIMEOUT", dw(0x47)),
    RegSpec::modelled("STATUS3_REG", offset::STATUS3_REG)
        .reset(STATUS3_IDLE)
        .write_mask(0),
    RegSpec::stored("PHASE2_QUANTUM", dw(0x4f))
        .reset(0x0001_0002)
        .write_mask(0x40ff_ff0f),
    RegSpec::constant("INT_STATUS", dw(0x70), 0),
    // RPTR_WB_IDLE (bit 31) reads as 1: a write-back is over before a register can be read.
    RegSpec::modelled("GFX_RB_CNTL", offset::GFX_RB_CNTL)
        .reset(0x8084_0000)
        .write_mask(0x0f9f_323f),
    RegSpec::modelled("GFX_RB_BASE", offset::GFX_RB_BASE),
    RegSpec::modelled("GFX_RB_BASE_HI", offset::GFX_RB_BASE_HI).write_mask(0x00ff_ffff),
    RegSpec::modelled("GFX_RB_RPTR", offset::GFX_RB_RPTR),
    RegSpec::modelled("GFX_RB_RPTR_HI", offset::GFX_RB_RPTR_HI),
    RegSpec::modelled("GFX_RB_WPTR", offset::GFX_RB_WPTR),
    RegSpec::modelled("GFX_RB_WPTR_HI", offset::GFX_RB_WPTR_HI),
    RegSpec::modelled("GFX_RB_RPTR_ADDR_HI", offset::GFX_RB_RPTR_ADDR_HI),
    RegSpec::modelled("GFX_RB_RPTR_ADDR_LO", offset::GFX_RB_RPTR_ADDR_LO).write_mask(0xffff_fffc),
    RegSpec::modelled("GFX_IB_CNTL", offset::GFX_IB_CNTL)
        .reset(0x0000_0100)
        .write_mask(0x000f_0111),
    RegSpec::modelled("GFX_IB_RPTR", offset::GFX_IB_RPTR).write_mask(0),
    RegSpec::modelled("GFX_IB_OFFSET", offset::GFX_IB_OFFSET).write_mask(0),
    RegSpec::modelled("GFX_IB_BASE_LO", offset::GFX_IB_BASE_LO).write_mask(0),
    RegSpec::modelled("GFX_IB_BASE_HI", offset::GFX_IB_BASE_HI).write_mask(0),
    RegSpec::modelled("GFX_IB_SIZE", offset::GFX_IB_SIZE).write_mask(0),
    RegSpec::stored("GFX_SKIP_CNTL", dw(0x90)),
    RegSpec::modelled("GFX_CONTEXT_STATUS", offset::GFX_CONTEXT_STATUS)
        .reset(CONTEXT_IDLE)
        .write_mask(0),
    // CAPTURED (bit 30) stays 0.
    RegSpec::modelled("GFX_DOORBELL", offset::GFX_DOORBELL).write_mask(0x1000_0000),
    RegSpec::stored("GFX_CONTEXT_CNTL", dw(0x93)),
    RegSpec::constant("GFX_STATUS", dw(0xa8), 0),
    RegSpec::stored("GFX_WATERMARK", dw(0xaa)),
    RegSpec::modelled("GFX_DOORBELL_OFFSET", offset::GFX_DOORBELL_OFFSET).write_mask(0x0fff_fffc),
    RegSpec::stored("GFX_CSA_ADDR_LO", dw(0xac)),
    RegSpec::stored("GFX_CSA_ADDR_HI", dw(0xad)),
    RegSpec::modelled("GFX_IB_SUB_REMAIN", offset::GFX_IB_SUB_REMAIN).write_mask(0),
    RegSpec::stored("GFX_PREEMPT", dw(0xb0)).write_mask(0x0000_0001),
    RegSpec::stored("GFX_DUMMY_REG", dw(0xb1)).reset(0x0000_000f),
    RegSpec::modelled("GFX_RB_WPTR_POLL_ADDR_HI", offset::GFX_RB_WPTR_POLL_ADDR_HI),
    RegSpec::modelled("GFX_RB_WPTR_POLL_ADDR_LO", offset::GFX_RB_WPTR_POLL_ADDR_LO).write_mask(0xffff_fffc),
    RegSpec::stored("GFX_RB_AQL_CNTL", dw(0xb4)).reset(0x0000_4000),
    // A write pointer may move down at any time here; hardware wants this bit set around it.
    RegSpec::stored("GFX_MINOR_PTR_UPDATE", dw(0xb5)).write_mask(0x0000_0001),
];

const OWN_5_0: &[RegSpec] = &[
    RegSpec::stored("CHICKEN_BITS", dw(0x1d)).reset(0x01af_0107),
    RegSpec::stored("GB_ADDR_CONFIG", dw(0x1e)).reset(0x0000_0044),
    RegSpec::stored("GB_ADDR_CONFIG_READ", dw(0x1f)).reset(0x0000_0044),
    RegSpec::stored("UTCL1_PAGE", dw(0x48)).reset(0x000c_5c20),
    RegSpec::stored("CHICKEN_BITS_2", dw(0x4b)).reset(0x0000_0005),
    RegSpec::modelled("GFX_RB_WPTR_POLL_CNTL", offset::GFX_RB_WPTR_POLL_CNTL).reset(0x0040_1000),
    RegSpec::stored("GFX_MIDCMD_DATA{}", dw(0xc0)).array(9, 4),
    RegSpec::stored("GFX_MIDCMD_CNTL", dw(0xc9)),
];

const OWN_5_2: &[RegSpec] = &[
    RegSpec::stored("GLOBAL_TIMESTAMP_LO", dw(0x0f)),
    RegSpec::stored("GLOBAL_TIMESTAMP_HI", dw(0x10)),
    RegSpec::stored("CHICKEN_BITS", dw(0x1d)).reset(0x03ef_0107),
    RegSpec::stored("GB_ADDR_CONFIG", dw(0x1e)).reset(0x0000_0444),
    RegSpec::stored("GB_ADDR_CONFIG_READ", dw(0x1f)).reset(0x0000_0444),
    RegSpec::stored("UTCL1_PAGE", dw(0x48)).reset(0x010c_ec00),
    RegSpec::stored("CHICKEN_BITS_2", dw(0x4b)).reset(0x0010_0007),
    RegSpec::modelled("GFX_RB_WPTR_POLL_CNTL", offset::GFX_RB_WPTR_POLL_CNTL).reset(0x0040_3000),
    RegSpec::stored("GFX_DOORBELL_LOG", dw(0xa9)),
    RegSpec::stored("GFX_MIDCMD_DATA{}", dw(0xc0)).array(11, 4),
    RegSpec::stored("GFX_MIDCMD_CNTL", dw(0xcb)),
];

merged! {
    static MAIN_5_0 = MAIN, OWN_5_0;
}

merged! {
    static MAIN_5_2 = MAIN, OWN_5_2;
}

/// A queue whose registers are only kept. It never runs, so it is idle at all times, which is what `hqd_sdma_load_v10_3` and
/// `hqd_sdma_destroy_v10_3` wait for.
macro_rules! stored_queue {
    ($prefix:literal, $base:expr, $count:expr, $stride:expr, $poll:expr, [$($own:literal $at:expr),*]) => {
        &[
            stored_queue!(@ $prefix, "RB_CNTL", $base, 0x00, $count, $stride).reset(0x8084_0000),
            stored_queue!(@ $prefix, "RB_BASE", $base, 0x01, $count, $stride),
            stored_queue!(@ $prefix, "RB_BASE_HI", $base, 0x02, $count, $stride),
            stored_queue!(@ $prefix, "RB_RPTR", $base, 0x03, $count, $stride),
            stored_queue!(@ $prefix, "RB_RPTR_HI", $base, 0x04, $count, $stride),
            stored_queue!(@ $prefix, "RB_WPTR", $base, 0x05, $count, $stride),
            stored_queue!(@ $prefix, "RB_WPTR_HI", $base, 0x06, $count, $stride),
            stored_queue!(@ $prefix, "RB_WPTR_POLL_CNTL", $base, 0x07, $count, $stride).reset($poll),
            stored_queue!(@ $prefix, "RB_RPTR_ADDR_HI", $base, 0x08, $count, $stride),
            stored_queue!(@ $prefix, "RB_RPTR_ADDR_LO", $base, 0x09, $count, $stride),
            stored_queue!(@ $prefix, "IB_CNTL", $base, 0x0a, $count, $stride).reset(0x0000_0100),
            stored_queue!(@ $prefix, "IB_RPTR", $base, 0x0b, $count, $stride),
            stored_queue!(@ $prefix, "IB_OFFSET", $base, 0x0c, $count, $stride),
            stored_queue!(@ $prefix, "IB_BASE_LO", $base, 0x0d, $count, $stride),
            stored_queue!(@ $prefix, "IB_BASE_HI", $base, 0x0e, $count, $stride),
            stored_queue!(@ $prefix, "IB_SIZE", $base, 0x0f, $count, $stride),
            stored_queue!(@ $prefix, "SKIP_CNTL", $base, 0x10, $count, $stride),
            stored_queue!(@ $prefix, "CONTEXT_STATUS", $base, 0x11, $count, $stride).reset(0x0000_0004).write_mask(0),
            stored_queue!(@ $prefix, "DOORBELL", $base, 0x12, $count, $stride),
            stored_queue!(@ $prefix, "STATUS", $base, 0x28, $count, $stride).write_mask(0),
            stored_queue!(@ $prefix, "WATERMARK", $base, 0x2a, $count, $stride),
            stored_queue!(@ $prefix, "DOORBELL_OFFSET", $base, 0x2b, $count, $stride),
            stored_queue!(@ $prefix, "CSA_ADDR_LO", $base, 0x2c, $count, $stride),
            stored_queue!(@ $prefix, "CSA_ADDR_HI", $base, 0x2d, $count, $stride),
            stored_queue!(@ $prefix, "IB_SUB_REMAIN", $base, 0x2f, $count, $stride),
            stored_queue!(@ $prefix, "PREEMPT", $base, 0x30, $count, $stride),
            stored_queue!(@ $prefix, "DUMMY_REG", $base, 0x31, $count, $stride).reset(0x0000_000f),
            stored_queue!(@ $prefix, "RB_WPTR_POLL_ADDR_HI", $base, 0x32, $count, $stride),
            stored_queue!(@ $prefix, "RB_WPTR_POLL_ADDR_LO", $base, 0x33, $count, $stride),
            stored_queue!(@ $prefix, "RB_AQL_CNTL", $base, 0x34, $count, $stride).reset(0x0000_4000),
            stored_queue!(@ $prefix, "MINOR_PTR_UPDATE", $base, 0x35, $count, $stride),
            stored_queue!(@ $prefix, "MIDCMD_DATA0", $base, 0x40, $count, $stride),
            stored_queue!(@ $prefix, "MIDCMD_DATA1", $base, 0x41, $count, $stride),
            stored_queue!(@ $prefix, "MIDCMD_DATA2", $base, 0x42, $count, $stride),
            stored_queue!(@ $prefix, "MIDCMD_DATA3", $base, 0x43, $count, $stride),
            stored_queue!(@ $prefix, "MIDCMD_DATA4", $base, 0x44, $count, $stride),
            stored_queue!(@ $prefix, "MIDCMD_DATA5", $base, 0x45, $count, $stride),
            stored_queue!(@ $prefix, "MIDCMD_DATA6", $base, 0x46, $count, $stride),
            stored_queue!(@ $prefix, "MIDCMD_DATA7", $base, 0x47, $count, $stride),
            stored_queue!(@ $prefix, "MIDCMD_DATA8", $base, 0x48, $count, $stride),
            $(stored_queue!(@ $prefix, $own, $base, $at, $count, $stride),)*
        ]
    };
    (@ $prefix:literal, $name:literal, $base:expr, $at:expr, $count:expr, $stride:expr) => {
        RegSpec::stored(concat!($prefix, $name), dw($base + $at)).array($count, $stride * 4)
    };
}

/// The page queue: no driver of these generations uses it; 6.12 and 7.3 dump it.
static PAGE_5_0: &[RegSpec] = stored_queue!("PAGE_", 0xe0, 1, 1, 0x0040_1000, ["MIDCMD_CNTL" 0x49]);

/// The page queue.
static PAGE_5_2: &[RegSpec] = stored_queue!(
    "PAGE_", 0xd8, 1, 1, 0x0040_3000,
    ["DOORBELL_LOG" 0x29, "MIDCMD_DATA9" 0x49, "MIDCMD_DATA10" 0x4a, "MIDCMD_CNTL" 0x4b]
);

/// The eight user queues that KFD loads, 0x60 dwords apart.
static RLC_5_0: &[RegSpec] = stored_queue!("RLC{}_", 0x140, 8, 0x60, 0x0040_1000, ["MIDCMD_CNTL" 0x49]);

/// The eight user queues that KFD loads, 0x58 dwords apart.
static RLC_5_2: &[RegSpec] = stored_queue!(
    "RLC{}_", 0x130, 8, 0x58, 0x0040_3000,
    ["DOORBELL_LOG" 0x29, "MIDCMD_DATA9" 0x49, "MIDCMD_DATA10" 0x4a, "MIDCMD_CNTL" 0x4b]
);

/// The hypervisor's registers of one instance, relative to SDMA0_UCODE_ADDR (plus 0x20 dwords per instance).
static HYP: &[RegSpec] = &[
    RegSpec::modelled("UCODE_ADDR", offset::UCODE_ADDR).write_mask(0x0000_3fff),
    RegSpec::modelled("UCODE_DATA", offset::UCODE_DATA),
    RegSpec::stored("VM_CTX_LO", dw(0x2)),
    RegSpec::stored("VM_CTX_HI", dw(0x3)),
    RegSpec::stored("ACTIVE_FCN_ID", dw(0x4)),
    RegSpec::stored("VM_CTX_CNTL", dw(0x5)).reset(0x0000_0001),
    RegSpec::stored("VM_CNTL", dw(0x13)),
];
