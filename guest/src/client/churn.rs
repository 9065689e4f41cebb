//! Churn.

use std::path::Path;

use super::{Options, Order};

/// Most threads of a client.
pub(super) const MOST_THREADS: u64 = 16;

pub(super) fn stay(
    _node: &Path,
    _name: &str,
    _options: Options,
    _next: impl FnMut(Result<(), String>) -> Option<Order>,
) -> Result<(), String> {
    Err("not yet".to_owned())
}
