//! Registers described as data.

use crate::RegOffset;

/// How faithful the model of a register is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fidelity {
    /// The register does, as far as a driver can tell, what hardware does.
    Modelled,
    /// The value is kept and read back; nothing else happens.
    Stored,
    /// Reads give a fixed value, writes are dropped.
    Constant,
}

impl Fidelity {
    /// The word used in logs and in the generated register list.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Modelled => "modelled",
            Self::Stored => "stored, no effect",
            Self::Constant => "reads as constant",
        }
    }
}

/// One register, or an array of equal registers at a fixed stride.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegSpec {
    /// AMD's name without the instance prefix. In an array, `{}` stands for the index.
    pub name: &'static str,
    /// Offset relative to the block's base, or to that of its segment.
    pub offset: RegOffset,
    /// Which of an IP's bases that is; 0 where a block has one.
    pub segment: u8,
    /// How many registers the entry describes; 1 for a plain register.
    pub count: u16,
    /// Bytes from one element of an array to the next.
    pub stride: u32,
    /// Value after a reset.
    pub reset: u32,
    /// Bits that a write sets.
    pub write_mask: u32,
    /// Bits that a write of one clears. They must not be in `write_mask`.
    pub w1c_mask: u32,
    /// How faithful the model is.
    pub fidelity: Fidelity,
}

impl RegSpec {
    const fn plain(name: &'static str, offset: RegOffset, write_mask: u32, fidelity: Fidelity) -> Self {
        Self {
            name,
            offset,
            segment: 0,
            count: 1,
            stride: 4,
            reset: 0,
            write_mask,
            w1c_mask: 0,
            fidelity,
        }
    }

    /// A register whose value is kept without effect; resets to 0, all bits writable.
    pub const fn stored(name: &'static str, offset: RegOffset) -> Self {
        Self::plain(name, offset, u32::MAX, Fidelity::Stored)
    }

    /// A register with behaviour in the block's code; resets to 0, all bits writable.
    pub const fn modelled(name: &'static str, offset: RegOffset) -> Self {
        Self::plain(name, offset, u32::MAX, Fidelity::Modelled)
    }

    /// A register that always reads `value`.
    pub const fn constant(name: &'static str, offset: RegOffset, value: u32) -> Self {
        Self {
            reset: value,
            ..Self::plain(name, offset, 0, Fidelity::Constant)
        }
    }

    /// The same with another reset value.
    #[must_use]
    pub const fn reset(self, reset: u32) -> Self {
        Self { reset, ..self }
    }

    /// The same with only these bits writable.
    #[must_use]
    pub const fn write_mask(self, write_mask: u32) -> Self {
        Self { write_mask, ..self }
    }

    /// The same with these bits cleared by writing one; they stop being plainly writable.
    #[must_use]
    pub const fn w1c(self, w1c_mask: u32) -> Self {
        Self {
            w1c_mask,
            write_mask: self.write_mask & !w1c_mask,
            ..self
        }
    }

    /// The same relative to another of the IP's bases.
    #[must_use]
    pub const fn in_segment(self, segment: u8) -> Self {
        Self { segment, ..self }
    }

    /// The same as an array of `count` registers, `stride` bytes apart.
    #[must_use]
    pub const fn array(self, count: u16, stride: u32) -> Self {
        Self {
            count,
            stride,
            ..self
        }
    }

    /// Whether it comes after another in a table that ascends.
    const fn is_behind(&self, other: &Self) -> bool {
        self.segment > other.segment
            || self.segment == other.segment && self.offset.byte() > other.offset.byte()
    }

    /// Offset of element `index`, relative to the block's base.
    pub const fn element(&self, index: u16) -> RegOffset {
        self.offset.plus((index as u32).wrapping_mul(self.stride))
    }

    /// Where element `index` is in the register BAR, with these bases (in dwords, by segment). `None` if there is no such segment.
    pub fn place(&self, bases: &[u32], index: u16) -> Option<RegOffset> {
        let base = bases.get(usize::from(self.segment))?;
        Some(RegOffset::from_dword(*base).plus(self.element(index).byte()))
    }

    /// Name of element `index`, with the instance prefix.
    pub fn element_name(&self, prefix: &str, index: u16) -> String {
        format!("{prefix}{}", self.name.replace("{}", &index.to_string()))
    }
}

/// Joins two tables into one of `N` rows, ascending by segment and offset: what parts have in common, and what one of them has of its own.
///
/// # Panics
/// While the program is compiled, if `N` is not the number of rows.
#[must_use]
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated while compiling, where nothing else works and an index out of range is an error message"
)]
pub const fn merge<const N: usize>(common: &[RegSpec], own: &[RegSpec]) -> [RegSpec; N] {
    assert!(common.len() + own.len() == N, "N is not the number of rows");
    let mut rows = [RegSpec::constant("", RegOffset::from_byte(0), 0); N];
    let mut count = 0;
    while count < N {
        // Sorted by insertion: a table is a few hundred rows, and nearly in order.
        let row = if count < common.len() {
            common[count]
        } else {
            own[count - common.len()]
        };
        let mut at = count;
        while at > 0 && rows[at - 1].is_behind(&row) {
            rows[at] = rows[at - 1];
            at -= 1;
        }
        rows[at] = row;
        count += 1;
    }
    rows
}

/// The offset of a row relative to its segment's base, found by name while compiling: code names a register, and the number stands in the table
/// only. For an array, its first element.
///
/// # Panics
/// While the program is compiled, if no row has this name.
#[must_use]
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated while compiling, where nothing else works and an index out of range is an error message"
)]
pub const fn offset_of(rows: &[RegSpec], name: &str) -> RegOffset {
    let wanted = name.as_bytes();
    let mut row = 0;
    loop {
        assert!(row < rows.len(), "no row has this name");
        let found = rows[row].name.as_bytes();
        let mut same = 0;
        while same < wanted.len() && same < found.len() && wanted[same] == found[same] {
            same += 1;
        }
        if same == wanted.len() && same == found.len() {
            return rows[row].offset;
        }
        row += 1;
    }
}

/// A table of this name from two others: [`merge`] without counting rows.
#[macro_export]
macro_rules! merged {
    ($(#[$attribute:meta])* $visibility:vis static $name:ident = $common:expr, $own:expr;) => {
        $(#[$attribute])*
        $visibility static $name: &[$crate::RegSpec] =
            &$crate::merge::<{ $common.len() + $own.len() }>($common, $own);
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMON: &[RegSpec] = &[
        RegSpec::stored("A", RegOffset::from_byte(0x0)),
        RegSpec::stored("C{}", RegOffset::from_byte(0x8)).array(2, 8),
    ];
    const OWN: &[RegSpec] = &[
        RegSpec::stored("D", RegOffset::from_byte(0xc)),
        RegSpec::stored("B", RegOffset::from_byte(0x4)),
    ];
    merged! {
        static ALL = COMMON, OWN;
    }

    #[test]
    fn a_rows_offset_is_found_by_its_whole_name() {
        const C: RegOffset = offset_of(COMMON, "C{}");
        assert_eq!(C.byte(), 0x8);
    }

    #[test]
    fn merged_tables_have_all_rows_by_offset() {
        let names: Vec<_> = ALL.iter().map(|spec| spec.name).collect();
        assert_eq!(names, ["A", "B", "C{}", "D"]);
    }
}
