//! Configurations of kernels for guests: fragments over `allnoconfig`, kept in `lab/kconfig/` for users to merge into their own.

use std::fmt;

use clap::ValueEnum;

/// What a guest needs and nothing else.
const LEAN: &str = include_str!("../../../kconfig/lean.config");
/// The locking checks.
const LOCKDEP: &str = include_str!("../../../kconfig/lockdep.config");
/// The checks of memory.
const KASAN: &str = include_str!("../../../kconfig/kasan.config");
/// The comment before an option that not every version has.
const OPTIONAL: &str = "# optional";

/// A kernel's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Config {
    /// What a guest needs, amdgpu as a module without display code: builds and boots in a fraction of a distribution's time.
    Lean,
    /// The same with PROVE_LOCKING and DEBUG_ATOMIC_SLEEP.
    Lockdep,
    /// The same with KASAN and UBSAN as well.
    Kasan,
}

impl Config {
    /// As it stands before the colon in `--kernel lean:trixie`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lean => "lean",
            Self::Lockdep => "lockdep",
            Self::Kasan => "kasan",
        }
    }

    /// The fragment, whole. The kernel's release ends in the configuration's name.
    pub(super) fn text(self) -> String {
        let more: &[&str] = match self {
            Self::Lean => &[],
            Self::Lockdep => &[LOCKDEP],
            Self::Kasan => &[LOCKDEP, KASAN],
        };
        let mut text = LEAN.to_owned();
        for fragment in more {
            text.push_str(fragment);
        }
        text.push_str(&format!("CONFIG_LOCALVERSION=\"-{}\"\n", self.name()));
        text
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The lines of a fragment that a configuration does not have, without the optional ones.
pub(super) fn missing(fragment: &str, configuration: &str) -> Vec<String> {
    let mut missing = Vec::new();
    let mut optional = false;
    for line in fragment.lines().map(str::trim) {
        if line == OPTIONAL {
            optional = true;
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let there = match line.split_once('=') {
            Some((option, "n")) => {
                let set = format!("{option}=");
                !configuration.lines().any(|other| other.starts_with(&set))
            }
            _ => configuration.lines().any(|other| other == line),
        };
        if !there && !std::mem::take(&mut optional) {
            missing.push(line.to_owned());
        }
        optional = false;
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_version_does_not_know_is_missing_unless_it_is_optional() {
        let fragment = "CONFIG_A=y\n# optional\nCONFIG_B=y\nCONFIG_C=m\nCONFIG_D=n\n# optional\nCONFIG_E=n\n";
        let whole = "CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=m\n# CONFIG_D is not set\n";
        assert!(missing(fragment, whole).is_empty());
        let other = "CONFIG_A=y\nCONFIG_C=y\nCONFIG_D=y\nCONFIG_E=y\n";
        assert_eq!(missing(fragment, other), ["CONFIG_C=m", "CONFIG_D=n"]);
    }

    #[test]
    fn every_configuration_names_its_kernel_and_has_the_driver_as_a_module() {
        for config in Config::value_variants() {
            let text = config.text();
            let lines: Vec<_> = text.lines().collect();
            assert!(lines.contains(&"CONFIG_DRM_AMDGPU=m"), "{config}");
            assert!(lines.contains(&format!("CONFIG_LOCALVERSION=\"-{config}\"").as_str()));
            let odd = lines
                .iter()
                .find(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("CONFIG_"));
            assert_eq!(odd, None, "{config}");
        }
        assert!(!Config::Lean.text().contains("PROVE_LOCKING=y"));
        assert!(Config::Kasan.text().contains("PROVE_LOCKING=y"));
    }
}
