//! Init: the loop that takes orders and answers with markers.
//!
//! Orders are lines `do ID STEP ARGUMENT...`. Every order is answered by a marker `begin` and a marker `end` with the
//! same number.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::background::Background;
use crate::clients::Clients;
use crate::json::Object;
use crate::marker;
use crate::port;
use crate::root;
use crate::steps::{self, Step};
use crate::sys::{self, End, Exit};
use crate::vulkan::Programs;

/// A step that takes longer is ended, with a look at where it hangs. The host's own limit is shorter as a rule.
const STEP_LIMIT: Duration = Duration::from_secs(600);
/// How often a running step is looked at.
const POLL: Duration = Duration::from_millis(5);

/// One order.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Order {
    id: u64,
    words: Vec<String>,
}

impl Order {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        if words.next() != Some("do") {
            return None;
        }
        let id = words.next()?.parse().ok()?;
        let words: Vec<_> = words.map(str::to_owned).collect();
        (!words.is_empty()).then_some(Self { id, words })
    }

    /// The orders of `lab.steps=modprobe,client:seed=5,poweroff`.
    fn from_command_line(command_line: &str) -> Option<Vec<Self>> {
        let list = command_line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("lab.steps="))?;
        let orders = list.split(',').zip(1..).map(|(step, id)| Self {
            id,
            words: step.split(':').map(str::to_owned).collect(),
        });
        Some(orders.collect())
    }
}

/// The whole life of init.
pub fn run() -> ! {
    prepare();
    let command_line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let ready = Object::new()
        .text("ev", "ready")
        .text("kernel", &sys::release())
        .text("cmdline", command_line.trim());
    marker::send(&match root::up(&command_line) {
        Ok(()) => ready,
        Err(error) => ready.text("no_root", &error),
    });
    let mut state = State::default();
    match Order::from_command_line(&command_line) {
        Some(orders) => orders.iter().for_each(|order| execute(order, &mut state)),
        None => {
            let mut line = String::new();
            // Not `lines()`: that would keep standard input locked, and a step's process would inherit the lock.
            while io::stdin().read_line(&mut line).is_ok_and(|count| count > 0) {
                if let Some(order) = Order::parse(&line) {
                    execute(&order, &mut state);
                }
                line.clear();
            }
        }
    }
    // The console is gone, or the list is done.
    finish(End::PowerOff)
}

fn prepare() {
    for folder in ["/proc", "/sys", "/dev", "/tmp"] {
        // They exist in our own initramfs; in another one, mounting will tell.
        let _ = fs::create_dir_all(folder);
    }
    let mounts = [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("debugfs", "/sys/kernel/debug"),
        ("tracefs", "/sys/kernel/tracing"),
    ];
    let mut failed = Vec::new();
    for (kind, target) in mounts {
        if let Err(error) = sys::mount(kind, target)
            && error.raw_os_error() != Some(libc::EBUSY)
        {
            failed.push(format!("{kind} on {target}: {error}"));
        }
    }
    // Without this the kernel drops what a program logs too fast.
    let _ = fs::write("/proc/sys/kernel/printk_devkmsg", "on\n");
    let _ = sys::make_raw(io::stdin().as_fd());
    if !failed.is_empty() {
        marker::note("mounts", &Object::new().list("failed", &failed));
    }
}

/// What outlives a step.
#[derive(Debug, Default)]
struct State {
    clients: Clients,
    background: Background,
    vulkan: Programs,
}

fn execute(order: &Order, state: &mut State) {
    let Some((name, arguments)) = order.words.split_first() else {
        return;
    };
    let answer = |event: &str| {
        Object::new()
            .text("ev", event)
            .number("id", order.id)
            .text("step", name)
    };
    marker::send(&answer("begin"));
    let started = Instant::now();
    let result = match Step::parse(name, arguments) {
        Ok(Step::End(end)) => {
            marker::send(&answer("end").flag("ok", true));
            finish(end)
        }
        // Its own standard input.
        Ok(Step::Console(name)) => port::take_console(&name),
        Ok(Step::Clients(command)) => state.clients.perform(&command),
        Ok(Step::Vulkan(command)) => state.vulkan.perform(&command),
        Ok(Step::Background(command)) => state.background.perform(command),
        // Not in a child: what is expected to fail may still be init's own.
        Ok(Step::Expecting(step, number)) => match *step {
            Step::Background(command) => steps::judge(state.background.perform(command), Some(number)),
            step => in_child(&Step::Expecting(Box::new(step), number)),
        },
        Ok(step) => in_child(&step),
        Err(error) => Err(error),
    };
    // A shell leaves the terminal as its user likes it.
    let _ = sys::make_raw(io::stdin().as_fd());
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let end = answer("end")
        .flag("ok", result.is_ok())
        .number("ms", milliseconds);
    marker::send(&match result {
        Ok(()) => end,
        Err(error) => end.text("error", &error),
    });
}

/// Runs a step in a child and waits for it, but not for ever.
fn in_child(step: &Step) -> Result<(), String> {
    // A shell ends when its user wants.
    let limit = if *step == Step::Shell {
        Duration::MAX
    } else {
        STEP_LIMIT
    };
    let started = Instant::now();
    let child = sys::fork(|| match steps::perform(step) {
        Ok(()) => 0,
        Err(error) => {
            marker::note("failure", &Object::new().text("error", &error));
            1
        }
    })
    .map_err(|error| format!("fork: {error}"))?;
    loop {
        match child.try_wait() {
            Ok(Some(Exit::Status(0))) => return Ok(()),
            Ok(Some(Exit::Status(_))) => {
                return Err("the step failed; its reason is in the notes before this".to_owned());
            }
            Ok(Some(Exit::Signal(signal))) => return Err(format!("the step was ended by signal {signal}")),
            Ok(None) if started.elapsed() < limit => std::thread::sleep(POLL),
            Ok(None) => {
                let stack = child.stack();
                marker::note(
                    "stuck",
                    &Object::new().list("stack", &stack.lines().take(12).collect::<Vec<_>>()),
                );
                child.kill();
                return Err(format!("the step took longer than {} s", STEP_LIMIT.as_secs()));
            }
            Err(error) => return Err(format!("waitpid: {error}")),
        }
    }
}

fn finish(end: End) -> ! {
    loop {
        let error = sys::reboot(end);
        marker::note("end", &Object::new().text("error", &format!("reboot: {error}")));
        std::thread::sleep(Duration::from_secs(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_a_number_a_step_and_arguments() {
        let order = Order::parse("do 7 modprobe amdgpu dpm=0").unwrap();
        assert_eq!(
            (order.id, order.words.join("|").as_str()),
            (7, "modprobe|amdgpu|dpm=0")
        );
    }

    #[test]
    fn other_lines_are_no_orders() {
        for line in ["", "do", "do x y", "do 3", "login: "] {
            assert_eq!(Order::parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn orders_can_stand_on_the_command_line() {
        let orders = Order::from_command_line("quiet lab.steps=modprobe,client:seed=5,poweroff x=y").unwrap();
        assert_eq!(orders.len(), 3);
        assert_eq!(orders[1].words, ["client", "seed=5"]);
        assert_eq!(Order::from_command_line("quiet"), None);
    }
}
