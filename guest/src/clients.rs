//! Clients that stay: processes of their own that keep their buffers and mappings between steps, so that something can
//! happen to the GPU in the meantime.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use protocol::names::SIGNAL;

use crate::client::{Options, Order};
use crate::json::Object;
use crate::sys::{self, Child, Exit};
use crate::{client, marker, steps};

/// An answer that takes longer is lost. Longer than any reset with its time limits.
const LIMIT: Duration = Duration::from_secs(120);
/// What a client answers when all is well.
const OK: &str = "ok";

/// What a client that stays can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Start it; it makes its buffers and does the whole set of copies once.
    Open {
        /// Its name.
        name: String,
        /// What it does.
        options: Options,
    },
    /// Have it do something.
    Tell {
        /// Its name.
        name: String,
        /// What, in words that [`Order::parse`] has understood.
        order: String,
        /// How long it may take.
        limit: Duration,
        /// The error number that is expected; none if it has to work.
        expect: Option<i32>,
    },
    /// See that its process was ended by something else.
    Ended {
        /// Its name.
        name: String,
        /// How long that may take.
        limit: Duration,
        /// The signal that has to have done it; none if any end will do.
        signal: Option<i32>,
    },
    /// End it.
    Close {
        /// Its name.
        name: String,
        /// The error number that is expected; none if it has to work.
        expect: Option<i32>,
    },
}

impl Command {
    /// Reads the words after `client-`.
    pub fn parse(verb: &str, arguments: &[String]) -> Result<Self, String> {
        let (name, rest) = match arguments.split_first() {
            Some((name, rest)) if !name.contains('=') && !matches!(name.as_str(), "old" | "new") => {
                (name.clone(), rest)
            }
            _ => ("main".to_owned(), arguments),
        };
        if verb == "open" {
            let options = Options::parse(rest)?;
            return Ok(Self::Open { name, options });
        }
        if verb == "ended" {
            return Self::parse_ended(name, rest);
        }
        let mut words = vec![verb.to_owned()];
        let mut expect = None;
        for word in rest {
            match word.strip_prefix("expect=") {
                // How its submissions have to end is judged by the client itself.
                Some(number) if verb != "wait" => {
                    expect = Some(steps::error_number(&format!("client-{verb}"), number)?);
                }
                _ => words.push(word.clone()),
            }
        }
        let line = words.join(" ");
        let order = Order::parse(&line)?;
        Ok(match order {
            Order::Close => Self::Close { name, expect },
            order => Self::Tell {
                name,
                order: line,
                limit: order.limit() + LIMIT,
                expect,
            },
        })
    }
}

impl Command {
    /// Reads `[signal=NAME] [limit=MS]`.
    fn parse_ended(name: String, words: &[String]) -> Result<Self, String> {
        let (mut limit, mut signal) = (2000, None);
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let number = || {
                value
                    .parse()
                    .map_err(|_| format!("client-ended: {word:?} has no number"))
            };
            match key {
                "limit" => limit = number()?,
                "signal" => {
                    let number = SIGNAL
                        .number(value)
                        .map_err(|_| format!("client-ended: {word:?} is not {}", SIGNAL.what))?;
                    signal = Some(i32::try_from(number).unwrap_or(i32::MAX));
                }
                _ => return Err(format!("client-ended: {word:?} is not understood")),
            }
        }
        Ok(Self::Ended {
            name,
            limit: Duration::from_millis(limit),
            signal,
        })
    }
}

/// The clients that are there.
#[derive(Debug, Default)]
pub struct Clients {
    by_name: BTreeMap<String, Served>,
}

#[derive(Debug)]
struct Served {
    child: Child,
    orders: PipeWriter,
    answers: BufReader<PipeReader>,
}

impl Clients {
    /// Does what the command says.
    pub fn perform(&mut self, command: &Command) -> Result<(), String> {
        match command {
            Command::Open { name, options } => {
                if self.by_name.contains_key(name) {
                    return Err(format!("there is a client {name:?} already"));
                }
                let mut served = Served::start(name, *options)?;
                let answer = served.answer(LIMIT);
                if answer.is_ok() {
                    self.by_name.insert(name.clone(), served);
                } else {
                    served.child.kill();
                }
                answer
            }
            Command::Tell {
                name,
                order,
                limit,
                expect,
            } => steps::judge(self.get(name)?.ask(order, *limit), *expect),
            Command::Ended { name, limit, signal } => {
                let exit = self.get(name)?.end(*limit)?;
                self.by_name.remove(name);
                judge_end(name, exit, *signal)
            }
            Command::Close { name, expect } => {
                let mut served = self
                    .by_name
                    .remove(name)
                    .ok_or_else(|| format!("there is no client {name:?}"))?;
                let answer = served.ask("close", LIMIT);
                served.finish();
                steps::judge(answer, *expect)
            }
        }
    }

    fn get(&mut self, name: &str) -> Result<&mut Served, String> {
        self.by_name
            .get_mut(name)
            .ok_or_else(|| format!("there is no client {name:?}"))
    }
}

impl Served {
    fn start(name: &str, options: Options) -> Result<Self, String> {
        let pipe = || io::pipe().map_err(|error| format!("pipe: {error}"));
        let ((for_client, orders), (answers, from_client)) = (pipe()?, pipe()?);
        let child = sys::fork(move || serve(name, options, BufReader::new(for_client), from_client))
            .map_err(|error| format!("fork: {error}"))?;
        Ok(Self {
            child,
            orders,
            answers: BufReader::new(answers),
        })
    }

    fn ask(&mut self, order: &str, limit: Duration) -> Result<(), String> {
        self.orders
            .write_all(format!("{order}\n").as_bytes())
            .map_err(|error| format!("telling the client {order:?}: {error}"))?;
        self.answer(limit)
    }

    fn answer(&mut self, limit: Duration) -> Result<(), String> {
        if !sys::wait_readable(self.answers.get_ref().as_fd(), limit) {
            return Err(format!(
                "the client did not answer within {} s; it waits in:\n{}",
                limit.as_secs(),
                self.child.stack()
            ));
        }
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(0) => Err("the client has ended".to_owned()),
            Ok(_) if line.trim_end() == OK => Ok(()),
            Ok(_) => Err(line.trim_end().to_owned()),
            Err(error) => Err(format!("reading the client's answer: {error}")),
        }
    }

    /// How its process ended, if it does so in time.
    fn end(&self, limit: Duration) -> Result<Exit, String> {
        let exit = self.child.wait_for(limit);
        let exit = exit.map_err(|error| format!("waiting for the client: {}", sys::explain(&error)))?;
        exit.ok_or_else(|| {
            let stack = self.child.stack();
            format!("the client's process has not ended; it waits in:\n{stack}")
        })
    }

    fn finish(&self) {
        // It answered that it is done; what is left is its exit.
        if matches!(self.child.wait_for(Duration::from_secs(1)), Ok(None)) {
            self.child.kill();
        }
    }
}

/// Reports how a client ended, and whether that is what was expected.
fn judge_end(name: &str, exit: Exit, wanted: Option<i32>) -> Result<(), String> {
    let (signal, status) = match exit {
        Exit::Signal(signal) => (signal, 0),
        Exit::Status(status) => (0, status),
    };
    marker::note(
        "ended",
        &Object::new()
            .text("name", name)
            .number("signal", signal.unsigned_abs().into())
            .number("status", status.unsigned_abs().into()),
    );
    match wanted {
        Some(wanted) if wanted != signal => Err(format!(
            "the client {name:?} ended by signal {} with status {status}, not by signal {}",
            SIGNAL.text(signal.unsigned_abs()),
            SIGNAL.text(wanted.unsigned_abs())
        )),
        _ => Ok(()),
    }
}

/// The life of the client's process.
fn serve(name: &str, options: Options, mut orders: BufReader<PipeReader>, mut answers: PipeWriter) -> i32 {
    let mut answer = |result: Result<(), String>| {
        let text = match result {
            Ok(()) => OK.to_owned(),
            Err(error) => error.replace('\n', " "),
        };
        answers.write_all(format!("{text}\n").as_bytes()).is_ok()
    };
    let result = steps::render_node().and_then(|node| {
        client::stay(&node, name, options, |result| {
            answer(result);
            let mut line = String::new();
            // The end of the pipe is init's end: nobody is left to answer.
            orders.read_line(&mut line).ok().filter(|count| *count > 0)?;
            Order::parse(line.trim_end()).ok()
        })
    });
    let failed = result.is_err();
    answer(result);
    i32::from(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        Command::parse(&words[0], &words[1..])
    }

    #[test]
    fn a_client_has_a_name_or_is_the_main_one() {
        assert!(matches!(parse("close"), Ok(Command::Close { name, .. }) if name == "main"));
        assert!(
            matches!(parse("open a seed=4"), Ok(Command::Open { name, options }) if name == "a" && options.seed == 4)
        );
        assert!(matches!(parse("open seed=4"), Ok(Command::Open { name, .. }) if name == "main"));
    }

    #[test]
    fn using_it_can_expect_an_error() {
        assert_eq!(
            parse("use a old expect=ECANCELED"),
            Ok(Command::Tell {
                name: "a".into(),
                order: "use old".into(),
                limit: LIMIT,
                expect: Some(125)
            })
        );
        assert!(
            matches!(parse("use new"), Ok(Command::Tell { name, order, .. }) if name == "main" && order == "use new")
        );
        assert!(parse("use a maybe").unwrap_err().contains("maybe"));
    }

    #[test]
    fn the_end_of_a_client_may_have_to_be_by_a_signal() {
        assert_eq!(
            parse("ended a signal=SIGBUS limit=50"),
            Ok(Command::Ended {
                name: "a".into(),
                limit: Duration::from_millis(50),
                signal: Some(7)
            })
        );
        assert!(parse("ended a soon").unwrap_err().contains("soon"));
        assert!(parse("ended a signal=KILL").unwrap_err().contains("KILL"));
        assert_eq!(judge_end("a", Exit::Signal(7), Some(7)), Ok(()));
        let error = judge_end("a", Exit::Status(0), Some(7)).unwrap_err();
        assert!(error.contains("signal 0"), "{error}");
    }

    #[test]
    fn a_wait_judges_its_errors_itself_and_gets_its_time() {
        assert_eq!(
            parse("wait a expect=ECANCELED limit=1000"),
            Ok(Command::Tell {
                name: "a".into(),
                order: "wait expect=ECANCELED limit=1000".into(),
                limit: LIMIT + Duration::from_secs(1),
                expect: None
            })
        );
    }

    #[test]
    fn a_client_that_is_not_there_is_named() {
        let error = Clients::default()
            .perform(&Command::Close {
                name: "x".into(),
                expect: None,
            })
            .unwrap_err();
        assert!(error.contains("\"x\""));
    }
}
