//! The answer to `stats`: counters of every block since the daemon started.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::words::{Asic, GuestMessage, HostMessage, Personality, PspCounter, SdmaPacket, SmuMessages};

/// Counters since the daemon started.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Stats {
    /// The part.
    #[schemars(with = "Asic")]
    pub asic: &'static str,
    /// What the function is to its driver.
    #[schemars(with = "Personality")]
    pub personality: &'static str,
    /// VRAM in bytes.
    pub vram_size: u64,
    /// Host memory that VRAM takes, in bytes.
    pub vram_resident: Option<u64>,
    /// Page-table updates by kind of packet and by target.
    pub page_table_updates: PageTableUpdates,
    /// SDMA engines.
    pub sdma: Vec<SdmaView>,
    /// Command processor.
    pub cp: CpView,
    /// Interrupt handler.
    pub ih: IhStats,
    /// Translation faults.
    pub faults: u64,
    /// PSP commands by name.
    #[schemars(with = "BTreeMap<PspCounter, u64>")]
    pub psp_commands: BTreeMap<&'static str, u64>,
    /// SMU messages by name, those that mean nothing here by number.
    #[schemars(with = "SmuMessages")]
    pub smu_messages: BTreeMap<Cow<'static, str>, u64>,
    /// Resets by kind.
    pub resets: ResetCounts,
    /// What guest and host of a virtual function said to each other; none on bare metal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sriov: Option<SriovStats>,
    /// Distinct registers that the guest touched and that are not modelled.
    pub unmodelled_registers: usize,
    /// Accesses to further such registers, after the list was full.
    pub unmodelled_untracked: u64,
}

/// One SDMA engine.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SdmaView {
    /// Packets by name, those that occurred.
    #[schemars(with = "BTreeMap<SdmaPacket, u64>")]
    pub packets: BTreeMap<&'static str, u64>,
    /// Bytes copied.
    pub copy_bytes: u64,
    /// Bytes filled.
    pub fill_bytes: u64,
    /// Interrupts asked for by TRAP.
    pub traps: u64,
    /// Accesses that faulted.
    pub faults: u64,
    /// Times a packet stopped the engine.
    pub halts: u64,
}

/// The command processor.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CpView {
    /// Packets executed.
    pub packets: u64,
    /// Fences written.
    pub fences: u64,
    /// Packets without effect here that have one on hardware.
    pub unmodelled: u64,
    /// Packets that were none.
    pub bad_opcodes: u64,
    /// Accesses that faulted.
    pub faults: u64,
    /// Queues mapped now: (micro engine, pipe, queue).
    pub queues: Vec<(u8, u8, u8)>,
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct IhStats {
    /// Entries written to the ring.
    pub entries: u64,
    /// Entries that found the ring disabled.
    pub dropped: u64,
    /// Times the ring was full and its oldest entry overwritten.
    pub overflows: u64,
    /// Entries or pointers that could not be written: the ring's address does not translate.
    pub faults: u64,
    /// Interrupts asked for.
    pub interrupts: u64,
}

/// Resets so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ResetCounts {
    /// MODE1, through the SMU or the PSP.
    pub mode1: u64,
    /// Of these, through the PSP.
    pub mode1_psp: u64,
    /// MODE2.
    pub mode2: u64,
    /// Ways into BACO.
    pub baco: u64,
    /// A virtual function, by its host.
    pub vf: u64,
    /// From the bus: function level reset, DEVICE_RESET, D3hot without No_Soft_Reset.
    pub function: u64,
    /// Of these, DEVICE_RESET.
    pub bus: u64,
    /// Of these, on the way back from D3hot.
    pub d3hot: u64,
    /// GRBM_SOFT_RESET: SDMA engines, graphics, compute.
    pub soft: u64,
    /// One queue.
    pub queue: u64,
}

/// Updates of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UpdateCounts {
    /// Packets.
    pub packets: u64,
    /// Entries that they wrote.
    pub entries: u64,
}

/// Updates of one kind, by where they went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ByTarget {
    /// Into VRAM: page tables of VMIDs.
    pub vram: UpdateCounts,
    /// Into the table of context 0: transfer windows of the memory manager.
    pub gart: UpdateCounts,
    /// Into system memory: shadows (6.1), and everything else that a driver writes with these packets.
    pub system: UpdateCounts,
    /// Addresses that do not translate.
    pub faulted: UpdateCounts,
}

/// Everything that looked like a page-table update, counted by kind of packet and by target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PageTableUpdates {
    /// PTEPDE packets.
    pub set_pte_pde: ByTarget,
    /// WRITE_LINEAR packets in VMID 0.
    pub write: ByTarget,
    /// COPY_LINEAR packets in VMID 0 whose source is their own indirect buffer.
    pub copy: ByTarget,
}

/// Counters of a virtual function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SriovStats {
    /// The guest's messages by name.
    #[schemars(with = "BTreeMap<GuestMessage, u64>")]
    pub messages: BTreeMap<&'static str, u64>,
    /// The host's notices by name.
    #[schemars(with = "BTreeMap<HostMessage, u64>")]
    pub notices: BTreeMap<&'static str, u64>,
    /// Messages that came at a time when no driver would send them.
    pub out_of_order: u64,
    /// Register accesses that RLC firmware did for the guest.
    pub rlcg: u64,
    /// Reads, from outside, of registers that are the host's while the function runs.
    pub foreign_reads: u64,
    /// Writes, likewise.
    pub foreign_writes: u64,
    /// Which: name, reads, writes; most frequent first, the first of them.
    pub foreign_registers: Vec<(String, u64, u64)>,
}

/// Accesses of one kind since the daemon started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AccessCount {
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

/// Accesses to BAR 5 by block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RegisterAccesses {
    /// MM_INDEX, MM_INDEX_HI and MM_DATA: the window on VRAM and registers.
    pub mm_window: AccessCount,
    /// PCIE_INDEX2 and PCIE_DATA2: the window on the system management network.
    pub smn_window: AccessCount,
    /// The rest of the bus interface.
    pub nbio: AccessCount,
    /// The mailbox of a virtual function.
    pub mailbox: AccessCount,
    /// OSSSYS, the interrupt handler.
    pub ih: AccessCount,
    /// MP0, the security processor.
    pub psp: AccessCount,
    /// MP1, the system management unit.
    pub smu: AccessCount,
    /// Address translation of graphics and SDMA.
    pub gfxhub: AccessCount,
    /// Address translation of everything else.
    pub mmhub: AccessCount,
    /// Graphics.
    pub gc: AccessCount,
    /// All SDMA engines.
    pub sdma: AccessCount,
    /// ATHUB, HDP, THM, SMUIO.
    pub other: AccessCount,
    /// Registers that no block has.
    pub unmodelled: AccessCount,
}

/// Accesses that came from the front end since the daemon started, by region, and those to registers by block. An access is what one message
/// asks for: those to memory that the front end has mapped are not seen here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Accesses {
    /// PCI configuration space.
    pub config: AccessCount,
    /// The expansion ROM.
    pub rom: AccessCount,
    /// BAR 0: VRAM. The front end has mapped it, so that none come as a rule.
    pub vram: AccessCount,
    /// BAR 2.
    pub doorbells: AccessCount,
    /// BAR 5.
    pub registers: AccessCount,
    /// BAR 5 by block: dwords, or bytes where those can be accessed by themselves.
    pub blocks: RegisterAccesses,
}

/// What this process takes of its host.
#[derive(Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Process {
    /// Resident bytes that belong to nobody else: heap, stacks, tables. VRAM and guest memory are shared files, and not in it.
    pub private: Option<u64>,
    /// Resident bytes of files, VRAM and guest memory included.
    pub shared: Option<u64>,
    /// Open file descriptors, that of the client that asks among them.
    pub descriptors: Option<usize>,
}

/// The counters, with the function's accesses and the process beside them.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StatsAnswer {
    #[serde(flatten)]
    /// Counters of every block.
    pub stats: Stats,
    /// Accesses that came from the front end.
    pub accesses: Accesses,
    /// What the process takes.
    pub process: Process,
}

impl UpdateCounts {
    /// One more packet.
    pub const fn add(&mut self, entries: u64) {
        self.packets = self.packets.saturating_add(1);
        self.entries = self.entries.saturating_add(entries);
    }
}
