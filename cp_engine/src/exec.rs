//! Executing packets.

use gart::{Fault, GpuVa, VirtualMemory, Vmid};
use mmio::{RegOffset, RegisterBus};

use super::cp::{Bench, CommandProcessor, Scratch, next};
use super::fetch::Fetch;
use super::gate::QueueGate;
use super::pm4::{CopySource, Destination, DmaSource, Header, Packet, Place, ReleaseData, decode};
use super::spec::fields::{OPCODE_ERROR_INT_ENABLE, PRIV_REG_INT_ENABLE, TIME_STAMP_INT_ENABLE};
use super::state::{Frame, MAX_DEPTH, Queue, Transfer, TransferSource};
use super::{CpEvent, HaltReason, LONG_WAIT, QueueId, QueueState, Wait};

/// Bytes of a copy that are done in one go.
const TRANSFER_SLICE: u64 = 0x1_0000;
/// Dwords of WRITE_DATA that are written in one go.
const WRITE_CHUNK: usize = 64;

/// Registers that a user's stream may address: shader, context and user configuration registers. The rest is the kernel's.
fn is_users(register: RegOffset) -> bool {
    matches!(register.dword(), 0x2c00..0x3000 | 0xa000..0xe000)
}

impl CommandProcessor {
    /// Executes one packet, one poll or one slice of a copy. Returns whether the queue got on.
    pub(super) fn advance<B: VirtualMemory + RegisterBus + QueueGate>(
        &mut self,
        queue: &mut Queue,
        bench: &mut Bench<'_, B>,
        scratch: &mut Scratch,
    ) -> bool {
        match queue.state {
            QueueState::Halted(_) => return false,
            QueueState::Waiting(wait) => return self.poll(queue, wait, bench),
            QueueState::Delayed(until) if bench.now < until => return false,
            QueueState::Delayed(_) => {
                queue.state = QueueState::Running;
                queue.delay_over = true;
            }
            QueueState::Running => {}
        }
        if let Some(transfer) = queue.transfer.take() {
            queue.transfer = self.transfer(transfer, bench);
            return true;
        }
        let (header, len) = match self.fetch(queue, bench, scratch) {
            Fetch::Packet(header, len) => (header, len),
            Fetch::Again => return true,
            Fetch::Dry => return false,
        };
        self.stats.count_packet(header);
        bench.budget.packets = bench.budget.packets.saturating_sub(1);
        let body = scratch.words.get(..len).unwrap_or_default();
        self.execute(queue, bench, header, decode(header, body));
        true
    }

    fn execute<B: VirtualMemory + RegisterBus>(
        &mut self,
        queue: &mut Queue,
        bench: &mut Bench<'_, B>,
        header: Header,
        packet: Packet<'_>,
    ) {
        let vmid = queue.vmid();
        match packet {
            Packet::NoEffect => {}
            Packet::Unmodelled => self.stats.unmodelled += 1,
            Packet::Illegal => self.stop_illegal(queue, bench, header),
            Packet::SetRegisters { start, end, values } => {
                if self.may_access(queue, bench, start) {
                    let mut register = start;
                    for value in values {
                        if register >= end {
                            break;
                        }
                        bench.bus.write_register(register, *value);
                        register = next(register);
                    }
                }
            }
            Packet::WriteData {
                destination,
                one_address,
                data,
            } => self.write_data(queue, bench, destination, one_address, data),
            Packet::CopyData {
                source,
                destination,
                wide,
            } => self.copy_data(queue, bench, source, destination, wide),
            Packet::Wait {
                write,
                poll,
                wide,
                compare,
                reference,
                mask,
            } => {
                let wait = Wait {
                    vmid,
                    poll,
                    wide,
                    compare,
                    reference,
                    mask,
                    faulted: false,
                    since: bench.now,
                    told: false,
                };
                self.start_wait(queue, bench, write, wait);
            }
            Packet::IndirectBuffer {
                address,
                dwords,
                vmid: field,
                chain,
            } => self.call(queue, bench, header, address, dwords, field, chain),
            Packet::CondExec { address, skip } => {
                let condition = self.sample(bench, vmid, Place::Memory(address), false);
                if condition.unwrap_or(0) == 0 {
                    match queue.frames.last_mut() {
                        Some(frame) => frame.skip = skip,
                        None => queue.skip = skip,
                    }
                }
            }
            Packet::ReleaseMem {
                address,
                data,
                interrupt,
                context_id,
            } => {
                self.release(queue.id, bench, vmid, address, data);
                if interrupt {
                    self.end_of_pipe(queue, bench, context_id);
                }
            }
            Packet::DmaData {
                source,
                destination,
                bytes,
            } => queue.transfer = start_transfer(vmid, source, destination, bytes),
            // The rest belongs to the kernel's schedulers.
            _ if vmid != Vmid::KERNEL => self.stop_illegal(queue, bench, header),
            Packet::SetResources { queue_mask, .. } => self.queue_mask = queue_mask,
            Packet::MapQueue {
                queue: target,
                mqd,
                wptr,
            } => self.map_queue(queue, bench, target, mqd, wptr),
            Packet::UnmapQueues { action, selection } => self.unmap_queues(queue, bench, action, selection),
            Packet::QueryStatus { address, value } => {
                self.release(queue.id, bench, vmid, address, ReleaseData::Full(value));
            }
            Packet::InvalidateTlbs {
                pasid,
                all_hubs,
                flush_type,
            } => {
                bench.events.push(CpEvent::InvalidateTlb {
                    pasid,
                    all_hubs,
                    flush_type,
                });
                bench.end = true;
            }
        }
    }

    pub(super) fn stop_illegal<B>(&mut self, queue: &mut Queue, bench: &mut Bench<'_, B>, header: Header) {
        self.stats.bad_opcodes += 1;
        queue.state = QueueState::Halted(HaltReason::BadOpcode);
        log::debug!(
            target: "amdgpu::cp",
            "guest error: queue {} VMID {}: illegal packet {:#010x}",
            queue.id,
            queue.vmid(),
            header.raw()
        );
        bench.events.push(CpEvent::BadOpcode {
            queue: queue.id,
            vmid: queue.vmid(),
            header: header.raw(),
            interrupt: bench.config.int_cntl(queue.id) & OPCODE_ERROR_INT_ENABLE != 0,
        });
    }

    /// Checks a register of a packet; stops the queue if its stream may not have it.
    fn may_access<B>(&mut self, queue: &mut Queue, bench: &mut Bench<'_, B>, register: RegOffset) -> bool {
        let vmid = queue.vmid();
        if vmid == Vmid::KERNEL || is_users(register) {
            return true;
        }
        self.stats.privileged += 1;
        queue.state = QueueState::Halted(HaltReason::PrivilegedRegister);
        log::debug!(
            target: "amdgpu::cp",
            "guest error: queue {} VMID {vmid}: register {register} is the kernel's",
            queue.id
        );
        bench.events.push(CpEvent::PrivilegedRegister {
            queue: queue.id,
            vmid,
            register,
            interrupt: bench.config.int_cntl(queue.id) & PRIV_REG_INT_ENABLE != 0,
        });
        false
    }

    fn fault(&mut self, result: Result<(), Fault>) {
        self.stats.faults += u64::from(result.is_err());
    }

    fn write_data<B: VirtualMemory + RegisterBus>(
        &mut self,
        queue: &mut Queue,
        bench: &mut Bench<'_, B>,
        destination: Destination,
        one_address: bool,
        data: &[u32],
    ) {
        let vmid = queue.vmid();
        match destination {
            Destination::Nowhere => {}
            Destination::Register(first) => {
                let mut register = first;
                for value in data {
                    if !self.may_access(queue, bench, register) {
                        return;
                    }
                    bench.bus.write_register(register, *value);
                    if !one_address {
                        register = next(register);
                    }
                }
            }
            Destination::Memory(at) => match data {
                [] => {}
                // Often a fence: ordered.
                [value] => self.store(bench, vmid, at, *value),
                [.., last] if one_address => self.store(bench, vmid, at, *last),
                data => {
                    let mut at = at;
                    for chunk in data.chunks(WRITE_CHUNK) {
                        let mut bytes = [0; WRITE_CHUNK * 4];
                        for (bytes, value) in bytes.as_chunks_mut().0.iter_mut().zip(chunk) {
                            *bytes = value.to_le_bytes();
                        }
                        let bytes = bytes.get(..chunk.len() * 4).unwrap_or_default();
                        let written = bench.bus.write(vmid, at, bytes);
                        self.fault(written);
                        at = at.plus(bytes.len() as u64);
                    }
                }
            },
        }
    }

    fn store<B: VirtualMemory>(&mut self, bench: &mut Bench<'_, B>, vmid: Vmid, at: GpuVa, value: u32) {
        let stored = bench.bus.store_u32(vmid, at, value);
        self.fault(stored);
    }

    fn copy_data<B: VirtualMemory + RegisterBus>(
        &mut self,
        queue: &mut Queue,
        bench: &mut Bench<'_, B>,
        source: CopySource,
        destination: Destination,
        wide: bool,
    ) {
        let vmid = queue.vmid();
        let value = match source {
            CopySource::Nowhere => 0,
            CopySource::Clock => bench.now,
            CopySource::Immediate(value) => value,
            CopySource::Place(Place::Register(register)) if !self.may_access(queue, bench, register) => {
                return;
            }
            CopySource::Place(place) => self.sample(bench, vmid, place, wide).unwrap_or(0),
        };
        let bytes = value.to_le_bytes();
        let [a, b, c, d, e, f, g, h] = bytes;
        let (low, high) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        match destination {
            Destination::Nowhere => {}
            Destination::Memory(at) if wide => {
                let written = bench.bus.write(vmid, at, &bytes);
                self.fault(written);
            }
            Destination::Memory(at) => self.store(bench, vmid, at, low),
            Destination::Register(register) => {
                if self.may_access(queue, bench, register) {
                    bench.bus.write_register(register, low);
                    if wide {
                        bench.bus.write_register(next(register), high);
                    }
                }
            }
        }
    }

    fn start_wait<B: VirtualMemory + RegisterBus>(
        &mut self,
        queue: &mut Queue,
        bench: &mut Bench<'_, B>,
        write: Option<RegOffset>,
        mut wait: Wait,
    ) {
        if let Place::Register(register) = wait.poll
            && !self.may_access(queue, bench, register)
        {
            return;
        }
        if let Some(register) = write {
            if !self.may_access(queue, bench, register) {
                return;
            }
            bench
                .bus
                .write_register(register, (wait.reference & 0xffff_ffff) as u32);
            // The driver gives one value for both: a whole invalidation request, of which the acknowledge only ever shows the bits in
            // the mask (6.12 `amdgpu_gmc_fw_reg_write_reg_wait`).
            wait.reference &= wait.mask;
        }
        self.check_wait(queue, wait, bench);
    }

    /// Another try of a poll.
    fn poll<B: VirtualMemory + RegisterBus>(
        &mut self,
        queue: &mut Queue,
        wait: Wait,
        bench: &mut Bench<'_, B>,
    ) -> bool {
        if wait.faulted {
            return false;
        }
        bench.budget.packets = bench.budget.packets.saturating_sub(1);
        self.check_wait(queue, wait, bench)
    }

    fn check_wait<B: VirtualMemory + RegisterBus>(
        &mut self,
        queue: &mut Queue,
        wait: Wait,
        bench: &mut Bench<'_, B>,
    ) -> bool {
        let sample = self.sample(bench, wait.vmid, wait.poll, wait.wide);
        let met = wait.compare.met(sample.unwrap_or(0), wait.mask, wait.reference);
        if met {
            queue.state = QueueState::Running;
            return true;
        }
        self.stats.polls_unmet += 1;
        let faulted = sample.is_none();
        let lasts = faulted || bench.now.saturating_sub(wait.since) >= LONG_WAIT;
        let told = wait.told || lasts;
        let now = Wait {
            faulted,
            told,
            ..wait
        };
        queue.state = QueueState::Waiting(now);
        if lasts && !wait.told {
            let queue = queue.id;
            bench.events.push(CpEvent::LongWait { queue, wait: now });
        }
        false
    }

    #[expect(clippy::too_many_arguments, reason = "they are the packet's fields")]
    fn call<B>(
        &mut self,
        queue: &mut Queue,
        bench: &mut Bench<'_, B>,
        header: Header,
        address: GpuVa,
        dwords: u32,
        field: Vmid,
        chain: bool,
    ) {
        // Only the kernel chooses contexts.
        let vmid = match queue.vmid() {
            Vmid::KERNEL => field,
            vmid => vmid,
        };
        if chain {
            queue.frames.pop();
        }
        if queue.frames.len() >= MAX_DEPTH {
            return self.stop_illegal(queue, bench, header);
        }
        if dwords != 0 {
            self.stats.count_indirect_buffer(vmid);
            queue.frames.push(Frame {
                vmid,
                base: address,
                next: 0,
                len: dwords,
                skip: 0,
            });
        }
    }

    pub(super) fn release<B: VirtualMemory>(
        &mut self,
        queue: QueueId,
        bench: &mut Bench<'_, B>,
        vmid: Vmid,
        address: GpuVa,
        data: ReleaseData,
    ) {
        let wide = GpuVa::new(address.get() & !7);
        let (stored, fence) = match data {
            ReleaseData::None => return,
            ReleaseData::Low(value) => {
                let stored = bench.bus.store_u32(vmid, address, value);
                (stored, Some((address, u64::from(value))))
            }
            ReleaseData::Full(value) => (bench.bus.store_u64(vmid, wide, value), Some((wide, value))),
            ReleaseData::Clock => (bench.bus.store_u64(vmid, wide, bench.now), None),
        };
        self.stats.fences += 1;
        if stored.is_ok()
            && let Some((at, value)) = fence
        {
            bench.events.push(CpEvent::Fence { queue, at, value });
        }
        self.fault(stored);
    }

    fn end_of_pipe<B>(&mut self, queue: &Queue, bench: &mut Bench<'_, B>, context_id: u32) {
        self.stats.end_of_pipe.0 += 1;
        if bench.config.int_cntl(queue.id) & TIME_STAMP_INT_ENABLE != 0 {
            self.stats.end_of_pipe.1 += 1;
            bench.events.push(CpEvent::EndOfPipe {
                queue: queue.id,
                vmid: queue.vmid(),
                context_id,
            });
        }
    }

    /// Does a slice of a copy; returns what is left. A fault ends it.
    fn transfer<B: VirtualMemory>(
        &mut self,
        transfer: Transfer,
        bench: &mut Bench<'_, B>,
    ) -> Option<Transfer> {
        // Whole dwords, so that a pattern goes on where it stopped.
        let slice = TRANSFER_SLICE
            .min(bench.budget.bytes.max(4) & !3)
            .min(transfer.remaining);
        let Transfer {
            vmid, destination, ..
        } = transfer;
        let done = match transfer.source {
            TransferSource::Memory(from) => bench.bus.copy(vmid, from, destination, slice),
            TransferSource::Pattern(pattern) => bench.bus.fill(vmid, destination, pattern, slice),
        };
        self.charge(bench, slice);
        if done.is_err() {
            self.stats.faults += 1;
            return None;
        }
        let source = match transfer.source {
            TransferSource::Memory(from) => TransferSource::Memory(from.plus(slice)),
            pattern @ TransferSource::Pattern(_) => pattern,
        };
        let remaining = transfer.remaining - slice;
        (remaining != 0).then_some(Transfer {
            vmid,
            source,
            destination: destination.plus(slice),
            remaining,
        })
    }
}

fn start_transfer(vmid: Vmid, source: DmaSource, destination: Option<GpuVa>, bytes: u32) -> Option<Transfer> {
    let source = match source {
        DmaSource::Memory(from) => TransferSource::Memory(from),
        DmaSource::Data(pattern) => TransferSource::Pattern(pattern),
        DmaSource::Nowhere => return None,
    };
    let destination = destination.filter(|_| bytes != 0)?;
    Some(Transfer {
        vmid,
        source,
        destination,
        remaining: bytes.into(),
    })
}
