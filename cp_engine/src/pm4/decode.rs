//! From dwords to packets. Layouts: `nvd.h` and the emit functions of `gfx_v10_0.c` (6.1, 6.12, 7.3).

use gart::{GpuVa, Vmid};
use mmio::RegOffset;

use super::opcode::{self, Effect};
use super::packet::{
    Compare, CopySource, Destination, DmaSource, Packet, Place, QueueSelection, ReleaseData, UnmapAction,
};
use crate::QueueId;

/// The first dword of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header(u32);

impl Header {
    /// Longest body, in dwords.
    pub const MAX_BODY: u32 = 0x4000;

    /// From the stream.
    pub const fn new(dword: u32) -> Self {
        Self(dword)
    }

    /// The dword.
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// Packet type.
    pub const fn kind(self) -> u32 {
        self.0 >> 30
    }

    /// Opcode of a type 3 packet.
    pub const fn opcode(self) -> u8 {
        (self.0 >> 8 & 0xff) as u8
    }

    /// Dwords behind the header. A type 2 packet and the NOP with the largest count, 0xFFFF1000, have none; a packet that is
    /// illegal for its type has none that could be trusted.
    pub const fn body(self) -> u32 {
        let count = self.0 >> 16 & 0x3fff;
        match self.kind() {
            3 if self.opcode() == opcode::NOP && count == 0x3fff => 0,
            3 => count + 1,
            _ => 0,
        }
    }

    /// Whether it enters an indirect buffer.
    pub const fn enters(self) -> bool {
        self.kind() == 3
            && matches!(
                self.opcode(),
                opcode::INDIRECT_BUFFER | opcode::INDIRECT_BUFFER_CNST
            )
    }

    /// Whether the body has to be fetched to know what the packet does.
    pub const fn needs_body(self) -> bool {
        self.kind() == 3 && matches!(opcode::effect(self.opcode()), Some(Effect::Executed))
    }
}

const fn va(lo: u32, hi: u32) -> GpuVa {
    GpuVa::new((hi as u64) << 32 | lo as u64 & !3)
}

const fn wide(lo: u32, hi: u32) -> u64 {
    (hi as u64) << 32 | lo as u64
}

/// Register offsets in packets have 18 bits.
const fn register(dword: u32) -> RegOffset {
    RegOffset::from_dword(dword & 0x3_ffff)
}

/// Decodes a packet. `body` are the [`Header::body`] dwords behind the header; it may be empty if [`Header::needs_body`] says so.
pub fn decode(header: Header, body: &[u32]) -> Packet<'_> {
    match header.kind() {
        2 => return Packet::NoEffect,
        3 => {}
        _ => return Packet::Illegal,
    }
    match opcode::effect(header.opcode()) {
        None => Packet::Illegal,
        Some(Effect::None) => Packet::NoEffect,
        Some(Effect::Unmodelled) => Packet::Unmodelled,
        Some(Effect::Executed) => executed(header.opcode(), body).unwrap_or(Packet::Illegal),
    }
}

fn executed(op: u8, body: &[u32]) -> Option<Packet<'_>> {
    match op {
        opcode::SET_CONFIG_REG => set_registers(0x2000, 0x2c00, body),
        opcode::SET_CONTEXT_REG | opcode::SET_CONTEXT_REG_INDEX => set_registers(0xa000, 0xa400, body),
        opcode::SET_SH_REG | opcode::SET_SH_REG_INDEX => set_registers(0x2c00, 0x3000, body),
        // nvd.h ends the range at 0xC400, the parts' user configuration registers go on to 0xE000.
        opcode::SET_UCONFIG_REG | opcode::SET_UCONFIG_REG_INDEX => set_registers(0xc000, 0xe000, body),
        opcode::WRITE_DATA => write_data(body),
        opcode::COPY_DATA => copy_data(body),
        opcode::WAIT_REG_MEM => wait(body),
        opcode::WAIT_REG_MEM64 => wait64(body),
        opcode::INDIRECT_BUFFER | opcode::INDIRECT_BUFFER_CNST => indirect_buffer(body),
        opcode::COND_EXEC => cond_exec(body),
        opcode::RELEASE_MEM => release_mem(body),
        opcode::DMA_DATA => dma_data(body),
        opcode::SET_RESOURCES => set_resources(body),
        opcode::MAP_QUEUES => map_queue(body),
        opcode::UNMAP_QUEUES => unmap_queues(body),
        opcode::QUERY_STATUS => query_status(body),
        opcode::INVALIDATE_TLBS => invalidate_tlbs(body),
        _ => None,
    }
}

fn set_registers(start: u32, end: u32, body: &[u32]) -> Option<Packet<'_>> {
    let (first, values) = body.split_first()?;
    Some(Packet::SetRegisters {
        start: register(start + (first & 0xffff)),
        end: register(end),
        values,
    })
}

fn write_data(body: &[u32]) -> Option<Packet<'_>> {
    let [control, lo, hi, data @ ..] = body else {
        return None;
    };
    let destination = match control >> 8 & 0xf {
        0 => Destination::Register(register(*lo)),
        1 | 2 | 5 => Destination::Memory(va(*lo, *hi)),
        // 3 is GDS, 8 the CE/DE state for preemption of `gfx_v10_0_ring_emit_ce_meta`.
        _ => Destination::Nowhere,
    };
    Some(Packet::WriteData {
        destination,
        one_address: control & 1 << 16 != 0,
        data,
    })
}

fn copy_data(body: &[u32]) -> Option<Packet<'_>> {
    let [control, source_lo, source_hi, lo, hi, ..] = *body else {
        return None;
    };
    let source = match control & 0xf {
        0 => CopySource::Place(Place::Register(register(source_lo))),
        1 | 2 => CopySource::Place(Place::Memory(va(source_lo, source_hi))),
        5 => CopySource::Immediate(wide(source_lo, source_hi)),
        9 => CopySource::Clock,
        _ => CopySource::Nowhere,
    };
    let destination = match control >> 8 & 0xf {
        0 => Destination::Register(register(lo)),
        1 | 2 | 5 => Destination::Memory(va(lo, hi)),
        _ => Destination::Nowhere,
    };
    Some(Packet::CopyData {
        source,
        destination,
        wide: control & 1 << 16 != 0,
    })
}

fn wait(body: &[u32]) -> Option<Packet<'_>> {
    let [control, first, second, reference, mask, ..] = *body else {
        return None;
    };
    let write_first = control >> 6 & 3 == 1;
    let (write, poll) = match control >> 4 & 1 {
        0 if write_first => (Some(register(first)), Place::Register(register(second))),
        0 => (None, Place::Register(register(first))),
        _ => (None, Place::Memory(va(first, second))),
    };
    Some(Packet::Wait {
        write,
        poll,
        wide: false,
        compare: Compare::from_field(control),
        reference: reference.into(),
        mask: mask.into(),
    })
}

fn wait64(body: &[u32]) -> Option<Packet<'_>> {
    let [control, first, second, ref_lo, ref_hi, mask_lo, mask_hi, ..] = *body else {
        return None;
    };
    Some(Packet::Wait {
        write: None,
        poll: match control >> 4 & 1 {
            0 => Place::Register(register(first)),
            _ => Place::Memory(va(first, second)),
        },
        wide: true,
        compare: Compare::from_field(control),
        reference: wide(ref_lo, ref_hi),
        mask: wide(mask_lo, mask_hi),
    })
}

fn indirect_buffer(body: &[u32]) -> Option<Packet<'_>> {
    let [lo, hi, control, ..] = *body else { return None };
    Some(Packet::IndirectBuffer {
        address: va(lo, hi),
        dwords: control & 0xf_ffff,
        vmid: Vmid::from_field(control >> 24),
        chain: control & 1 << 20 != 0,
    })
}

fn cond_exec(body: &[u32]) -> Option<Packet<'_>> {
    let [lo, hi, _, count, ..] = *body else {
        return None;
    };
    Some(Packet::CondExec {
        address: va(lo, hi),
        skip: count & 0x3fff,
    })
}

fn release_mem(body: &[u32]) -> Option<Packet<'_>> {
    let [_, control, lo, hi, data_lo, data_hi, context_id, ..] = *body else {
        return None;
    };
    let data = match control >> 29 {
        1 => ReleaseData::Low(data_lo),
        2 => ReleaseData::Full(wide(data_lo, data_hi)),
        3 | 4 => ReleaseData::Clock,
        _ => ReleaseData::None,
    };
    Some(Packet::ReleaseMem {
        address: va(lo, hi),
        data,
        interrupt: matches!(control >> 24 & 7, 1 | 2),
        context_id,
    })
}

fn dma_data(body: &[u32]) -> Option<Packet<'_>> {
    const SAS: u32 = 1 << 26;
    const DAS: u32 = 1 << 27;
    let [control, source_lo, source_hi, lo, hi, command, ..] = *body else {
        return None;
    };
    let byte_address = |lo: u32, hi: u32| GpuVa::new(wide(lo, hi));
    let source = match control >> 29 & 3 {
        0 if command & SAS != 0 => DmaSource::Nowhere,
        0 | 3 => DmaSource::Memory(byte_address(source_lo, source_hi)),
        2 => DmaSource::Data(source_lo),
        _ => DmaSource::Nowhere,
    };
    let destination = match control >> 20 & 3 {
        0 if command & DAS != 0 => None,
        0 | 3 => Some(byte_address(lo, hi)),
        _ => None,
    };
    Some(Packet::DmaData {
        source,
        destination,
        bytes: command & 0x03ff_ffff,
    })
}

fn set_resources(body: &[u32]) -> Option<Packet<'_>> {
    let [control, mask_lo, mask_hi, ..] = *body else {
        return None;
    };
    Some(Packet::SetResources {
        vmid_mask: (control & 0xffff) as u16,
        queue_mask: wide(mask_lo, mask_hi),
    })
}

/// ENGINE_SEL: 0 compute, 1 HIQ, 4 graphics. ME counts MECs from 0; for graphics the driver fills it in as for compute
/// (`gfx10_kiq_map_queues`), so there it says nothing.
fn map_queue(body: &[u32]) -> Option<Packet<'_>> {
    let [control, _, mqd_lo, mqd_hi, wptr_lo, wptr_hi, ..] = *body else {
        return None;
    };
    let (queue, pipe) = (control >> 13 & 7, control >> 16 & 3);
    let queue = match control >> 26 & 7 {
        0 | 1 => Some(QueueId::new((control >> 18 & 1) + 1, pipe, queue)),
        4 => Some(QueueId::new(0, pipe, queue)),
        _ => None,
    };
    Some(Packet::MapQueue {
        queue,
        mqd: va(mqd_lo, mqd_hi),
        wptr: va(wptr_lo, wptr_hi),
    })
}

fn unmap_queues(body: &[u32]) -> Option<Packet<'_>> {
    let [control, first, second, third, fourth, ..] = *body else {
        return None;
    };
    let action = match control & 3 {
        0 => UnmapAction::Preempt,
        1 => UnmapAction::Reset,
        2 => UnmapAction::Disable,
        _ => UnmapAction::PreemptNoUnmap {
            fence: va(second, third),
            value: fourth,
        },
    };
    let doorbell = |dword: u32| dword >> 2 & 0x03ff_ffff;
    // With the fence in the packet there is room for one doorbell only.
    let count = match action {
        UnmapAction::PreemptNoUnmap { .. } => 1,
        _ => (control >> 29).clamp(1, 4) as u8,
    };
    let selection = match control >> 4 & 3 {
        0 => QueueSelection::Doorbells {
            doorbells: [first, second, third, fourth].map(doorbell),
            count,
        },
        1 => QueueSelection::Pasid((first & 0xffff) as u16),
        _ => QueueSelection::All,
    };
    Some(Packet::UnmapQueues { action, selection })
}

fn query_status(body: &[u32]) -> Option<Packet<'_>> {
    let [_, _, lo, hi, data_lo, data_hi, ..] = *body else {
        return None;
    };
    Some(Packet::QueryStatus {
        address: va(lo, hi),
        value: wide(data_lo, data_hi),
    })
}

fn invalidate_tlbs(body: &[u32]) -> Option<Packet<'_>> {
    let [control, ..] = *body else { return None };
    Some(Packet::InvalidateTlbs {
        pasid: (control >> 5 & 0xffff) as u16,
        all_hubs: control & 1 << 4 != 0,
        flush_type: (control >> 29 & 3) as u8,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn packet3(op: u8, count: u32) -> Header {
        Header::new(3 << 30 | count << 16 | (op as u32) << 8)
    }

    #[test]
    fn the_one_dword_nops_have_no_body() {
        assert_eq!(Header::new(0xffff_1000).body(), 0);
        assert_eq!(Header::new(0x8000_0000).body(), 0);
        assert_eq!(decode(Header::new(0x8000_0000), &[]), Packet::NoEffect);
        assert_eq!(packet3(opcode::NOP, 3).body(), 4);
    }

    #[test]
    fn zeros_and_unknown_opcodes_are_illegal() {
        assert_eq!(decode(Header::new(0), &[]), Packet::Illegal);
        assert_eq!(decode(packet3(0xff, 0), &[0]), Packet::Illegal);
    }

    #[test]
    fn a_packet_too_short_for_its_fields_is_illegal() {
        for op in 0..=u8::MAX {
            if opcode::effect(op) == Some(Effect::Executed) {
                assert_eq!(decode(packet3(op, 0), &[]), Packet::Illegal, "{op:#x}");
            }
        }
    }

    #[test]
    fn an_unmap_with_a_fence_names_one_doorbell() {
        let body = [3 | 1 << 29 | 4 << 26, 0x116 << 2, 0x1000, 0x80, 9];
        let Packet::UnmapQueues { action, selection } = decode(packet3(opcode::UNMAP_QUEUES, 4), &body)
        else {
            panic!("not an unmap");
        };
        let fence = GpuVa::new(0x80_0000_1000);
        assert_eq!(action, UnmapAction::PreemptNoUnmap { fence, value: 9 });
        assert!(matches!(
            selection,
            QueueSelection::Doorbells {
                doorbells: [0x116, ..],
                count: 1
            }
        ));
    }

    #[test]
    fn graphics_queues_are_mapped_to_me_0_whatever_the_me_field_says() {
        let body = [4 << 26 | 1 << 18 | 1 << 16, 0, 0, 0, 0, 0];
        assert!(matches!(
            decode(packet3(opcode::MAP_QUEUES, 5), &body),
            Packet::MapQueue { queue: Some(queue), .. } if queue == QueueId::new(0, 1, 0)
        ));
    }

    #[test]
    fn comparisons_mask_the_value_only() {
        assert!(Compare::Equal.met(0x1ff, 0xff, 0xff));
        assert!(!Compare::Equal.met(0x1ff, 0xff, 0x1ff));
        assert!(Compare::GreaterEqual.met(5, u64::MAX, 5));
        assert!(Compare::from_field(7).met(0, 0, 1));
    }
}
