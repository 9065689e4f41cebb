//! Everything that is reached by an address: register blocks, hubs, memory, the interrupt ring.
//!
//! Engines are not part of it, so that an engine can be stepped with the whole fabric in its hands: its packets reach every
//! register, its own included.

use gart::{Access, Backing, FaultSink, GpuVa, Hub, HubEffect, Location, Translation, Vmid};
use mmio::{Direction, Effects, Ledger, Overlap, RegOffset, RegisterBlock, RegisterFile, Router};
use sdma_engine::{SdmaEffect, SdmaRegisters};

use super::config::GpuConfig;
use super::inject::Armory;
use crate::blocks::ih::{IhEffect, InterruptHandler};
use crate::blocks::mailbox::{Mailbox, MailboxEffect};
use crate::blocks::nbio::{self, Nbio, Window};
use crate::blocks::plain::Plain;
use crate::blocks::psp::{Psp, PspEffect};
use crate::blocks::smn::Smn;
use crate::blocks::smu::{Smu, SmuEffect};
use crate::memory::CardMemory;
use cp_engine::{GfxEffect, GfxRegisters};

/// Who owns a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Nbio,
    Mailbox,
    Plain,
    Ih,
    Psp,
    Smu,
    GfxHub,
    MmHub,
    Gfx,
    Sdma(usize),
}

/// What register writes asked for, in the order in which they did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    Ih(IhEffect),
    Hub(HubEffect),
    Psp(PspEffect),
    Smu(SmuEffect),
    Mailbox(MailboxEffect),
    Gfx(GfxEffect),
    Sdma(usize, SdmaEffect),
}

/// Registers and memory.
#[derive(Debug)]
pub(super) struct Fabric<M> {
    pub(super) memory: M,
    pub(super) gfxhub: Hub,
    pub(super) mmhub: Hub,
    pub(super) ih: InterruptHandler,
    pub(super) psp: Psp,
    pub(super) smu: Smu,
    pub(super) gfx: GfxRegisters,
    pub(super) sdma: Vec<SdmaRegisters>,
    pub(super) mailbox: Mailbox,
    nbio: Nbio,
    plain: Plain,
    smn: Smn,
    router: Router<Owner>,
    pub(super) ledger: Ledger,
    pub(super) smn_ledger: Ledger,
    pub(super) effects: Effects<Effect>,
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
        let gfxhub = Hub::new(asic.gfxhub, frame_buffer);
        let mmhub = Hub::new(asic.mmhub, frame_buffer);
        let nbio = Nbio::new(vram_size, personality, board.px_capable);
        let plain = Plain::new(asic.plain);
        let ih = InterruptHandler::new();
        let mailbox = Mailbox::new();
        let psp = Psp::new(personality.psp);
        let smu = Smu::new(asic.smu, board.smu_version);
        let gfx = GfxRegisters::new(asic.gfx);
        let sdma: Vec<SdmaRegisters> = asic
            .sdma
            .iter()
            .take(sdma_instances)
            .map(|instance| SdmaRegisters::new(instance.placement, personality.sdma_started_by))
            .collect();

        let mut claims: Vec<(RegOffset, Owner)> = Vec::new();
        let mut claim = |files: Vec<&RegisterFile>, owner: Owner| {
            for file in files {
                claims.extend(file.offsets().map(|offset| (offset, owner)));
            }
        };
        claim(nbio.files(), Owner::Nbio);
        claim(mailbox.files(), Owner::Mailbox);
        claim(plain.files(), Owner::Plain);
        claim(ih.files(), Owner::Ih);
        claim(psp.files(), Owner::Psp);
        claim(smu.files(), Owner::Smu);
        claim(gfxhub.files(), Owner::GfxHub);
        claim(mmhub.files(), Owner::MmHub);
        claim(gfx.files(), Owner::Gfx);
        for (index, registers) in sdma.iter().enumerate() {
            claim(registers.files(), Owner::Sdma(index));
        }
        Ok(Self {
            router: Router::new(claims)?,
            memory,
            gfxhub,
            mmhub,
            ih,
            psp,
            smu,
            gfx,
            sdma,
            mailbox,
            nbio,
            plain,
            smn: Smn::new(),
            ledger: Ledger::default(),
            smn_ledger: Ledger::default(),
            effects: Effects::default(),
            faults: FaultSink::default(),
            used_vmids: 0,
            inject: Armory::default(),
            clock: 0,
            chip_off: false,
        })
    }

    /// The register files of every block in the register BAR, with the block's name.
    pub(super) fn blocks(&self) -> Vec<(&'static str, Vec<&RegisterFile>)> {
        let sdma = self.sdma.iter().flat_map(RegisterBlock::files).collect();
        vec![
            ("NBIO: bus interface", self.nbio.files()),
            ("BIF: mailbox of a virtual function", self.mailbox.files()),
            ("ATHUB, HDP, THM, SMUIO", self.plain.files()),
            ("OSSSYS: interrupt handler", self.ih.files()),
            ("MP0: security processor", self.psp.files()),
            ("MP1: system management unit", self.smu.files()),
            (
                "GFXHUB: address translation of graphics and SDMA",
                self.gfxhub.files(),
            ),
            (
                "MMHUB: address translation of everything else",
                self.mmhub.files(),
            ),
            ("GC: graphics", self.gfx.files()),
            ("SDMA", sdma),
        ]
    }

    /// The registers of the system management network.
    pub(super) const fn smn_file(&self) -> &RegisterFile {
        self.smn.file()
    }

    /// The name of a modelled register, or its offset.
    pub(super) fn name(&self, offset: RegOffset) -> String {
        self.blocks()
            .iter()
            .flat_map(|(_, files)| files)
            .find_map(|file| file.name(offset))
            .unwrap_or_else(|| offset.to_string())
    }

    /// Whether the part says that a reset is under way.
    pub(super) fn set_in_reset(&mut self, in_reset: bool) {
        self.nbio.set_in_reset(in_reset);
    }

    pub(super) const fn clock(&self) -> u64 {
        self.clock
    }

    pub(super) fn set_clock(&mut self, ticks: u64) {
        self.clock = ticks;
        self.plain.set_clock(ticks);
        self.gfx.set_clock(ticks);
    }

    /// Whether a register answers: in BACO, only the bus interface, the SMU's mailbox and the register that tells of BACO.
    fn has_power(&self, owner: Owner, offset: RegOffset) -> bool {
        !self.chip_off
            || matches!(owner, Owner::Nbio | Owner::Mailbox | Owner::Smu)
            || owner == Owner::Plain && Plain::is_always_on(offset)
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
        match owner {
            Owner::Nbio => self.read_nbio(offset),
            Owner::Mailbox => self.mailbox.read(offset),
            Owner::Plain => self.plain.read(offset),
            Owner::Ih => self.ih.read(offset),
            Owner::Psp => self.psp.read(offset),
            Owner::Smu => self.smu.read(offset),
            Owner::GfxHub => self.gfxhub.read(offset),
            Owner::MmHub => self.mmhub.read(offset),
            Owner::Gfx => self.gfx.read(offset),
            Owner::Sdma(index) => self
                .sdma
                .get_mut(index)
                .map_or(0, |registers| registers.read(offset)),
        }
    }

    /// The index/data windows; everything else of the bus interface reads from its file.
    fn read_nbio(&mut self, offset: RegOffset) -> u32 {
        match offset {
            nbio::MM_DATA => match self.nbio.window() {
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
                let address = self.nbio.smn_address();
                self.smn.read(address).unwrap_or_else(|| {
                    if self.smn_ledger.unmodelled(address, Direction::Read) {
                        log::info!(target: "amdgpu::mmio", "unimplemented: read of SMN register {address}, gives 0");
                    }
                    0
                })
            }
            _ => self.nbio.read(offset),
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
        match owner {
            Owner::Nbio => self.write_nbio(offset, value),
            Owner::Mailbox => forward(
                &mut self.mailbox,
                offset,
                value,
                &mut self.effects,
                Effect::Mailbox,
            ),
            Owner::Plain => self.plain.write(offset, value, &mut Effects::default()),
            Owner::Ih => forward(&mut self.ih, offset, value, &mut self.effects, Effect::Ih),
            Owner::Psp if !self.inject.psp_hears(offset) => self.psp.write_unheard(offset, value),
            Owner::Psp => forward(&mut self.psp, offset, value, &mut self.effects, Effect::Psp),
            Owner::Smu => match self.inject.smu_refuses(offset, value) {
                Some(result) => self.smu.refuse(value, result),
                None => forward(&mut self.smu, offset, value, &mut self.effects, Effect::Smu),
            },
            Owner::GfxHub => {
                self.inject.before_hub_write(&mut self.gfxhub, offset);
                forward(&mut self.gfxhub, offset, value, &mut self.effects, Effect::Hub);
            }
            Owner::MmHub => {
                self.inject.before_hub_write(&mut self.mmhub, offset);
                forward(&mut self.mmhub, offset, value, &mut self.effects, Effect::Hub);
            }
            Owner::Gfx => forward(&mut self.gfx, offset, value, &mut self.effects, Effect::Gfx),
            Owner::Sdma(index) => {
                if let Some(registers) = self.sdma.get_mut(index) {
                    forward(registers, offset, value, &mut self.effects, |effect| {
                        Effect::Sdma(index, effect)
                    });
                }
            }
        }
    }

    fn write_nbio(&mut self, offset: RegOffset, value: u32) {
        match offset {
            nbio::MM_DATA => match self.nbio.window() {
                Window::Vram(at) => {
                    // Beyond VRAM the write goes nowhere, as on the bus.
                    let _ = self.memory.write(Location::Vram(at), &value.to_le_bytes());
                }
                Window::Register(nbio::MM_DATA) => {}
                Window::Register(register) => self.write(register, value),
            },
            nbio::PCIE_DATA2 => {
                let address = self.nbio.smn_address();
                if !self.smn.write(address, value)
                    && self.smn_ledger.unmodelled(address, Direction::Write(value))
                {
                    log::info!(
                        target: "amdgpu::mmio",
                        "unimplemented: write of {value:#x} to SMN register {address}, dropped"
                    );
                }
            }
            _ => self.nbio.write(offset, value, &mut Effects::default()),
        }
    }

    /// Reads a byte that can be accessed by itself.
    pub(super) fn read_lane(&self, byte: u32) -> Option<u8> {
        Mailbox::lane(byte).map(|shift| self.mailbox.read_lane(shift))
    }

    /// Writes a byte, if it can be accessed by itself.
    pub(super) fn write_lane(&mut self, byte: u32, value: u8) {
        let Some(shift) = Mailbox::lane(byte) else {
            return;
        };
        let mut effects = Effects::default();
        self.mailbox.write_lane(shift, value, &mut effects);
        for effect in effects.take() {
            self.effects.push(Effect::Mailbox(effect));
        }
    }

    /// Whether a register belongs to a virtual function whatever the host lets it do: the bus interface and the mailbox.
    pub(super) fn is_always_a_functions(&self, offset: RegOffset) -> bool {
        matches!(self.router.owner(offset), Some(Owner::Nbio | Owner::Mailbox))
    }

    /// Where an address of the graphics hub leads, if it leads anywhere.
    pub(super) fn locate(&self, vmid: Vmid, va: GpuVa) -> Option<Location> {
        match self.gfxhub.translate(&self.memory, vmid, va, Access::Write) {
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
            .gfxhub
            .context(Vmid::KERNEL)
            .filter(|context| context.enabled)
        else {
            return false;
        };
        let (Location::Vram(table), Location::Vram(place)) = (
            context.root.location(self.gfxhub.space().apertures.fb_offset),
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

    /// Graphics, its hub and SDMA back to the state after power-on (MODE2).
    pub(super) fn reset_graphics(&mut self) {
        self.gfxhub.reset();
        self.gfx.reset();
        for registers in &mut self.sdma {
            registers.reset();
        }
        self.effects.take();
        self.faults.take();
    }

    /// Everything but the bus interface and the SMU's mailbox loses its power (BACO).
    pub(super) fn power_chip_off(&mut self) {
        self.reset_chip();
        self.plain.set_baco(true);
        self.chip_off = true;
    }

    /// Everything has power again, in the state after power-on.
    pub(super) fn power_chip_on(&mut self) {
        self.plain.set_baco(false);
        self.chip_off = false;
    }

    /// Every register back to the state after power-on. Memory, counters and the ledger stay.
    pub(super) fn reset(&mut self) {
        self.reset_chip();
        self.smu.reset();
        self.nbio.reset();
        self.mailbox.reset();
        self.chip_off = false;
    }

    /// A virtual function: everything but what is the host's, the management unit and its network.
    pub(super) fn reset_virtual_function(&mut self) {
        self.reset_blocks();
        self.nbio.reset();
        self.mailbox.reset();
    }

    fn reset_chip(&mut self) {
        self.reset_blocks();
        self.smn.reset();
    }

    fn reset_blocks(&mut self) {
        let Self {
            memory: _,
            gfxhub,
            mmhub,
            ih,
            psp,
            smu: _,
            gfx,
            sdma,
            mailbox: _,
            nbio: _,
            plain,
            smn: _,
            router: _,
            ledger: _,
            smn_ledger: _,
            effects,
            faults,
            used_vmids,
            inject: _,
            clock: _,
            chip_off: _,
        } = self;
        *used_vmids = 0;
        gfxhub.reset();
        mmhub.reset();
        ih.reset();
        psp.reset();
        gfx.reset();
        for registers in sdma {
            registers.reset();
        }
        plain.reset();
        effects.take();
        faults.take();
    }
}

/// Writes a register of one block and files its effects under the device's.
fn forward<B: RegisterBlock>(
    block: &mut B,
    offset: RegOffset,
    value: u32,
    effects: &mut Effects<Effect>,
    wrap: impl Fn(B::Effect) -> Effect,
) {
    let mut own = Effects::default();
    block.write(offset, value, &mut own);
    for effect in own.take() {
        effects.push(wrap(effect));
    }
}
