//! What the GPU tells about itself, as values that serialise.

use std::collections::BTreeMap;

use gart::{Level, TableSummary, Vmid, WalkBudget};
use mmio::RegisterFile;
use sdma_engine::PacketKind;
use serde::Serialize;

use super::reset::ResetCounts;
use super::{Gpu, PageTableUpdates, SriovStats};
use crate::ih::IhStats;

/// Counters since the daemon started.
#[derive(Debug, Clone, Serialize)]
pub struct Stats {
    /// The part.
    pub asic: &'static str,
    /// What the function is to its driver.
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
    pub psp_commands: BTreeMap<&'static str, u64>,
    /// SMU messages by number.
    pub smu_messages: BTreeMap<u32, u64>,
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
#[derive(Debug, Clone, Serialize)]
pub struct SdmaView {
    /// Packets by name, those that occurred.
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
#[derive(Debug, Clone, Serialize)]
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

/// What one context's page tables hold.
#[derive(Debug, Clone, Serialize)]
pub struct TableReport {
    /// The context.
    pub vmid: u8,
    /// Whether the context is enabled and has a root.
    pub live: bool,
    /// Where the root is.
    pub root: String,
    /// Tables by level, root first.
    pub tables: BTreeMap<&'static str, u64>,
    /// Present entries by level, root first.
    pub entries: BTreeMap<&'static str, u64>,
    /// Pages in VRAM.
    pub vram_pages: u64,
    /// Pages in system memory.
    pub system_pages: u64,
    /// Partially resident pages.
    pub prt_pages: u64,
    /// Bytes mapped.
    pub mapped_bytes: u64,
    /// Pages and tables that are in no memory.
    pub out_of_memory: u64,
    /// The walk was given up: the tables are too many, or point at themselves.
    pub truncated: bool,
}

/// The register files of one block.
#[derive(Debug, Clone)]
pub struct BlockRegisters<'a> {
    /// What the block is.
    pub block: &'static str,
    /// Whether its offsets are addresses in the system management network rather than offsets in the register BAR.
    pub smn: bool,
    /// Its files: one for each range of registers and instance.
    pub files: Vec<&'a RegisterFile>,
}

/// A register that the guest touched and that is not modelled.
#[derive(Debug, Clone, Serialize)]
pub struct UnmodelledRegister {
    /// `register` or `smn`.
    pub space: &'static str,
    /// Byte offset.
    pub offset: u32,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Last value written.
    pub last_write: Option<u32>,
}

/// What a walk for a report may do in each of 16 contexts, between two accesses of the guest: together some tenths of a second at worst.
const REPORT_BUDGET: WalkBudget = WalkBudget {
    tables: 1 << 13,
    entries: 1 << 20,
};

const LEVELS: [(Level, &str); Level::COUNT] = [
    (Level::Pdb2, "PDB2"),
    (Level::Pdb1, "PDB1"),
    (Level::Pdb0, "PDB0"),
    (Level::Ptb, "PTB"),
];

fn by_level(counts: &[u64; Level::COUNT]) -> BTreeMap<&'static str, u64> {
    LEVELS
        .into_iter()
        .filter_map(|(level, name)| {
            counts
                .get(level.index())
                .filter(|count| **count > 0)
                .map(|count| (name, *count))
        })
        .collect()
}

impl Gpu {
    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        let cp = self.cp.stats();
        Stats {
            asic: self.config.asic.name,
            personality: self.config.personality.name,
            vram_size: self.fabric.memory.vram.size(),
            vram_resident: self.fabric.memory.vram.resident().ok(),
            page_table_updates: self.page_tables,
            sdma: self
                .sdma
                .iter()
                .map(|slot| SdmaView::new(slot.engine.stats()))
                .collect(),
            cp: CpView {
                packets: cp.packets,
                fences: cp.fences,
                unmodelled: cp.unmodelled,
                bad_opcodes: cp.bad_opcodes,
                faults: cp.faults,
                queues: self
                    .cp
                    .queues()
                    .map(|view| (view.queue.me(), view.queue.pipe(), view.queue.queue()))
                    .collect(),
            },
            ih: self.fabric.ih.stats(),
            faults: self.fabric.faults.faults(),
            psp_commands: self.fabric.psp.commands().clone(),
            smu_messages: self.fabric.smu.messages().clone(),
            resets: self.resets,
            sriov: self.sriov_stats(),
            unmodelled_registers: self.unmodelled().len(),
            unmodelled_untracked: self
                .fabric
                .ledger
                .untracked()
                .saturating_add(self.fabric.smn_ledger.untracked()),
        }
    }

    /// Walks the page tables of one context of the graphics hub, or of all that are live.
    pub fn page_tables(&self, vmid: Option<Vmid>) -> Vec<TableReport> {
        let wanted = Vmid::all().filter(|candidate| vmid.is_none_or(|vmid| vmid == *candidate));
        let reports = wanted.filter_map(|candidate| self.table_report(candidate));
        match vmid {
            Some(_) => reports.collect(),
            None => reports.filter(|report| report.live).collect(),
        }
    }

    fn table_report(&self, vmid: Vmid) -> Option<TableReport> {
        let hub = &self.fabric.gfxhub;
        let context = hub.context(vmid)?;
        let summary: TableSummary = hub.walk_tables(&self.fabric.memory, vmid, REPORT_BUDGET, |_| {});
        Some(TableReport {
            vmid: vmid.get(),
            live: context.enabled && context.root.valid(),
            root: context.root.location(hub.space().apertures.fb_offset).to_string(),
            tables: by_level(&summary.tables),
            entries: by_level(&summary.entries),
            vram_pages: summary.vram_pages,
            system_pages: summary.system_pages,
            prt_pages: summary.prt_pages,
            mapped_bytes: summary.mapped_bytes(),
            out_of_memory: summary
                .tables_out_of_memory
                .saturating_add(summary.pages_out_of_memory),
            truncated: summary.truncated,
        })
    }

    /// Every modelled register by block, for documentation: names, masks, fidelity, and the values that they have now.
    pub fn registers(&self) -> Vec<BlockRegisters<'_>> {
        let bar = self.fabric.blocks().into_iter();
        let bar = bar.map(|(block, files)| BlockRegisters {
            block,
            smn: false,
            files,
        });
        let smn = BlockRegisters {
            block: "SMN: system management network",
            smn: true,
            files: vec![self.fabric.smn_file()],
        };
        bar.chain([smn]).collect()
    }

    /// Registers that the guest touched and that are not modelled, most frequent first.
    pub fn unmodelled(&self) -> Vec<UnmodelledRegister> {
        let list = |space, ledger: &mmio::Ledger| {
            ledger
                .touched()
                .into_iter()
                .map(move |touch| UnmodelledRegister {
                    space,
                    offset: touch.offset.byte(),
                    reads: touch.reads,
                    writes: touch.writes,
                    last_write: touch.last_write,
                })
                .collect::<Vec<_>>()
        };
        let mut all = list("register", &self.fabric.ledger);
        all.extend(list("smn", &self.fabric.smn_ledger));
        all.sort_by_key(|register| std::cmp::Reverse(register.reads + register.writes));
        all
    }
}

impl SdmaView {
    fn new(stats: &sdma_engine::Stats) -> Self {
        Self {
            packets: PacketKind::ALL
                .into_iter()
                .map(|kind| (kind.name(), stats.packets(kind)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            copy_bytes: stats.copy_bytes,
            fill_bytes: stats.fill_bytes,
            traps: stats.traps,
            faults: stats.faults,
            halts: stats.halts,
        }
    }
}
