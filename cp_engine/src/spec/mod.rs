//! What graphics of one version looks like: its register tables (of `regs`), which of them have behaviour, field masks. No behaviour here.

pub mod fields;

use std::collections::HashMap;

use mmio::{RegOffset, RegSpec, RegisterFile};
use regs::gc::{v10, v10_1, v10_3, v10_windows};

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

/// The registers of one version of graphics.
#[derive(Debug, Clone, Copy)]
pub struct GfxLayout {
    /// Registers that exist once.
    pub global: &'static [RegSpec],
    /// Ranges that packets write.
    pub windows: &'static [RegSpec],
    /// One compute queue's registers, from the first of its window (CP_MQD_BASE_ADDR) on.
    pub hqd: &'static [RegSpec],
    /// One graphics queue's registers, from the first of its window (CP_GFX_MQD_BASE_ADDR) on.
    pub gfx_hqd: &'static [RegSpec],
    /// One VMID's registers.
    pub per_vmid: &'static [RegSpec],
    /// The register that triggers an access of RLCG.
    pub rlcg_trigger: &'static str,
}

impl GfxLayout {
    /// GC 10.3, Navi21.
    pub const GC_10_3: Self = Self {
        global: v10_3::GLOBAL,
        windows: v10_windows::WINDOWS,
        hqd: v10::HQD,
        gfx_hqd: v10::GFX_HQD,
        per_vmid: v10_3::PER_VMID,
        rlcg_trigger: "RLC_SPARE_INT_0",
    };

    /// GC 10.1, Navi12.
    pub const GC_10_1: Self = Self {
        global: v10_1::GLOBAL,
        per_vmid: v10_1::PER_VMID,
        rlcg_trigger: "RLC_SPARE_INT",
        ..Self::GC_10_3
    };

    /// All of its tables.
    pub const fn tables(&self) -> [&'static [RegSpec]; 5] {
        [self.global, self.windows, self.hqd, self.gfx_hqd, self.per_vmid]
    }

    /// Where the registers with behaviour are on a part whose graphics has these bases (in dwords, by segment).
    pub fn place(&self, bases: &[u32]) -> Placed {
        let global = RegisterFile::placed("", bases, self.global);
        let offsets: HashMap<String, RegOffset> =
            global.registers().map(|info| (info.name, info.offset)).collect();
        let at = |name: &str| offsets.get(name).copied();
        let first = |table: &[RegSpec]| table.first()?.place(bases, 0);
        let roles = ROLES
            .iter()
            .copied()
            .chain([(self.rlcg_trigger, Role::RlcgTrigger)]);
        let aliases = ALIASES.iter();
        Placed {
            hqd_base: first(self.hqd).unwrap_or_default(),
            gfx_hqd_base: first(self.gfx_hqd).unwrap_or_default(),
            roles: roles.filter_map(|(name, role)| Some((at(name)?, role))).collect(),
            aliases: aliases
                .filter_map(|(alias, target)| Some((at(alias)?, at(target)?)))
                .collect(),
        }
    }
}

/// Where the registers with behaviour are in the register BAR.
#[derive(Debug, Clone)]
pub struct Placed {
    /// First register of the compute queue window.
    pub hqd_base: RegOffset,
    /// First register of the graphics queue window.
    pub gfx_hqd_base: RegOffset,
    /// Registers with behaviour.
    pub roles: Vec<(RegOffset, Role)>,
    /// GRBM CAM: an access to the first offset reaches the second.
    pub aliases: Vec<(RegOffset, RegOffset)>,
}

impl Placed {
    /// Offset of a register with behaviour; `None` if this version has none.
    pub fn offset(&self, role: Role) -> Option<RegOffset> {
        self.roles
            .iter()
            .find(|(_, other)| *other == role)
            .map(|(offset, _)| *offset)
    }
}

const fn mec(me: u8, pipe: u8) -> Role {
    Role::MecIntCntl { me, pipe }
}

static ROLES: &[(&str, Role)] = &[
    ("GRBM_STATUS", Role::GrbmStatus),
    ("GRBM_SOFT_RESET", Role::SoftReset),
    ("GRBM_GFX_CNTL", Role::GfxCntl),
    ("CP_ME_CNTL", Role::MeCntl),
    ("CP_MEC_CNTL", Role::MecCntl),
    ("CP_INT_CNTL_RING0", Role::GfxIntCntl(0)),
    ("CP_INT_CNTL_RING1", Role::GfxIntCntl(1)),
    ("CP_PQ_WPTR_POLL_CNTL", Role::WptrPollCntl),
    ("CP_PQ_WPTR_POLL_CNTL1", Role::WptrPollOnce),
    ("CP_ME1_PIPE0_INT_CNTL", mec(1, 0)),
    ("CP_ME1_PIPE1_INT_CNTL", mec(1, 1)),
    ("CP_ME1_PIPE2_INT_CNTL", mec(1, 2)),
    ("CP_ME1_PIPE3_INT_CNTL", mec(1, 3)),
    ("CP_ME2_PIPE0_INT_CNTL", mec(2, 0)),
    ("CP_ME2_PIPE1_INT_CNTL", mec(2, 1)),
    ("CP_ME2_PIPE2_INT_CNTL", mec(2, 2)),
    ("CP_ME2_PIPE3_INT_CNTL", mec(2, 3)),
    ("CP_VMID_RESET", Role::VmidReset),
    ("CPC_INT_CNTL", Role::CpcIntCntl),
    ("CPC_INT_STATUS", Role::CpcIntStatus),
    ("SPI_COMPUTE_QUEUE_RESET", Role::ComputeQueueReset),
    ("SCRATCH_REG0", Role::RlcgData),
    ("SCRATCH_REG1", Role::RlcgCommand),
    ("SCRATCH_REG2", Role::RlcgSelection),
    ("RLC_CNTL", Role::RlcCntl),
    ("RLC_SAFE_MODE", Role::SafeMode),
    ("RLC_CP_SCHEDULERS", Role::CpSchedulers),
    ("RLC_GPU_CLOCK_COUNT_LSB", Role::ClockLow),
    ("RLC_GPU_CLOCK_COUNT_MSB", Role::ClockHigh),
    ("RLC_CAPTURE_GPU_CLOCK_COUNT", Role::CaptureClock),
    ("RLC_RLCS_BOOTLOAD_STATUS", Role::BootloadStatus),
];

/// The `_UMD` offsets that user space's packets use (`gfx_v10_0_setup_grbm_cam_remapping`).
static ALIASES: &[(&str, &str)] = &[
    ("VGT_ESGS_RING_SIZE_UMD", "VGT_ESGS_RING_SIZE"),
    ("VGT_GSVS_RING_SIZE_UMD", "VGT_GSVS_RING_SIZE"),
    ("VGT_TF_RING_SIZE_UMD", "VGT_TF_RING_SIZE"),
    ("VGT_HS_OFFCHIP_PARAM_UMD", "VGT_HS_OFFCHIP_PARAM"),
    ("VGT_TF_MEMORY_BASE_UMD", "VGT_TF_MEMORY_BASE"),
    ("VGT_TF_MEMORY_BASE_HI_UMD", "VGT_TF_MEMORY_BASE_HI"),
];
