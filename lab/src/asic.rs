//! Which part the GPU is.

use clap::ValueEnum;

use crate::scenario::kernels::Version;

/// Which part the GPU is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
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

    /// Words of scenario files that stand for what differs, with what they stand for: who resets the part by MODE1, the device's
    /// counter of that being asked for, the driver's name for SDMA, and a place among the page tables of the first client that a
    /// driver puts into 1 GiB of VRAM (6.1, and 6.12 and later). A word that begins another comes behind it.
    const fn words(self) -> [(&'static str, &'static str); 5] {
        match self {
            Self::Navi21 => [
                ("$MODE1_ASKED", "smu_messages.48"),
                ("$MODE1", "smu"),
                ("$SDMA", "sdma_v5_2"),
                ("$TABLES_6_1", "0x3ff70000"),
                ("$TABLES", "0x3ffb0000"),
            ],
            Self::Navi12 => [
                ("$MODE1_ASKED", "psp_commands.MODE1_RESET"),
                ("$MODE1", "psp"),
                ("$SDMA", "sdma_v5_0"),
                ("$TABLES_6_1", "0x3ff68000"),
                ("$TABLES", "0x3ff70000"),
            ],
        }
    }

    /// The text of a scenario file with these words filled in.
    pub fn fill_in(self, text: &str) -> String {
        self.words()
            .iter()
            .fold(text.to_owned(), |text, (word, meaning)| {
                text.replace(word, meaning)
            })
    }

    /// A line of the log that is not held against the driver between the beginning and the end of a probe.
    ///
    /// The driver invalidates the GART of GC 10.1 by a job of SDMA, and does that in the probe before it has the interrupts of its
    /// fences enabled (`amdgpu_gmc_flush_gpu_tlb`; 6.1 asks the KIQ): docs/findings/0019.
    pub fn tolerated_in_probe(self, version: &Version) -> Option<&'static str> {
        let concerned = self == Self::Navi12 && version.is_at_least("6.12");
        concerned.then_some("Fence fallback timer expired on ring sdma0")
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

    #[test]
    fn names_are_those_of_the_command_line() {
        for asic in Asic::ALL {
            assert_eq!(Asic::from_str(asic.name(), false), Ok(asic));
            assert_eq!(Asic::from_name(asic.name()), Some(asic));
        }
        assert_eq!(Asic::from_name("vega10"), None);
    }

    #[test]
    fn words_of_a_scenario_are_the_parts() {
        let text = "event = { kind = \"mode1-$MODE1\" }\nstats = \"$MODE1_ASKED\"\ndmesg = \"$SDMA\"\noffset = [$TABLES_6_1, $TABLES]";
        assert_eq!(
            Asic::Navi21.fill_in(text),
            "event = { kind = \"mode1-smu\" }\nstats = \"smu_messages.48\"\ndmesg = \"sdma_v5_2\"\n\
             offset = [0x3ff70000, 0x3ffb0000]"
        );
        assert_eq!(
            Asic::Navi12.fill_in(text),
            "event = { kind = \"mode1-psp\" }\nstats = \"psp_commands.MODE1_RESET\"\ndmesg = \"sdma_v5_0\"\n\
             offset = [0x3ff68000, 0x3ff70000]"
        );
    }

    #[test]
    fn a_lost_interrupt_in_a_probe_is_tolerated_where_the_driver_loses_it() {
        let tolerated = |asic: Asic, version| asic.tolerated_in_probe(&Version::leading(version)).is_some();
        assert!(tolerated(Asic::Navi12, "6.12.118") && tolerated(Asic::Navi12, "7.3.4"));
        assert!(!tolerated(Asic::Navi12, "6.1.192") && !tolerated(Asic::Navi21, "6.12.118"));
    }

    #[test]
    fn the_device_process_is_told_only_what_is_not_usual() {
        assert_eq!(Asic::Navi21.daemon_arguments(), Vec::<String>::new());
        assert_eq!(Asic::Navi12.daemon_arguments(), ["--asic", "navi12"]);
    }
}
