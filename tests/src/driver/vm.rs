//! `amdgpu_vm.c`, `amdgpu_vm_sdma.c`: a user's address space, its tables written by SDMA packets.

use std::collections::BTreeMap;

use gart::{BusAddr, GpuVa};

use super::gmc::{Gmc, pte};
use super::packet::sdma as packet;
use super::sdma::{JobVm, Sdma};
use crate::guest::{Buffer, Failure, FakeGuest, PAGE, hi, lo};

const ENTRIES: u64 = 512;
/// Bytes that an entry of a directory just above the page tables covers.
const HUGE_PAGE: u64 = ENTRIES * PAGE;
/// Level of the root: PDB2. Level 0 is a page table.
const ROOT: u32 = 3;

/// What a range shows.
#[derive(Debug, Clone, Copy)]
pub enum Mapping<'a> {
    /// Contiguous VRAM from this MC address on.
    Vram(GpuVa),
    /// Pages of RAM, in no order.
    System(&'a [BusAddr]),
}

#[derive(Debug)]
struct Table {
    buffer: Buffer,
    children: BTreeMap<u64, Self>,
}

/// An address space.
#[derive(Debug)]
pub struct Vm {
    vmid: u32,
    pasid: u32,
    root: Table,
    pd_base: u64,
}

/// Packets of one update and the entries that they copy: the packets grow up in the buffer, the entries down from its end.
#[derive(Debug)]
struct Update {
    ib: Buffer,
    packets: Vec<u32>,
    data_at: u64,
}

impl Update {
    fn new(ib: Buffer) -> Self {
        let data_at = ib.size();
        Self {
            ib,
            packets: Vec::new(),
            data_at,
        }
    }

    /// `amdgpu_vm_sdma_set_ptes`: short runs are spelled out, long ones generated.
    fn set(&mut self, table: &Buffer, first: u64, address: u64, count: u64, increment: u64, flags: u64) {
        let at = table.mc().plus(first * 8);
        if count < 3 {
            let entries: Vec<u32> = (0..count)
                .map(|index| (address + index * increment) | flags)
                .flat_map(|entry| [lo(entry), hi(entry)])
                .collect();
            self.packets.extend(packet::write(at, &entries));
        } else {
            self.packets
                .extend(packet::ptepde(at, address, lo(increment), flags, lo(count)));
        }
    }

    /// `amdgpu_vm_sdma_copy_ptes`: the entries are in the indirect buffer itself.
    fn copy(
        &mut self,
        guest: &FakeGuest,
        table: &Buffer,
        first: u64,
        pages: &[BusAddr],
    ) -> Result<(), Failure> {
        let bytes = 8 * pages.len() as u64;
        self.data_at = self
            .data_at
            .checked_sub(bytes)
            .ok_or(Failure::Exhausted("indirect buffer"))?;
        let entries: Vec<u32> = pages
            .iter()
            .map(|page| page.get() | pte::SYSTEM_PAGE)
            .flat_map(|entry| [lo(entry), hi(entry)])
            .collect();
        guest.write_dwords(&self.ib, self.data_at, &entries)?;
        let from = self.ib.mc().plus(self.data_at);
        self.packets
            .extend(packet::copy(from, table.mc().plus(first * 8), lo(bytes)));
        Ok(())
    }
}

/// Index of an address in the table at `level`.
const fn index(va: u64, level: u32) -> u64 {
    va >> (12 + 9 * level) & (ENTRIES - 1)
}

impl Vm {
    /// `amdgpu_vm_init`: an empty root, cleared by the engine.
    ///
    /// # Errors
    /// [`Failure`] if the engine does not work.
    pub fn new(
        guest: &mut FakeGuest,
        gmc: &Gmc,
        sdma: &mut Sdma,
        vmid: u32,
        pasid: u32,
    ) -> Result<Self, Failure> {
        let root = gmc.vram(guest, PAGE, PAGE)?;
        Self::new_in(guest, gmc, sdma, root, vmid, pasid)
    }

    /// The same in memory that was something else before: drivers take again what was freed last.
    ///
    /// # Errors
    /// [`Failure`] if the engine does not work.
    pub fn new_in(
        guest: &mut FakeGuest,
        gmc: &Gmc,
        sdma: &mut Sdma,
        root: Buffer,
        vmid: u32,
        pasid: u32,
    ) -> Result<Self, Failure> {
        let mut update = Update::new(sdma.ib().clone());
        let root = table_in(guest, root, &mut update)?;
        let pd_base = gmc.vram_entry(root.buffer.mc()) | pte::VALID;
        sdma.run(guest, &update.packets)?;
        Ok(Self {
            vmid,
            pasid,
            root,
            pd_base,
        })
    }

    /// What a job on this address space carries.
    pub const fn job(&self) -> JobVm {
        JobVm {
            vmid: self.vmid,
            pasid: self.pasid,
            pd_base: self.pd_base,
        }
    }

    /// `amdgpu_vmid_grab`: jobs use another VMID from now on.
    pub const fn assign(&mut self, vmid: u32) {
        self.vmid = vmid;
    }

    /// The root directory.
    pub const fn root(&self) -> &Buffer {
        &self.root.buffer
    }

    /// Every table: the root, and what is below it.
    pub fn tables(&self) -> Vec<Buffer> {
        let mut tables = Vec::new();
        let mut rest = vec![&self.root];
        while let Some(table) = rest.pop() {
            tables.push(table.buffer.clone());
            rest.extend(table.children.values());
        }
        tables
    }

    /// `amdgpu_vm_bo_update`: maps `bytes` at `va`, in whole pages.
    ///
    /// # Errors
    /// [`Failure`] if the engine does not work, or memory runs out.
    pub fn map(
        &mut self,
        guest: &mut FakeGuest,
        gmc: &Gmc,
        sdma: &mut Sdma,
        va: u64,
        bytes: u64,
        mapping: Mapping<'_>,
    ) -> Result<(), Failure> {
        let mut update = Update::new(sdma.ib().clone());
        let mut done = 0;
        while done < bytes {
            let here = va + done;
            let huge = matches!(mapping, Mapping::Vram(mc) if is_huge(gmc, mc, here, done, bytes));
            let level = if huge { 1 } else { 0 };
            let table = descend(&mut self.root, guest, gmc, &mut update, here, level)?.clone();
            if huge && let Mapping::Vram(mc) = mapping {
                let address = gmc.vram_entry(mc.plus(done));
                update.set(
                    &table,
                    index(here, 1),
                    address,
                    1,
                    HUGE_PAGE,
                    pte::VRAM_PAGE | pte::PDE_PTE,
                );
                done += HUGE_PAGE;
                continue;
            }
            let first = index(here, 0);
            let count = (ENTRIES - first).min((bytes - done).div_ceil(PAGE));
            match mapping {
                Mapping::Vram(mc) => {
                    update.set(
                        &table,
                        first,
                        gmc.vram_entry(mc.plus(done)),
                        count,
                        PAGE,
                        pte::VRAM_PAGE,
                    );
                }
                Mapping::System(pages) => {
                    let from = usize::try_from(done / PAGE).unwrap_or(usize::MAX);
                    let run = pages
                        .get(from..)
                        .and_then(|rest| rest.get(..usize::try_from(count).unwrap_or(usize::MAX)))
                        .ok_or(Failure::Invalid("fewer pages than the mapping needs"))?;
                    update.copy(guest, &table, first, run)?;
                }
            }
            done += count * PAGE;
        }
        sdma.run(guest, &update.packets).map(|_| ())
    }

    /// `amdgpu_vm_clear_freed`: takes pages out again.
    ///
    /// # Errors
    /// [`Failure`] if the engine does not work.
    pub fn unmap(
        &mut self,
        guest: &mut FakeGuest,
        gmc: &Gmc,
        sdma: &mut Sdma,
        va: u64,
        pages: u64,
    ) -> Result<(), Failure> {
        let mut update = Update::new(sdma.ib().clone());
        let table = descend(&mut self.root, guest, gmc, &mut update, va, 0)?.clone();
        update.set(&table, index(va, 0), 0, pages, 0, 0);
        sdma.run(guest, &update.packets).map(|_| ())
    }
}

/// Whether a directory entry can stand for 2 MiB from here on.
fn is_huge(gmc: &Gmc, mc: GpuVa, va: u64, done: u64, bytes: u64) -> bool {
    let address = gmc.vram_entry(mc.plus(done));
    va.is_multiple_of(HUGE_PAGE) && address.is_multiple_of(HUGE_PAGE) && bytes - done >= HUGE_PAGE
}

/// `amdgpu_vm_pt_create` and `amdgpu_vm_pt_clear`.
fn new_table(guest: &mut FakeGuest, gmc: &Gmc, update: &mut Update) -> Result<Table, Failure> {
    let buffer = gmc.vram(guest, PAGE, PAGE)?;
    table_in(guest, buffer, update)
}

fn table_in(guest: &FakeGuest, buffer: Buffer, update: &mut Update) -> Result<Table, Failure> {
    // What was in this memory before: entries that look valid. The clear below has to make them go away.
    guest.write_bytes(&buffer, 0, &[0xdb; 4096])?;
    update.set(&buffer, 0, 0, ENTRIES, 0, 0);
    Ok(Table {
        buffer,
        children: BTreeMap::new(),
    })
}

/// The table of `level` that maps `va`; missing ones are made, and their parents' entries written.
fn descend<'a>(
    root: &'a mut Table,
    guest: &mut FakeGuest,
    gmc: &Gmc,
    update: &mut Update,
    va: u64,
    level: u32,
) -> Result<&'a Buffer, Failure> {
    let mut table = root;
    for parent in (level + 1..=ROOT).rev() {
        let slot = index(va, parent);
        if !table.children.contains_key(&slot) {
            let child = new_table(guest, gmc, update)?;
            let entry = gmc.vram_entry(child.buffer.mc());
            update.set(&table.buffer, slot, entry, 1, 0, pte::VALID);
            table.children.insert(slot, child);
        }
        table = table
            .children
            .get_mut(&slot)
            .ok_or(Failure::Invalid("a table that was just made is gone"))?;
    }
    Ok(&table.buffer)
}
