//! A minimal ATOM VBIOS: enough for the PCI core to size the ROM and for the driver to parse it, post the card and find its
//! tables. No code but an empty `asic_init`.
//!
//! Layout: Linux 6.1 `include/atomfirmware.h`; readers: `amdgpu_bios.c`, `atom.c` (`amdgpu_atom_parse`), `amdgpu_atomfirmware.c`,
//! `smu_v11_0.c`.

use super::{Image, as_u8, as_u16};
use crate::asic::{AsicProfile, Personality};

/// Size of the image and of the ROM BAR in bytes.
pub const SIZE: usize = 64 << 10;

const STRING_COUNT: usize = 0x2f;
const ATI_MAGIC: usize = 0x30;
const ROM_HEADER_POINTER: usize = 0x48;
const DATE: usize = 0x50;
const PART_NUMBER: usize = 0x80;
const PCIR: usize = 0x100;
const ROM_HEADER: usize = 0x120;
const COMMAND_TABLE: usize = 0x150;
const DATA_TABLE: usize = 0x200;
const ASIC_INIT: usize = 0x260;
const INDIRECT_IO: usize = 0x270;
const FIRMWARE_INFO: usize = 0x280;
const SMC_DPM_INFO: usize = 0x300;
const VRAM_USAGE: usize = 0x440;

/// Indices into the master data table.
const INDEX_SMC_DPM_INFO: usize = 2;
const INDEX_FIRMWARE_INFO: usize = 4;
const INDEX_VRAM_USAGE: usize = 11;
const INDEX_INDIRECT_IO: usize = 23;
const DATA_TABLES: usize = 35;
const COMMAND_TABLES: usize = 81;

/// First BIOS scratch register, as a dword index.
const BIOS_SCRATCH: u32 = 0x4c;
/// `ATOM_FIRMWARE_CAP_GPU_VIRTUALIZATION`: the driver then does not ask the host whether it is there.
const GPU_VIRTUALIZATION: u32 = 1 << 1;
/// `ATOM_VRAM_OPERATION_FLAGS_SHIFT` 30, value 2: what is reserved is what host and guest exchange.
const USED_FOR_EXCHANGE: u32 = 2 << 30;
/// `ATOM_OP_EOT`: end of a command table.
const OPCODE_END: u8 = 0x5b;

/// Builds the image for what the function is.
pub fn build(asic: &AsicProfile, personality: &Personality) -> Vec<u8> {
    let mut image = Image::new(SIZE);
    put_rom_frame(&mut image, asic, personality);
    put_rom_header(&mut image);
    put_command_tables(&mut image);
    put_data_tables(&mut image, asic);
    if let Some(exchange) = &personality.host {
        image.put_u32(FIRMWARE_INFO + 0x10, GPU_VIRTUALIZATION);
        // vram_usagebyfirmware_v2_1: from the beginning of VRAM on.
        put_table_header(&mut image, VRAM_USAGE, 12, 2, 1);
        image.put_u32(VRAM_USAGE + 0x4, USED_FOR_EXCHANGE);
        image.put_u16(VRAM_USAGE + 0x8, exchange.reserved_kib);
        put_data_table(&mut image, INDEX_VRAM_USAGE, VRAM_USAGE);
    }
    image.0
}

/// What the PCI core and `check_atom_bios` look at.
fn put_rom_frame(image: &mut Image, asic: &AsicProfile, personality: &Personality) {
    image.put(0, &[0x55, 0xaa, blocks()]);
    image.put_u16(0x18, as_u16(PCIR));
    image.put(PCIR, b"PCIR");
    image.put_u16(PCIR + 0x4, personality.pci.vendor);
    image.put_u16(PCIR + 0x6, personality.pci.device);
    image.put_u16(PCIR + 0xa, 24);
    image.put(PCIR + 0xd, &personality.pci.class.to_le_bytes()[..3]);
    image.put_u16(PCIR + 0x10, u16::from(blocks()));
    image.put_u8(PCIR + 0x15, 0x80); // last image
    image.put_u8(STRING_COUNT, 0);
    image.put(ATI_MAGIC, b" 761295520");
    image.put(DATE, b"11/22/26 00:00");
    // With no strings the part number is read from here, and an empty one makes the driver dereference address 8
    // (6.1 atom.c `atom_get_vbios_pn`).
    // What follows is zero.
    image.put(PART_NUMBER, asic.vbios.part_number.as_bytes());
}

fn put_rom_header(image: &mut Image) {
    image.put_u16(ROM_HEADER_POINTER, as_u16(ROM_HEADER));
    image.put_u16(ROM_HEADER, 0x28);
    image.put(ROM_HEADER + 2, &[2, 2]);
    image.put(ROM_HEADER + 4, b"ATOM");
    // +0xC, the configuration file name, stays 0: 7.3 (`atom_get_vbios_build`) computes a length from it.
    image.put_u16(ROM_HEADER + 0x1e, as_u16(COMMAND_TABLE));
    image.put_u16(ROM_HEADER + 0x20, as_u16(DATA_TABLE));
}

/// Only `asic_init`, which the driver executes to post the card: it ends at once.
fn put_command_tables(image: &mut Image) {
    put_table_header(image, COMMAND_TABLE, 4 + 2 * COMMAND_TABLES, 2, 1);
    image.put_u16(COMMAND_TABLE + 4, as_u16(ASIC_INIT));
    put_table_header(image, ASIC_INIT, 7, 2, 1);
    image.put_u8(ASIC_INIT + 6, OPCODE_END);
}

fn put_data_tables(image: &mut Image, asic: &AsicProfile) {
    put_table_header(image, DATA_TABLE, 4 + 2 * DATA_TABLES, 2, 1);
    let tables = [
        (INDEX_SMC_DPM_INFO, SMC_DPM_INFO),
        (INDEX_FIRMWARE_INFO, FIRMWARE_INFO),
        (INDEX_INDIRECT_IO, INDIRECT_IO),
    ];
    for (index, at) in tables {
        put_data_table(image, index, at);
    }

    // atom_smc_dpm_info: copied behind the power-play table's own fields; a board without I2C devices has zeros.
    let (revision, size) = asic.vbios.smc_dpm_info;
    put_table_header(image, SMC_DPM_INFO, size, 4, revision);

    // A header and no programs: `atom_index_iio` stops at the first zero.
    put_table_header(image, INDIRECT_IO, 5, 1, 1);

    // atom_firmware_info_v3_3
    put_table_header(image, FIRMWARE_INFO, 72, 3, 3);
    image.put_u32(FIRMWARE_INFO + 0x8, 50_000); // bootup sclk: 500 MHz, in 10 kHz
    image.put_u32(FIRMWARE_INFO + 0xc, 100_000); // bootup mclk: 1 GHz
    image.put_u32(FIRMWARE_INFO + 0x18, BIOS_SCRATCH);
    image.put_u32(FIRMWARE_INFO + 0x3c, asic.vbios.pptable_id);
}

/// Enters a table into the master data table.
fn put_data_table(image: &mut Image, index: usize, at: usize) {
    image.put_u16(DATA_TABLE + 4 + 2 * index, as_u16(at));
}

fn put_table_header(image: &mut Image, at: usize, size: usize, format: u8, content: u8) {
    image.put_u16(at, as_u16(size));
    image.put(at + 2, &[format, content]);
}

/// Image length in blocks of 512 bytes.
fn blocks() -> u8 {
    as_u8(SIZE / 512)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asic::NAVI21;

    fn u16_at(image: &[u8], at: usize) -> usize {
        usize::from(u16::from_le_bytes([image[at], image[at + 1]]))
    }

    fn data_table(image: &[u8], index: usize) -> usize {
        let master = u16_at(image, u16_at(image, ROM_HEADER_POINTER) + 0x20);
        u16_at(image, master + 4 + 2 * index)
    }

    /// `pci_get_rom_size`: signature, PCIR, length, last-image bit.
    #[test]
    fn the_pci_core_can_size_the_rom() {
        let image = build(&NAVI21, &NAVI21.bare_metal);
        assert_eq!(&image[..2], [0x55, 0xaa]);
        let pcir = u16_at(&image, 0x18);
        assert_eq!(&image[pcir..pcir + 4], b"PCIR");
        assert_eq!(u16_at(&image, pcir + 0x10) * 512, image.len());
        assert_eq!(image[pcir + 0x15] & 0x80, 0x80);
    }

    /// `check_atom_bios` and `amdgpu_atom_parse`.
    #[test]
    fn the_driver_finds_the_atom_header() {
        let image = build(&NAVI21, &NAVI21.bare_metal);
        assert_eq!(&image[ATI_MAGIC..ATI_MAGIC + 10], b" 761295520");
        let header = u16_at(&image, ROM_HEADER_POINTER);
        assert_eq!(&image[header + 4..header + 8], b"ATOM");
        assert!(
            u16_at(&image, header + 0xc) < header,
            "7.3 computes a length from it"
        );
        assert_ne!(image[PART_NUMBER], 0, "an empty part number oopses the guest");
    }

    #[test]
    fn asic_init_ends_at_once() {
        let image = build(&NAVI21, &NAVI21.bare_metal);
        let command = u16_at(&image, u16_at(&image, ROM_HEADER_POINTER) + 0x1e);
        let asic_init = u16_at(&image, command + 4);
        assert_eq!(image[asic_init + 6], OPCODE_END);
    }

    #[test]
    fn firmware_info_has_clocks_scratch_registers_and_the_power_play_table() {
        let image = build(&NAVI21, &NAVI21.bare_metal);
        let info = data_table(&image, INDEX_FIRMWARE_INFO);
        assert_eq!(image[info + 2], 3, "SMU 11 takes format revision 3 only");
        let dword = |at: usize| u32::from_le_bytes(image[info + at..info + at + 4].try_into().unwrap());
        assert!(dword(0x8) > 0 && dword(0xc) > 0);
        assert_eq!(dword(0x18), BIOS_SCRATCH);
        assert_eq!(dword(0x3c), 0x94c);
    }

    /// `amdgpu_atomfirmware_allocate_fb_v2_1`, and `gpu_virtualization` in `amdgpu_atomfirmware_gpu_virtualization_supported`.
    #[test]
    fn a_virtual_function_has_room_for_what_it_exchanges_with_its_host() {
        let image = build(&NAVI21, &NAVI21.virtual_function);
        let usage = data_table(&image, INDEX_VRAM_USAGE);
        let dword = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
        assert_eq!(image[usage + 2..usage + 4], [2, 1]);
        assert_eq!(dword(usage + 4), 0x8000_0000);
        assert_eq!(u16_at(&image, usage + 8), 128);
        assert_eq!(u16_at(&image, usage + 10), 0);
        let info = data_table(&image, INDEX_FIRMWARE_INFO);
        assert_eq!(dword(info + 0x10), 2);
        assert_eq!(
            u16_at(&image, u16_at(&image, 0x18) + 6),
            0x73ae,
            "the device of PCIR"
        );
        let own = build(&NAVI21, &NAVI21.bare_metal);
        assert_eq!(data_table(&own, INDEX_VRAM_USAGE), 0);
    }

    #[test]
    fn indirect_io_has_a_pointer_and_no_program() {
        let image = build(&NAVI21, &NAVI21.bare_metal);
        let iio = data_table(&image, INDEX_INDIRECT_IO);
        assert_ne!(iio, 0);
        assert_eq!(image[iio + 4], 0);
    }
}
