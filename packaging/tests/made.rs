//! What is made from the command lines has all of them, and nothing that is not theirs.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use clap::Arg;
use clap_complete::Shell;
use packaging::{Program, completions, man, programs};

/// A command of a program, or the program's own part, without what clap adds by itself.
fn arguments(command: &clap::Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_hide_set())
}

/// The page in parts: the program's own options, and those of each command by its name.
fn parts(program: &Program, page: &str) -> Vec<(clap::Command, String)> {
    let (own, rest) = page.split_once("\n.SH COMMANDS\n").unwrap();
    let (commands, _) = rest.split_once("\n.SH ").unwrap();
    let mut found = vec![(program.command.clone(), own.to_owned())];
    for command in program.command.get_subcommands() {
        let name = format!("{} {}", program.name, command.get_name()).replace('-', "\\-");
        let heading = format!(".SS {name}\n");
        let text = commands
            .split_once(&heading)
            .unwrap_or_else(|| panic!("no {name}"))
            .1;
        found.push((command.clone(), text.split(".SS ").next().unwrap().to_owned()));
    }
    found
}

#[test]
fn every_argument_of_every_command_is_in_the_man_page() {
    let mut seen = 0;
    for program in programs() {
        let page = man::page(&program).unwrap();
        for (command, text) in parts(&program, &page) {
            for arg in arguments(&command) {
                let name = match arg.get_long() {
                    Some(long) => format!("\\fB\\-\\-{}\\fR", long.replace('-', "\\-")),
                    None => format!("\\fI{}\\fR", arg.get_value_names().unwrap().join(" ")),
                };
                let described = text.split(".TP\n").skip(1).any(|item| {
                    let (head, body) = item.split_once('\n').unwrap();
                    head.contains(&name) && !body.trim().is_empty()
                });
                assert!(described, "{} {}: {name}", program.name, command.get_name());
                for value in arg
                    .get_possible_values()
                    .iter()
                    .filter(|_| arg.get_action().takes_values())
                {
                    let name = value.get_name().replace('-', "\\-");
                    assert!(text.contains(&format!("\n{name}")), "{}: {name}", arg.get_id());
                }
                seen += 1;
            }
        }
        let version = program.command.get_version().unwrap();
        let title = format!("\"{} {version}\"", program.name);
        assert!(page.lines().take(3).any(|line| line.contains(&title)), "{title}");
    }
    assert!(seen > 60, "{seen} arguments");
}

#[test]
fn every_request_of_ctl_is_in_its_part_of_the_page() {
    let [device, _] = programs();
    let page = man::page(&device).unwrap();
    let (_, text) = parts(&device, &page).pop().unwrap();
    let requests = device::args::REQUESTS.lines().skip(1);
    for request in requests.clone() {
        let name = request.split_whitespace().next().unwrap().replace('-', "\\-");
        assert!(text.contains(&format!(".TP\n\\fB{name}\\fR\n")), "{name}");
    }
    assert!(requests.count() > 10);
}

#[test]
fn a_page_has_the_sections_that_no_command_line_has() {
    for program in programs() {
        let page = man::page(&program).unwrap();
        let sections: Vec<_> = page
            .lines()
            .filter_map(|line| line.strip_prefix(".SH "))
            .collect();
        assert_eq!(
            sections,
            [
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "OPTIONS",
                "COMMANDS",
                "EXIT STATUS",
                "SIGNALS",
                "ENVIRONMENT",
                "FILES",
                "EXAMPLES",
                "SEE ALSO"
            ]
        );
    }
}

/// Words with two dashes in front.
fn options_in(text: &str) -> Vec<String> {
    let text = text.replace("\\-", "-");
    let words = text.split("--").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
        rest[..end.unwrap_or(rest.len())].to_owned()
    });
    words.filter(|word| !word.is_empty()).collect()
}

#[test]
fn what_is_written_by_hand_names_only_options_that_there_are() {
    for program in programs() {
        let commands = std::iter::once(&program.command).chain(program.command.get_subcommands());
        let mut known: Vec<_> = commands
            .flat_map(arguments)
            .filter_map(|arg| arg.get_long().map(str::to_owned))
            .collect();
        known.extend(options_in(device::args::REQUESTS));
        let named = options_in(program.sections);
        assert!(!named.is_empty(), "{}", program.name);
        for option in named {
            assert!(known.contains(&option), "{}: --{option}", program.name);
        }
    }
}

#[test]
fn completions_have_every_option() {
    for program in programs() {
        for shell in completions::SHELLS {
            let script = completions::script(&program, shell).unwrap();
            let commands = std::iter::once(&program.command).chain(program.command.get_subcommands());
            for option in commands.flat_map(arguments).filter_map(Arg::get_long) {
                let word = match shell {
                    Shell::Fish => format!("-l {option}"),
                    _ => format!("--{option}"),
                };
                assert!(script.contains(&word), "{shell}: {} {word}", program.name);
            }
        }
    }
}

/// What a program says of a file, or `None` where there is no such program.
fn checked(command: &mut Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: there is no {}", command.get_program().display());
            None
        }
        Err(error) => panic!("{}: {error}", command.get_program().display()),
    }
}

fn written(folder: &Path, path: &Path, text: &str) -> std::path::PathBuf {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn shells_understand_the_completions() {
    let folder = tempfile::tempdir().unwrap();
    for program in programs() {
        for shell in completions::SHELLS {
            let script = completions::script(&program, shell).unwrap();
            let path = written(folder.path(), &completions::path(&program, shell), &script);
            let mut command = Command::new(shell.to_string());
            if let Some(output) = checked(command.arg("-n").arg(path)) {
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success() && said.is_empty(), "{shell}: {said}");
            }
        }
    }
}

/// What bash offers for the last of some words.
fn completed(script: &Path, words: &[&str]) -> Vec<String> {
    const ASK: &str = r#"
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        function=$(complete -p "$1" | sed 's/.*-F \([^ ]*\).*/\1/')
        "$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let output = Command::new("bash")
        .args(["-c", ASK, "bash"])
        .arg(script)
        .args(words)
        .output()
        .unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes() {
    let folder = tempfile::tempdir().unwrap();
    let [device, lab] = programs().map(|program| {
        let script = completions::script(&program, Shell::Bash).unwrap();
        written(folder.path(), &completions::path(&program, Shell::Bash), &script)
    });
    for (script, words, expected) in [
        (
            &device,
            &["vhost-device-amdgpu", "--ev"][..],
            &["--event-log", "--event-log-limit", "--events-kept"][..],
        ),
        (
            &device,
            &["vhost-device-amdgpu", "--guest-control", "a"],
            &["all"],
        ),
        (&device, &["vhost-device-amdgpu", "c"], &["ctl"]),
        (&lab, &["amdgpu-lab", "re"], &["report"]),
        (&lab, &["amdgpu-lab", "run", "--acc"], &["--accel"]),
        (&lab, &["amdgpu-lab", "run", "--asic", "navi1"], &["navi12"]),
        (
            &lab,
            &["amdgpu-lab", "fetch", "--kernel", "trixie-"],
            &["trixie-backports"],
        ),
    ] {
        assert_eq!(completed(script, words), expected, "{words:?}");
    }
}

#[test]
fn mandoc_finds_nothing_but_long_lines() {
    let folder = tempfile::tempdir().unwrap();
    for program in programs() {
        let path = written(folder.path(), &man::path(&program), &man::page(&program).unwrap());
        if let Some(output) = checked(Command::new("mandoc").args(["-T", "lint"]).arg(path)) {
            let said = String::from_utf8(output.stdout).unwrap();
            // Lines are as long as the help texts that they are made from. Pages that are referred to need not be installed.
            let rest: Vec<_> = said
                .lines()
                .filter(|line| !line.contains("longer than 80 bytes") && !line.contains("referenced manual"))
                .collect();
            assert!(rest.is_empty(), "{rest:#?}");
        }
    }
}
