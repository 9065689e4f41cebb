//! Orders for the guest, and the words that each takes.

use crate::names::{self, Names};

/// The engines that a client submits to.
const ENGINE: Word = Word::Option("engine", Value::OneOf(super::note::ENGINES));
/// The error that is expected.
const EXPECT: Word = Word::Option("expect", Value::Named(&names::ERRNO));
/// The result of a call of Vulkan's that is expected.
const VULKAN_RESULT: Word = Word::Option("expect", Value::OneOfOr(&[], "VK_"));
const OLD_OR_NEW: Word = Word::Either(&["old", "new"]);

/// What may stand behind `NAME=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// A number: decimal, or hexadecimal with `0x`, or with a plus in front.
    Number,
    /// A name of one of these numbers, or such a number.
    Named(&'static Names),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words, or one that begins so.
    OneOfOr(&'static [&'static str], &'static str),
}

/// What words an order takes. Options stand anywhere, the others in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The name of a client; it may be left out.
    Client,
    /// One of these words; the first of them if it is left out.
    Either(&'static [&'static str]),
    /// One of these words, which has to be there.
    Verb(&'static [&'static str]),
    /// A number; it may be left out.
    Number,
    /// A word that has to be there.
    Needed(&'static str),
    /// A word that may be left out.
    Any(&'static str),
    /// `NAME=VALUE` for the environment of a program: as many as there are.
    Variable,
    /// `name=value`; it may be left out.
    Option(&'static str, Value),
    /// Whatever is left.
    Rest,
}

/// An order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub words: &'static [Word],
}

const fn order(name: &'static str, words: &'static [Word]) -> Order {
    Order { name, words }
}

macro_rules! client {
    ($($first:expr),*) => {
        &[
            $($first,)*
            Word::Option("seed", Value::Number),
            Word::Option("large", Value::Number),
            Word::Option("rounds", Value::Number),
            Word::Option("hold", Value::Number),
            Word::Option("sabotage", Value::Number),
            Word::Option("churn", Value::Number),
            Word::Option("vm", Value::OneOf(&["ordinary", "compute"])),
            Word::Option("sigbus", Value::OneOf(&["default", "ignored"])),
        ]
    };
}

/// All orders by name.
pub const ORDERS: &[Order] = &[
    order("bind", &[]),
    order("client", client!()),
    order(
        "client-border",
        &[
            Word::Client,
            Word::Option("first", Value::Number),
            Word::Option("last", Value::Number),
            EXPECT,
        ],
    ),
    order("client-close", &[Word::Client, EXPECT]),
    order("client-compute", &[Word::Client, OLD_OR_NEW, EXPECT]),
    order(
        "client-ended",
        &[
            Word::Client,
            Word::Option("limit", Value::Number),
            Word::Option("signal", Value::Named(&names::SIGNAL)),
        ],
    ),
    order("client-evict", &[Word::Client, EXPECT]),
    order(
        "client-fault",
        &[Word::Client, ENGINE, Word::Option("count", Value::Number), EXPECT],
    ),
    order(
        "client-hang",
        &[
            Word::Client,
            ENGINE,
            Word::Option("how", Value::OneOf(&["poll", "bad-opcode"])),
            EXPECT,
        ],
    ),
    order("client-kfd", &[Word::Client, EXPECT]),
    order("client-open", client!(Word::Client)),
    order("client-prefetch", &[Word::Client, EXPECT]),
    order("client-release", &[Word::Client, EXPECT]),
    order("client-remap", &[Word::Client, EXPECT]),
    order(
        "client-reset-event",
        &[Word::Client, Word::Option("limit", Value::Number), EXPECT],
    ),
    order("client-resume", &[Word::Client, EXPECT]),
    order("client-shared", &[Word::Client, EXPECT]),
    order(
        "client-smi",
        &[Word::Client, Word::Option("limit", Value::Number), EXPECT],
    ),
    order("client-smi-open", &[Word::Client, EXPECT]),
    order("client-stale", &[Word::Client, EXPECT]),
    order(
        "client-state",
        &[
            Word::Client,
            Word::Option("flags", Value::Named(&names::CONTEXT_FLAGS)),
            Word::Option("current", Value::Named(&names::CONTEXT_FLAGS)),
            Word::Option("lost", Value::Number),
            EXPECT,
        ],
    ),
    order("client-submit", &[Word::Client, ENGINE, EXPECT]),
    order("client-use", &[Word::Client, OLD_OR_NEW, EXPECT]),
    order("client-verify", &[Word::Client, EXPECT]),
    order(
        "client-wait",
        &[
            Word::Client,
            Word::Option("limit", Value::Number),
            EXPECT,
            Word::Option("pending", Value::Named(&names::ERRNO)),
        ],
    ),
    order("coredump", &[Word::Number]),
    order("evict", &[EXPECT]),
    order("evict-loop", &[Word::Verb(&["start", "stop"]), EXPECT]),
    order("flood", &[Word::Needed("start, wait or a path"), Word::Rest]),
    order("fresh-vram", &[Word::Number]),
    order("hold", &[]),
    order("info", &[]),
    order("load", &[Word::Any("module"), Word::Rest]),
    order("memory-speed", &[]),
    order("modprobe", &[Word::Any("module"), Word::Rest]),
    order("pci-remove", &[EXPECT]),
    order("pci-rescan", &[EXPECT]),
    order("pci-reset", &[EXPECT]),
    order("pci-wait", &[]),
    order("port-request", &[Word::Needed("request"), Word::Rest]),
    order("port-up", &[]),
    order("poweroff", &[]),
    order("read", &[Word::Needed("path")]),
    order("rebind", &[Word::Number]),
    order("reboot", &[]),
    order("recover", &[EXPECT]),
    order("recover-start", &[]),
    order("recover-wait", &[EXPECT]),
    order("register-latency", &[Word::Number]),
    order("reload", &[Word::Number]),
    order("reset-method", &[Word::Needed("number"), EXPECT]),
    order("rmmod", &[Word::Any("module"), EXPECT]),
    order("root-run", &[Word::Needed("program"), Word::Rest]),
    order("sh", &[Word::Needed("command"), Word::Rest]),
    order("shell", &[]),
    order("sleep", &[Word::Number]),
    order("suspend", &[Word::Number, EXPECT]),
    order("trace", &[Word::Verb(&["start", "stop"]), Word::Rest]),
    order("unbind", &[]),
    order("unbind-start", &[]),
    order("unbind-wait", &[]),
    order("vulkan-close", &[Word::Client, VULKAN_RESULT]),
    order(
        "vulkan-look",
        &[
            Word::Client,
            Word::Either(&["old"]),
            Word::Option("expect", Value::OneOfOr(&["wrong"], "VK_")),
        ],
    ),
    order("vulkan-open", &[Word::Client, Word::Variable, VULKAN_RESULT]),
    order("vulkan-spoil", &[Word::Client, VULKAN_RESULT]),
    order(
        "vulkan-use",
        &[
            Word::Client,
            OLD_OR_NEW,
            Word::Option("expect", Value::OneOfOr(&["any"], "VK_")),
        ],
    ),
    order("write", &[Word::Needed("path"), Word::Needed("value")]),
];

/// What is wrong with an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Which word, counted from 0 with the order's name; behind the last if one is missing.
    pub word: usize,
    /// Where in it the wrong part begins, in bytes.
    pub at: usize,
    /// The part of it that is wrong.
    pub found: String,
    /// What is wrong with it.
    pub message: String,
    /// The words that could stand there; none if it is no matter of words.
    pub known: Vec<String>,
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        match self.known.as_slice() {
            [] => Ok(()),
            known => write!(f, ", expected one of: {}", known.join(", ")),
        }
    }
}

/// An order by its name.
pub fn named(name: &str) -> Option<&'static Order> {
    ORDERS.iter().find(|order| order.name == name)
}

/// Checks the words of an order: its name first.
///
/// # Errors
/// [`Wrong`] with the first word that is not one that the order takes.
pub fn check<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<&'static Order, Wrong> {
    let mut words = words.into_iter().enumerate();
    let name = words.next().map(|(_, name)| name).unwrap_or_default();
    let Some(order) = named(name) else {
        return Err(Wrong {
            word: 0,
            at: 0,
            found: name.to_owned(),
            message: format!("there is no step {name:?}"),
            known: ORDERS.iter().map(|order| order.name.to_owned()).collect(),
        });
    };
    let mut places = order
        .words
        .iter()
        .filter(|word| !matches!(word, Word::Option(..) | Word::Variable))
        .peekable();
    let mut last = 0;
    'words: for (index, text) in words {
        last = index;
        let wrong = |at: usize, found: &str, message: String, known: Vec<String>| Wrong {
            word: index,
            at,
            found: found.to_owned(),
            message: format!("{name}: {message}"),
            known,
        };
        if let Some((key, value)) = option(order, text) {
            value_of(key, value).map_err(|bad| {
                let start = text.len() - value.len() + bad.at;
                wrong(start, &bad.found, bad.message, bad.known)
            })?;
            continue;
        }
        if order.words.contains(&Word::Variable) && is_variable(text) {
            continue;
        }
        while let Some(place) = places.peek() {
            let fits = match place {
                Word::Rest => continue 'words,
                Word::Client => !text.contains('=') && !either(order).contains(&text),
                Word::Either(list) | Word::Verb(list) => list.contains(&text),
                Word::Number => is_number(text),
                Word::Needed(_) | Word::Any(_) => true,
                Word::Option(..) | Word::Variable => false,
            };
            let needed = matches!(place, Word::Needed(_) | Word::Verb(_));
            if !fits && needed {
                break;
            }
            places.next();
            if fits {
                continue 'words;
            }
        }
        let known: Vec<_> = order.words.iter().flat_map(stands_for).collect();
        let found = text.split_once('=').map_or(text, |(key, _)| key);
        let message = if order.words.contains(&Word::Number) && !text.contains('=') {
            format!("{text:?} is no number")
        } else {
            format!("it takes no {found:?}")
        };
        return Err(wrong(0, found, message, known));
    }
    let missing = places.find_map(|place| match place {
        Word::Needed(what) => Some((*what, Vec::new())),
        Word::Verb(list) => Some(("word", list.iter().map(|word| (*word).to_owned()).collect())),
        _ => None,
    });
    match missing {
        None => Ok(order),
        Some((what, known)) => Err(Wrong {
            word: last + 1,
            at: 0,
            found: String::new(),
            message: format!("{name}: no {what} given"),
            known,
        }),
    }
}

/// The option that a word is, with its value.
fn option<'a>(order: &Order, text: &'a str) -> Option<(&'static Word, &'a str)> {
    // A value of something else may look like an option.
    if order.words.iter().any(|word| matches!(word, Word::Rest)) {
        return None;
    }
    let (key, value) = text.split_once('=')?;
    order.words.iter().find_map(|word| match word {
        Word::Option(name, _) if *name == key => named_option(order.name, key).map(|word| (word, value)),
        _ => None,
    })
}

fn named_option(order: &str, key: &str) -> Option<&'static Word> {
    let is_it = |word: &&'static Word| matches!(word, Word::Option(name, _) if *name == key);
    named(order)?.words.iter().find(is_it)
}

/// What is wrong with the value of an option.
struct BadValue {
    /// Where in the value, in bytes.
    at: usize,
    found: String,
    message: String,
    known: Vec<String>,
}

fn value_of(word: &Word, value: &str) -> Result<(), BadValue> {
    let Word::Option(name, kind) = word else {
        return Ok(());
    };
    let owned = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let bad = |what: &str, known| BadValue {
        at: 0,
        found: value.to_owned(),
        message: format!("{name}={value:?} is {what}"),
        known,
    };
    match kind {
        Value::OneOf(list) if !list.contains(&value) => Err(bad("not known", owned(list))),
        Value::OneOfOr(list, start) if !list.contains(&value) && !value.starts_with(start) => {
            let known = owned(list).into_iter().chain([format!("{start}...")]);
            Err(bad("not known", known.collect()))
        }
        Value::Number if !is_number(value) => Err(bad("no number", Vec::new())),
        Value::Named(names) => match names.number(value) {
            Ok(_) => Ok(()),
            Err(wrong) => Err(BadValue {
                at: wrong.start,
                found: wrong.word,
                ..bad(
                    &format!("not {}", names.what),
                    names.words().map(str::to_owned).collect(),
                )
            }),
        },
        _ => Ok(()),
    }
}

fn either(order: &Order) -> &'static [&'static str] {
    order
        .words
        .iter()
        .find_map(|word| match word {
            Word::Either(list) => Some(*list),
            _ => None,
        })
        .unwrap_or_default()
}

/// What a word of an order can look like.
fn stands_for(word: &Word) -> Vec<String> {
    match word {
        Word::Either(list) | Word::Verb(list) => list.iter().map(|word| (*word).to_owned()).collect(),
        Word::Option(name, _) => vec![(*name).to_owned()],
        _ => Vec::new(),
    }
}

/// Names of the environment are in capitals, those of options are not.
fn is_variable(text: &str) -> bool {
    let capital = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    text.split_once('=')
        .is_some_and(|(name, _)| !name.is_empty() && name.chars().all(capital))
}

fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('+').unwrap_or(text);
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).is_ok(),
        None => text.parse::<u64>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(line: &str) -> Wrong {
        check(line.split(' ')).unwrap_err()
    }

    #[test]
    fn orders_are_there_once_by_name() {
        assert!(ORDERS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn right_words_are_taken() {
        for line in [
            "client hold=0 vm=compute",
            "client-use",
            "client-use a",
            "client-use new",
            "client-use a old expect=125",
            "client-use expect=ECANCELED a old",
            "client-state a flags=0x3 lost=+1",
            "client-state a flags=RESET|AMDGPU_CTX_QUERY2_FLAGS_VRAMLOST current=0",
            "client-ended a signal=SIGBUS",
            "client-hang a engine=gfx how=bad-opcode",
            "evict-loop start",
            "modprobe amdgpu reset_method=4",
            "rebind",
            "rebind 3",
            "reset-method -1",
            "suspend 3 expect=0",
            "write /a expect=5",
            "rmmod amdgpu expect=11",
            "vulkan-open a RADV_PERFTEST=transfer_queue",
            "vulkan-use a old expect=VK_ERROR_DEVICE_LOST",
            "vulkan-use a old expect=any",
            "root-run vulkaninfo --summary",
            "flood start /dev/x 16 ask {\"request\":\"state\"}",
            "trace stop",
        ] {
            let taken = check(line.split(' '));
            assert!(taken.is_ok(), "{line}: {taken:?}");
        }
    }

    #[test]
    fn the_first_wrong_word_is_named_with_those_that_could_stand_there() {
        for (line, word, found, known) in [
            ("dance", 0, "dance", "bind"),
            ("client-use a odl", 2, "odl", "old"),
            ("client-use a old expct=125", 3, "expct", "expect"),
            ("client-hang a engine=gxf", 2, "gxf", "gfx"),
            ("evict-loop strat", 1, "strat", "start"),
            ("evict-loop", 1, "", "stop"),
            ("client colour=3", 1, "colour", "churn"),
            ("client-use a old expect=ECANCELLED", 3, "ECANCELLED", "ECANCELED"),
            ("client-state a flags=RESET|VRAMLOSS", 2, "VRAMLOSS", "VRAMLOST"),
        ] {
            let wrong = wrong(line);
            assert_eq!((wrong.word, wrong.found.as_str()), (word, found), "{line}");
            let text = line.split(' ').nth(word).unwrap_or_default();
            assert!(
                text.get(wrong.at..).unwrap().starts_with(found),
                "{line}: {wrong:?}"
            );
            assert!(wrong.known.iter().any(|other| other == known), "{wrong:?}");
        }
        for (line, message) in [
            ("rebind x", "rebind: \"x\" is no number"),
            ("write /a", "write: no value given"),
            ("bind now", "bind: it takes no \"now\""),
            (
                "client-wait a limit=long",
                "client-wait: limit=\"long\" is no number",
            ),
        ] {
            assert_eq!(wrong(line).to_string(), message);
        }
    }
}
