//! Navi12: GC 10.1.2.
//!
//! Register bases: Linux 6.1 `include/navi12_ip_offset.h`; versions: what `amdgpu_discovery_set_ip_blocks` (6.1, 6.12, 7.3) has a case
//! for. MP1 has the bases of MP0, as on Navi10 and Navi21, since the driver uses one header for the registers of both
//! (`mp_11_0_offset.h`); `navi12_ip_offset.h` says otherwise, and is not used with a discovery binary.

use gart::HubLayout;
use regs::{athub, gc, hdp, mmhub, smuio, thm};

use super::{AsicProfile, GcInfo, PciIdentity, Personality, VbiosInfo, ip, sdma};
use crate::blocks::smu::Interface;

const GC_BASES: &[u32] = &[0x1260, 0xa000, 0x0240_2c00];
const MP_BASES: &[u32] = &[0x1_6000, 0xdc_0000, 0xe0_0000, 0xe4_0000, 0x0243_fc00];
const SDMA_VERSION: (u8, u8, u8) = (5, 0, 5);

/// Not revision C7: that one is looked at for fused-off IPs in another way (`amdgpu_discovery_harvest_ip`).
const PCI: PciIdentity = PciIdentity {
    vendor: 0x1002,
    device: 0x7360,
    revision: 0x41,
    class: 0x03_8000,
    subsystem_vendor: 0x1002,
    subsystem: 0x0a34,
};

/// The Navi12 profile.
///
/// DMU (display) is not listed: the driver then has no display block and touches no display register. VCN is listed with the version
/// that the driver knows and has no block for (`amdgpu_discovery_set_mm_ip_blocks`): for this part it does not ask what is fused off.
pub static NAVI12: AsicProfile = AsicProfile {
    name: "navi12",
    bare_metal: Personality::bare_metal(PCI),
    virtual_function: Personality::virtual_function(PCI, 0x7362),
    ips: &[
        ip("GC", 11, 0, (10, 1, 2), GC_BASES),
        ip("MMHUB", 34, 0, (2, 0, 2), &[0x1a000, 0x0240_8800]),
        ip("ATHUB", 35, 0, (2, 0, 2), &[0xc00, 0x0240_8c00]),
        ip("HDP", 41, 0, (5, 0, 1), &[0xf20, 0x0240_a400]),
        ip("OSSSYS", 40, 0, (5, 0, 1), &[0x10a0, 0x0240_a000]),
        ip(
            "NBIF",
            108,
            0,
            (2, 3, 2),
            &[0x0, 0x14, 0xd20, 0x1_0400, 0x0241_b000],
        ),
        ip("MP0", 255, 0, (11, 0, 9), MP_BASES),
        ip("MP1", 1, 0, (11, 0, 9), MP_BASES),
        ip(
            "SMUIO",
            4,
            0,
            (11, 0, 4),
            &[0x1_6800, 0x1_6a00, 0x44_0000, 0x0240_1000],
        ),
        ip("THM", 3, 0, (11, 0, 2), &[0x1_6600, 0x0240_0c00]),
        ip("CLKA", 6, 0, (11, 0, 2), &[0x1_6c00, 0x0240_1800]),
        // Not 3.6: that one has functions of its own.
        ip("DF", 46, 0, (3, 5, 0), &[0x7000, 0x0240_b800]),
        // Not 8.7: the driver would read that one's error counters.
        ip("UMC", 150, 0, (8, 1, 0), &[0x1_4000, 0x0242_5800]),
        ip("VCN", 12, 0, (2, 0, 3), &[0x7800, 0x7e00, 0x0240_3000]),
    ],
    harvested: &[],
    sdma: &[
        sdma(0, sdma_engine::NAVI12[0], SDMA_VERSION, GC_BASES),
        sdma(1, sdma_engine::NAVI12[1], SDMA_VERSION, GC_BASES),
    ],
    gc: GcInfo::CUT_DOWN,
    frame_buffer_base: 0x80_0000_0000,
    gfxhub: HubLayout::GFXHUB_2_0,
    mmhub: HubLayout::MMHUB_2,
    gfx: cp_engine::GfxLayout::GC_10_1,
    plain: &[
        ("HDP", hdp::v5_0::ROWS),
        ("THM", thm::v11_0::ROWS),
        ("GC", gc::v10::TRAPS),
        ("SMUIO", smuio::v11_0::ROWS),
        ("SMUIO", smuio::v11_0_0::ROWS),
        ("ATHUB", athub::v2_0::ROWS),
        ("MMHUB", mmhub::v2_0::ROWS),
    ],
    vbios: VbiosInfo {
        part_number: "VHOST-AMDGPU-NAVI12",
        // Debian's navi12_smc.bin (header 2.0) carries one power-play table, which has no number: any but 0 leads to it.
        pptable_id: 1,
        // atom_smc_dpm_info_v4_7
        smc_dpm_info: (7, 200),
    },
    smu: Interface::V11_0_9,
    // The version of that firmware.
    smu_version: 0x0034_2000,
};
