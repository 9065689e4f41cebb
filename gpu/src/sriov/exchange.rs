//! What host and guest leave for each other in VRAM.
//!
//! Layout: Linux 6.1 `amdgv_sriovmsg.h` (`amd_sriov_msg_pf2vf_info` version 2, `amd_sriov_msg_vf2pf_info` version 3); readers and
//! writers: `amdgpu_virt.c`. The VBIOS table vram_usagebyfirmware reserves all of it, so that no buffer is placed there.

use protocol::state::Vf2Pf;

/// Bytes of either area.
pub const AREA: usize = 1 << 10;
/// `pf2vf` in the form that all three kernels know.
const PF2VF_VERSION: u32 = 2;
const CHECKSUM: usize = 16;
/// `feature_flags`: HOST_FLR_VRAMLOST.
const FLR_VRAM_LOST: u32 = 1 << 2;

/// Where things are, in bytes from the beginning of VRAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// The VBIOS: a virtual function has no ROM.
    pub vbios: u64,
    /// What the host tells the guest.
    pub pf2vf: u64,
    /// What the guest tells the host.
    pub vf2pf: u64,
    /// How much of VRAM is set aside for all of it.
    pub reserved_kib: u16,
    /// How often the guest is to write its area anew.
    pub interval_ms: u32,
}

impl Exchange {
    /// The places that drivers know (`AMD_SRIOV_MSG_*_OFFSET_KB`).
    pub const USUAL: Self = Self {
        vbios: 0,
        pf2vf: 64 << 10,
        vf2pf: 65 << 10,
        reserved_kib: 128,
        interval_ms: 2000,
    };
}

/// What the host can do, as far as the guest has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// A reset of the function loses its VRAM.
    pub flr_vram_lost: bool,
    /// How the guest has to reach registers while it has the function for itself.
    pub indirect: Indirect,
}

/// Registers that the guest is not to write itself while it has the function for itself (`reg_access_flags`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Indirect {
    /// The interrupt handler's: by PROG_REG of the security processor.
    pub interrupt_handler: bool,
    /// MMHUB's: by the RLC.
    pub mmhub: bool,
    /// Graphics': by the RLC.
    pub graphics: bool,
}

impl Indirect {
    const fn flags(self) -> u32 {
        self.interrupt_handler as u32 | (self.mmhub as u32) << 1 | (self.graphics as u32) << 2
    }
}

/// The host's area. With `valid` false its checksum is wrong.
pub fn pf2vf(features: Features, exchange: &Exchange, valid: bool) -> [u8; AREA] {
    let mut area = [0; AREA];
    let flags = if features.flr_vram_lost { FLR_VRAM_LOST } else { 0 };
    let fields: [(usize, u32); 6] = [
        (0, 1024), // size
        (4, PF2VF_VERSION),
        (20, flags),
        (88, exchange.interval_ms),
        (92, 0x7f21), // uuid, low: any number that is not 0
        (104, features.indirect.flags()),
    ];
    for (at, value) in fields {
        put(&mut area, at, value);
    }
    let sum = checksum(&area);
    put(&mut area, CHECKSUM, if valid { sum } else { !sum });
    area
}

fn put(area: &mut [u8; AREA], at: usize, value: u32) {
    if let Some(slot) = area.get_mut(at..at + 4) {
        slot.copy_from_slice(&value.to_le_bytes());
    }
}

fn dword(area: &[u8; AREA], at: usize) -> u32 {
    area.get(at..at + 4)
        .and_then(|slice| slice.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

/// `amd_sriov_msg_checksum` without a key: the sum of all bytes but those of the checksum itself.
fn checksum(area: &[u8; AREA]) -> u32 {
    let own = CHECKSUM..CHECKSUM + 4;
    area.iter()
        .enumerate()
        .filter(|(at, _)| !own.contains(at))
        .map(|(_, byte)| u32::from(*byte))
        .sum()
}

/// Of the guest's area. None: nobody has written there.
pub fn vf2pf(area: &[u8; AREA]) -> Option<Vf2Pf> {
    const VERSIONS: std::ops::RangeInclusive<u32> = 1..=16;
    const DRIVER_VERSION: std::ops::Range<usize> = 20..84;
    let version = dword(area, 4);
    if dword(area, 0) as usize != AREA || !VERSIONS.contains(&version) {
        return None;
    }
    let name = area.get(DRIVER_VERSION).unwrap_or_default();
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(Vf2Pf {
        version,
        driver_version: String::from_utf8_lossy(name).into_owned(),
        fb_usage_mib: dword(area, 92),
        fb_visible_usage_mib: dword(area, 140),
        fb_size_mib: dword(area, 148),
        valid: dword(area, CHECKSUM) == checksum(area),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Features = Features {
        flr_vram_lost: false,
        indirect: Indirect {
            interrupt_handler: false,
            mmhub: false,
            graphics: false,
        },
    };
    const LOST: Features = Features {
        flr_vram_lost: true,
        ..KEPT
    };

    /// `amdgpu_virt_read_pf2vf_data`: the driver adds up all bytes and takes those of the checksum off again.
    fn as_the_driver_checks(area: &[u8; AREA]) -> bool {
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let found = dword(area, 16);
        sum(area).wrapping_sub(sum(&found.to_le_bytes())) == found
    }

    #[test]
    fn the_hosts_area_passes_the_drivers_check_unless_it_is_to_fail() {
        for features in [LOST, KEPT] {
            assert!(as_the_driver_checks(&pf2vf(features, &Exchange::USUAL, true)));
            assert!(!as_the_driver_checks(&pf2vf(features, &Exchange::USUAL, false)));
        }
    }

    #[test]
    fn the_flag_and_the_interval_are_where_the_driver_reads_them() {
        let area = pf2vf(LOST, &Exchange::USUAL, true);
        assert_eq!((dword(&area, 0), dword(&area, 4)), (1024, 2));
        assert_eq!(dword(&area, 20), 4);
        assert_eq!(dword(&area, 88), 2000);
        assert_eq!(dword(&pf2vf(KEPT, &Exchange::USUAL, true), 20), 0);
        for (indirect, flags) in [
            (Indirect::default(), 0),
            (
                Indirect {
                    interrupt_handler: true,
                    ..Indirect::default()
                },
                1,
            ),
            (
                Indirect {
                    interrupt_handler: true,
                    mmhub: true,
                    graphics: true,
                },
                7,
            ),
        ] {
            let area = pf2vf(Features { indirect, ..LOST }, &Exchange::USUAL, true);
            assert_eq!(dword(&area, 104), flags);
        }
    }

    #[test]
    fn the_guests_area_is_read_as_the_driver_writes_it() {
        let mut area = [0; AREA];
        assert_eq!(vf2pf(&area), None, "nobody has written");
        put(&mut area, 0, 1024);
        put(&mut area, 4, 3);
        area[20..27].copy_from_slice(b"6.1.192");
        put(&mut area, 92, 40);
        put(&mut area, 140, 39);
        put(&mut area, 148, 1024);
        let sum = checksum(&area);
        put(&mut area, 16, sum);
        let expected = Vf2Pf {
            version: 3,
            driver_version: "6.1.192".to_owned(),
            fb_usage_mib: 40,
            fb_visible_usage_mib: 39,
            fb_size_mib: 1024,
            valid: true,
        };
        assert_eq!(vf2pf(&area), Some(expected.clone()));
        put(&mut area, 92, 41);
        let torn = vf2pf(&area);
        assert_eq!(torn.map(|area| area.valid), Some(false));
    }

    #[test]
    fn poison_is_no_area_of_a_guest() {
        assert_eq!(vf2pf(&[0xfb; AREA]), None);
        let mut unterminated = [b'x'; AREA];
        put(&mut unterminated, 0, 1024);
        put(&mut unterminated, 4, 3);
        assert_eq!(vf2pf(&unterminated).unwrap().driver_version.len(), 64);
    }
}
