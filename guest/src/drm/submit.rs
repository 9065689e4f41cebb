//! Contexts and submissions.

use std::time::Duration;

use protocol::names::CONTEXT_FLAGS;

use super::buffer::Buffer;
use super::device::Device;
use super::engine::Ring;
use super::fence::Fence;
use super::uapi::{self, BoList, BoListEntry, Cs, CsChunk, CsChunkIb, Ctx, FenceToHandle, WaitCs};
use crate::ioctl::{self, Error};

/// A context: what submissions belong to.
#[derive(Debug)]
pub struct Context<'a> {
    device: &'a Device,
    id: u32,
}

/// What `AMDGPU_CTX_OP_QUERY_STATE2` says about a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextState(pub u32);

impl ContextState {
    /// The flags in words (amdgpu_drm.h, `AMDGPU_CTX_QUERY2_FLAGS_*`).
    pub fn words(self) -> Vec<&'static str> {
        let bits = CONTEXT_FLAGS.list.iter();
        bits.filter(|(_, bit)| self.0 & bit != 0)
            .map(|(name, _)| *name)
            .collect()
    }
}

impl<'a> Context<'a> {
    /// Makes a context.
    pub fn new(device: &'a Device) -> Result<Self, Error> {
        let mut request = Ctx {
            operation: uapi::CTX_ALLOC,
            ..Ctx::default()
        };
        ioctl::send(&device.file, &mut request, "ALLOC_CTX")?;
        Ok(Self {
            device,
            id: request.first_word(),
        })
    }

    /// What happened to the device since the context was made.
    pub fn state(&self) -> Result<ContextState, Error> {
        let mut request = Ctx {
            operation: uapi::CTX_QUERY_STATE2,
            id: self.id,
            ..Ctx::default()
        };
        ioctl::send(
            &self.device.file,
            &mut request,
            &format!("QUERY_STATE2, context {}", self.id),
        )?;
        Ok(ContextState(request.first_word()))
    }

    /// Submits a command buffer at `address`.
    ///
    /// `buffers` are all that it touches, itself among them.
    pub fn submit(
        &self,
        ring: Ring,
        address: u64,
        bytes: u32,
        buffers: &[&Buffer<'_>],
    ) -> Result<Submission, Error> {
        let list = List::new(self.device, buffers)?;
        let indirect = CsChunkIb {
            address,
            bytes,
            engine: ring.engine.number(),
            ring: ring.number,
            ..CsChunkIb::default()
        };
        let chunk = CsChunk {
            id: uapi::CHUNK_IB,
            length: uapi::CHUNK_IB_DWORDS,
            data: std::ptr::from_ref(&indirect) as u64,
        };
        let chunks = [std::ptr::from_ref(&chunk) as u64];
        let mut submission = Cs {
            context: self.id,
            list: list.handle,
            chunk_count: 1,
            flags: 0,
            chunks: chunks.as_ptr() as u64,
        };
        let what = format!(
            "context {}, {ring}, {bytes} bytes of commands at {address:#x}, {} buffers",
            self.id,
            buffers.len()
        );
        ioctl::send(&self.device.file, &mut submission, &what)?;
        Ok(Submission {
            context: self.id,
            ring,
            sequence: submission.sequence(),
            what,
        })
    }

    /// Submits, and waits until it is done.
    pub fn run(
        &self,
        ring: Ring,
        address: u64,
        bytes: u32,
        buffers: &[&Buffer<'_>],
        limit: Duration,
    ) -> Result<(), Error> {
        let submission = self.submit(ring, address, bytes, buffers)?;
        if submission.wait(self.device, limit)? {
            return Ok(());
        }
        Err(Error::new(
            "AMDGPU_WAIT_CS",
            &format!("{submission}; not done within {limit:?}"),
            std::io::Error::from_raw_os_error(libc::ETIMEDOUT),
        ))
    }
}

/// Something that was submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    context: u32,
    /// Where.
    pub ring: Ring,
    sequence: u64,
    what: String,
}

impl Submission {
    /// Waits as clients do, and tells whether it is done. An error of its fence is an error of this request.
    pub fn wait(&self, device: &Device, limit: Duration) -> Result<bool, Error> {
        let nanoseconds = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX / 2);
        let mut wait = WaitCs {
            sequence: self.sequence,
            deadline: ioctl::monotonic_nanoseconds().saturating_add(nanoseconds),
            engine: self.ring.engine.number(),
            instance: 0,
            ring: self.ring.number,
            context: self.context,
        };
        ioctl::send(&device.file, &mut wait, &self.to_string())?;
        Ok(!wait.busy())
    }

    /// Its fence.
    pub fn fence(&self, device: &Device) -> Result<Fence, Error> {
        let mut request = FenceToHandle {
            context: self.context,
            engine: self.ring.engine.number(),
            instance: 0,
            ring: self.ring.number,
            sequence: self.sequence,
            what: uapi::FENCE_SYNC_FILE,
            pad: 0,
        };
        ioctl::send(&device.file, &mut request, &self.to_string())?;
        ioctl::take_descriptor(request.descriptor())
            .map(Fence::new)
            .ok_or_else(|| {
                let source = std::io::Error::from(std::io::ErrorKind::InvalidData);
                Error::new("AMDGPU_FENCE_TO_HANDLE", &self.to_string(), source)
            })
    }
}

impl std::fmt::Display for Submission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, submission {}", self.what, self.sequence)
    }
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        let mut request = Ctx {
            operation: uapi::CTX_FREE,
            id: self.id,
            ..Ctx::default()
        };
        // The context is ours; a failure would change nothing for us.
        let _ = ioctl::send(&self.device.file, &mut request, "FREE_CTX");
    }
}

/// The buffers of a submission.
struct List<'a> {
    device: &'a Device,
    handle: u32,
}

impl<'a> List<'a> {
    fn new(device: &'a Device, buffers: &[&Buffer<'_>]) -> Result<Self, Error> {
        let entries: Vec<_> = buffers
            .iter()
            .map(|buffer| BoListEntry {
                handle: buffer.handle,
                priority: 0,
            })
            .collect();
        let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let mut request = BoList {
            operation: uapi::BO_LIST_CREATE,
            list: 0,
            count,
            entry_size: uapi::BO_LIST_ENTRY_BYTES,
            entries: entries.as_ptr() as u64,
        };
        ioctl::send(&device.file, &mut request, &format!("CREATE, {count} buffers"))?;
        Ok(Self {
            device,
            handle: request.handle(),
        })
    }
}

impl Drop for List<'_> {
    fn drop(&mut self) {
        let mut request = BoList {
            operation: uapi::BO_LIST_DESTROY,
            list: self.handle,
            ..BoList::default()
        };
        // The list is ours; a failure would change nothing for us.
        let _ = ioctl::send(&self.device.file, &mut request, "DESTROY");
    }
}
