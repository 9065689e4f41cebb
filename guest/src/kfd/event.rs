//! What KFD tells a process of a reset (amdkfd/kfd_events.c, `kfd_signal_reset_event`).

use std::time::Duration;

use super::uapi::{self, CreateEvent, EventData, WaitEvents};
use super::{Error, Kfd};

/// An event that a reset of the GPU signals.
#[derive(Debug)]
pub struct ResetEvent<'a> {
    kfd: &'a Kfd,
    event: u32,
}

/// What is said with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exception {
    /// 0 is the whole GPU, 1 an engine.
    pub reset_type: u32,
    /// 0 is a hang, 1 an error of the memory.
    pub reset_cause: u32,
    /// Whether memory was lost.
    pub memory_lost: u32,
    /// KFD's number of the GPU.
    pub gpu: u32,
}

impl<'a> ResetEvent<'a> {
    /// Makes one.
    pub fn new(kfd: &'a Kfd) -> Result<Self, Error> {
        let mut request = CreateEvent {
            kind: uapi::EVENT_HW_EXCEPTION,
            auto_reset: 1,
            ..CreateEvent::default()
        };
        super::send(&kfd.file, &mut request, "HW_EXCEPTION")?;
        Ok(Self {
            kfd,
            event: request.event,
        })
    }

    /// Waits for it; `None` if it was not signalled in time.
    pub fn wait(&self, limit: Duration) -> Result<Option<Exception>, String> {
        let mut data = [EventData {
            event: self.event,
            ..EventData::default()
        }];
        let mut request = WaitEvents {
            events: data.as_mut_ptr() as u64,
            count: 1,
            all: 1,
            milliseconds: u32::try_from(limit.as_millis()).unwrap_or(u32::MAX),
            result: 0,
        };
        super::send(&self.kfd.file, &mut request, &format!("event {}", self.event))?;
        let [data] = data;
        match request.result {
            uapi::WAIT_COMPLETE => Ok(Some(Exception {
                reset_type: data.reset_type,
                reset_cause: data.reset_cause,
                memory_lost: data.memory_lost,
                gpu: data.gpu,
            })),
            uapi::WAIT_TIMEOUT => Ok(None),
            result => Err(format!("waiting for event {} gave result {result}", self.event)),
        }
    }
}
