//! From an address to a place: pure functions of the decoded registers and of memory.

use crate::context::{DIRECTORY_BITS, PAGE_SHIFT, PAGE_SIZE};
use crate::{
    Access, AddressSpace, Apertures, BusAddr, Context, Fault, FaultKind, GpuVa, Level, Location, Pde,
    PhysicalMemory, Pte, Vmid, VramOffset,
};

/// What stands behind an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// Memory, from the address on.
    Memory(Location),
    /// A partially resident page that is not resident: reads give zeros, writes are dropped.
    Prt,
}

/// What decided a translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The frame buffer aperture of VMID 0.
    FrameBuffer,
    /// The AGP window of VMID 0.
    Agp,
    /// A leaf entry.
    Page {
        /// The kind of table that holds it.
        level: Level,
        /// The entry, with its flags.
        entry: Pte,
    },
}

/// A successful translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translation {
    /// What is there.
    pub backing: Backing,
    /// Bytes from the address to the end of what is contiguous (page, fragment or aperture); at least 1.
    pub remaining: u64,
    /// What decided it.
    pub source: Source,
}

impl AddressSpace {
    /// Translates `va` of `vmid`. VMID 0 looks in the frame buffer, in the AGP window and then, as all other contexts do, in its
    /// page table; the apertures work whether or not context 0 is enabled.
    ///
    /// # Errors
    /// The [`Fault`] that the hub would record.
    #[inline]
    pub fn translate<M: PhysicalMemory + ?Sized>(
        &self,
        memory: &M,
        vmid: Vmid,
        va: GpuVa,
        access: Access,
    ) -> Result<Translation, Fault> {
        if vmid == Vmid::KERNEL
            && let Some((location, remaining, source)) = self.apertures.find(va)
        {
            return Ok(Translation {
                backing: Backing::Memory(location),
                remaining,
                source,
            });
        }
        let fault = |kind| Fault {
            vmid,
            va: va.canonical(),
            access,
            kind,
        };
        let context = self
            .contexts
            .get(vmid.index())
            .ok_or_else(|| fault(FaultKind::ContextDisabled))?;
        translate(context, self.apertures.fb_offset, memory, va, access).map_err(fault)
    }
}

impl Apertures {
    /// Where an address lies in VMID 0 without a page table, and how many bytes of its aperture there are from there on.
    #[inline]
    pub(crate) fn find(&self, va: GpuVa) -> Option<(Location, u64, Source)> {
        let va = va.canonical().get();
        if self.fb_start <= va && va <= self.fb_last {
            let offset = VramOffset::new(va.wrapping_sub(self.fb_start));
            let remaining = self.fb_last.wrapping_sub(va).saturating_add(1);
            return Some((Location::Vram(offset), remaining, Source::FrameBuffer));
        }
        if self.agp_last != 0 && self.agp_start <= va && va <= self.agp_last {
            let address = BusAddr::new(self.agp_base).plus(va.wrapping_sub(self.agp_start));
            let remaining = self.agp_last.wrapping_sub(va).saturating_add(1);
            return Some((Location::System(address), remaining, Source::Agp));
        }
        None
    }
}

/// Walks one context's tables. `fb_offset` is FB_OFFSET in bytes.
///
/// At most four entries are loaded, whatever they contain. FRAG is believed, as a TLB believes it: the run is reported as
/// contiguous without a look at its other entries.
///
/// # Errors
/// Why there is no translation.
#[inline]
pub fn translate<M: PhysicalMemory + ?Sized>(
    context: &Context,
    fb_offset: u64,
    memory: &M,
    va: GpuVa,
    access: Access,
) -> Result<Translation, FaultKind> {
    if !context.enabled {
        return Err(FaultKind::ContextDisabled);
    }
    let va = va.canonical().get();
    let page = va >> PAGE_SHIFT;
    if page < context.start_page || page > context.end_page {
        return Err(FaultKind::OutOfRange);
    }
    let offset = va.wrapping_sub(context.start_page << PAGE_SHIFT);

    let root = context.root_level;
    let mut table = context.root;
    if !table.valid() {
        return Err(invalid_root(root));
    }
    // The level is a number here, for fewer instructions: the fewer a walk has, the more walks the CPU has under way at once while
    // their entries come from memory.
    let mut below = root.index();
    let mut shift = root.entry_shift(context.block_bits);
    let mut index = offset >> shift;
    loop {
        let at = table.location(fb_offset).plus(index << 3);
        let entry = Pde::from_bits(memory.load_u64(at).map_err(FaultKind::Memory)?);
        if below == 0 || entry.pde_pte() {
            let level = Level::with_below(below);
            return leaf(context, fb_offset, level, shift, entry.as_pte(), offset, access);
        }
        if !entry.valid() {
            return Err(Level::with_below(below).invalid_entry());
        }
        table = entry;
        below = below.wrapping_sub(1);
        let last;
        (shift, last) = match below {
            0 => (PAGE_SHIFT, Level::Ptb.last_index(context.block_bits)),
            _ => (shift.wrapping_sub(DIRECTORY_BITS), (1 << DIRECTORY_BITS) - 1),
        };
        index = offset >> shift & last;
    }
}

/// The entry that decides a translation, whatever it holds: where it lies, and its bits. The walk ends at a leaf, or at an entry that
/// is not valid; `None` where there is no table to look at.
pub fn deciding_entry<M: PhysicalMemory + ?Sized>(
    context: &Context,
    fb_offset: u64,
    memory: &M,
    va: GpuVa,
) -> Option<(Location, u64)> {
    let va = va.canonical().get();
    let page = va >> PAGE_SHIFT;
    if page < context.start_page || page > context.end_page {
        return None;
    }
    let offset = va.wrapping_sub(context.start_page << PAGE_SHIFT);
    let mut level = context.root_level;
    let mut index = offset >> level.entry_shift(context.block_bits);
    let mut table = Some(context.root).filter(|root| root.valid())?;
    loop {
        let at = table.location(fb_offset).plus(index << 3);
        let entry = Pde::from_bits(memory.load_u64(at).ok()?);
        match level.below() {
            Some(below) if !entry.pde_pte() && entry.valid() => {
                table = entry;
                level = below;
                index =
                    offset >> level.entry_shift(context.block_bits) & level.last_index(context.block_bits);
            }
            _ => return Some((at, entry.into_bits())),
        }
    }
}

/// The base register counts as the directory entry above the root.
pub(crate) const fn invalid_root(root: Level) -> FaultKind {
    let level = match root {
        Level::Ptb => 0,
        Level::Pdb0 => 1,
        Level::Pdb1 => 2,
        Level::Pdb2 => 3,
    };
    FaultKind::InvalidPde { level }
}

#[inline]
fn leaf(
    context: &Context,
    fb_offset: u64,
    level: Level,
    entry_shift: u32,
    entry: Pte,
    offset: u64,
    access: Access,
) -> Result<Translation, FaultKind> {
    let entry_shift = entry_shift.min(GpuVa::BITS);
    let run_shift = entry_shift
        .max(PAGE_SHIFT.saturating_add(u32::from(entry.fragment())))
        .min(GpuVa::BITS);
    let low_bits = |shift: u32| offset & (1_u64 << (shift & 63)).wrapping_sub(1);
    let to_end_of_run = (1_u64 << (run_shift & 63)).wrapping_sub(low_bits(run_shift));
    let to_end_of_context = context
        .end_page
        .wrapping_sub(context.start_page)
        .wrapping_add(1)
        .wrapping_mul(PAGE_SIZE)
        .wrapping_sub(offset);
    let remaining = to_end_of_run.min(to_end_of_context);

    let backing = if entry.is_unmapped_prt() {
        Backing::Prt
    } else if !entry.valid() {
        return Err(FaultKind::InvalidPte);
    } else if !allows(entry, access) {
        return Err(FaultKind::Permission);
    } else {
        Backing::Memory(entry.location(fb_offset).plus(low_bits(entry_shift)))
    };
    Ok(Translation {
        backing,
        remaining,
        source: Source::Page { level, entry },
    })
}

const fn allows(entry: Pte, access: Access) -> bool {
    match access {
        Access::Read => entry.readable(),
        Access::Write => entry.writeable(),
    }
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
