//! The words of `protocol` are those that are read and written here.

use std::collections::BTreeSet;

use protocol::event::Record;
use protocol::fault::{FaultKind, FaultRequest};
use protocol::names::{INTERRUPT_CLIENT, INTERRUPT_SOURCE};
use protocol::oracle::{OracleReport, SnapshotReport};
use protocol::shape::{Field, Fields as Described, Shape};
use protocol::state::FunctionState;
use protocol::stats::StatsAnswer;
use protocol::tables::{TableReport, UnmodelledRegister};
use protocol::words;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::fields::asked;
use super::{REQUESTS, Request};
use crate::function::GpuFunction;
use gpu::asic::{NAVI12, NAVI21};
use gpu::sriov::{Notice, Request as GuestRequest};

/// A value that a field may have.
fn sample(field: &Field) -> Value {
    let Shape {
        number, flag, words, ..
    } = &field.shape;
    match words.last() {
        _ if *number => json!(1),
        _ if *flag => json!(true),
        Some(word) => json!(word),
        None => panic!("{field:?} has no sample"),
    }
}

/// A request with only those fields that it has to have.
fn least(fields: &Described) -> Map<String, Value> {
    let required = fields.iter().filter(|(_, field)| field.required);
    required
        .map(|(name, field)| (name.clone(), sample(field)))
        .collect()
}

fn understood(request: &Map<String, Value>) -> Result<Request, super::RequestError> {
    Request::parse(&Value::Object(request.clone()).to_string())
}

/// All requests with their fields; `fault` once for each kind.
fn described() -> Vec<Described> {
    let mut requests = Shape::variants::<protocol::request::Request>("request");
    let request = requests.remove("fault").unwrap().remove("request").unwrap();
    let faults = Shape::variants::<FaultRequest>("kind").into_values();
    let faults = faults.map(|mut fields| {
        fields.insert("request".to_owned(), request.clone());
        fields
    });
    requests.into_values().chain(faults).collect()
}

#[test]
fn requests_and_faults_are_those_that_are_described() {
    let names: BTreeSet<_> = Shape::variants::<protocol::request::Request>("request")
        .into_keys()
        .collect();
    assert_eq!(names, REQUESTS.map(|(name, _)| name.to_owned()).into());
    let kinds: BTreeSet<_> = Shape::variants::<FaultRequest>("kind").into_keys().collect();
    let ours = FaultKind::ALL.into_iter().filter(|kind| *kind != FaultKind::Hang);
    assert_eq!(kinds, ours.map(|kind| kind.name().to_owned()).collect());
    for kind in FaultKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
    }
}

#[test]
fn requests_have_the_fields_that_are_described() {
    for fields in described() {
        let request = least(&fields);
        asked::take();
        let parsed = understood(&request);
        assert!(parsed.is_ok(), "{request:?}: {parsed:?}");
        let asked = asked::take();
        for name in fields.keys() {
            assert!(asked.contains(name.as_str()), "{name} of {request:?} is not read");
        }
        for name in asked {
            let counts = ["after", "count"].contains(&name) && request.contains_key("kind");
            // Where nothing is counted they are read only to be refused.
            let known = fields.contains_key(name) || ["v", "id", "kind"].contains(&name) || counts;
            assert!(known, "{name} of {request:?} is not described");
        }
    }
}

#[test]
fn words_of_requests_are_those_that_are_described() {
    for fields in described() {
        for (name, field) in fields
            .iter()
            .filter(|(name, field)| !field.shape.words.is_empty() && *name != "request" && *name != "kind")
        {
            let with = |word: &str| {
                let mut request = least(&fields);
                request.insert(name.clone(), word.into());
                // A reset that is late is by how much.
                if word == "late" {
                    request.insert("ms".to_owned(), 1.into());
                }
                request
            };
            for word in &field.shape.words {
                let request = with(word);
                let parsed = understood(&request);
                // Nothing resets it alone, and it is nothing else than an engine.
                let kiq = word == "kiq" && request.get("kind") == Some(&json!("queue-reset-fail"));
                assert!(parsed.is_ok() || kiq, "{request:?}: {parsed:?}");
            }
            let refused = understood(&with("misspelt")).unwrap_err();
            assert_eq!(refused.field, name, "{refused}");
        }
    }
}

#[test]
fn lists_of_words_are_their_owners() {
    let names = |list: &[&'static str]| list.iter().copied().collect::<BTreeSet<_>>();
    let psp = names(&gpu::blocks::psp::Command::NAMES);
    assert_eq!(names(words::PspCommand::ALL), psp);
    let counters: BTreeSet<_> = psp.into_iter().chain(["MODE1_RESET"]).collect();
    assert_eq!(names(words::PspCounter::ALL), counters);
    let packets = sdma_engine::PacketKind::ALL.map(sdma_engine::PacketKind::name);
    assert_eq!(words::SdmaPacket::ALL, packets);
    let requests = GuestRequest::NAMED.map(GuestRequest::name);
    assert_eq!(words::GuestRequest::ALL, requests);
    let unknown = [GuestRequest::Unknown(7).name()];
    let said: Vec<_> = requests.into_iter().chain(unknown).collect();
    assert_eq!(words::GuestMessage::ALL, said);
    assert_eq!(words::HostMessage::ALL, Notice::ALL.map(Notice::name));
    let all: Vec<_> = said.into_iter().chain(Notice::ALL.map(Notice::name)).collect();
    assert_eq!(words::Message::ALL, all);
    for (number, name) in [
        (cp_engine::IH_SOURCE_KIQ, "CP_IB2_INTERRUPT_PKT"),
        (cp_engine::IH_SOURCE_EOP, "CP_EOP_INTERRUPT"),
        (cp_engine::IH_SOURCE_BAD_OPCODE, "CP_BAD_OPCODE_ERROR"),
    ] {
        assert_eq!(INTERRUPT_SOURCE.number(name), Ok(number.into()));
    }
    assert_eq!(
        INTERRUPT_CLIENT.number("GRBM_CP"),
        Ok(cp_engine::IH_CLIENT_GRBM_CP.into())
    );
    assert_eq!(words::Asic::ALL, [NAVI21.name, NAVI12.name]);
    let personalities = [NAVI21.bare_metal.name, NAVI21.virtual_function.name];
    assert_eq!(words::Personality::ALL, personalities);
}

fn holds<T: protocol::JsonSchema>(value: &impl Serialize) {
    let value = serde_json::to_value(value).unwrap();
    assert_eq!(Shape::of::<T>().describes(&value), Ok(()), "{value}");
}

#[test]
fn what_is_answered_is_what_is_described() {
    let mut function = GpuFunction::new(&NAVI21, 256 << 20, 1).unwrap();
    let mut ask = |line: &str| Request::parse(line).unwrap().answer(&mut function).unwrap();
    holds::<SnapshotReport>(&ask(r#"{"request":"oracle","action":"snapshot"}"#));
    holds::<OracleReport>(&ask(r#"{"request":"oracle","action":"compare"}"#));
    ask(r#"{"request":"fault","kind":"slow","engine":"sdma0","delay_us":5}"#);
    holds::<StatsAnswer>(&ask(r#"{"request":"stats"}"#));
    holds::<FunctionState>(&ask(r#"{"request":"state"}"#));
    holds::<Vec<Record>>(&ask(r#"{"request":"events"}"#));
    holds::<Vec<TableReport>>(&ask(r#"{"request":"page-tables","vmid":0}"#));
    holds::<Vec<UnmodelledRegister>>(&ask(r#"{"request":"unmodelled"}"#));
}
