//! Accesses to one contiguous mapped piece.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use vm_memory::{VolatileMemory, VolatileSlice};

/// Repeats `pattern` over `piece`, beginning with its byte number `phase` (modulo 4).
pub(super) fn fill(piece: &VolatileSlice<'_>, pattern: u32, phase: usize) {
    const CHUNK: usize = 4096;
    let mut bytes = [0; CHUNK];
    let pattern = pattern.to_le_bytes();
    for (byte, value) in bytes.iter_mut().zip(pattern.iter().cycle().skip(phase % 4)) {
        *byte = *value;
    }
    let mut rest = *piece;
    loop {
        // The chunk is a multiple of the pattern, so every chunk starts in the same phase.
        let done = rest.len().min(CHUNK);
        rest.copy_from(&bytes);
        match rest.offset(done) {
            Ok(next) if !next.is_empty() => rest = next,
            _ => return,
        }
    }
}

/// A word that mapped memory holds, little endian.
pub(super) trait Word: Copy {
    /// Reads it in one access; `None` if the piece is not one aligned word.
    fn load(piece: &VolatileSlice<'_>) -> Option<Self>;

    /// Writes it in one access with release order; `None` if the piece is not one aligned word.
    fn store(self, piece: &VolatileSlice<'_>) -> Option<()>;

    /// Replaces it atomically and returns the old value; `None` if the piece is not one aligned word.
    fn update(piece: &VolatileSlice<'_>, update: &mut dyn FnMut(Self) -> Self) -> Option<Self>;
}

macro_rules! word {
    ($word:ty, $atomic:ty) => {
        impl Word for $word {
            #[inline]
            fn load(piece: &VolatileSlice<'_>) -> Option<Self> {
                let atomic = piece.get_atomic_ref::<$atomic>(0).ok()?;
                Some(Self::from_le(atomic.load(Ordering::Acquire)))
            }

            #[inline]
            fn store(self, piece: &VolatileSlice<'_>) -> Option<()> {
                let atomic = piece.get_atomic_ref::<$atomic>(0).ok()?;
                atomic.store(self.to_le(), Ordering::Release);
                Some(())
            }

            fn update(piece: &VolatileSlice<'_>, update: &mut dyn FnMut(Self) -> Self) -> Option<Self> {
                let atomic = piece.get_atomic_ref::<$atomic>(0).ok()?;
                let mut old = atomic.load(Ordering::Acquire);
                // A failed exchange means that a guest CPU's own access went through in between. It pays a cache-line transfer for
                // each, as this thread does, so neither can keep the other out for long.
                loop {
                    let new = update(Self::from_le(old)).to_le();
                    match atomic.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Acquire) {
                        Ok(_) => return Some(Self::from_le(old)),
                        Err(current) => old = current,
                    }
                }
            }
        }
    };
}

word!(u32, AtomicU32);
word!(u64, AtomicU64);
