//! `psp_v11_0.c`, `amdgpu_psp.c`: bootloader, ring, firmware.

use super::gmc::Gmc;
use super::regs::{mp, nbio};
use super::{Kernel, wait_ready};
use crate::guest::{Buffer, Failure, FakeGuest, PAGE, expect, hi, lo};
use std::time::Duration;

const RESPONSE: u32 = 1 << 31;
const RESPONSE_MASK: u32 = 0x8000_ffff;
const RING_BYTES: u32 = 0x1000;
const FRAME_DWORDS: u32 = 16;
/// `PSP_RING_TYPE__KM`.
const RING_TYPE: u32 = 2;
/// Where the response begins in a command buffer.
const RESPONSE_AT: u64 = 864;

/// Commands of `psp_gfx_if.h`.
#[expect(missing_docs, reason = "AMD's names")]
pub mod command {
    pub const LOAD_TA: u32 = 0x01;
    pub const LOAD_ASD: u32 = 0x04;
    pub const SETUP_TMR: u32 = 0x05;
    pub const LOAD_IP_FW: u32 = 0x06;
    pub const LOAD_TOC: u32 = 0x20;
    pub const AUTOLOAD_RLC: u32 = 0x21;
}

/// Firmware in the order in which `psp_load_non_psp_fw` hands it over (`psp_gfx_if.h`): SMU, SDMA, CE, PFP, ME, MEC, RLC's lists, RLC.
const FIRMWARE: [u32; 14] = [18, 9, 3, 2, 1, 4, 5, 20, 21, 22, 26, 48, 25, 8];

/// The security processor's software state.
#[derive(Debug)]
pub struct Psp {
    primary: Buffer,
    ring: Buffer,
    commands: Buffer,
    fence: Buffer,
    fence_value: u32,
    tmr: Option<Buffer>,
    /// Of a virtual function: the write pointer, which cannot be read back.
    vf_wptr: Option<u32>,
}

/// The answer to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// 0 is success.
    pub status: u32,
    /// Session of a loaded application.
    pub session: u32,
    /// Size of the trusted memory region.
    pub tmr_size: u32,
}

impl Psp {
    /// `psp_sw_init`: the primary buffer is in the GART at 1 MiB alignment, ring, commands and fence are in VRAM.
    ///
    /// # Errors
    /// [`Failure::Exhausted`].
    pub fn new(guest: &mut FakeGuest, gmc: &mut Gmc) -> Result<Self, Failure> {
        Ok(Self {
            primary: gmc.gtt(guest, 1 << 20, 1 << 20)?,
            ring: gmc.vram(guest, RING_BYTES.into(), PAGE)?,
            commands: gmc.vram(guest, PAGE, PAGE)?,
            fence: gmc.vram(guest, PAGE, PAGE)?,
            fence_value: 0,
            tmr: None,
            vf_wptr: None,
        })
    }

    /// `psp_hw_init` or `psp_resume`: everything from the bootloader to the trusted applications.
    ///
    /// # Errors
    /// [`Failure`] at the first handshake or command that fails.
    pub fn hw_init(&mut self, guest: &mut FakeGuest, gmc: &Gmc, kernel: Kernel) -> Result<(), Failure> {
        self.bootloader(guest, kernel)?;
        self.create_ring(guest)?;
        self.load_firmware(guest, gmc)
    }

    /// `psp_v11_0_bootloader_load_*` in the order of `psp_hw_start`.
    ///
    /// # Errors
    /// [`Failure`] if the bootloader is not ready, or the secure OS gives no sign of life.
    pub fn bootloader(&self, guest: &mut FakeGuest, kernel: Kernel) -> Result<(), Failure> {
        const KDB: u32 = 0x8_0000;
        const SPL: u32 = 0x1000_0000;
        const SYSDRV: u32 = 0x1_0000;
        const SOSDRV: u32 = 0x2_0000;
        for component in [KDB, SPL, SYSDRV, SOSDRV] {
            if guest.read(mp::MP0_C2PMSG_81) != 0 {
                return Err(Failure::Invalid("the secure OS lives before it was loaded"));
            }
            let mask = if kernel == Kernel::V7_3 {
                RESPONSE_MASK
            } else {
                RESPONSE
            };
            guest.poll("bootloader ready", mp::MP0_C2PMSG_35, mask, RESPONSE)?;
            guest.write_bytes(&self.primary, 0, &component.to_le_bytes())?;
            expect(
                "alignment of the primary buffer",
                self.primary.mc().get() % (1 << 20),
                0_u64,
            )?;
            guest.write(mp::MP0_C2PMSG_36, lo(self.primary.mc().get() >> 20));
            guest.write(mp::MP0_C2PMSG_35, component);
        }
        guest.pass(Duration::from_millis(20));
        // The driver reads the sign of life once, however late, and waits for it to *change* from that.
        let first = guest.read(mp::MP0_C2PMSG_81);
        wait_ready(guest, "sign of life to change", |guest| {
            guest.read(mp::MP0_C2PMSG_81) != first
        })?;
        if guest.read(mp::MP0_C2PMSG_81) == 0 {
            return Err(Failure::Invalid("the sign of life has gone away"));
        }
        Ok(())
    }

    /// `psp_v11_0_ring_create`.
    ///
    /// # Errors
    /// [`Failure::Timeout`] if the secure OS does not answer.
    pub fn create_ring(&self, guest: &mut FakeGuest) -> Result<(), Failure> {
        guest.poll(
            "secure OS ready for a ring",
            mp::MP0_C2PMSG_64,
            RESPONSE,
            RESPONSE,
        )?;
        guest.write_pair(mp::MP0_C2PMSG_69, mp::MP0_C2PMSG_70, self.ring.mc().get());
        guest.write(mp::MP0_C2PMSG_71, RING_BYTES);
        guest.write(mp::MP0_C2PMSG_64, RING_TYPE << 16);
        guest.pass(Duration::from_millis(20));
        guest.poll("ring created", mp::MP0_C2PMSG_64, RESPONSE_MASK, RESPONSE)?;
        expect(
            "write pointer of a new ring",
            guest.read(mp::MP0_C2PMSG_67),
            0_u32,
        )
    }

    /// The same for a virtual function, which finds the secure OS at work, and loads what is left to it.
    ///
    /// # Errors
    /// [`Failure`] at the first handshake or command that fails.
    pub fn vf_hw_init(&mut self, guest: &mut FakeGuest) -> Result<(), Failure> {
        const INIT_GPCOM_RING: u32 = 0x2_0000;
        const DESTROY_GPCOM_RING: u32 = 0xc_0000;
        guest.write(mp::MP0_C2PMSG_101, DESTROY_GPCOM_RING);
        guest.poll("old ring stopped", mp::MP0_C2PMSG_101, RESPONSE, RESPONSE)?;
        guest.write_pair(mp::MP0_C2PMSG_102, mp::MP0_C2PMSG_103, self.ring.mc().get());
        guest.write(mp::MP0_C2PMSG_101, INIT_GPCOM_RING);
        guest.poll("ring created", mp::MP0_C2PMSG_101, RESPONSE_MASK, RESPONSE)?;
        self.vf_wptr = Some(0);
        let image = self.primary.mc().get();
        self.must_succeed(
            guest,
            "LOAD_TOC",
            command::LOAD_TOC,
            &[lo(image), hi(image), 0x800],
        )?;
        // CE, PFP, ME, MEC: `amdgpu_virt_fw_load_skip_check`.
        for kind in [3, 2, 1, 4] {
            self.must_succeed(
                guest,
                "LOAD_IP_FW",
                command::LOAD_IP_FW,
                &[lo(image), hi(image), 0x1000, kind],
            )?;
        }
        self.must_succeed(guest, "AUTOLOAD_RLC", command::AUTOLOAD_RLC, &[])?;
        Ok(())
    }

    fn wptr(&self, guest: &mut FakeGuest) -> u32 {
        self.vf_wptr.unwrap_or_else(|| guest.read(mp::MP0_C2PMSG_67))
    }

    /// `psp_v11_0_ring_set_wptr`.
    fn set_wptr(&mut self, guest: &mut FakeGuest, wptr: u32) {
        const CONSUME_CMD: u32 = 0x9_0000;
        match &mut self.vf_wptr {
            None => guest.write(mp::MP0_C2PMSG_67, wptr),
            Some(own) => {
                *own = wptr;
                guest.write(mp::MP0_C2PMSG_102, wptr);
                guest.write(mp::MP0_C2PMSG_101, CONSUME_CMD);
            }
        }
    }

    /// `psp_cmd_submit_buf`: one command, its fence, its answer. `body` are the command's own dwords.
    ///
    /// # Errors
    /// [`Failure::Stalled`] if no fence comes.
    pub fn submit(&mut self, guest: &mut FakeGuest, command: u32, body: &[u32]) -> Result<Answer, Failure> {
        guest.write_bytes(&self.commands, 0, &[0; 1024])?;
        guest.store(&self.commands, 0, 1024)?;
        guest.store(&self.commands, 4, 1)?;
        guest.store(&self.commands, 8, command)?;
        guest.write_dwords(&self.commands, 28, body)?;
        // An answer that is never written must not look like success.
        guest.store(&self.commands, RESPONSE_AT, 0xdead)?;

        self.fence_value += 1;
        let wptr = self.wptr(guest);
        let (buffer, fence) = (self.commands.mc().get(), self.fence.mc().get());
        let frame = [
            lo(buffer),
            hi(buffer),
            1024,
            lo(fence),
            hi(fence),
            self.fence_value,
        ];
        guest.write_bytes(&self.ring, u64::from(wptr) * 4, &[0; FRAME_DWORDS as usize * 4])?;
        guest.write_dwords(&self.ring, u64::from(wptr) * 4, &frame)?;
        super::gmc::flush_hdp(guest);
        self.set_wptr(guest, (wptr + FRAME_DWORDS) % (RING_BYTES / 4));
        guest.wait_for("PSP fence", &self.fence, 0, self.fence_value)?;
        guest.write(nbio::HDP_READ_CACHE_INVALIDATE, 1);
        Ok(Answer {
            status: guest.load(&self.commands, RESPONSE_AT)?,
            session: guest.load(&self.commands, RESPONSE_AT + 4)?,
            tmr_size: guest.load(&self.commands, RESPONSE_AT + 16)?,
        })
    }

    fn must_succeed(
        &mut self,
        guest: &mut FakeGuest,
        what: &'static str,
        command: u32,
        body: &[u32],
    ) -> Result<Answer, Failure> {
        let answer = self.submit(guest, command, body)?;
        expect(what, answer.status, 0_u32)?;
        Ok(answer)
    }

    /// `psp_tmr_init`, `psp_tmr_load`, `psp_load_non_psp_fw`, `psp_asd_initialize`.
    ///
    /// # Errors
    /// [`Failure`] at the first command that fails.
    pub fn load_firmware(&mut self, guest: &mut FakeGuest, gmc: &Gmc) -> Result<(), Failure> {
        let image = self.primary.mc().get();
        let address = [lo(image), hi(image)];
        let toc = self.must_succeed(
            guest,
            "LOAD_TOC",
            command::LOAD_TOC,
            &[address[0], address[1], 0x800],
        )?;
        if toc.tmr_size == 0 {
            return Err(Failure::Invalid("LOAD_TOC asks for no trusted memory"));
        }
        let tmr = match self.tmr.take() {
            Some(tmr) => tmr,
            None => gmc.vram(guest, toc.tmr_size.into(), 1 << 20)?,
        };
        let at = tmr.mc().get();
        self.must_succeed(
            guest,
            "SETUP_TMR",
            command::SETUP_TMR,
            &[lo(at), hi(at), toc.tmr_size, 3],
        )?;
        self.tmr = Some(tmr);
        for kind in FIRMWARE {
            self.must_succeed(
                guest,
                "LOAD_IP_FW",
                command::LOAD_IP_FW,
                &[address[0], address[1], 0x1000, kind],
            )?;
        }
        self.must_succeed(guest, "AUTOLOAD_RLC", command::AUTOLOAD_RLC, &[])?;
        let asd = self.must_succeed(
            guest,
            "LOAD_ASD",
            command::LOAD_ASD,
            &[address[0], address[1], 0x1000],
        )?;
        if asd.session == 0 {
            return Err(Failure::Invalid("ASD without a session"));
        }
        Ok(())
    }

    /// `psp_v11_0_mode1_reset`, up to the message.
    ///
    /// # Errors
    /// [`Failure::Timeout`] if the secure OS does not take messages.
    pub fn mode1_reset(guest: &mut FakeGuest) -> Result<(), Failure> {
        const CTRL_MODE1_RST: u32 = 0x7_0000;
        guest.poll(
            "secure OS ready for MODE1",
            mp::MP0_C2PMSG_64,
            RESPONSE_MASK,
            RESPONSE,
        )?;
        guest.write(mp::MP0_C2PMSG_64, CTRL_MODE1_RST);
        Ok(())
    }
}
