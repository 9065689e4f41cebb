//! `amdgpu.control`: what the guest asks for, and what it is told.

use std::time::Duration;

use guest_port::{Item, PortHandle, Received};
use serde_json::Value;

use super::lines::{Line, Lines};
use super::{PATIENCE, words};
use crate::args::GuestControl;
use crate::control::{self, Request, RequestError};
use crate::event::Event;
use crate::function::GpuFunction;
use crate::transport::Mailbox;

/// Longest request; as at the control socket.
const LONGEST_LINE: usize = (64 << 10) - 1;
/// Longest answer.
const LONGEST_ANSWER: usize = 1 << 20;
/// How much of a request is told in an event.
const LONGEST_TOLD: usize = 200;
/// Answers that nobody read are kept up to this length.
const MOST_HELD: usize = 64 << 10;
/// How long one who opens the port may take to ask something, before it gets answers that nobody read.
const GRACE: Duration = Duration::from_millis(250);
const SEND_PATIENCE: Duration = Duration::from_secs(1);

/// Answers the guest until the port ends.
pub(super) fn converse(port: &PortHandle, mailbox: &Mailbox<GpuFunction>, permission: GuestControl) {
    let mut conversation = Conversation {
        port,
        mailbox,
        permission,
        session: None,
        asked: false,
        held: Vec::new(),
    };
    let mut lines = Lines::new(LONGEST_LINE);
    let mut buffer = vec![0; 4096];
    loop {
        let waits = !conversation.held.is_empty() && conversation.session.is_some();
        match port.receive(&mut buffer, if waits { GRACE } else { PATIENCE }) {
            Received::Item(Item::Opened { session }) => {
                lines.clear();
                conversation.session = Some(session);
                conversation.asked = false;
            }
            Received::Item(Item::Closed { unread }) => {
                lines.clear();
                conversation.close(unread);
            }
            Received::Item(Item::Bytes(count)) => {
                let mut found = Vec::new();
                lines.feed(buffer.get(..count).unwrap_or_default(), |line| found.push(line));
                for line in found {
                    conversation.hear(&line);
                }
            }
            Received::Nothing => conversation.deliver(),
            Received::Ended => return,
        }
    }
}

struct Conversation<'a> {
    port: &'a PortHandle,
    mailbox: &'a Mailbox<GpuFunction>,
    permission: GuestControl,
    /// The session that we are in.
    session: Option<u64>,
    /// It has asked something.
    asked: bool,
    /// Answers that nobody read yet, for the next who opens the port: a shell that writes (`echo x > port`) closes it before it can
    /// read.
    held: Vec<u8>,
}

impl Conversation<'_> {
    fn close(&mut self, mut unread: Vec<u8>) {
        // What did not even get into the port comes after what did.
        unread.append(&mut self.held);
        self.hold(&unread);
        self.session = None;
    }

    /// Keeps an answer, or the rest of one, for the next session: all of what is kept, or nothing.
    fn hold(&mut self, bytes: &[u8]) {
        if self.held.len().saturating_add(bytes.len()) > MOST_HELD {
            self.held.clear();
        } else {
            self.held.extend_from_slice(bytes);
        }
    }

    /// Whoever opened the port asks nothing: it wants to read.
    fn deliver(&mut self) {
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            self.send(&held);
        }
    }

    /// Sends to the present session; what that does not take is held.
    fn send(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.port.ended() {
            // Without a session there is nobody: a guest may write into a port that it did not open.
            let sent = self
                .session
                .and_then(|session| self.port.send(Some(session), rest, SEND_PATIENCE));
            let Some(sent) = sent else {
                self.hold(rest);
                return;
            };
            rest = rest.get(sent..).unwrap_or_default();
        }
    }

    fn hear(&mut self, line: &Line) {
        let text = line.text.trim();
        if text.is_empty() {
            return;
        }
        if !self.asked {
            // One that asks gets its own answers only.
            self.held.clear();
            self.asked = true;
        }
        let mut answer = self.answer(text, line.cut);
        answer.push('\n');
        self.send(answer.as_bytes());
    }

    fn answer(&self, text: &str, cut: bool) -> String {
        let json = text.starts_with('{');
        let request = match (cut, json) {
            (true, _) => Err(RequestError::new("line", "longer than 64 KiB")),
            (false, true) => Ok(text.to_owned()),
            (false, false) => words::as_json(text),
        };
        let outcome = request
            .and_then(|line| Request::parse(&line))
            .and_then(|request| allow(self.permission, &request).map(|()| request));
        let told: String = text.chars().take(LONGEST_TOLD).collect();
        let refused = outcome.as_ref().err().map(ToString::to_string);
        let outcome = self
            .tell(told, refused)
            .and(outcome)
            .and_then(|request| control::carry_out(request, self.mailbox));
        let shown = show(text, json, outcome);
        if shown.len() <= LONGEST_ANSWER {
            return shown;
        }
        let message = format!("the answer has more than {LONGEST_ANSWER} bytes");
        show(text, json, Err(RequestError::new("request", message)))
    }

    /// Takes down that the guest asked.
    fn tell(&self, text: String, refused: Option<String>) -> Result<(), RequestError> {
        let event = Event::GuestRequest { text, refused };
        self.mailbox
            .call(|function| function.record(event))
            .map_err(|closed| RequestError::new("request", closed.to_string()))
    }
}

fn show(text: &str, json: bool, outcome: Result<Value, RequestError>) -> String {
    if json {
        control::reply(text, outcome)
    } else {
        words::answer(&outcome)
    }
}

/// Whether the host lets the guest ask for this.
fn allow(permission: GuestControl, request: &Request) -> Result<(), RequestError> {
    let refused = |message: &str| Err(RequestError::new("request", message));
    if matches!(request, Request::Events(events) if events.follow) {
        return refused("events cannot be followed at this port");
    }
    // What a guest may do to its own GPU, and what shows whether it worked.
    let own = matches!(
        request,
        Request::DropVram(_)
            | Request::Hang(_)
            | Request::Fault(_)
            | Request::Faults
            | Request::Clear(_)
            | Request::State
    );
    match permission {
        GuestControl::All => Ok(()),
        GuestControl::Faults if own => Ok(()),
        GuestControl::Faults => refused("the host allows the guest faults and state only (--guest-control)"),
        GuestControl::Off => refused("the host allows the guest nothing (--guest-control)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_decides_what_a_guest_may_ask() {
        let may = |permission, line: &str| allow(permission, &Request::parse(line).unwrap()).is_ok();
        let drop = r#"{"request":"drop-vram","mode":"zero"}"#;
        let stats = r#"{"request":"stats"}"#;
        let flr = r#"{"request":"flr","vram":"lost"}"#;
        let follow = r#"{"request":"events","follow":true}"#;
        for (permission, allowed) in [
            (GuestControl::Off, [false, false, false]),
            (GuestControl::Faults, [true, false, false]),
            (GuestControl::All, [true, true, true]),
        ] {
            assert_eq!([drop, stats, flr].map(|line| may(permission, line)), allowed);
            assert!(!may(permission, follow));
        }
    }
}
