//! Words whose owners are blocks of the device, as they leave the process: as values of texts and as names of counters.
//!
//! Each is a list here, and `device` has a test that it is the block's own.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// Stands for one of a list of words in the description of a type.
macro_rules! words {
    ($(#[$about:meta])* $name:ident: $($word:literal)+) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name;

        impl $name {
            /// The words.
            pub const ALL: &[&str] = &[$($word),+];
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "enum": Self::ALL })
            }
        }
    };
}

words! {
    /// ASICs.
    Asic: "navi21" "navi12"
}
words! {
    /// What the function is to its driver.
    Personality: "bare-metal" "vf"
}
words! {
    /// Power states of the PCI function.
    PowerState: "D0" "D3hot"
}
words! {
    /// Commands to the security processor (`psp_gfx_if.h`, without the prefix).
    PspCommand: "LOAD_TA" "UNLOAD_TA" "INVOKE_CMD" "LOAD_ASD" "SETUP_TMR" "LOAD_IP_FW" "DESTROY_TMR" "PROG_REG"
        "GET_FW_ATTESTATION" "LOAD_TOC" "AUTOLOAD_RLC" "BOOT_CFG" "unknown"
}
words! {
    /// The same as they are counted: with the one that comes through a mailbox.
    PspCounter: "LOAD_TA" "UNLOAD_TA" "INVOKE_CMD" "LOAD_ASD" "SETUP_TMR" "LOAD_IP_FW" "DESTROY_TMR" "PROG_REG"
        "GET_FW_ATTESTATION" "LOAD_TOC" "AUTOLOAD_RLC" "BOOT_CFG" "unknown" "MODE1_RESET"
}
words! {
    /// Messages to the system management unit (`PPSMC_MSG_*` without the prefix), of those that mean something here. `unknown` is all beyond
    /// the interface.
    SmuMessage: "TestMessage" "GetSmuVersion" "GetDriverIfVersion" "EnterBaco" "ExitBaco" "ArmD3" "GetMinDpmFreq" "GetMaxDpmFreq"
        "GetPptLimit" "Mode1Reset" "DriverMode2Reset" "unknown"
}

/// Counters of messages to the system management unit: by name those of [`SmuMessage`], by number in decimal all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmuMessages;

impl JsonSchema for SmuMessages {
    fn schema_name() -> Cow<'static, str> {
        "SmuMessages".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let number = || json_schema!({ "type": "integer", "minimum": 0 });
        let named = SmuMessage::ALL
            .iter()
            .map(|name| ((*name).to_owned(), number().into()));
        let named: serde_json::Map<_, serde_json::Value> = named.collect();
        json_schema!({
            "type": "object",
            "properties": named,
            "patternProperties": { "^[0-9]+$": number() },
            "additionalProperties": false,
        })
    }
}

words! {
    /// Packets of SDMA engines.
    SdmaPacket: "NOP" "COPY_LINEAR" "WRITE_LINEAR" "INDIRECT" "FENCE" "TRAP" "POLL_REGMEM" "VM_INVALIDATION" "COND_EXE"
        "ATOMIC" "CONST_FILL" "PTEPDE" "TIMESTAMP" "SRBM_WRITE" "GCR_REQ" "unknown"
}
words! {
    /// What a guest says to the host of its virtual function (`mxgpu_nv.h`, `enum idh_request`, without the prefix).
    GuestRequest: "REQ_GPU_INIT_ACCESS" "REL_GPU_INIT_ACCESS" "REQ_GPU_FINI_ACCESS" "REL_GPU_FINI_ACCESS"
        "REQ_GPU_RESET_ACCESS" "REQ_GPU_INIT_DATA" "LOG_VF_ERROR" "READY_TO_RESET" "RAS_POISON"
}
words! {
    /// The same as it is counted: `unknown` is anything else.
    GuestMessage: "REQ_GPU_INIT_ACCESS" "REL_GPU_INIT_ACCESS" "REQ_GPU_FINI_ACCESS" "REL_GPU_FINI_ACCESS"
        "REQ_GPU_RESET_ACCESS" "REQ_GPU_INIT_DATA" "LOG_VF_ERROR" "READY_TO_RESET" "RAS_POISON" "unknown"
}
words! {
    /// What a host says to the guest (`mxgpu_nv.h`, `enum idh_event`, without the prefix).
    HostMessage: "READY_TO_ACCESS_GPU" "FLR_NOTIFICATION" "FLR_NOTIFICATION_CMPL" "FAIL" "UNRECOV_ERR_NOTIFICATION"
        "REQ_GPU_INIT_DATA_READY"
}
words! {
    /// What either says.
    Message: "REQ_GPU_INIT_ACCESS" "REL_GPU_INIT_ACCESS" "REQ_GPU_FINI_ACCESS" "REL_GPU_FINI_ACCESS" "REQ_GPU_RESET_ACCESS"
        "REQ_GPU_INIT_DATA" "LOG_VF_ERROR" "READY_TO_RESET" "RAS_POISON" "unknown" "READY_TO_ACCESS_GPU" "FLR_NOTIFICATION"
        "FLR_NOTIFICATION_CMPL" "FAIL" "UNRECOV_ERR_NOTIFICATION" "REQ_GPU_INIT_DATA_READY"
}
words! {
    /// Levels of page tables, root first.
    LevelName: "PDB2" "PDB1" "PDB0" "PTB"
}
words! {
    /// Kinds of address spaces.
    SpaceKind: "user" "gart"
}
words! {
    /// What became of a leaf entry.
    EntryClass: "same" "different" "missing" "poisoned" "poisoned-unmapped" "added"
}
words! {
    /// Where a register is.
    RegisterSpace: "register" "smn"
}
