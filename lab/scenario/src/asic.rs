//! What scenarios and the judge have to know about a part.

use protocol::asic::Asic;

use crate::kernels::Version;

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
    fn a_lost_interrupt_in_a_probe_is_tolerated_where_the_driver_loses_it() {
        let tolerated = |asic: Asic, version| tolerated_in_probe(asic, &Version::leading(version)).is_some();
        assert!(tolerated(Asic::Navi12, "6.12.118") && tolerated(Asic::Navi12, "7.3.4"));
        assert!(!tolerated(Asic::Navi12, "6.1.192") && !tolerated(Asic::Navi21, "6.12.118"));
    }
}
