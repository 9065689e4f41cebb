//! A miniature of the Linux driver: its handshakes, in its order, as far as the device can tell.

pub mod discovery;
pub mod gfx;
pub mod gmc;
pub mod ih;
pub mod mailbox;
pub mod packet;
pub mod psp;
pub mod queue;
pub mod regs;
pub mod ring;
pub mod sdma;
pub mod smu;
pub mod vbios;
pub mod vm;
pub mod wb;

use std::time::Duration;

use gart::GpuVa;
use gpu::GpuConfig;
use gpu::asic::NAVI21;
use gpu::images;

use crate::guest::{Buffer, Failure, FakeGuest, Interrupt, PAGE, expect};
use discovery::Discovery;
use gfx::Gfx;
use gmc::Gmc;
use ih::Ih;
use mailbox::event::{READY_TO_ACCESS_GPU, REQ_GPU_INIT_DATA_READY};
use mailbox::request::{REL_GPU_INIT_ACCESS, REQ_GPU_INIT_ACCESS, REQ_GPU_INIT_DATA};
use psp::Psp;
use queue::Queue;
use regs::{mp, nbio};
use sdma::Sdma;
use vm::{Mapping, Vm};
use wb::WriteBack;

/// Which kernel's habits are followed, where they differ as the device sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// AGP window, one graphics ring, SDMA write pointers by register too.
    V6_1,
    /// Two graphics rings, waits for the boot firmware.
    V6_12,
    /// As 6.12; flushes by VM_INVALIDATION, strict about the bootloader.
    V7_3,
}

impl Kernel {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::V6_1, Self::V6_12, Self::V7_3];
}

/// How the whole part is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetMethod {
    /// MODE1 by a message to the management unit.
    Mode1Smu,
    /// MODE1 by the security processor's mailbox.
    Mode1Psp,
}

/// Where a buffer is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// The GPU's own memory.
    Vram,
    /// The guest's memory, through the GART.
    Gtt,
}

/// The device in its guest, and the driver's state of every block.
///
/// [`Self::attach`] is everything up to and including software initialisation, which a reset does not undo. The `*_hw_init` steps are
/// repeated after each reset.
#[derive(Debug)]
pub struct Driver {
    /// The guest and its device.
    pub guest: FakeGuest,
    /// Whose habits.
    pub kernel: Kernel,
    /// What the discovery binary says.
    pub discovery: Discovery,
    /// Memory controller.
    pub gmc: Gmc,
    /// Interrupt handler.
    pub ih: Ih,
    /// Security processor.
    pub psp: Psp,
    /// Command processor.
    pub gfx: Gfx,
    /// SDMA engines.
    pub sdma: Vec<Sdma>,
    smu_table: Buffer,
    reset_magic: Vec<u8>,
}

/// Polls something that is more than a register.
pub(crate) fn wait_ready(
    guest: &mut FakeGuest,
    what: &'static str,
    mut ready: impl FnMut(&mut FakeGuest) -> bool,
) -> Result<(), Failure> {
    const POLLS: u32 = 1000;
    for _ in 0..POLLS {
        if ready(guest) {
            return Ok(());
        }
        guest.step()?;
    }
    Err(Failure::Invalid(what))
}

impl Driver {
    /// From the first register access to the end of software initialisation (3.4, steps 1 to 7).
    ///
    /// # Errors
    /// [`Failure`] at the first step that a driver would fail at.
    pub fn attach(mut guest: FakeGuest, kernel: Kernel) -> Result<Self, Failure> {
        expect(
            "a physical function",
            guest.read(nbio::RCC_IOV_FUNC_IDENTIFIER),
            0_u32,
        )?;
        let discovery = discovery::read(&mut guest, kernel)?;
        discovery::select_blocks(&discovery)?;
        vbios::parse(&images::vbios::build(&NAVI21, &NAVI21.bare_metal))?;
        expect_cold(&mut guest)?;
        Self::sw_init(guest, kernel, discovery)
    }

    /// The same on a virtual function: the host is asked for it first, and has left the VBIOS in VRAM.
    ///
    /// # Errors
    /// [`Failure`] at the first step that a driver would fail at.
    pub fn attach_vf(mut guest: FakeGuest, kernel: Kernel) -> Result<Self, Failure> {
        const VBIOS_BYTES: usize = 64 << 10;
        const RESERVED: u64 = 128 << 10;
        expect(
            "a virtual function",
            guest.read(nbio::RCC_IOV_FUNC_IDENTIFIER),
            1_u32,
        )?;
        let version = mailbox::ask(&mut guest, REQ_GPU_INIT_DATA, REQ_GPU_INIT_DATA_READY)?;
        expect("version of the host's data", version, 1_u32)?;
        mailbox::ask(&mut guest, REQ_GPU_INIT_ACCESS, READY_TO_ACCESS_GPU)?;
        let discovery = discovery::read(&mut guest, kernel)?;
        discovery::select_blocks(&discovery)?;
        vbios::parse(&guest.read_vram(0, VBIOS_BYTES)?)?;
        guest.allocate_vram(RESERVED, PAGE)?;
        Self::sw_init(guest, kernel, discovery)
    }

    fn sw_init(mut guest: FakeGuest, kernel: Kernel, discovery: Discovery) -> Result<Self, Failure> {
        let mut gmc = Gmc::new(&mut guest, kernel)?;
        let mut wb = WriteBack::new(&mut guest, &mut gmc)?;
        let sdma = (0..discovery.sdma_instances())
            .map(|instance| Sdma::new(&mut guest, &mut gmc, &mut wb, kernel, instance))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            ih: Ih::new(&mut guest, &mut gmc, &mut wb)?,
            psp: Psp::new(&mut guest, &mut gmc)?,
            gfx: Gfx::new(&mut guest, &mut gmc, &mut wb, kernel)?,
            smu_table: gmc.vram(&mut guest, PAGE, PAGE)?,
            sdma,
            gmc,
            discovery,
            kernel,
            guest,
            reset_magic: Vec::new(),
        })
    }

    /// A device of so many SDMA engines, brought up completely.
    ///
    /// # Errors
    /// [`Failure`] at the first step that a driver would fail at.
    pub fn bring_up(kernel: Kernel, sdma_instances: usize) -> Result<Self, Failure> {
        let mut driver = Self::attach(FakeGuest::new(sdma_instances)?, kernel)?;
        expect(
            "SDMA engines in the discovery binary",
            driver.sdma.len() as u64,
            sdma_instances as u64,
        )?;
        driver.hw_init()?;
        Ok(driver)
    }

    /// The same for a virtual function. It runs afterwards: the host has the registers back.
    ///
    /// # Errors
    /// [`Failure`] at the first step that a driver would fail at.
    pub fn bring_up_vf(kernel: Kernel, sdma_instances: usize) -> Result<Self, Failure> {
        let config = GpuConfig::virtual_function(&NAVI21, sdma_instances);
        let mut driver = Self::attach_vf(FakeGuest::with(config)?, kernel)?;
        driver.vf_hw_init()?;
        mailbox::enable_interrupts(&mut driver.guest);
        Ok(driver)
    }

    /// Everything that programs a virtual function that the driver has for itself, and its return to the host: the second half of
    /// `amdgpu_device_ip_init`, or what comes after a reset in `amdgpu_device_reset_sriov`.
    ///
    /// # Errors
    /// [`Failure`] at the first handshake that fails.
    pub fn vf_hw_init(&mut self) -> Result<(), Failure> {
        self.common_hw_init();
        self.gmc_hw_init()?;
        self.psp.vf_hw_init(&mut self.guest)?;
        self.ih_hw_init()?;
        self.gfx_hw_init()?;
        let Self { guest, sdma, gfx, .. } = self;
        for engine in sdma.iter_mut() {
            engine.resume(guest)?;
            engine.test_ring(guest)?;
        }
        gmc::enable_fault_interrupts(guest);
        gfx.enable_interrupts(guest);
        gfx.test_ibs(guest)?;
        for engine in sdma.iter_mut() {
            engine.test_ib(guest)?;
        }
        mailbox::send(guest, REL_GPU_INIT_ACCESS)
    }

    /// Everything that programs the device, in the order of `amdgpu_device_ip_init`.
    ///
    /// # Errors
    /// [`Failure`] at the first handshake that fails.
    pub fn hw_init(&mut self) -> Result<(), Failure> {
        self.common_hw_init();
        self.gmc_hw_init()?;
        self.ih_hw_init()?;
        self.psp_hw_init()?;
        self.smu_hw_init()?;
        self.gfx_hw_init()?;
        self.sdma_hw_init()?;
        self.late_init()
    }

    /// `nv_common_hw_init`: doorbells, HDP remapping.
    pub fn common_hw_init(&mut self) {
        self.guest.modify(nbio::RCC_DOORBELL_APER_EN, 0, 1);
        self.guest.write(nbio::BIF_FB_EN, 3);
        self.guest.write(
            nbio::REMAP_HDP_MEM_FLUSH_CNTL,
            nbio::REMAPPED_HDP_MEM_FLUSH.byte(),
        );
        self.guest.write(
            nbio::REMAP_HDP_REG_FLUSH_CNTL,
            nbio::REMAPPED_HDP_MEM_FLUSH.byte() + 4,
        );
    }

    /// `gmc_v10_0_hw_init`.
    ///
    /// # Errors
    /// [`Failure`] if an invalidation is not acknowledged.
    pub fn gmc_hw_init(&mut self) -> Result<(), Failure> {
        self.gmc.enable(&mut self.guest)
    }

    /// `navi10_ih_hw_init`.
    ///
    /// # Errors
    /// [`Failure`] if memory is not there.
    pub fn ih_hw_init(&mut self) -> Result<(), Failure> {
        self.ih.hw_init(&mut self.guest)
    }

    /// `psp_hw_init`.
    ///
    /// # Errors
    /// [`Failure`] at the first handshake that fails.
    pub fn psp_hw_init(&mut self) -> Result<(), Failure> {
        self.psp.hw_init(&mut self.guest, &self.gmc, self.kernel)
    }

    /// `smu_hw_init`.
    ///
    /// # Errors
    /// [`Failure`] if the management unit does not answer.
    pub fn smu_hw_init(&mut self) -> Result<(), Failure> {
        smu::hw_init(&mut self.guest, self.smu_table.mc().get())
    }

    /// `gfx_v10_0_hw_init`.
    ///
    /// # Errors
    /// [`Failure`] at the first handshake that fails.
    pub fn gfx_hw_init(&mut self) -> Result<(), Failure> {
        self.gfx.hw_init(&mut self.guest)
    }

    /// `sdma_v5_2_start`: all engines are reset and let go, then each gets its ring and its test.
    ///
    /// # Errors
    /// [`Failure`] if an engine does not execute.
    pub fn sdma_hw_init(&mut self) -> Result<(), Failure> {
        let Self { guest, sdma, .. } = self;
        for engine in sdma.iter() {
            engine.soft_reset(guest);
        }
        for engine in sdma.iter() {
            engine.unhalt(guest);
        }
        for engine in sdma.iter_mut() {
            engine.resume(guest)?;
            engine.test_ring(guest)?;
        }
        Ok(())
    }

    /// Late initialisation: interrupts on, IB tests, the bytes that tell whether VRAM was lost.
    ///
    /// # Errors
    /// [`Failure`] if a test fails.
    pub fn late_init(&mut self) -> Result<(), Failure> {
        let Self {
            guest,
            sdma,
            gfx,
            gmc,
            ..
        } = self;
        gmc::enable_fault_interrupts(guest);
        gfx.enable_interrupts(guest);
        for engine in sdma.iter() {
            engine.enable_trap(guest);
        }
        gfx.test_ibs(guest)?;
        for engine in sdma.iter_mut() {
            engine.test_ib(guest)?;
        }
        if let Some(first) = sdma.first_mut() {
            sdma::fill_transfer_window(guest, gmc, first)?;
        }
        self.reset_magic = self.guest.read_bytes(self.gmc.table(), 0, 64)?;
        Ok(())
    }

    /// `amdgpu_device_check_vram_lost`.
    ///
    /// # Errors
    /// [`Failure`] if memory is not there.
    pub fn vram_is_lost(&self) -> Result<bool, Failure> {
        Ok(self.guest.read_bytes(self.gmc.table(), 0, 64)? != self.reset_magic)
    }

    /// `amdgpu_device_mode1_reset`: the message, the wait, and the wait for the device to be back.
    ///
    /// # Errors
    /// [`Failure`] if the device does not take the message, or does not come back cold.
    pub fn mode1_reset(&mut self, method: ResetMethod) -> Result<(), Failure> {
        let guest = &mut self.guest;
        guest.modify(nbio::BIOS_SCRATCH_3, 0, 1 << 29);
        guest.set_bus_master(false);
        match method {
            ResetMethod::Mode1Smu => {
                smu::mode1_is_supported(guest)?;
                smu::send(guest, smu::message::MODE1_RESET, 0)?;
            }
            ResetMethod::Mode1Psp => Psp::mode1_reset(guest)?,
        }
        // msleep(500)
        for _ in 0..100 {
            guest.pass(Duration::from_millis(5));
            guest.step()?;
        }
        guest.set_bus_master(true);
        guest.forget_interrupts();
        wait_ready(guest, "memory size after the reset", |guest| {
            guest.read(nbio::RCC_CONFIG_MEMSIZE) != u32::MAX
        })?;
        match self.kernel {
            Kernel::V7_3 => guest.poll("bootloader after MODE1", mp::MP0_C2PMSG_35, 0x8000_ffff, 1 << 31)?,
            _ => guest.poll("boot firmware after MODE1", mp::MP0_C2PMSG_33, 1 << 31, 1 << 31)?,
        };
        expect_cold(guest)
    }

    /// `amdgpu_dpm_mode2_reset` and what follows: 6.1 resumes everything with the secure OS alive, the later ones' handler
    /// (`sienna_cichlid_mode2_restore_hwcontext`) graphics and SDMA alone.
    ///
    /// # Errors
    /// [`Failure`] if the device does not take the message, or does not come up again.
    pub fn mode2_reset(&mut self) -> Result<(), Failure> {
        smu::send(&mut self.guest, smu::message::MODE2_RESET, 0)?;
        self.guest.pass(Duration::from_millis(1));
        self.guest.run_until_idle()?;
        self.gmc_hw_init()?;
        if self.kernel == Kernel::V6_1 {
            self.ih_hw_init()?;
            self.psp.create_ring(&mut self.guest)?;
            self.psp.load_firmware(&mut self.guest, &self.gmc)?;
        } else {
            let answer = self
                .psp
                .submit(&mut self.guest, psp::command::AUTOLOAD_RLC, &[])?;
            expect("AUTOLOAD_RLC after MODE2", answer.status, 0_u32)?;
        }
        self.gfx_hw_init()?;
        self.sdma_hw_init()
    }

    /// A user's address space.
    ///
    /// # Errors
    /// [`Failure`] if the engine does not work.
    pub fn new_vm(&mut self, vmid: u32, pasid: u32) -> Result<Vm, Failure> {
        let Self { guest, gmc, sdma, .. } = self;
        let sdma = sdma.first_mut().ok_or(Failure::Invalid("no SDMA engine"))?;
        Vm::new(guest, gmc, sdma, vmid, pasid)
    }

    /// A user's address space whose root is in memory that was something else before.
    ///
    /// # Errors
    /// [`Failure`] if the engine does not work.
    pub fn new_vm_in(&mut self, root: Buffer, vmid: u32, pasid: u32) -> Result<Vm, Failure> {
        let Self { guest, gmc, sdma, .. } = self;
        let sdma = sdma.first_mut().ok_or(Failure::Invalid("no SDMA engine"))?;
        Vm::new_in(guest, gmc, sdma, root, vmid, pasid)
    }

    /// Allocates a buffer.
    ///
    /// # Errors
    /// [`Failure::Exhausted`].
    pub fn allocate(&mut self, domain: Domain, size: u64, align: u64) -> Result<Buffer, Failure> {
        match domain {
            Domain::Vram => self.gmc.vram(&mut self.guest, size, align),
            Domain::Gtt => self.gmc.gtt(&mut self.guest, size, align),
        }
    }

    /// Maps a buffer into a user's address space, with the first engine.
    ///
    /// # Errors
    /// [`Failure`] if the engine does not work.
    pub fn map(&mut self, vm: &mut Vm, va: u64, buffer: &Buffer) -> Result<(), Failure> {
        let Self { guest, gmc, sdma, .. } = self;
        let sdma = sdma.first_mut().ok_or(Failure::Invalid("no SDMA engine"))?;
        let mapping = match buffer.pages() {
            [] => Mapping::Vram(buffer.mc()),
            pages => Mapping::System(pages),
        };
        vm.map(guest, gmc, sdma, va, buffer.size(), mapping)
    }

    /// Takes pages out of a user's address space, with the first engine.
    ///
    /// # Errors
    /// [`Failure`] if the engine does not work.
    pub fn unmap(&mut self, vm: &mut Vm, va: u64, pages: u64) -> Result<(), Failure> {
        let Self { guest, gmc, sdma, .. } = self;
        let sdma = sdma.first_mut().ok_or(Failure::Invalid("no SDMA engine"))?;
        vm.unmap(guest, gmc, sdma, va, pages)
    }

    /// An SDMA engine and the guest that it works in.
    ///
    /// # Errors
    /// [`Failure::Invalid`] if there is no such engine.
    pub fn engine(&mut self, index: usize) -> Result<(&mut Sdma, &mut FakeGuest), Failure> {
        let engine = self
            .sdma
            .get_mut(index)
            .ok_or(Failure::Invalid("no such SDMA engine"))?;
        Ok((engine, &mut self.guest))
    }

    /// A compute queue and the guest that it works in.
    ///
    /// # Errors
    /// [`Failure::Invalid`] if there is no such queue.
    pub fn compute(&mut self, index: usize) -> Result<(&mut Queue, &mut FakeGuest), Failure> {
        let queue = self
            .gfx
            .compute
            .get_mut(index)
            .ok_or(Failure::Invalid("no such compute queue"))?;
        Ok((queue, &mut self.guest))
    }

    /// Runs packets as a user's job on an SDMA engine: they are put into `ib`, which the user has mapped at `va`.
    ///
    /// # Errors
    /// [`Failure`] if the job does not end.
    pub fn run_user(
        &mut self,
        engine: usize,
        vm: &Vm,
        ib: (&Buffer, u64),
        packets: &[u32],
    ) -> Result<Interrupt, Failure> {
        let (buffer, va) = ib;
        let mut packets = packets.to_vec();
        packets.resize(packets.len().next_multiple_of(8), packet::sdma::NOP);
        self.guest.write_dwords(buffer, 0, &packets)?;
        let dwords = u32::try_from(packets.len()).map_err(|_| Failure::Exhausted("indirect buffer"))?;
        let (engine, guest) = self.engine(engine)?;
        engine.run_job(guest, Some(vm.job()), GpuVa::new(va), dwords)
    }
}

/// What a driver relies on when it finds the device (3.15.3): posting needed, no secure OS, a bootloader that waits, engines that stand still.
///
/// # Errors
/// [`Failure::Mismatch`] names what is not cold.
pub fn expect_cold(guest: &mut FakeGuest) -> Result<(), Failure> {
    expect(
        "sign of life of a cold device",
        guest.read(mp::MP0_C2PMSG_81),
        0_u32,
    )?;
    expect(
        "bootloader of a cold device",
        guest.read(mp::MP0_C2PMSG_35),
        1_u32 << 31,
    )?;
    expect(
        "boot firmware of a cold device",
        guest.read(mp::MP0_C2PMSG_33) >> 31,
        1_u32,
    )?;
    expect(
        "PSP ring control of a cold device",
        guest.read(mp::MP0_C2PMSG_64),
        0_u32,
    )?;
    expect(
        "PSP write pointer of a cold device",
        guest.read(mp::MP0_C2PMSG_67),
        0_u32,
    )?;
    expect(
        "SMU response of a cold device",
        guest.read(mp::MP1_C2PMSG_90),
        1_u32,
    )?;
    expect(
        "ASIC_INIT_COMPLETE of a cold device",
        guest.read(nbio::BIOS_SCRATCH_7) & 0x200,
        0_u32,
    )?;
    expect("runtime power strap", guest.read(nbio::RCC_BIF_STRAP0) & 1, 0_u32)?;
    expect(
        "RLC of a cold device",
        guest.read(regs::gc::RLC_RLCS_BOOTLOAD_STATUS) >> 31,
        0_u32,
    )?;
    expect(
        "interrupt ring of a cold device",
        guest.read(regs::ih::IH_RB_CNTL) & 1,
        0_u32,
    )?;
    expect(
        "context 0 of a cold device",
        guest.read(regs::GFXHUB.context_cntl) & 1,
        0_u32,
    )?;
    for instance in 0..4 {
        // Instances that the part does not have read 0.
        let enabled = guest.read(regs::sdma::of(instance, regs::sdma::GFX_RB_CNTL)) & 1;
        expect("SDMA ring of a cold device", enabled, 0_u32)?;
    }
    expect(
        "SDMA0 halted on a cold device",
        guest.read(regs::sdma::F32_CNTL) & 1,
        1_u32,
    )
}
