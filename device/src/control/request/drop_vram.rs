//! VRAM loses what it holds.

pub use protocol::loss::When;
use serde_json::Value;

use super::{Fields, RequestError, value};
use crate::function::GpuFunction;
use gpu::Loss;

/// Contents of VRAM are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropVram {
    /// Which, and how.
    pub loss: Loss,
    /// When.
    pub when: When,
}

impl DropVram {
    pub(super) fn parse(fields: &mut Fields) -> Result<Self, RequestError> {
        let mode = fields.required_word("mode", "keep, zero or poison")?;
        let loss = Loss {
            mode,
            offset: fields.number("offset", "bytes")?.unwrap_or(0),
            length: fields.number("length", "bytes")?.unwrap_or(u64::MAX),
        };
        let when = fields.word("when", "now or next-reset")?.unwrap_or(When::Now);
        Ok(Self { loss, when })
    }

    pub(super) fn answer(self, function: &mut GpuFunction) -> Result<Value, RequestError> {
        log::info!(target: "amdgpu::reset", "asked to lose VRAM: {:x?}, {:?}", self.loss, self.when);
        match self.when {
            When::Now => function.gpu_mut().lose(self.loss),
            When::NextReset => function.gpu_mut().lose_at_next_reset(self.loss),
        }
        value(&self.loss)
    }
}
