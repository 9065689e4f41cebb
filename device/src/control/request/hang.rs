//! An engine stands still.

use serde_json::{Value, json};

use super::fault::{engine, inject};
use super::{Fields, RequestError};
use crate::function::GpuFunction;
use gpu::{EngineName, Fault, HangWhen, Order};

/// An engine stands still, until a reset that covers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hang {
    /// Which, and when.
    pub order: Order,
}

impl Hang {
    pub(super) fn parse(fields: &mut Fields) -> Result<Self, RequestError> {
        let engine = engine(fields)?;
        let when = fields
            .word("when", "now, packet, command-buffer or page-table-update")?
            .unwrap_or(HangWhen::Now);
        if when == HangWhen::PageTableUpdate && !matches!(engine, EngineName::Sdma(_)) {
            let message = format!("{engine} writes no page tables, only SDMA engines do");
            return Err(RequestError::new("when", message));
        }
        let nth = fields.number("count", "packets, command buffers or updates")?;
        let nth = match (when, nth) {
            (HangWhen::Now, Some(_)) => {
                let message = "counts, so it needs when: packet, command-buffer or page-table-update";
                return Err(RequestError::new("count", message));
            }
            (_, Some(0)) => {
                return Err(RequestError::new("count", "0 is none, expected 1 or more"));
            }
            (_, nth) => nth.unwrap_or(1),
        };
        Ok(Self {
            order: Order {
                fault: Fault::Hang { engine, when },
                after: nth.saturating_sub(1),
                count: Some(1),
            },
        })
    }

    pub(super) fn answer(self, function: &mut GpuFunction) -> Result<Value, RequestError> {
        inject(function, self.order).map(|id| json!({ "id": id }))
    }
}
