//! The steps of a run, as they are written on the command line: `modprobe,client,reboot`.

use protocol::guest::order;

/// How often a step brings the driver up once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probes {
    None,
    Once,
    PerRound,
}

/// A step of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The guest does it.
    Guest {
        /// The order, in the guest's words.
        words: String,
        /// How often the driver comes up in it.
        probes: usize,
    },
    /// The guest restarts.
    Reboot,
    /// The guest switches off.
    PowerOff,
    /// The device process is asked.
    Control {
        /// The request's name.
        request: String,
    },
}

/// A step that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no step {name:?}; there are: {}", names().join(", "))]
pub struct UnknownStep {
    name: String,
}

impl UnknownStep {
    /// What it was called.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// How often the driver comes up in an order for the guest, written with spaces: `rebind 3`.
pub fn guest_order(words: &str) -> Result<usize, UnknownStep> {
    let mut words = words.split_whitespace();
    let name = words.next().unwrap_or_default();
    probes(name, words.next())
}

/// The names of all orders for the guest that a scenario can give.
pub fn guest_orders() -> Vec<&'static str> {
    order::ORDERS.iter().map(|order| order.name).collect()
}

/// How often the driver comes up in a step, given its first argument.
fn probes(name: &str, argument: Option<&str>) -> Result<usize, UnknownStep> {
    if order::named(name).is_none() {
        return Err(UnknownStep {
            name: name.to_owned(),
        });
    }
    let probes = match name {
        "bind" | "modprobe" | "pci-rescan" => Probes::Once,
        "rebind" | "reload" => Probes::PerRound,
        _ => Probes::None,
    };
    let other_module = name == "modprobe" && argument.is_some_and(|module| module != "amdgpu");
    Ok(match probes {
        Probes::None => 0,
        _ if other_module => 0,
        Probes::Once => 1,
        Probes::PerRound => argument.and_then(|rounds| rounds.parse().ok()).unwrap_or(1),
    })
}

/// The names of all steps.
pub fn names() -> Vec<&'static str> {
    let mut names = guest_orders();
    names.push("control");
    names.sort_unstable();
    names
}

impl Step {
    /// Reads `name:argument:argument`.
    pub fn parse(text: &str) -> Result<Self, UnknownStep> {
        let mut words = text.split(':');
        let name = words.next().unwrap_or_default();
        let arguments: Vec<_> = words.collect();
        match name {
            "reboot" => return Ok(Self::Reboot),
            "poweroff" => return Ok(Self::PowerOff),
            "control" => {
                return Ok(Self::Control {
                    request: arguments.join(":"),
                });
            }
            _ => {}
        }
        let probes = probes(name, arguments.first().copied())?;
        Ok(Self::Guest {
            words: text.replace(':', " "),
            probes,
        })
    }

    /// Reads a list such as `modprobe,client,poweroff`.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, UnknownStep> {
        text.split(',')
            .map(str::trim)
            .filter(|step| !step.is_empty())
            .map(Self::parse)
            .collect()
    }

    /// The step as it is shown.
    pub fn title(&self) -> String {
        match self {
            Self::Guest { words, .. } => words.clone(),
            Self::Reboot => "reboot".to_owned(),
            Self::PowerOff => "poweroff".to_owned(),
            Self::Control { request } => format!("control {request}"),
        }
    }

    /// Whether it makes the driver reset the GPU.
    pub fn resets(&self) -> bool {
        match self {
            Self::Guest { words, .. } => ["recover", "client-hang", "pci-reset"]
                .iter()
                .any(|step| words.starts_with(step)),
            Self::Reboot | Self::PowerOff | Self::Control { .. } => false,
        }
    }

    /// How often the driver comes up in it.
    pub const fn probes(&self) -> usize {
        match self {
            Self::Guest { probes, .. } => *probes,
            Self::Reboot | Self::PowerOff | Self::Control { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_in_order() {
        let steps = Step::parse_list("modprobe, rebind:3,reboot,control:stats,poweroff").unwrap();
        let titles: Vec<_> = steps.iter().map(Step::title).collect();
        assert_eq!(
            titles,
            ["modprobe", "rebind 3", "reboot", "control stats", "poweroff"]
        );
    }

    #[test]
    fn it_is_known_how_often_the_driver_has_to_come_up() {
        let count = |list| {
            Step::parse_list(list)
                .unwrap()
                .iter()
                .map(Step::probes)
                .sum::<usize>()
        };
        assert_eq!(count("modprobe,unbind,bind,rebind:3,client"), 5);
        assert_eq!(count("modprobe:virtio_console"), 0);
    }

    #[test]
    fn an_unknown_step_is_named_with_those_that_exist() {
        let error = Step::parse_list("modprobe,dance").unwrap_err().to_string();
        assert!(error.contains("\"dance\"") && error.contains("rebind"), "{error}");
    }
}
