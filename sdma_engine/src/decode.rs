//! From dwords to [`Packet`].

use gart::{GpuVa, Vmid};
use mmio::RegOffset;

use crate::packet::{
    Atomic, AtomicOp, AtomicWidth, ConstFill, CopyLinear, Indirect, Packet, PollFunction, PollRegMem,
    PollTarget, PtePde, Retries, SrbmWrite, Timestamp, VmInvalidation, WriteLinear,
};
use crate::wire::{
    AtomicHeader, ByteCount, CopyLinearHeader, EntryCount, ExecCount, Header, IbSize, IndirectHeader,
    IntContext, InvalidateAck, LoopInterval, NopHeader, PollHeader, PollPace, SrbmAddress, SrbmWriteHeader,
    VmInvalidationHeader, WriteCount, op, sub_op,
};

/// More dwords are needed than there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incomplete {
    /// How many, counted from the header.
    pub needed: u32,
}

/// The longest packet, without what follows it (PTEPDE).
pub const MAX_DWORDS: usize = 10;

/// Decodes the packet at the start of `dwords`.
///
/// # Errors
/// [`Incomplete`] if it is longer than `dwords`.
pub fn decode(dwords: &[u32]) -> Result<Packet, Incomplete> {
    let &[header] = words(dwords)?;
    let (operation, sub_operation) = (Header::from(header).op(), Header::from(header).sub_op());
    match (operation, sub_operation) {
        (op::NOP, _) => Ok(Packet::Nop {
            skip: u32::from(NopHeader::from(header).count()),
        }),
        (op::COPY, sub_op::LINEAR) if !CopyLinearHeader::from(header).broadcast() => copy_linear(dwords),
        (op::WRITE, sub_op::LINEAR) => write_linear(dwords),
        (op::INDIRECT, _) => indirect(dwords),
        (op::FENCE, _) => {
            let &[_, lo, hi, value] = words(dwords)?;
            let dst = address(lo, hi);
            Ok(Packet::Fence { dst, value })
        }
        (op::TRAP, _) => {
            let &[_, context] = words(dwords)?;
            let context = IntContext::from(context).context();
            Ok(Packet::Trap { context })
        }
        (op::POLL_REGMEM, sub_op::POLL_REGMEM) => poll_regmem(dwords),
        (op::POLL_REGMEM, sub_op::VM_INVALIDATION) => vm_invalidation(dwords),
        (op::COND_EXE, _) => {
            let &[_, lo, hi, reference, count] = words(dwords)?;
            Ok(Packet::CondExe {
                at: aligned(address(lo, hi), 4),
                reference,
                skip: u32::from(ExecCount::from(count).dwords()),
            })
        }
        (op::ATOMIC, _) => atomic(dwords),
        (op::CONST_FILL, 0) => const_fill(dwords),
        (op::PTEPDE, sub_op::PTEPDE_GEN) => pte_pde(dwords),
        (op::TIMESTAMP, sub_op::TIMESTAMP_SET..=sub_op::TIMESTAMP_GET_GLOBAL) => timestamp(dwords),
        (op::SRBM_WRITE, _) => srbm_write(dwords),
        (op::GCR_REQ, _) => words::<5>(dwords).map(|_| Packet::GcrReq),
        _ => Ok(Packet::Unknown { header }),
    }
}

fn words<const N: usize>(dwords: &[u32]) -> Result<&[u32; N], Incomplete> {
    dwords.first_chunk().ok_or(Incomplete {
        needed: u32::try_from(N).unwrap_or(u32::MAX),
    })
}

fn qword(lo: u32, hi: u32) -> u64 {
    u64::from(hi) << 32 | u64::from(lo)
}

fn address(lo: u32, hi: u32) -> GpuVa {
    GpuVa::new(qword(lo, hi))
}

/// `va` without the bits below `alignment`, a power of two.
fn aligned(va: GpuVa, alignment: u64) -> GpuVa {
    GpuVa::new(va.get() & alignment.wrapping_neg())
}

fn copy_linear(dwords: &[u32]) -> Result<Packet, Incomplete> {
    let &[_, count, _swap, src_lo, src_hi, dst_lo, dst_hi] = words(dwords)?;
    Ok(Packet::CopyLinear(CopyLinear {
        src: address(src_lo, src_hi),
        dst: address(dst_lo, dst_hi),
        bytes: u64::from(ByteCount::from(count).minus_one()).saturating_add(1),
    }))
}

fn write_linear(dwords: &[u32]) -> Result<Packet, Incomplete> {
    let &[_, lo, hi, count] = words(dwords)?;
    Ok(Packet::WriteLinear(WriteLinear {
        dst: address(lo, hi),
        dwords: WriteCount::from(count).minus_one().saturating_add(1),
    }))
}

fn indirect(dwords: &[u32]) -> Result<Packet, Incomplete> {
    let &[header, lo, hi, size, _csa_lo, _csa_hi] = words(dwords)?;
    Ok(Packet::Indirect(Indirect {
        vmid: Vmid::from_field(u32::from(IndirectHeader::from(header).vmid())),
        base: aligned(address(lo, hi), 32),
        dwords: IbSize::from(size).dwords(),
    }))
}

fn poll_regmem(dwords: &[u32]) -> Result<Packet, Incomplete> {
    let &[header, lo, hi, reference, mask, pace] = words(dwords)?;
    let (header, pace) = (PollHeader::from(header), PollPace::from(pace));
    let target = match (header.hdp_flush(), header.memory()) {
        (true, _) => PollTarget::HdpFlush {
            request: RegOffset::from_byte(hi),
            done: RegOffset::from_byte(lo),
        },
        (false, true) => PollTarget::Memory(aligned(address(lo, hi), 4)),
        (false, false) => PollTarget::Register(RegOffset::from_byte(lo)),
    };
    Ok(Packet::PollRegMem(PollRegMem {
        target,
        function: match header.function() {
            0 => PollFunction::Always,
            1 => PollFunction::Less,
            2 => PollFunction::LessOrEqual,
            3 => PollFunction::Equal,
            4 => PollFunction::NotEqual,
            5 => PollFunction::GreaterOrEqual,
            6 => PollFunction::Greater,
            _ => PollFunction::Reserved,
        },
        reference,
        mask,
        interval: pace.interval(),
        retries: match pace.retry_count() {
            PollPace::FOREVER => Retries::Forever,
            count => Retries::Times(count),
        },
    }))
}

fn vm_invalidation(dwords: &[u32]) -> Result<Packet, Incomplete> {
    let &[header, request, _address_range_lo, ack] = words(dwords)?;
    let header = VmInvalidationHeader::from(header);
    let engine = |number| (number != 0x1f).then_some(number);
    Ok(Packet::VmInvalidation(VmInvalidation {
        gfx_engine: engine(header.gfx_engine()),
        mm_engine: engine(header.mm_engine()),
        request,
        ack: InvalidateAck::from(ack).ack(),
    }))
}

fn atomic_op(number: u8) -> Option<AtomicOp> {
    Some(match number {
        0x07 => AtomicOp::Swap,
        0x08 => AtomicOp::CompareSwap,
        0x0f => AtomicOp::Add,
        0x10 => AtomicOp::Sub,
        0x11 => AtomicOp::SignedMin,
        0x12 => AtomicOp::UnsignedMin,
        0x13 => AtomicOp::SignedMax,
        0x14 => AtomicOp::UnsignedMax,
        0x15 => AtomicOp::And,
        0x16 => AtomicOp::Or,
        0x17 => AtomicOp::Xor,
        0x18 => AtomicOp::Increment,
        0x19 => AtomicOp::Decrement,
        _ => return None,
    })
}

fn atomic(dwords: &[u32]) -> Result<Packet, Incomplete> {
    let &[header, lo, hi, src_lo, src_hi, cmp_lo, cmp_hi, interval] = words(dwords)?;
    let fields = AtomicHeader::from(header);
    let Some(op) = atomic_op(fields.operation()) else {
        return Ok(Packet::Unknown { header });
    };
    let (width, alignment) = match fields.qword() {
        true => (AtomicWidth::Qword, 8),
        false => (AtomicWidth::Dword, 4),
    };
    let repeats = fields.repeat() && op == AtomicOp::CompareSwap;
    Ok(Packet::Atomic(Atomic {
        op,
        width,
        at: aligned(address(lo, hi), alignment),
        operand: qword(src_lo, src_hi),
        compare: qword(cmp_lo, cmp_hi),
        repeat: repeats.then(|| LoopInterval::from(interval).interval()),
    }))
}

fn const_fill(dwords: &[u32]) -> Result<Packet, Incomplete> {
    let &[_, lo, hi, pattern, count] = words(dwords)?;
    Ok(Packet::ConstFill(ConstFill {
        dst: address(lo, hi),
        pattern,
        bytes: u64::from(ByteCount::from(count).minus_one()).saturating_add(1),
    }))
}

fn pte_pde(dwords: &[u32]) -> Result<Packet, Incomplete> {
    let &[
        _,
        lo,
        hi,
        flags_lo,
        flags_hi,
        addr_lo,
        addr_hi,
        increment_lo,
        increment_hi,
        count,
    ] = words(dwords)?;
    Ok(Packet::PtePde(PtePde {
        dst: address(lo, hi),
        flags: qword(flags_lo, flags_hi),
        addr: qword(addr_lo, addr_hi),
        increment: qword(increment_lo, increment_hi),
        entries: EntryCount::from(count).minus_one().saturating_add(1),
    }))
}

fn timestamp(dwords: &[u32]) -> Result<Packet, Incomplete> {
    let &[header, lo, hi] = words(dwords)?;
    let at = aligned(address(lo, hi), 8);
    Ok(Packet::Timestamp(match Header::from(header).sub_op() {
        sub_op::TIMESTAMP_SET => Timestamp::Set(qword(lo, hi)),
        sub_op::TIMESTAMP_GET => Timestamp::Get(at),
        _ => Timestamp::GetGlobal(at),
    }))
}

fn srbm_write(dwords: &[u32]) -> Result<Packet, Incomplete> {
    let &[header, register, value] = words(dwords)?;
    Ok(Packet::SrbmWrite(SrbmWrite {
        register: RegOffset::from_dword(SrbmAddress::from(register).dword()),
        value,
        lanes: SrbmWriteHeader::from(header).lanes(),
    }))
}
