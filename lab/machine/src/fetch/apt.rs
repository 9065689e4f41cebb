//! A private apt root: apt as a downloader that needs no rights and leaves the system alone.
//!
//! Everything apt reads and writes lies in one folder: sources, package lists, an empty list of installed packages and
//! the archive. What the system's own apt needs to reach its mirrors (proxies, certificates, logins) is carried over.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::FetchError;
use super::mirror::Mirrors;
use crate::progress::Progress;
use crate::sys;

/// The architecture of guests, and of a fetched QEMU.
const ARCHITECTURE: &str = "amd64";

/// A package as apt resolved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Name of the binary package.
    pub name: String,
    /// Full version, with epoch and revision.
    pub version: String,
    /// Architecture, or `all`.
    pub architecture: String,
}

impl Package {
    /// Name of the package's file in an apt archive.
    pub fn file_name(&self) -> String {
        format!(
            "{}_{}_{}.deb",
            self.name,
            self.version.replace(':', "%3a"),
            self.architecture
        )
    }
}

/// One private apt root.
#[derive(Debug)]
pub struct AptRoot {
    folder: PathBuf,
}

impl AptRoot {
    /// Writes the configuration of a root in `folder`. `suites` are names such as `trixie` or `trixie-backports`.
    pub fn create(folder: &Path, suites: &[&str], mirrors: &Mirrors) -> Result<Self, FetchError> {
        for sub in [
            "state/lists/partial",
            "archives/partial",
            "cache",
            "log",
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
        ] {
            let path = folder.join(sub);
            fs::create_dir_all(&path).map_err(|source| FetchError::File { path, source })?;
        }
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|source| FetchError::File { path, source })
        };
        write("status", "")?;
        write(
            "apt.conf",
            &configuration(folder, &carried_over(&system_configuration())),
        )?;
        write("sources.list", &mirrors.sources(suites))?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Where packages are downloaded to.
    pub fn archives(&self) -> PathBuf {
        self.folder.join("archives")
    }

    /// Brings the package lists up to date.
    pub fn update(&self, progress: &Progress) -> Result<(), FetchError> {
        self.run(
            &["update", "--error-on=any"],
            "updating the package lists",
            progress,
        )?;
        Ok(())
    }

    /// The packages that installing `names` on an empty system would take.
    pub fn resolve(
        &self,
        names: &[&str],
        target: Option<&str>,
        progress: &Progress,
    ) -> Result<Vec<Package>, FetchError> {
        let mut arguments = vec!["--simulate", "--no-install-recommends"];
        arguments.extend(target.iter().flat_map(|target| ["-t", target]));
        arguments.push("install");
        arguments.extend(names);
        let output = self.run(&arguments, &format!("resolving {}", names.join(" ")), progress)?;
        Ok(output.lines().filter_map(parse_install_line).collect())
    }

    /// Downloads exactly these packages into the archive. apt checks each against the signed lists.
    pub fn download(&self, packages: &[Package], progress: &Progress) -> Result<(), FetchError> {
        let specs: Vec<_> = packages
            .iter()
            .map(|p| format!("{}={}", p.name, p.version))
            .collect();
        let mut arguments = vec!["download"];
        arguments.extend(specs.iter().map(String::as_str));
        let what = match packages {
            [one] => format!("downloading {} {}", one.name, one.version),
            _ => format!("downloading {} packages", packages.len()),
        };
        self.run(&arguments, &what, progress)?;
        Ok(())
    }

    fn run(&self, arguments: &[&str], what: &str, progress: &Progress) -> Result<String, FetchError> {
        let mut command = Command::new("apt-get");
        command
            .args(["-q", "-o", "APT::Status-Fd=1"])
            .args(arguments)
            .env("APT_CONFIG", self.folder.join("apt.conf"))
            .env("LC_ALL", "C")
            .current_dir(self.archives())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let failed = |detail: String| FetchError::Apt {
            what: what.to_owned(),
            detail,
            folder: self.folder.clone(),
        };
        let mut child = sys::contain(&mut command)
            .spawn()
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => FetchError::NoApt,
                _ => failed(error.to_string()),
            })?;
        let stderr = child.stderr.take();
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            if let Some(mut stderr) = stderr {
                // A log that cannot be read is no reason to fail: the exit status decides.
                let _ = stderr.read_to_string(&mut text);
            }
            text
        });
        let mut output = String::new();
        let started = progress.start(what);
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                match parse_download_status(&line) {
                    Some(percent) => started.percent(percent),
                    None => {
                        output.push_str(&line);
                        output.push('\n');
                    }
                }
            }
        }
        let status = child.wait().map_err(|error| failed(error.to_string()))?;
        let errors = errors.join().unwrap_or_default();
        if status.success() {
            started.done("");
            return Ok(output);
        }
        started.failed();
        let detail: Vec<_> = errors
            .lines()
            .filter(|line| line.starts_with("E:"))
            .take(6)
            .collect();
        Err(failed(if detail.is_empty() {
            errors
        } else {
            detail.join("\n")
        }))
    }
}

/// Unpacks a package file into a folder without running anything of it.
pub fn unpack(package: &Path, target: &Path) -> Result<(), FetchError> {
    let mut command = Command::new("dpkg-deb");
    command.arg("-x").arg(package).arg(target).stdin(Stdio::null());
    let output = sys::contain(&mut command)
        .output()
        .map_err(|error| FetchError::Unpack {
            package: package.to_owned(),
            detail: format!("dpkg-deb: {error}"),
        })?;
    if output.status.success() {
        return Ok(());
    }
    Err(FetchError::Unpack {
        package: package.to_owned(),
        detail: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// `Inst libc6 (2.36-9 Debian:12/stable [amd64]) []` -> the package.
fn parse_install_line(line: &str) -> Option<Package> {
    let rest = line.strip_prefix("Inst ")?;
    let (name, rest) = rest.split_once(' ')?;
    let (_, rest) = rest.split_once('(')?;
    let (inside, _) = rest.split_once(')')?;
    let (version, rest) = inside.split_once(' ')?;
    let architecture = rest.rsplit_once('[')?.1.trim_end_matches(']');
    Some(Package {
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: architecture.to_owned(),
    })
}

/// `dlstatus:1:42.5:Retrieving file 1 of 2` -> 42.
fn parse_download_status(line: &str) -> Option<u8> {
    let (_, rest) = line.strip_prefix("dlstatus:")?.split_once(':')?;
    let whole = rest.split(['.', ':']).next()?;
    whole.parse().ok()
}

fn system_configuration() -> String {
    Command::new("apt-config")
        .arg("dump")
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

/// The lines of the system's configuration that decide whether and how its mirrors can be reached.
fn carried_over(dump: &str) -> String {
    const WANTED: [&str; 8] = [
        "Acquire::http::",
        "Acquire::https::",
        "Acquire::ftp::",
        "Acquire::Check-Valid-Until",
        "Acquire::Check-Date",
        "Acquire::ForceIPv",
        "Acquire::proxy",
        "Acquire::mirror::",
    ];
    dump.lines()
        .filter(|line| WANTED.iter().any(|prefix| line.starts_with(prefix)))
        .fold(String::new(), |text, line| text + line + "\n")
}

fn configuration(folder: &Path, carried_over: &str) -> String {
    let folder = folder.display();
    let mut text = format!(
        "// Written by amdgpu-lab: an apt root of its own.\n\
         Dir \"{folder}\";\n\
         Dir::State \"{folder}/state\";\n\
         Dir::State::status \"{folder}/status\";\n\
         Dir::Cache \"{folder}/cache\";\n\
         Dir::Cache::archives \"{folder}/archives\";\n\
         Dir::Log \"{folder}/log\";\n\
         Dir::Etc::sourcelist \"{folder}/sources.list\";\n\
         Dir::Etc::sourceparts \"-\";\n\
         Dir::Etc::netrc \"/etc/apt/auth.conf\";\n\
         Dir::Etc::netrcparts \"/etc/apt/auth.conf.d\";\n\
         APT::Architecture \"{ARCHITECTURE}\";\n\
         APT::Architectures {{ \"{ARCHITECTURE}\"; }};\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"3\";\n\
         Acquire::GzipIndexes \"true\";\n\
         Debug::NoLocking \"true\";\n"
    );
    if sys::is_root() {
        // apt would change to a user that need not be able to enter the cache folder.
        let _ = writeln!(text, "APT::Sandbox::User \"root\";");
    }
    text + carried_over
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_read_from_a_simulated_install() {
        let line =
            "Inst linux-image-6.1.0-56-amd64 (6.1.192-2 Debian-Security:12/oldstable-security [amd64]) []";
        let package = parse_install_line(line).unwrap();
        assert_eq!(package.name, "linux-image-6.1.0-56-amd64");
        assert_eq!(package.version, "6.1.192-2");
        assert_eq!(
            package.file_name(),
            "linux-image-6.1.0-56-amd64_6.1.192-2_amd64.deb"
        );
        assert_eq!(parse_install_line("Conf libc6 (2.36 Debian:12/x [amd64])"), None);
        assert_eq!(parse_install_line("Inst broken"), None);
    }

    #[test]
    fn an_epoch_is_escaped_in_file_names() {
        let package = Package {
            name: "busybox-static".into(),
            version: "1:1.37.0-6".into(),
            architecture: "amd64".into(),
        };
        assert_eq!(package.file_name(), "busybox-static_1%3a1.37.0-6_amd64.deb");
    }

    #[test]
    fn progress_is_read_from_the_status_lines() {
        assert_eq!(
            parse_download_status("dlstatus:1:42.5:Retrieving file 1 of 2"),
            Some(42)
        );
        assert_eq!(parse_download_status("Get:1 http://example.org"), None);
    }

    #[test]
    fn the_configuration_names_no_path_of_the_system_but_the_logins() {
        let text = configuration(Path::new("/cache/apt"), "");
        let outside: Vec<_> = text
            .lines()
            .filter(|line| {
                line.starts_with("Dir") && !line.contains("\"/cache/apt") && !line.contains("\"-\"")
            })
            .collect();
        assert!(outside.iter().all(|line| line.contains("netrc")), "{outside:?}");
    }

    #[test]
    fn proxies_and_clock_exceptions_are_carried_over_and_hooks_are_not() {
        let dump = "Acquire::http::Proxy \"http://p:3128\";\nAPT::Update::Post-Invoke:: \"rm -f /x\";\n\
                    Acquire::Check-Date \"false\";\nAcquire::Languages:: \"de\";\n";
        let kept = carried_over(dump);
        assert_eq!(
            kept,
            "Acquire::http::Proxy \"http://p:3128\";\nAcquire::Check-Date \"false\";\n"
        );
    }
}
