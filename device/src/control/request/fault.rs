//! Faults on command: armed, listed, cleared.

use std::time::Duration;

use gart::{Access, GpuVa, HubId, Vmid};
use protocol::fault::FaultKind;
use serde_json::{Value, json};

use super::{Fields, RequestError, value};
use crate::function::GpuFunction;
use gpu::blocks::psp::Command;
use gpu::sriov::Request;
use gpu::{EngineName, Fault, InjectError, InterruptPart, Order, ResetFailure};

/// Reads the fields of one kind of fault.
type Parse = fn(&mut Fields) -> Result<Fault, RequestError>;

/// What reads the fields of a kind; none: it has a request of its own.
fn parser(kind: FaultKind) -> Option<Parse> {
    Some(match kind {
        FaultKind::Hang => return None,
        FaultKind::Slow => slow,
        FaultKind::CorruptPte => corrupt_pte,
        FaultKind::DropPte => |_| Ok(Fault::DropPte),
        FaultKind::DropCopy => |_| Ok(Fault::DropCopy),
        FaultKind::DropFill => |_| Ok(Fault::DropFill),
        FaultKind::DropInterrupts => drop_interrupts,
        FaultKind::DelayInterrupts => delay_interrupts,
        FaultKind::WithholdAcknowledge => withhold_acknowledge,
        FaultKind::PspSilent => |fields| psp_command(fields).map(|command| Fault::PspSilent { command }),
        FaultKind::PspFail => psp_fail,
        FaultKind::SmuSilent => |fields| dword(fields, "message").map(|message| Fault::SmuSilent { message }),
        FaultKind::SmuFail => smu_fail,
        FaultKind::ResetFail => reset_fail,
        FaultKind::QueueResetFail => queue_reset_fail,
        FaultKind::HostSilent => |fields| host_request(fields).map(|request| Fault::HostSilent { request }),
        FaultKind::HostRefuses => |fields| host_request(fields).map(|request| Fault::HostRefuses { request }),
        FaultKind::HostGivesUp => |fields| host_request(fields).map(|request| Fault::HostGivesUp { request }),
        FaultKind::HostLate => host_late,
        FaultKind::CorruptPf2Vf => |_| Ok(Fault::CorruptPf2Vf),
        FaultKind::OffBus => |_| Ok(Fault::OffBus),
        FaultKind::VmFault => vm_fault,
    })
}

/// Something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inject {
    /// What, and how often.
    pub order: Order,
}

impl Inject {
    pub(super) fn parse(fields: &mut Fields) -> Result<Self, RequestError> {
        let kind = match fields.take("kind") {
            Some(Value::String(kind)) => kind,
            Some(other) => return Err(RequestError::new("kind", format!("{other} is no string"))),
            None => {
                return Err(RequestError::new(
                    "kind",
                    format!("missing, expected one of {}", names()),
                ));
            }
        };
        let Some(parse) = FaultKind::from_name(&kind).and_then(parser) else {
            let message = format!("{kind:?} is not known, expected one of {}", names());
            return Err(RequestError::new("kind", message));
        };
        let fault = parse(fields)?;
        let after = fields.number("after", "opportunities")?;
        let count = fields.number("count", "times")?;
        let field = if count.is_some() { "count" } else { "after" };
        if fault.lasts() && (after.is_some() || count.is_some()) {
            let message = format!("{kind} lasts until it is cleared, there is nothing to count");
            return Err(RequestError::new(field, message));
        }
        if matches!(fault, Fault::VmFault { .. }) && (after.is_some() || count.is_some()) {
            let message = format!("{kind} happens at once, there is nothing to count");
            return Err(RequestError::new(field, message));
        }
        let after = after.unwrap_or(0);
        if count == Some(0) {
            return Err(RequestError::new("count", "0 times is never, expected 1 or more"));
        }
        Ok(Self {
            order: Order { fault, after, count },
        })
    }

    pub(super) fn answer(self, function: &mut GpuFunction) -> Result<Value, RequestError> {
        inject(function, self.order).map(|id| json!({ "id": id }))
    }
}

/// No fault happens any more, or one of them does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clear {
    /// Which; `None` for all.
    pub id: Option<u64>,
}

impl Clear {
    pub(super) fn parse(fields: &mut Fields) -> Result<Self, RequestError> {
        // Here it is the fault's, and only given back as the request's.
        let id = fields.number("id", "a fault")?;
        Ok(Self { id })
    }

    pub(super) fn answer(self, function: &mut GpuFunction) -> Result<Value, RequestError> {
        match (function.gpu_mut().clear_faults(self.id), self.id) {
            (0, Some(id)) => Err(RequestError::new("id", format!("fault {id} is not armed"))),
            (cleared, _) => Ok(json!({ "cleared": cleared })),
        }
    }
}

/// The list of those that are armed.
pub(super) fn list(function: &GpuFunction) -> Result<Value, RequestError> {
    value(&function.gpu().armed_faults())
}

pub(super) fn inject(function: &mut GpuFunction, order: Order) -> Result<u64, RequestError> {
    function.gpu_mut().inject(order).map_err(|error| {
        let field = match error {
            InjectError::Full | InjectError::NoHost => "kind",
            InjectError::NoEngine(_) | InjectError::NoQueue(_) => "engine",
        };
        RequestError::new(field, error.to_string())
    })
}

fn names() -> String {
    let kinds = FaultKind::ALL.into_iter().filter(|kind| parser(*kind).is_some());
    kinds.map(FaultKind::name).collect::<Vec<_>>().join(", ")
}

/// The engine that a request names.
pub(super) fn engine(fields: &mut Fields) -> Result<EngineName, RequestError> {
    let expected = EngineName::EXPECTED;
    let given = fields
        .take("engine")
        .ok_or_else(|| RequestError::new("engine", format!("missing, expected {expected}")))?;
    engine_named(&given)
}

fn engine_named(given: &Value) -> Result<EngineName, RequestError> {
    let expected = EngineName::EXPECTED;
    given
        .as_str()
        .and_then(EngineName::parse)
        .ok_or_else(|| RequestError::new("engine", format!("{given} is not known, expected {expected}")))
}

/// A number that may also come as text in hexadecimal, `"0x..."`: addresses and bits.
fn bits(fields: &mut Fields, name: &'static str) -> Result<Option<u64>, RequestError> {
    let Some(given) = fields.take(name) else {
        return Ok(None);
    };
    let hexadecimal = |text: &str| {
        let digits = text.strip_prefix("0x")?;
        u64::from_str_radix(digits, 16).ok()
    };
    given
        .as_u64()
        .or_else(|| given.as_str().and_then(hexadecimal))
        .map(Some)
        .ok_or_else(|| {
            RequestError::new(
                name,
                format!("{given} is no number, expected one, or \"0x\" and hexadecimal digits"),
            )
        })
}

/// A time in a unit that is longer than a microsecond or that.
pub(super) fn time(
    fields: &mut Fields,
    name: &'static str,
    unit: Duration,
) -> Result<Option<Duration>, RequestError> {
    const LONGEST: Duration = Duration::from_secs(3600);
    let Some(number) = fields.number(name, "time units")? else {
        return Ok(None);
    };
    u32::try_from(number)
        .ok()
        .and_then(|number| unit.checked_mul(number))
        .filter(|time| *time <= LONGEST)
        .map(Some)
        .ok_or_else(|| RequestError::new(name, format!("{number} is longer than an hour")))
}

fn slow(fields: &mut Fields) -> Result<Fault, RequestError> {
    let engine = engine(fields)?;
    let delay = time(fields, "delay_us", Duration::from_micros(1))?
        .ok_or_else(|| RequestError::new("delay_us", "missing, expected microseconds"))?;
    Ok(Fault::Slow { engine, delay })
}

fn corrupt_pte(fields: &mut Fields) -> Result<Fault, RequestError> {
    match bits(fields, "xor")? {
        Some(0) => Err(RequestError::new("xor", "0 changes nothing")),
        // V: the entry is not valid.
        xor => Ok(Fault::CorruptPte {
            xor: xor.unwrap_or(1),
        }),
    }
}

fn drop_interrupts(fields: &mut Fields) -> Result<Fault, RequestError> {
    let what = fields.word("what", "entry or message")?;
    let source = fields.number("source", "an interrupt source")?;
    let source = source
        .map(|number| {
            let message = format!("{number} is no interrupt source, expected 0 to 255");
            u8::try_from(number).map_err(|_| RequestError::new("source", message))
        })
        .transpose()?;
    Ok(Fault::DropInterrupts {
        what: what.unwrap_or(InterruptPart::Entry),
        source,
    })
}

fn delay_interrupts(fields: &mut Fields) -> Result<Fault, RequestError> {
    let delay = time(fields, "ms", Duration::from_millis(1))?
        .ok_or_else(|| RequestError::new("ms", "missing, expected milliseconds"))?;
    Ok(Fault::DelayInterrupts { delay })
}

fn withhold_acknowledge(fields: &mut Fields) -> Result<Fault, RequestError> {
    let hub = match fields.take("hub") {
        None => HubId::Gfx,
        Some(Value::String(name)) if name == "gfxhub" => HubId::Gfx,
        Some(Value::String(name)) if name == "mmhub" => HubId::Mm,
        Some(other) => {
            let message = format!("{other} is not known, expected gfxhub or mmhub");
            return Err(RequestError::new("hub", message));
        }
    };
    Ok(Fault::WithholdAcknowledge { hub })
}

/// `TEE_ERROR_GENERIC`
const PSP_GENERIC_ERROR: u32 = 0xffff_0000;
/// `SMU_RESP_CMD_FAIL`
const SMU_FAILED: u32 = 0xff;

fn dword(fields: &mut Fields, name: &'static str) -> Result<Option<u32>, RequestError> {
    bits(fields, name)?
        .map(|number| {
            u32::try_from(number)
                .map_err(|_| RequestError::new(name, format!("{number:#x} has more than 32 bits")))
        })
        .transpose()
}

/// The name of a command to the security processor, as `stats` has it.
fn psp_command(fields: &mut Fields) -> Result<Option<&'static str>, RequestError> {
    let Some(given) = fields.take("command") else {
        return Ok(None);
    };
    let known = given
        .as_str()
        .and_then(|name| Command::NAMES.into_iter().find(|known| *known == name));
    known.map(Some).ok_or_else(|| {
        let names = Command::NAMES.join(", ");
        RequestError::new(
            "command",
            format!("{given} is not known, expected one of {names}"),
        )
    })
}

fn psp_fail(fields: &mut Fields) -> Result<Fault, RequestError> {
    let command = psp_command(fields)?;
    let status = dword(fields, "status")?.unwrap_or(PSP_GENERIC_ERROR);
    if status == 0 {
        return Err(RequestError::new("status", "0 is success"));
    }
    Ok(Fault::PspFail { command, status })
}

fn smu_fail(fields: &mut Fields) -> Result<Fault, RequestError> {
    let message = dword(fields, "message")?;
    let result = dword(fields, "status")?.unwrap_or(SMU_FAILED);
    match result {
        0 => Err(RequestError::new("status", "0 is no answer, use smu-silent")),
        1 => Err(RequestError::new("status", "1 is success")),
        _ => Ok(Fault::SmuFail { message, result }),
    }
}

/// The name of a message to the host, as `stats` has it.
fn host_request(fields: &mut Fields) -> Result<Option<Request>, RequestError> {
    let Some(given) = fields.take("message") else {
        return Ok(None);
    };
    given
        .as_str()
        .and_then(Request::from_name)
        .map(Some)
        .ok_or_else(|| {
            let names = Request::NAMED.map(Request::name).join(", ");
            RequestError::new(
                "message",
                format!("{given} is not known, expected one of {names}"),
            )
        })
}

fn host_late(fields: &mut Fields) -> Result<Fault, RequestError> {
    let request = host_request(fields)?;
    let delay = time(fields, "ms", Duration::from_millis(1))?
        .ok_or_else(|| RequestError::new("ms", "missing, expected milliseconds"))?;
    Ok(Fault::HostLate { request, delay })
}

fn queue_reset_fail(fields: &mut Fields) -> Result<Fault, RequestError> {
    match fields.take("engine").as_ref().map(engine_named).transpose()? {
        Some(EngineName::Kiq) => Err(RequestError::new("engine", "nothing resets the kiq alone")),
        engine => Ok(Fault::QueueResetFail { engine }),
    }
}

fn reset_fail(fields: &mut Fields) -> Result<Fault, RequestError> {
    let expected = "expected never, late or lies";
    let how = fields.take("how");
    let ms = time(fields, "ms", Duration::from_millis(1))?;
    let how = match (how.as_ref().and_then(Value::as_str), ms) {
        (Some("late"), Some(delay)) => ResetFailure::Late(delay),
        (Some("late"), None) => return Err(RequestError::new("ms", "missing, expected milliseconds")),
        (Some("never"), None) => ResetFailure::Never,
        (Some("lies"), None) => ResetFailure::Lies,
        (Some("never" | "lies"), Some(_)) => {
            return Err(RequestError::new("ms", "only a reset that is late has a time"));
        }
        _ => {
            let found = how.map_or_else(|| "missing".to_owned(), |how| format!("{how} is not known"));
            return Err(RequestError::new("how", format!("{found}, {expected}")));
        }
    };
    Ok(Fault::ResetFail { how })
}

fn vm_fault(fields: &mut Fields) -> Result<Fault, RequestError> {
    let vmid = fields
        .number("vmid", "a context")?
        .ok_or_else(|| RequestError::new("vmid", "missing, expected 0 to 15"))?;
    let vmid = u32::try_from(vmid)
        .ok()
        .filter(|vmid| *vmid < 16)
        .ok_or_else(|| RequestError::new("vmid", format!("{vmid} is no context, expected 0 to 15")))?;
    let va = bits(fields, "va")?.ok_or_else(|| RequestError::new("va", "missing, expected an address"))?;
    let access = match fields.take("access") {
        None => Access::Read,
        Some(Value::String(word)) if word == "read" => Access::Read,
        Some(Value::String(word)) if word == "write" => Access::Write,
        Some(other) => {
            let message = format!("{other} is not known, expected read or write");
            return Err(RequestError::new("access", message));
        }
    };
    Ok(Fault::VmFault {
        vmid: Vmid::from_field(vmid),
        va: GpuVa::new(va),
        access,
    })
}
