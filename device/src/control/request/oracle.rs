//! What page tables map, before a loss and after it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Fields, RequestError, value};
use crate::function::GpuFunction;

/// A look at all page tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oracle {
    /// What is done with it.
    pub action: OracleAction,
}

/// What is done with a look at page tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OracleAction {
    /// It is kept, to be compared with later.
    Snapshot,
    /// It is compared with what was kept.
    Compare,
}

impl Oracle {
    pub(super) fn parse(fields: &mut Fields) -> Result<Self, RequestError> {
        let action = fields.required_word("action", "snapshot or compare")?;
        Ok(Self { action })
    }

    pub(super) fn answer(self, function: &mut GpuFunction) -> Result<Value, RequestError> {
        match self.action {
            OracleAction::Snapshot => value(&function.gpu_mut().take_snapshot()),
            OracleAction::Compare => value(&function.gpu_mut().compare_tables()),
        }
    }
}
