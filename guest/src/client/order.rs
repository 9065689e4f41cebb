//! What a client that stays can be told, as words after the client's name.

use std::time::Duration;

use protocol::names::{CONTEXT_FLAGS, ERRNO, Names};

use crate::drm::Engine;

/// How long a client waits for its submissions unless it is told. Longer than the driver's longest time limit for a job (60 s for
/// compute on 6.1 and 6.12) with the reset after it.
const WAIT_LIMIT: Duration = Duration::from_secs(100);
/// Most accesses of one storm of faults.
const MOST_FAULTS: u32 = 100_000;
/// Most pages below the border of a page table: more than the entries of one update job of the driver.
const MOST_BELOW: u32 = 192;

/// An order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Copy again.
    Use {
        /// In a new context.
        new_context: bool,
    },
    /// Fill and copy again through the mappings as they are.
    Verify,
    /// One submission of a new context, and no more.
    Resume,
    /// Map something elsewhere and back, and wait for nothing.
    Remap,
    /// Wait for what KFD says of a reset.
    ResetEvent {
        /// So long.
        limit: Duration,
    },
    /// Ask KFD for a few things.
    Kfd,
    /// Have KFD report resets and page faults as lines of text from now on.
    SmiOpen,
    /// Take what it has reported.
    Smi {
        /// Waits so long for the first.
        limit: Duration,
    },
    /// Have shared memory migrated to VRAM.
    Prefetch,
    /// Read it by the processor, and compare it.
    Shared,
    /// Have its buffers moved out of VRAM and back, with their contents.
    Evict,
    /// Have memory that KFD allocated filled in its compute VM.
    Compute {
        /// In a new context.
        new_context: bool,
    },
    /// Submit something that never ends.
    Hang {
        /// Where.
        engine: Engine,
        /// What.
        how: Hang,
    },
    /// Submit an ordinary copy and do not wait for it.
    Submit {
        /// Where.
        engine: Engine,
    },
    /// Let what hangs by polling go on.
    Release,
    /// Wait for what is in flight, and tell how it ended.
    Wait(Wait),
    /// Tell what the driver says about the oldest context.
    State(StateExpected),
    /// Access addresses where nothing is.
    Fault {
        /// By which engine.
        engine: Engine,
        /// How often.
        count: u32,
    },
    /// Map pages of its own memory across the border of a page table.
    Border {
        /// From so many pages below the border.
        first: u32,
        /// Up to so many.
        last: u32,
    },
    /// Unmap its own memory while the GPU has it mapped, and have that read it.
    Stale,
    /// End.
    Close,
}

/// How an engine is made to stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hang {
    /// It waits for a value in memory that never comes.
    Poll,
    /// It is given a packet that does not exist.
    BadOpcode,
}

/// What to wait for, and how it has to end. An error number of 0 is an end without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// No longer than this, all submissions together.
    pub limit: Duration,
    /// The error of those that were to hang.
    pub expect: Option<i32>,
    /// The error of the ordinary ones.
    pub pending: Option<i32>,
}

/// What the driver has to say. Nothing is judged that is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateExpected {
    /// `AMDGPU_CTX_QUERY2_FLAGS_*` of the oldest context.
    pub flags: Option<u32>,
    /// The same of the newest.
    pub current: Option<u32>,
    /// How often VRAM was lost since the client started.
    pub lost: Option<u32>,
}

impl Order {
    /// Reads the name of the order and what follows.
    pub fn parse(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap_or_default();
        let mut arguments = Arguments::new(verb, words);
        let order = match verb {
            "use" => Self::Use {
                new_context: arguments.one_of(["old", "new"]) == "new",
            },
            "verify" => Self::Verify,
            "resume" => Self::Resume,
            "remap" => Self::Remap,
            "evict" => Self::Evict,
            "reset-event" => Self::ResetEvent {
                limit: Duration::from_millis(arguments.number("limit")?.unwrap_or(2000_u32).into()),
            },
            "kfd" => Self::Kfd,
            "smi-open" => Self::SmiOpen,
            "smi" => Self::Smi {
                limit: Duration::from_millis(arguments.number("limit")?.unwrap_or(2000_u32).into()),
            },
            "prefetch" => Self::Prefetch,
            "shared" => Self::Shared,
            "compute" => Self::Compute {
                new_context: arguments.one_of(["old", "new"]) == "new",
            },
            "hang" => Self::Hang {
                engine: arguments.engine()?,
                how: match arguments.take("how") {
                    None | Some("poll") => Hang::Poll,
                    Some("bad-opcode") => Hang::BadOpcode,
                    Some(other) => {
                        return Err(format!("client-hang: how={other:?} is not poll or bad-opcode"));
                    }
                },
            },
            "submit" => Self::Submit {
                engine: arguments.engine()?,
            },
            "release" => Self::Release,
            "wait" => Self::Wait(Wait {
                limit: arguments
                    .number("limit")?
                    .map_or(WAIT_LIMIT, |limit: u32| Duration::from_millis(limit.into())),
                expect: arguments.error("expect")?,
                pending: arguments.error("pending")?,
            }),
            "state" => Self::State(StateExpected {
                flags: arguments.named("flags", &CONTEXT_FLAGS)?,
                current: arguments.named("current", &CONTEXT_FLAGS)?,
                lost: arguments.number("lost")?,
            }),
            "fault" => Self::Fault {
                engine: arguments.engine()?,
                count: arguments.number("count")?.unwrap_or(1).clamp(1, MOST_FAULTS),
            },
            "border" => {
                let first = arguments.number("first")?.unwrap_or(1);
                let last = arguments.number("last")?.unwrap_or(MOST_BELOW);
                if first == 0 || last < first || last > MOST_BELOW {
                    return Err(format!(
                        "client-border: pages from {first} to {last} are not from 1 to {MOST_BELOW}"
                    ));
                }
                Self::Border { first, last }
            }
            "stale" => Self::Stale,
            "close" => Self::Close,
            _ => return Err(format!("there is no step \"client-{verb}\"")),
        };
        arguments.finish()?;
        Ok(order)
    }

    /// How long it can take at most, if it is more than any order may take.
    pub const fn limit(&self) -> Duration {
        match self {
            Self::Wait(wait) => wait.limit,
            _ => Duration::ZERO,
        }
    }
}

/// Words behind an order, taken one after the other.
struct Arguments<'a> {
    verb: &'a str,
    words: Vec<&'a str>,
}

impl<'a> Arguments<'a> {
    fn new(verb: &'a str, words: impl Iterator<Item = &'a str>) -> Self {
        Self {
            verb,
            words: words.collect(),
        }
    }

    /// The value of `name=value`.
    fn take(&mut self, name: &str) -> Option<&'a str> {
        let value = |word: &'a str| word.strip_prefix(name)?.strip_prefix('=');
        let at = self.words.iter().position(|word| value(word).is_some())?;
        value(self.words.remove(at))
    }

    /// A word that is one of a few; the first one if it is left out.
    fn one_of<const N: usize>(&mut self, words: [&'a str; N]) -> &'a str {
        match self.words.iter().position(|word| words.contains(word)) {
            Some(at) => self.words.remove(at),
            None => words.first().copied().unwrap_or_default(),
        }
    }

    fn engine(&mut self) -> Result<Engine, String> {
        let name = self.take("engine").unwrap_or("sdma");
        Engine::parse(name).ok_or_else(|| {
            format!(
                "client-{}: engine={name:?} is none of sdma, gfx, compute",
                self.verb
            )
        })
    }

    /// A number by its name, or itself.
    fn named(&mut self, name: &str, names: &Names) -> Result<Option<u32>, String> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        match names.number(text) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(format!(
                "client-{}: {name}={text:?} is not {}",
                self.verb, names.what
            )),
        }
    }

    fn error(&mut self, name: &str) -> Result<Option<i32>, String> {
        let number = self.named(name, &ERRNO)?;
        Ok(number.and_then(|number| i32::try_from(number).ok()))
    }

    /// A number: decimal, hexadecimal with `0x`, or with a plus in front.
    fn number<T: TryFrom<u32>>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        let number = match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => text.trim_start_matches('+').parse(),
        };
        let number = number.ok().and_then(|number| T::try_from(number).ok());
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(format!("client-{}: {name}={text:?} is no number", self.verb)),
        }
    }

    fn finish(self) -> Result<(), String> {
        match self.words.first() {
            None => Ok(()),
            Some(word) => Err(format!("client-{}: {word:?} is not understood", self.verb)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hang_polls_with_sdma_unless_it_is_told() {
        assert_eq!(
            Order::parse("hang"),
            Ok(Order::Hang {
                engine: Engine::Sdma,
                how: Hang::Poll
            })
        );
        assert_eq!(
            Order::parse("hang how=bad-opcode engine=gfx"),
            Ok(Order::Hang {
                engine: Engine::Gfx,
                how: Hang::BadOpcode
            })
        );
    }

    #[test]
    fn a_wait_has_a_limit_and_may_expect_how_things_end() {
        let Ok(Order::Wait(wait)) = Order::parse("wait expect=ECANCELED pending=0 limit=2500") else {
            panic!("not a wait");
        };
        assert_eq!((wait.expect, wait.pending), (Some(125), Some(0)));
        assert_eq!(wait.limit, Duration::from_millis(2500));
    }

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
        assert_eq!(
            Order::parse("state flags=RESET|VRAMLOST|0x4 lost=+1"),
            Ok(Order::State(StateExpected {
                flags: Some(7),
                current: None,
                lost: Some(1)
            }))
        );
    }

    #[test]
    fn pages_at_a_border_are_some_and_not_too_many() {
        assert_eq!(
            Order::parse("border first=100 last=117"),
            Ok(Order::Border {
                first: 100,
                last: 117
            })
        );
        for line in ["border first=0", "border first=9 last=8", "border last=193"] {
            assert!(Order::parse(line).unwrap_err().contains("192"), "{line}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, named) in [
            ("dance", "client-dance"),
            ("hang engine=vcn", "vcn"),
            ("hang how=slowly", "slowly"),
            ("wait limit=soon", "soon"),
            ("use maybe", "maybe"),
            ("state lost=-1", "-1"),
            ("state flags=LOST", "LOST"),
            ("wait expect=EWHAT", "EWHAT"),
            ("resume new", "new"),
            ("remap twice", "twice"),
        ] {
            assert!(Order::parse(line).unwrap_err().contains(named), "{line}");
        }
    }
}
