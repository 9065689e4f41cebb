//! Field masks and shifts, by AMD's names (`asic_reg/gc/gc_10_3_0_sh_mask.h`).

/// GRBM_STATUS.CP_BUSY and GUI_ACTIVE.
pub const GUI_ACTIVE_CP_BUSY: u32 = 1 << 31 | 1 << 29;
/// GRBM_SOFT_RESET.SOFT_RESET_CP.
pub const SOFT_RESET_CP: u32 = 1 << 0;
/// GRBM_SOFT_RESET.SOFT_RESET_GFX.
pub const SOFT_RESET_GFX: u32 = 1 << 16;
/// GRBM_SOFT_RESET.SOFT_RESET_CPF.
pub const SOFT_RESET_CPF: u32 = 1 << 17;
/// GRBM_SOFT_RESET.SOFT_RESET_CPC.
pub const SOFT_RESET_CPC: u32 = 1 << 18;
/// GRBM_SOFT_RESET.SOFT_RESET_CPG.
pub const SOFT_RESET_CPG: u32 = 1 << 19;
/// First of the four SOFT_RESET_SDMAn bits of GRBM_SOFT_RESET.
pub const SOFT_RESET_SDMA_SHIFT: u32 = 23;

/// CP_ME_CNTL: CE_HALT, PFP_HALT and ME_HALT. Any of them stops graphics queues.
pub const ME_CNTL_HALT: u32 = 1 << 24 | 1 << 26 | 1 << 28;
/// CP_MEC_CNTL.MEC_ME1_HALT.
pub const MEC_ME1_HALT: u32 = 1 << 30;
/// CP_MEC_CNTL.MEC_ME2_HALT.
pub const MEC_ME2_HALT: u32 = 1 << 28;

/// PRIV_REG_INT_ENABLE of CP_INT_CNTL_RINGn and CP_MEn_PIPEm_INT_CNTL.
pub const PRIV_REG_INT_ENABLE: u32 = 1 << 23;
/// OPCODE_ERROR_INT_ENABLE of the same registers; Linux 6.1 never sets it, 6.12 and 7.3 do (`gfx_v10_0_set_bad_op_fault_state`).
pub const OPCODE_ERROR_INT_ENABLE: u32 = 1 << 24;
/// TIME_STAMP_INT_ENABLE of the same registers.
pub const TIME_STAMP_INT_ENABLE: u32 = 1 << 26;
/// GENERIC2_INT_ENABLE of the same registers, and GENERIC2_INT_STATUS of CPC_INT_STATUS.
pub const GENERIC2_INT: u32 = 1 << 29;

/// CP_HQD_DEQUEUE_REQUEST.DEQUEUE_REQ.
pub const DEQUEUE_REQ: u32 = 0xf;
/// The dequeue request that kills what runs; what a queue reset uses (7.3 `gfx_v10_0_kiq_reset_hw_queue`).
pub const DEQUEUE_RESET: u32 = 2;

/// RLC_SAFE_MODE.CMD.
pub const SAFE_MODE_CMD: u32 = 1;
/// RLC_CNTL.RLC_ENABLE_F32.
pub const RLC_ENABLE_F32: u32 = 1;
/// RLC_RLCS_BOOTLOAD_STATUS.BOOTLOAD_COMPLETE.
pub const BOOTLOAD_COMPLETE: u32 = 1 << 31;
/// RLC_CAPTURE_GPU_CLOCK_COUNT.CAPTURE.
pub const CAPTURE: u32 = 1;
/// CP_PQ_WPTR_POLL_CNTL.EN.
pub const WPTR_POLL_EN: u32 = 1 << 31;
/// Bit 7 of an RLC_CP_SCHEDULERS byte: the scheduler queue in the other bits is valid.
pub const SCHEDULER_VALID: u32 = 1 << 7;
/// Bits of SCRATCH_REG1 that RLCG clears when it has done an access.
pub const RLCG_PENDING: u32 = 0x000f_ffff;
/// Commands of an RLCG access (bits 31:28) before which it selects what SCRATCH_REG2 says: write and read of graphics. With the older
/// form of a write the driver selects by itself, too (6.12 `amdgpu_virt_rlcg_reg_rw`).
pub const RLCG_SELECTING: [u32; 2] = [0, 1];

/// CP_HQD_PQ_DOORBELL_CONTROL.DOORBELL_EN, the same in CP_RB_DOORBELL_CONTROL.
pub const DOORBELL_EN: u32 = 1 << 30;
/// CP_HQD_PQ_DOORBELL_CONTROL.DOORBELL_OFFSET (a dword index), the same in CP_RB_DOORBELL_CONTROL.
pub const DOORBELL_OFFSET: u32 = 0x0fff_fffc;
/// CP_HQD_PQ_CONTROL.QUEUE_SIZE and CP_GFX_HQD_CNTL.RB_BUFSZ: log2 of the dwords, less one.
pub const QUEUE_SIZE: u32 = 0x3f;

/// Dword indices in a queue window; the graphics window has the same up to [`CONTROL`](hqd::CONTROL).
pub mod hqd {
    /// CP_MQD_BASE_ADDR, then _HI.
    pub const MQD_BASE: usize = 0x00;
    /// CP_HQD_ACTIVE.
    pub const ACTIVE: usize = 0x02;
    /// CP_HQD_VMID.
    pub const VMID: usize = 0x03;
    /// CP_HQD_PQ_BASE, then _HI; in units of 256 bytes.
    pub const BASE: usize = 0x08;
    /// CP_HQD_PQ_RPTR.
    pub const RPTR: usize = 0x0a;
    /// CP_HQD_PQ_RPTR_REPORT_ADDR, then _HI.
    pub const RPTR_REPORT: usize = 0x0b;
    /// CP_HQD_PQ_WPTR_POLL_ADDR, then _HI.
    pub const WPTR_POLL: usize = 0x0d;
    /// CP_HQD_PQ_DOORBELL_CONTROL.
    pub const DOORBELL: usize = 0x0f;
    /// CP_HQD_PQ_CONTROL.
    pub const CONTROL: usize = 0x11;
    /// CP_HQD_DEQUEUE_REQUEST.
    pub const DEQUEUE: usize = 0x18;
    /// CP_HQD_PQ_WPTR_LO, then _HI.
    pub const WPTR: usize = 0x36;
    /// CP_GFX_HQD_WPTR, then _HI, in the graphics window.
    pub const GFX_WPTR: usize = 0x13;
    /// CP_GFX_HQD_DEQUEUE_REQUEST in the graphics window.
    pub const GFX_DEQUEUE: usize = 0x15;
    /// cp_gfx_hqd_wptr, then _hi, counted from the first HQD dword of a graphics MQD: not at its place in the window.
    pub const GFX_MQD_WPTR: usize = 0x15;
    /// Dwords of a queue image.
    pub const WORDS: usize = 0x38;
    /// Dwords of a graphics queue image that are at the same index in the MQD and in the window.
    pub const GFX_COMMON: usize = 0x12;
    /// First HQD dword in an MQD (`v10_structs.h`).
    pub const MQD_START: u64 = 0x80;
}
