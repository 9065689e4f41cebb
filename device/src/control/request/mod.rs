//! Requests and replies: one JSON object a line.
//!
//! A kind of request is a file here: it reads its fields, and answers on the device thread, between two of the guest's accesses.

mod drop_vram;
mod events;
mod fault;
mod fields;
mod flr;
mod hang;
mod look;
mod oracle;
mod stats;
#[cfg(test)]
mod vocabulary_tests;

pub use drop_vram::{DropVram, When};
pub use events::Events;
pub use fault::{Clear, Inject};
pub use fields::{Fields, RequestError};
pub use flr::HostFlr;
pub use hang::Hang;
pub use look::PageTables;
pub use oracle::{Oracle, OracleAction};

use serde::Serialize;
use serde_json::{Value, json};

use crate::function::GpuFunction;

/// Version of the protocol. A request may leave `v` out; another number is refused.
pub const VERSION: u64 = 1;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Counters of every block since the daemon started.
    Stats,
    /// What every engine does at this moment.
    State,
    /// What happened.
    Events(Events),
    /// A walk of the page tables of one context, or of all.
    PageTables(PageTables),
    /// Registers that the guest touched and that are not modelled, most frequent first.
    Unmodelled,
    /// Contents of VRAM are lost.
    DropVram(DropVram),
    /// What page tables map is kept, or compared with what was kept.
    Oracle(Oracle),
    /// An engine stands still.
    Hang(Hang),
    /// Something goes wrong.
    Fault(Inject),
    /// The faults that are armed.
    Faults,
    /// Faults are disarmed.
    Clear(Clear),
    /// The host resets a virtual function.
    Flr(HostFlr),
}

/// Reads the fields of one kind of request.
type Parse = fn(&mut Fields) -> Result<Request, RequestError>;

/// Every kind of request by its name.
const REQUESTS: [(&str, Parse); 12] = [
    ("stats", |_| Ok(Request::Stats)),
    ("state", |_| Ok(Request::State)),
    ("events", |fields| Events::parse(fields).map(Request::Events)),
    ("page-tables", |fields| {
        PageTables::parse(fields).map(Request::PageTables)
    }),
    ("unmodelled", |_| Ok(Request::Unmodelled)),
    ("drop-vram", |fields| {
        DropVram::parse(fields).map(Request::DropVram)
    }),
    ("oracle", |fields| Oracle::parse(fields).map(Request::Oracle)),
    ("hang", |fields| Hang::parse(fields).map(Request::Hang)),
    ("fault", |fields| Inject::parse(fields).map(Request::Fault)),
    ("faults", |_| Ok(Request::Faults)),
    ("clear", |fields| Clear::parse(fields).map(Request::Clear)),
    ("flr", |fields| HostFlr::parse(fields).map(Request::Flr)),
];

impl Request {
    /// Parses a line.
    ///
    /// # Errors
    /// [`RequestError`] with the first field that is wrong.
    pub fn parse(line: &str) -> Result<Self, RequestError> {
        let mut fields = Fields::parse(line)?;
        match fields.take("v") {
            None => {}
            Some(version) if version.as_u64() == Some(VERSION) => {}
            Some(version) => {
                return Err(RequestError::new(
                    "v",
                    format!("{version} is not spoken here, expected {VERSION}"),
                ));
            }
        }
        let name = match fields.take("request") {
            Some(Value::String(name)) => name,
            _ => return Err(RequestError::new("request", "missing, or not a string")),
        };
        let Some((_, parse)) = REQUESTS.iter().find(|(known, _)| *known == name) else {
            let names = REQUESTS.map(|(known, _)| known).join(", ");
            return Err(RequestError::new(
                "request",
                format!("{name:?} is not known, expected one of {names}"),
            ));
        };
        let request = parse(&mut fields)?;
        // What is left of it only names the request.
        fields.take("id");
        fields.finish()?;
        Ok(request)
    }

    /// Does what was asked for, on the device thread.
    ///
    /// # Errors
    /// [`RequestError`] if the device cannot do it as it is now.
    pub fn answer(self, function: &mut GpuFunction) -> Result<Value, RequestError> {
        match self {
            Self::Stats => stats::answer(function),
            Self::State => value(&function.state()),
            Self::Events(request) => value(&request.list(function)),
            Self::PageTables(request) => request.answer(function),
            Self::Unmodelled => value(&function.gpu().unmodelled()),
            Self::DropVram(request) => request.answer(function),
            Self::Oracle(request) => request.answer(function),
            Self::Hang(request) => request.answer(function),
            Self::Fault(request) => request.answer(function),
            Self::Faults => fault::list(function),
            Self::Clear(request) => request.answer(function),
            Self::Flr(request) => request.answer(function),
        }
    }
}

/// An answer as JSON.
pub(super) fn value(answer: &impl Serialize) -> Result<Value, RequestError> {
    serde_json::to_value(answer).map_err(|error| RequestError::new("request", error.to_string()))
}

/// The reply line, without its line feed. `id` is given back as it came.
pub fn reply(line: &str, outcome: Result<Value, RequestError>) -> String {
    let id = serde_json::from_str::<Value>(line)
        .ok()
        .and_then(|value| value.get("id").cloned());
    let mut reply = match outcome {
        Ok(result) => json!({ "v": VERSION, "ok": true, "result": result }),
        Err(error) => json!({ "v": VERSION, "ok": false, "error": error }),
    };
    if let (Some(id), Some(fields)) = (id, reply.as_object_mut()) {
        fields.insert("id".to_owned(), id);
    }
    reply.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpu::{EngineName, Fault, HangWhen, Loss, LossMode, Order};

    #[test]
    fn requests_are_understood() {
        assert_eq!(Request::parse(r#"{"v":1,"request":"stats"}"#), Ok(Request::Stats));
        assert_eq!(
            Request::parse(r#"{"request":"unmodelled","id":7}"#),
            Ok(Request::Unmodelled)
        );
        assert_eq!(
            Request::parse(r#"{"request":"page-tables","vmid":3}"#),
            Ok(Request::PageTables(PageTables {
                vmid: Some(gart::Vmid::from_field(3))
            }))
        );
    }

    #[test]
    fn events_are_the_list_unless_said_otherwise() {
        let events = |line| match Request::parse(line) {
            Ok(Request::Events(events)) => (events.follow, events.since, events.limit),
            other => panic!("{other:?}"),
        };
        assert_eq!(events(r#"{"request":"events"}"#), (false, None, None));
        assert_eq!(
            events(r#"{"request":"events","follow":true,"since":3,"limit":5}"#),
            (true, Some(3), Some(5))
        );
    }

    #[test]
    fn the_help_knows_every_request_and_no_other() {
        let listed = crate::args::REQUESTS.lines().skip(1);
        let mut listed: Vec<_> = listed.filter_map(|line| line.split_whitespace().next()).collect();
        let mut known = REQUESTS.map(|(name, _)| name);
        listed.sort_unstable();
        known.sort_unstable();
        assert_eq!(listed, known);
    }

    #[test]
    fn a_loss_is_of_everything_and_at_once_unless_said_otherwise() {
        assert_eq!(
            Request::parse(r#"{"request":"drop-vram","mode":"poison"}"#),
            Ok(Request::DropVram(DropVram {
                loss: Loss::whole(LossMode::Poison),
                when: When::Now
            }))
        );
        assert_eq!(
            Request::parse(
                r#"{"request":"drop-vram","mode":"zero","offset":4096,"length":8192,"when":"next-reset"}"#
            ),
            Ok(Request::DropVram(DropVram {
                loss: Loss {
                    mode: LossMode::Zero,
                    offset: 4096,
                    length: 8192
                },
                when: When::NextReset
            }))
        );
    }

    #[test]
    fn faults_are_understood() {
        let hang =
            Request::parse(r#"{"request":"hang","engine":"sdma1","when":"page-table-update","count":3}"#);
        let fault = Fault::Hang {
            engine: EngineName::Sdma(1),
            when: HangWhen::PageTableUpdate,
        };
        let order = Order {
            fault,
            after: 2,
            count: Some(1),
        };
        assert_eq!(hang, Ok(Request::Hang(Hang { order })));
        let corrupt = Request::parse(
            r#"{"request":"fault","id":9,"kind":"corrupt-pte","xor":"0xF000","after":18446744073709551615}"#,
        );
        let order = Order {
            fault: Fault::CorruptPte { xor: 0xf000 },
            after: u64::MAX,
            count: None,
        };
        assert_eq!(corrupt, Ok(Request::Fault(Inject { order })));
        let queues = Request::parse(r#"{"request":"fault","kind":"queue-reset-fail"}"#);
        let order = Order {
            fault: Fault::QueueResetFail { engine: None },
            after: 0,
            count: None,
        };
        assert_eq!(queues, Ok(Request::Fault(Inject { order })));
        assert_eq!(
            Request::parse(r#"{"request":"clear","id":4}"#),
            Ok(Request::Clear(Clear { id: Some(4) }))
        );
        assert_eq!(
            Request::parse(r#"{"request":"clear"}"#),
            Ok(Request::Clear(Clear { id: None }))
        );
    }

    #[test]
    fn a_wrong_request_names_its_field() {
        for (line, field) in [
            ("{", "line"),
            ("[]", "line"),
            (r#"{"v":2,"request":"stats"}"#, "v"),
            (r#"{"request":"reset"}"#, "request"),
            (r#"{"v":1}"#, "request"),
            (r#"{"request":"page-tables","vmid":16}"#, "vmid"),
            (r#"{"request":"page-tables","vmid":-1}"#, "vmid"),
            (r#"{"request":"stats","vmid":1}"#, "line"),
            (r#"{"request":"events","follow":1}"#, "follow"),
            (r#"{"request":"events","since":"now"}"#, "since"),
            (r#"{"request":"events","limit":-1}"#, "limit"),
            (r#"{"request":"state","engine":"gfx"}"#, "line"),
            (r#"{"request":"oracle"}"#, "action"),
            (r#"{"request":"oracle","action":"ask"}"#, "action"),
            (r#"{"request":"drop-vram"}"#, "mode"),
            (r#"{"request":"drop-vram","mode":"burn"}"#, "mode"),
            (r#"{"request":"drop-vram","mode":"zero","offset":-1}"#, "offset"),
            (r#"{"request":"drop-vram","mode":"zero","length":"1G"}"#, "length"),
            (r#"{"request":"drop-vram","mode":"zero","when":"later"}"#, "when"),
            (r#"{"request":"hang"}"#, "engine"),
            (r#"{"request":"hang","engine":"sdma4"}"#, "engine"),
            (r#"{"request":"hang","engine":"gfx","when":"soon"}"#, "when"),
            (
                r#"{"request":"hang","engine":"gfx","when":"page-table-update"}"#,
                "when",
            ),
            (r#"{"request":"hang","engine":"gfx","count":2}"#, "count"),
            (
                r#"{"request":"hang","engine":"gfx","when":"packet","count":0}"#,
                "count",
            ),
            (
                r#"{"request":"hang","engine":"gfx","when":"packet","count":-1}"#,
                "count",
            ),
            (r#"{"request":"hang","engine":"gfx","kind":"slow"}"#, "line"),
            (r#"{"request":"fault"}"#, "kind"),
            (r#"{"request":"fault","kind":7}"#, "kind"),
            (r#"{"request":"fault","kind":"meteor"}"#, "kind"),
            (r#"{"request":"fault","kind":"drop-pte","count":0}"#, "count"),
            (r#"{"request":"fault","kind":"drop-pte","count":1.5}"#, "count"),
            (r#"{"request":"fault","kind":"drop-pte","after":"many"}"#, "after"),
            (
                r#"{"request":"fault","kind":"drop-pte","engine":"sdma0"}"#,
                "line",
            ),
            (
                r#"{"request":"fault","kind":"slow","engine":"sdma0"}"#,
                "delay_us",
            ),
            (r#"{"request":"fault","kind":"slow","delay_us":5}"#, "engine"),
            (
                r#"{"request":"fault","kind":"slow","engine":"gfx","delay_us":18446744073709551615}"#,
                "delay_us",
            ),
            (r#"{"request":"fault","kind":"corrupt-pte","xor":0}"#, "xor"),
            (r#"{"request":"fault","kind":"corrupt-pte","xor":"12"}"#, "xor"),
            (
                r#"{"request":"fault","kind":"corrupt-pte","xor":"0x10000000000000000"}"#,
                "xor",
            ),
            (
                r#"{"request":"fault","kind":"drop-interrupts","source":256}"#,
                "source",
            ),
            (
                r#"{"request":"fault","kind":"drop-interrupts","what":"all"}"#,
                "what",
            ),
            (r#"{"request":"fault","kind":"delay-interrupts"}"#, "ms"),
            (
                r#"{"request":"fault","kind":"delay-interrupts","ms":3600001}"#,
                "ms",
            ),
            (
                r#"{"request":"fault","kind":"withhold-acknowledge","hub":"usbhub"}"#,
                "hub",
            ),
            (
                r#"{"request":"fault","kind":"psp-silent","command":"load_toc"}"#,
                "command",
            ),
            (r#"{"request":"fault","kind":"psp-fail","status":0}"#, "status"),
            (
                r#"{"request":"fault","kind":"psp-fail","status":4294967296}"#,
                "status",
            ),
            (r#"{"request":"fault","kind":"smu-fail","status":1}"#, "status"),
            (
                r#"{"request":"fault","kind":"smu-silent","message":"Mode1Reset"}"#,
                "message",
            ),
            (r#"{"request":"fault","kind":"reset-fail"}"#, "how"),
            (r#"{"request":"fault","kind":"reset-fail","how":"badly"}"#, "how"),
            (r#"{"request":"fault","kind":"reset-fail","how":"late"}"#, "ms"),
            (
                r#"{"request":"fault","kind":"reset-fail","how":"never","ms":5}"#,
                "ms",
            ),
            (
                r#"{"request":"fault","kind":"queue-reset-fail","engine":"kiq"}"#,
                "engine",
            ),
            (
                r#"{"request":"fault","kind":"queue-reset-fail","engine":"gfx","count":1}"#,
                "count",
            ),
            (r#"{"request":"fault","kind":"off-bus","count":1}"#, "count"),
            (r#"{"request":"fault","kind":"vm-fault","va":4096}"#, "vmid"),
            (
                r#"{"request":"fault","kind":"vm-fault","vmid":16,"va":4096}"#,
                "vmid",
            ),
            (r#"{"request":"fault","kind":"vm-fault","vmid":1}"#, "va"),
            (
                r#"{"request":"fault","kind":"vm-fault","vmid":1,"va":"0x1000","access":"jump"}"#,
                "access",
            ),
            (
                r#"{"request":"fault","kind":"vm-fault","vmid":1,"va":"0x1000","after":1}"#,
                "after",
            ),
            (r#"{"request":"clear","id":"all"}"#, "id"),
            (r#"{"request":"flr"}"#, "vram"),
            (r#"{"request":"flr","vram":"poison"}"#, "vram"),
            (r#"{"request":"flr","vram":"lost","claim":"both"}"#, "claim"),
            (r#"{"request":"flr","vram":"lost","when":"later"}"#, "when"),
            (
                r#"{"request":"flr","vram":"lost","when":"asked","patience_ms":5}"#,
                "patience_ms",
            ),
            (
                r#"{"request":"fault","kind":"host-silent","message":"PLEASE"}"#,
                "message",
            ),
            (r#"{"request":"fault","kind":"host-late"}"#, "ms"),
            (r#"{"request":"fault","kind":"corrupt-pf2vf","count":1}"#, "count"),
            (r#"{"request":"faults","kind":"slow"}"#, "line"),
        ] {
            assert_eq!(Request::parse(line).unwrap_err().field, field, "{line}");
        }
    }

    #[test]
    fn replies_carry_the_version_and_the_id() {
        assert_eq!(
            reply(r#"{"id":7}"#, Ok(json!(1))),
            r#"{"id":7,"ok":true,"result":1,"v":1}"#
        );
        let error = RequestError::new("v", "no");
        assert_eq!(
            reply("{", Err(error)),
            r#"{"error":{"field":"v","message":"no"},"ok":false,"v":1}"#
        );
    }
}
