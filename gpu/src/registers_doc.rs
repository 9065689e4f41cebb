//! `docs/registers.md`, made from the register tables.

use std::fmt::Write;

use gart::testing::TestMemory;
use mmio::{RegSpec, RegisterFile, RegisterInfo};

use crate::asic::{ASICS, AsicProfile};
use crate::card::{Gpu, GpuConfig, GpuError};

/// VRAM of the device that is described, in bytes: what the daemon has by default.
const VRAM: u64 = 1 << 30;

/// How to make a part's list anew, as it says itself.
pub fn regenerate(asic: &AsicProfile) -> String {
    format!(
        "cargo run -p vhost-device-amdgpu --example registers {} > {}",
        asic.name,
        path(asic)
    )
}

/// Where a part's list is. The usual part's has no name behind it.
pub fn path(asic: &AsicProfile) -> String {
    match ASICS {
        [usual, ..] if usual.name == asic.name => "docs/registers.md".to_owned(),
        _ => format!("docs/registers-{}.md", asic.name),
    }
}

/// All modelled registers of a part with all of its SDMA engines, as Markdown.
///
/// # Errors
/// [`GpuError`] if the part contradicts itself.
pub fn markdown(asic: &'static AsicProfile) -> Result<String, GpuError> {
    let config = GpuConfig::bare_metal(asic, asic.sdma.len());
    let gpu = Gpu::new(config, TestMemory::new(VRAM))?;
    let mut text = format!(
        "# Registers of {}\n\n\
         Generated from the register tables; do not edit. To make it anew:\n`{}`\n\n\
         Offsets are bytes in the register BAR (BAR 5); an array's elements lie at *first + stride x index*. *Reset* is the value\n\
         after power-on with {} MiB of VRAM. A write sets the bits of the *write mask* and clears those of the *write-one-to-clear*\n\
         mask that it has set; all others stay. *Fidelity*: **modelled** does what a driver expects of the hardware, **stored**\n\
         keeps its value and does nothing else, **constant** reads as one value and drops writes. A register that is not here reads\n\
         as 0, drops writes, and is counted (`unmodelled` on the control socket).\n",
        asic.name,
        regenerate(asic),
        VRAM >> 20,
    );
    for block in gpu.registers() {
        // Writing into a string does not fail.
        let _ = write!(text, "\n## {}\n", block.block);
        if block.smn {
            text.push_str("\nAddresses in the network, reached through PCIE_INDEX2 and PCIE_DATA2.\n");
        }
        let mut described: Vec<Rows<'_>> = Vec::new();
        for file in block.files {
            let rows = Rows::new(file);
            match described.iter().find(|other| other.same_table(&rows)) {
                Some(other) => {
                    let line = rows.moved_from(other);
                    // Several tables of one instance lie at one base.
                    if !text.contains(&line) {
                        text.push_str(&line);
                    }
                }
                None => text.push_str(&rows.table()),
            }
            described.push(rows);
        }
    }
    Ok(text)
}

/// A file's registers, arrays folded.
struct Rows<'a> {
    file: &'a RegisterFile,
    /// First register of each row of the table, ascending.
    firsts: Vec<RegisterInfo>,
}

impl<'a> Rows<'a> {
    fn new(file: &'a RegisterFile) -> Self {
        let mut firsts: Vec<RegisterInfo> = Vec::new();
        for register in file.registers() {
            if !firsts.iter().any(|first| std::ptr::eq(first.spec, register.spec)) {
                firsts.push(register);
            }
        }
        Self { file, firsts }
    }

    fn same_table(&self, other: &Self) -> bool {
        let specs = |rows: &Self| rows.firsts.iter().map(|first| first.spec).collect::<Vec<_>>();
        specs(self) == specs(other)
    }

    /// The names' prefix, for example `SDMA1_`.
    fn prefix(&self) -> &str {
        self.firsts.first().map_or("", prefix)
    }

    fn moved_from(&self, other: &Self) -> String {
        let (here, there) = (self.file.base().byte(), other.file.base().byte());
        format!(
            "\n`{}...`: the same registers as `{}...` in the table from {there:#x} on, {:#x} further on (from {here:#x}).\n",
            self.prefix(),
            other.prefix(),
            here.wrapping_sub(there)
        )
    }

    fn table(&self) -> String {
        let mut text = String::from(
            "\n| register | offset | reset | write mask | write-one-to-clear | fidelity |\n\
             |---|---|---|---|---|---|\n",
        );
        for first in &self.firsts {
            let RegSpec {
                count,
                stride,
                write_mask,
                w1c_mask,
                fidelity,
                ..
            } = *first.spec;
            let offset = match count {
                1 => format!("{:#07x}", first.offset.byte()),
                _ => format!("{:#07x} + {stride:#x} x 0..{}", first.offset.byte(), count - 1),
            };
            let _ = writeln!(
                text,
                "| {} | {offset} | {} | {} | {} | {} |",
                name(first),
                self.reset(first),
                bits(write_mask),
                bits(w1c_mask),
                fidelity.as_str(),
            );
        }
        text
    }

    /// What the elements of a row read after power-on.
    fn reset(&self, first: &RegisterInfo) -> String {
        let elements =
            (0..first.spec.count).map(|index| first.offset.plus(u32::from(index) * first.spec.stride));
        let mut values: Vec<u32> = elements.filter_map(|offset| self.file.read(offset)).collect();
        values.dedup();
        match *values.as_slice() {
            [value] => bits(value),
            _ => "differs".to_owned(),
        }
    }
}

/// What stands before the table's name for a register.
fn prefix(first: &RegisterInfo) -> &str {
    first
        .name
        .strip_suffix(&first.spec.element_name("", 0))
        .unwrap_or_default()
}

/// The name, with an index range for an array.
fn name(first: &RegisterInfo) -> String {
    let index = match first.spec.count {
        1 => "0".to_owned(),
        count => format!("[0..{}]", count - 1),
    };
    format!("{}{}", prefix(first), first.spec.name.replace("{}", &index))
}

fn bits(value: u32) -> String {
    match value {
        0 => "0".to_owned(),
        _ => format!("{value:#010x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asic::NAVI21;

    #[test]
    fn the_document_is_what_the_tables_say() {
        for asic in ASICS {
            let path = format!("{}/../{}", env!("CARGO_MANIFEST_DIR"), path(asic));
            let document = std::fs::read_to_string(path).unwrap_or_default();
            // Not assert_eq: the two texts of a thousand lines each would hide the message.
            assert!(
                document == markdown(asic).unwrap(),
                "the list of registers is out of date; make it anew with\n    {}",
                regenerate(asic)
            );
        }
    }

    #[test]
    fn arrays_are_folded_and_instances_refer_to_the_first() {
        let text = markdown(&NAVI21).unwrap();
        assert!(text.contains("| BIOS_SCRATCH_[0..15] | 0x00130 + 0x4 x 0..15 |"));
        assert!(text.contains("| SDMA0_GFX_RB_CNTL |"));
        assert!(!text.contains("| SDMA1_GFX_RB_CNTL |"));
        assert!(text.contains("`SDMA1_...`: the same registers as `SDMA0_...`"));
    }
}
