//! What KFD tells a system-management program: lines of text about a GPU, read from a file of its own (amdkfd/kfd_smi_events.c).

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use super::Kfd;
use super::uapi::{self, SmiEvents};
use crate::{ioctl, sys};

/// Bytes that the kernel keeps at most for a reader (`KFD_MAX_KFIFO_SIZE` of 6.12 and later; 1024 in 6.1).
const MOST: usize = 8192;
/// Reads of one look: more than a full queue of the kernel's takes.
const READS: usize = 4;

/// An open file with the events of a GPU.
#[derive(Debug)]
pub struct Smi {
    file: File,
}

/// An event: `NUMBER REST`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmiEvent {
    /// `KFD_SMI_EVENT_*`.
    pub kind: u32,
    /// What is said with it, as the kernel prints it.
    pub text: String,
}

impl Smi {
    /// Opens the file and enables the events of resets and of page faults. Nothing is enabled in a new one.
    pub fn open(kfd: &Kfd) -> Result<Self, String> {
        let mut request = SmiEvents {
            gpu: kfd.gpu,
            descriptor: u32::MAX,
        };
        super::send(&kfd.file, &mut request, &format!("gpu {:#x}", kfd.gpu))?;
        let descriptor = i32::try_from(request.descriptor)
            .ok()
            .and_then(ioctl::take_descriptor);
        let mut file = File::from(
            descriptor
                .ok_or_else(|| format!("AMDKFD_IOC_SMI_EVENTS gave descriptor {}", request.descriptor))?,
        );
        let enabled = [uapi::SMI_VM_FAULT, uapi::SMI_PRE_RESET, uapi::SMI_POST_RESET];
        // 6.1 and 6.12 give events of other processes only to who asks for those of all of them.
        let mask = enabled
            .map(mask)
            .iter()
            .fold(mask(uapi::SMI_ALL_PROCESSES), |all, bit| all | bit);
        file.write_all(&mask.to_ne_bytes())
            .map_err(|error| format!("enabling SMI events {mask:#x}: {}", sys::explain(&error)))?;
        Ok(Self { file })
    }

    /// Waits until there is an event, and takes all that there are then.
    pub fn take(&mut self, limit: Duration) -> Result<Vec<SmiEvent>, String> {
        let mut text = Vec::new();
        if sys::wait_readable(self.file.as_fd(), limit) {
            for _ in 0..READS {
                let mut bytes = [0; MOST];
                match self.file.read(&mut bytes) {
                    Ok(0) => break,
                    Ok(count) => text.extend_from_slice(bytes.get(..count).unwrap_or_default()),
                    // The kernel's word for an empty queue.
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(format!("reading SMI events: {}", sys::explain(&error))),
                }
            }
        }
        parse(&text)
    }
}

/// The bit of an event (`KFD_SMI_EVENT_MASK_FROM_INDEX`).
const fn mask(event: u32) -> u64 {
    1 << (event - 1)
}

/// Reads lines `NUMBER REST`, the number in hexadecimal.
fn parse(bytes: &[u8]) -> Result<Vec<SmiEvent>, String> {
    let text = String::from_utf8_lossy(bytes);
    let line = |line: &str| {
        let (kind, text) = line.split_once(' ')?;
        Some(SmiEvent {
            kind: u32::from_str_radix(kind, 16).ok()?,
            text: text.trim_end().to_owned(),
        })
    };
    text.lines()
        .map(|text| line(text).ok_or_else(|| format!("SMI events have a line {text:?}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_lines_with_a_number_and_a_text() {
        let events = parse(b"3 1 reset\n4 1\n1 1f:client\n4 a \n").unwrap();
        let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [3, 4, 1, 4]);
        assert_eq!(events[0].text, "1 reset");
        assert_eq!(events[3].text, "a");
        assert_eq!(parse(b"").unwrap(), []);
        assert!(parse(b"hello\n").unwrap_err().contains("hello"));
    }

    #[test]
    fn the_mask_counts_from_one() {
        assert_eq!(mask(uapi::SMI_VM_FAULT), 1);
        assert_eq!(mask(uapi::SMI_PRE_RESET), 4);
        assert_eq!(mask(uapi::SMI_ALL_PROCESSES), 1 << 63);
    }
}
