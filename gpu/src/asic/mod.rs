//! ASIC profiles: what differs from one part to the next, as data.
//!
//! A profile names the blocks of the part (they are published to the driver in the IP discovery binary), where their registers
//! are, and the numbers that a board's firmware would know. Blocks take what they need from it when they are built; nothing asks
//! a profile its name.

mod navi12;
mod navi21;

pub use navi12::NAVI12;
pub use navi21::NAVI21;

use gart::{ClientId, FrameBuffer, GpuVa, HubLayout};
use mmio::RegSpec;
use sdma_engine::{Placement, StartedBy};

use crate::blocks::psp::BootState;
use crate::blocks::smu::Interface;
use crate::sriov::Exchange;
use cp_engine::GfxLayout;

/// Every part, the usual one first.
pub static ASICS: [&AsicProfile; 2] = [&NAVI21, &NAVI12];

/// Who the function says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PciIdentity {
    /// VENDOR_ID.
    pub vendor: u16,
    /// DEVICE_ID.
    pub device: u16,
    /// REVISION_ID.
    pub revision: u8,
    /// Class, subclass and programming interface: 0xCCSSPP.
    pub class: u32,
    /// SUBSYSTEM_VENDOR_ID.
    pub subsystem_vendor: u16,
    /// SUBSYSTEM_ID.
    pub subsystem: u16,
}

/// A hardware IP as the discovery binary lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpBlock {
    /// Name in AMD's headers.
    pub name: &'static str,
    /// Hardware id (`include/soc15_hw_ip.h`).
    pub hw_id: u16,
    /// Instance number.
    pub instance: u8,
    /// Major, minor, revision.
    pub version: (u8, u8, u8),
    /// Register bases, in dwords, by segment.
    pub bases: &'static [u32],
}

/// Shader array configuration, published in the discovery binary's GC table. Every field is a divisor somewhere in the
/// driver (6.1 `amdgpu_discovery_get_gfx_info`): none may be zero.
#[derive(Debug, Clone, Copy)]
pub struct GcInfo {
    /// Shader engines.
    pub num_se: u32,
    /// Work-group processors of the first kind per shader array.
    pub wgp0_per_sa: u32,
    /// Work-group processors of the second kind per shader array.
    pub wgp1_per_sa: u32,
    /// Render back ends per shader engine.
    pub rb_per_se: u32,
    /// L2 cache channels.
    pub gl2c: u32,
    /// Shader arrays per shader engine.
    pub sa_per_se: u32,
}

/// Register base, doorbell and interrupt identity of one SDMA instance.
#[derive(Debug, Clone, Copy)]
pub struct SdmaInstance {
    /// Where its registers are.
    pub placement: Placement,
    /// Client id of its interrupts (`include/soc15_ih_clientid.h`).
    pub ih_client: u8,
    /// Client id of its memory accesses on the graphics hub.
    pub hub_client: ClientId,
    /// Discovery entry.
    pub ip: IpBlock,
}

/// What the function is to its driver: all of the part, or a virtual function of it that a host lends to a guest.
#[derive(Debug)]
pub struct Personality {
    /// Name on the command line.
    pub name: &'static str,
    /// PCI identity.
    pub pci: PciIdentity,
    /// RCC_IOV_FUNC_IDENTIFIER: what the driver finds out by (`amdgpu_detect_virtualization`).
    pub iov_identifier: u32,
    /// Who starts the SDMA engines.
    pub sdma_started_by: StartedBy,
    /// Who starts the security processor.
    pub psp: BootState,
    /// Where the host leaves what it tells the guest. None: there is no host.
    pub host: Option<Exchange>,
}

/// One part.
#[derive(Debug)]
pub struct AsicProfile {
    /// Name on the command line.
    pub name: &'static str,
    /// The part itself.
    pub bare_metal: Personality,
    /// A virtual function of it.
    pub virtual_function: Personality,
    /// Every IP except SDMA, in the order of the discovery binary.
    pub ips: &'static [IpBlock],
    /// IPs that are listed and fused off: (hardware id, instance).
    pub harvested: &'static [(u16, u8)],
    /// SDMA instances, of which a device has the first one to four.
    pub sdma: &'static [SdmaInstance],
    /// Shader configuration.
    pub gc: GcInfo,
    /// MC address of VRAM's first byte.
    pub frame_buffer_base: u64,
    /// Registers of the graphics hub.
    pub gfxhub: HubLayout,
    /// Registers of the multimedia hub.
    pub mmhub: HubLayout,
    /// Registers of the graphics block.
    pub gfx: GfxLayout,
    /// Registers of the blocks without behaviour, by the IP of the list.
    pub plain: &'static [(&'static str, &'static [RegSpec])],
    /// What the board's VBIOS says.
    pub vbios: VbiosInfo,
    /// Messages of the SMU.
    pub smu: Interface,
    /// Firmware version of the usual board's SMU, see [`Board::smu_version`].
    pub smu_version: u32,
}

/// What differs in the board's VBIOS.
#[derive(Debug, Clone, Copy)]
pub struct VbiosInfo {
    /// What the board is called.
    pub part_number: &'static str,
    /// Id of the power-play table inside the SMU firmware file that the VBIOS points the driver to. 0: that in the VBIOS, where there
    /// is none.
    pub pptable_id: u32,
    /// smc_dpm_info: content revision of the table's format 4, and its size.
    pub smc_dpm_info: (u8, usize),
}

/// What a board decides: the firmware in its flash, and its straps. Every part has a usual one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Board {
    /// Answer to the SMU's GetSmuVersion. On Navi21 the driver asks the PSP for MODE1 below 0x003A1A00, from there on the SMU (6.1, 6.12,
    /// 7.3 `sienna_cichlid_is_mode1_reset_supported`); on Navi12 always the PSP.
    pub smu_version: u32,
    /// RCC_BIF_STRAP0.STRAP_PX_CAPABLE: the driver takes BACO for supported (`sienna_cichlid_check_bxco_support`,
    /// `navi10_check_bxco_support`), and suspends an idle part with it at run time. On Navi12 it also resets by it then
    /// (`nv_asic_reset_method`).
    pub px_capable: bool,
    /// No_Soft_Reset of the power management capability: the way back from D3hot keeps the state. Without it that way is a reset.
    pub no_soft_reset: bool,
}

impl GcInfo {
    /// A cut-down part: one shader engine. Nothing here runs shaders, and every engine, array and work-group processor is a row of
    /// registers that the driver reads at probe.
    const CUT_DOWN: Self = Self {
        num_se: 1,
        wgp0_per_sa: 1,
        wgp1_per_sa: 1,
        rb_per_se: 4,
        gl2c: 4,
        sa_per_se: 1,
    };
}

impl Personality {
    /// The part itself.
    const fn bare_metal(pci: PciIdentity) -> Self {
        Self {
            name: "bare-metal",
            pci,
            iov_identifier: 0,
            sdma_started_by: StartedBy::Driver,
            psp: BootState::Bootloader,
            host: None,
        }
    }

    /// A virtual function of a part, which differs from it by this device id.
    const fn virtual_function(pci: PciIdentity, device: u16) -> Self {
        Self {
            name: "vf",
            pci: PciIdentity { device, ..pci },
            iov_identifier: 1,
            sdma_started_by: StartedBy::Host,
            psp: BootState::SecureOs,
            host: Some(Exchange::USUAL),
        }
    }
}

/// An SDMA instance. What tells the instances apart is the same on every part (`include/soc15_hw_ip.h`, `include/soc15_ih_clientid.h`).
const fn sdma(
    instance: u8,
    placement: Placement,
    version: (u8, u8, u8),
    bases: &'static [u32],
) -> SdmaInstance {
    let (hw_id, ih_client, hub_client) = match instance {
        0 => (42, 8, ClientId::SDMA0),
        1 => (43, 9, ClientId::SDMA1),
        2 => (68, 1, ClientId::SDMA2),
        _ => (69, 5, ClientId::SDMA3),
    };
    SdmaInstance {
        placement,
        ih_client,
        hub_client,
        ip: ip("SDMA", hw_id, instance, version, bases),
    }
}

/// An IP of the list.
const fn ip(
    name: &'static str,
    hw_id: u16,
    instance: u8,
    version: (u8, u8, u8),
    bases: &'static [u32],
) -> IpBlock {
    IpBlock {
        name,
        hw_id,
        instance,
        version,
        bases,
    }
}

impl AsicProfile {
    /// What the function can be.
    pub const fn personalities(&self) -> [&Personality; 2] {
        [&self.bare_metal, &self.virtual_function]
    }

    /// Register bases of an IP of the list, in dwords, by segment. None if it is not listed.
    pub fn bases(&self, name: &str) -> &'static [u32] {
        let ip = self.ips.iter().find(|ip| ip.name == name);
        ip.map_or(&[], |ip| ip.bases)
    }

    /// Registers of the blocks without behaviour, with the bases that they lie at.
    pub fn plain_registers(&self) -> impl Iterator<Item = (&'static [u32], &'static [RegSpec])> {
        self.plain.iter().map(|(ip, rows)| (self.bases(ip), *rows))
    }

    /// The usual board of this part.
    pub const fn board(&self) -> Board {
        Board {
            smu_version: self.smu_version,
            px_capable: false,
            no_soft_reset: true,
        }
    }

    /// Where VRAM of this size lies in the MC address space.
    pub const fn frame_buffer(&self, size: u64) -> FrameBuffer {
        FrameBuffer {
            base: GpuVa::new(self.frame_buffer_base),
            size,
        }
    }
}

#[cfg(test)]
mod tests;
