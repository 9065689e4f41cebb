//! What scenarios and the judge have to know about a part.

use protocol::asic::Asic;

use crate::kernels::Version;

/// Words of scenario files that stand for what differs, with what they stand for: who resets the part by MODE1, the device's
/// counter of that being asked for, the driver's name for SDMA, and a place among the page tables of the first client that a
/// driver puts into 1 GiB of VRAM (6.1, and 6.12 and later). A word that begins another comes behind it.
const fn words(asic: Asic) -> [(&'static str, &'static str); 5] {
    match asic {
        Asic::Navi21 => [
            ("$MODE1_ASKED", "smu_messages.Mode1Reset"),
            ("$MODE1", "smu"),
            ("$SDMA", "sdma_v5_2"),
            ("$TABLES_6_1", "0x3ff70000"),
            ("$TABLES", "0x3ffb0000"),
        ],
        Asic::Navi12 => [
            ("$MODE1_ASKED", "psp_commands.MODE1_RESET"),
            ("$MODE1", "psp"),
            ("$SDMA", "sdma_v5_0"),
            ("$TABLES_6_1", "0x3ff68000"),
            ("$TABLES", "0x3ff70000"),
        ],
    }
}

/// The text of a scenario file with these words filled in.
pub fn fill_in(asic: Asic, text: &str) -> String {
    words(asic).iter().fold(text.to_owned(), |text, (word, meaning)| {
        text.replace(word, meaning)
    })
}

/// A line of the log that is not held against the driver between the beginning and the end of a probe.
///
/// The driver invalidates the GART of GC 10.1 by a job of SDMA, and does that in the probe before it has the interrupts of its
/// fences enabled (`amdgpu_gmc_flush_gpu_tlb`; 6.1 asks the KIQ): docs/findings/0019.
pub fn tolerated_in_probe(asic: Asic, version: &Version) -> Option<&'static str> {
    let concerned = asic == Asic::Navi12 && version.is_at_least("6.12");
    concerned.then_some("Fence fallback timer expired on ring sdma0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_scenario_are_the_parts() {
        let text = "event = { kind = \"mode1-$MODE1\" }\nstats = \"$MODE1_ASKED\"\ndmesg = \"$SDMA\"\noffset = [$TABLES_6_1, $TABLES]";
        assert_eq!(
            fill_in(Asic::Navi21, text),
            "event = { kind = \"mode1-smu\" }\nstats = \"smu_messages.Mode1Reset\"\ndmesg = \"sdma_v5_2\"\n\
             offset = [0x3ff70000, 0x3ffb0000]"
        );
        assert_eq!(
            fill_in(Asic::Navi12, text),
            "event = { kind = \"mode1-psp\" }\nstats = \"psp_commands.MODE1_RESET\"\ndmesg = \"sdma_v5_0\"\n\
             offset = [0x3ff68000, 0x3ff70000]"
        );
    }

    #[test]
    fn a_lost_interrupt_in_a_probe_is_tolerated_where_the_driver_loses_it() {
        let tolerated = |asic: Asic, version| tolerated_in_probe(asic, &Version::leading(version)).is_some();
        assert!(tolerated(Asic::Navi12, "6.12.118") && tolerated(Asic::Navi12, "7.3.4"));
        assert!(!tolerated(Asic::Navi12, "6.1.192") && !tolerated(Asic::Navi21, "6.12.118"));
    }
}
