//! Wrong files, and the words with which they are refused.

use std::path::Path;

use protocol::guest::root::GuestRoot;

use super::super::condition::Amount;
use super::super::model::Expected;
use super::*;

fn refused(text: &str) -> String {
    match parse(Path::new("my.toml"), text) {
        Ok(scenario) => panic!("taken: {scenario:?}"),
        Err(rejected) => rejected.to_string(),
    }
}

fn taken(text: &str) -> Scenario {
    parse(Path::new("folder/my.toml"), text).unwrap_or_else(|error| panic!("{error}"))
}

const START: &str = "title = 't'\n[[step]]\nguest = 'info'\nlabel = 'look'\n";

/// Refused with exactly these words, behind a file that is right so far.
fn refused_with(rest: &str, words: &str) {
    let shown = refused(&format!("{START}{rest}"));
    let first: Vec<_> = shown.lines().collect();
    assert!(shown.contains(words), "{rest}\ngave\n{}", first.join("\n"));
}

#[test]
fn a_whole_message() {
    assert_eq!(
        refused("title = 't'\n\n[[step]]\nguest = 'client-opne a'\ntimeout = 'long'\n"),
        format!(
            "error: the guest knows no order \"client-opne\"\n \
             --> my.toml:4:10\n  \
             |\n\
             4 | guest = 'client-opne a'\n  \
             |          ^^^^^^^^^^^ expected one of: {}\n  \
             |\n  \
             = help: did you mean `client-open`?\n\
             \n\
             error: `timeout` in step is of the wrong type (string)\n \
             --> my.toml:5:11\n  \
             |\n\
             5 | timeout = 'long'\n  \
             |           ^^^^^^ expected a whole number, 0 or more",
            protocol::guest::order::ORDERS
                .iter()
                .map(|order| order.name)
                .collect::<Vec<_>>()
                .join(", ")
        )
    );
}

/// A word that does not exist is matched by nothing, so that something with it is always absent: it is refused before anything
/// is booted, at its place and with the nearest right word.
#[test]
fn every_misspelt_word_is_refused_with_the_right_one() {
    let text = MISSPELT
        .iter()
        .map(|(lines, ..)| *lines)
        .collect::<Vec<_>>()
        .join("\n");
    let shown = refused(&text);
    let told: Vec<&str> = shown.split("\n\n").collect();
    let mut line = 0;
    let mut wanted = Vec::new();
    for (lines, word, right) in MISSPELT {
        let wrong = lines
            .lines()
            .position(|text| text.contains(word) && !word.is_empty());
        if let Some(index) = wrong {
            let text = lines.lines().nth(index).unwrap();
            let place = format!("my.toml:{}:{}\n", line + index + 1, text.find(word).unwrap() + 1);
            wanted.push((place, format!("did you mean `{right}`?")));
        }
        line += lines.lines().count();
    }
    assert_eq!(told.len(), wanted.len(), "{shown}");
    for (told, (place, help)) in told.into_iter().zip(wanted) {
        assert!(
            told.contains(&place) && told.ends_with(&help),
            "{place} {help}\n{told}"
        );
    }
}

/// Lines of a file, the word in them that is wrong with what is before it on its line, and the right one.
const MISSPELT: &[(&str, &str, &str)] = &[
    ("title = 't'", "", ""),
    ("[[step]]\nguest = 'client-opne a'", "client-opne", "client-open"),
    ("[[step]]\nguest = 'client-use a new expct=5'", "expct", "expect"),
    ("[[step]]\nguest = 'client-hang a engine=gxf'", "gxf", "gfx"),
    (
        "[[step]]\ndevice = { request = 'drop-varm', mode = 'poison' }",
        "'drop-varm'",
        "drop-vram",
    ),
    (
        "[[step]]\ndevice = { request = 'drop-vram', mode = 'poisn' }",
        "'poisn'",
        "poison",
    ),
    (
        "[[step]]\ndevice = { request = 'hang', engine = 'smda0' }",
        "'smda0'",
        "sdma0",
    ),
    (
        "[[step]]\ndevice = { request = 'fault', kind = 'drop-copi' }",
        "'drop-copi'",
        "drop-copy",
    ),
    (
        "[[step]]\ndevice = { request = 'fault', kind = 'drop-pte', cuont = 1 }",
        "cuont",
        "count",
    ),
    (
        "[[step]]\ndevice = { request = 'fault', kind = 'psp-fail', command = 'SETUP_TRM' }",
        "'SETUP_TRM'",
        "SETUP_TMR",
    ),
    (
        "[[step]]\nlabel = 'compare'\ndevice = { request = 'oracle', action = 'compare' }",
        "",
        "",
    ),
    (
        "[[step]]\nwait-event = { event = 'reset-edn' }",
        "'reset-edn'",
        "reset-end",
    ),
    (
        "[[expect]]\nevent = { event = 'vm-fualt' }\nabsent = true",
        "'vm-fualt'",
        "vm-fault",
    ),
    (
        "[[expect]]\nevent = { event = 'reset-begin', knid = 'mode2' }\nabsent = true",
        "knid",
        "kind",
    ),
    (
        "[[expect]]\nevent = { event = 'reset-begin', kind = 'moed2' }\nabsent = true",
        "'moed2'",
        "mode2",
    ),
    (
        "[[expect]]\nevent = { event = '~^(vm-fault|reset-begn)$' }\nabsent = true",
        "'~^(vm-fault|reset-begn)$'",
        "reset-begin",
    ),
    (
        "[[expect]]\nevent = [{ event = 'loss-begin' }, { event = 'loss-end', cuase = 'reset' }]",
        "cuase",
        "cause",
    ),
    (
        "[[expect]]\nnote = { about = 'stat' }\nabsent = true",
        "'stat'",
        "state",
    ),
    (
        "[[expect]]\nnote = { about = 'wait', ende = 'error' }\nabsent = true",
        "ende",
        "ended",
    ),
    (
        "[[expect]]\nnote = { about = 'wait', ended = 'eror' }\nabsent = true",
        "'eror'",
        "error",
    ),
    (
        "[[expect]]\nstats = 'restes.mode1'\nequals = 0",
        "restes",
        "resets",
    ),
    (
        "[[expect]]\nstats = 'sdma.*.fautls'\nequals = 0",
        "fautls",
        "faults",
    ),
    (
        "[[expect]]\nstats = 'psp_commands.PROG_RGE'\nequals = 0",
        "PROG_RGE",
        "PROG_REG",
    ),
    ("[[expect]]\noracle = { mising = 0 }", "mising", "missing"),
    ("[[expect]]\nrecovery = 'rewriten'", "'rewriten'", "rewritten"),
    (
        "[[expect]]\nanswer = 'compare'\nfields = { 'in_use.mising' = 0 }",
        "mising",
        "missing",
    ),
    (
        "[[expect]]\nanswer = 'compare'\nfields = { 'recovery.by' = 'rewriten' }",
        "'rewriten'",
        "rewritten",
    ),
    (
        "[[expect]]\nanswer = 'compare'\nchange = { 'in_use.sam' = 0 }",
        "sam",
        "same",
    ),
];

/// What says why no control makes an expectation fail stands beside one that needs it.
#[test]
fn reasons_for_no_control_stand_where_they_are_needed() {
    for (rest, words) in [
        (
            "[[expect]]\ndmesg = 'x'\nuncontrolled = 'why'",
            "only what has to be absent needs that",
        ),
        (
            "[[expect]]\ndmesg = 'x'\nabsent = true\nuncontrolled = ' '",
            "that says nothing",
        ),
        (
            "[[expect]]\ndmesg = 'x'\nabsent = true\nuncontrolled = 'why'\ncontrolled-in = 'mode2'",
            "expected one of: uncontrolled, controlled-in",
        ),
        (
            "[[expect]]\nlabel = 'e'\ndmesg = 'x'\nabsent = true\nuncontrolled = 'why'\n\
             [[control]]\nname = 'c'\nskip = 'look'\nfails = 'e'",
            "a control makes \"e\" fail",
        ),
    ] {
        refused_with(rest, words);
    }
    for right in [
        "[[expect]]\ndmesg = 'x'\ncount = 0\nuncontrolled = 'why'",
        "[[expect]]\nstats = 'faults'\nequals = 0\ncontrolled-in = 'mode2'",
        "[[expect]]\nstats = 'faults'\nequals = 0",
    ] {
        taken(&format!("{START}{right}"));
    }
}

/// Files for measurements, which no other test reads.
#[test]
fn the_examples_beside_the_scenarios_are_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    assert!(!files.is_empty());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let read = parse(&file, &text);
        assert!(read.is_ok(), "{}", read.unwrap_err());
    }
}

#[test]
fn values_have_to_be_such_as_the_field_can_be() {
    for (rest, words) in [
        (
            "[[expect]]\nevent = { event = 'loss-end', bytes = 'many' }",
            "`bytes` cannot be \"many\"",
        ),
        (
            "[[expect]]\nevent = { event = 'loss-end', mode = 3 }",
            "`mode` cannot be 3",
        ),
        (
            "[[expect]]\nevent = { event = 'loss-end', mode = '>3' }",
            "`mode` is no number, so that no comparison holds",
        ),
        (
            "[[expect]]\nevent = { event = 'loss-end', bytes = '-' }",
            "`bytes` is always there",
        ),
        (
            "[[expect]]\nevent = { event = 'vm-fault', va = 4096 }",
            "`va` cannot be 4096",
        ),
        (
            "[[expect]]\nevent = { event = 'vm-fault', poisoned = 'true' }",
            "`poisoned` cannot be \"true\"",
        ),
        (
            "[[expect]]\nstats = 'sdma.faults'\nequals = 0",
            "expected the number of a member, or `*` for all",
        ),
        (
            "[[expect]]\nstats = 'resets'\nequals = 0",
            "`resets` is no number",
        ),
        ("[[expect]]\nstats = 'asic'\nequals = 0", "`asic` is no number"),
        (
            "[[expect]]\nanswer = 'look'\nfields = { us = 0 }",
            "the step \"look\" asks the device for nothing",
        ),
        (
            "[[step]]\ndevice = { request = 'hang' }",
            "`engine` is missing in device",
        ),
        (
            "[[step]]\ndevice = { request = 'clear', id = 'all' }",
            "`id` cannot be \"all\"",
        ),
        (
            "[[step]]\ndevice = { request = 'fault', kind = 'off-bus', count = 1 }",
            "a fault `off-bus` has no `count`",
        ),
        (
            "[[step]]\nguest = 'rebind thrice'",
            "rebind: \"thrice\" is no number",
        ),
        ("[[step]]\nguest = 'write /proc/x'", "write: no value given"),
    ] {
        refused_with(rest, words);
    }
    for right in [
        "[[expect]]\nevent = { event = 'page-table-update', vmid = '-' }",
        "[[expect]]\nevent = { event = '~^(reset|loss)-', kind = 'mode2' }",
        "[[expect]]\nevent = { event = 'mailbox', fate = '-' }",
        "[[expect]]\nnote = { name = 'a' }",
        "[[expect]]\nstats = 'sriov.messages.*'\nequals = 0",
        "[[step]]\ndevice = { request = 'fault', kind = 'corrupt-pte', xor = '0x1000', id = 7 }",
    ] {
        taken(&format!("{START}{right}"));
    }
}

#[test]
fn a_root_is_one_that_there_is() {
    assert_eq!(taken(START).machine.root, None);
    let with = format!("{START}[machine]\nroot = 'debian'\n");
    assert_eq!(taken(&with).machine.root, Some(GuestRoot::Debian));
    refused_with("[machine]\nroot = 'suse'\n", "`root` cannot be \"suse\"");
    refused_with("[machine]\nroot = 'suse'\n", "expected \"debian\"");
}

#[test]
fn a_syntax_error_is_told_alone() {
    let shown = refused("title = 't\nabout = 3\n");
    assert!(
        shown.starts_with("error: this is not TOML\n --> my.toml:1:"),
        "{shown}"
    );
    assert!(!shown.contains("missing"), "{shown}");
}

#[test]
fn what_must_be_there_is_named() {
    let shown = refused("about = 'x'");
    assert!(shown.contains("error: `title` is missing in the file"), "{shown}");
    assert!(
        shown.contains("error: `[[step]]` is missing in the file"),
        "{shown}"
    );
}

#[test]
fn a_part_that_it_is_not_for_is_one_and_has_a_reason() {
    let shown = refused("title = 't'\nstep = [{ guest = 'info' }]\n[asic]\nvega10 = 'no'\nnavi12 = true");
    assert!(
        shown.contains("error: `vega10` in asic is no part\n --> my.toml:4:1"),
        "{shown}"
    );
    assert!(
        shown.contains("error: `navi12` in asic is no text\n --> my.toml:5:10"),
        "{shown}"
    );
}

#[test]
fn a_personality_that_is_none_is_named() {
    let shown = refused("title = 't'\npersonality = ['vf', 'pf']\nstep = [{ guest = 'info' }]");
    assert!(
        shown.contains("error: `personality` cannot be \"pf\"\n --> my.toml:2:22"),
        "{shown}"
    );
    assert!(shown.contains("expected \"bare-metal\" or \"vf\""), "{shown}");
}

#[test]
fn unknown_keys_are_refused_everywhere() {
    for (rest, words) in [
        (
            "tietl = 1",
            "error: unknown key `tietl` in step\n --> my.toml:5:1",
        ),
        ("[machine]\nram = 1", "error: unknown key `ram` in machine"),
        (
            "[[expect]]\ndmesg = 'x'\ncuont = 1",
            "= help: did you mean `count`?",
        ),
        (
            "[[expect]]\noracle = { mising = 0 }",
            "= help: did you mean `missing`?",
        ),
        (
            "[[control]]\nname = 'x'\nskip = 1\nfails = 'log'\nwhy = 1",
            "unknown key `why` in control",
        ),
        (
            "[[known-bug]]\nkernels = '6.1'\nfinding = 'x'\nfailures = 'x'\nline = 1",
            "unknown key `line` in known-bug",
        ),
        (
            "[[tolerate]]\ndmesg = 'x'\nwhy = 'y'\nonce = 1",
            "unknown key `once` in tolerate",
        ),
    ] {
        refused_with(rest, words);
    }
}

#[test]
fn wrong_values_are_refused_with_what_was_expected() {
    for (rest, words) in [
        (
            "kernels = 'six'",
            "error: \"six\" names no kernels\n --> my.toml:5:11",
        ),
        ("kernels = 'six'", "expected versions such as \"6.1\""),
        ("expect-failure = '('", "error: \"(\" is no regular expression"),
        (
            "device = { request = 'stats' }",
            "a step does one thing, but this does 2",
        ),
        ("[[step]]\nlabel = 'x'", "a step does one thing, but this does 0"),
        (
            "[[step]]\ndevice = { mode = 'x' }",
            "`request` is missing in device",
        ),
        ("[[step]]\nwait-event = {}", "wait-event names no field"),
        (
            "[[step]]\nguest = 'info'\nlabel = 'look'",
            "the label \"look\" is there already",
        ),
        (
            "[[step]]\nguest = 'info'\nlabel = 'oracle'",
            "\"oracle\" cannot be a label",
        ),
        (
            "[machine]\ndriver = 'gone'",
            "expected \"loaded\", \"module\" or \"absent\"",
        ),
        ("[machine]\ncpus = 0", "`cpus` is too large or 0"),
        (
            "[applies]\n'6.1' = false",
            "expected true, or a text that says why it does not apply",
        ),
        (
            "[[expect]]\nlabel = 'x'",
            "an expectation is of one kind, but this has 0",
        ),
        (
            "[[expect]]\ndmesg = 'x'\nstats = 'y'",
            "an expectation is of one kind, but this has 2",
        ),
        ("[[expect]]\ndmesg = []", "an empty list expects nothing"),
        (
            "[[expect]]\ndmesg = 'x'\ncount = 'many'",
            "expected a whole number, or a comparison",
        ),
        (
            "[[expect]]\ndmesg = 'x'\ncount = 1\nabsent = true",
            "how many is said more than once",
        ),
        (
            "[[expect]]\ndmesg = 'x'\nabsent = false",
            "`absent` can only be true",
        ),
        (
            "[[expect]]\ndmesg = 'x'\nfrom = 'lok'",
            "= help: did you mean `look`?",
        ),
        (
            "[[expect]]\nevent = { kind = 'x' }",
            "`event` is missing in event",
        ),
        ("[[expect]]\noracle = {}", "oracle names no count"),
        (
            "[[expect]]\noracle = { same = 1 }\nfrom = 'look'",
            "about the whole scenario",
        ),
        (
            "[[expect]]\nrecovery = 'luck'",
            "expected one of: shadow-copies, rewritten, both, none",
        ),
        ("[[expect]]\nstats = 'a.b'", "a counter needs one condition"),
        (
            "[[expect]]\nanswer = 'look'",
            "`fields or change` is missing in expect",
        ),
        (
            "[[expect]]\nanswer = 'look'\nchange = {}",
            "change names no number",
        ),
        (
            "[[expect]]\nanswer = 'look'\nchange = { x = 'more' }",
            "`x` in change is no amount",
        ),
        (
            "[[expect]]\nanswer = 'look'\nchange = { x = 0 }\nsince = 0",
            "expected the number of an answer, from 1",
        ),
        (
            "[[expect]]\nanswer = 'look'\nfields = { x = 0 }\nsince = 2",
            "expected `change` beside it",
        ),
        (
            "[[control]]\nname = 'x'\nfails = 'log'\nskip = 1\nevery-time = true",
            "`guest or device` is missing in control",
        ),
        (
            "[[step]]\nguest = 'info'\nkeep-connection = true",
            "`device` is missing in step",
        ),
        (
            "[[control]]\nname = 'x'\nfails = 'log'",
            "`guest, device or skip` is missing in control",
        ),
        (
            "[[control]]\nname = 'x'\nfails = 'log'\nguest = 'info'",
            "`before` is missing in control",
        ),
        (
            "[[control]]\nname = 'x'\nskip = 2\nfails = 'log'",
            "its number from 1 to 1",
        ),
        (
            "[[control]]\nname = 'x'\nskip = 1",
            "`fails` is missing in control",
        ),
        (
            "[[control]]\nname = 'x'\nskip = 1\nfails = 'oracle'",
            "\"oracle\" is nothing that can fail here",
        ),
        (
            "[[known-bug]]\nfinding = 'x'\nfailures = 'y'",
            "`kernels` is missing in known-bug",
        ),
        ("[[tolerate]]\ndmesg = 'x'", "`why` is missing in tolerate"),
        (
            "[[repeat]]\nfrom = 'look'\nuntil = 'look'",
            "`times` is missing in repeat",
        ),
        (
            "[[repeat]]\nfrom = 1\nuntil = 1\ntimes = 1",
            "expected 2 to 100000",
        ),
        (
            "[[step]]\nguest = 'info'\n[[repeat]]\nfrom = 2\nuntil = 1\ntimes = 2",
            "these steps cannot be repeated",
        ),
        (
            "[[repeat]]\nfrom = 1\nuntil = 1\ntimes = 2\n[[repeat]]\nfrom = 1\nuntil = 1\ntimes = 2",
            "these steps cannot be repeated",
        ),
    ] {
        refused_with(rest, words);
    }
}

#[test]
fn a_shared_boot_has_to_be_left_usable() {
    for (steps, words) in [
        ("{ guest = 'client-open a' }", "the client \"a\" is never closed"),
        (
            "{ guest = 'client-open a' }, { guest = 'client-close' }",
            "the client \"a\" is never closed",
        ),
        ("{ guest = 'rmmod' }", "the driver is not there"),
        ("{ guest = 'reboot' }", "the driver is not there"),
        (
            "{ guest = 'modprobe virtio_console' }, { guest = 'unbind' }",
            "the driver is not there",
        ),
    ] {
        let shown = refused(&format!("title = 't'\nshare-boot = true\nstep = [{steps}]"));
        assert!(shown.contains(words), "{steps} gave\n{shown}");
    }
    for steps in [
        "{ guest = 'client-open a' }, { guest = 'client-close a' }",
        "{ guest = 'client-open a' }, { guest = 'reboot' }, { guest = 'modprobe' }",
        "{ guest = 'pci-remove' }, { guest = 'pci-rescan' }",
    ] {
        taken(&format!("title = 't'\nshare-boot = true\nstep = [{steps}]"));
    }
}

#[test]
fn a_right_file_is_read_whole() {
    let scenario = taken(
        "
        title = ' t '
        about = '''
        why
        '''
        tags = ['a', 'b']
        share-boot = true
        resets = true
        [applies]
        '6.1' = 'it has no such reset'
        '>=6.12' = true
        [machine]
        append = 'x=y'
        vram-size = '2G'
        memory = 4096
        cpus = 4
        daemon-args = ['--sdma-instances', '4']
        qemu-args = '-s'
        module-parameters = 'gpu_recovery=1'
        [[step]]
        device = { request = 'hang', engine = 'sdma0', count = 3 }
        timeout = 5
        [[step]]
        wait-event = { event = 'reset-end', kind = '~^mode' }
        [[step]]
        wait-dmesg = 'succeeded'
        [[step]]
        guest = 'rebind   3'
        kernels = ['6.12', '7.3']
        [[expect]]
        dmesg = 'x'
        at-least = 2
        ",
    );
    assert_eq!((scenario.name.as_str(), scenario.title.as_str()), ("my", "t"));
    assert_eq!(scenario.about, "why");
    assert_eq!(scenario.machine.memory, Some(4096));
    assert_eq!(scenario.machine.daemon_arguments, ["--sdma-instances", "4"]);
    assert_eq!(
        scenario.machine.driver,
        Driver::Loaded {
            parameters: "gpu_recovery=1".into()
        }
    );
    let titles: Vec<_> = scenario.steps.iter().map(Step::title).collect();
    assert_eq!(
        titles,
        [
            "device: hang count=3 engine=sdma0",
            "wait for event reset-end, kind like ^mode",
            "wait for \"succeeded\" in the log",
            "rebind 3"
        ]
    );
    assert_eq!(scenario.steps[0].timeout, Some(Duration::from_secs(5)));
    assert!(matches!(
        &scenario.steps[3].action,
        Action::Guest { probes: 3, .. }
    ));
    assert_eq!(scenario.steps[3].kernels.to_string(), "6.12 or 7.3");
    assert!(matches!(
        &scenario.expectations[0].what,
        Expected::Dmesg { count, .. } if *count == Amount::at_least(2)
    ));
}

/// Examples are complete files, or continue one with a step "hang" and the expectations that they name.
#[test]
fn the_examples_of_the_manual_are_right() {
    const BEFORE: &str = "title = 't'\n[[step]]\nguest = 'client'\n";
    const LABELS: &str =
        "[[step]]\nguest = 'info'\nlabel = 'hang'\n[[expect]]\nlabel = 'tables'\nrecovery = 'both'\n";
    let manual = include_str!("../../../docs/scenarios.md");
    let examples: Vec<_> = manual
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(examples.len() >= 7, "{}", examples.len());
    for example in examples {
        if example.starts_with("title") {
            taken(example);
        } else if example.contains("label = \"") {
            let hang = if example.contains("label = \"hang\"") {
                ""
            } else {
                "[[step]]\nguest = 'info'\nlabel = 'hang'\n"
            };
            taken(&format!("{BEFORE}{hang}{example}"));
        } else {
            taken(&format!("{BEFORE}{LABELS}{example}"));
        }
    }
}
