//! The type 3 opcodes that GC 10.3 knows (`nvd.h` of Linux 6.1, 6.12 and 7.3).

/// What the model does with an opcode that [`decode`](super::decode) does not look into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It has nothing to do here: caches, pipelines and contexts that do not exist.
    None,
    /// Hardware would do something that this model does not: draw, dispatch, count, load state.
    Unmodelled,
    /// It is executed.
    Executed,
}

macro_rules! opcodes {
    ($($(#[$doc:meta])* $name:ident = $value:literal: $effect:ident;)*) => {
        $(#[doc = concat!("PACKET3_", stringify!($name), ".")] $(#[$doc])* pub const $name: u8 = $value;)*

        /// Name of an opcode without the `PACKET3_` prefix; `None` if hardware would call it illegal.
        pub const fn name(opcode: u8) -> Option<&'static str> {
            match opcode {
                $($value => Some(stringify!($name)),)*
                _ => None,
            }
        }

        /// What the model does with an opcode; `None` if hardware would call it illegal.
        pub const fn effect(opcode: u8) -> Option<Effect> {
            match opcode {
                $($value => Some(Effect::$effect),)*
                _ => None,
            }
        }
    };
}

opcodes! {
    NOP = 0x10: None;
    SET_BASE = 0x11: None;
    CLEAR_STATE = 0x12: None;
    INDEX_BUFFER_SIZE = 0x13: Unmodelled;
    DISPATCH_DIRECT = 0x15: Unmodelled;
    DISPATCH_INDIRECT = 0x16: Unmodelled;
    INDIRECT_BUFFER_END = 0x17: None;
    INDIRECT_BUFFER_CNST_END = 0x19: None;
    ATOMIC_GDS = 0x1d: Unmodelled;
    ATOMIC_MEM = 0x1e: Unmodelled;
    OCCLUSION_QUERY = 0x1f: Unmodelled;
    SET_PREDICATION = 0x20: Unmodelled;
    REG_RMW = 0x21: Unmodelled;
    COND_EXEC = 0x22: Executed;
    PRED_EXEC = 0x23: Unmodelled;
    DRAW_INDIRECT = 0x24: Unmodelled;
    DRAW_INDEX_INDIRECT = 0x25: Unmodelled;
    INDEX_BASE = 0x26: Unmodelled;
    DRAW_INDEX_2 = 0x27: Unmodelled;
    CONTEXT_CONTROL = 0x28: None;
    INDEX_TYPE = 0x2a: Unmodelled;
    DRAW_INDIRECT_MULTI = 0x2c: Unmodelled;
    DRAW_INDEX_AUTO = 0x2d: Unmodelled;
    NUM_INSTANCES = 0x2f: Unmodelled;
    DRAW_INDEX_MULTI_AUTO = 0x30: Unmodelled;
    INDIRECT_BUFFER_PRIV = 0x32: Unmodelled;
    INDIRECT_BUFFER_CNST = 0x33: Executed;
    STRMOUT_BUFFER_UPDATE = 0x34: Unmodelled;
    DRAW_INDEX_OFFSET_2 = 0x35: Unmodelled;
    DRAW_PREAMBLE = 0x36: Unmodelled;
    WRITE_DATA = 0x37: Executed;
    DRAW_INDEX_INDIRECT_MULTI = 0x38: Unmodelled;
    MEM_SEMAPHORE = 0x39: Unmodelled;
    DRAW_INDEX_MULTI_INST = 0x3a: Unmodelled;
    COPY_DW = 0x3b: Unmodelled;
    WAIT_REG_MEM = 0x3c: Executed;
    INDIRECT_BUFFER = 0x3f: Executed;
    COPY_DATA = 0x40: Executed;
    CP_DMA = 0x41: Unmodelled;
    PFP_SYNC_ME = 0x42: None;
    SURFACE_SYNC = 0x43: None;
    ME_INITIALIZE = 0x44: None;
    COND_WRITE = 0x45: Unmodelled;
    /// Cache and pipeline events. Those that count samples or write statistics are not told apart.
    EVENT_WRITE = 0x46: None;
    EVENT_WRITE_EOP = 0x47: Unmodelled;
    EVENT_WRITE_EOS = 0x48: Unmodelled;
    RELEASE_MEM = 0x49: Executed;
    PREAMBLE_CNTL = 0x4a: None;
    DMA_DATA = 0x50: Executed;
    CONTEXT_REG_RMW = 0x51: Unmodelled;
    GFX_CNTX_UPDATE = 0x52: None;
    BLK_CNTX_UPDATE = 0x53: None;
    INCR_UPDT_STATE = 0x55: None;
    ACQUIRE_MEM = 0x58: None;
    REWIND = 0x59: Unmodelled;
    INTERRUPT = 0x5a: Unmodelled;
    GEN_PDEPTE = 0x5b: Unmodelled;
    INDIRECT_BUFFER_PASID = 0x5c: Unmodelled;
    PRIME_UTCL2 = 0x5d: None;
    LOAD_UCONFIG_REG = 0x5e: Unmodelled;
    LOAD_SH_REG = 0x5f: Unmodelled;
    LOAD_CONFIG_REG = 0x60: Unmodelled;
    LOAD_CONTEXT_REG = 0x61: Unmodelled;
    LOAD_COMPUTE_STATE = 0x62: Unmodelled;
    LOAD_SH_REG_INDEX = 0x63: Unmodelled;
    SET_CONFIG_REG = 0x68: Executed;
    SET_CONTEXT_REG = 0x69: Executed;
    SET_CONTEXT_REG_INDEX = 0x6a: Executed;
    SET_VGPR_REG_DI_MULTI = 0x71: Unmodelled;
    SET_SH_REG_DI = 0x72: Unmodelled;
    SET_CONTEXT_REG_INDIRECT = 0x73: Unmodelled;
    SET_SH_REG_DI_MULTI = 0x74: Unmodelled;
    GFX_PIPE_LOCK = 0x75: None;
    SET_SH_REG = 0x76: Executed;
    SET_SH_REG_OFFSET = 0x77: Unmodelled;
    SET_QUEUE_REG = 0x78: Unmodelled;
    SET_UCONFIG_REG = 0x79: Executed;
    SET_UCONFIG_REG_INDEX = 0x7a: Executed;
    FORWARD_HEADER = 0x7c: None;
    SCRATCH_RAM_WRITE = 0x7d: Unmodelled;
    SCRATCH_RAM_READ = 0x7e: Unmodelled;
    LOAD_CONST_RAM = 0x80: Unmodelled;
    WRITE_CONST_RAM = 0x81: Unmodelled;
    DUMP_CONST_RAM = 0x83: Unmodelled;
    INCREMENT_CE_COUNTER = 0x84: None;
    INCREMENT_DE_COUNTER = 0x85: None;
    WAIT_ON_CE_COUNTER = 0x86: None;
    WAIT_ON_DE_COUNTER_DIFF = 0x88: None;
    SWITCH_BUFFER = 0x8b: None;
    DISPATCH_DRAW_PREAMBLE = 0x8c: Unmodelled;
    DISPATCH_DRAW = 0x8d: Unmodelled;
    GET_LOD_STATS = 0x8e: Unmodelled;
    DRAW_MULTI_PREAMBLE = 0x8f: Unmodelled;
    FRAME_CONTROL = 0x90: None;
    INDEX_ATTRIBUTES_INDIRECT = 0x91: Unmodelled;
    WAIT_REG_MEM64 = 0x93: Executed;
    COND_PREEMPT = 0x94: None;
    HDP_FLUSH = 0x95: None;
    COPY_DATA_RB = 0x96: Unmodelled;
    INVALIDATE_TLBS = 0x98: Executed;
    AQL_PACKET = 0x99: Unmodelled;
    DMA_DATA_FILL_MULTI = 0x9a: Unmodelled;
    SET_SH_REG_INDEX = 0x9b: Executed;
    DRAW_INDIRECT_COUNT_MULTI = 0x9c: Unmodelled;
    DRAW_INDEX_INDIRECT_COUNT_MULTI = 0x9d: Unmodelled;
    DUMP_CONST_RAM_OFFSET = 0x9e: Unmodelled;
    LOAD_CONTEXT_REG_INDEX = 0x9f: Unmodelled;
    SET_RESOURCES = 0xa0: Executed;
    MAP_PROCESS = 0xa1: Unmodelled;
    MAP_QUEUES = 0xa2: Executed;
    UNMAP_QUEUES = 0xa3: Executed;
    QUERY_STATUS = 0xa4: Executed;
    /// KFD's run list: the processes in it are not mapped.
    RUN_LIST = 0xa5: Unmodelled;
    MAP_PROCESS_VM = 0xa6: Unmodelled;
    /// There is nothing to clean: no shader leaves anything behind (7.3 `gfx_v10_0_ring_emit_cleaner_shader`).
    RUN_CLEANER_SHADER = 0xd2: None;
    SET_Q_PREEMPTION_MODE = 0xf0: None;
}
