//! Everything that is reached by an address: register blocks, hubs, memory, the interrupt ring.
//!
//! Engines are not part of it, so that an engine can be stepped with the whole fabric in its hands: its packets reach every
//! register, its own included.

use gart::{Access, Backing, FaultSink, GpuVa, Hub, Location, Translation, Vmid};
use mmio::{Direction, Effects, Ledger, Overlap, RegOffset, RegisterBlock, Router};
use sdma_engine::SdmaRegisters;

use super::blocks::{BlockKind, Blocks, Effect, Owner, PowerDomain, Scope};
use super::config::GpuConfig;
use super::inject::Armory;
use crate::blocks::ih::InterruptHandler;
use crate::blocks::mailbox::Mailbox;
use crate::blocks::nbio::{self, Nbio, Window};
use crate::blocks::plain::Plain;
use crate::blocks::psp::Psp;
use crate::blocks::smn::Smn;
use crate::blocks::smu::Smu;
use crate::memory::CardMemory;
use cp_engine::GfxRegisters;

/// Registers and memory.
#[derive(Debug)]
pub(super) struct Fabric<M> {
    pub(super) memory: M,
    pub(super) blocks: Blocks,
    router: Router<Owner>,
    pub(super) ledger: Ledger,
    pub(super) smn_ledger: Ledger,
    pub(super) effects: Effects<Effect>,
    /// The buffer of those that were carried out last, empty.
    pub(super) settled: Effects<Effect>,
    /// Faults that wait to become interrupts.
    pub(super) faults: FaultSink,
    /// One bit per context of the graphics hub: an engine has used it since somebody looked.
    pub(super) used_vmids: u16,
    /// Faults on command.
    pub(super) inject: Armory,
    /// 100 MHz ticks.
    clock: u64,
    /// In BACO: only the bus interface and the SMU's mailbox have power.
    chip_off: bool,
}

impl<M: CardMemory> Fabric<M> {
    pub(super) fn new(config: &GpuConfig, memory: M) -> Result<Self, Overlap> {
        let GpuConfig {
            asic,
            personality,
            vf: _,
            sdma_instances,
            board,
        } = *config;
        let vram_size = memory.vram_size();
        let frame_buffer = asic.frame_buffer(vram_size);
        let sdma = asic.sdma.iter().take(sdma_instances);
        let blocks = Blocks {
            nbio: Nbio::new(asic.bases("NBIF"), vram_size, personality, board.px_capable),
            mailbox: Mailbox::new(asic.bases("NBIF")),
            plain: Plain::new(asic.plain_registers()),
            ih: InterruptHandler::new(asic.bases("OSSSYS")),
            psp: Psp::new(asic.bases("MP0"), personality.psp),
            smu: Smu::new(asic.bases("MP1"), asic.smu, board.smu_version),
            gfxhub: Hub::new(asic.gfxhub, frame_buffer),
            mmhub: Hub::new(asic.mmhub, frame_buffer),
            gfx: GfxRegisters::new(asic.gfx, asic.bases("GC")),
            sdma: sdma
                .map(|instance| SdmaRegisters::new(instance.placement, personality.sdma_started_by))
                .collect(),
            smn: Smn::new(),
        };
        Ok(Self {
            router: Router::new(blocks.claims())?,
            memory,
            blocks,
            ledger: Ledger::default(),
            smn_ledger: Ledger::default(),
            effects: Effects::default(),
            settled: Effects::default(),
            faults: FaultSink::default(),
            used_vmids: 0,
            inject: Armory::default(),
            clock: 0,
            chip_off: false,
        })
    }

    /// The name of a modelled register, or its offset.
    pub(super) fn name(&self, offset: RegOffset) -> String {
        self.blocks
            .files(false)
            .flat_map(|(_, files)| files)
            .find_map(|file| file.name(offset))
            .unwrap_or_else(|| offset.to_string())
    }

    /// Whether the part says that a reset is under way.
    pub(super) fn set_in_reset(&mut self, in_reset: bool) {
        self.blocks.nbio.set_in_reset(in_reset);
    }

    pub(super) const fn clock(&self) -> u64 {
        self.clock
    }

    pub(super) fn set_clock(&mut self, ticks: u64) {
        self.clock = ticks;
        self.blocks.plain.set_clock(ticks);
        self.blocks.gfx.set_clock(ticks);
    }

    /// Whether a register answers: in BACO, only the bus interface, the SMU's mailbox and the register that tells of BACO.
    fn has_power(&self, owner: Owner, offset: RegOffset) -> bool {
        !self.chip_off
            || owner.kind.power() == PowerDomain::Always
            || owner.kind == BlockKind::Plain && self.blocks.plain.is_always_on(offset)
    }

    /// Who has a register.
    pub(super) fn owner(&self, offset: RegOffset) -> Option<Owner> {
        self.router.owner(offset)
    }

    pub(super) fn read(&mut self, offset: RegOffset) -> u32 {
        self.read_of(self.owner(offset), offset)
    }

    /// Reads a register whose owner is known already.
    pub(super) fn read_of(&mut self, owner: Option<Owner>, offset: RegOffset) -> u32 {
        let Some(owner) = owner else {
            if self.ledger.unmodelled(offset, Direction::Read) {
                log::info!(target: "amdgpu::mmio", "unimplemented: read of register {offset}, gives 0");
            }
            return 0;
        };
        if !self.has_power(owner, offset) {
            return u32::MAX;
        }
        match owner.kind {
            BlockKind::Nbio => self.read_nbio(offset),
            _ => self.blocks.read(owner, offset),
        }
    }

    /// The index/data windows; everything else of the bus interface reads from its file.
    fn read_nbio(&mut self, offset: RegOffset) -> u32 {
        match offset {
            nbio::MM_DATA => match self.blocks.nbio.window() {
                Window::Vram(at) => {
                    let mut bytes = [0xff; 4];
                    // Beyond VRAM nothing answers: all ones, as a read on the bus gives.
                    let _ = self.memory.read(Location::Vram(at), &mut bytes);
                    u32::from_le_bytes(bytes)
                }
                // The window does not reach itself.
                Window::Register(nbio::MM_DATA) => 0,
                Window::Register(register) => self.read(register),
            },
            nbio::PCIE_DATA2 => {
                let address = self.blocks.nbio.smn_address();
                self.blocks.smn.read(address).unwrap_or_else(|| {
                    if self.smn_ledger.unmodelled(address, Direction::Read) {
                        log::info!(target: "amdgpu::mmio", "unimplemented: read of SMN register {address}, gives 0");
                    }
                    0
                })
            }
            _ => self.blocks.nbio.read(offset),
        }
    }

    pub(super) fn write(&mut self, offset: RegOffset, value: u32) {
        self.write_of(self.owner(offset), offset, value);
    }

    /// Writes a register whose owner is known already.
    pub(super) fn write_of(&mut self, owner: Option<Owner>, offset: RegOffset, value: u32) {
        let Some(owner) = owner else {
            if self.ledger.unmodelled(offset, Direction::Write(value)) {
                log::info!(target: "amdgpu::mmio", "unimplemented: write of {value:#x} to register {offset}, dropped");
            }
            return;
        };
        if !self.has_power(owner, offset) {
            return;
        }
        // Of which faults on command can make nothing come, or something else.
        match owner.kind {
            BlockKind::Nbio => return self.write_nbio(offset, value),
            BlockKind::Psp if !self.inject.psp_hears(&self.blocks.psp, offset) => {
                return self.blocks.psp.write_unheard(offset, value);
            }
            BlockKind::Smu => {
                if let Some(result) = self.inject.smu_refuses(&self.blocks.smu, offset, value) {
                    return self.blocks.smu.refuse(value, result);
                }
            }
            BlockKind::GfxHub => self.inject.before_hub_write(&mut self.blocks.gfxhub, offset),
            BlockKind::MmHub => self.inject.before_hub_write(&mut self.blocks.mmhub, offset),
            _ => {}
        }
        self.blocks.write(owner, offset, value, &mut self.effects);
    }

    /// Writes a doorbell. Whether it is a block's; if not, it is an engine's queue's.
    pub(super) fn doorbell(&mut self, index: u32, value: u64) -> bool {
        self.blocks.doorbell(index, value, &mut self.effects)
    }

    fn write_nbio(&mut self, offset: RegOffset, value: u32) {
        match offset {
            nbio::MM_DATA => match self.blocks.nbio.window() {
                Window::Vram(at) => {
                    // Beyond VRAM the write goes nowhere, as on the bus.
                    let _ = self.memory.write(Location::Vram(at), &value.to_le_bytes());
                }
                Window::Register(nbio::MM_DATA) => {}
                Window::Register(register) => self.write(register, value),
            },
            nbio::PCIE_DATA2 => {
                let address = self.blocks.nbio.smn_address();
                if !self.blocks.smn.write(address, value)
                    && self.smn_ledger.unmodelled(address, Direction::Write(value))
                {
                    log::info!(
                        target: "amdgpu::mmio",
                        "unimplemented: write of {value:#x} to SMN register {address}, dropped"
                    );
                }
            }
            _ => self.blocks.nbio.write(offset, value, &mut Effects::default()),
        }
    }

    /// Reads a byte that can be accessed by itself.
    pub(super) fn read_lane(&self, byte: u32) -> Option<u8> {
        self.blocks
            .mailbox
            .lane(byte)
            .map(|shift| self.blocks.mailbox.read_lane(shift))
    }

    /// Writes a byte, if it can be accessed by itself.
    pub(super) fn write_lane(&mut self, byte: u32, value: u8) {
        let Some(shift) = self.blocks.mailbox.lane(byte) else {
            return;
        };
        let mut effects = Effects::default();
        self.blocks.mailbox.write_lane(shift, value, &mut effects);
        self.effects.absorb(effects, Effect::Mailbox);
    }

    /// Whether a register belongs to a virtual function whatever the host lets it do: the bus interface and the mailbox.
    pub(super) fn is_always_a_functions(&self, offset: RegOffset) -> bool {
        let owner = self.router.owner(offset);
        owner.is_some_and(|owner| matches!(owner.kind, BlockKind::Nbio | BlockKind::Mailbox))
    }

    /// Where an address of the graphics hub leads, if it leads anywhere.
    pub(super) fn locate(&self, vmid: Vmid, va: GpuVa) -> Option<Location> {
        match self
            .blocks
            .gfxhub
            .translate(&self.memory, vmid, va, Access::Write)
        {
            Ok(Translation {
                backing: Backing::Memory(location),
                ..
            }) => Some(location),
            Ok(_) | Err(_) => None,
        }
    }

    /// Whether a place lies in the table of context 0.
    pub(super) fn is_gart_table(&self, place: Location) -> bool {
        let Some(context) = self
            .blocks
            .gfxhub
            .context(Vmid::KERNEL)
            .filter(|context| context.enabled)
        else {
            return false;
        };
        let (Location::Vram(table), Location::Vram(place)) = (
            context
                .root
                .location(self.blocks.gfxhub.space().apertures.fb_offset),
            place,
        ) else {
            return false;
        };
        let pages = context
            .end_page
            .saturating_sub(context.start_page)
            .saturating_add(1);
        place
            .get()
            .checked_sub(table.get())
            .is_some_and(|distance| distance / 8 < pages)
    }

    /// Everything but the bus interface and the SMU's mailbox loses its power (BACO).
    pub(super) fn power_chip_off(&mut self) {
        self.reset(Scope::Chip);
        self.blocks.plain.set_baco(true);
        self.chip_off = true;
    }

    /// Everything has power again, in the state after power-on.
    pub(super) fn power_chip_on(&mut self) {
        self.blocks.plain.set_baco(false);
        self.chip_off = false;
    }

    /// Every register that a reset covers back to the state after power-on. Memory, counters and the ledger stay.
    pub(super) fn reset(&mut self, scope: Scope) {
        let Self {
            memory: _,
            blocks,
            router: _,
            ledger: _,
            smn_ledger: _,
            effects,
            settled: _,
            faults,
            used_vmids,
            inject: _,
            clock: _,
            chip_off,
        } = self;
        blocks.reset(scope);
        effects.take();
        faults.take();
        if scope != Scope::Graphics {
            *used_vmids = 0;
        }
        if scope == Scope::Whole {
            *chip_off = false;
        }
    }
}
