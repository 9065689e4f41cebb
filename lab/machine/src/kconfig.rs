//! What a kernel was configured with.

use std::collections::BTreeSet;

/// The prefix of an option's name.
const PREFIX: &str = "CONFIG_";

/// The options that a kernel's `.config` sets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Configuration {
    set: BTreeSet<String>,
}

impl Configuration {
    /// Reads the text of a `.config` (Documentation/kbuild/kconfig.rst): `CONFIG_X=y` and `CONFIG_X=m` are set, everything else is not.
    pub fn parse(text: &str) -> Self {
        let set = text.lines().filter_map(|line| {
            let (option, value) = line.trim().split_once('=')?;
            (option.starts_with(PREFIX) && value != "n").then(|| option.to_owned())
        });
        Self { set: set.collect() }
    }

    /// The options that are built in, modules, or have a value.
    pub const fn options(&self) -> &BTreeSet<String> {
        &self.set
    }

    /// Whether it is one of these.
    pub fn sets(&self, option: &str) -> bool {
        self.set.contains(option)
    }

    /// The options of these that it does not set.
    pub fn lacks<'a>(&self, options: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        let options = options.into_iter();
        options.filter(|option| !self.sets(option)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_set_as_built_in_as_a_module_or_with_a_value() {
        let text = "#\n# Automatically generated\n#\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=30\nCONFIG_E=\"\"\nCONFIG_F=n\n";
        let configuration = Configuration::parse(text);
        assert_eq!(
            configuration.lacks([
                "CONFIG_A",
                "CONFIG_B",
                "CONFIG_C",
                "CONFIG_D",
                "CONFIG_F",
                "CONFIG_AB"
            ]),
            ["CONFIG_C", "CONFIG_F", "CONFIG_AB"]
        );
    }
}
