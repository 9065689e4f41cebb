//! What the GPU tells about itself, as values that serialise.

use std::collections::BTreeMap;

use gart::{Level, TableSummary, Vmid, WalkBudget};
use mmio::RegisterFile;
use protocol::stats::{CpView, SdmaView, Stats};
use protocol::tables::{TableReport, UnmodelledRegister};
use sdma_engine::PacketKind;

use super::gpu::Gpu;
use crate::memory::CardMemory;

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

impl<M: CardMemory> Gpu<M> {
    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        let cp = self.engines.cp.stats();
        Stats {
            asic: self.config.asic.name,
            personality: self.config.personality.name,
            vram_size: self.fabric.memory.vram_size(),
            vram_resident: self.fabric.memory.resident().ok(),
            page_table_updates: self.observers.page_tables,
            sdma: self
                .engines
                .sdma
                .iter()
                .map(|slot| sdma_view(slot.engine.stats()))
                .collect(),
            cp: CpView {
                packets: cp.packets,
                fences: cp.fences,
                unmodelled: cp.unmodelled,
                bad_opcodes: cp.bad_opcodes,
                faults: cp.faults,
                queues: self
                    .engines
                    .cp
                    .queues()
                    .map(|view| (view.queue.me(), view.queue.pipe(), view.queue.queue()))
                    .collect(),
            },
            ih: self.fabric.blocks.ih.stats(),
            faults: self.fabric.faults.faults(),
            psp_commands: self.fabric.blocks.psp.commands().clone(),
            smu_messages: self.fabric.blocks.smu.counters(),
            resets: self.power.resets,
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
        let hub = &self.fabric.blocks.gfxhub;
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
        let of_space = |smn| {
            let blocks = self.fabric.blocks.files(smn);
            blocks.map(move |(kind, files)| BlockRegisters {
                block: kind.title(),
                smn,
                files,
            })
        };
        of_space(false).chain(of_space(true)).collect()
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

fn sdma_view(stats: &sdma_engine::Stats) -> SdmaView {
    SdmaView {
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
