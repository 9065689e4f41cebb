//! What every profile has to fulfil.

use std::collections::BTreeSet;

use gart::testing::TestMemory;
use mmio::RegisterFile;

use super::*;
use crate::card::{Gpu, GpuConfig};

/// IPs whose register bases the driver takes for granted: it follows a null pointer if one is not listed.
const NEEDED: [&str; 13] = [
    "GC", "MMHUB", "ATHUB", "HDP", "OSSSYS", "NBIF", "MP0", "MP1", "SMUIO", "THM", "CLKA", "DF", "UMC",
];

fn gpu(config: GpuConfig) -> Gpu<TestMemory> {
    Gpu::new(config, TestMemory::new(256 << 20)).expect("the profile contradicts itself")
}

#[test]
fn names_and_pci_identities_are_unique() {
    let names: BTreeSet<_> = ASICS.iter().map(|asic| asic.name).collect();
    let devices: BTreeSet<_> = ASICS
        .iter()
        .flat_map(|asic| asic.personalities())
        .map(|personality| personality.pci.device)
        .collect();
    assert_eq!((names.len(), devices.len()), (ASICS.len(), 2 * ASICS.len()));
}

#[test]
fn every_ip_is_listed_that_drivers_take_for_granted() {
    for asic in ASICS {
        for name in NEEDED {
            let ip = asic.ips.iter().find(|ip| ip.name == name);
            assert!(
                ip.is_some_and(|ip| ip.bases.len() >= 2),
                "{} of {}",
                name,
                asic.name
            );
        }
        let ids: BTreeSet<_> = asic
            .ips
            .iter()
            .chain(asic.sdma.iter().map(|sdma| &sdma.ip))
            .map(|ip| (ip.hw_id, ip.instance))
            .collect();
        assert_eq!(ids.len(), asic.ips.len() + asic.sdma.len(), "{}", asic.name);
    }
}

/// 6.1 and 6.12 refuse a part without a VCN (`amdgpu_discovery_set_mm_ip_blocks`); one that is listed must not get a driver block: it
/// is fused off, or of a version that has none.
#[test]
fn video_is_listed_and_gets_no_block() {
    for asic in ASICS {
        let vcn = asic.ips.iter().find(|ip| ip.name == "VCN").expect("no VCN");
        let harvested = asic.harvested.contains(&(vcn.hw_id, vcn.instance));
        assert!(harvested || vcn.version == (2, 0, 3), "{}", asic.name);
        // Parts before GC 10.2 are not asked for the harvest table.
        let graphics = asic.ips.iter().find(|ip| ip.name == "GC").expect("no GC");
        assert!(
            !harvested || graphics.version >= (10, 2, 0),
            "{}: nobody looks at the harvest table",
            asic.name
        );
    }
}

#[test]
fn every_part_can_be_built_whole_with_no_two_blocks_at_one_register() {
    for asic in ASICS {
        for instances in 1..=asic.sdma.len() {
            gpu(GpuConfig::bare_metal(asic, instances));
            gpu(GpuConfig::virtual_function(asic, instances));
        }
        for specs in asic.gfx.tables() {
            assert_eq!(
                RegisterFile::unplaced(asic.bases("GC"), specs),
                Vec::<&str>::new()
            );
        }
        for specs in [asic.gfx.global, asic.gfx.per_vmid] {
            assert_eq!(RegisterFile::table_defects(specs), Vec::<String>::new());
        }
    }
}

/// Where `soc15.py` and the headers find the registers that differ.
#[test]
fn registers_that_differ_lie_where_each_parts_headers_say() {
    let expected = [
        (&NAVI21, 0x3b280, "RLC_SAFE_MODE"),
        (&NAVI12, 0x3b014, "RLC_SAFE_MODE"),
        (&NAVI21, 0x3b284, "RLC_CP_SCHEDULERS"),
        (&NAVI12, 0x3b2a8, "RLC_CP_SCHEDULERS"),
        (&NAVI21, 0x8884, "VGT_ESGS_RING_SIZE"),
        (&NAVI12, 0x88c8, "VGT_ESGS_RING_SIZE"),
        (&NAVI21, 0x86d4, "CP_MEC_CNTL"),
        (&NAVI12, 0x8234, "CP_MEC_CNTL"),
        (&NAVI21, 0xa170, "GCVM_CONTEXT0_CNTL"),
        (&NAVI12, 0xa200, "GCVM_CONTEXT0_CNTL"),
        (&NAVI21, 0x4e40, "SDMA0_RLC0_RB_CNTL"),
        (&NAVI12, 0x4e80, "SDMA0_RLC0_RB_CNTL"),
    ];
    for (asic, byte, name) in expected {
        let gpu = gpu(GpuConfig::bare_metal(asic, 1));
        let at = mmio::RegOffset::from_byte(byte);
        let found = gpu
            .registers()
            .iter()
            .filter(|block| !block.smn)
            .flat_map(|block| block.files.clone())
            .find_map(|file| file.name(at));
        assert_eq!(found.as_deref(), Some(name), "{} of {}", at, asic.name);
    }
}
