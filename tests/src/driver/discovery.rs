//! `amdgpu_discovery_init`: the IP discovery binary, read through the index/data window because VRAM is not mapped yet, and checked.

use super::Kernel;
use super::regs::{mp, nbio};
use crate::guest::{Failure, FakeGuest, expect, hi, lo};

const OFFSET_FROM_TOP: u64 = 64 << 10;
const HW_ID_GC: u16 = 11;

/// One IP of the die.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ip {
    /// Hardware id (`soc15_hw_ip.h`).
    pub hw_id: u16,
    /// Instance.
    pub instance: u8,
    /// Major, minor, revision.
    pub version: (u8, u8, u8),
    /// Register bases in dwords.
    pub bases: Vec<u32>,
}

/// What the driver takes from the binary.
#[derive(Debug, Clone)]
pub struct Discovery {
    /// Every IP.
    pub ips: Vec<Ip>,
    /// Hardware id and instance of what is fused off.
    pub harvested: Vec<(u16, u8)>,
    /// The dwords of `gc_info_v1_0` behind its header.
    pub gc: Vec<u32>,
}

impl Discovery {
    /// How many SDMA engines there are: hardware ids 42, 43, 68 and 69.
    pub fn sdma_instances(&self) -> usize {
        self.ips
            .iter()
            .filter(|ip| [42, 43, 68, 69].contains(&ip.hw_id))
            .count()
    }

    /// The IP with this hardware id.
    pub fn ip(&self, hw_id: u16) -> Option<&Ip> {
        self.ips.iter().find(|ip| ip.hw_id == hw_id)
    }
}

struct Binary(Vec<u8>);

impl Binary {
    fn bytes(&self, at: usize, len: usize) -> Result<&[u8], Failure> {
        let end = at
            .checked_add(len)
            .ok_or(Failure::Invalid("discovery offset overflows"))?;
        self.0
            .get(at..end)
            .ok_or(Failure::Invalid("discovery binary is cut off"))
    }

    fn u8(&self, at: usize) -> Result<u8, Failure> {
        Ok(self.bytes(at, 1)?.first().copied().unwrap_or(0))
    }

    fn u16(&self, at: usize) -> Result<u16, Failure> {
        Ok(u16::from_le_bytes([self.u8(at)?, self.u8(at + 1)?]))
    }

    fn u32(&self, at: usize) -> Result<u32, Failure> {
        Ok(u32::from(self.u16(at + 2)?) << 16 | u32::from(self.u16(at)?))
    }

    fn check(&self, what: &'static str, at: usize, len: usize, sum: u16) -> Result<(), Failure> {
        let found = self
            .bytes(at, len)?
            .iter()
            .fold(0_u16, |sum, byte| sum.wrapping_add(u16::from(*byte)));
        expect(what, found, sum)
    }

    /// Offset, checksum and size of a table.
    fn table(&self, index: usize) -> Result<(usize, u16, usize), Failure> {
        let entry = 12 + 8 * index;
        Ok((
            self.u16(entry)?.into(),
            self.u16(entry + 2)?,
            self.u16(entry + 4)?.into(),
        ))
    }
}

/// `amdgpu_device_mm_access` (6.1): a dword of VRAM through MM_INDEX/MM_DATA.
pub fn read_vram(guest: &mut FakeGuest, at: u64) -> u32 {
    guest.write(nbio::MM_INDEX, lo(at) | 1 << 31);
    guest.write(nbio::MM_INDEX_HI, lo(at >> 31));
    guest.read(nbio::MM_DATA)
}

/// Reads and checks the binary.
///
/// # Errors
/// [`Failure`] for every check that the driver makes.
pub fn read(guest: &mut FakeGuest, kernel: Kernel) -> Result<Discovery, Failure> {
    const BINARY_SIGNATURE: u32 = 0x2821_1407;
    if kernel != Kernel::V6_1 {
        // The boot firmware is waited for, up to 2 s.
        guest.poll("boot firmware", mp::MP0_C2PMSG_33, 1 << 31, 1 << 31)?;
    }
    let size = guest.read(nbio::RCC_CONFIG_MEMSIZE);
    if size == u32::MAX {
        return Err(Failure::Invalid("the device is gone or in reset"));
    }
    let at = (u64::from(size) << 20) - OFFSET_FROM_TOP;
    if kernel == Kernel::V7_3 {
        expect(
            "discovery signature at the default place",
            read_vram(guest, at),
            BINARY_SIGNATURE,
        )?;
    }
    let length = if kernel == Kernel::V6_1 { 4 << 10 } else { 10 << 10 };
    let mut bytes = Vec::new();
    for offset in (0..length).step_by(4) {
        bytes.extend(read_vram(guest, at + offset).to_le_bytes());
    }
    parse(&Binary(bytes))
}

fn parse(binary: &Binary) -> Result<Discovery, Failure> {
    expect("discovery signature", binary.u32(0)?, 0x2821_1407_u32)?;
    let size = usize::from(binary.u16(10)?);
    binary.check("discovery checksum", 10, size.saturating_sub(10), binary.u16(8)?)?;

    let (ip_at, sum, _) = binary.table(0)?;
    expect("IP table signature", binary.u32(ip_at)?, 0x5344_5049_u32)?;
    let ip_size = usize::from(binary.u16(ip_at + 6)?);
    binary.check("IP table checksum", ip_at, ip_size, sum)?;
    let ips = ips(binary, ip_at)?;

    let (gc_at, sum, _) = binary.table(1)?;
    expect("GC table id", binary.u32(gc_at)?, 0x4347_u32)?;
    let gc_size = usize::try_from(binary.u32(gc_at + 8)?).unwrap_or(usize::MAX);
    binary.check("GC table checksum", gc_at, gc_size, sum)?;
    let gc = (gc_at + 12..gc_at + gc_size)
        .step_by(4)
        .map(|at| binary.u32(at))
        .collect::<Result<Vec<_>, _>>()?;

    let (harvest_at, sum, _) = binary.table(2)?;
    expect(
        "harvest table signature",
        binary.u32(harvest_at)?,
        0x5652_4148_u32,
    )?;
    binary.check("harvest table checksum", harvest_at, 136, sum)?;
    let mut harvested = Vec::new();
    for entry in (harvest_at + 8..harvest_at + 136).step_by(4) {
        match binary.u16(entry)? {
            0 => break,
            hw_id => harvested.push((hw_id, binary.u8(entry + 2)?)),
        }
    }
    Ok(Discovery { ips, harvested, gc })
}

fn ips(binary: &Binary, ip_at: usize) -> Result<Vec<Ip>, Failure> {
    let mut ips = Vec::new();
    for die in 0..usize::from(binary.u16(ip_at + 12)?) {
        let die_at = usize::from(binary.u16(ip_at + 14 + 4 * die + 2)?);
        let mut at = die_at + 4;
        for _ in 0..binary.u16(die_at + 2)? {
            let bases = usize::from(binary.u8(at + 3)?);
            ips.push(Ip {
                hw_id: binary.u16(at)?,
                instance: binary.u8(at + 2)?,
                version: (binary.u8(at + 4)?, binary.u8(at + 5)?, binary.u8(at + 6)?),
                bases: (0..bases)
                    .map(|base| binary.u32(at + 8 + 4 * base))
                    .collect::<Result<_, _>>()?,
            });
            at += 8 + 4 * bases;
        }
    }
    Ok(ips)
}

/// Every IP whose registers the driver's files for this part touch, in the version that selects those files. One that is missing is a
/// null pointer in the guest (`RREG32_SOC15` on an IP without bases), another version is "not supported".
pub const REQUIRED: [(u16, (u8, u8, u8)); 13] = [
    (HW_ID_GC, (10, 3, 0)),
    (42, (5, 2, 0)),
    (34, (2, 1, 0)),
    (35, (2, 1, 0)),
    (41, (5, 0, 3)),
    (40, (5, 0, 3)),
    (108, (3, 3, 0)),
    (255, (11, 0, 7)),
    (1, (11, 0, 7)),
    (4, (11, 0, 6)),
    (3, (11, 0, 6)),
    (46, (3, 7, 0)),
    (12, (3, 0, 0)),
];

/// `amdgpu_discovery_set_ip_blocks` and `amdgpu_discovery_get_gfx_info`: whether the driver has files for what is there.
///
/// # Errors
/// [`Failure`] if a block is missing or in another version, or if a shader field is zero.
pub fn select_blocks(discovery: &Discovery) -> Result<(), Failure> {
    let packed = |(major, minor, revision): (u8, u8, u8)| {
        u32::from(major) << 16 | u32::from(minor) << 8 | u32::from(revision)
    };
    for (hw_id, version) in REQUIRED {
        let ip = discovery.ip(hw_id).ok_or(Failure::Invalid(
            "an IP block that the driver needs is not listed",
        ))?;
        expect("version of an IP block", packed(ip.version), packed(version))?;
        if ip.bases.is_empty() {
            return Err(Failure::Invalid("an IP block without register bases"));
        }
    }
    if discovery.gc.contains(&0) {
        return Err(Failure::Invalid(
            "a field of the GC table is zero: the driver divides by it",
        ));
    }
    if !discovery.harvested.contains(&(12, 0)) {
        return Err(Failure::Invalid(
            "VCN is not harvested: the driver would bring it up",
        ));
    }
    // The driver goes on with register offsets that it has computed from the bases; this one is hard-wired in 3.5's table.
    let bases = discovery
        .ip(HW_ID_GC)
        .map(|ip| ip.bases.as_slice())
        .unwrap_or_default();
    expect("GC segment 0", bases.first().copied().unwrap_or(0), 0x1260_u32)?;
    expect("high half of a size", hi(OFFSET_FROM_TOP), 0_u32)
}
