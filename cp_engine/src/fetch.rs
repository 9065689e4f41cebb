//! Getting packets out of rings and indirect buffers.

use gart::{Fault, VirtualMemory};

use super::cp::{Bench, CommandProcessor, Scratch};
use super::gate::{QueueAhead, QueueGate, QueueVerdict};
use super::pm4::Header;
use super::state::Queue;
use super::{CpEvent, HaltReason, QueueSetup, QueueState};

/// What a stream has next.
pub(super) enum Fetch {
    /// This one, and its body lies in the scratch space.
    Packet(Header, usize),
    /// Something was used up without being a packet (a skipped range, the end of an indirect buffer).
    Again,
    /// The ring holds no whole packet.
    Dry,
}

impl CommandProcessor {
    pub(super) fn fetch<B: VirtualMemory + QueueGate>(
        &mut self,
        queue: &mut Queue,
        bench: &mut Bench<'_, B>,
        scratch: &mut Scratch,
    ) -> Fetch {
        let pending = queue.pending();
        let (skip, available) = match queue.frames.last_mut() {
            Some(frame) => (&mut frame.skip, frame.len - frame.next),
            None => (&mut queue.skip, pending),
        };
        let skipped = (*skip).min(available);
        if skipped != 0 {
            *skip -= skipped;
            queue.consume(skipped);
            return Fetch::Again;
        }
        if available == 0 {
            return match queue.frames.pop() {
                Some(_) => Fetch::Again,
                None => Fetch::Dry,
            };
        }
        let mut dword = [0; 4];
        if queue.read_stream(bench.bus, 0, &mut dword).is_err() {
            return self.fetch_fault(queue, bench);
        }
        let header = Header::new(u32::from_le_bytes(dword));
        let body = header.body();
        if body >= available {
            if queue.frames.is_empty() {
                queue.starved = true;
                return Fetch::Dry;
            }
            // A packet that its buffer does not hold.
            queue.consume(available);
            self.stop_illegal(queue, bench, header);
            return Fetch::Again;
        }
        let ahead = QueueAhead {
            delayed: std::mem::take(&mut queue.delay_over),
            enters: header.enters(),
        };
        match bench.bus.queue_verdict(queue.id, ahead) {
            QueueVerdict::Proceed => {}
            QueueVerdict::Hang => {
                queue.state = QueueState::Halted(HaltReason::Hung);
                return Fetch::Dry;
            }
            QueueVerdict::Delay(ticks) => {
                queue.state = QueueState::Delayed(bench.now.saturating_add(ticks));
                return Fetch::Dry;
            }
        }
        let mut len = 0;
        let mut cost = 4;
        if header.needs_body() {
            len = body as usize;
            cost += u64::from(body) * 4;
            let bytes = scratch.bytes.get_mut(..len * 4).unwrap_or_default();
            if queue.read_stream(bench.bus, 1, bytes).is_err() {
                return self.fetch_fault(queue, bench);
            }
            let (dwords, _) = bytes.as_chunks();
            for (word, bytes) in scratch.words.iter_mut().zip(dwords) {
                *word = u32::from_le_bytes(*bytes);
            }
        }
        self.charge(bench, cost);
        queue.consume(1 + body);
        Fetch::Packet(header, len)
    }

    /// An indirect buffer that cannot be read is left, so that the fence behind it still comes, as with hardware that reads the
    /// default page; a ring that cannot be read stops its queue.
    fn fetch_fault<B>(&mut self, queue: &mut Queue, bench: &mut Bench<'_, B>) -> Fetch {
        self.stats.faults += 1;
        if queue.frames.pop().is_none() {
            queue.state = QueueState::Halted(HaltReason::RingFault);
            bench.events.push(CpEvent::RingFault { queue: queue.id });
        }
        Fetch::Again
    }

    pub(super) fn charge<B>(&mut self, bench: &mut Bench<'_, B>, bytes: u64) {
        self.stats.bytes += bytes;
        bench.budget.bytes = bench.budget.bytes.saturating_sub(bytes);
    }
}

impl Queue {
    /// Moves the innermost stream's pointer.
    fn consume(&mut self, dwords: u32) {
        match self.frames.last_mut() {
            Some(frame) => frame.next += dwords,
            None => self.rptr = self.rptr.wrapping_add(dwords) & self.setup.mask,
        }
    }

    /// Reads the innermost stream, `ahead` dwords from its pointer. A ring may wrap.
    fn read_stream<B: VirtualMemory>(&self, bus: &mut B, ahead: u32, data: &mut [u8]) -> Result<(), Fault> {
        if let Some(frame) = self.frames.last() {
            let at = frame.base.plus(u64::from(frame.next + ahead) * 4);
            return bus.read(frame.vmid, at, data);
        }
        let QueueSetup { vmid, base, mask, .. } = self.setup;
        let start = self.rptr.wrapping_add(ahead) & mask;
        let before_wrap = (u64::from(mask) + 1 - u64::from(start)) * 4;
        let split = usize::try_from(before_wrap).unwrap_or(usize::MAX).min(data.len());
        let (first, second) = data.split_at_mut(split);
        bus.read(vmid, base.plus(u64::from(start) * 4), first)?;
        if second.is_empty() {
            return Ok(());
        }
        bus.read(vmid, base, second)
    }
}
