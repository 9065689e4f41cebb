//! A virtqueue as this device uses it: chains that are read in pieces, and chains that are filled. Whatever the guest wrote there, the
//! work is bounded and nothing outside of its memory is touched.

use std::sync::atomic::Ordering;

use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Bytes that are copied at once.
const PIECE: usize = 16 << 10;

/// A guest's memory.
pub type Memory = GuestMemoryMmap<()>;

/// The rings of a front end.
pub trait Rings {
    /// Runs something on a ring; none if the ring does not run.
    fn with<R>(&mut self, index: usize, run: impl FnOnce(&mut Queue, &Memory) -> R) -> Option<R>;

    /// Tells the guest that it has buffers back.
    fn signal(&mut self, index: usize);
}

/// A ring that cannot be used any more: the guest, or its front end, wrote something into it that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// The next chain that the guest made available.
pub fn next<'m>(
    queue: &mut Queue,
    memory: &'m Memory,
) -> Result<Option<DescriptorChain<&'m Memory>>, Broken> {
    let waiting = queue.avail_idx(memory, Ordering::Acquire).map_err(|_| Broken)?;
    if waiting.0 == queue.next_avail() {
        return Ok(None);
    }
    let size = queue.size();
    let mut chains = queue.iter(memory).map_err(|_| Broken)?;
    let chain = chains.next().ok_or(Broken)?;
    if chain.head_index() >= size {
        return Err(Broken);
    }
    Ok(Some(chain))
}

/// Gives a chain back.
pub fn give_back(queue: &mut Queue, memory: &Memory, head: u16, written: usize) -> Result<(), Broken> {
    let written = u32::try_from(written).unwrap_or(u32::MAX);
    queue.add_used(memory, head, written).map_err(|_| Broken)
}

/// Chains that the device has and has not given back.
pub fn owned(queue: &Queue, memory: &Memory) -> u16 {
    queue
        .avail_idx(memory, Ordering::Acquire)
        .map_or(0, |waiting| waiting.0.wrapping_sub(queue.next_used()))
}

/// How far the guest has made chains available.
pub fn made_available(queue: &Queue, memory: &Memory) -> Option<u16> {
    Some(queue.avail_idx(memory, Ordering::Acquire).ok()?.0)
}

/// How far the reading of a chain came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Bytes that were read now.
    pub count: usize,
    /// Whether the chain has no more.
    pub finished: bool,
}

/// Reads at most `limit` bytes of a chain, after the first `skip` of them. What cannot be read is left out.
pub fn read(
    chain: DescriptorChain<&Memory>,
    memory: &Memory,
    mut skip: u64,
    limit: usize,
    mut take: impl FnMut(&[u8]),
) -> Read {
    let mut buffer = [0; PIECE];
    let mut count = 0;
    for descriptor in chain.readable() {
        let mut left = u64::from(descriptor.len());
        let passed = skip.min(left);
        skip -= passed;
        left -= passed;
        let mut address = descriptor.addr().0.checked_add(passed);
        while left > 0 {
            if count >= limit {
                return Read {
                    count,
                    finished: false,
                };
            }
            let length = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(limit - count)
                .min(PIECE);
            let piece = buffer.get_mut(..length).unwrap_or_default();
            let read = address.is_some_and(|at| memory.read_slice(piece, GuestAddress(at)).is_ok());
            if !read {
                break;
            }
            take(piece);
            count += length;
            left -= length as u64;
            address = address.and_then(|at| at.checked_add(length as u64));
        }
    }
    Read {
        count,
        finished: true,
    }
}

/// Fills a chain with what `give` writes into the buffer that it gets; gives how many bytes that are. `taken` is told what has arrived.
pub fn write(
    chain: DescriptorChain<&Memory>,
    memory: &Memory,
    limit: usize,
    mut give: impl FnMut(&mut [u8]) -> usize,
    mut taken: impl FnMut(&[u8]),
) -> usize {
    let mut buffer = [0; PIECE];
    let mut count = 0;
    for descriptor in chain.writable() {
        let mut left = usize::try_from(descriptor.len()).unwrap_or(usize::MAX);
        let mut address = Some(descriptor.addr().0);
        while left > 0 && count < limit {
            let length = left.min(limit - count).min(PIECE);
            let piece = buffer.get_mut(..length).unwrap_or_default();
            let given = give(piece);
            let piece = piece.get(..given).unwrap_or_default();
            if piece.is_empty() {
                return count;
            }
            let written = address.is_some_and(|at| memory.write_slice(piece, GuestAddress(at)).is_ok());
            if !written {
                break;
            }
            taken(piece);
            count += given;
            left -= given;
            address = address.and_then(|at| at.checked_add(given as u64));
        }
    }
    count
}
