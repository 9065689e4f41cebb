//! Navi21 (Sienna Cichlid): GC 10.3.0.
//!
//! Register bases: Linux 6.1 `include/sienna_cichlid_ip_offset.h`; versions: what `amdgpu_discovery_set_ip_blocks` (6.1, 6.12, 7.3)
//! has a case for.

use gart::HubLayout;
use regs::{athub, gc, hdp, mmhub, smuio, thm};

use super::{AsicProfile, GcInfo, PciIdentity, Personality, VbiosInfo, ip, sdma};
use crate::blocks::smu::Interface;

const GC_BASES: &[u32] = &[0x1260, 0xa000, 0x1c000, 0x0240_2c00];
const MP_BASES: &[u32] = &[0x1_6000, 0xdc_0000, 0xe0_0000, 0xe4_0000, 0x0243_fc00];
const SDMA_VERSION: (u8, u8, u8) = (5, 2, 0);

const PCI: PciIdentity = PciIdentity {
    vendor: 0x1002,
    device: 0x73bf,
    revision: 0xc1,
    class: 0x03_8000,
    subsystem_vendor: 0x1002,
    subsystem: 0x0e3a,
};

/// The Navi21 profile.
///
/// DMU (display) is not listed: the driver then has no display block and touches no display register. VCN is listed and
/// harvested: 6.1 and 6.12 refuse a part without any (`amdgpu_discovery_set_mm_ip_blocks`).
pub static NAVI21: AsicProfile = AsicProfile {
    name: "navi21",
    bare_metal: Personality::bare_metal(PCI),
    virtual_function: Personality::virtual_function(PCI, 0x73ae),
    ips: &[
        ip("GC", 11, 0, (10, 3, 0), GC_BASES),
        ip("MMHUB", 34, 0, (2, 1, 0), &[0x1a000, 0x0240_8800]),
        ip("ATHUB", 35, 0, (2, 1, 0), &[0xc00, 0x0240_8c00]),
        ip("HDP", 41, 0, (5, 0, 3), &[0xf20, 0x0240_a400]),
        ip("OSSSYS", 40, 0, (5, 0, 3), &[0x10a0, 0x0240_a000]),
        ip(
            "NBIF",
            108,
            0,
            (3, 3, 0),
            &[0x0, 0x14, 0xd20, 0x1_0400, 0x0241_b000],
        ),
        ip("MP0", 255, 0, (11, 0, 7), MP_BASES),
        ip("MP1", 1, 0, (11, 0, 7), MP_BASES),
        ip(
            "SMUIO",
            4,
            0,
            (11, 0, 6),
            &[0x1_6800, 0x1_6a00, 0x44_0000, 0x0240_1000],
        ),
        ip("THM", 3, 0, (11, 0, 6), &[0x1_6600, 0x0240_0c00]),
        ip("CLKA", 6, 0, (11, 0, 5), &[0x1_6c00, 0x0240_1800]),
        ip("DF", 46, 0, (3, 7, 0), &[0x7000, 0x0240_b800]),
        ip("UMC", 150, 0, (8, 7, 0), &[0x1_4000, 0x0242_5800]),
        ip("VCN", 12, 0, (3, 0, 0), &[0x7800, 0x7e00, 0x0240_3000]),
    ],
    harvested: &[(12, 0)],
    sdma: &[
        sdma(0, sdma_engine::NAVI21[0], SDMA_VERSION, GC_BASES),
        sdma(1, sdma_engine::NAVI21[1], SDMA_VERSION, GC_BASES),
        sdma(2, sdma_engine::NAVI21[2], SDMA_VERSION, GC_BASES),
        sdma(3, sdma_engine::NAVI21[3], SDMA_VERSION, GC_BASES),
    ],
    gc: GcInfo::CUT_DOWN,
    frame_buffer_base: 0x80_0000_0000,
    gfxhub: HubLayout::GFXHUB_2_1,
    mmhub: HubLayout::MMHUB_2,
    gfx: cp_engine::GfxLayout::GC_10_3,
    plain: &[
        ("HDP", hdp::v5_0::ROWS),
        ("THM", thm::v11_0::ROWS),
        ("GC", gc::v10::TRAPS),
        ("SMUIO", smuio::v11_0::ROWS),
        ("SMUIO", smuio::v11_0_6::ROWS),
        ("ATHUB", athub::v2_1::ROWS),
        ("MMHUB", mmhub::v2_1::ROWS),
    ],
    vbios: VbiosInfo {
        part_number: "VHOST-AMDGPU-NAVI21",
        // Debian's sienna_cichlid_smc.bin (header 2.1) carries the soft power-play tables 0x94C and 0x98B.
        pptable_id: 0x94c,
        // atom_smc_dpm_info_v4_9
        smc_dpm_info: (9, 296),
    },
    smu: Interface::V11_0_7,
    // The version of that firmware; anything from 0x003A1A00 on makes MODE1 go through the SMU (`sienna_cichlid_ppt.c`).
    smu_version: 0x003a_5b00,
};
