//! The GPU as a PCI function: what a transport drives.
//!
//! Bytes become register and doorbell accesses here, configuration effects become resets and gates, and an interrupt that is due
//! becomes a signal on an event descriptor. This is the only place that looks at the clock.

use std::time::{Duration, Instant, SystemTime};

use gart::PhysicalMemory;
use mmio::{AccessError, check_dword};
use protocol::state::FunctionState;
use protocol::stats::{AccessCount, Accesses};
use vmm_sys_util::eventfd::EventFd;

use crate::event::{Event, Feed, ResetKind};
use crate::memory::{DeviceMemory, Vram, VramError};
use crate::pci::{Bar, BarKind, ConfigEffect, ConfigSpace, Layout, LayoutError, PowerState};
use crate::transport::{Activity, DmaRange, PciFunction, Region, RegionInfo, RequestError};
use gpu::asic::AsicProfile;
use gpu::images::vbios;
use gpu::limited;
use gpu::sriov::Flr;
use gpu::{GpuConfig, GpuError, Question, Ticket, Work};

/// The GPU on memory that is mapped.
pub type Gpu = gpu::Gpu<DeviceMemory>;

/// VRAM.
const VRAM_BAR: u8 = 0;
/// Doorbells.
const DOORBELL_BAR: u8 = 2;
/// Registers.
const REGISTER_BAR: u8 = 5;

const DOORBELL_BYTES: u64 = 2 << 20;
const REGISTER_BYTES: u64 = 1 << 20;

/// `VFIO_PCI_MSI_IRQ_INDEX`
const MSI_INDEX: u32 = 1;

/// Pause before events that could not be given away at once are tried again.
const EVENTS_PAUSE: Duration = Duration::from_millis(1);

/// A function that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No VRAM.
    #[error("cannot provide VRAM")]
    Vram(#[from] VramError),
    /// The BARs do not fit.
    #[error("cannot lay out the PCI function")]
    Layout(#[from] LayoutError),
    /// The part contradicts itself.
    #[error("cannot build the GPU")]
    Gpu(#[from] GpuError),
}

/// That of a region; `None` of a BAR that does not exist.
const fn accesses_to(accesses: &mut Accesses, region: Region) -> Option<&mut AccessCount> {
    match region {
        Region::Config => Some(&mut accesses.config),
        Region::Rom => Some(&mut accesses.rom),
        Region::Bar(VRAM_BAR) => Some(&mut accesses.vram),
        Region::Bar(DOORBELL_BAR) => Some(&mut accesses.doorbells),
        Region::Bar(REGISTER_BAR) => Some(&mut accesses.registers),
        Region::Bar(_) => None,
    }
}

/// The GPU behind its PCI function.
#[derive(Debug)]
pub struct GpuFunction {
    feed: Feed,
    front_end: bool,
    gpu: Gpu,
    config: ConfigSpace,
    rom: Vec<u8>,
    vram_size: u64,
    no_soft_reset: bool,
    msi: Option<EventFd>,
    epoch: Instant,
    refused: u64,
    accesses: Accesses,
}

impl GpuFunction {
    /// The function after power-on, on the part's usual board.
    ///
    /// # Errors
    /// [`BuildError`] if the host has no memory for it.
    pub fn new(
        asic: &'static AsicProfile,
        vram_size: u64,
        sdma_instances: usize,
    ) -> Result<Self, BuildError> {
        Self::with(GpuConfig::bare_metal(asic, sdma_instances), Vram::new(vram_size)?)
    }

    /// The function after power-on.
    ///
    /// # Errors
    /// [`BuildError`] if the BARs do not fit, or the part contradicts itself.
    pub fn with(gpu_config: GpuConfig, vram: Vram) -> Result<Self, BuildError> {
        let GpuConfig {
            asic,
            personality,
            board,
            ..
        } = gpu_config;
        let vram_size = vram.size();
        let memory = DeviceMemory::new(vram);
        // A virtual function has none: its host leaves the image in VRAM.
        let rom = if personality.host.is_some() {
            Vec::new()
        } else {
            vbios::build(asic, personality)
        };
        let config = ConfigSpace::new(&Layout {
            identity: personality.pci,
            bars: vec![
                Bar {
                    index: VRAM_BAR,
                    size: vram_size,
                    kind: BarKind::Memory64Prefetchable,
                },
                Bar {
                    index: DOORBELL_BAR,
                    size: DOORBELL_BYTES,
                    kind: BarKind::Memory64Prefetchable,
                },
                Bar {
                    index: REGISTER_BAR,
                    size: REGISTER_BYTES,
                    kind: BarKind::Memory32,
                },
            ],
            rom_size: u32::try_from(rom.len()).unwrap_or(u32::MAX),
            no_soft_reset: board.no_soft_reset,
        })?;
        let mut gpu = Gpu::new(gpu_config, memory)?;
        let unix_time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let epoch = Instant::now();
        gpu.record(Event::Started {
            unix_us: unix_time.map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
            asic: asic.name,
            personality: personality.name,
            vram_size,
        });
        Ok(Self {
            feed: Feed::default(),
            front_end: false,
            gpu,
            no_soft_reset: board.no_soft_reset,
            config,
            rom,
            vram_size,
            msi: None,
            epoch,
            refused: 0,
            accesses: Accesses::default(),
        })
    }

    /// Keeps this many events for those who read, instead of [`KEPT`](crate::event::KEPT). To be said before anybody reads: the feed is a new one.
    #[must_use]
    pub fn keeping_events(mut self, count: usize) -> Self {
        self.gpu.keep_events(count);
        self.feed = Feed::new(count);
        self
    }

    /// The GPU, for questions about it.
    pub const fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The GPU, to do something to it.
    pub const fn gpu_mut(&mut self) -> &mut Gpu {
        &mut self.gpu
    }

    /// The host of a virtual function announces a reset of it, or makes up its mind about the next one that the guest asks for. Gives
    /// whether there is a host; see [`Gpu::host_flr`].
    pub fn host_flr(&mut self, flr: Flr, announce: bool, patience: Option<Duration>) -> bool {
        self.tick();
        let done = self.gpu.host_flr(flr, announce, patience);
        self.deliver();
        done
    }

    /// Asks for a look at all page tables as they are at this moment; see [`Gpu::ask_oracle`].
    pub fn ask_oracle(&mut self, question: Question) -> Option<Ticket> {
        self.tick();
        self.gpu.ask_oracle(question)
    }

    /// Takes down something that happened just now, outside of the GPU.
    pub fn record(&mut self, event: Event) {
        self.tick();
        self.gpu.record(event);
    }

    /// Accesses that did not suit their region, since the start.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Accesses since the start.
    pub const fn accesses(&self) -> Accesses {
        Accesses {
            blocks: *self.gpu.register_accesses(),
            ..self.accesses
        }
    }

    /// The events, for other threads.
    pub const fn feed(&self) -> &Feed {
        &self.feed
    }

    /// The end: nothing happens to the function any more, and who reads its events gets the last of them.
    pub fn close_feed(&mut self) {
        self.gpu.flush_journal();
        self.feed.close(self.gpu.journal());
    }

    /// What the function does now.
    pub fn state(&mut self) -> FunctionState {
        self.tick();
        FunctionState {
            front_end: self.front_end,
            msi_connected: self.msi.is_some(),
            bus_master: self.config.bus_master(),
            power_state: match self.config.power_state() {
                PowerState::D0 => "D0",
                PowerState::D3Hot => "D3hot",
            },
            gpu: self.gpu.state(),
        }
    }

    fn tick(&mut self) {
        self.gpu.set_time(self.epoch.elapsed());
    }

    /// Sends the interrupt if one has become due. With MSI off, or nobody listening, it is lost, as on the bus; in D3hot it waits.
    fn deliver(&mut self) {
        if self.is_awake()
            && self.gpu.take_interrupt()
            && let Some(msi) = &self.msi
            && let Err(error) = msi.write(1)
        {
            limited!(Warn, target: "amdgpu::ih", "cannot signal the interrupt: {error}");
        }
    }

    fn refuse(&mut self, error: AccessError) -> RequestError {
        self.refused += 1;
        log::debug!(target: "amdgpu::vfio", "refused: {error}");
        error.into()
    }

    /// Everything as after power-on, configuration space included. VRAM keeps its contents.
    fn function_reset(&mut self, kind: ResetKind) {
        self.reset_config();
        self.gpu.reset(kind);
    }

    fn reset_config(&mut self) {
        self.config.reset();
        self.power_changed();
    }

    /// Whether the function is in D0.
    fn is_awake(&self) -> bool {
        self.config.power_state() == PowerState::D0
    }

    /// In D3hot the function answers in configuration space only: its engines stand still, and it sends nothing.
    fn power_changed(&mut self) {
        let awake = self.is_awake();
        let masters = awake && self.config.bus_master();
        self.gpu.memory_mut().guest.set_bus_master(masters);
        self.gpu.set_asleep(!awake);
    }

    fn apply(&mut self, effect: ConfigEffect) {
        match effect {
            ConfigEffect::BusMaster(_) => self.power_changed(),
            ConfigEffect::FunctionLevelReset => {
                limited!(Info, target: "amdgpu::reset", "function level reset");
                self.function_reset(ResetKind::FunctionLevel);
            }
            ConfigEffect::PowerState(state) => {
                limited!(Info, target: "amdgpu::pci", "power state {state:?}");
                if state == PowerState::D0 && !self.no_soft_reset {
                    self.function_reset(ResetKind::D3hot);
                } else {
                    self.power_changed();
                }
            }
            // The front end routes memory accesses and messages itself.
            ConfigEffect::MemoryEnable(_) | ConfigEffect::MsiChanged => {}
        }
    }

    fn write_doorbell(&mut self, offset: u64, data: &[u8]) -> Result<(), RequestError> {
        let len = data.len();
        let value = match *data {
            [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            _ => return Err(self.refuse(AccessError::Size { offset, len })),
        };
        if !offset.is_multiple_of(4) {
            return Err(self.refuse(AccessError::Unaligned { offset, len }));
        }
        match u32::try_from(offset / 4) {
            Ok(index) if offset + len as u64 <= DOORBELL_BYTES => {
                self.gpu.write_doorbell(index, value);
                Ok(())
            }
            _ => Err(self.refuse(AccessError::OutOfRange {
                offset,
                len,
                size: DOORBELL_BYTES,
            })),
        }
    }

    /// A read of one byte, if it can be read by itself.
    fn register_byte(&mut self, offset: u64, len: usize) -> Option<u8> {
        let byte = u32::try_from(offset).ok().filter(|_| len == 1)?;
        self.gpu.read_register_byte(byte)
    }

    /// A write of one byte, if it can be written by itself.
    fn set_register_byte(&mut self, offset: u64, data: &[u8]) -> bool {
        match (u32::try_from(offset), data) {
            (Ok(byte), [value]) => self.gpu.write_register_byte(byte, *value),
            _ => false,
        }
    }

    /// A register access of one dword, or of two that are done low first.
    fn for_each_dword(
        &mut self,
        offset: u64,
        len: usize,
        mut access: impl FnMut(&mut Gpu, mmio::RegOffset, usize),
    ) -> Result<(), RequestError> {
        let first = if len == 8 { 4 } else { len };
        let check = check_dword(offset, first, REGISTER_BYTES)
            .and_then(|_| check_dword(offset + (len - first) as u64, 4, REGISTER_BYTES));
        if let Err(error) = check {
            return Err(self.refuse(error));
        }
        for at in (0..len).step_by(4) {
            if let Ok(register) = check_dword(offset + at as u64, 4, REGISTER_BYTES) {
                access(&mut self.gpu, register, at);
            }
        }
        Ok(())
    }
}

/// Copies from a region that is plain bytes; beyond its end it reads as zero.
fn read_bytes(source: &[u8], offset: u64, data: &mut [u8]) {
    data.fill(0);
    let Some(rest) = usize::try_from(offset)
        .ok()
        .and_then(|offset| source.get(offset..))
    else {
        return;
    };
    for (to, from) in data.iter_mut().zip(rest) {
        *to = *from;
    }
}

impl PciFunction for GpuFunction {
    fn region(&self, region: Region) -> Result<RegionInfo, RequestError> {
        let trapped = |size| RegionInfo {
            size,
            readable: size != 0,
            writable: size != 0,
            mmap: None,
        };
        Ok(match region {
            Region::Bar(VRAM_BAR) => {
                let file = self
                    .gpu
                    .memory()
                    .vram
                    .share()
                    .map_err(|source| RequestError::Host {
                        what: "cannot share VRAM",
                        source,
                    })?;
                RegionInfo {
                    mmap: Some((file, 0)),
                    ..trapped(self.vram_size)
                }
            }
            Region::Bar(DOORBELL_BAR) => trapped(DOORBELL_BYTES),
            Region::Bar(REGISTER_BAR) => trapped(REGISTER_BYTES),
            Region::Bar(_) => trapped(0),
            Region::Rom => RegionInfo {
                writable: false,
                ..trapped(self.rom.len() as u64)
            },
            Region::Config => trapped(crate::pci::CONFIG_SIZE as u64),
        })
    }

    fn irq_count(&self, index: u32) -> u32 {
        u32::from(index == MSI_INDEX)
    }

    fn read(&mut self, region: Region, offset: u64, data: &mut [u8]) -> Result<(), RequestError> {
        if let Some(count) = accesses_to(&mut self.accesses, region) {
            count.reads += 1;
        }
        if self.gpu.is_off_bus() {
            data.fill(0xff);
            return Ok(());
        }
        match region {
            // Nothing answers in D3hot. (The front end's own mapping of VRAM is beyond our reach: it stops decoding by itself.)
            Region::Bar(_) if !self.is_awake() => data.fill(0xff),
            Region::Bar(REGISTER_BAR) => {
                self.tick();
                if let Some(value) = self.register_byte(offset, data.len()) {
                    data.fill(value);
                    return Ok(());
                }
                self.for_each_dword(offset, data.len(), |gpu, register, at| {
                    let value = gpu.read_register(register);
                    if let Some(lane) = data.get_mut(at..at + 4) {
                        lane.copy_from_slice(&value.to_le_bytes());
                    }
                })?;
                self.deliver();
            }
            Region::Bar(VRAM_BAR) => {
                let at = gart::Location::Vram(gart::VramOffset::new(offset));
                if self.gpu.memory().read(at, data).is_err() {
                    let (len, size) = (data.len(), self.vram_size);
                    return Err(self.refuse(AccessError::OutOfRange { offset, len, size }));
                }
            }
            Region::Bar(_) => data.fill(0),
            Region::Rom => read_bytes(&self.rom, offset, data),
            Region::Config => self.config.read(offset, data)?,
        }
        Ok(())
    }

    fn write(&mut self, region: Region, offset: u64, data: &[u8]) -> Result<(), RequestError> {
        if let Some(count) = accesses_to(&mut self.accesses, region) {
            count.writes += 1;
        }
        self.tick();
        if self.gpu.is_off_bus() {
            return Ok(());
        }
        match region {
            Region::Bar(_) if !self.is_awake() => {}
            Region::Bar(REGISTER_BAR) if self.set_register_byte(offset, data) => {}
            Region::Bar(REGISTER_BAR) => {
                self.for_each_dword(offset, data.len(), |gpu, register, at| {
                    if let Some(lane) = data.get(at..at + 4).and_then(|lane| lane.try_into().ok()) {
                        gpu.write_register(register, u32::from_le_bytes(lane));
                    }
                })?;
            }
            Region::Bar(DOORBELL_BAR) => self.write_doorbell(offset, data)?,
            Region::Bar(VRAM_BAR) => {
                let at = gart::Location::Vram(gart::VramOffset::new(offset));
                if self.gpu.memory().write(at, data).is_err() {
                    let (len, size) = (data.len(), self.vram_size);
                    return Err(self.refuse(AccessError::OutOfRange { offset, len, size }));
                }
            }
            Region::Bar(_) | Region::Rom => {}
            Region::Config => {
                for effect in self.config.write(offset, data)? {
                    self.apply(effect);
                }
            }
        }
        self.deliver();
        Ok(())
    }

    fn dma_map(&mut self, range: DmaRange) -> Result<(), RequestError> {
        self.gpu.memory_mut().guest.add(range)
    }

    fn dma_unmap(&mut self, address: u64, size: u64, all: bool) -> Result<(), RequestError> {
        let guest = &mut self.gpu.memory_mut().guest;
        if all {
            guest.remove_all();
            return Ok(());
        }
        guest.remove(address, size)
    }

    fn set_irqs(
        &mut self,
        index: u32,
        first: u32,
        mut vectors: Vec<Option<EventFd>>,
    ) -> Result<(), RequestError> {
        if vectors.is_empty() && first == 0 {
            if index == MSI_INDEX {
                self.msi = None;
            }
            return Ok(());
        }
        if index != MSI_INDEX || first != 0 || vectors.len() != 1 {
            return Err(RequestError::Invalid(
                "the function has one interrupt vector: MSI 0",
            ));
        }
        self.msi = vectors.pop().flatten();
        Ok(())
    }

    fn trigger_irqs(&mut self, index: u32, first: u32, count: u32) -> Result<(), RequestError> {
        if index != MSI_INDEX || first != 0 || count != 1 {
            return Err(RequestError::Invalid(
                "the function has one interrupt vector: MSI 0",
            ));
        }
        if let Some(msi) = &self.msi {
            msi.write(1).map_err(|source| RequestError::Host {
                what: "cannot signal the interrupt",
                source,
            })?;
        }
        Ok(())
    }

    fn reset(&mut self) {
        limited!(Info, target: "amdgpu::reset", "device reset by the front end");
        self.tick();
        self.function_reset(ResetKind::Bus);
    }

    fn connected(&mut self) {
        self.tick();
        self.front_end = true;
        self.gpu.record(Event::FrontEnd { connected: true });
    }

    fn disconnected(&mut self) {
        self.tick();
        self.front_end = false;
        self.gpu.record(Event::FrontEnd { connected: false });
        self.gpu.memory_mut().guest.clear();
        self.msi = None;
        self.reset_config();
        self.gpu.power_off();
    }

    fn run(&mut self) -> Activity {
        self.tick();
        let work = self.gpu.run();
        self.deliver();
        let published = self.feed.publish(self.gpu.journal());
        let events = if published {
            self.gpu.journal_due()
        } else {
            Some(EVENTS_PAUSE)
        };
        let pause = match work {
            Work::Busy => return Activity::Busy,
            Work::Wait(pause) => Some(events.map_or(pause, |events| events.min(pause))),
            Work::Idle => events,
        };
        pause.map_or(Activity::Idle, |pause| Activity::Until(Instant::now() + pause))
    }
}

#[cfg(test)]
mod reset_tests;
#[cfg(test)]
mod tests;
