//! What `amdgpu-lab args` prints, and where.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

const DOMAIN: &str = "<domain type='kvm'>\n  <name>vm</name>\n  <os>\n    <type machine='pc-q35-10.1'>hvm</type>\n  </os>\n</domain>\n";

fn args(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_amdgpu-lab"))
        .arg("args")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that does not read is gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn standard_output_is_what_to_paste_and_the_device_process_is_told_apart() {
    for (arguments, first) in [
        (&["--memory", "64"][..], "-machine q35,"),
        (&["qemu", "--memory", "64"], "-machine q35,"),
        (&["libvirt"], "<domain "),
        (&["virtme-ng", "--memory", "64"], "vng "),
    ] {
        let output = args(&[arguments, &["--socket", "/run/gpu.sock"]].concat(), "");
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {err}");
        assert!(
            out.starts_with(first) && out.ends_with('\n'),
            "{arguments:?}: {out}"
        );
        assert!(!out.contains("vhost-device-amdgpu"), "{out}");
        let daemon = "vhost-device-amdgpu --socket-path /run/gpu.sock --vram-size 1G\n";
        assert!(
            err.starts_with(&format!(
                "amdgpu-lab: start the device process first:\n    {daemon}"
            )),
            "{err}"
        );
        // The same once more for who wants it on one processor with its guest.
        let pinned = err.lines().filter(|line| line.starts_with("    taskset -c "));
        assert!(
            pinned.clone().any(|line| line.ends_with(daemon.trim_end())),
            "{err}"
        );
    }
}

#[test]
fn a_domain_comes_from_standard_input_or_a_file() {
    let piped = args(&["libvirt", "--socket", "/g", "--domain", "-"], DOMAIN);
    assert!(piped.status.success(), "{}", text(&piped.stderr));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vm.xml");
    std::fs::write(&file, DOMAIN).unwrap();
    let read = args(
        &["libvirt", "--socket", "/g", "--domain", file.to_str().unwrap()],
        "",
    );
    assert_eq!(text(&piped.stdout), text(&read.stdout));
    assert!(text(&read.stdout).contains("<name>vm</name>") && text(&read.stdout).contains("vfio-user-pci"));
}

#[test]
fn what_cannot_be_printed_is_said_and_nothing_is_printed() {
    for (arguments, input, told) in [
        (&["--socket", "/g"][..], "", "--memory MIB"),
        (
            &["libvirt", "--socket", "/g", "--domain", "-"],
            "error: no domain",
            "virsh dumpxml",
        ),
        (
            &["libvirt", "--socket", "/g", "--domain", "/no/file"],
            "",
            "/no/file",
        ),
        (&["--memory", "64"], "", "--socket <PATH>"),
        (&["--socket", "/g", "--memory", "0"], "", "--memory"),
        (&["bochs", "--socket", "/g"], "", "virtme-ng"),
    ] {
        let output = args(arguments, input);
        let err = text(&output.stderr);
        assert!(
            !output.status.success() && err.contains(told),
            "{arguments:?}: {err}"
        );
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
}
