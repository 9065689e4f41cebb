//! Vulkan devices that stay: a program in the root holds them between steps, so that something can happen to the GPU in the meantime.
//!
//! The program (`guest_vulkan`) answers with lines of fields that tabs separate: notes, and at the end a `VkResult` with what was compared.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Seek, Write};
use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::json::Object;
use crate::marker;
use crate::root;
use crate::sys::{self, Child};

/// The program, in the root.
const PROGRAM: &str = "/lab/vulkan";
/// An answer that takes longer is lost: longer than the program itself waits for a fence.
const LIMIT: Duration = Duration::from_secs(180);
/// What Vulkan says when all is well.
const SUCCESS: &str = "VK_SUCCESS";

/// What can be ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Whose devices.
    name: String,
    /// The order, as the program takes it.
    order: String,
    /// For its environment, when it is started.
    variables: Vec<(String, String)>,
    /// The result that is expected; none if it is left to others to judge what came.
    expect: Option<String>,
    /// Whether bytes may be wrong.
    wrong: bool,
}

impl Command {
    /// Reads the words after `vulkan-`.
    pub fn parse(verb: &str, arguments: &[String]) -> Result<Self, String> {
        if !["open", "use", "look", "spoil", "close"].contains(&verb) {
            return Err(format!("there is no step \"vulkan-{verb}\""));
        }
        let mut command = Self {
            name: "main".to_owned(),
            order: verb.to_owned(),
            variables: Vec::new(),
            expect: Some(SUCCESS.to_owned()),
            wrong: false,
        };
        for (index, word) in arguments.iter().enumerate() {
            match word.as_str() {
                "old" | "new" if verb == "use" || verb == "look" && word == "old" => {
                    command.order = format!("{verb} {word}");
                }
                "expect=wrong" if verb == "look" => command.wrong = true,
                "expect=any" if verb == "use" => command.expect = None,
                _ => {
                    if let Some(result) = word.strip_prefix("expect=VK_") {
                        command.expect = Some(format!("VK_{result}"));
                    } else if let Some((name, value)) = root::variable(word)
                        && verb == "open"
                    {
                        command.variables.push((name.to_owned(), value.to_owned()));
                    } else if index == 0 && !word.contains('=') {
                        command.name.clone_from(word);
                    } else {
                        return Err(format!("vulkan-{verb}: {word:?} is not understood"));
                    }
                }
            }
        }
        Ok(command)
    }
}

/// The programs that are there.
#[derive(Debug, Default)]
pub struct Programs {
    by_name: BTreeMap<String, Served>,
}

#[derive(Debug)]
struct Served {
    child: Child,
    orders: PipeWriter,
    answers: BufReader<PipeReader>,
    /// What it and its libraries say beside that.
    errors: File,
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    result: String,
    call: String,
    bytes: u64,
    wrong: u64,
}

impl Programs {
    /// Does what the command says.
    pub fn perform(&mut self, command: &Command) -> Result<(), String> {
        let name = &command.name;
        if command.order == "open" {
            if self.by_name.contains_key(name) {
                return Err(format!("there is a Vulkan program {name:?} already"));
            }
            self.by_name
                .insert(name.clone(), Served::start(name, &command.variables)?);
        }
        let served = self
            .by_name
            .get_mut(name)
            .ok_or_else(|| format!("there is no Vulkan program {name:?}: vulkan-open makes it"))?;
        let end = served.ask(name, &command.order);
        served.tell_errors(name);
        let failed_to_open = command.order == "open" && !end.as_ref().is_ok_and(|end| end.result == SUCCESS);
        if (failed_to_open || command.order == "close")
            && let Some(served) = self.by_name.remove(name)
        {
            served.finish();
        }
        judge(&end?, command)
    }
}

/// Whether it ended as it was to.
fn judge(end: &End, command: &Command) -> Result<(), String> {
    let End {
        result,
        call,
        bytes,
        wrong,
    } = end;
    let Some(expected) = &command.expect else {
        return Ok(());
    };
    if result != expected {
        let said = if call.is_empty() {
            format!("all worked ({result})")
        } else {
            format!("{call} returned {result}")
        };
        return Err(format!(
            "{said}, and {expected} was expected; {wrong} of {bytes} bytes are wrong"
        ));
    }
    match (*wrong, command.wrong) {
        (0, true) => Err(format!(
            "all {bytes} bytes are right, and wrong ones were expected"
        )),
        (1.., false) => Err(format!("{wrong} of {bytes} bytes are wrong")),
        _ => Ok(()),
    }
}

impl Served {
    fn start(name: &str, variables: &[(String, String)]) -> Result<Self, String> {
        let pipe = || io::pipe().map_err(|error| format!("pipe: {error}"));
        let ((for_program, orders), (answers, from_program)) = (pipe()?, pipe()?);
        let path = format!("/tmp/vulkan-{name}.errors");
        let failed = |error: io::Error| format!("{path}: {error}");
        let written = File::create(&path).map_err(failed)?;
        let errors = File::open(&path).map_err(failed)?;
        let _ = fs::remove_file(&path);
        let child = sys::fork(move || {
            let mut answers = from_program.try_clone();
            let streams = [for_program.into(), from_program.into(), Stdio::from(written)];
            let error = root::become_program(PROGRAM, variables, streams);
            if let Ok(answers) = &mut answers {
                let _ = writeln!(answers, "refused\t{error}");
            }
            1
        })
        .map_err(|error| format!("fork: {error}"))?;
        Ok(Self {
            child,
            orders,
            answers: BufReader::new(answers),
            errors,
        })
    }

    fn ask(&mut self, name: &str, order: &str) -> Result<End, String> {
        // If it is gone, its last words say more than a broken pipe.
        let _ = self.orders.write_all(format!("{order}\n").as_bytes());
        let deadline = Instant::now() + LIMIT;
        loop {
            let line = self.line(deadline)?;
            let mut fields = line.split('\t');
            match fields.next() {
                Some("note") => {
                    let about = fields.next().unwrap_or_default();
                    let facts = Object::new().text("name", name);
                    marker::note(about, &fields.fold(facts, fact));
                }
                Some("end") => return End::parse(fields).ok_or_else(|| format!("no answer: {line:?}")),
                Some("refused") => return Err(fields.next().unwrap_or_default().to_owned()),
                _ => return Err(format!("no answer: {line:?}")),
            }
        }
    }

    fn line(&mut self, deadline: Instant) -> Result<String, String> {
        let left = deadline.saturating_duration_since(Instant::now());
        if self.answers.buffer().is_empty() && !sys::wait_readable(self.answers.get_ref().as_fd(), left) {
            return Err(format!(
                "the Vulkan program did not answer within {} s; it waits in:\n{}",
                LIMIT.as_secs(),
                self.child.stack()
            ));
        }
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(0) => Err(format!(
                "the Vulkan program has ended ({:?})",
                self.child.try_wait()
            )),
            Ok(_) => Ok(line.trim_end_matches('\n').to_owned()),
            Err(error) => Err(format!("reading the answer of the Vulkan program: {error}")),
        }
    }

    /// Reports what it has said beside its answers since the last time.
    fn tell_errors(&mut self, name: &str) {
        // Both ends of the file have one position each; a line that is not whole yet comes next time.
        let mut reader = BufReader::new(&self.errors);
        let mut at = reader.stream_position().unwrap_or(0);
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|count| count > 0) && line.ends_with('\n') {
            at += u64::try_from(line.len()).unwrap_or(0);
            root::tell("vulkan-says", name, "err", &line);
            line.clear();
        }
        let _ = self.errors.seek(io::SeekFrom::Start(at));
    }

    fn finish(self) {
        drop(self.orders);
        if matches!(self.child.wait_for(Duration::from_secs(5)), Ok(None)) {
            self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Adds a field `NAME=VALUE`.
fn fact(facts: Object, field: &str) -> Object {
    let (name, value) = field.split_once('=').unwrap_or((field, ""));
    match value.parse() {
        Ok(number) => facts.number(name, number),
        Err(_) => facts.text(name, value),
    }
}

impl End {
    fn parse<'a>(mut fields: impl Iterator<Item = &'a str>) -> Option<Self> {
        Some(Self {
            result: fields.next()?.to_owned(),
            call: fields.next()?.to_owned(),
            bytes: fields.next()?.parse().ok()?,
            wrong: fields.next()?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        Command::parse(&words[0], &words[1..])
    }

    fn end(result: &str, wrong: u64) -> End {
        End {
            result: result.to_owned(),
            call: "vkQueueSubmit".to_owned(),
            bytes: 8,
            wrong,
        }
    }

    #[test]
    fn an_order_has_a_name_and_an_expectation() {
        let command = parse("use a old expect=VK_ERROR_DEVICE_LOST").unwrap();
        assert_eq!((command.name.as_str(), command.order.as_str()), ("a", "use old"));
        assert_eq!(command.expect.as_deref(), Some("VK_ERROR_DEVICE_LOST"));
        let command = parse("open RADV_PERFTEST=transfer_queue").unwrap();
        assert_eq!(command.name, "main");
        assert_eq!(
            command.variables,
            [("RADV_PERFTEST".to_owned(), "transfer_queue".to_owned())]
        );
        for wrong in [
            "dance a",
            "use a blue",
            "look new",
            "use a expect=125",
            "close a X=1",
        ] {
            let error = parse(wrong).err();
            // "new" is a fine name.
            assert_eq!(error.is_some(), wrong != "look new", "{wrong}");
        }
    }

    #[test]
    fn a_result_has_to_be_the_one_that_is_expected() {
        let lost = parse("use a old expect=VK_ERROR_DEVICE_LOST").unwrap();
        assert_eq!(judge(&end("VK_ERROR_DEVICE_LOST", 0), &lost), Ok(()));
        let error = judge(&end("VK_SUCCESS", 0), &lost).unwrap_err();
        assert!(
            error.contains("VK_SUCCESS") && error.contains("VK_ERROR_DEVICE_LOST"),
            "{error}"
        );
        let error = judge(&end("VK_ERROR_DEVICE_LOST", 0), &parse("use a").unwrap()).unwrap_err();
        assert!(
            error.starts_with("vkQueueSubmit returned VK_ERROR_DEVICE_LOST"),
            "{error}"
        );
        let error = judge(&end("VK_SUCCESS", 3), &parse("use a").unwrap()).unwrap_err();
        assert_eq!(error, "3 of 8 bytes are wrong");
    }

    #[test]
    fn what_came_may_be_left_to_others_to_judge() {
        let any = parse("use a old expect=any").unwrap();
        assert_eq!(judge(&end("VK_ERROR_DEVICE_LOST", 3), &any), Ok(()));
        parse("close a expect=any").unwrap_err();
    }

    #[test]
    fn wrong_bytes_may_be_expected() {
        let look = parse("look a expect=wrong").unwrap();
        assert_eq!(judge(&end("VK_SUCCESS", 3), &look), Ok(()));
        assert!(judge(&end("VK_SUCCESS", 0), &look).is_err());
    }

    #[test]
    fn answers_are_fields() {
        let text = "VK_SUCCESS\t\t100\t3";
        let end = End::parse(text.split('\t')).unwrap();
        assert_eq!((end.bytes, end.wrong, end.call.as_str()), (100, 3, ""));
        assert_eq!(End::parse("VK_SUCCESS".split('\t')), None);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Programs::default().perform(&parse("use x").unwrap()).unwrap_err();
        assert!(
            error.contains("\"x\"") && error.contains("vulkan-open"),
            "{error}"
        );
    }
}
