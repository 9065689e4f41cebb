//! Whose driver ran: for every report, so that no verdict is taken for that of another module.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The driver of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Driver {
    /// The patches that it was built with, by title.
    pub patches: Vec<String>,
    /// The kernel tree that it was built from, if that is not the kernel's own source.
    pub tree: Option<PathBuf>,
    /// Modules that were given as files.
    pub modules: Vec<PathBuf>,
    /// `/sys/module/amdgpu/srcversion` in the guest: a digest of the module's sources (scripts/mod/sumversion.c). None if the kernel was
    /// built without CONFIG_MODULE_SRCVERSION_ALL, or if the module was not loaded.
    pub srcversion: Option<String>,
    /// The linker's digest of the module, from `/sys/module/amdgpu/notes/.note.gnu.build-id`. Every change of its code is another one.
    pub build_id: Option<String>,
}

impl Driver {
    /// Whether the user changed anything.
    pub const fn is_changed(&self) -> bool {
        !self.patches.is_empty() || self.tree.is_some() || !self.modules.is_empty()
    }

    /// With what the guest said when it loaded modules.
    #[must_use]
    pub fn loaded<'a>(mut self, modules: impl IntoIterator<Item = &'a Map<String, Value>>) -> Self {
        let text = |facts: &Map<String, Value>, name| {
            let text = facts.get(name)?.as_str()?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        let of_driver = modules
            .into_iter()
            .filter(|facts| facts.get("name").is_some_and(|name| name == "amdgpu"));
        if let Some(facts) = of_driver.last() {
            self.srcversion = text(facts, "srcversion");
            self.build_id = text(facts, "build_id");
        }
        self
    }

    /// One line for a reader.
    pub fn text(&self) -> String {
        let mut parts = Vec::new();
        if let Some(tree) = &self.tree {
            parts.push(format!("built from {}", tree.display()));
        }
        match self.patches.as_slice() {
            [] => {}
            [patch] => parts.push(format!("built with {patch:?}")),
            [first, .., last] => parts.push(format!(
                "built with {} patches, {first:?} to {last:?}",
                self.patches.len()
            )),
        }
        for module in &self.modules {
            parts.push(format!("module {}", module.display()));
        }
        if parts.is_empty() {
            parts.push("the kernel's own".to_owned());
        }
        parts.extend(
            self.srcversion
                .as_ref()
                .map(|version| format!("srcversion {version}")),
        );
        parts.extend(self.build_id.as_ref().map(|id| format!("build id {id}")));
        if self.srcversion.is_none() && self.build_id.is_none() {
            parts.push("the module was not loaded".to_owned());
        }
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn note(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn the_module_is_named_by_what_the_guest_loaded() {
        let notes = [
            note(&json!({ "name": "drm", "srcversion": "0" })),
            note(&json!({ "name": "amdgpu", "srcversion": "ABC", "build_id": "01" })),
        ];
        let own = Driver::default().loaded(&notes);
        assert_eq!(own.text(), "the kernel's own, srcversion ABC, build id 01");
        assert!(!own.is_changed());
        let none = Driver::default().loaded(&notes[..1]);
        assert_eq!(none.text(), "the kernel's own, the module was not loaded");
    }

    #[test]
    fn a_changed_driver_names_its_patches() {
        let mut driver = Driver {
            patches: vec!["drm/amdgpu: one".into()],
            ..Driver::default()
        };
        assert!(driver.is_changed());
        assert_eq!(
            driver.text(),
            "built with \"drm/amdgpu: one\", the module was not loaded"
        );
        driver.patches.push("drm/amdgpu: two".into());
        assert!(driver.text().starts_with("built with 2 patches, "));
    }
}
