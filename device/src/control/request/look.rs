//! Questions that change nothing.

use gart::Vmid;
use serde_json::Value;

use super::{Fields, RequestError, value};
use crate::function::GpuFunction;

/// A walk of page tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageTables {
    /// One context, or all that are live.
    pub vmid: Option<Vmid>,
}

impl PageTables {
    pub(super) fn parse(fields: &mut Fields) -> Result<Self, RequestError> {
        let Some(given) = fields.take("vmid") else {
            return Ok(Self { vmid: None });
        };
        let number = given.as_u64().and_then(|number| u32::try_from(number).ok());
        number
            .filter(|number| *number < 16)
            .map(|number| Self {
                vmid: Some(Vmid::from_field(number)),
            })
            .ok_or_else(|| RequestError::new("vmid", format!("{given} is no context, expected 0 to 15")))
    }

    pub(super) fn answer(self, function: &GpuFunction) -> Result<Value, RequestError> {
        value(&function.gpu().page_tables(self.vmid))
    }
}
