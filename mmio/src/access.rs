//! The shape of a bus access.

use thiserror::Error;

use crate::RegOffset;

/// An access that the register bar cannot take. It says nothing about what the register would have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AccessError {
    /// The end of the access lies outside the region.
    #[error("access of {len} bytes at {offset:#x} lies outside the region of {size:#x} bytes")]
    OutOfRange {
        /// Byte offset of the access.
        offset: u64,
        /// Length in bytes.
        len: usize,
        /// Size of the region in bytes.
        size: u64,
    },
    /// The length is none that the region knows.
    #[error("access of {len} bytes at {offset:#x} has a size that this region does not take")]
    Size {
        /// Byte offset of the access.
        offset: u64,
        /// Length in bytes.
        len: usize,
    },
    /// The offset is not a multiple of the length.
    #[error("access of {len} bytes at {offset:#x} is not aligned")]
    Unaligned {
        /// Byte offset of the access.
        offset: u64,
        /// Length in bytes.
        len: usize,
    },
}

/// Checks an access of `len` bytes at byte `offset` to a dword register in a region of `size` bytes.
///
/// # Errors
/// [`AccessError`] if it is not one aligned dword inside the region.
pub fn check_dword(offset: u64, len: usize, size: u64) -> Result<RegOffset, AccessError> {
    if len != 4 {
        return Err(AccessError::Size { offset, len });
    }
    if !offset.is_multiple_of(4) {
        return Err(AccessError::Unaligned { offset, len });
    }
    match u32::try_from(offset) {
        Ok(byte) if offset.saturating_add(4) <= size => Ok(RegOffset::from_byte(byte)),
        _ => Err(AccessError::OutOfRange { offset, len, size }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aligned_dword_inside_the_region_is_taken() {
        assert_eq!(check_dword(0xffc, 4, 0x1000), Ok(RegOffset::from_byte(0xffc)));
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        assert!(matches!(
            check_dword(0x0, 8, 0x1000),
            Err(AccessError::Size { .. })
        ));
        assert!(matches!(
            check_dword(0x2, 4, 0x1000),
            Err(AccessError::Unaligned { .. })
        ));
        assert!(matches!(
            check_dword(0x1000, 4, 0x1000),
            Err(AccessError::OutOfRange { .. })
        ));
        assert!(matches!(
            check_dword(u64::MAX - 3, 4, 0x1000),
            Err(AccessError::OutOfRange { .. })
        ));
    }
}
