//! A client whose address space is a compute VM: KFD's process, and memory that KFD allocated.

use std::time::{Duration, Instant};

use super::set::Client;
use super::{FIRST_ADDRESS, GIB, length};
use crate::drm::Device;
use crate::drm::sdma::Commands;
use crate::ioctl::Error;
use crate::json::Object;
use crate::kfd::{Kfd, Memory, ResetEvent};
use crate::marker;
use crate::pci::Gpu;

/// Where KFD's memory is, beside the client's buffers.
const ADDRESS: u64 = FIRST_ADDRESS + 20 * GIB;
const SIZE: u64 = 2 << 20;
/// The largest fill of one packet.
const CHUNK: u32 = 1 << 22;

/// Makes this process one of KFD's and the VM of its render node a compute VM.
pub(super) fn acquire(device: &Device) -> Result<Kfd, String> {
    let kfd = Kfd::open(&Gpu::find()?)?;
    kfd.acquire_vm(device)?;
    marker::note(
        "compute-vm",
        &Object::new().text("gpu_id", &format!("{:#x}", kfd.gpu())),
    );
    Ok(kfd)
}

/// KFD's memory for a client.
pub(super) fn memory<'a>(kfd: &'a Kfd, device: &Device) -> Result<Memory<'a>, String> {
    Memory::new(kfd, device, ADDRESS, SIZE)
}

/// The event that a reset signals, made before there is one.
pub(super) fn event(kfd: &Kfd) -> Result<ResetEvent<'_>, String> {
    Ok(ResetEvent::new(kfd)?)
}

impl Client<'_> {
    /// Waits for the event of a reset, and reports what KFD says with it.
    pub(super) fn reset_event(&self, limit: Duration) -> Result<(), String> {
        let event = self
            .event
            .as_ref()
            .ok_or("client-reset-event: the client was not opened with vm=compute")?;
        let exception = event.wait(limit)?.ok_or_else(|| {
            format!(
                "KFD signalled no reset (HW_EXCEPTION) within {} ms",
                limit.as_millis()
            )
        })?;
        marker::note(
            "reset-event",
            &Object::new()
                .text("name", &self.name)
                .number("reset_type", exception.reset_type.into())
                .number("reset_cause", exception.reset_cause.into())
                .number("memory_lost", exception.memory_lost.into())
                .text("gpu_id", &format!("{:#x}", exception.gpu)),
        );
        Ok(())
    }

    /// Asks KFD for a few things, and reports what became of each.
    pub(super) fn ask_kfd(&self) -> Result<(), String> {
        let kfd = self
            .kfd
            .ok_or("client-kfd: the client was not opened with vm=compute")?;
        let answers = kfd.ask();
        marker::note(
            "kfd",
            &Object::new()
                .text("name", &self.name)
                .number("clock_errno", code(&answers.clock))
                .number("available_errno", code(&answers.available))
                .number("allocate_errno", code(&answers.allocate))
                .number("gpu_clock", *answers.clock.as_ref().unwrap_or(&0))
                .number("available", *answers.available.as_ref().unwrap_or(&0)),
        );
        Ok(answers.judge()?)
    }

    /// Has SDMA fill KFD's memory by a job of the DRM context, or of a new one, and compares each dword.
    pub(super) fn compute(&mut self, new_context: bool) -> Result<(), String> {
        if new_context {
            self.renew_context()?;
        }
        let value = (self.pattern.next() & 0xffff_ffff) as u32;
        let memory = self
            .memory
            .as_ref()
            .ok_or("client-compute: the client was not opened with vm=compute")?;
        memory.write(&(!value).to_le_bytes().repeat(length(memory.size() / 4)?))?;
        let mut commands = Commands::new();
        commands.fill(memory.address(), value, memory.size(), CHUNK);
        let started = Instant::now();
        self.submit(commands, &[])?;
        let found = memory.read_all()?;
        let wrong = wrong_dwords(&found, value);
        let dwords = found.len() / 4;
        marker::note(
            "compute",
            &Object::new()
                .text("name", &self.name)
                .number("dwords", dwords as u64)
                .number("wrong", wrong as u64)
                .number("ms", marker::milliseconds(started)),
        );
        match wrong {
            0 => Ok(()),
            wrong => Err(format!(
                "a fill of KFD's memory by SDMA ended without an error, and {wrong} of {dwords} dwords are wrong"
            )),
        }
    }
}

/// The error number of an answer, 0 without an error.
fn code<T>(answer: &Result<T, Error>) -> u64 {
    let error = answer.as_ref().err();
    error.map_or(0, |error| error.code().unsigned_abs().into())
}

fn wrong_dwords(bytes: &[u8], value: u32) -> usize {
    let wanted = value.to_le_bytes();
    bytes.chunks(4).filter(|dword| **dword != wanted).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dword_counts_once_however_much_of_it_is_wrong() {
        let mut bytes = 0x0403_0201_u32.to_le_bytes().repeat(4);
        assert_eq!(wrong_dwords(&bytes, 0x0403_0201), 0);
        bytes[5] = 0;
        bytes[6] = 0;
        bytes[15] = 0;
        assert_eq!(wrong_dwords(&bytes, 0x0403_0201), 2);
    }
}
