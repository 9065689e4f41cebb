//! Packets as `sdma_v5_2.c` and `gfx_v10_0.c` emit them.

/// SDMA 5.2 (`navi10_sdma_pkt_open.h`).
pub mod sdma {
    use gart::GpuVa;
    use mmio::RegOffset;

    use crate::guest::{hi, lo};

    /// One dword of nothing.
    pub const NOP: u32 = 0;
    /// Retries of the driver's waits: for ever.
    const RETRY_FOREVER: u32 = 0xfff << 16;

    /// COPY_LINEAR.
    pub fn copy(from: GpuVa, to: GpuVa, bytes: u32) -> [u32; 7] {
        let (from, to) = (from.get(), to.get());
        [1, bytes.wrapping_sub(1), 0, lo(from), hi(from), lo(to), hi(to)]
    }

    /// WRITE_LINEAR.
    pub fn write(to: GpuVa, data: &[u32]) -> Vec<u32> {
        let count = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let mut packet = vec![2, lo(to.get()), hi(to.get()), count.wrapping_sub(1)];
        packet.extend(data);
        packet
    }

    /// CONST_FILL.
    pub const fn fill(to: GpuVa, pattern: u32, bytes: u32) -> [u32; 5] {
        [11, lo(to.get()), hi(to.get()), pattern, bytes.wrapping_sub(1)]
    }

    /// PTEPDE: `count` entries from `address | flags` on, `increment` apart.
    pub const fn ptepde(to: GpuVa, address: u64, increment: u32, flags: u64, count: u32) -> [u32; 10] {
        [
            12,
            lo(to.get()),
            hi(to.get()),
            lo(flags),
            hi(flags),
            lo(address),
            hi(address),
            increment,
            0,
            count.wrapping_sub(1),
        ]
    }

    /// FENCE, uncached.
    pub const fn fence(at: GpuVa, value: u32) -> [u32; 4] {
        [5 | 3 << 16, lo(at.get()), hi(at.get()), value]
    }

    /// TRAP.
    pub const fn trap(context: u32) -> [u32; 2] {
        [6, context]
    }

    /// SRBM_WRITE of a whole register.
    pub const fn write_register(register: RegOffset, value: u32) -> [u32; 3] {
        [14 | 0xf << 28, register.dword(), value]
    }

    /// POLL_REGMEM of a register, until `register & mask == value`.
    pub const fn wait_register(register: RegOffset, value: u32, mask: u32) -> [u32; 6] {
        [
            8 | 3 << 28,
            register.dword() << 2,
            0,
            value,
            mask,
            RETRY_FOREVER | 10,
        ]
    }

    /// POLL_REGMEM of memory, until the dword equals `value`.
    pub const fn wait_memory(at: GpuVa, value: u32) -> [u32; 6] {
        [
            8 | 3 << 28 | 1 << 31,
            lo(at.get()),
            hi(at.get()),
            value,
            u32::MAX,
            RETRY_FOREVER | 4,
        ]
    }

    /// POLL_REGMEM in its HDP form: writes the bits to one register and waits for them in the other.
    pub const fn flush_hdp(request: RegOffset, done: RegOffset, bits: u32) -> [u32; 6] {
        [
            8 | 3 << 28 | 1 << 26,
            done.dword() << 2,
            request.dword() << 2,
            bits,
            bits,
            RETRY_FOREVER | 10,
        ]
    }

    /// VM_INVALIDATION on the graphics hub (7.3).
    pub const fn invalidate(engine: u32, request: u32, acknowledge: u32) -> [u32; 4] {
        [
            8 | 4 << 8 | engine << 16 | 0x1f << 24,
            request,
            u32::MAX,
            acknowledge | 0x1f << 16,
        ]
    }

    /// GCR_REQ over everything.
    pub const fn rinse_caches() -> [u32; 5] {
        [17, 0, 0xc39 << 16, 0, 0]
    }

    /// INDIRECT.
    pub const fn indirect(vmid: u32, at: GpuVa, dwords: u32) -> [u32; 6] {
        [
            4 | (vmid & 0xf) << 16,
            lo(at.get()) & 0xffff_ffe0,
            hi(at.get()),
            dwords,
            0,
            0,
        ]
    }
}

/// PM4 (`nvd.h`).
pub mod pm4 {
    use gart::GpuVa;
    use mmio::RegOffset;

    use crate::guest::{hi, lo};

    /// One dword of nothing: NOP with the largest count.
    pub const NOP: u32 = 0xffff_1000;
    const WR_CONFIRM: u32 = 1 << 20;
    const UCONFIG_START: u32 = 0xc000;

    const fn header(op: u32, count: u32) -> u32 {
        3 << 30 | (count & 0x3fff) << 16 | (op & 0xff) << 8
    }

    /// SET_UCONFIG_REG of one register.
    pub const fn set_uconfig(register: RegOffset, value: u32) -> [u32; 3] {
        [header(0x79, 1), register.dword() - UCONFIG_START, value]
    }

    /// WRITE_DATA of a dword to memory.
    pub const fn write_memory(at: GpuVa, value: u32) -> [u32; 5] {
        [
            header(0x37, 3),
            5 << 8 | WR_CONFIRM,
            lo(at.get()),
            hi(at.get()),
            value,
        ]
    }

    /// WRITE_DATA to a register.
    pub const fn write_register(register: RegOffset, value: u32) -> [u32; 5] {
        [header(0x37, 3), WR_CONFIRM, register.dword(), 0, value]
    }

    /// COPY_DATA of a register to memory (`gfx_v10_0_ring_emit_rreg`).
    pub const fn read_register(register: RegOffset, at: GpuVa) -> [u32; 6] {
        [
            header(0x40, 4),
            5 << 8 | WR_CONFIRM,
            register.dword(),
            0,
            lo(at.get()),
            hi(at.get()),
        ]
    }

    /// COPY_DATA of a dword from memory to memory.
    pub const fn copy_memory(from: GpuVa, to: GpuVa) -> [u32; 6] {
        [
            header(0x40, 4),
            1 | 5 << 8 | WR_CONFIRM,
            lo(from.get()),
            hi(from.get()),
            lo(to.get()),
            hi(to.get()),
        ]
    }

    /// WAIT_REG_MEM in its second operation: writes a value to one register, waits for it under `mask` in another.
    pub const fn write_then_wait(write: RegOffset, wait: RegOffset, value: u32, mask: u32) -> [u32; 7] {
        [
            header(0x3c, 5),
            3 | 1 << 6,
            write.dword(),
            wait.dword(),
            value,
            mask,
            0x20,
        ]
    }

    /// WAIT_REG_MEM on memory, until the dword equals `value`.
    pub const fn wait_memory(at: GpuVa, value: u32) -> [u32; 7] {
        [
            header(0x3c, 5),
            3 | 1 << 4,
            lo(at.get()),
            hi(at.get()),
            value,
            u32::MAX,
            4,
        ]
    }

    /// INDIRECT_BUFFER; `valid` is the bit that compute rings set.
    pub const fn indirect(vmid: u32, at: GpuVa, dwords: u32, valid: bool) -> [u32; 4] {
        let control = dwords | vmid << 24 | if valid { 1 << 23 } else { 0 };
        [header(0x3f, 2), lo(at.get()), hi(at.get()), control]
    }

    /// RELEASE_MEM: flushes, writes the fence, interrupts.
    pub const fn fence(at: GpuVa, value: u64) -> [u32; 8] {
        let flush = 1 << 22 | 1 << 21 | 1 << 13 | 1 << 12 | 3 << 25 | 0x14 | 5 << 8;
        [
            header(0x49, 6),
            flush,
            1 << 29 | 2 << 24,
            lo(at.get()),
            hi(at.get()),
            lo(value),
            hi(value),
            0,
        ]
    }

    /// PFP_SYNC_ME.
    pub const fn sync_front_end() -> [u32; 2] {
        [header(0x42, 0), 0]
    }

    /// PREAMBLE_CNTL, CONTEXT_CONTROL, CLEAR_STATE and SET_BASE of `gfx_v10_0_cp_gfx_start`.
    pub fn clear_state() -> Vec<u32> {
        let mut packets = vec![header(0x4a, 0), 2 << 28];
        packets.extend([header(0x28, 1), 1 << 31, 1 << 31]);
        packets.extend([header(0x69, 1), 0xd7, 0]);
        packets.extend([header(0x4a, 0), 3 << 28]);
        packets.extend([header(0x12, 0), 0]);
        packets.extend([header(0x11, 2), 3, 0x8000, 0x8000]);
        packets
    }

    /// SET_RESOURCES.
    pub const fn set_resources(queues: u64) -> [u32; 8] {
        [header(0xa0, 6), 0, lo(queues), hi(queues), 0, 0, 0, 0]
    }

    /// MAP_QUEUES. `me` is the queue's own; the packet's field is 0 for MEC1 alone.
    pub const fn map_queue(
        engine: u32,
        (me, pipe, queue): (u32, u32, u32),
        doorbell: u32,
        mqd: GpuVa,
        wptr: GpuVa,
    ) -> [u32; 7] {
        let field = if me == 1 { 0 } else { 1 };
        let select = queue << 13 | pipe << 16 | field << 18 | engine << 26 | 1 << 29;
        [
            header(0xa2, 5),
            select,
            doorbell << 2,
            lo(mqd.get()),
            hi(mqd.get()),
            lo(wptr.get()),
            hi(wptr.get()),
        ]
    }

    /// UNMAP_QUEUES by doorbell; action 1 is RESET_QUEUES, 2 DISABLE.
    pub const fn unmap_queue(engine: u32, action: u32, doorbell: u32) -> [u32; 6] {
        [
            header(0xa3, 4),
            action | engine << 26 | 1 << 29,
            doorbell << 2,
            0,
            0,
            0,
        ]
    }
}
