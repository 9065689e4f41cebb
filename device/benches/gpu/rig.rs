//! A GPU with one SDMA engine, its ring in VRAM, brought up through registers as a driver does.

use std::time::Instant;

use device::function::Gpu;
use device::memory::{DeviceMemory, Vram};
use gart::{Location, PhysicalMemory, VramOffset};
use gpu::asic::NAVI21;
use gpu::{GpuConfig, Work};
use sdma_engine::offset as sdma;
use vm_memory::{FileOffset, MmapRegion};

/// Bytes of VRAM.
pub(crate) const VRAM: u64 = 1 << 30;
/// MC address of VRAM's first byte.
pub(crate) const FB_BASE: u64 = 0x80_0000_0000;
/// Where the ring lies in VRAM.
const RING: u64 = 1 << 20;
const RING_BYTES: u64 = 64 << 10;
/// Where the engine writes its read pointer.
const RPTR_WRITEBACK: u64 = RING + RING_BYTES;
/// A doorbell, in dwords.
const DOORBELL: u32 = 0x200;

/// The GPU, and a ring that is full of one program.
pub(crate) struct Rig {
    pub(crate) gpu: Gpu,
    start: Instant,
    wptr: u64,
    program_bytes: u64,
}

impl Rig {
    pub(crate) fn new(program: &[u32]) -> Self {
        let config = GpuConfig::bare_metal(&NAVI21, 1);
        let memory = DeviceMemory::new(Vram::new(VRAM).expect("no VRAM"));
        let mut rig = Self {
            gpu: Gpu::new(config, memory).expect("the profile is sound"),
            start: Instant::now(),
            wptr: 0,
            program_bytes: rig_program(program).len() as u64 * 4,
        };
        rig.fill_ring(&rig_program(program));
        rig.bring_up();
        rig
    }

    /// Copies of the program from one end of the ring to the other: it is executed again and again without being written again.
    fn fill_ring(&mut self, program: &[u32]) {
        let bytes: Vec<u8> = program.iter().flat_map(|dword| dword.to_le_bytes()).collect();
        for at in (0..RING_BYTES).step_by(bytes.len()) {
            let at = Location::Vram(VramOffset::new(RING + at));
            self.gpu.memory().write(at, &bytes).expect("the ring is in VRAM");
        }
    }

    /// The order of `sdma_v5_2_gfx_resume` (6.1), without what has no effect here. Context 0 is not enabled: the frame buffer
    /// aperture works without.
    fn bring_up(&mut self) {
        let base = sdma_engine::NAVI21[0].base;
        let mut write = |register: mmio::RegOffset, value: u64| {
            let value = u32::try_from(value & 0xffff_ffff).unwrap_or_default();
            self.gpu.write_register(base.plus(register.byte()), value);
        };
        let (ring, writeback) = (FB_BASE + RING, FB_BASE + RPTR_WRITEBACK);
        // RB_SIZE (log2 of dwords) << 1, RPTR_WRITEBACK_ENABLE
        let rb_cntl = u64::from((RING_BYTES / 4).ilog2()) << 1 | 1 << 12;
        write(sdma::GFX_RB_CNTL, rb_cntl);
        for pointer in [
            sdma::GFX_RB_RPTR,
            sdma::GFX_RB_RPTR_HI,
            sdma::GFX_RB_WPTR,
            sdma::GFX_RB_WPTR_HI,
        ] {
            write(pointer, 0);
        }
        write(sdma::GFX_RB_RPTR_ADDR_HI, writeback >> 32);
        write(sdma::GFX_RB_RPTR_ADDR_LO, writeback);
        write(sdma::GFX_RB_BASE, ring >> 8);
        write(sdma::GFX_RB_BASE_HI, ring >> 40);
        write(sdma::GFX_DOORBELL, 1 << 28); // ENABLE
        write(sdma::GFX_DOORBELL_OFFSET, u64::from(DOORBELL) << 2);
        write(sdma::F32_CNTL, 0); // not HALT
        write(sdma::GFX_RB_CNTL, rb_cntl | 1); // RB_ENABLE
        write(sdma::GFX_IB_CNTL, 1); // IB_ENABLE
        assert_eq!(self.step(), 0, "the ring is empty");
    }

    /// Rings the doorbell for one more program, and runs the device until it is idle.
    pub(crate) fn run(&mut self) {
        self.wptr += self.program_bytes;
        self.gpu.write_doorbell(DOORBELL, self.wptr);
        let rptr = self.step();
        assert_eq!(rptr, self.wptr, "the engine executed everything");
    }

    fn step(&mut self) -> u64 {
        loop {
            self.gpu.set_time(self.start.elapsed());
            match self.gpu.run() {
                Work::Busy => {}
                Work::Idle => return self.load(RPTR_WRITEBACK),
                Work::Wait(pause) => panic!("the engine waits for {pause:?}"),
            }
        }
    }

    pub(crate) fn load(&self, offset: u64) -> u64 {
        self.gpu
            .memory()
            .load_u64(Location::Vram(VramOffset::new(offset)))
            .expect("inside VRAM")
    }

    pub(crate) fn store(&self, offset: u64, value: u64) {
        self.gpu
            .memory()
            .store_u64(Location::Vram(VramOffset::new(offset)), value)
            .expect("inside VRAM");
    }

    /// Writes to every page of a range, so that the host has given it memory.
    pub(crate) fn touch(&self, offset: u64, len: u64) {
        for at in (0..len).step_by(4096) {
            self.store(offset + at, at | 1);
        }
    }

    pub(crate) const fn vram(&self) -> &Vram {
        &self.gpu.memory().vram
    }
}

/// The program, made as long as a power of two with a NOP that skips the rest, as the driver pads its submissions.
fn rig_program(program: &[u32]) -> Vec<u32> {
    let mut program = program.to_vec();
    let padding = program.len().next_power_of_two() - program.len();
    if padding > 0 {
        let skip = u32::try_from(padding - 1).unwrap_or_default();
        program.push(skip << 16);
        program.resize(program.len().next_power_of_two(), 0);
    }
    program
}

/// VRAM as another process would map it.
pub(crate) struct Mapped(MmapRegion);

impl Mapped {
    pub(crate) fn new(vram: &Vram) -> Self {
        let file = vram.share().expect("no descriptor");
        let length = usize::try_from(vram.size()).expect("a 64-bit host");
        Self(MmapRegion::from_file(FileOffset::new(file, 0), length).expect("cannot map VRAM"))
    }

    #[expect(unsafe_code, reason = "a plain memcpy, to compare with")]
    pub(crate) fn copy(&self, from: u64, to: u64, len: u64) {
        assert!(from + len <= to && to + len <= self.0.size() as u64);
        let [from, to, len] = [from, to, len].map(|value| usize::try_from(value).expect("a 64-bit host"));
        // SAFETY: both ranges are inside the mapping and do not overlap (asserted above), and nothing else in this process accesses
        // VRAM meanwhile: this thread owns the device.
        unsafe {
            let start = self.0.as_ptr();
            std::ptr::copy_nonoverlapping(start.add(from), start.add(to), len);
        }
    }

    #[expect(unsafe_code, reason = "a plain memset, to compare with")]
    pub(crate) fn set(&self, at: u64, value: u8, len: u64) {
        assert!(at + len <= self.0.size() as u64);
        let [at, len] = [at, len].map(|value| usize::try_from(value).expect("a 64-bit host"));
        // SAFETY: the range is inside the mapping (asserted above), and nothing else in this process accesses VRAM meanwhile: this
        // thread owns the device.
        unsafe {
            std::ptr::write_bytes(self.0.as_ptr().add(at), value, len);
        }
    }

    #[expect(unsafe_code, reason = "a plain load, to compare with")]
    pub(crate) fn load(&self, at: u64) -> u64 {
        assert!(at.is_multiple_of(8) && at + 8 <= self.0.size() as u64);
        let at = usize::try_from(at).expect("a 64-bit host");
        // SAFETY: the word is inside the mapping and aligned (asserted above).
        unsafe { self.0.as_ptr().add(at).cast::<u64>().read_volatile() }
    }
}
