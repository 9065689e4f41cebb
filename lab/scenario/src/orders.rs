//! How often the driver comes up in an order for the guest.

use protocol::guest::order;

/// How often a step brings the driver up once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probes {
    None,
    Once,
    PerRound,
}

/// How often the driver comes up in an order, written with spaces: `rebind 3`. None if the guest does not know it.
pub fn probes(words: &str) -> Option<usize> {
    let mut words = words.split_whitespace();
    let name = words.next()?;
    order::named(name)?;
    let argument = words.next();
    let probes = match name {
        "bind" | "modprobe" | "pci-rescan" => Probes::Once,
        "rebind" | "reload" => Probes::PerRound,
        _ => Probes::None,
    };
    let other_module = name == "modprobe" && argument.is_some_and(|module| module != "amdgpu");
    Some(match probes {
        Probes::None => 0,
        _ if other_module => 0,
        Probes::Once => 1,
        Probes::PerRound => argument.and_then(|rounds| rounds.parse().ok()).unwrap_or(1),
    })
}
