//! What the GPU is to the guest's driver.

/// What the GPU is to the guest's driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Personality {
    /// The part itself.
    #[default]
    BareMetal,
    /// A virtual function of it: the device process plays the host that lends it.
    Vf,
}

impl Personality {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::BareMetal, Self::Vf];

    /// Its name: to the device process, on the command line and in scenarios.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BareMetal => "bare-metal",
            Self::Vf => "vf",
        }
    }

    /// By its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|personality| personality.name() == name)
    }

    /// What to tell the device process. Nothing where nothing is asked for: one that was given need not know the option.
    pub fn daemon_arguments(self) -> Vec<String> {
        match self {
            Self::BareMetal => Vec::new(),
            Self::Vf => ["--personality", self.name()].map(str::to_owned).to_vec(),
        }
    }

    /// Whom a scenario is for that is for this one alone, and how to run it.
    pub const fn audience(self) -> &'static str {
        match self {
            Self::BareMetal => "for the part itself: --personality bare-metal",
            Self::Vf => "for a virtual function: --personality vf",
        }
    }

    /// Why a scenario that is not for it does not apply.
    pub const fn inapplicable(self) -> &'static str {
        match self {
            Self::BareMetal => "it is about a virtual function and its host (--personality vf)",
            Self::Vf => {
                "it is about the part itself: a virtual function has no such resets, or it was not written for one"
            }
        }
    }
}

impl std::fmt::Display for Personality {
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
        assert_eq!(Personality::ALL.map(Personality::name), words::Personality::ALL);
        for personality in Personality::ALL {
            assert_eq!(Personality::from_name(personality.name()), Some(personality));
        }
        assert_eq!(Personality::from_name("pf"), None);
    }
}
