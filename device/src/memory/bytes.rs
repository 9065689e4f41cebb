//! Accesses to one contiguous mapped piece.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use gart::Series;
use vm_memory::{VolatileMemory, VolatileSlice};

/// Repeats `pattern` over `piece`, beginning with its byte number `phase` (modulo 4).
pub(super) fn fill(piece: &VolatileSlice<'_>, pattern: u32, phase: usize) {
    let word = |phase: usize| {
        let half = u64::from(pattern.rotate_right(u32::try_from(phase & 3).unwrap_or(0) << 3));
        half << 32 | half
    };
    let to_word = piece.ptr_guard().as_ptr().align_offset(WORD).min(piece.len());
    let Ok((head, rest)) = piece.split_at(to_word) else {
        return;
    };
    head.copy_from(&word(phase).to_le_bytes());
    let word = word(phase.wrapping_add(head.len()));
    if let Some(words) = words(&rest) {
        repeat(words, word.to_le());
    }
    if let Ok(tail) = rest.offset(rest.len() & !(WORD - 1)) {
        tail.copy_from(&word.to_le_bytes());
    }
}

/// Writes `series` over `piece`, beginning with its byte number `skip`.
pub(super) fn write_series(piece: &VolatileSlice<'_>, series: Series, skip: u64) {
    const BUFFER: usize = 512;
    let mut done = 0;
    if skip.is_multiple_of(WORD as u64)
        && let Some(words) = words(piece)
    {
        const ROW: usize = 8;
        let index = skip / WORD as u64;
        // Rows of words that do not depend on each other: the compiler takes a loop of atomics word by word.
        let offsets: [u64; ROW] = std::array::from_fn(|column| series.step.wrapping_mul(column as u64));
        let mut base = series.first.wrapping_add(series.step.wrapping_mul(index));
        let row_step = series.step.wrapping_mul(ROW as u64);
        let (rows, rest) = words.as_chunks::<ROW>();
        let store = |(word, offset): (&AtomicU64, u64), base: u64| {
            word.store(
                (base.wrapping_add(offset) | series.flags).to_le(),
                Ordering::Relaxed,
            );
        };
        for row in rows {
            row.iter().zip(offsets).for_each(|word| store(word, base));
            base = base.wrapping_add(row_step);
        }
        rest.iter().zip(offsets).for_each(|word| store(word, base));
        done = words.len() * WORD;
    }
    // What is left of the last word; or all of it, if its words do not lie as those of the memory do.
    let mut bytes = [0; BUFFER];
    while let Ok(rest) = piece.offset(done)
        && !rest.is_empty()
    {
        let (bytes, _) = bytes.split_at_mut(rest.len().min(BUFFER));
        series.bytes(skip.wrapping_add(done as u64), bytes);
        rest.copy_from(bytes);
        done += bytes.len();
    }
}

/// Bytes of a word.
const WORD: usize = size_of::<AtomicU64>();

/// The words of a piece that begins with a word; what follows the last whole one is left out.
#[expect(unsafe_code, reason = "vm-memory has references to single atomics only")]
fn words<'a>(piece: &VolatileSlice<'a>) -> Option<&'a [AtomicU64]> {
    let start = piece.ptr_guard_mut().as_ptr().cast::<AtomicU64>();
    // SAFETY: the piece is mapped for as long as 'a, nothing has a Rust reference to it that is not to an atomic, and the slice is
    // aligned and ends inside the piece. A piece that was mapped for reading alone is never handed to this module's writers.
    start
        .is_aligned()
        .then(|| unsafe { std::slice::from_raw_parts(start, piece.len() / WORD) })
}

/// Stores `value` into all words. The string instruction is what the C library's memset uses: from memory that is in no cache it does not
/// read what it is about to overwrite.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "a memset of words is in no library")]
fn repeat(words: &[AtomicU64], value: u64) {
    // SAFETY: it writes these words and nothing else, which a shared reference allows since they are atomics. The direction flag is
    // clear, as it has to be at every `asm!`.
    unsafe {
        std::arch::asm!(
            "rep stosq",
            inout("rdi") words.as_ptr() => _,
            inout("rcx") words.len() => _,
            in("rax") value,
            options(nostack, preserves_flags),
        );
    }
}

/// Stores `value` into all words.
#[cfg(not(target_arch = "x86_64"))]
fn repeat(words: &[AtomicU64], value: u64) {
    words.iter().for_each(|word| word.store(value, Ordering::Relaxed));
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
