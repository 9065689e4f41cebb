//! What page tables map, before a loss and after it.

use std::thread;
use std::time::Duration;

pub use protocol::request::OracleAction;
use serde_json::Value;

use super::{Fields, RequestError, value};
use crate::function::GpuFunction;
use crate::transport::Mailbox;
use gpu::{Answer, Outcome, Question};

/// How long to wait before a look is asked after, and the longest: a look at many page tables takes some tenths of a second.
const PAUSE: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(10));

/// A look at all page tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oracle {
    /// What is done with it.
    pub action: OracleAction,
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

    /// Asks from another thread, so that the device takes the look between its messages.
    pub(in crate::control) fn ask(self, mailbox: &Mailbox<GpuFunction>) -> Result<Value, RequestError> {
        let question = match self.action {
            OracleAction::Snapshot => Question::Snapshot,
            OracleAction::Compare => Question::Comparison,
        };
        let closed = |error: crate::transport::MailboxClosed| RequestError::new("request", error.to_string());
        let (mut pause, longest) = PAUSE;
        let mut ticket = None;
        loop {
            let asked = ticket;
            let outcome = mailbox.call(move |function| match asked {
                Some(ticket) => Ok(function.gpu_mut().oracle_answer(ticket)),
                None => Err(function.ask_oracle(question)),
            });
            match outcome.map_err(closed)? {
                Ok(Outcome::Ready(Answer::Snapshot(report))) => return value(&report),
                Ok(Outcome::Ready(Answer::Comparison(report))) => return value(&report),
                Ok(Outcome::Gone) => ticket = None,
                Ok(Outcome::Pending) => {}
                // Another question may be under way.
                Err(number) => ticket = number,
            }
            thread::sleep(pause);
            pause = (pause * 2).min(longest);
        }
    }
}
