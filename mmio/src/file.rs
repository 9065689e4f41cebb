//! A register file: storage and masks driven by a table of [`RegSpec`]s.

use crate::{RegOffset, RegSpec};

/// One cell of the file, sorted by its offset relative to the base.
#[derive(Debug, Clone)]
struct Cell {
    relative: RegOffset,
    spec: &'static RegSpec,
    element: u16,
    value: u32,
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Value before the write.
    pub old: u32,
    /// Value after masks were applied.
    pub new: u32,
}

/// A register as documentation and tests see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterInfo {
    /// Full name, with prefix and index.
    pub name: String,
    /// Absolute offset.
    pub offset: RegOffset,
    /// The table row that describes it.
    pub spec: &'static RegSpec,
}

/// The registers of one block instance: a base, a name prefix, a table and the values.
///
/// Bus-side functions ([`read`](Self::read), [`write`](Self::write)) take absolute offsets and honour the masks; device-side ones
/// ([`get`](Self::get), [`set`](Self::set)) take offsets relative to the base and store what they are given.
#[derive(Debug, Clone)]
pub struct RegisterFile {
    prefix: &'static str,
    base: RegOffset,
    cells: Vec<Cell>,
}

impl RegisterFile {
    /// Builds the file at `base`, every register at its reset value. Of two rows that claim one offset the first wins; the
    /// per-block table tests make sure that there are none.
    pub fn new(prefix: &'static str, base: RegOffset, specs: &'static [RegSpec]) -> Self {
        let mut cells: Vec<Cell> = specs
            .iter()
            .flat_map(|spec| {
                (0..spec.count).map(move |element| Cell {
                    relative: spec.element(element),
                    spec,
                    element,
                    value: spec.reset,
                })
            })
            .collect();
        cells.sort_by_key(|cell| cell.relative);
        cells.dedup_by_key(|cell| cell.relative);
        Self { prefix, base, cells }
    }

    /// Builds the file of an IP whose bases (in dwords, by segment) are these. Its offsets are those in the register BAR everywhere: there is
    /// nothing that they could be relative to. A row of a segment that has no base is left out, see [`unplaced`](Self::unplaced).
    pub fn placed(prefix: &'static str, bases: &[u32], specs: &'static [RegSpec]) -> Self {
        Self::of_ips(prefix, [(bases, specs)])
    }

    /// The same for the tables of several IPs, each with its bases.
    pub fn of_ips<'a>(
        prefix: &'static str,
        ips: impl IntoIterator<Item = (&'a [u32], &'static [RegSpec])>,
    ) -> Self {
        let mut cells: Vec<Cell> = Vec::new();
        for (bases, specs) in ips {
            cells.extend(specs.iter().flat_map(|spec| {
                (0..spec.count).filter_map(move |element| {
                    Some(Cell {
                        relative: spec.place(bases, element)?,
                        spec,
                        element,
                        value: spec.reset,
                    })
                })
            }));
        }
        cells.sort_by_key(|cell| cell.relative);
        cells.dedup_by_key(|cell| cell.relative);
        Self {
            prefix,
            base: RegOffset::from_byte(0),
            cells,
        }
    }

    /// Rows of segments that have no base, so that a profile's test can assert that there are none.
    pub fn unplaced(bases: &[u32], specs: &'static [RegSpec]) -> Vec<&'static str> {
        let missing = specs.iter().filter(|spec| spec.place(bases, 0).is_none());
        missing.map(|spec| spec.name).collect()
    }

    fn find(&self, relative: RegOffset) -> Option<&Cell> {
        let index = self
            .cells
            .binary_search_by_key(&relative, |cell| cell.relative)
            .ok()?;
        self.cells.get(index)
    }

    fn find_mut(&mut self, relative: RegOffset) -> Option<&mut Cell> {
        let index = self
            .cells
            .binary_search_by_key(&relative, |cell| cell.relative)
            .ok()?;
        self.cells.get_mut(index)
    }

    /// First offset of the block.
    pub const fn base(&self) -> RegOffset {
        self.base
    }

    /// Turns an absolute offset into one relative to the base, if a register of this file is there.
    pub fn relative(&self, offset: RegOffset) -> Option<RegOffset> {
        let relative = offset.relative_to(self.base)?;
        self.find(relative).map(|cell| cell.relative)
    }

    /// Bus read at an absolute offset; `None` if no register is there.
    pub fn read(&self, offset: RegOffset) -> Option<u32> {
        self.find(offset.relative_to(self.base)?).map(|cell| cell.value)
    }

    /// Bus write at an absolute offset through the register's masks; `None` if no register is there.
    pub fn write(&mut self, offset: RegOffset, value: u32) -> Option<Written> {
        let cell = self.find_mut(offset.relative_to(self.base)?)?;
        let RegSpec {
            write_mask, w1c_mask, ..
        } = *cell.spec;
        let old = cell.value;
        cell.value = (old & !write_mask | value & write_mask) & !(value & w1c_mask);
        Some(Written { old, new: cell.value })
    }

    /// The value at an offset relative to the base; 0 where the table has no register.
    pub fn get(&self, relative: RegOffset) -> u32 {
        self.find(relative).map_or(0, |cell| cell.value)
    }

    /// The 64-bit quantity in a LO register and a HI register, both relative to the base.
    pub fn get_pair(&self, lo: RegOffset, hi: RegOffset) -> u64 {
        u64::from(self.get(hi)) << 32 | u64::from(self.get(lo))
    }

    /// Stores a value from the device's side, past the masks. Offsets without a register are ignored.
    pub fn set(&mut self, relative: RegOffset, value: u32) {
        if let Some(cell) = self.find_mut(relative) {
            cell.value = value;
        }
    }

    /// The absolute offset of the register with this name.
    pub fn offset(&self, name: &str) -> Option<RegOffset> {
        self.registers()
            .find(|info| info.name == name)
            .map(|info| info.offset)
    }

    /// Full name of the register at an absolute offset.
    pub fn name(&self, offset: RegOffset) -> Option<String> {
        let cell = self.find(offset.relative_to(self.base)?)?;
        Some(cell.spec.element_name(self.prefix, cell.element))
    }

    /// Every register back to its reset value.
    pub fn reset(&mut self) {
        for cell in &mut self.cells {
            cell.value = cell.spec.reset;
        }
    }

    /// Absolute offsets of all registers, ascending.
    pub fn offsets(&self) -> impl Iterator<Item = RegOffset> + '_ {
        self.cells.iter().map(|cell| self.base.plus(cell.relative.byte()))
    }

    /// All registers, ascending by offset.
    pub fn registers(&self) -> impl Iterator<Item = RegisterInfo> + '_ {
        self.cells.iter().map(|cell| RegisterInfo {
            name: cell.spec.element_name(self.prefix, cell.element),
            offset: self.base.plus(cell.relative.byte()),
            spec: cell.spec,
        })
    }

    /// Checks the table itself: rows that overlap, bits that are both writable and write-one-to-clear. Returns one line per
    /// defect, so that a block's test can assert that there is none.
    pub fn table_defects(specs: &'static [RegSpec]) -> Vec<String> {
        let mut seen = std::collections::BTreeMap::new();
        let mut defects = Vec::new();
        for spec in specs {
            if spec.write_mask & spec.w1c_mask != 0 {
                defects.push(format!(
                    "{}: bits are both writable and write-one-to-clear",
                    spec.name
                ));
            }
            if spec.count > 1 && !spec.name.contains("{}") {
                defects.push(format!("{}: an array needs {{}} in its name", spec.name));
            }
            for element in 0..spec.count {
                if let Some(other) = seen.insert((spec.segment, spec.element(element)), spec.name) {
                    defects.push(format!(
                        "{} and {other} share {}",
                        spec.name,
                        spec.element(element)
                    ));
                }
            }
        }
        defects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: RegOffset = RegOffset::from_byte(0x0);
    const STATUS: RegOffset = RegOffset::from_byte(0x4);
    const BASES: RegOffset = RegOffset::from_byte(0x10);
    const FIXED: RegOffset = RegOffset::from_byte(0x8);
    static SPECS: &[RegSpec] = &[
        RegSpec::stored("PLAIN", PLAIN).reset(0x11).write_mask(0xff),
        RegSpec::modelled("STATUS", STATUS).reset(0xf).w1c(0x5),
        RegSpec::constant("FIXED", FIXED, 0xabcd),
        RegSpec::stored("BASE{}_LO", BASES).array(2, 8),
        RegSpec::stored("BASE{}_HI", RegOffset::from_byte(0x14)).array(2, 8),
    ];
    const BASE: RegOffset = RegOffset::from_byte(0x100);

    fn file() -> RegisterFile {
        RegisterFile::new("T_", BASE, SPECS)
    }

    #[test]
    fn writes_go_through_the_mask_and_reset_restores() {
        let mut file = file();
        assert_eq!(
            file.write(BASE, 0xffff_ff22),
            Some(Written { old: 0x11, new: 0x22 })
        );
        file.reset();
        assert_eq!(file.read(BASE), Some(0x11));
    }

    #[test]
    fn write_one_to_clear_clears_exactly_the_ones() {
        let mut file = file();
        file.write(BASE.plus(4), 0x1);
        assert_eq!(file.get(STATUS) & 0x5, 0x4);
    }

    #[test]
    fn a_constant_ignores_writes() {
        let mut file = file();
        file.write(BASE.plus(8), 0);
        assert_eq!(file.get(FIXED), 0xabcd);
    }

    #[test]
    fn interleaved_arrays_resolve_to_their_own_elements() {
        let mut file = file();
        file.write(BASE.plus(0x18), 7);
        file.write(BASE.plus(0x1c), 9);
        assert_eq!(
            file.get_pair(RegOffset::from_byte(0x18), RegOffset::from_byte(0x1c)),
            9 << 32 | 7
        );
        assert_eq!(file.name(BASE.plus(0x1c)).as_deref(), Some("T_BASE1_HI"));
        assert_eq!(file.get(BASES), 0);
    }

    #[test]
    fn offsets_outside_the_table_have_no_register() {
        let mut file = file();
        assert_eq!(file.read(RegOffset::from_byte(0xfc)), None);
        assert_eq!(file.write(BASE.plus(0x40), 1), None);
    }

    #[test]
    fn rows_of_a_segment_lie_at_its_base() {
        static ROWS: &[RegSpec] = &[
            RegSpec::stored("A", RegOffset::from_dword(1)),
            RegSpec::stored("B{}", RegOffset::from_dword(1))
                .in_segment(1)
                .array(2, 4),
            RegSpec::stored("C", RegOffset::from_dword(1)).in_segment(2),
        ];
        let file = RegisterFile::placed("", &[0x20, 0x10], ROWS);
        let found: Vec<_> = file
            .registers()
            .map(|info| (info.offset.dword(), info.name))
            .collect();
        let expected = [(0x11, "B0"), (0x12, "B1"), (0x21, "A")];
        assert_eq!(found, expected.map(|(dword, name)| (dword, name.to_owned())));
        assert_eq!(RegisterFile::unplaced(&[0x20, 0x10], ROWS), ["C"]);
        assert_eq!(RegisterFile::table_defects(ROWS), Vec::<String>::new());
    }

    #[test]
    fn table_defects_are_found() {
        static BAD: &[RegSpec] = &[
            RegSpec::stored("A", PLAIN),
            RegSpec::stored("B", PLAIN),
            RegSpec {
                w1c_mask: 1,
                ..RegSpec::stored("C", STATUS)
            },
        ];
        assert_eq!(RegisterFile::table_defects(SPECS), Vec::<String>::new());
        assert_eq!(RegisterFile::table_defects(BAD).len(), 2);
    }
}
