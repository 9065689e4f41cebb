//! What each packet does.

use std::time::Duration;

use gart::{GpuVa, VirtualMemory, Vmid};
use mmio::{RegOffset, RegisterBus};

use crate::engine::{Context, Engine, Notice, Turn, Work};
use crate::gate::{Ahead, Delay, Gate, Verdict};
use crate::stats::{add, bump};
use crate::stream::Stream;
use crate::transfer::{Flaw, Job, Transfer};
use crate::wait::{Waiter, execute};
use crate::{
    Atomic, ConstFill, CopyLinear, EngineEvent, HaltReason, Indirect, Packet, PollRegMem, PollTarget,
    PtePacket, PtePde, PteUpdate, SrbmWrite, TIMESTAMP_HZ, Timestamp, VmInvalidation, Wait, WaitTarget,
    WriteLinear,
};

/// How far behind the start of an indirect buffer the source of a COPY_LINEAR counts as part of the buffer's allocation.
/// `amdgpu_vm_sdma_update` puts page-table entries behind the packets of its buffer, outside of the length that INDIRECT gives, and
/// allocates at most AMDGPU_VM_SDMA_MAX_NUM_DW = 16384 dwords (6.1, 6.12, 7.3).
const IB_ALLOCATION: u64 = 16 * 1024 * 4;

impl Engine {
    /// Begins a packet at the start of `stream`. What ends at once is over afterwards; the rest is in flight.
    pub(crate) fn begin<B: VirtualMemory + RegisterBus + Gate>(
        &mut self,
        packet: &Packet,
        header: u32,
        stream: &Stream,
        cx: &mut Context<'_, B>,
    ) -> Turn {
        // The write to IB_CNTL that enables buffers makes the device step again.
        if matches!(packet, Packet::Indirect(_)) && self.ib().is_none() && !cx.config.ib_enabled {
            return Turn::Empty;
        }
        let own = u64::from(packet.dwords()).saturating_mul(4);
        let length = u64::from(packet.payload_dwords())
            .saturating_mul(4)
            .saturating_add(own);
        if matches!(packet, Packet::WriteLinear(_)) && length > stream.available {
            return self.cut_off(header, stream.vmid);
        }
        cx.budget.packets = cx.budget.packets.saturating_sub(1);
        let vmid = stream.vmid;
        let update = self.update(packet, vmid);
        let flaw = match self.ask(packet, vmid, update, cx) {
            Verdict::Proceed => Flaw::None,
            Verdict::Skip => return Turn::Done(length),
            Verdict::Hang => return Turn::Hang,
            Verdict::HangAfter(bytes) => Flaw::Stop { after: bytes },
            Verdict::Delay(delay) => return self.put_off(delay, cx.now),
            Verdict::Corrupt { entry, xor } => Flaw::Flip {
                at: entry.saturating_mul(8),
                xor,
            },
        };
        self.stats.count(packet.kind());
        let work = match *packet {
            Packet::Nop { skip: 0 } | Packet::GcrReq => return Turn::Done(length),
            Packet::Nop { .. } => Work::Skip,
            Packet::CopyLinear(copy) => self.copy_linear(copy, vmid, update, flaw),
            Packet::WriteLinear(packet) => self.write_linear(packet, *stream, own, update, flaw),
            Packet::Indirect(packet) => return self.indirect(packet, vmid),
            Packet::Fence { dst, value } => {
                self.fence(dst, value, vmid, cx);
                return Turn::Done(length);
            }
            Packet::Trap { context } => {
                self.trap(context, vmid, cx);
                return Turn::Done(length);
            }
            Packet::PollRegMem(poll) => Self::poll_regmem(poll, vmid, cx),
            Packet::VmInvalidation(packet) => match self.vm_invalidation(packet, cx) {
                Some(work) => work,
                None => return Turn::Done(length),
            },
            Packet::CondExe { at, reference, skip } => {
                if self.cond_exe(at, reference, vmid, cx) {
                    return Turn::Done(length);
                }
                let skipped = u64::from(skip).saturating_mul(4).saturating_add(length);
                return self.launch(skipped, Work::Skip);
            }
            Packet::Atomic(atomic) => match atomic.repeat {
                Some(units) => Work::Wait(Waiter::atomic(vmid, atomic, units, cx.now)),
                None => {
                    self.atomic(atomic, vmid, cx);
                    return Turn::Done(length);
                }
            },
            Packet::ConstFill(fill) => self.const_fill(fill, vmid, flaw),
            Packet::PtePde(packet) => self.pte_pde(packet, vmid, update, flaw),
            Packet::Timestamp(timestamp) => {
                self.timestamp(timestamp, vmid, cx);
                return Turn::Done(length);
            }
            Packet::SrbmWrite(write) => {
                Self::srbm_write(write, cx);
                return Turn::Done(length);
            }
            Packet::Unknown { header } => return Turn::Halt(HaltReason::UnknownPacket { header, vmid }),
        };
        self.launch(length, work)
    }

    /// Asks the device about a packet. One that waited for its time is asked about a second time.
    fn ask<B: Gate>(
        &mut self,
        packet: &Packet,
        vmid: Vmid,
        update: Option<PteUpdate>,
        cx: &mut Context<'_, B>,
    ) -> Verdict {
        let delayed = std::mem::take(&mut self.delay) != Delay::None;
        let ahead = Ahead {
            packet,
            vmid,
            update,
            delayed,
        };
        match cx.bus.verdict(&ahead) {
            // Only what moves data has a middle.
            Verdict::HangAfter(_)
                if !matches!(
                    packet,
                    Packet::CopyLinear(_) | Packet::WriteLinear(_) | Packet::ConstFill(_) | Packet::PtePde(_)
                ) =>
            {
                Verdict::Hang
            }
            verdict => verdict,
        }
    }

    fn put_off(&mut self, delay: Duration, now: Duration) -> Turn {
        self.delay = Delay::Until {
            since: now,
            time: now.saturating_add(delay),
        };
        Turn::Waiting(Wait {
            interval: delay,
            since: now,
            target: WaitTarget::Delay,
        })
    }

    /// The page-table update that a packet is, as far as its form tells. Page tables are written in VMID 0: `amdgpu_vm_sdma_commit`
    /// submits without a VM.
    #[inline]
    fn update(&self, packet: &Packet, vmid: Vmid) -> Option<PteUpdate> {
        let (kind, dst, bytes) = match packet {
            Packet::CopyLinear(copy) if self.is_from_ib(copy) => (PtePacket::Copy, copy.dst, copy.bytes),
            Packet::WriteLinear(packet) => {
                let bytes = u64::from(packet.dwords).saturating_mul(4);
                (PtePacket::Write, packet.dst, bytes)
            }
            Packet::PtePde(packet) => {
                let bytes = u64::from(packet.entries).saturating_mul(8);
                (PtePacket::SetPtePde, packet.dst, bytes)
            }
            _ => return None,
        };
        let whole = dst.get().is_multiple_of(8) && bytes.is_multiple_of(8);
        (whole && vmid == Vmid::KERNEL).then_some(PteUpdate {
            kind,
            dst,
            entries: bytes >> 3,
        })
    }

    /// Whether a copy reads the allocation of the indirect buffer that it is in.
    #[inline]
    fn is_from_ib(&self, copy: &CopyLinear) -> bool {
        self.ib().is_some_and(|ib| {
            let size = u64::from(ib.packet.dwords).saturating_mul(4).max(IB_ALLOCATION);
            copy.src.get().wrapping_sub(ib.packet.base.get()) < size
        })
    }

    #[inline]
    fn copy_linear(&mut self, copy: CopyLinear, vmid: Vmid, update: Option<PteUpdate>, flaw: Flaw) -> Work {
        // `amdgpu_bo_restore_shadow` (6.1) copies a table whole.
        let table = copy.bytes <= EngineEvent::LARGEST_TABLE && copy.bytes.is_multiple_of(8);
        let copied = (table && vmid == Vmid::KERNEL).then_some(Notice::Copy(copy));
        let notice = update.map(Notice::Entries).or(copied);
        if update.is_some() {
            bump(&mut self.stats.page_tables.copy_packets);
            add(&mut self.stats.page_tables.copy_bytes, copy.bytes);
        } else {
            add(&mut self.stats.copy_bytes, copy.bytes);
        }
        Work::Transfer(Transfer::new(vmid, Job::Copy(copy), flaw), notice)
    }

    #[inline]
    fn write_linear(
        &mut self,
        packet: WriteLinear,
        stream: Stream,
        header: u64,
        update: Option<PteUpdate>,
        flaw: Flaw,
    ) -> Work {
        let vmid = stream.vmid;
        if vmid == Vmid::KERNEL {
            bump(&mut self.stats.page_tables.write_packets);
            add(
                &mut self.stats.page_tables.write_qwords,
                u64::from(packet.dwords >> 1),
            );
        }
        let job = Job::Write {
            packet,
            stream,
            header,
        };
        Work::Transfer(Transfer::new(vmid, job, flaw), update.map(Notice::Entries))
    }

    #[inline]
    fn pte_pde(&mut self, packet: PtePde, vmid: Vmid, update: Option<PteUpdate>, flaw: Flaw) -> Work {
        if vmid == Vmid::KERNEL {
            bump(&mut self.stats.page_tables.set_packets);
            add(&mut self.stats.page_tables.set_entries, u64::from(packet.entries));
        }
        Work::Transfer(
            Transfer::new(vmid, Job::Entries(packet), flaw),
            update.map(Notice::Entries),
        )
    }

    #[inline]
    fn const_fill(&mut self, fill: ConstFill, vmid: Vmid, flaw: Flaw) -> Work {
        add(&mut self.stats.fill_bytes, fill.bytes);
        Work::Transfer(Transfer::new(vmid, Job::Fill(fill), flaw), None)
    }

    #[inline]
    fn indirect(&self, packet: Indirect, vmid: Vmid) -> Turn {
        match self.ib() {
            Some(_) => Turn::Halt(HaltReason::NestedIndirect { vmid }),
            None => Turn::Enter(packet),
        }
    }

    /// The driver's fences are aligned (`sdma_v5_2_ring_emit_fence` warns otherwise) and written in one piece; any other is not.
    fn fence<B: VirtualMemory>(&mut self, dst: GpuVa, value: u32, vmid: Vmid, cx: &mut Context<'_, B>) {
        let result = match dst.get() & 3 {
            0 => cx.bus.store_u32(vmid, dst, value),
            _ => cx.bus.write(vmid, dst, &value.to_le_bytes()),
        };
        match result {
            Ok(()) => cx.events.push(EngineEvent::Fence { at: dst, value, vmid }),
            Err(_) => bump(&mut self.stats.faults),
        }
    }

    fn trap<B>(&mut self, context: u32, vmid: Vmid, cx: &mut Context<'_, B>) {
        if cx.config.trap_enabled {
            bump(&mut self.stats.traps);
            cx.events.push(EngineEvent::Trap { context, vmid });
        }
    }

    fn poll_regmem<B: RegisterBus>(poll: PollRegMem, vmid: Vmid, cx: &mut Context<'_, B>) -> Work {
        if let PollTarget::HdpFlush { request, .. } = poll.target {
            Self::write_register(request, poll.reference, cx);
        }
        Work::Wait(Waiter::poll(vmid, poll, cx.now))
    }

    fn vm_invalidation<B: RegisterBus>(
        &self,
        packet: VmInvalidation,
        cx: &mut Context<'_, B>,
    ) -> Option<Work> {
        let engine = packet.gfx_engine?;
        Self::write_register(self.invalidate.request(engine), packet.request, cx);
        let ack = self.invalidate.acknowledgement(engine);
        Some(Work::Wait(Waiter::acknowledgement(ack, packet.ack, cx.now)))
    }

    /// Whether the packets that follow are executed. A fault reads as zero.
    fn cond_exe<B: VirtualMemory>(
        &mut self,
        at: GpuVa,
        reference: u32,
        vmid: Vmid,
        cx: &mut Context<'_, B>,
    ) -> bool {
        let mut data = [0; 4];
        if cx.bus.read(vmid, at, &mut data).is_err() {
            bump(&mut self.stats.faults);
            data = [0; 4];
        }
        u32::from_le_bytes(data) == reference
    }

    fn atomic<B: VirtualMemory>(&mut self, atomic: Atomic, vmid: Vmid, cx: &mut Context<'_, B>) {
        execute(cx.bus, vmid, atomic, &mut self.stats);
    }

    fn timestamp<B: VirtualMemory>(&mut self, timestamp: Timestamp, vmid: Vmid, cx: &mut Context<'_, B>) {
        let global = ticks(cx.now);
        let (at, value) = match timestamp {
            Timestamp::Set(value) => {
                self.local_time = value.wrapping_sub(global);
                return;
            }
            Timestamp::Get(at) => (at, global.wrapping_add(self.local_time)),
            Timestamp::GetGlobal(at) => (at, global),
        };
        if cx.bus.store_u64(vmid, at, value).is_err() {
            bump(&mut self.stats.faults);
        }
    }

    fn srbm_write<B: RegisterBus>(write: SrbmWrite, cx: &mut Context<'_, B>) {
        let SrbmWrite {
            register,
            value,
            lanes,
        } = write;
        match lanes {
            0 => {}
            u32::MAX => Self::write_register(register, value, cx),
            _ => {
                let old = cx.bus.read_register(register);
                Self::write_register(register, old & !lanes | value & lanes, cx);
            }
        }
    }

    /// Every write of a register comes through here, because it ends the step: its effects (an invalidation, a reset, this very engine
    /// being halted) have to come before the next packet.
    fn write_register<B: RegisterBus>(register: RegOffset, value: u32, cx: &mut Context<'_, B>) {
        cx.bus.write_register(register, value);
        cx.registers_written = true;
    }
}

/// Ticks of the GPU's counter since power-on.
fn ticks(now: Duration) -> u64 {
    let seconds = now.as_secs().wrapping_mul(u64::from(TIMESTAMP_HZ));
    let fraction = u64::from(now.subsec_nanos()).saturating_mul(u64::from(TIMESTAMP_HZ)) / 1_000_000_000;
    seconds.wrapping_add(fraction)
}
