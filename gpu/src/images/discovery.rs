//! The IP discovery binary: which blocks the part has, where their registers are, what is fused off.
//!
//! Layout: Linux 6.1 `include/discovery.h` (`binary_header`, `ip_discovery_header`, `die_header`, `ip`, `gc_info_v1_0`,
//! `harvest_table`); checks: `amdgpu_discovery_init` (6.1, 6.12, 7.3).

use super::{Image, as_u8, as_u16};
use crate::asic::{AsicProfile, GcInfo, IpBlock};

/// Where the binary lies, counted from the end of VRAM (`DISCOVERY_TMR_OFFSET`).
pub const OFFSET_FROM_TOP: u64 = 64 << 10;
/// The most that Linux 6.1 reads of it; later kernels read 10 KiB.
pub const MAX_SIZE: usize = 4 << 10;

const BINARY_SIGNATURE: u32 = 0x2821_1407;
const IP_SIGNATURE: u32 = 0x5344_5049;
const GC_TABLE_ID: u32 = 0x4347;
const HARVEST_SIGNATURE: u32 = 0x5652_4148;

const BINARY_HEADER: usize = 60;
const TABLE_LIST: usize = 12;
const TABLE_IP: usize = 0;
const TABLE_GC: usize = 1;
const TABLE_HARVEST: usize = 2;
const IP_HEADER: usize = 80;
const GC_SIZE: u16 = 88;
const HARVEST_SIZE: usize = 136;

/// Builds the binary for a part with its first `sdma_instances` SDMA engines.
pub fn build(asic: &AsicProfile, sdma_instances: usize) -> Vec<u8> {
    let sdma = asic.sdma.iter().take(sdma_instances).map(|instance| &instance.ip);
    let ips: Vec<&IpBlock> = asic.ips.iter().chain(sdma).collect();

    let mut image = Image::new(BINARY_HEADER);
    image.put_u32(0, BINARY_SIGNATURE);
    image.put_u16(4, 1);

    add_table(&mut image, TABLE_IP, |image, at| put_ips(image, at, &ips));
    add_table(&mut image, TABLE_GC, |image, at| put_gc_info(image, at, &asic.gc));
    add_table(&mut image, TABLE_HARVEST, |image, at| {
        put_harvest(image, at, asic.harvested);
    });

    let size = image.len();
    image.put_u16(10, as_u16(size));
    image.put_u16(8, image.byte_sum(10, size));
    image.0
}

/// Appends a table and enters its offset, checksum and size in the header.
fn add_table(image: &mut Image, index: usize, put: impl FnOnce(&mut Image, usize)) {
    let at = image.len();
    put(image, at);
    let size = image.len() - at;
    let sum = image.byte_sum(at, at + size);
    let entry = TABLE_LIST + index * 8;
    image.put_u16(entry, as_u16(at));
    image.put_u16(entry + 2, sum);
    image.put_u16(entry + 4, as_u16(size));
    image.pad_to(4);
}

fn put_ips(image: &mut Image, at: usize, ips: &[&IpBlock]) {
    let die = at + IP_HEADER;
    image.put_u32(at, IP_SIGNATURE);
    image.put_u16(at + 4, 1);
    image.put_u16(at + 12, 1);
    image.put_u16(at + 14, 0);
    image.put_u16(at + 16, as_u16(die));
    image.put_u16(die, 0);
    image.put_u16(die + 2, as_u16(ips.len()));
    let mut next = die + 4;
    for ip in ips {
        let (major, minor, revision) = ip.version;
        image.put_u16(next, ip.hw_id);
        image.put_u8(next + 2, ip.instance);
        image.put_u8(next + 3, as_u8(ip.bases.len()));
        image.put(next + 4, &[major, minor, revision, 0]);
        next += 8;
        for base in ip.bases {
            image.put_u32(next, *base);
            next += 4;
        }
    }
    let size = as_u16(image.len() - at);
    image.put_u16(at + 6, size);
}

fn put_gc_info(image: &mut Image, at: usize, gc: &GcInfo) {
    let fields = [
        gc.num_se,
        gc.wgp0_per_sa,
        gc.wgp1_per_sa,
        gc.rb_per_se,
        gc.gl2c,
        0x400, // gprs
        0x20,  // max_gs_thds
        0x20,  // gs_table_depth
        0x4e0, // gsprim_buff_depth
        0x400, // parameter_cache_depth
        1,     // double_offchip_lds_buffer
        32,    // wave_size
        20,    // max_waves_per_simd
        32,    // max_scratch_slots_per_cu
        64,    // lds_size
        1,     // sc_per_se
        gc.sa_per_se,
        4, // packer_per_sc
        4, // gl2a
    ];
    image.put_u32(at, GC_TABLE_ID);
    image.put_u16(at + 4, 1);
    image.put_u32(at + 8, u32::from(GC_SIZE));
    for (index, field) in fields.into_iter().enumerate() {
        image.put_u32(at + 12 + index * 4, field);
    }
}

fn put_harvest(image: &mut Image, at: usize, harvested: &[(u16, u8)]) {
    image.put_u32(at, HARVEST_SIGNATURE);
    image.put_u32(at + HARVEST_SIZE - 4, 0);
    for (index, (hw_id, instance)) in harvested.iter().take(32).enumerate() {
        image.put_u16(at + 8 + index * 4, *hw_id);
        image.put_u8(at + 8 + index * 4 + 2, *instance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asic::NAVI21;

    fn u16_at(image: &[u8], at: usize) -> u16 {
        u16::from_le_bytes([image[at], image[at + 1]])
    }

    fn sum(bytes: &[u8]) -> u16 {
        bytes
            .iter()
            .fold(0, |sum: u16, byte| sum.wrapping_add(u16::from(*byte)))
    }

    #[test]
    fn the_binary_fits_what_the_oldest_kernel_reads() {
        assert!(build(&NAVI21, 4).len() <= MAX_SIZE);
    }

    /// The checks of `amdgpu_discovery_init`, in its order.
    #[test]
    fn every_checksum_is_the_byte_sum_that_the_driver_computes() {
        let image = build(&NAVI21, 2);
        let size = usize::from(u16_at(&image, 10));
        assert_eq!(size, image.len());
        assert_eq!(u16_at(&image, 8), sum(&image[10..size]));
        for table in [TABLE_IP, TABLE_GC, TABLE_HARVEST] {
            let entry = TABLE_LIST + 8 * table;
            let (at, length) = (
                usize::from(u16_at(&image, entry)),
                usize::from(u16_at(&image, entry + 4)),
            );
            assert_eq!(
                u16_at(&image, entry + 2),
                sum(&image[at..at + length]),
                "table {table}"
            );
        }
    }

    #[test]
    fn the_die_lists_every_ip_with_its_bases() {
        let image = build(&NAVI21, 2);
        let ip = usize::from(u16_at(&image, TABLE_LIST));
        let die = usize::from(u16_at(&image, ip + 16));
        let mut at = die + 4;
        let mut ids = Vec::new();
        for _ in 0..u16_at(&image, die + 2) {
            ids.push(u16_at(&image, at));
            at += 8 + 4 * usize::from(image[at + 3]);
        }
        assert_eq!(ids.len(), NAVI21.ips.len() + 2);
        assert!(ids.ends_with(&[42, 43]));
        assert_eq!(at - ip, usize::from(u16_at(&image, ip + 6)));
    }

    #[test]
    fn no_shader_field_is_zero() {
        let image = build(&NAVI21, 1);
        let gc = usize::from(u16_at(&image, TABLE_LIST + 8));
        for field in image[gc + 12..gc + usize::from(GC_SIZE)].chunks(4) {
            assert_ne!(field, [0; 4]);
        }
    }
}
