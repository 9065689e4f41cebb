//! A guest without a VM: the device, memory that both sides see, time that passes when told to.
//!
//! Everything goes through what a VMM would use: registers, doorbells, the memory files, the interrupt line.

mod interrupt;
mod memory;

use std::sync::Arc;
use std::time::Duration;

use device::event::ResetKind;
use device::function::Gpu;
use device::memory::{DeviceMemory, Vram, VramError};
use device::transport::{DmaRange, RequestError};
use gart::{BusAddr, Location, VramOffset};
use gpu::asic::NAVI21;
use gpu::{GpuConfig, GpuError, Work};
use mmio::RegOffset;
use thiserror::Error;

pub use interrupt::{Interrupt, InterruptRing};
pub use memory::{Buffer, CpuMemory, PAGE, RAM_BASE};

/// Size of VRAM.
pub const VRAM_SIZE: u64 = 256 << 20;
/// Size of RAM.
pub const RAM_SIZE: u64 = 32 << 20;
/// Polls before a handshake counts as failed. The driver's own limit is 100 000 (`usec_timeout`, 100 ms); a model needs few.
const MAX_POLLS: u32 = 2000;
/// Engine steps before a wait counts as failed.
const MAX_STEPS: u32 = 20_000;
/// What an access costs: `udelay(1)` in the driver's polls.
const ACCESS_TIME: Duration = Duration::from_micros(1);
/// The most that time is moved on at once.
const LONGEST_PAUSE: Duration = Duration::from_millis(1);
/// The top of VRAM belongs to the board's firmware: the discovery binary, 64 KiB below the end, and the PSP's database.
const FIRMWARE_RESERVED: u64 = 2 << 20;

/// A step that the driver could not take: what it waited for, and what it saw instead.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Failure {
    #[error("{what}: register {register} reads {last:#x}, waited for {value:#x} under mask {mask:#x}")]
    Timeout {
        what: &'static str,
        register: RegOffset,
        mask: u32,
        value: u32,
        last: u32,
    },
    #[error("{what}: not seen in {MAX_STEPS} engine steps, device last said {work:?}")]
    Stalled { what: &'static str, work: Work },
    #[error("{what}: expected {expected:#x}, found {found:#x}")]
    Mismatch {
        what: &'static str,
        expected: u64,
        found: u64,
    },
    #[error("{0}")]
    Invalid(&'static str),
    #[error("{len} bytes at {at} are in no memory of the guest")]
    NoMemory { at: Location, len: usize },
    #[error("offset {offset:#x} lies outside a buffer of {size:#x} bytes")]
    OutsideBuffer { offset: u64, size: u64 },
    #[error("out of {0}")]
    Exhausted(&'static str),
    #[error("{0}")]
    Host(&'static str),
    #[error("the device cannot be built")]
    Gpu(#[from] GpuError),
    #[error("VRAM cannot be provided")]
    Vram(#[from] VramError),
    #[error("RAM cannot be mapped for the device")]
    Dma(#[from] RequestError),
}

/// Compares what was found with what has to be.
///
/// # Errors
/// [`Failure::Mismatch`] if they differ.
pub fn expect(what: &'static str, found: impl Into<u64>, expected: impl Into<u64>) -> Result<(), Failure> {
    let (found, expected) = (found.into(), expected.into());
    if found == expected {
        Ok(())
    } else {
        Err(Failure::Mismatch {
            what,
            expected,
            found,
        })
    }
}

/// The low half.
pub const fn lo(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

/// The high half.
pub const fn hi(value: u64) -> u32 {
    (value >> 32) as u32
}

/// The device, and around it what a guest has.
#[derive(Debug)]
pub struct FakeGuest {
    gpu: Gpu,
    cpu: Arc<CpuMemory>,
    now: Duration,
    next_vram: u64,
    next_ram: u64,
    message_signalled: u64,
    pending: bool,
    masked: bool,
    ring: Option<InterruptRing>,
    interrupts: Vec<Interrupt>,
    accesses: u64,
}

impl FakeGuest {
    /// A guest with a cold Navi21 of so many SDMA engines.
    ///
    /// # Errors
    /// [`Failure`] if the device or its memory cannot be made.
    pub fn new(sdma_instances: usize) -> Result<Self, Failure> {
        Self::with(GpuConfig::bare_metal(&NAVI21, sdma_instances))
    }

    /// A guest with a device of this configuration.
    ///
    /// # Errors
    /// [`Failure`] if the device or its memory cannot be made.
    pub fn with(config: GpuConfig) -> Result<Self, Failure> {
        let vram = Vram::new(VRAM_SIZE)?;
        let bar = vram.share().map_err(|_| Failure::Host("VRAM cannot be shared"))?;
        let ram = memory::memory_file(RAM_SIZE)?;
        let backing = ram
            .try_clone()
            .map_err(|_| Failure::Host("RAM cannot be shared"))?;
        let cpu = Arc::new(CpuMemory::new((bar, VRAM_SIZE), (ram, RAM_SIZE))?);
        let mut memory = DeviceMemory::new(vram);
        memory.guest.add(DmaRange {
            address: RAM_BASE,
            size: RAM_SIZE,
            readable: true,
            writable: true,
            backing: Some((backing, 0)),
        })?;
        memory.guest.set_bus_master(true);
        Ok(Self {
            gpu: Gpu::new(config, memory)?,
            cpu,
            now: Duration::ZERO,
            next_vram: 0,
            next_ram: RAM_SIZE,
            message_signalled: 0,
            pending: false,
            masked: false,
            ring: None,
            interrupts: Vec::new(),
            accesses: 0,
        })
    }

    /// Reads a register.
    pub fn read(&mut self, register: RegOffset) -> u32 {
        let value = self.gpu.read_register(register);
        self.accessed();
        value
    }

    /// Writes a register.
    pub fn write(&mut self, register: RegOffset, value: u32) {
        self.gpu.write_register(register, value);
        self.accessed();
    }

    /// Reads one byte of a register.
    ///
    /// # Errors
    /// [`Failure::Invalid`] if it cannot be read by itself.
    pub fn read_byte(&mut self, offset: u32) -> Result<u8, Failure> {
        let value = self.gpu.read_register_byte(offset);
        self.accessed();
        value.ok_or(Failure::Invalid("a byte that cannot be read by itself"))
    }

    /// Writes one byte of a register.
    ///
    /// # Errors
    /// [`Failure::Invalid`] if it cannot be written by itself.
    pub fn write_byte(&mut self, offset: u32, value: u8) -> Result<(), Failure> {
        let taken = self.gpu.write_register_byte(offset, value);
        self.accessed();
        if taken {
            Ok(())
        } else {
            Err(Failure::Invalid("a byte that cannot be written by itself"))
        }
    }

    /// Reads VRAM through BAR 0.
    ///
    /// # Errors
    /// [`Failure::NoMemory`] beyond its end.
    pub fn read_vram(&self, offset: u64, len: usize) -> Result<Vec<u8>, Failure> {
        let mut data = vec![0; len];
        self.cpu
            .read(Location::Vram(VramOffset::new(offset)), &mut data)?;
        Ok(data)
    }

    /// Writes two registers, the low half first.
    pub fn write_pair(&mut self, low: RegOffset, high: RegOffset, value: u64) {
        self.write(low, lo(value));
        self.write(high, hi(value));
    }

    /// Reads a register, changes bits, writes it back; `WREG32_P` and the `REG_SET_FIELD` sequences.
    pub fn modify(&mut self, register: RegOffset, clear: u32, set: u32) {
        let value = self.read(register);
        self.write(register, value & !clear | set);
    }

    /// Writes a doorbell, by the dword index that the driver uses.
    pub fn doorbell(&mut self, index: u32, value: u64) {
        self.gpu.write_doorbell(index, value);
        self.accessed();
    }

    fn accessed(&mut self) {
        self.accesses += 1;
        self.pass(ACCESS_TIME);
        self.notice_interrupt();
    }

    fn notice_interrupt(&mut self) {
        if self.gpu.take_interrupt() {
            self.message_signalled += 1;
            self.pending = true;
        }
    }

    /// Lets time pass without a step of the engines.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.gpu.set_time(self.now);
    }

    /// Gives the device one budget of engine work, then the CPU its interrupt.
    ///
    /// # Errors
    /// [`Failure`] if the interrupt ring does not hold what it has to.
    pub fn step(&mut self) -> Result<Work, Failure> {
        let work = self.gpu.run();
        self.notice_interrupt();
        self.pass(match work {
            Work::Wait(pause) => pause.clamp(ACCESS_TIME, LONGEST_PAUSE),
            Work::Busy | Work::Idle => ACCESS_TIME,
        });
        if self.pending && !self.masked {
            self.pending = false;
            self.handle_interrupt()?;
        }
        Ok(work)
    }

    fn handle_interrupt(&mut self) -> Result<(), Failure> {
        let Some(mut ring) = self.ring.take() else {
            return Err(Failure::Invalid("an interrupt without an interrupt ring"));
        };
        let taken = ring.process(self);
        self.ring = Some(ring);
        self.interrupts.extend(taken?);
        Ok(())
    }

    /// Polls a register as `psp_wait_for` and its like do, until `mask` selects `value`; returns what it reads then.
    ///
    /// # Errors
    /// [`Failure::Timeout`] if it never does.
    pub fn poll(
        &mut self,
        what: &'static str,
        register: RegOffset,
        mask: u32,
        value: u32,
    ) -> Result<u32, Failure> {
        let mut last = 0;
        for _ in 0..MAX_POLLS {
            last = self.read(register);
            if last & mask == value {
                return Ok(last);
            }
            self.step()?;
        }
        Err(Failure::Timeout {
            what,
            register,
            mask,
            value,
            last,
        })
    }

    /// Steps the device until something has happened.
    ///
    /// # Errors
    /// [`Failure::Stalled`] if it never does.
    pub fn run_until(
        &mut self,
        what: &'static str,
        mut happened: impl FnMut(&Self) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let mut work = Work::Idle;
        for _ in 0..MAX_STEPS {
            if happened(self)? {
                return Ok(());
            }
            work = self.step()?;
        }
        Err(Failure::Stalled { what, work })
    }

    /// Steps the device until it has nothing to do.
    ///
    /// # Errors
    /// [`Failure::Stalled`] if it never comes to rest.
    pub fn run_until_idle(&mut self) -> Result<(), Failure> {
        let mut work = Work::Busy;
        for _ in 0..MAX_STEPS {
            work = self.step()?;
            if work == Work::Idle {
                return Ok(());
            }
        }
        Err(Failure::Stalled { what: "rest", work })
    }

    /// Waits until a dword of a buffer has a value.
    ///
    /// # Errors
    /// [`Failure::Stalled`] if it never has.
    pub fn wait_for(
        &mut self,
        what: &'static str,
        buffer: &Buffer,
        offset: u64,
        value: u32,
    ) -> Result<(), Failure> {
        self.run_until(what, |guest| Ok(guest.load(buffer, offset)? == value))
    }

    /// Allocates VRAM, from the bottom.
    ///
    /// # Errors
    /// [`Failure::Exhausted`].
    pub fn allocate_vram(&mut self, size: u64, align: u64) -> Result<VramOffset, Failure> {
        let at = self.next_vram.next_multiple_of(align);
        let end = at + size.next_multiple_of(PAGE);
        if end > VRAM_SIZE - FIRMWARE_RESERVED {
            return Err(Failure::Exhausted("VRAM"));
        }
        self.next_vram = end;
        Ok(VramOffset::new(at))
    }

    /// Allocates pages of RAM, from the top: never two neighbours in ascending order, so that only a page table makes one range of them.
    ///
    /// # Errors
    /// [`Failure::Exhausted`].
    pub fn allocate_pages(&mut self, size: u64) -> Result<Vec<BusAddr>, Failure> {
        (0..size.div_ceil(PAGE))
            .map(|_| {
                self.next_ram = self.next_ram.checked_sub(PAGE).ok_or(Failure::Exhausted("RAM"))?;
                Ok(BusAddr::new(RAM_BASE + self.next_ram))
            })
            .collect()
    }

    /// Reads bytes of a buffer with the CPU.
    ///
    /// # Errors
    /// [`Failure`] outside the buffer.
    pub fn read_bytes(&self, buffer: &Buffer, offset: u64, len: usize) -> Result<Vec<u8>, Failure> {
        let mut data = vec![0; len];
        buffer.pieces(offset, len, |at, first, count| {
            match data.get_mut(first..first + count) {
                Some(piece) => self.cpu.read(at, piece),
                None => Ok(()),
            }
        })?;
        Ok(data)
    }

    /// Writes bytes of a buffer with the CPU.
    ///
    /// # Errors
    /// [`Failure`] outside the buffer.
    pub fn write_bytes(&self, buffer: &Buffer, offset: u64, data: &[u8]) -> Result<(), Failure> {
        buffer.pieces(offset, data.len(), |at, first, count| {
            match data.get(first..first + count) {
                Some(piece) => self.cpu.write(at, piece),
                None => Ok(()),
            }
        })
    }

    /// Writes dwords of a buffer with the CPU.
    ///
    /// # Errors
    /// [`Failure`] outside the buffer.
    pub fn write_dwords(&self, buffer: &Buffer, offset: u64, dwords: &[u32]) -> Result<(), Failure> {
        let bytes: Vec<u8> = dwords.iter().flat_map(|dword| dword.to_le_bytes()).collect();
        self.write_bytes(buffer, offset, &bytes)
    }

    /// Reads an aligned dword of a buffer.
    ///
    /// # Errors
    /// [`Failure`] outside the buffer.
    pub fn load(&self, buffer: &Buffer, offset: u64) -> Result<u32, Failure> {
        self.cpu.load(buffer.at(offset)?)
    }

    /// Writes an aligned dword of a buffer.
    ///
    /// # Errors
    /// [`Failure`] outside the buffer.
    pub fn store(&self, buffer: &Buffer, offset: u64, value: u32) -> Result<(), Failure> {
        self.cpu.store(buffer.at(offset)?, value)
    }

    /// The memory, for another thread to look at.
    pub fn memory(&self) -> Arc<CpuMemory> {
        Arc::clone(&self.cpu)
    }

    /// From now on interrupts are taken from this ring.
    pub fn set_interrupt_ring(&mut self, ring: Option<InterruptRing>) {
        self.ring = ring;
    }

    /// Keeps the CPU from taking interrupts, or lets it again.
    pub const fn mask_interrupts(&mut self, masked: bool) {
        self.masked = masked;
    }

    /// Interrupts taken so far.
    pub fn interrupts(&self) -> &[Interrupt] {
        &self.interrupts
    }

    /// Message-signalled interrupts sent so far.
    pub const fn messages(&self) -> u64 {
        self.message_signalled
    }

    /// Register and doorbell accesses so far.
    pub const fn accesses(&self) -> u64 {
        self.accesses
    }

    /// PCI command register, bus master enable.
    pub const fn set_bus_master(&mut self, enabled: bool) {
        self.gpu.memory_mut().guest.set_bus_master(enabled);
    }

    /// The PCI core resets the function. VRAM stays, so do the guest's own memory and its allocations.
    pub fn reset_function(&mut self) {
        self.gpu.reset(ResetKind::FunctionLevel);
        self.forget_interrupts();
    }

    /// Whatever was signalled before a reset is no concern of what comes after.
    pub const fn forget_interrupts(&mut self) {
        self.pending = false;
    }

    /// The device, for tests that go where a driver would not.
    pub const fn gpu(&mut self) -> &mut Gpu {
        &mut self.gpu
    }
}
