//! Steps as they are written on the command line, `modprobe,client,reboot`: a scenario is made of them, and goes the way of every other.

use std::path::Path;

use protocol::personality::Personality;

use super::diagnostic::Rejected;
use super::model::Scenario;
use super::parse::parse;

/// Name of the scenario, and without its ending of the file with it.
pub const NAME: &str = "steps";

/// What the synthesised scenario is about besides its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Whether the machine has the GPU.
    pub gpu: bool,
    /// Whether it has the guest port.
    pub guest_port: bool,
}

/// Orders in which a driver is not reset, nor its device: between them nothing may reset it. The driver's first probe is none either.
const QUIET: [&str; 9] = [
    "client",
    "info",
    "read",
    "sleep",
    "hold",
    "poweroff",
    "memory-speed",
    "register-latency",
    "fresh-vram",
];
/// Resets of the whole GPU that a driver asks for, as the device names them when they have taken place.
const RESETS: &str = "~^(mode1-smu|mode1-psp|mode2|baco-exit|vf-flr)$";
/// Those and the ones that come from the bus.
const BUS_RESETS: &str = "~^(function-level|bus|mode1-smu|mode1-psp|mode2|baco-exit|vf-flr)$";

/// The text of a scenario file that does what a list such as `modprobe,client,poweroff` says, and expects what it implies: that the device
/// saw each reset that the driver was asked for, and no other.
pub fn text(list: &str, setting: Setting) -> String {
    let steps: Vec<Vec<&str>> = list
        .split(',')
        .map(|step| step.trim().split(':').collect())
        .filter(|words: &Vec<&str>| words.as_slice() != [""])
        .collect();
    let mut text = String::new();
    let mut expectations = String::new();
    let first = steps.first().map(Vec::as_slice).unwrap_or_default();
    let module = module(first).filter(|_| setting.gpu);
    let resets = |words: &[&str]| {
        words
            .first()
            .is_some_and(|name| ["recover", "client-hang", "pci-reset"].contains(name))
    };
    let line =
        |text: &mut String, key: &str, value: &str| text.push_str(&format!("{key} = {}\n", quoted(value)));
    line(&mut text, "title", &titles(&steps));
    line(
        &mut text,
        "about",
        "Made of --steps. What the steps imply is expected; everything else is as in any scenario.",
    );
    let both = Personality::ALL.map(|personality| quoted(personality.name()));
    text.push_str(&format!("personality = [{}]\n", both.join(", ")));
    if steps.iter().any(|words| resets(words)) {
        text.push_str("resets = true\n");
    }
    text.push_str("\n[machine]\n");
    line(
        &mut text,
        "driver",
        if module.is_some() { "module" } else { "absent" },
    );
    if let Some(parameters) = module.filter(|parameters| !parameters.is_empty()) {
        line(&mut text, "module-parameters", &parameters.join(" "));
    }
    if setting.guest_port {
        text.push_str("guest-port = true\n");
    }

    let mut asked = 0;
    let mut quiet = true;
    for (index, words) in steps.iter().enumerate() {
        text.push_str("\n[[step]]\n");
        let name = words.first().copied().unwrap_or_default();
        if name == "control" {
            text.push_str(&format!(
                "device = {}\n",
                request(words.get(1..).unwrap_or_default())
            ));
            quiet = false;
            continue;
        }
        let seen = match name {
            "recover" => Some(("the device saw the reset", RESETS)),
            "pci-reset" => Some(("the device saw the reset", BUS_RESETS)),
            _ => None,
        };
        if let Some((label, kinds)) = seen {
            asked += 1;
            let number = if asked == 1 {
                String::new()
            } else {
                format!(" {asked}")
            };
            let step = format!("reset{number}");
            line(&mut text, "label", &step);
            expectations.push_str(&format!(
                "\n[[expect]]\nlabel = {}\nevent = {{ event = \"reset-end\", kind = {} }}\ncount = \">0\"\nfrom = {step:?}\nuntil = {step:?}\n",
                quoted(&format!("{label}{number}")),
                quoted(kinds)
            ));
        }
        line(&mut text, "guest", &words.join(" "));
        let first_probe = index == 0 && matches!(name, "modprobe" | "load");
        quiet &= first_probe || name == "recover" || QUIET.contains(&name);
    }
    if setting.gpu && quiet {
        let count = match asked {
            0 => "absent = true".to_owned(),
            count => format!("count = {count}"),
        };
        expectations.push_str(&format!(
            "\n[[expect]]\nlabel = {}\nevent = {{ event = \"reset-end\", kind = {} }}\n{count}\n",
            quoted(if asked == 0 {
                "nothing was reset"
            } else {
                "no reset but those"
            }),
            quoted(RESETS)
        ));
    }
    text + &expectations
}

/// The scenario of such a list.
///
/// # Errors
/// What is wrong with it, each with its place in the scenario's text.
pub fn scenario(list: &str, setting: Setting) -> Result<Scenario, Rejected> {
    parse(Path::new(NAME), &text(list, setting))
}

/// The module's parameters, if a step loads the driver.
fn module<'a>(step: &'a [&'a str]) -> Option<&'a [&'a str]> {
    match step {
        ["modprobe"] => Some(&[]),
        ["modprobe", "amdgpu", parameters @ ..] => Some(parameters),
        _ => None,
    }
}

fn titles(steps: &[Vec<&str>]) -> String {
    let titles: Vec<_> = steps.iter().map(|words| words.join(" ")).collect();
    titles.join(", ")
}

/// `fault:kind=drop-pte:count=1` as a table.
fn request(words: &[&str]) -> String {
    let mut fields = vec![format!(
        "request = {}",
        quoted(words.first().copied().unwrap_or_default())
    )];
    for word in words.get(1..).unwrap_or_default() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let plain = value.parse::<i64>().is_ok() || matches!(value, "true" | "false");
        let value = if plain { value.to_owned() } else { quoted(value) };
        fields.push(format!("{} = {value}", quoted(key)));
    }
    format!("{{ {} }}", fields.join(", "))
}

/// A basic string of TOML: JSON's escapes are among its own.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::model::{Action, Driver, Expected};
    use super::*;

    const GPU: Setting = Setting {
        gpu: true,
        guest_port: false,
    };

    fn of(list: &str) -> Scenario {
        scenario(list, GPU).unwrap_or_else(|error| panic!("{list}: {error}"))
    }

    fn expected(scenario: &Scenario) -> Vec<String> {
        scenario
            .expectations
            .iter()
            .map(super::super::model::Expectation::title)
            .collect()
    }

    #[test]
    fn a_list_is_a_scenario_with_its_steps_in_order() {
        let scenario = of("modprobe, rebind:3,reboot,control:stats,poweroff");
        let titles: Vec<_> = scenario
            .steps
            .iter()
            .map(super::super::model::Step::title)
            .collect();
        assert_eq!(
            titles,
            ["modprobe", "rebind 3", "reboot", "device: stats", "poweroff"]
        );
        assert_eq!(scenario.name, NAME);
        assert_eq!(
            scenario.title,
            "modprobe, rebind 3, reboot, control stats, poweroff"
        );
        assert!(!scenario.share_boot && !scenario.resets);
        assert_eq!(scenario.personalities, Personality::ALL);
    }

    #[test]
    fn it_is_known_how_often_the_driver_has_to_come_up() {
        let count = |list| {
            let steps = of(list).steps.into_iter();
            steps
                .map(|step| match step.action {
                    Action::Guest { probes, .. } => probes,
                    _ => 0,
                })
                .sum::<usize>()
        };
        assert_eq!(count("modprobe,unbind,bind,rebind:3,client"), 5);
        assert_eq!(count("modprobe:virtio_console"), 0);
    }

    #[test]
    fn a_driver_that_the_first_step_loads_may_be_there_as_a_module_with_its_parameters() {
        let driver = |list| of(list).machine.driver;
        let module = |parameters: &str| Driver::Module {
            parameters: parameters.to_owned(),
        };
        assert_eq!(driver("modprobe,client"), module(""));
        assert_eq!(driver("modprobe:amdgpu:dpm=0:msi=1"), module("dpm=0 msi=1"));
        for other in ["load,bind", "modprobe:drm", "client"] {
            assert_eq!(driver(other), Driver::Absent, "{other}");
        }
        let without = Setting { gpu: false, ..GPU };
        assert_eq!(
            scenario("modprobe", without).unwrap().machine.driver,
            Driver::Absent
        );
    }

    #[test]
    fn each_recover_expects_that_the_device_saw_a_reset_and_nothing_more() {
        let once = of("modprobe,recover,client:hold=0,poweroff");
        assert!(once.resets);
        assert_eq!(
            expected(&once),
            ["the device saw the reset", "no reset but those"]
        );
        let [own, all] = once.expectations.as_slice() else {
            panic!("{:?}", once.expectations)
        };
        assert_eq!(
            (own.from.as_deref(), own.until.as_deref()),
            (Some("reset"), Some("reset"))
        );
        let holds = |what: &Expected, counts: [i64; 3]| match what {
            Expected::Event { count, .. } => counts.map(|number| count.holds(number)),
            other => panic!("{other:?}"),
        };
        assert_eq!(holds(&own.what, [0, 1, 2]), [false, true, true]);
        assert_eq!(holds(&all.what, [0, 1, 2]), [false, true, false]);

        let twice = of("modprobe,recover,recover");
        assert_eq!(
            expected(&twice),
            [
                "the device saw the reset",
                "the device saw the reset 2",
                "no reset but those"
            ]
        );
        assert_eq!(twice.steps[2].label.as_deref(), Some("reset 2"));
    }

    #[test]
    fn where_nothing_is_reset_on_purpose_nothing_may_be() {
        assert_eq!(expected(&of("modprobe,client")), ["nothing was reset"]);
        // A driver that comes again finds the PSP running and resets; a request may do anything.
        for other in [
            "modprobe,rebind",
            "modprobe,control:stats",
            "modprobe,reboot,modprobe",
        ] {
            assert_eq!(expected(&of(other)), [""; 0], "{other}");
        }
        let without = Setting { gpu: false, ..GPU };
        assert_eq!(expected(&scenario("load,poweroff", without).unwrap()), [""; 0]);
    }

    #[test]
    fn a_request_has_its_fields() {
        let scenario = of("control:fault:kind=reset-fail:how=lies:count=1");
        let Action::Device { request, .. } = &scenario.steps[0].action else {
            panic!("{:?}", scenario.steps)
        };
        let wanted =
            serde_json::json!({ "request": "fault", "kind": "reset-fail", "how": "lies", "count": 1 });
        assert_eq!(serde_json::Value::from(request.clone()), wanted);
    }

    #[test]
    fn what_is_misspelt_is_told_with_the_nearest_word() {
        let wrong = |list| scenario(list, GPU).unwrap_err().to_string();
        let error = wrong("modprobe,clinet");
        assert!(
            error.contains("\"clinet\"") && error.contains("did you mean `client`?"),
            "{error}"
        );
        let error = wrong("control:fault:kind=reset-fial");
        assert!(error.contains("did you mean `reset-fail`?"), "{error}");
        assert!(wrong("").contains("at least one step"));
        // Whatever is written, it stays one text.
        wrong("write:/a\"\nb:\\,\u{1}");
    }
}
