//! A distribution's root beside our own: a disk that is only read, at a folder of its own, in which programs run by chroot.
//!
//! Init stays process 1 of its own initramfs, and everything else is as in a guest without such a disk.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::json::Object;
use crate::{marker, module, sys};

/// Where the root is.
pub const ROOT: &str = "/debian";
/// The disk's serial number, as the lab gives it.
const SERIAL: &str = "amdgpu-lab-root";
/// What reads it, where the kernel has it as modules.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"];
/// Our own programs for it, in the initramfs and in the root.
pub const PROGRAMS: &str = "/lab";
/// How long the disk may take to appear.
const LIMIT: Duration = Duration::from_secs(20);
/// The most lines of a program that are told.
const LINES: u64 = 400;
/// The longest that is told of one.
const LONGEST: usize = 600;

/// Brings up the root that the kernel's command line asks for, if it does.
pub fn up(command_line: &str) -> Result<(), String> {
    let mut words = command_line.split_whitespace();
    if words.any(|word| word.starts_with("lab.root=")) {
        mount()
    } else {
        Ok(())
    }
}

fn mount() -> Result<(), String> {
    for name in MODULES {
        module::load_if_there(name)?;
    }
    let disk = wait_for_disk()?;
    fs::create_dir_all(ROOT).map_err(|error| format!("{ROOT}: {error}"))?;
    let mounted = |what: &str, at: &str, result: std::io::Result<()>| {
        result.map_err(|error| format!("mounting {what} at {at}: {}", sys::explain(&error)))
    };
    let disk = disk.display().to_string();
    mounted(&disk, ROOT, sys::mount_disk(&disk, "ext4", ROOT))?;
    // /dev has the nodes of the kernel, which is all that programs need of it.
    for (kind, name) in [
        ("proc", "proc"),
        ("sysfs", "sys"),
        ("devtmpfs", "dev"),
        ("tmpfs", "run"),
        ("tmpfs", "tmp"),
    ] {
        let at = format!("{ROOT}/{name}");
        mounted(kind, &at, sys::mount(kind, &at))?;
    }
    if Path::new(PROGRAMS).is_dir() {
        let at = format!("{ROOT}{PROGRAMS}");
        mounted(PROGRAMS, &at, sys::bind(PROGRAMS, &at))?;
    }
    Ok(())
}

/// The disk that is the root, whatever others there are.
fn wait_for_disk() -> Result<PathBuf, String> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let disks = fs::read_dir("/sys/block").into_iter().flatten().flatten();
        for disk in disks {
            let serial = fs::read_to_string(disk.path().join("serial")).unwrap_or_default();
            let node = Path::new("/dev").join(disk.file_name());
            if serial.trim() == SERIAL && node.exists() {
                return Ok(node);
            }
        }
        if Instant::now() > deadline {
            return Err(format!(
                "no disk has the serial number {SERIAL}; the kernel needs virtio_pci, virtio_blk and ext4, built in or as modules"
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Makes this process, which has to be one of its own, see the root as everything.
pub fn enter() -> Result<(), String> {
    if !Path::new(ROOT).join("usr").is_dir() {
        return Err(
            "this guest has no root to run programs of: --root debian, or root = \"debian\" in a scenario's [machine], gives it one"
                .to_owned(),
        );
    }
    std::os::unix::fs::chroot(ROOT)
        .and_then(|()| std::env::set_current_dir("/"))
        .map_err(|error| format!("chroot to {ROOT}: {}", sys::explain(&error)))
}

/// A program of the root, once it was entered. Its environment is what a login has, and what is added.
pub fn command(program: &str) -> Result<Command, String> {
    const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let there = if program.contains('/') {
        Path::new(program).is_file()
    } else {
        FOLDERS
            .iter()
            .any(|folder| Path::new(folder).join(program).is_file())
    };
    if !there {
        return Err(format!("the root has no program {program:?}"));
    }
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", FOLDERS.join(":"))
        .env("HOME", "/tmp")
        .env("LC_ALL", "C.UTF-8")
        .env("XDG_RUNTIME_DIR", "/run");
    Ok(command)
}

/// Runs a program of the root, in the child process made for it, and reports its lines. Words `NAME=VALUE` before it go into its environment.
pub fn run(words: &[String]) -> Result<(), String> {
    let variables = words.iter().take_while(|word| variable(word).is_some()).count();
    let (variables, words) = words.split_at(variables);
    let (program, arguments) = words.split_first().ok_or("root-run: no program given")?;
    enter()?;
    let mut command = command(program)?;
    command.envs(variables.iter().filter_map(|word| variable(word)));
    let output = command
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {}", sys::explain(&error)))?;
    let mut lines: u64 = 0;
    for (stream, bytes) in [("out", &output.stdout), ("err", &output.stderr)] {
        for line in String::from_utf8_lossy(bytes)
            .lines()
            .filter(|line| !line.trim().is_empty())
        {
            lines += 1;
            if lines <= LINES {
                tell("root-run", program, stream, line);
            }
        }
    }
    let facts = Object::new().text("program", program).number("lines", lines);
    marker::note("root-run-end", &facts);
    match output.status.code() {
        Some(0) => Ok(()),
        Some(status) => Err(format!("{program} ended with status {status}")),
        None => Err(format!("{program} was ended by a signal ({})", output.status)),
    }
}

/// Reports a line of a program.
pub fn tell(about: &str, program: &str, stream: &str, line: &str) {
    let line: String = plain(line).chars().take(LONGEST).collect();
    marker::note(
        about,
        &Object::new()
            .text("program", program)
            .text("stream", stream)
            .text("line", &line),
    );
}

/// A line as a file has it: without colours (`ESC [ ... m`) and with spaces for tabs.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut parts = line.trim_end().split("\u{1b}[");
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        text.push_str(rest.strip_prefix('m').unwrap_or(rest));
    }
    text.replace('\t', "    ")
}

/// `NAME=VALUE`, if a word is that. Names of the environment are in capitals; options of steps are not.
pub fn variable(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let capital = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    (!name.is_empty() && name.chars().all(capital)).then_some((name, value))
}

/// Makes this process the program: for one that stays.
pub fn become_program(program: &str, variables: &[(String, String)], streams: [Stdio; 3]) -> String {
    let entered = enter().and_then(|()| command(program));
    let mut command = match entered {
        Ok(command) => command,
        Err(error) => return error,
    };
    let [input, output, errors] = streams;
    let variables = variables
        .iter()
        .map(|(name, value)| (OsStr::new(name), OsStr::new(value)));
    let error = command
        .envs(variables)
        .stdin(input)
        .stdout(output)
        .stderr(errors)
        .exec();
    format!("{program}: {}", sys::explain(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_mounted_only_if_the_command_line_asks_for_it() {
        assert_eq!(up("console=ttyS0 quiet"), Ok(()));
    }

    #[test]
    fn variables_are_words_with_names_in_capitals() {
        assert_eq!(variable("RADV_DEBUG=info"), Some(("RADV_DEBUG", "info")));
        assert_eq!(variable("expect=VK_SUCCESS"), None);
        assert_eq!(variable("=x"), None);
        assert_eq!(variable("rocminfo"), None);
    }

    #[test]
    fn colours_are_left_out() {
        assert_eq!(
            plain("\u{1b}[37mROCk module\u{1b}[0m\tis loaded "),
            "ROCk module    is loaded"
        );
        assert_eq!(plain("a [b]"), "a [b]");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = command("no-such-program").unwrap_err();
        assert!(error.contains("\"no-such-program\""), "{error}");
    }
}
