//! Rules of the workspace that no compiler checks: which crate may know which, and that none forgets the lints.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each crate with those of ours that it may depend on. Tests may know everything; nothing may know the tests, nor what packages
/// are made of.
const MAY_KNOW: [(&str, &[&str]); 17] = [
    ("mmio", &[]),
    ("regs", &["mmio"]),
    ("gart", &["mmio"]),
    ("sdma_engine", &["gart", "mmio"]),
    ("cp_engine", &["gart", "mmio", "regs"]),
    (
        "gpu",
        &["cp_engine", "gart", "mmio", "protocol", "sdma_engine", "regs"],
    ),
    ("guest_port", &[]),
    ("protocol", &[]),
    (
        "device",
        &[
            "cp_engine",
            "gart",
            "gpu",
            "guest_port",
            "mmio",
            "protocol",
            "sdma_engine",
        ],
    ),
    ("guest", &["protocol"]),
    ("guest_vulkan", &[]),
    ("lab/machine", &["protocol"]),
    ("lab/scenario", &["protocol"]),
    ("lab/report", &["amdgpu-lab-scenario", "protocol"]),
    (
        "lab/cli",
        &[
            "amdgpu-lab-machine",
            "amdgpu-lab-report",
            "amdgpu-lab-scenario",
            "protocol",
        ],
    ),
    (
        "tests",
        &[
            "gart",
            "gpu",
            "mmio",
            "protocol",
            "sdma_engine",
            "vhost-device-amdgpu",
            "amdgpu-lab",
            "amdgpu-lab-machine",
            "amdgpu-lab-report",
            "amdgpu-lab-scenario",
        ],
    ),
    ("packaging", &["vhost-device-amdgpu", "amdgpu-lab"]),
];
const OURS: [&str; 17] = [
    "mmio",
    "regs",
    "gart",
    "sdma_engine",
    "cp_engine",
    "gpu",
    "guest_port",
    "protocol",
    "vhost-device-amdgpu",
    "amdgpu-lab",
    "amdgpu-lab-machine",
    "amdgpu-lab-report",
    "amdgpu-lab-scenario",
    "amdgpu-guest",
    "amdgpu-guest-vulkan",
    "tests",
    "packaging",
];
/// A module that outgrows this moves into several.
const MOST_LINES: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn manifest(folder: &str) -> String {
    fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap()
}

/// The members that the workspace's manifest lists.
fn members() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let list = text
        .split_once("members = [")
        .unwrap()
        .1
        .split_once(']')
        .unwrap()
        .0;
    list.split(',')
        .map(|name| name.trim().trim_matches('"').to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// The names in all dependency sections of a manifest.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies]");
        } else if inside && let Some((name, _)) = line.split_once(['.', ' ', '=']) {
            found.insert(name.to_owned());
        }
    }
    found
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_member_has_a_rule() {
    let ruled: BTreeSet<_> = MAY_KNOW.iter().map(|(folder, _)| (*folder).to_owned()).collect();
    assert_eq!(members(), ruled);
}

#[test]
fn crates_know_only_those_below_them() {
    for (folder, may_know) in MAY_KNOW {
        let known = dependencies(&manifest(folder));
        let ours: Vec<_> = known
            .iter()
            .filter(|name| OURS.contains(&name.as_str()))
            .collect();
        assert!(
            ["mmio", "guest_port", "protocol", "guest", "guest_vulkan"].contains(&folder) || !ours.is_empty(),
            "{folder}: none found"
        );
        for name in ours {
            assert!(
                may_know.contains(&name.as_str()),
                "{folder} must not depend on {name}"
            );
        }
    }
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    for folder in members() {
        let text = manifest(&folder);
        let lints = text.split_once("[lints]").map(|(_, rest)| rest.trim_start());
        assert!(
            lints.is_some_and(|rest| rest.starts_with("workspace = true")),
            "{folder} takes no lints"
        );
        assert!(
            text.contains("publish.workspace = true"),
            "{folder} could be published"
        );
    }
}

#[test]
fn no_source_file_outgrows_its_room() {
    for folder in members() {
        let mut found = Vec::new();
        sources(&root().join(&folder), &mut found);
        assert!(!found.is_empty(), "{folder}");
        for path in found {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= MOST_LINES, "{}: {lines} lines", path.display());
        }
    }
}

/// The pages that scenarios name.
fn findings_of_scenarios() -> BTreeSet<String> {
    fs::read_dir(root().join("lab/scenarios"))
        .unwrap()
        .flatten()
        .flat_map(|entry| {
            let text = fs::read_to_string(entry.path()).unwrap();
            let named = text.lines().filter_map(|line| line.strip_prefix("finding = "));
            named
                .map(|name| name.trim_matches('"').to_owned())
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn findings_are_in_their_index_and_those_of_scenarios_exist() {
    let folder = root().join("docs/findings");
    let index = fs::read_to_string(folder.join("README.md")).unwrap();
    let files = fs::read_dir(&folder).unwrap().flatten();
    let (patches, pages): (BTreeSet<_>, BTreeSet<_>) = files
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .partition(|name| name.ends_with(".patch"));
    for patch in &patches {
        let page = format!("{}.md", patch.split('.').next().unwrap());
        assert!(pages.contains(&page), "{patch} belongs to no page");
    }
    for page in &pages {
        let text = fs::read_to_string(folder.join(page)).unwrap();
        let number = page.split('-').next().unwrap().trim_start_matches('0');
        assert!(text.starts_with(&format!("# {number}. ")), "{page}: its title");
        assert_eq!(
            index.matches(&format!("]({page})")).count(),
            1,
            "{page} in the index"
        );
        let title = text.lines().next().unwrap().trim_start_matches("# ");
        let short = title.split(" (").next().unwrap();
        let listed = index.lines().any(|line| {
            line.contains(&format!("]({page})")) && line.contains(&short.chars().take(40).collect::<String>())
        });
        assert!(listed, "{page}: its line in the index has another title");
    }
    let named = findings_of_scenarios();
    assert!(!named.is_empty());
    for name in named {
        let page = name.strip_prefix("docs/findings/").unwrap();
        assert!(
            pages.contains(page),
            "a scenario names {name}, which is not there"
        );
    }
}
