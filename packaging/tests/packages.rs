//! What packages have that is written by hand fits the programs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use packaging::{completions, man, programs};
use serde_json::Value;

/// `VHostUserBackendType` of QEMU's docs/interop/vhost-user.json.
const TYPES: [&str; 15] = [
    "9p",
    "balloon",
    "block",
    "caif",
    "console",
    "crypto",
    "gpu",
    "input",
    "net",
    "rng",
    "rpmsg",
    "rproc-serial",
    "scsi",
    "vsock",
    "fs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

#[test]
fn the_description_for_qemu_is_as_its_schema_has_it() {
    let folder = root().join("packaging/qemu");
    let files: Vec<_> = fs::read_dir(folder).unwrap().flatten().collect();
    assert_eq!(files.len(), 1);
    for file in files {
        let name = file.file_name().into_string().unwrap();
        // Two digits, so that files sort.
        let (number, rest) = name.split_once('-').unwrap();
        assert!(number.len() == 2 && number.parse::<u8>().is_ok(), "{name}");
        assert!(rest.ends_with(".json"), "{name}");

        let text = fs::read_to_string(file.path()).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let fields = value.as_object().unwrap();
        for field in fields.keys() {
            assert!(
                ["description", "type", "binary", "tags"].contains(&field.as_str()),
                "{field}"
            );
        }
        assert!(!fields["description"].as_str().unwrap().is_empty());
        assert!(TYPES.contains(&fields["type"].as_str().unwrap()));
        let tags = fields["tags"].as_array().unwrap();
        assert!(tags.iter().all(Value::is_string));
        let [device, _] = programs();
        assert_eq!(fields["binary"], format!("/usr/bin/{}", device.name));
    }
}

#[test]
fn the_program_says_of_itself_what_the_description_says() {
    let described: Value = serde_json::from_str(&read("packaging/qemu/90-vhost-device-amdgpu.json")).unwrap();
    let capabilities: Value = serde_json::from_str(device::args::CAPABILITIES).unwrap();
    assert_eq!(capabilities["type"], described["type"]);
    // The options that the conventions name.
    let [device, _] = programs();
    for option in ["fd", "socket-path", "print-capabilities"] {
        let found = device
            .command
            .get_arguments()
            .any(|arg| arg.get_long() == Some(option));
        assert!(found, "--{option}");
    }
}

#[test]
fn one_version_is_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    let changelog = read("packaging/debian/changelog");
    let first = changelog.lines().next().unwrap();
    assert!(
        first.starts_with(&format!("vhost-device-amdgpu ({version}-1) ")),
        "{first}"
    );
    // A lab goes with the device that it was tested with.
    let lab = read("lab/cli/Cargo.toml");
    assert!(
        lab.contains(&format!("vhost-device-amdgpu (= {version}-1)")),
        "the lab's dependency"
    );
}

#[test]
fn every_page_and_every_completion_is_in_a_package() {
    let manifests = [read("device/Cargo.toml"), read("lab/cli/Cargo.toml")];
    for (program, manifest) in programs().iter().zip(manifests) {
        let made = completions::SHELLS.map(|shell| completions::path(program, shell));
        for path in made.into_iter().chain([man::path(program)]) {
            let folder = path.parent().unwrap().display();
            let asset = format!("/stage/usr/{}\", \"usr/{folder}/\", \"644\"]", path.display());
            assert!(manifest.contains(&asset), "{asset}");
        }
    }
}

#[test]
fn every_file_of_the_packages_that_is_not_built_is_there() {
    let mut seen = 0;
    for folder in ["device", "lab/cli"] {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        let assets = manifest
            .split_once("\nassets = [\n")
            .unwrap()
            .1
            .split_once("\n]")
            .unwrap()
            .0;
        for asset in assets.lines() {
            let source = asset.split('"').nth(1).unwrap();
            if source.starts_with("target/") || source.contains("/target/") {
                continue;
            }
            let path = root()
                .join(folder)
                .join(source.trim_end_matches("*.md").trim_end_matches("*.toml"));
            assert!(path.exists(), "{folder}: {source}");
            seen += 1;
        }
    }
    assert!(seen > 5, "{seen} files");
}
