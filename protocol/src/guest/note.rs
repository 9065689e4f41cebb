//! Notes: facts that the guest's programs report, each about a subject.

use crate::names::{self, Names};

/// What a fact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// One of these texts.
    Word(&'static [&'static str]),
    /// A number.
    Number,
    /// A number that has names.
    Named(&'static Names),
    /// True or false.
    Flag,
    /// A list of texts.
    List,
}

/// A kind of note: its subject, and the facts that it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// What it is about.
    pub about: &'static str,
    /// Its facts. Where programs differ in what they say about a subject it is all of theirs.
    pub facts: &'static [(&'static str, Kind)],
}

use Kind::{Flag, List, Named, Number, Text, Word};

const ERRNO: Kind = Named(&names::ERRNO);
const FLAGS: Kind = Named(&names::CONTEXT_FLAGS);

/// Streams of a program.
const STREAMS: &[&str] = &["out", "err"];
/// Engines as clients name them.
pub const ENGINES: &[&str] = &["sdma", "gfx", "compute"];
const JOBS: Kind = Word(&["hang", "bad-opcode", "copy", "fault"]);

/// All notes, by subject.
pub const NOTES: &[Note] = &[
    Note {
        about: "border",
        facts: &[
            ("name", Text),
            ("first", Number),
            ("last", Number),
            ("operations", Number),
            ("bytes_checked", Number),
            ("ms", Number),
        ],
    },
    Note {
        about: "churn",
        facts: &[
            ("name", Text),
            ("threads", Number),
            ("rounds", Number),
            ("least_rounds", Number),
            ("uncertain", Number),
            ("cancelled", Number),
            ("contexts", Number),
            ("wrong", Number),
            ("gone", Number),
        ],
    },
    Note {
        about: "client",
        facts: &[
            ("name", Text),
            ("operations", Number),
            ("bytes_submitted", Number),
            ("bytes_checked", Number),
            ("bytes_mapped", Number),
            ("least_entries", Number),
            ("rings", Number),
            ("vram_lost", Number),
            ("context", List),
            ("ms", Number),
        ],
    },
    Note {
        about: "compute",
        facts: &[
            ("name", Text),
            ("dwords", Number),
            ("wrong", Number),
            ("ms", Number),
        ],
    },
    Note {
        about: "compute-vm",
        facts: &[("gpu_id", Text)],
    },
    Note {
        about: "copy",
        facts: &[("what", Text), ("ms", Text)],
    },
    Note {
        about: "coredump",
        facts: &[
            ("present", Flag),
            ("count", Number),
            ("device", Text),
            ("head", List),
            ("discarded", Number),
        ],
    },
    Note {
        about: "device",
        facts: &[
            ("interface", Text),
            ("device_id", Text),
            ("family", Number),
            ("external_rev", Number),
            ("active_units", Number),
            ("vram", Number),
            ("visible_vram", Number),
            ("gtt", Number),
            ("address_first", Text),
            ("sdma", Text),
            ("sdma_rings", Text),
            ("vram_lost", Number),
        ],
    },
    Note {
        about: "end",
        facts: &[("error", Text)],
    },
    Note {
        about: "ended",
        facts: &[
            ("name", Text),
            ("signal", Named(&names::SIGNAL)),
            ("status", Number),
        ],
    },
    Note {
        about: "evict",
        facts: &[("errno", ERRNO), ("ms", Number)],
    },
    Note {
        about: "evict-loop",
        facts: &[
            ("ended", Flag),
            ("rounds", Number),
            ("errors", Number),
            ("errno", ERRNO),
        ],
    },
    Note {
        about: "evicted",
        facts: &[("name", Text), ("bytes_checked", Number), ("ms", Number)],
    },
    Note {
        about: "failure",
        facts: &[("error", Text)],
    },
    Note {
        about: "fault",
        facts: &[
            ("name", Text),
            ("engine", Word(ENGINES)),
            ("accesses", Number),
            ("jobs", Number),
            ("errors", Number),
            ("errno", ERRNO),
            ("ms", Number),
        ],
    },
    Note {
        about: "file",
        facts: &[("path", Text), ("line", Text)],
    },
    Note {
        about: "firmware",
        facts: &[
            ("me", Text),
            ("pfp", Text),
            ("ce", Text),
            ("rlc", Text),
            ("mec", Text),
            ("smc", Text),
            ("sdma", Text),
            ("sos", Text),
            ("asd", Text),
        ],
    },
    Note {
        about: "flood",
        facts: &[
            ("path", Text),
            ("mib", Number),
            ("same", Flag),
            ("lines", Number),
            ("requests", Number),
            ("answer_bytes", Number),
            ("ms", Number),
        ],
    },
    Note {
        about: "fresh-vram",
        facts: &[("bytes", Number), ("not_empty", Number), ("ms", Number)],
    },
    Note {
        about: "gpu",
        facts: &[
            ("address", Text),
            ("device", Text),
            ("node", Text),
            ("waited_ms", Number),
        ],
    },
    Note {
        about: "kfd",
        facts: &[
            ("name", Text),
            ("clock_errno", ERRNO),
            ("available_errno", ERRNO),
            ("allocate_errno", ERRNO),
            ("gpu_clock", Number),
            ("available", Number),
        ],
    },
    Note {
        about: "memory-speed",
        facts: &[("bytes", Number), ("memset_us", Number), ("pwrite_us", Number)],
    },
    Note {
        about: "module",
        facts: &[
            ("name", Text),
            ("parameters", Text),
            ("srcversion", Text),
            ("build_id", Text),
            ("ms", Number),
        ],
    },
    Note {
        about: "mounts",
        facts: &[("failed", List)],
    },
    Note {
        about: "parameters",
        facts: &[("module", Text), ("values", List)],
    },
    Note {
        about: "pci",
        facts: &[
            ("action", Text),
            ("address", Text),
            ("reset_methods", Text),
            ("ok", Flag),
            ("ms", Number),
        ],
    },
    Note {
        about: "port",
        facts: &[("request", Text), ("answer", Text)],
    },
    Note {
        about: "ports",
        facts: &[("names", List), ("ms", Number)],
    },
    Note {
        about: "prefetch",
        facts: &[("name", Text), ("bytes", Number), ("ms", Number)],
    },
    Note {
        about: "recover",
        facts: &[("errno", ERRNO), ("ms", Number)],
    },
    Note {
        about: "register-latency",
        facts: &[
            ("reads", Number),
            ("least_ns", Number),
            ("median_ns", Number),
            ("most_ns", Number),
            ("answered", Flag),
        ],
    },
    Note {
        about: "reset-event",
        facts: &[
            ("name", Text),
            ("reset_type", Named(&names::RESET_TYPE)),
            ("reset_cause", Named(&names::RESET_CAUSE)),
            ("memory_lost", Number),
            ("gpu_id", Text),
        ],
    },
    Note {
        about: "reset-method",
        facts: &[("value", Text)],
    },
    Note {
        // Of a client, and of the machine that slept.
        about: "resume",
        facts: &[
            ("name", Text),
            ("ms", Number),
            ("done", Number),
            ("power_block_restored", Flag),
            ("slept_ms", Number),
            ("failed_step", Text),
            ("failed_device", Text),
        ],
    },
    Note {
        about: "rings",
        facts: &[("names", List)],
    },
    Note {
        about: "root-run",
        facts: &[("program", Text), ("stream", Word(STREAMS)), ("line", Text)],
    },
    Note {
        about: "root-run-end",
        facts: &[("program", Text), ("lines", Number)],
    },
    Note {
        about: "sabotage",
        facts: &[("offset", Text)],
    },
    Note {
        about: "sh",
        facts: &[("line", Text)],
    },
    Note {
        about: "shared",
        facts: &[
            ("name", Text),
            ("bytes", Number),
            ("wrong", Number),
            ("ms", Number),
        ],
    },
    Note {
        about: "shell",
        facts: &[("terminal", Text)],
    },
    Note {
        about: "smi",
        facts: &[
            ("name", Text),
            ("events", Number),
            ("pre_resets", Number),
            ("post_resets", Number),
            ("vm_faults", Number),
            ("pre_sequence", Text),
            ("post_sequence", Text),
            ("cause", Text),
            ("order", Text),
        ],
    },
    Note {
        about: "smi-event",
        facts: &[
            ("name", Text),
            ("event", Named(&names::SMI_EVENT)),
            ("text", Text),
        ],
    },
    Note {
        about: "stale",
        facts: &[
            ("name", Text),
            ("pages", Number),
            ("unmapped", Number),
            ("reused", Number),
            ("error", Text),
            ("ms", Number),
        ],
    },
    Note {
        about: "state",
        facts: &[
            ("name", Text),
            ("contexts", Number),
            ("flags", FLAGS),
            ("words", List),
            ("current_flags", FLAGS),
            ("current_words", List),
            ("vram_lost", Number),
            ("vram_lost_since", Number),
            ("in_flight", Number),
        ],
    },
    Note {
        about: "stuck",
        facts: &[("stack", List)],
    },
    Note {
        about: "submit",
        facts: &[
            ("name", Text),
            ("number", Number),
            ("kind", JOBS),
            ("engine", Word(ENGINES)),
            ("ring", Number),
        ],
    },
    Note {
        about: "suspend",
        facts: &[("mode", Text), ("seconds", Number)],
    },
    Note {
        about: "trace",
        facts: &[("bytes", Number)],
    },
    Note {
        about: "unfinished",
        facts: &[("name", Text), ("in_flight", Number)],
    },
    Note {
        about: "verify",
        facts: &[
            ("name", Text),
            ("operations", Number),
            ("bytes_checked", Number),
            ("vram_lost_since", Number),
            ("ms", Number),
        ],
    },
    Note {
        about: "vulkan",
        facts: &[
            ("name", Text),
            ("device", Text),
            ("driver", Text),
            ("version", Text),
            ("api", Text),
            ("queues", Text),
        ],
    },
    Note {
        about: "vulkan-look",
        facts: &[
            ("name", Text),
            ("vkdevice", Word(&["old", "new"])),
            ("vkdevices", Number),
            ("result", Text),
            ("call", Text),
            ("bytes", Number),
            ("wrong", Number),
            ("ms", Number),
        ],
    },
    Note {
        about: "vulkan-says",
        facts: &[("program", Text), ("stream", Word(STREAMS)), ("line", Text)],
    },
    Note {
        about: "vulkan-use",
        facts: &[
            ("name", Text),
            ("vkdevice", Word(&["old", "new"])),
            ("vkdevices", Number),
            ("result", Text),
            ("call", Text),
            ("bytes", Number),
            ("wrong", Number),
            ("ms", Number),
            ("queues", Number),
        ],
    },
    Note {
        about: "wait",
        facts: &[
            ("name", Text),
            ("number", Number),
            ("kind", JOBS),
            ("engine", Word(ENGINES)),
            ("ring", Number),
            ("ended", Word(&["running", "completed", "error"])),
            ("errno", ERRNO),
            ("wait_errno", ERRNO),
            ("bytes", Word(&["not-compared", "right", "wrong"])),
            ("ms", Number),
        ],
    },
];

/// The kind of note about a subject.
pub fn about(subject: &str) -> Option<&'static Note> {
    NOTES.iter().find(|note| note.about == subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_there_once_and_so_is_each_of_its_facts() {
        let ordered = NOTES.windows(2).all(|pair| pair[0].about < pair[1].about);
        assert!(ordered, "by subject");
        for note in NOTES {
            for (index, (name, _)) in note.facts.iter().enumerate() {
                let again = note.facts[..index].iter().any(|(other, _)| other == name);
                assert!(!again, "{} {name}", note.about);
            }
        }
    }
}
