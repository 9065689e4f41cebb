//! What a run shows beside its verdict: the machine, and what the guest and the device said of themselves.

use protocol::guest::console::{Line, Note};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::verdict;

/// Facts about a guest and its device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// QEMU's version.
    pub qemu: String,
    /// What executed the guest.
    pub accelerator: String,
    /// The kernel's command line.
    pub command_line: String,
    /// How many modules the guest loaded, each time counted.
    pub modules_loaded: usize,
    /// Parameters that were given to modules, as `module: parameters`.
    pub given_parameters: Vec<String>,
    /// Seconds of the guest's clock for each probe of the driver.
    pub probe_seconds: Vec<f64>,
    /// The driver's rings.
    pub rings: Vec<String>,
    /// What clients in the guest reported.
    pub client: Vec<Value>,
    /// The device's own walk of every page table: the `result` of its answer when a client last held its mappings.
    pub page_tables: Option<Value>,
}

impl Facts {
    /// With what a guest said since its start.
    #[must_use]
    pub fn of_guest(mut self, log: &[Line], notes: &[Note]) -> Self {
        let about = |about: &str| {
            let notes = notes.iter().filter(move |note| note.about == about);
            notes.map(|note| note.facts.clone()).collect::<Vec<_>>()
        };
        let modules = about("module");
        self.probe_seconds = verdict::probe_times(log);
        self.rings = about("rings").last().map(ring_names).unwrap_or_default();
        self.modules_loaded = modules.len();
        self.given_parameters = given_parameters(&modules, &self.command_line);
        self.client = about("client").into_iter().map(Value::Object).collect();
        self
    }
}

/// The rings of the guest's note about them.
pub fn ring_names(facts: &Map<String, Value>) -> Vec<String> {
    let names = facts.get("names").and_then(Value::as_array);
    names
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect()
}

/// The parameters that modules got: when they were loaded, or before on the kernel's command line.
fn given_parameters(modules: &[Map<String, Value>], command_line: &str) -> Vec<String> {
    let text = |facts: &Map<_, Value>, name| {
        facts
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mut given: Vec<_> = modules
        .iter()
        .map(|facts| (text(facts, "name"), text(facts, "parameters")))
        .filter(|(_, parameters)| !parameters.is_empty())
        .map(|(name, parameters)| format!("{name}: {parameters}"))
        .collect();
    given.extend(command_line.split_whitespace().filter_map(|word| {
        let (module, _) = word.split_once('.')?;
        let module = module.replace('-', "_");
        modules
            .iter()
            .any(|facts| text(facts, "name") == module)
            .then(|| format!("{word} (on the kernel's command line)"))
    }));
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_wherever_they_come_from() {
        let module = |name: &str, parameters: &str| {
            let value = serde_json::json!({ "name": name, "parameters": parameters });
            value.as_object().cloned().unwrap()
        };
        let modules = [module("gpu_sched", ""), module("amdgpu", "dpm=0")];
        assert_eq!(
            given_parameters(&modules, "quiet printk.devkmsg=on gpu-sched.sched_policy=1"),
            [
                "amdgpu: dpm=0",
                "gpu-sched.sched_policy=1 (on the kernel's command line)"
            ]
        );
        assert!(given_parameters(&modules[..1], "console=ttyS0 printk.devkmsg=on").is_empty());
    }
}
