//! What a GC 10 part looks like: register tables, the registers with behaviour, field masks. No behaviour here.

pub mod fields;
pub mod gc10;
pub mod navi12;
pub mod navi21;
pub mod windows;

use mmio::{RegOffset, RegSpec};

/// A register of which the model does more than keep the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// RLC_RLCS_BOOTLOAD_STATUS.
    BootloadStatus,
    /// RLC_CAPTURE_GPU_CLOCK_COUNT: latches the clock.
    CaptureClock,
    /// RLC_GPU_CLOCK_COUNT_LSB, latched.
    ClockLow,
    /// RLC_GPU_CLOCK_COUNT_MSB, latched.
    ClockHigh,
    /// CPC_INT_CNTL: the interrupt enables of the selected MEC pipe.
    CpcIntCntl,
    /// CPC_INT_STATUS: bit 29 raises the KIQ's interrupt.
    CpcIntStatus,
    /// CP_INT_CNTL_RINGn, graphics pipe n.
    GfxIntCntl(u8),
    /// CP_MEn_PIPEm_INT_CNTL.
    MecIntCntl {
        /// 1 or 2.
        me: u8,
        /// 0..=3.
        pipe: u8,
    },
    /// CP_ME_CNTL: halts the graphics micro engines.
    MeCntl,
    /// CP_MEC_CNTL: halts the compute micro engines.
    MecCntl,
    /// RLC_CP_SCHEDULERS: which queues are KIQ and HIQ.
    CpSchedulers,
    /// GRBM_GFX_CNTL: selects the bank of the banked registers.
    GfxCntl,
    /// RLC_CNTL.
    RlcCntl,
    /// RLC_SAFE_MODE.
    SafeMode,
    /// SCRATCH_REG0, data of the RLCG access.
    RlcgData,
    /// SCRATCH_REG1, address and command of the RLCG access.
    RlcgCommand,
    /// SCRATCH_REG2, what GRBM_GFX_CNTL is to select for it.
    RlcgSelection,
    /// RLC_SPARE_INT_0 or, on GC 10.1, RLC_SPARE_INT: trigger of the RLCG access.
    RlcgTrigger,
    /// GRBM_STATUS: busy while a queue hangs.
    GrbmStatus,
    /// GRBM_SOFT_RESET.
    SoftReset,
    /// SPI_COMPUTE_QUEUE_RESET.
    ComputeQueueReset,
    /// CP_VMID_RESET: resets graphics queues.
    VmidReset,
    /// CP_PQ_WPTR_POLL_CNTL.
    WptrPollCntl,
    /// CP_PQ_WPTR_POLL_CNTL1: polls the write pointers of a set of queues once.
    WptrPollOnce,
}

/// Where the graphics block of one ASIC has its registers.
#[derive(Debug, Clone, Copy)]
pub struct GfxLayout {
    /// Registers that exist once.
    pub global: &'static [RegSpec],
    /// Ranges that packets write.
    pub windows: &'static [RegSpec],
    /// One compute queue's registers.
    pub hqd: &'static [RegSpec],
    /// First register of the compute queue window (CP_MQD_BASE_ADDR).
    pub hqd_base: RegOffset,
    /// One graphics queue's registers.
    pub gfx_hqd: &'static [RegSpec],
    /// First register of the graphics queue window (CP_GFX_MQD_BASE_ADDR).
    pub gfx_hqd_base: RegOffset,
    /// One VMID's registers.
    pub per_vmid: &'static [RegSpec],
    /// Registers with behaviour: those that GC 10 parts have in common, and this one's.
    pub roles: [&'static [(RegOffset, Role)]; 2],
    /// GRBM CAM: an access to the first offset reaches the second.
    pub aliases: &'static [(RegOffset, RegOffset)],
}

const fn at(byte: u32) -> RegOffset {
    RegOffset::from_byte(byte)
}

impl GfxLayout {
    /// GC 10.3.0, Navi21.
    pub const NAVI21: Self = Self {
        global: navi21::GLOBAL,
        per_vmid: navi21::PER_VMID,
        roles: [ROLES, NAVI21_ROLES],
        aliases: NAVI21_ALIASES,
        ..Self::GC10
    };

    /// GC 10.1.2, Navi12.
    pub const NAVI12: Self = Self {
        global: navi12::GLOBAL,
        per_vmid: navi12::PER_VMID,
        roles: [ROLES, NAVI12_ROLES],
        aliases: NAVI12_ALIASES,
        ..Self::GC10
    };

    /// What they have in common.
    const GC10: Self = Self {
        global: gc10::GLOBAL,
        windows: windows::WINDOWS,
        hqd: gc10::HQD,
        hqd_base: at(0xc824),
        gfx_hqd: gc10::GFX_HQD,
        gfx_hqd_base: at(0xc378),
        per_vmid: gc10::PER_VMID,
        roles: [ROLES, &[]],
        aliases: &[],
    };

    /// Every register with behaviour.
    pub fn roles(&self) -> impl Iterator<Item = (RegOffset, Role)> {
        self.roles.into_iter().flatten().copied()
    }

    /// Offset of a register with behaviour; `None` if this ASIC has none.
    pub fn offset(&self, role: Role) -> Option<RegOffset> {
        self.roles()
            .find(|(_, other)| *other == role)
            .map(|(offset, _)| offset)
    }
}

const fn mec(me: u8, pipe: u8) -> Role {
    Role::MecIntCntl { me, pipe }
}

static ROLES: &[(RegOffset, Role)] = &[
    (at(0x8010), Role::GrbmStatus),
    (at(0x8020), Role::SoftReset),
    (at(0x8088), Role::GfxCntl),
    (at(0x86d8), Role::MeCntl),
    (at(0xc1a8), Role::GfxIntCntl(0)),
    (at(0xc1ac), Role::GfxIntCntl(1)),
    (at(0xc20c), Role::WptrPollCntl),
    (at(0xc210), Role::WptrPollOnce),
    (at(0xc214), mec(1, 0)),
    (at(0xc218), mec(1, 1)),
    (at(0xc21c), mec(1, 2)),
    (at(0xc220), mec(1, 3)),
    (at(0xc224), mec(2, 0)),
    (at(0xc228), mec(2, 1)),
    (at(0xc22c), mec(2, 2)),
    (at(0xc230), mec(2, 3)),
    (at(0xc2cc), Role::VmidReset),
    (at(0xc2d0), Role::CpcIntCntl),
    (at(0xc2d4), Role::CpcIntStatus),
    (at(0xc76c), Role::ComputeQueueReset),
    (at(0x30100), Role::RlcgData),
    (at(0x30104), Role::RlcgCommand),
    (at(0x30108), Role::RlcgSelection),
    (at(0x3b000), Role::RlcCntl),
    (at(0x3b090), Role::ClockLow),
    (at(0x3b094), Role::ClockHigh),
    (at(0x3b098), Role::CaptureClock),
    (at(0x3ba34), Role::BootloadStatus),
];

static NAVI21_ROLES: &[(RegOffset, Role)] = &[
    (at(0x86d4), Role::MecCntl),
    (at(0x3b280), Role::SafeMode),
    (at(0x3b284), Role::CpSchedulers),
    (at(0x3b294), Role::RlcgTrigger),
];

static NAVI12_ROLES: &[(RegOffset, Role)] = &[
    (at(0x8234), Role::MecCntl),
    (at(0x3b014), Role::SafeMode),
    (at(0x3b2a8), Role::CpSchedulers),
    (at(0x3b330), Role::RlcgTrigger),
];

/// The `_UMD` offsets that user space's packets use (`gfx_v10_0_setup_grbm_cam_remapping`).
static NAVI21_ALIASES: &[(RegOffset, RegOffset)] = &[
    (at(0x30900), at(0x8884)),
    (at(0x30904), at(0x8888)),
    (at(0x30938), at(0x888c)),
    (at(0x3093c), at(0x8890)),
    (at(0x30940), at(0x8894)),
    (at(0x30984), at(0x8898)),
];

/// The same on GC 10.1.
static NAVI12_ALIASES: &[(RegOffset, RegOffset)] = &[
    (at(0x30900), at(0x88c8)),
    (at(0x30904), at(0x88cc)),
    (at(0x30938), at(0x8988)),
    (at(0x3093c), at(0x89b0)),
    (at(0x30940), at(0x89b8)),
    (at(0x30984), at(0x89e0)),
];
