//! The registers of the graphics block: GRBM, RLC, CP, and storage for the rest.

use std::collections::HashMap;

use mmio::{Effects, RegOffset, RegisterBlock, RegisterFile};

use super::spec::{GfxLayout, Placed, Role, fields as f};
use super::{CpCommand, CpConfig, CpEvent, HqdImage, QueueChange, QueueId, QueueKind};

/// Graphics queue windows: 4 pipes of 8 queues.
const GFX_WINDOWS: usize = 32;

/// What a register write asks of the rest of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GfxEffect {
    /// For [`CommandProcessor::apply`](super::CommandProcessor::apply).
    Cp(CpCommand),
    /// An interrupt, or rather an event that becomes one.
    Event(CpEvent),
    /// GRBM_SOFT_RESET has risen for these SDMA engines (bit n is SDMAn).
    ResetSdma(u8),
    /// RLCG shall do a register access for a virtual function; answer with [`GfxRegisters::finish_rlcg`].
    Rlcg(RlcgRequest),
}

/// A register access through RLC firmware, `amdgpu_virt_rlcg_reg_rw` (SCRATCH_REG0 data, SCRATCH_REG1 address and command).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RlcgRequest {
    /// The register.
    pub register: RegOffset,
    /// Bits 31:28 of SCRATCH_REG1: 0 GC write, 1 GC read, 2 MMHUB write, 8 legacy write.
    pub command: u8,
    /// What to write.
    pub value: u32,
}

impl RlcgRequest {
    /// Whether the request reads.
    pub const fn is_read(&self) -> bool {
        self.command == 1
    }
}

#[derive(Debug, Clone, Copy)]
enum Bank {
    Global,
    Windows,
    Hqd,
    GfxHqd,
    Vmid,
}

/// The register side of the graphics block.
///
/// It owns every register value. What the command processor has to know reaches it as [`GfxEffect::Cp`] and as [`CpConfig`]; what it
/// changes itself comes back through [`publish`](Self::publish).
#[derive(Debug)]
pub struct GfxRegisters {
    layout: Placed,
    roles: HashMap<RegOffset, Role>,
    global: RegisterFile,
    windows: RegisterFile,
    hqd: Vec<RegisterFile>,
    gfx_hqd: Vec<RegisterFile>,
    vmid: Vec<RegisterFile>,
    clock: u64,
    /// For graphics and for compute queues.
    queue_reset: [bool; 2],
}

impl GfxRegisters {
    /// Registers after power-on, of a part whose graphics has these bases (in dwords, by segment).
    pub fn new(layout: GfxLayout, bases: &[u32]) -> Self {
        let file = |specs| RegisterFile::placed("", bases, specs);
        let placed = layout.place(bases);
        Self {
            roles: placed.roles.iter().copied().collect(),
            global: file(layout.global),
            windows: file(layout.windows),
            hqd: vec![file(layout.hqd); QueueId::COUNT],
            gfx_hqd: vec![file(layout.gfx_hqd); GFX_WINDOWS],
            vmid: vec![file(layout.per_vmid); gart::Vmid::COUNT],
            layout: placed,
            clock: 0,
            queue_reset: [true; 2],
        }
    }

    /// The PSP has started the firmware through the RLC: RLC_RLCS_BOOTLOAD_STATUS, and the RLC runs.
    pub fn set_bootload_complete(&mut self) {
        self.update(Role::BootloadStatus, |value| value | f::BOOTLOAD_COMPLETE);
        self.update(Role::RlcCntl, |value| value | f::RLC_ENABLE_F32);
    }

    /// Tells the registers the time, in ticks of the reference clock (100 MHz).
    pub const fn set_clock(&mut self, ticks: u64) {
        self.clock = ticks;
    }

    /// Whether one queue of this kind can be reset on its own. Without it CP_VMID_RESET never clears (graphics), and a dequeue request
    /// of kind RESET does nothing, so that drivers have to fall back to resetting the device.
    pub const fn set_queue_reset(&mut self, kind: QueueKind, works: bool) {
        let [graphics, compute] = &mut self.queue_reset;
        match kind {
            QueueKind::Graphics => *graphics = works,
            QueueKind::Compute => *compute = works,
        }
    }

    const fn resets(&self, kind: QueueKind) -> bool {
        let [graphics, compute] = self.queue_reset;
        match kind {
            QueueKind::Graphics => graphics,
            QueueKind::Compute => compute,
        }
    }

    /// Whether a queue hangs: GRBM_STATUS says that graphics is busy.
    pub fn set_hung(&mut self, hung: bool) {
        self.update(Role::GrbmStatus, |_| if hung { f::GUI_ACTIVE_CP_BUSY } else { 0 });
    }

    /// What the command processor has to know to run.
    pub fn cp_config(&self) -> CpConfig {
        let mec = self.role_value(Role::MecCntl);
        let schedulers = self.role_value(Role::CpSchedulers);
        CpConfig {
            gfx_int_cntl: [
                self.role_value(Role::GfxIntCntl(0)),
                self.role_value(Role::GfxIntCntl(1)),
            ],
            mec_int_cntl: [1, 2]
                .map(|me| [0, 1, 2, 3].map(|pipe| self.role_value(Role::MecIntCntl { me, pipe }))),
            gfx_halted: self.role_value(Role::MeCntl) & f::ME_CNTL_HALT != 0,
            mec_halted: [mec & f::MEC_ME1_HALT != 0, mec & f::MEC_ME2_HALT != 0],
            wptr_poll: self.role_value(Role::WptrPollCntl) & f::WPTR_POLL_EN != 0,
            kiq: (schedulers & f::SCHEDULER_VALID != 0).then(|| QueueId::from_scheduler(schedulers)),
            queue_reset: self.queue_reset,
        }
    }

    /// Takes over what the command processor has changed about a queue.
    pub fn publish(&mut self, change: &QueueChange) {
        match change {
            QueueChange::Mapped(image) => {
                for (index, word) in image.words().iter().enumerate() {
                    self.set_window(image.queue, index, *word);
                }
                self.set_window(image.queue, f::hqd::ACTIVE, 1);
            }
            QueueChange::Unmapped(queue) => self.set_window(*queue, f::hqd::ACTIVE, 0),
            QueueChange::Pointers { queue, rptr, wptr } => {
                let index = wptr_index(*queue);
                self.set_window(*queue, f::hqd::RPTR, *rptr);
                self.set_window(*queue, index, low(*wptr));
                self.set_window(*queue, index + 1, high(*wptr));
            }
        }
    }

    /// Ends the access that [`GfxEffect::Rlcg`] asked for; `read` is the value of a read.
    pub fn finish_rlcg(&mut self, read: Option<u32>) {
        if let Some(value) = read {
            self.update(Role::RlcgData, |_| value);
        }
        self.update(Role::RlcgCommand, |value| value & !f::RLCG_PENDING);
    }

    /// The queue that GRBM_GFX_CNTL selects.
    pub fn selected(&self) -> QueueId {
        QueueId::from_gfx_cntl(self.role_value(Role::GfxCntl))
    }

    /// The registers of a queue's window.
    pub fn hqd_image(&self, queue: QueueId) -> HqdImage {
        HqdImage::from_window(queue, |index| self.window(queue, index))
    }

    fn role_value(&self, role: Role) -> u32 {
        self.layout
            .offset(role)
            .map_or(0, |offset| self.global.get(offset))
    }

    fn update(&mut self, role: Role, change: impl FnOnce(u32) -> u32) {
        if let Some(offset) = self.layout.offset(role) {
            self.global.set(offset, change(self.global.get(offset)));
        }
    }

    fn window_offset(&self, kind: QueueKind, index: usize) -> RegOffset {
        let base = match kind {
            QueueKind::Graphics => self.layout.gfx_hqd_base,
            QueueKind::Compute => self.layout.hqd_base,
        };
        base.plus(u32::try_from(index).unwrap_or(u32::MAX).saturating_mul(4))
    }

    fn window_file(&mut self, queue: QueueId) -> Option<&mut RegisterFile> {
        match queue.kind() {
            QueueKind::Graphics => self.gfx_hqd.get_mut(queue.index() % GFX_WINDOWS),
            QueueKind::Compute => self.hqd.get_mut(queue.index()),
        }
    }

    fn window(&self, queue: QueueId, index: usize) -> u32 {
        let file = match queue.kind() {
            QueueKind::Graphics => self.gfx_hqd.get(queue.index() % GFX_WINDOWS),
            QueueKind::Compute => self.hqd.get(queue.index()),
        };
        file.map_or(0, |file| file.get(self.window_offset(queue.kind(), index)))
    }

    fn set_window(&mut self, queue: QueueId, index: usize, value: u32) {
        let offset = self.window_offset(queue.kind(), index);
        if let Some(file) = self.window_file(queue) {
            file.set(offset, value);
        }
    }

    /// Resolves the CAM and CPC_INT_CNTL, which is a window on the selected pipe's own enable register.
    fn canonical(&self, offset: RegOffset) -> RegOffset {
        let offset = self
            .layout
            .aliases
            .iter()
            .find(|(alias, _)| *alias == offset)
            .map_or(offset, |(_, target)| *target);
        let selected = self.selected();
        if self.roles.get(&offset) == Some(&Role::CpcIntCntl) && selected.kind() == QueueKind::Compute {
            let pipe = Role::MecIntCntl {
                me: selected.me(),
                pipe: selected.pipe(),
            };
            return self.layout.offset(pipe).unwrap_or(offset);
        }
        offset
    }

    fn file_mut(&mut self, offset: RegOffset) -> Option<(Bank, &mut RegisterFile)> {
        if self.global.relative(offset).is_some() {
            return Some((Bank::Global, &mut self.global));
        }
        if self.windows.relative(offset).is_some() {
            return Some((Bank::Windows, &mut self.windows));
        }
        let selected = self.selected();
        let vmid = gart::Vmid::from_field(self.role_value(Role::GfxCntl) >> 4);
        let banks = [
            (Bank::Hqd, &mut self.hqd, selected.index()),
            (Bank::GfxHqd, &mut self.gfx_hqd, selected.index() % GFX_WINDOWS),
            (Bank::Vmid, &mut self.vmid, vmid.index()),
        ];
        banks.into_iter().find_map(|(bank, files, index)| {
            let file = files.get_mut(index)?;
            file.relative(offset).is_some().then_some((bank, file))
        })
    }

    fn write_global(&mut self, offset: RegOffset, old: u32, new: u32, effects: &mut Effects<GfxEffect>) {
        let Some(role) = self.roles.get(&offset).copied() else {
            return;
        };
        match role {
            Role::SoftReset => self.soft_reset(new & !old, effects),
            Role::SafeMode => self.update(role, |value| value & !f::SAFE_MODE_CMD),
            Role::CaptureClock if new & f::CAPTURE != 0 => {
                let clock = self.clock;
                self.update(Role::ClockLow, |_| low(clock));
                self.update(Role::ClockHigh, |_| high(clock));
                self.update(role, |value| value & !f::CAPTURE);
            }
            Role::CpcIntStatus => self.kiq_interrupt(new, effects),
            Role::VmidReset => self.reset_graphics_queues(new, effects),
            Role::ComputeQueueReset => self.update(role, |_| 0),
            Role::WptrPollOnce => {
                effects.push(GfxEffect::Cp(CpCommand::PollWptrs(new)));
                self.update(role, |_| 0);
            }
            Role::RlcgTrigger if new & 1 != 0 => {
                let command = self.role_value(Role::RlcgCommand);
                self.update(role, |_| 0);
                if f::RLCG_SELECTING.contains(&(command >> 28)) {
                    let selection = self.role_value(Role::RlcgSelection);
                    self.update(Role::GfxCntl, |_| selection);
                }
                effects.push(GfxEffect::Rlcg(RlcgRequest {
                    register: RegOffset::from_dword(command & f::RLCG_PENDING),
                    command: (command >> 28) as u8,
                    value: self.role_value(Role::RlcgData),
                }));
            }
            _ => {}
        }
    }

    fn soft_reset(&mut self, rising: u32, effects: &mut Effects<GfxEffect>) {
        let sdma = (rising >> f::SOFT_RESET_SDMA_SHIFT & 0xf) as u8;
        if sdma != 0 {
            effects.push(GfxEffect::ResetSdma(sdma));
        }
        let both = f::SOFT_RESET_CP | f::SOFT_RESET_GFX | f::SOFT_RESET_CPF;
        let graphics = rising & (both | f::SOFT_RESET_CPG) != 0;
        let compute = rising & (f::SOFT_RESET_CP | f::SOFT_RESET_CPF | f::SOFT_RESET_CPC) != 0;
        if graphics {
            self.gfx_hqd.iter_mut().for_each(RegisterFile::reset);
        }
        if compute {
            self.hqd.iter_mut().for_each(RegisterFile::reset);
        }
        if graphics || compute {
            effects.push(GfxEffect::Cp(CpCommand::SoftReset { graphics, compute }));
        }
    }

    /// The enable is the KIQ's own pipe's, or the one written without a pipe selected (`gfx_v10_0_kiq_set_interrupt_state` sets
    /// both). The status bit does not stay: nothing reads it.
    fn kiq_interrupt(&mut self, written: u32, effects: &mut Effects<GfxEffect>) {
        self.update(Role::CpcIntStatus, |value| value & !f::GENERIC2_INT);
        let config = self.cp_config();
        let Some(queue) = config.kiq else { return };
        let enables = config.int_cntl(queue) | self.role_value(Role::CpcIntCntl);
        if written & enables & f::GENERIC2_INT != 0 {
            effects.push(GfxEffect::Event(CpEvent::KiqFence { queue }));
        }
    }

    /// CP_VMID_RESET: PIPE0_QUEUES in [23:16], PIPE1_QUEUES in [31:24]. The register clears when it is done, which is at once if queues
    /// can be reset at all.
    fn reset_graphics_queues(&mut self, value: u32, effects: &mut Effects<GfxEffect>) {
        let works = self.resets(QueueKind::Graphics);
        if works {
            self.update(Role::VmidReset, |_| 0);
        }
        for pipe in 0..2 {
            for queue in (0..8).filter(|queue| value >> (16 + 8 * pipe + queue) & 1 != 0) {
                let queue = QueueId::new(0, pipe, queue);
                if !works {
                    effects.push(GfxEffect::Event(CpEvent::QueueNotReset { queue }));
                    continue;
                }
                self.set_window(queue, f::hqd::ACTIVE, 0);
                effects.push(GfxEffect::Cp(CpCommand::Reset(queue)));
                effects.push(GfxEffect::Event(CpEvent::QueueReset { queue }));
            }
        }
    }

    /// A write to the selected queue's window.
    fn write_window(
        &mut self,
        queue: QueueId,
        index: usize,
        old: u32,
        new: u32,
        effects: &mut Effects<GfxEffect>,
    ) {
        let dequeue = match queue.kind() {
            QueueKind::Graphics => f::hqd::GFX_DEQUEUE,
            QueueKind::Compute => f::hqd::DEQUEUE,
        };
        let active = self.window(queue, f::hqd::ACTIVE) & 1 != 0;
        let pointer = wptr_index(queue);
        if index == f::hqd::ACTIVE && (old ^ new) & 1 != 0 {
            if new & 1 != 0 {
                let image = Box::new(self.hqd_image(queue));
                effects.push(GfxEffect::Cp(CpCommand::Activate(image)));
            } else {
                self.deactivate(queue, effects);
            }
        } else if index == dequeue && new & f::DEQUEUE_REQ != 0 {
            if self.resets(queue.kind()) || new & f::DEQUEUE_REQ != f::DEQUEUE_RESET {
                self.set_window(queue, index, 0);
                if active {
                    self.deactivate(queue, effects);
                    if new & f::DEQUEUE_REQ == f::DEQUEUE_RESET {
                        effects.push(GfxEffect::Event(CpEvent::QueueReset { queue }));
                    }
                }
            } else {
                effects.push(GfxEffect::Event(CpEvent::QueueNotReset { queue }));
            }
        } else if active && (index == pointer || index == pointer + 1) {
            effects.push(GfxEffect::Cp(CpCommand::SetWptr {
                queue,
                wptr: self.hqd_image(queue).wptr(),
            }));
        }
    }

    /// The pointers go with the queue: a VF's driver activates the KIQ again without writing the read pointer
    /// (`gfx_v10_0_kiq_init_register` writes it only if it found the queue active).
    fn deactivate(&mut self, queue: QueueId, effects: &mut Effects<GfxEffect>) {
        let pointer = wptr_index(queue);
        for index in [f::hqd::ACTIVE, f::hqd::RPTR, pointer, pointer + 1] {
            self.set_window(queue, index, 0);
        }
        effects.push(GfxEffect::Cp(CpCommand::Deactivate(queue)));
    }
}

impl RegisterBlock for GfxRegisters {
    type Effect = GfxEffect;

    fn files(&self) -> Vec<&RegisterFile> {
        let mut files = vec![&self.global, &self.windows];
        files.extend(self.hqd.first());
        files.extend(self.gfx_hqd.first());
        files.extend(self.vmid.first());
        files
    }

    fn read(&mut self, offset: RegOffset) -> u32 {
        let offset = self.canonical(offset);
        self.file_mut(offset)
            .and_then(|(_, file)| file.read(offset))
            .unwrap_or(0)
    }

    fn write(&mut self, offset: RegOffset, value: u32, effects: &mut Effects<GfxEffect>) {
        let offset = self.canonical(offset);
        let selected = self.selected();
        let Some((bank, file)) = self.file_mut(offset) else {
            return;
        };
        let Some(written) = file.write(offset, value) else {
            return;
        };
        match bank {
            Bank::Global => self.write_global(offset, written.old, written.new, effects),
            Bank::Hqd if selected.kind() == QueueKind::Compute => {
                let index = index_in(self.layout.hqd_base, offset);
                self.write_window(selected, index, written.old, written.new, effects);
            }
            Bank::GfxHqd if selected.kind() == QueueKind::Graphics => {
                let index = index_in(self.layout.gfx_hqd_base, offset);
                self.write_window(selected, index, written.old, written.new, effects);
            }
            Bank::Windows | Bank::Hqd | Bank::GfxHqd | Bank::Vmid => {}
        }
    }

    fn reset(&mut self) {
        let Self {
            layout: _,
            roles: _,
            global,
            windows,
            hqd,
            gfx_hqd,
            vmid,
            clock: _,
            queue_reset: _, // chosen on the device's side
        } = self;
        global.reset();
        windows.reset();
        for file in hqd.iter_mut().chain(gfx_hqd).chain(vmid) {
            file.reset();
        }
    }
}

fn index_in(base: RegOffset, offset: RegOffset) -> usize {
    offset
        .relative_to(base)
        .map_or(usize::MAX, |relative| relative.dword() as usize)
}

const fn wptr_index(queue: QueueId) -> usize {
    match queue.kind() {
        QueueKind::Graphics => f::hqd::GFX_WPTR,
        QueueKind::Compute => f::hqd::WPTR,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the low half is what is asked for"
)]
const fn low(value: u64) -> u32 {
    value as u32
}

const fn high(value: u64) -> u32 {
    (value >> 32) as u32
}
