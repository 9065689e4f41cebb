//! `amdgpu_get_bios`, `amdgpu_atom_parse` and the tables that the bring-up needs; `asic_init` is executed as far as it goes.

use crate::guest::{Failure, expect};

/// What the driver takes from the VBIOS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vbios {
    /// Boot-up engine clock in 10 kHz.
    pub sclk: u32,
    /// Boot-up memory clock in 10 kHz.
    pub mclk: u32,
    /// First BIOS scratch register, as a dword index.
    pub scratch: u32,
    /// Power-play table in the SMU firmware.
    pub pptable_id: u32,
}

struct Rom<'a>(&'a [u8]);

impl Rom<'_> {
    fn bytes(&self, at: usize, len: usize) -> Result<&[u8], Failure> {
        self.0
            .get(at..at + len)
            .ok_or(Failure::Invalid("a VBIOS pointer leads out of the image"))
    }

    fn u8(&self, at: usize) -> Result<u8, Failure> {
        Ok(self.bytes(at, 1)?.first().copied().unwrap_or(0))
    }

    fn u16(&self, at: usize) -> Result<usize, Failure> {
        Ok(usize::from(self.u8(at + 1)?) << 8 | usize::from(self.u8(at)?))
    }

    fn u32(&self, at: usize) -> Result<u32, Failure> {
        let mut value = 0;
        for index in (0..4).rev() {
            value = value << 8 | u32::from(self.u8(at + index)?);
        }
        Ok(value)
    }

    fn is(&self, what: &'static str, at: usize, text: &[u8]) -> Result<(), Failure> {
        if self.bytes(at, text.len())? == text {
            Ok(())
        } else {
            Err(Failure::Invalid(what))
        }
    }
}

/// Parses an image as it comes out of the ROM BAR.
///
/// # Errors
/// [`Failure`] for everything that makes the driver give up, or run into its own pointers.
pub fn parse(image: &[u8]) -> Result<Vbios, Failure> {
    let rom = Rom(image);
    rom.is("no ROM signature", 0, &[0x55, 0xaa])?;
    let pcir = rom.u16(0x18)?;
    rom.is("no PCI data structure", pcir, b"PCIR")?;
    expect(
        "image length in PCIR",
        rom.u16(pcir + 0x10)? as u64 * 512,
        image.len() as u64,
    )?;
    rom.is("no ATI signature", 0x30, b" 761295520")?;
    let header = rom.u16(0x48)?;
    rom.is("no ATOM signature", header + 4, b"ATOM")?;
    if rom.u16(header + 0xc)? >= header {
        return Err(Failure::Invalid(
            "7.3 takes the distance to the configuration name as a length",
        ));
    }
    if rom.u8(0x2f)? == 0 && rom.u8(0x80)? == 0 {
        return Err(Failure::Invalid(
            "without a part number the driver dereferences address 8",
        ));
    }
    let (commands, tables) = (rom.u16(header + 0x1e)?, rom.u16(header + 0x20)?);
    let data_table = |index: usize| rom.u16(tables + 4 + 2 * index);

    asic_init(&rom, rom.u16(commands + 4)?)?;

    let indirect_io = data_table(23)?;
    if indirect_io == 0 || rom.u8(indirect_io + 4)? != 0 {
        return Err(Failure::Invalid("atom_index_iio would walk off"));
    }
    if data_table(2)? == 0 {
        return Err(Failure::Invalid("no smc_dpm_info: the SMU's setup fails"));
    }
    let info = data_table(4)?;
    expect("firmwareinfo format", rom.u8(info + 2)?, 3_u8)?;
    let vbios = Vbios {
        sclk: rom.u32(info + 0x8)?,
        mclk: rom.u32(info + 0xc)?,
        scratch: rom.u32(info + 0x18)?,
        pptable_id: rom.u32(info + 0x3c)?,
    };
    expect("first BIOS scratch register", vbios.scratch, 0x4c_u32)?;
    if vbios.sclk == 0 || vbios.mclk == 0 {
        return Err(Failure::Invalid("a boot-up clock is zero"));
    }
    Ok(vbios)
}

/// `amdgpu_atom_asic_init`: the command table must end; nothing else is in it.
fn asic_init(rom: &Rom<'_>, table: usize) -> Result<(), Failure> {
    const EOT: u8 = 0x5b;
    if table == 0 {
        return Err(Failure::Invalid("no asic_init: the card cannot be posted"));
    }
    expect("first opcode of asic_init", rom.u8(table + 6)?, EOT)
}
