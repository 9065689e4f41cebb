//! The user space that a guest runs programs of, beside our init.

/// Which root a guest has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum GuestRoot {
    /// Debian 13: Mesa's RADV, vulkan-tools and rocminfo
    Debian,
}

impl GuestRoot {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Debian];

    /// Its name: on the command line, in scenarios, and to init.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debian => "debian",
        }
    }

    /// By its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|root| root.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_have_names() {
        for root in GuestRoot::ALL {
            assert_eq!(GuestRoot::from_name(root.name()), Some(root));
        }
        assert_eq!(GuestRoot::from_name("suse"), None);
    }
}
