//! Memory and page tables for tests, of this crate and of others. Nothing here is meant to be fast or complete as a device;
//! everything keeps the promises of [`PhysicalMemory`].

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::{
    BusAddr, Context, ContextCntl, GpuVa, Level, Location, MemoryError, PAGE_SIZE, Pde, PhysicalMemory, Pte,
    Series, VramOffset,
};

/// [`PAGE_SIZE`] as a length.
const PAGE_LEN: usize = 4096;
const _: () = assert!(PAGE_LEN as u64 == PAGE_SIZE);

type Page = Box<[u8; PAGE_LEN]>;

/// VRAM in a vector, and bus memory in pages that a test maps one range at a time.
///
/// ```
/// use gart::testing::TestMemory;
/// use gart::{BusAddr, Location, PhysicalMemory};
///
/// let memory = TestMemory::new(1 << 20);
/// memory.map_system(BusAddr::new(0x1000), 0x2000);
/// memory.store_u32(Location::System(BusAddr::new(0x2ffc)), 7).unwrap();
/// assert!(memory.store_u32(Location::System(BusAddr::new(0x3000)), 7).is_err());
/// ```
#[derive(Debug)]
pub struct TestMemory {
    vram: RefCell<Vec<u8>>,
    system: RefCell<HashMap<u64, Page>>,
    bus_master: Cell<bool>,
}

impl TestMemory {
    /// `vram_size` bytes of zeroed VRAM and no bus memory; bus mastering is on.
    pub fn new(vram_size: u64) -> Self {
        Self {
            vram: RefCell::new(vec![0; usize::try_from(vram_size).unwrap_or(0)]),
            system: RefCell::new(HashMap::new()),
            bus_master: Cell::new(true),
        }
    }

    /// Puts zeroed memory on the bus, at every page that `at..at + len` touches. Pages that are there already keep their contents.
    pub fn map_system(&self, at: BusAddr, len: u64) {
        let Some(last) = len.checked_sub(1).map(|len| at.get().saturating_add(len)) else {
            return;
        };
        let mut system = self.system.borrow_mut();
        for page in at.get() / PAGE_SIZE..=last / PAGE_SIZE {
            system.entry(page).or_insert_with(|| Box::new([0; PAGE_LEN]));
        }
    }

    /// Sets PCI Command.BME: with `false`, every bus access fails.
    pub fn set_bus_master(&self, on: bool) {
        self.bus_master.set(on);
    }

    /// Overwrites all of VRAM with a pattern, as a reset that loses it does.
    pub fn lose_vram(&self, pattern: u64) {
        let pattern = pattern.to_le_bytes();
        for chunk in self.vram.borrow_mut().chunks_mut(pattern.len()) {
            for (byte, new) in chunk.iter_mut().zip(pattern) {
                *byte = new;
            }
        }
    }

    /// `len` bytes from `at`.
    ///
    /// # Errors
    /// [`MemoryError`] if any byte is out of reach.
    pub fn bytes(&self, at: Location, len: usize) -> Result<Vec<u8>, MemoryError> {
        self.check(at, len as u64)?;
        let mut data = vec![0; len];
        self.read(at, &mut data)?;
        Ok(data)
    }

    /// The 32-bit word at `at`.
    ///
    /// # Errors
    /// [`MemoryError`] if it is out of reach.
    pub fn load_u32(&self, at: Location) -> Result<u32, MemoryError> {
        let mut data = [0; 4];
        self.read(at, &mut data)?;
        Ok(u32::from_le_bytes(data))
    }

    fn check(&self, at: Location, len: u64) -> Result<(), MemoryError> {
        match at {
            Location::Vram(at) => {
                let size = self.vram_size();
                match at.get().checked_add(len) {
                    Some(end) if end <= size => Ok(()),
                    _ => Err(MemoryError::OutsideVram { at, len, size }),
                }
            }
            Location::System(at) if !self.bus_master.get() => Err(MemoryError::BusMasterOff { at }),
            Location::System(at) => {
                let unmapped = MemoryError::Unmapped { at, len };
                let Some(last) = len.checked_sub(1) else {
                    return Ok(());
                };
                let last = at.get().checked_add(last).ok_or(unmapped)?;
                let system = self.system.borrow();
                // Ends at the first hole, so that it is bounded by what is mapped.
                let mapped = (at.get() / PAGE_SIZE..=last / PAGE_SIZE).all(|page| system.contains_key(&page));
                mapped.then_some(()).ok_or(unmapped)
            }
        }
    }

    /// Splits `len` bytes at a bus address into (page, offset in page, bytes before, bytes).
    fn pieces(at: BusAddr, len: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
        let mut done: usize = 0;
        std::iter::from_fn(move || {
            let rest = len.checked_sub(done).filter(|rest| *rest > 0)?;
            let address = at.get().wrapping_add(done as u64);
            let offset = (address % PAGE_SIZE) as usize;
            let piece = rest.min(PAGE_LEN.saturating_sub(offset));
            let item = (address / PAGE_SIZE, offset, done, piece);
            done = done.saturating_add(piece);
            Some(item)
        })
    }
}

/// `slice[start..start + len]`, if it is there.
fn window(slice: &[u8], start: usize, len: usize) -> Option<&[u8]> {
    slice.get(start..start.checked_add(len)?)
}

fn window_mut(slice: &mut [u8], start: usize, len: usize) -> Option<&mut [u8]> {
    slice.get_mut(start..start.checked_add(len)?)
}

/// An offset that [`TestMemory::check`] has found to lie in VRAM.
fn index(at: VramOffset) -> usize {
    usize::try_from(at.get()).unwrap_or(usize::MAX)
}

impl PhysicalMemory for TestMemory {
    fn vram_size(&self) -> u64 {
        self.vram.borrow().len() as u64
    }

    fn reaches(&self, at: Location, len: u64) -> bool {
        self.check(at, len).is_ok()
    }

    fn read(&self, at: Location, data: &mut [u8]) -> Result<(), MemoryError> {
        self.check(at, data.len() as u64)?;
        match at {
            Location::Vram(at) => {
                if let Some(source) = window(&self.vram.borrow(), index(at), data.len()) {
                    data.copy_from_slice(source);
                }
            }
            Location::System(at) => {
                let system = self.system.borrow();
                for (page, offset, done, len) in Self::pieces(at, data.len()) {
                    let source = system.get(&page).and_then(|page| window(&**page, offset, len));
                    if let (Some(source), Some(target)) = (source, window_mut(data, done, len)) {
                        target.copy_from_slice(source);
                    }
                }
            }
        }
        Ok(())
    }

    fn write(&self, at: Location, data: &[u8]) -> Result<(), MemoryError> {
        self.check(at, data.len() as u64)?;
        match at {
            Location::Vram(at) => {
                if let Some(target) = window_mut(&mut self.vram.borrow_mut(), index(at), data.len()) {
                    target.copy_from_slice(data);
                }
            }
            Location::System(at) => {
                let mut system = self.system.borrow_mut();
                for (page, offset, done, len) in Self::pieces(at, data.len()) {
                    let target = system
                        .get_mut(&page)
                        .and_then(|page| window_mut(&mut **page, offset, len));
                    if let (Some(target), Some(source)) = (target, window(data, done, len)) {
                        target.copy_from_slice(source);
                    }
                }
            }
        }
        Ok(())
    }

    fn copy(&self, from: Location, to: Location, len: u64) -> Result<(), MemoryError> {
        self.check(from, len)?;
        self.check(to, len)?;
        let data = self.bytes(from, usize::try_from(len).unwrap_or(0))?;
        self.write(to, &data)
    }

    fn fill(&self, at: Location, pattern: u32, len: u64) -> Result<(), MemoryError> {
        self.check(at, len)?;
        let len = usize::try_from(len).unwrap_or(0);
        let mut data = pattern.to_le_bytes().repeat(len.div_ceil(4));
        data.truncate(len);
        self.write(at, &data)
    }

    fn write_series(&self, at: Location, series: Series, skip: u64, len: u64) -> Result<(), MemoryError> {
        self.check(at, len)?;
        let mut data = vec![0; usize::try_from(len).unwrap_or(0)];
        series.bytes(skip, &mut data);
        self.write(at, &data)
    }

    #[inline]
    fn load_u64(&self, at: Location) -> Result<u64, MemoryError> {
        if let Location::Vram(at) = at
            && let Ok(start) = usize::try_from(at.get())
            && let Some(word) = self.vram.borrow().get(start..).and_then(<[u8]>::first_chunk)
        {
            return Ok(u64::from_le_bytes(*word));
        }
        let mut data = [0; 8];
        self.read(at, &mut data)?;
        Ok(u64::from_le_bytes(data))
    }

    fn store_u32(&self, at: Location, value: u32) -> Result<(), MemoryError> {
        self.write(at, &value.to_le_bytes())
    }

    fn store_u64(&self, at: Location, value: u64) -> Result<(), MemoryError> {
        self.write(at, &value.to_le_bytes())
    }

    fn update_u32(&self, at: Location, update: &mut dyn FnMut(u32) -> u32) -> Result<u32, MemoryError> {
        let old = self.load_u32(at)?;
        self.store_u32(at, update(old))?;
        Ok(old)
    }

    fn update_u64(&self, at: Location, update: &mut dyn FnMut(u64) -> u64) -> Result<u64, MemoryError> {
        let old = self.load_u64(at)?;
        self.store_u64(at, update(old))?;
        Ok(old)
    }
}

/// Builds page tables in VRAM, the way the driver lays them out: an array per table, allocated in address order.
///
/// ```
/// use gart::testing::{TestMemory, TestTables};
/// use gart::{Access, GpuVa, Level, Pte};
///
/// let memory = TestMemory::new(1 << 20);
/// let mut tables = TestTables::four_levels();
/// let page = Pte::new().with_valid(true).with_readable(true).with_address(0x8_0000);
/// tables.map(&memory, GpuVa::new(0x40_0000), Level::Ptb, page).unwrap();
/// let found = gart::translate(&tables.context(), 0, &memory, GpuVa::new(0x40_0123), Access::Read).unwrap();
/// assert_eq!(found.remaining, 0x1000 - 0x123);
/// ```
#[derive(Debug, Clone)]
pub struct TestTables {
    depth: u8,
    root_level: Level,
    block_size: u8,
    start_page: u64,
    end_page: u64,
    root: Pde,
    next: u64,
}

impl TestTables {
    /// Room that the root takes in VRAM, at its start; further tables follow.
    const ROOT_BYTES: u64 = 0x1_0000;

    /// An empty tree with `depth` directory levels (0..=3), page tables of `1 << (9 + block_size)` entries, and the pages
    /// `start_page..=end_page`, in VRAM from offset `at` on. The root takes 64 KiB: 8192 entries.
    pub fn new(depth: u8, block_size: u8, start_page: u64, end_page: u64, at: VramOffset) -> Self {
        Self {
            depth: depth & 3,
            root_level: Level::root_of(depth),
            block_size,
            start_page,
            end_page,
            root: Pde::new().with_valid(true).with_address(at.get()),
            next: at.get().saturating_add(Self::ROOT_BYTES),
        }
    }

    /// What the driver gives a VMID: four levels, block size 9, 48 bits, here from VRAM offset 0 on.
    pub fn four_levels() -> Self {
        Self::new(3, 0, 0, (1 << 36) - 1, VramOffset::new(0))
    }

    /// The entry for the base register.
    pub const fn root(&self) -> Pde {
        self.root
    }

    /// The first VRAM offset behind the tables so far.
    pub const fn end(&self) -> VramOffset {
        VramOffset::new(self.next)
    }

    /// An enabled context with these tables, all fault interrupts on.
    pub fn context(&self) -> Context {
        let cntl = ContextCntl::from_bits(0x007f_fe00)
            .with_enable_context(true)
            .with_page_table_depth(self.depth)
            .with_page_table_block_size(self.block_size);
        Context::new(cntl, self.root, self.start_page, self.end_page)
    }

    /// Writes a leaf into the entry for `va` in a table of `level`, making the directories above it. P is set as it must be.
    ///
    /// # Errors
    /// [`MemoryError`] if VRAM is full.
    pub fn map(
        &mut self,
        memory: &TestMemory,
        va: GpuVa,
        level: Level,
        entry: Pte,
    ) -> Result<(), MemoryError> {
        let at = self.entry(memory, va, level)?;
        memory.store_u64(at, entry.with_pde_pte(level != Level::Ptb).into_bits())
    }

    /// Where the entry for `va` in a table of `level` is; makes the directories above it, in place of leaves if need be.
    ///
    /// # Errors
    /// [`MemoryError`] if VRAM is full.
    pub fn entry(&mut self, memory: &TestMemory, va: GpuVa, level: Level) -> Result<Location, MemoryError> {
        let block_bits = u32::from(self.block_size).saturating_add(9);
        let offset = va
            .canonical()
            .get()
            .saturating_sub(self.start_page.saturating_mul(PAGE_SIZE));
        let mut current = self.root_level;
        let mut table = self.root;
        let mut index = offset >> current.entry_shift(block_bits);
        loop {
            let at = table.location(0).plus(index.saturating_mul(8));
            let Some(below) = current.below().filter(|_| current > level) else {
                return Ok(at);
            };
            let mut next = Pde::from_bits(memory.load_u64(at)?);
            if !next.valid() || next.pde_pte() {
                let bytes = below.last_index(block_bits).saturating_add(1).saturating_mul(8);
                next = Pde::new().with_valid(true).with_address(self.next);
                memory.fill(next.location(0), 0, bytes)?;
                memory.store_u64(at, next.into_bits())?;
                self.next = self.next.saturating_add(bytes);
            }
            table = next;
            current = below;
            index = offset >> current.entry_shift(block_bits) & current.last_index(block_bits);
        }
    }
}
