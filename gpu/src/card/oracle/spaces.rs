//! The address spaces that are known.
//!
//! VMIDs move between processes, and a reset takes their registers away. What stays is where a space's root table is: no driver moves
//! the buffers of page tables in a reset. So a space is its root.

use gart::{Context, Location, Mappings, Vmid};

/// Spaces that are known at a time. Beyond that the one whose last use is longest ago is forgotten.
pub(super) const LIMIT: usize = 128;

/// A space's number; never used again for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SpaceId(u64);

/// What a space mapped when it was known to be good.
#[derive(Debug)]
pub(super) struct Reference {
    /// When: the generation.
    pub(super) generation: u64,
    /// When: microseconds since the daemon started.
    pub(super) us: u64,
    /// Its VMID then, or the last one before.
    pub(super) vmid: Vmid,
    /// Whether it was in use in that generation.
    pub(super) used: bool,
    /// What it mapped.
    pub(super) mappings: Mappings,
}

/// An address space.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) id: SpaceId,
    /// Where its root table is.
    pub(super) root: Location,
    /// How it was set up last.
    pub(super) context: Context,
    pub(super) fb_offset: u64,
    /// The VMID that it had last. The kernel's is the GART.
    pub(super) vmid: Vmid,
    /// The latest generation in which a VMID was pointed at it, or work ran in it.
    pub(super) used: u64,
    /// Since the reference was taken, tables of it were lost.
    pub(super) lost: bool,
    pub(super) reference: Option<Reference>,
    /// Grows with each use of any space.
    touched: u64,
}

impl Space {
    pub(super) fn is_gart(&self) -> bool {
        self.vmid == Vmid::KERNEL
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    list: Vec<Space>,
    by_vmid: [Option<SpaceId>; Vmid::COUNT],
    next: u64,
    clock: u64,
}

impl Spaces {
    /// A VMID was pointed at a root. Gives the space, and whether it was not known before; and the one that had to go for it.
    pub(super) fn point(
        &mut self,
        vmid: Vmid,
        context: Context,
        fb_offset: u64,
        generation: u64,
    ) -> (SpaceId, bool, Option<SpaceId>) {
        self.clock = self.clock.saturating_add(1);
        let root = context.root.location(fb_offset);
        let touched = self.clock;
        let known = self
            .list
            .iter_mut()
            .find(|space| space.root == root && space.is_gart() == (vmid == Vmid::KERNEL));
        let (id, new, gone) = match known {
            Some(space) => {
                space.context = context;
                space.fb_offset = fb_offset;
                space.vmid = vmid;
                space.used = generation;
                space.touched = touched;
                (space.id, false, None)
            }
            None => {
                let gone = self.make_room();
                let id = SpaceId(self.next);
                self.next = self.next.saturating_add(1);
                self.list.push(Space {
                    id,
                    root,
                    context,
                    fb_offset,
                    vmid,
                    used: generation,
                    lost: false,
                    reference: None,
                    touched,
                });
                (id, true, gone)
            }
        };
        if let Some(slot) = self.by_vmid.get_mut(vmid.index()) {
            *slot = Some(id);
        }
        (id, new, gone)
    }

    fn make_room(&mut self) -> Option<SpaceId> {
        if self.list.len() < LIMIT {
            return None;
        }
        let users = self.list.iter().filter(|space| !space.is_gart());
        let oldest = users.min_by_key(|space| space.touched)?.id;
        self.forget(oldest);
        Some(oldest)
    }

    pub(super) fn forget(&mut self, id: SpaceId) {
        self.list.retain(|space| space.id != id);
        for slot in &mut self.by_vmid {
            if *slot == Some(id) {
                *slot = None;
            }
        }
    }

    /// Work ran in a VMID whose base register now points at `root`.
    pub(super) fn work(&mut self, vmid: Vmid, root: Location, generation: u64) {
        self.clock = self.clock.saturating_add(1);
        let touched = self.clock;
        let Some(id) = self.by_vmid.get(vmid.index()).copied().flatten() else {
            return;
        };
        if let Some(space) = self.get_mut(id).filter(|space| space.root == root) {
            space.used = generation;
            space.touched = touched;
        }
    }

    pub(super) fn get(&self, id: SpaceId) -> Option<&Space> {
        self.list.iter().find(|space| space.id == id)
    }

    pub(super) fn get_mut(&mut self, id: SpaceId) -> Option<&mut Space> {
        self.list.iter_mut().find(|space| space.id == id)
    }

    pub(super) fn all(&self) -> &[Space] {
        &self.list
    }

    pub(super) fn all_mut(&mut self) -> &mut [Space] {
        &mut self.list
    }

    /// The most recently used first.
    pub(super) fn by_use(&self) -> Vec<SpaceId> {
        let mut order: Vec<_> = self
            .list
            .iter()
            .map(|space| (std::cmp::Reverse(space.touched), space.id))
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, id)| id).collect()
    }

    /// The GART.
    pub(super) fn gart(&self) -> Option<&Space> {
        let id = self.by_vmid.first().copied().flatten()?;
        self.get(id)
    }
}
