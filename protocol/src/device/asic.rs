//! Which part the GPU is.

/// Which part the GPU is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Asic {
    /// Navi21 (GC 10.3.0): resets by MODE1 through the SMU.
    #[default]
    Navi21,
    /// Navi12 (GC 10.1.2): resets by MODE1 through the PSP.
    Navi12,
}

impl Asic {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Navi21, Self::Navi12];

    /// Its name: to the device process, on the command line and in scenarios.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Navi21 => "navi21",
            Self::Navi12 => "navi12",
        }
    }

    /// By its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|asic| asic.name() == name)
    }

    /// What the names of its firmware begin with, after `amdgpu/`.
    pub const fn firmware_prefix(self) -> &'static str {
        match self {
            Self::Navi21 => "sienna_cichlid_",
            Self::Navi12 => "navi12_",
        }
    }

    /// What to tell the device process. Nothing where nothing is asked for: one that was given need not know the option.
    pub fn daemon_arguments(self) -> Vec<String> {
        if self == Self::default() {
            return Vec::new();
        }
        ["--asic", self.name()].map(str::to_owned).to_vec()
    }
}

impl std::fmt::Display for Asic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words;

    #[test]
    fn names_are_the_devices() {
        assert_eq!(Asic::ALL.map(Asic::name), words::Asic::ALL);
        for asic in Asic::ALL {
            assert_eq!(Asic::from_name(asic.name()), Some(asic));
        }
        assert_eq!(Asic::from_name("vega10"), None);
    }

    #[test]
    fn the_device_process_is_told_only_what_is_not_usual() {
        assert_eq!(Asic::Navi21.daemon_arguments(), Vec::<String>::new());
        assert_eq!(Asic::Navi12.daemon_arguments(), ["--asic", "navi12"]);
    }
}
