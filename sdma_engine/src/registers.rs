//! The register block of one SDMA instance.
//!
//! Registers and execution are separate, because packets reach the registers of the very engine that executes them. The read pointer
//! has one owner at a time: the engine, from the step at which it took RB_RPTR over until the next write to RB_RPTR from outside
//! (`rptr_generation` tells the two apart); the register shows what the engine last published.

use gart::{GpuVa, Vmid};
use mmio::{Effects, RegOffset, RegisterBlock, RegisterFile, Written};

use crate::fields::{
    Cntl, ContextStatus, Doorbell, DoorbellOffset, F32Cntl, Freeze, IbCntl, RbCntl, RbWptrPollCntl,
    Status1Reg, Status2Reg, Status3Reg, StatusReg,
};
use crate::table::{self, Generation, SDMA_5_0, SDMA_5_2, offset};
use crate::{EngineStatus, POLL_UNIT, QueueConfig, WptrShadow};

/// What a register write asks of the device. The instance is the one whose register was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SdmaEffect {
    /// The engine may have something to do: step it.
    Kick,
    /// The engine was halted, or its ring disabled: step it once, so that it drops the packet in flight, and forget its timers.
    Stop,
}

/// Where an instance lies in the register bar, and what it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Prefix of the register names.
    pub prefix: &'static str,
    /// Which registers there are.
    pub generation: &'static Generation,
    /// What the `mmSDMA0_...` offsets below 0x400 dwords are relative to.
    pub base: RegOffset,
    /// Where the instance's UCODE_ADDR lies.
    pub hypervisor_base: RegOffset,
}

/// The four instances of Navi21, from the bases in `sdma_v5_2_get_reg_offset` (6.1 `sdma_v5_2.c`) and segments 0, 1 and 2 of GC.
pub const NAVI21: [Placement; 4] = [
    Placement {
        prefix: "SDMA0_",
        generation: &SDMA_5_2,
        base: RegOffset::from_dword(0x1260),
        hypervisor_base: RegOffset::from_dword(0xa000 + 0x5880),
    },
    Placement {
        prefix: "SDMA1_",
        generation: &SDMA_5_2,
        base: RegOffset::from_dword(0x1260 + 0x600),
        hypervisor_base: RegOffset::from_dword(0xa000 + 0x58a0),
    },
    Placement {
        prefix: "SDMA2_",
        generation: &SDMA_5_2,
        base: RegOffset::from_dword(0x1c000),
        hypervisor_base: RegOffset::from_dword(0xa000 + 0x58c0),
    },
    Placement {
        prefix: "SDMA3_",
        generation: &SDMA_5_2,
        base: RegOffset::from_dword(0x1c000 + 0x400),
        hypervisor_base: RegOffset::from_dword(0xa000 + 0x58e0),
    },
];

/// The two instances of Navi12, from the bases in `sdma_v5_0_get_reg_offset` (6.1 `sdma_v5_0.c`) and segments 0 and 1 of GC.
pub const NAVI12: [Placement; 2] = [
    Placement {
        generation: &SDMA_5_0,
        ..NAVI21[0]
    },
    Placement {
        generation: &SDMA_5_0,
        ..NAVI21[1]
    },
];

/// Who starts an engine after a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartedBy {
    /// The driver: F32_CNTL.HALT is set, and CNTL.TRAP_ENABLE is not.
    Driver,
    /// The host of a virtual function has: the driver touches neither bit (6.1, 6.12 `sdma_v5_2_enable`,
    /// `sdma_v5_2_set_trap_irq_state`, and those of `sdma_v5_0.c`).
    Host,
}

/// The registers of one instance.
#[derive(Debug)]
pub struct SdmaRegisters {
    main: RegisterFile,
    page: RegisterFile,
    rlc: RegisterFile,
    hypervisor: RegisterFile,
    started_by: StartedBy,
    rptr_generation: u32,
    stop_generation: u32,
    /// The engine is inside a packet, as last published.
    in_flight: bool,
    /// FREEZE is answered.
    freezes: bool,
}

impl SdmaRegisters {
    /// The registers after power-on.
    pub fn new(placement: Placement, started_by: StartedBy) -> Self {
        let Placement {
            prefix,
            generation,
            base,
            hypervisor_base,
        } = placement;
        let mut registers = Self {
            main: RegisterFile::new(prefix, base, generation.main),
            page: RegisterFile::new(prefix, base, generation.page),
            rlc: RegisterFile::new(prefix, base, generation.rlc),
            hypervisor: RegisterFile::new(prefix, hypervisor_base, generation.hypervisor),
            started_by,
            rptr_generation: 0,
            stop_generation: 0,
            in_flight: false,
            freezes: true,
        };
        registers.start();
        registers
    }

    fn start(&mut self) {
        let started = self.started_by == StartedBy::Host;
        let halt = F32Cntl::from(self.main.get(offset::F32_CNTL)).with_halt(!started);
        self.main.set(offset::F32_CNTL, halt.into());
        let cntl = Cntl::from(self.main.get(offset::CNTL)).with_trap_enable(started);
        self.main.set(offset::CNTL, cntl.into());
    }

    /// Whether the engine says that it is frozen when it is. Without it a driver that wants to reset only the queue waits in vain.
    pub const fn set_freeze_works(&mut self, works: bool) {
        self.freezes = works;
    }

    /// What the engine needs to know for its next step.
    pub fn queue_config(&self) -> QueueConfig {
        let main = &self.main;
        let f32_cntl = F32Cntl::from(main.get(offset::F32_CNTL));
        let rb_cntl = RbCntl::from(main.get(offset::GFX_RB_CNTL));
        let poll = RbWptrPollCntl::from(main.get(offset::GFX_RB_WPTR_POLL_CNTL));
        let rptr_addr = main.get_pair(offset::GFX_RB_RPTR_ADDR_LO, offset::GFX_RB_RPTR_ADDR_HI);
        QueueConfig {
            halted: f32_cntl.halt() || f32_cntl.reset(),
            frozen: Freeze::from(main.get(offset::FREEZE)).freeze(),
            ring_enabled: rb_cntl.rb_enable(),
            ib_enabled: IbCntl::from(main.get(offset::GFX_IB_CNTL)).ib_enable(),
            trap_enabled: Cntl::from(main.get(offset::CNTL)).trap_enable(),
            ring_base: GpuVa::new(main.get_pair(offset::GFX_RB_BASE, offset::GFX_RB_BASE_HI) << 8),
            ring_bytes: 4 << rb_cntl.rb_size(),
            ring_vmid: Vmid::from_field(u32::from(rb_cntl.rb_vmid())),
            rptr: main.get_pair(offset::GFX_RB_RPTR, offset::GFX_RB_RPTR_HI),
            rptr_generation: self.rptr_generation,
            stop_generation: self.stop_generation,
            wptr: main.get_pair(offset::GFX_RB_WPTR, offset::GFX_RB_WPTR_HI),
            wptr_shadow: (poll.f32_poll_enable() && !self.doorbell_enabled()).then(|| WptrShadow {
                at: GpuVa::new(
                    main.get_pair(offset::GFX_RB_WPTR_POLL_ADDR_LO, offset::GFX_RB_WPTR_POLL_ADDR_HI),
                ),
                interval: POLL_UNIT.saturating_mul(u32::from(poll.frequency().max(1))),
            }),
            rptr_writeback: rb_cntl.rptr_writeback_enable().then(|| GpuVa::new(rptr_addr)),
        }
    }

    /// Shows what a step left behind. A read pointer that goes on from one that has been overwritten since is dropped.
    pub fn publish(&mut self, status: EngineStatus) {
        let EngineStatus {
            rptr,
            rptr_generation,
            wptr,
            busy,
            in_flight,
            transferring,
            frozen,
            halted,
            ib,
            header,
            vmid,
        } = status;
        self.in_flight = in_flight;
        if rptr_generation == self.rptr_generation {
            self.set_pair(offset::GFX_RB_RPTR, offset::GFX_RB_RPTR_HI, rptr);
            self.set_pair(offset::RB_RPTR_FETCH, offset::RB_RPTR_FETCH_HI, rptr);
        }
        if let Some(wptr) = wptr {
            self.set_pair(offset::GFX_RB_WPTR, offset::GFX_RB_WPTR_HI, wptr);
        }
        if frozen {
            self.show_frozen();
        }
        let main = &mut self.main;
        let status_reg = StatusReg::from(table::STATUS_IDLE)
            .with_idle(!busy)
            .with_rb_empty(!busy)
            .with_rb_cmd_idle(!in_flight || ib.is_some())
            .with_ib_cmd_idle(ib.is_none())
            .with_inside_ib(ib.is_some())
            .with_ex_idle(!in_flight)
            .with_packet_ready(busy);
        main.set(offset::STATUS_REG, status_reg.into());
        let status1 = Status1Reg::from(table::STATUS1_IDLE)
            .with_ce_wreq_idle(!transferring)
            .with_ce_wr_idle(!transferring)
            .with_ce_cmd_idle(!transferring);
        main.set(offset::STATUS1_REG, status1.into());
        let status2 = Status2Reg::new().with_cmd_op((header & 0xffff) as u16);
        main.set(offset::STATUS2_REG, status2.into());
        let status3 = Status3Reg::from(table::STATUS3_IDLE)
            .with_prev_vm_cmd(vmid.get())
            .with_exception_idle(halted.is_none());
        main.set(offset::STATUS3_REG, status3.into());
        let context = ContextStatus::from(table::CONTEXT_IDLE)
            .with_idle(!busy)
            .with_exception(u8::from(halted.is_some()));
        main.set(offset::GFX_CONTEXT_STATUS, context.into());
        if let Some(ib) = ib {
            let position = (ib.position & 0x003f_fffc) as u32;
            main.set(offset::GFX_IB_RPTR, position);
            main.set(offset::GFX_IB_OFFSET, position);
            main.set(offset::IB_OFFSET_FETCH, position);
            main.set(offset::GFX_IB_SIZE, ib.dwords);
            main.set(
                offset::GFX_IB_SUB_REMAIN,
                ib.dwords.saturating_sub(position >> 2) & 0x3fff,
            );
            self.set_pair(offset::GFX_IB_BASE_LO, offset::GFX_IB_BASE_HI, ib.base.get());
        }
    }

    fn set_pair(&mut self, lo: RegOffset, hi: RegOffset, value: u64) {
        self.main.set(lo, (value & 0xffff_ffff) as u32);
        self.main.set(hi, (value >> 32) as u32);
    }

    fn doorbell_enabled(&self) -> bool {
        Doorbell::from(self.main.get(offset::GFX_DOORBELL)).enable()
    }

    /// The doorbell that moves this queue's write pointer, as a dword index into the doorbell bar; `None` while it is off.
    pub fn doorbell_index(&self) -> Option<u32> {
        self.doorbell_enabled()
            .then(|| DoorbellOffset::from(self.main.get(offset::GFX_DOORBELL_OFFSET)).offset())
    }

    /// The doorbell was written: the value is the write pointer in bytes. Step the engine afterwards.
    pub fn ring_doorbell(&mut self, value: u64) {
        if self.doorbell_enabled() {
            self.set_pair(offset::GFX_RB_WPTR, offset::GFX_RB_WPTR_HI, value);
        }
    }

    /// A pulse of this instance's bit in GRBM_SOFT_RESET. Reset the engine with it.
    ///
    /// The queue is off afterwards, its pointers are 0, and nothing is frozen. Everything else stays: `sdma_v5_2_restore_queue` (7.3)
    /// does not set CNTL.TRAP_ENABLE again after the reset of a queue, so the bit must have survived.
    pub fn soft_reset(&mut self) {
        let rb_cntl = RbCntl::from(self.main.get(offset::GFX_RB_CNTL)).with_rb_enable(false);
        let ib_cntl = IbCntl::from(self.main.get(offset::GFX_IB_CNTL)).with_ib_enable(false);
        self.main.set(offset::GFX_RB_CNTL, rb_cntl.into());
        self.main.set(offset::GFX_IB_CNTL, ib_cntl.into());
        self.main.set(offset::FREEZE, 0);
        self.set_pair(offset::GFX_RB_RPTR, offset::GFX_RB_RPTR_HI, 0);
        self.set_pair(offset::GFX_RB_WPTR, offset::GFX_RB_WPTR_HI, 0);
        self.stopped();
        self.rptr_written();
        self.publish(EngineStatus {
            rptr_generation: self.rptr_generation,
            ..EngineStatus::default()
        });
    }

    fn stopped(&mut self) {
        self.stop_generation = self.stop_generation.wrapping_add(1);
        self.in_flight = false;
    }

    fn rptr_written(&mut self) {
        self.rptr_generation = self.rptr_generation.wrapping_add(1);
    }

    fn show_frozen(&mut self) {
        let freeze = Freeze::from(self.main.get(offset::FREEZE));
        let frozen = freeze.freeze() && self.freezes;
        self.main.set(offset::FREEZE, freeze.with_frozen(frozen).into());
    }

    fn wrote_f32_cntl(&mut self, written: Written, effects: &mut Effects<SdmaEffect>) {
        let stands = |value| F32Cntl::from(value).halt() || F32Cntl::from(value).reset();
        match (stands(written.old), stands(written.new)) {
            (false, true) => {
                self.stopped();
                effects.push(SdmaEffect::Stop);
            }
            (true, false) => effects.push(SdmaEffect::Kick),
            _ => {}
        }
    }

    fn wrote_rb_cntl(&mut self, written: Written, effects: &mut Effects<SdmaEffect>) {
        let (old, new) = (RbCntl::from(written.old), RbCntl::from(written.new));
        if old.rb_enable() && !new.rb_enable() {
            self.stopped();
            effects.push(SdmaEffect::Stop);
            return;
        }
        if old.rb_size() != new.rb_size() || old.rb_vmid() != new.rb_vmid() {
            self.stopped();
        }
        effects.push(SdmaEffect::Kick);
    }

    /// FREEZE: an engine between two packets has stopped at once; inside a packet it says so after its next step.
    fn wrote_freeze(&mut self, effects: &mut Effects<SdmaEffect>) {
        let freeze = Freeze::from(self.main.get(offset::FREEZE));
        if !freeze.freeze() || !self.in_flight {
            self.show_frozen();
        }
        effects.push(SdmaEffect::Kick);
    }

    fn write_main(&mut self, relative: RegOffset, written: Written, effects: &mut Effects<SdmaEffect>) {
        match relative {
            offset::F32_CNTL => self.wrote_f32_cntl(written, effects),
            offset::FREEZE => self.wrote_freeze(effects),
            offset::GFX_RB_CNTL => self.wrote_rb_cntl(written, effects),
            offset::GFX_RB_BASE | offset::GFX_RB_BASE_HI if written.old != written.new => self.stopped(),
            offset::GFX_RB_RPTR | offset::GFX_RB_RPTR_HI => {
                self.rptr_written();
                effects.push(SdmaEffect::Kick);
            }
            offset::GFX_RB_WPTR
            | offset::GFX_RB_WPTR_HI
            | offset::GFX_RB_WPTR_POLL_CNTL
            | offset::GFX_RB_WPTR_POLL_ADDR_HI
            | offset::GFX_RB_WPTR_POLL_ADDR_LO
            | offset::GFX_DOORBELL
            | offset::GFX_IB_CNTL => effects.push(SdmaEffect::Kick),
            _ => {}
        }
    }

    /// The microcode itself is dropped: the engine is what it would make of it. The address moves on as hardware's does.
    fn write_hypervisor(&mut self, at: RegOffset, value: u32) {
        let Some(relative) = self.hypervisor.relative(at) else {
            return;
        };
        self.hypervisor.write(at, value);
        if relative == offset::UCODE_DATA {
            let next = self.hypervisor.get(offset::UCODE_ADDR).wrapping_add(1) & 0x3fff;
            self.hypervisor.set(offset::UCODE_ADDR, next);
        }
    }
}

impl RegisterBlock for SdmaRegisters {
    type Effect = SdmaEffect;

    fn files(&self) -> Vec<&RegisterFile> {
        vec![&self.main, &self.page, &self.rlc, &self.hypervisor]
    }

    fn read(&mut self, offset: RegOffset) -> u32 {
        self.main
            .read(offset)
            .or_else(|| self.rlc.read(offset))
            .or_else(|| self.page.read(offset))
            .or_else(|| self.hypervisor.read(offset))
            .unwrap_or(0)
    }

    fn write(&mut self, offset: RegOffset, value: u32, effects: &mut Effects<SdmaEffect>) {
        if let (Some(relative), Some(written)) = (self.main.relative(offset), self.main.write(offset, value))
        {
            self.write_main(relative, written, effects);
        } else if self.rlc.write(offset, value).is_none() && self.page.write(offset, value).is_none() {
            self.write_hypervisor(offset, value);
        }
    }

    fn reset(&mut self) {
        let Self {
            main,
            page,
            rlc,
            hypervisor,
            started_by: _,
            rptr_generation: _, // go on counting, or the engine would take the next life for this one
            stop_generation: _,
            in_flight: _,
            freezes: _, // chosen on the device's side
        } = self;
        main.reset();
        page.reset();
        rlc.reset();
        hypervisor.reset();
        self.start();
        self.stopped();
        self.rptr_written();
    }
}
