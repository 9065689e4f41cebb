//! The guest's ends of the guest port: a stock virtio console with named ports, used as any program would.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::json::Object;
use crate::{marker, module, sys};

const BUSYBOX: &str = "/bin/busybox";
/// Where the kernel lists the ports.
const CLASS: &str = "/sys/class/virtio-ports";
/// Where programs look for them.
const FOLDER: &str = "/dev/virtio-ports";
const SERIAL: &str = "/dev/ttyS0";
/// Whether the kernel prints there (since Linux 5.10).
const SERIAL_CONSOLE: &str = "/sys/class/tty/ttyS0/console";
const TRACING: &str = "/sys/kernel/tracing";
/// How long a device that was just plugged in may take to show its ports.
const PORT_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);
/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Longest piece of a line that a marker takes.
const LONGEST_TOLD: usize = 600;

/// Loads the drivers, where they are modules, waits for the ports, and names them as udev's rules do.
pub fn up() -> Result<(), String> {
    for name in ["virtio_pci", "virtio_console"] {
        module::load_if_there(name)?;
    }
    let started = Instant::now();
    let names = loop {
        let names = name_ports()?;
        if names.len() >= 3 {
            break names;
        }
        if started.elapsed() > PORT_LIMIT {
            return Err(format!("the ports do not come: there are {names:?}"));
        }
        std::thread::sleep(POLL);
    };
    marker::note(
        "ports",
        &Object::new()
            .list("names", &names)
            .number("ms", marker::milliseconds(started)),
    );
    Ok(())
}

/// Moves the console from the serial port to the guest port: orders come from there afterwards, and the kernel prints there only.
///
/// The word for it is printed on both, and what comes before the host has seen it there. The last line at the serial port says that
/// nothing comes there any more.
pub fn take_console(name: &str) -> Result<(), String> {
    for module in ["virtio_pci", "virtio_console"] {
        module::load_if_there(module)?;
    }
    let printing = || {
        let consoles = fs::read_to_string("/proc/consoles").unwrap_or_default();
        consoles
            .lines()
            .any(|line| line.split_whitespace().next() == Some(name))
    };
    let started = Instant::now();
    while !printing() {
        if started.elapsed() > PORT_LIMIT {
            return Err(format!(
                "the kernel does not print on {name}: no console={name}, or no port"
            ));
        }
        std::thread::sleep(POLL);
    }
    let failed = |path: &str| {
        let path = path.to_owned();
        move |error: io::Error| format!("{path}: {}", sys::explain(&error))
    };
    let path = format!("/dev/{name}");
    let terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .map_err(failed(&path))?;
    let mut serial = OpenOptions::new()
        .write(true)
        .open(SERIAL)
        .map_err(failed(SERIAL))?;
    marker::send(&Object::new().text("ev", "console").text("to", name));
    // The kernel may print when it likes.
    io::stdin()
        .read_line(&mut String::new())
        .map_err(failed("standard input"))?;
    fs::write(SERIAL_CONSOLE, "N\n").map_err(failed(SERIAL_CONSOLE))?;
    sys::replace_stdin(&terminal).map_err(failed(&path))?;
    serial.write_all(b"@lab-serial-over\n").map_err(failed(SERIAL))
}

/// Links each port that has a name under that name.
fn name_ports() -> Result<Vec<String>, String> {
    fs::create_dir_all(FOLDER).map_err(|error| format!("{FOLDER}: {error}"))?;
    let mut names = Vec::new();
    for entry in fs::read_dir(CLASS).into_iter().flatten().flatten() {
        let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        let name = name.trim();
        if name.is_empty() {
            continue;
        }
        let link = Path::new(FOLDER).join(name);
        let node = PathBuf::from("/dev").join(entry.file_name());
        // One of a device that is gone may be there still.
        let _ = fs::remove_file(&link);
        symlink(&node, &link).map_err(|error| format!("{}: {error}", link.display()))?;
        names.push(name.to_owned());
    }
    names.sort();
    Ok(names)
}

/// Asks something at the control port and reads the answer, in one opening. Fails if the device refuses.
pub fn request(words: &str) -> Result<(), String> {
    let path = format!("{FOLDER}/amdgpu.control");
    let failed = |error: io::Error| format!("{path}: {}", sys::explain(&error));
    let mut port = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    port.write_all(format!("{words}\n").as_bytes()).map_err(failed)?;
    let answer = read_line(&mut port).map_err(failed)?;
    marker::note(
        "port",
        &Object::new().text("request", words).text("answer", cut(&answer)),
    );
    if answer.starts_with("ok") {
        Ok(())
    } else {
        Err(answer)
    }
}

fn read_line(port: &mut File) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        if !sys::wait_readable(port.as_fd(), ANSWER_LIMIT) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if port.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if byte == *b"\n" {
            return Ok(String::from_utf8_lossy(&line).into_owned());
        }
        line.extend_from_slice(&byte);
    }
}

/// The start of a text.
fn cut(text: &str) -> &str {
    let end = text
        .char_indices()
        .map(|(at, _)| at)
        .take_while(|at| *at <= LONGEST_TOLD)
        .last();
    text.get(..end.unwrap_or(0))
        .filter(|_| text.len() > LONGEST_TOLD)
        .unwrap_or(text)
}

/// Runs a line of a shell script and reports what it prints. Fails if it does.
pub fn script(text: &str) -> Result<(), String> {
    let output = Command::new(BUSYBOX)
        .args(["sh", "-c", text])
        .env("PATH", "/sbin:/usr/sbin:/bin:/usr/bin")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{BUSYBOX}: {error}; was the initramfs built without a shell?"))?;
    for bytes in [&output.stdout, &output.stderr] {
        for line in String::from_utf8_lossy(bytes).lines().take(50) {
            marker::note("sh", &Object::new().text("line", cut(line)));
        }
    }
    match output.status.code() {
        Some(0) => Ok(()),
        Some(status) => Err(format!("the script ended with status {status}")),
        None => Err("the script was ended by a signal".to_owned()),
    }
}

/// Switches tracepoints on (`amdgpu` for all of the driver's, or `amdgpu/amdgpu_vm_flush`) and writes what they tell into the trace port,
/// until told to stop.
pub fn trace_until(events: &[String], stopped: &dyn Fn() -> bool) -> Result<(), String> {
    let path = format!("{FOLDER}/amdgpu.trace");
    let failed = |path: &str| {
        let path = path.to_owned();
        move |error: io::Error| format!("{path}: {}", sys::explain(&error))
    };
    let mut port = OpenOptions::new()
        .write(true)
        .open(&path)
        .map_err(failed(&path))?;
    let pipe_path = format!("{TRACING}/trace_pipe");
    let mut pipe = File::open(&pipe_path).map_err(failed(&pipe_path))?;
    let switch = |value: &str| -> Result<(), String> {
        for event in events {
            let path = format!("{TRACING}/events/{event}/enable");
            fs::write(&path, value).map_err(failed(&path))?;
        }
        Ok(())
    };
    switch("1\n")?;
    let mut buffer = vec![0; 16 << 10];
    let mut bytes: u64 = 0;
    let mut last = false;
    let result = loop {
        // One more look after the end: what was traced before it is told.
        if sys::wait_readable(pipe.as_fd(), Duration::from_millis(50)) {
            match pipe.read(&mut buffer) {
                Ok(0) => {}
                Ok(count) => {
                    let piece = buffer.get(..count).unwrap_or_default();
                    if let Err(error) = port.write_all(piece) {
                        break Err(failed(&path)(error));
                    }
                    bytes = bytes.saturating_add(u64::try_from(count).unwrap_or(0));
                    continue;
                }
                Err(error) => break Err(failed(&pipe_path)(error)),
            }
        }
        if last {
            break Ok(());
        }
        if stopped() {
            switch("0\n")?;
            last = true;
        }
    };
    marker::note("trace", &Object::new().number("bytes", bytes));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_where_a_character_ends() {
        assert_eq!(cut("short"), "short");
        let long = "ä".repeat(1000);
        assert!(cut(&long).len() <= LONGEST_TOLD && cut(&long).starts_with('ä'));
    }
}
