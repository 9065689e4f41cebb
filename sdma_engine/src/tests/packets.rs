//! Packets as the driver builds them (`sdma_v5_2.c`; 7.3 where it alone has one).

const fn lo(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

const fn hi(value: u64) -> u32 {
    (value >> 32) as u32
}

pub fn nop(count: u32) -> Vec<u32> {
    let mut dwords = vec![count << 16];
    dwords.extend((0..count).map(|_| 0xffff_ffff));
    dwords
}

pub fn copy(src: u64, dst: u64, bytes: u32) -> Vec<u32> {
    vec![1, bytes - 1, 0, lo(src), hi(src), lo(dst), hi(dst)]
}

pub fn write(dst: u64, data: &[u32]) -> Vec<u32> {
    let mut dwords = vec![2, lo(dst), hi(dst), u32::try_from(data.len()).unwrap() - 1];
    dwords.extend(data);
    dwords
}

pub fn indirect(vmid: u32, base: u64, dwords: u32) -> Vec<u32> {
    vec![4 | vmid << 16, lo(base), hi(base), dwords, 0, 0]
}

pub fn fence(dst: u64, value: u32) -> Vec<u32> {
    vec![5 | 3 << 16, lo(dst), hi(dst), value]
}

pub fn trap(context: u32) -> Vec<u32> {
    vec![6, context]
}

pub fn poll_memory(at: u64, function: u32, reference: u32, mask: u32, retries: u32) -> Vec<u32> {
    vec![
        8 | function << 28 | 1 << 31,
        lo(at),
        hi(at),
        reference,
        mask,
        retries << 16 | 4,
    ]
}

pub fn poll_register(byte: u32, reference: u32, mask: u32) -> Vec<u32> {
    vec![8 | 3 << 28, byte, 0, reference, mask, 0xfff << 16 | 10]
}

pub fn hdp_flush(request: u32, done: u32, mask: u32) -> Vec<u32> {
    vec![8 | 3 << 28 | 1 << 26, done, request, mask, mask, 0xfff << 16 | 10]
}

pub fn vm_invalidation(engine: u32, request: u32, ack: u32) -> Vec<u32> {
    vec![
        8 | 4 << 8 | engine << 16 | 0x1f << 24,
        request,
        0xffff_ffff,
        ack | 0x1f << 16,
    ]
}

pub fn cond_exe(at: u64, skip: u32) -> Vec<u32> {
    vec![9, lo(at), hi(at), 1, skip]
}

pub fn atomic(number: u32, at: u64, operand: u64, compare: u64, repeat: bool) -> Vec<u32> {
    vec![
        10 | u32::from(repeat) << 16 | number << 25,
        lo(at),
        hi(at),
        lo(operand),
        hi(operand),
        lo(compare),
        hi(compare),
        20,
    ]
}

pub fn fill(dst: u64, pattern: u32, bytes: u32, fillsize: u32) -> Vec<u32> {
    vec![11 | fillsize << 30, lo(dst), hi(dst), pattern, bytes - 1]
}

pub fn pte_pde(dst: u64, flags: u64, addr: u64, increment: u32, count: u32) -> Vec<u32> {
    vec![
        12,
        lo(dst),
        hi(dst),
        lo(flags),
        hi(flags),
        lo(addr),
        hi(addr),
        increment,
        0,
        count - 1,
    ]
}

pub fn timestamp(sub_op: u32, operand: u64) -> Vec<u32> {
    vec![13 | sub_op << 8, lo(operand), hi(operand)]
}

pub fn srbm_write(byte: u32, value: u32, byte_enable: u32) -> Vec<u32> {
    vec![14 | byte_enable << 28, byte / 4, value]
}

pub fn gcr_req() -> Vec<u32> {
    vec![17, 0, 0, 0, 0]
}
