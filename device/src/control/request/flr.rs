//! The host of a virtual function resets it.

use std::time::Duration;

use protocol::request::{FlrVram, FlrWhen};
use serde_json::Value;

use super::fault::time;
use super::{Fields, RequestError, value};
use crate::function::GpuFunction;
use gpu::LossMode;
use gpu::sriov::Flr;

/// The host resets the function, or makes up its mind about the next reset that the guest asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostFlr {
    /// What happens, and what the host says about it.
    pub flr: Flr,
    /// Whether the guest is told at once.
    pub announce: bool,
    /// How long the host waits until the guest is ready; for ever if none.
    pub patience: Option<Duration>,
}

impl HostFlr {
    pub(super) fn parse(fields: &mut Fields) -> Result<Self, RequestError> {
        let vram: FlrVram = fields.required_word("vram", "lost or kept")?;
        let claim = fields.word("claim", "lost or kept")?.unwrap_or(vram);
        let when = fields.word("when", "now or asked")?.unwrap_or(FlrWhen::Now);
        let patience = time(fields, "patience_ms", Duration::from_millis(1))?;
        if patience.is_some() && when == FlrWhen::Asked {
            let message = "nothing is announced, so that there is nothing to wait for";
            return Err(RequestError::new("patience_ms", message));
        }
        Ok(Self {
            flr: Flr {
                vram: match vram {
                    FlrVram::Lost => LossMode::Poison,
                    FlrVram::Kept => LossMode::Keep,
                },
                claims_lost: claim == FlrVram::Lost,
            },
            announce: when == FlrWhen::Now,
            patience,
        })
    }

    pub(super) fn answer(self, function: &mut GpuFunction) -> Result<Value, RequestError> {
        log::info!(target: "amdgpu::sriov", "the host is to reset the function: {self:?}");
        if function.host_flr(self.flr, self.announce, self.patience) {
            value(&self.flr)
        } else {
            let message =
                "this function is the part itself, it has no host: start the device with --personality vf";
            Err(RequestError::new("request", message))
        }
    }
}
