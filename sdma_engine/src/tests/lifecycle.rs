//! Start, stop, freeze, reset, pointers.

use super::fake::{Gpu, PLENTY, RING_BYTES, WPTR};
use super::packets::*;
use crate::{
    Budget, Engine, EngineEvent, NAVI21, SdmaEffect, SdmaRegisters, StartedBy, Step, WaitTarget, offset,
};
use mmio::{Effects, RegisterBlock};

const DATA: u64 = 0x10_0000;

#[test]
fn cold_engine_is_halted_and_does_nothing() {
    let mut gpu = Gpu::cold();
    assert_eq!(gpu.get(offset::F32_CNTL), 1);
    gpu.registers.ring_doorbell(64);
    assert_eq!(gpu.run(), Step::Idle);
    assert_eq!(gpu.engine.stats().all_packets(), 0);
}

#[test]
fn virtual_function_starts_unhalted() {
    let mut registers = SdmaRegisters::new(NAVI21[0], StartedBy::Host);
    assert!(!registers.queue_config().halted);
    registers.reset();
    assert!(!registers.queue_config().halted);
}

#[test]
fn unhalting_and_enabling_kick_the_engine() {
    let mut gpu = Gpu::cold();
    gpu.set(offset::F32_CNTL, 0);
    assert_eq!(gpu.effects.take(), [SdmaEffect::Kick]);
    gpu.set(offset::F32_CNTL, 1);
    assert_eq!(gpu.effects.take(), [SdmaEffect::Stop]);
    gpu.set(offset::GFX_RB_CNTL, 1);
    assert_eq!(gpu.effects.take(), [SdmaEffect::Kick]);
    gpu.set(offset::GFX_RB_CNTL, 0);
    assert_eq!(gpu.effects.take(), [SdmaEffect::Stop]);
}

#[test]
fn doorbell_has_an_index_only_while_enabled() {
    let mut gpu = Gpu::cold();
    gpu.set(offset::GFX_DOORBELL_OFFSET, 0x1f0 << 2);
    assert_eq!(gpu.registers.doorbell_index(), None);
    gpu.registers.ring_doorbell(8);
    assert_eq!(gpu.get(offset::GFX_RB_WPTR), 0);
    gpu.set(offset::GFX_DOORBELL, 1 << 28);
    assert_eq!(gpu.registers.doorbell_index(), Some(0x1f0));
    gpu.registers.ring_doorbell(0x1_0000_0008);
    assert_eq!(gpu.get(offset::GFX_RB_WPTR), 8);
    assert_eq!(gpu.get(offset::GFX_RB_WPTR_HI), 1);
}

#[test]
fn write_pointer_register_moves_the_ring_too() {
    let mut gpu = Gpu::new();
    gpu.set(offset::GFX_DOORBELL, 0);
    gpu.set(offset::GFX_RB_WPTR_POLL_CNTL, 0);
    gpu.submit(&fence(DATA, 1)); // the doorbell is off
    assert_eq!(gpu.run(), Step::Idle);
    assert_eq!(gpu.dword(0, DATA), 0);
    gpu.set(offset::GFX_RB_WPTR, 16);
    gpu.set(offset::GFX_RB_WPTR_HI, 0);
    gpu.run();
    assert_eq!(gpu.dword(0, DATA), 1);
}

#[test]
fn write_pointer_in_two_halves_runs_nothing_twice() {
    let mut gpu = Gpu::new();
    let wptr = 0x1_0000_0000 - 16;
    gpu.resume(wptr);
    gpu.submit(&[fence(DATA, 1), atomic(0x4f, DATA + 8, 1, 0, false)].concat());
    gpu.set(offset::GFX_RB_WPTR, 32); // 6.1 writes the low half first
    gpu.run();
    gpu.set(offset::GFX_RB_WPTR_HI, 1);
    assert_eq!(gpu.run(), Step::Idle);
    assert_eq!((gpu.dword(0, DATA), gpu.dword(0, DATA + 8)), (1, 1));
    assert_eq!(gpu.written_back(), 0x1_0000_0020);
}

#[test]
fn write_pointer_s_shadow_counts_only_without_a_doorbell() {
    let mut gpu = Gpu::new();
    gpu.submit(&fence(DATA, 1));
    gpu.run();
    // What a recovery finds: the shadow still holds the pointer of the ring's last life.
    gpu.poke(0, WPTR, &[16, 0]);
    gpu.resume(0);
    gpu.poke(0, DATA, &[0]);
    assert_eq!(gpu.run(), Step::Idle);
    assert_eq!(gpu.dword(0, DATA), 0, "the old commands are not executed again");
    gpu.set(offset::GFX_DOORBELL, 0);
    let Step::Waiting(wait) = gpu.run() else { panic!() };
    assert!(matches!(wait.target, WaitTarget::WritePointer(at) if at.get() == WPTR));
    assert_eq!(gpu.dword(0, DATA), 1);
    assert_eq!(gpu.get(offset::GFX_RB_WPTR), 16, "the register follows");
}

#[test]
fn read_pointer_written_by_the_driver_is_where_the_ring_goes_on() {
    let mut gpu = Gpu::new();
    gpu.execute(&[fence(DATA, 1), fence(DATA + 4, 2)].concat());
    assert_eq!(gpu.get(offset::GFX_RB_RPTR), 32);
    gpu.poke(0, DATA, &[0, 0]);
    gpu.set(offset::GFX_RB_RPTR, 16);
    assert_eq!(gpu.get(offset::GFX_RB_RPTR), 16);
    gpu.run();
    assert_eq!((gpu.dword(0, DATA), gpu.dword(0, DATA + 4)), (0, 2));
}

#[test]
fn stale_status_does_not_overwrite_the_driver_s_read_pointer() {
    let mut gpu = Gpu::new();
    gpu.execute(&fence(DATA, 1));
    gpu.set(offset::GFX_RB_RPTR, 0);
    gpu.registers.publish(gpu.engine.status());
    assert_eq!(gpu.get(offset::GFX_RB_RPTR), 0);
}

#[test]
fn disabled_ring_keeps_its_read_pointer_and_goes_on() {
    let mut gpu = Gpu::new();
    gpu.execute(&fence(DATA, 1));
    let rb_cntl = gpu.get(offset::GFX_RB_CNTL);
    gpu.set(offset::GFX_RB_CNTL, rb_cntl & !1);
    gpu.submit(&fence(DATA, 2));
    assert_eq!(gpu.run(), Step::Idle);
    assert_eq!(gpu.dword(0, DATA), 1);
    gpu.set(offset::GFX_RB_CNTL, rb_cntl);
    gpu.run();
    assert_eq!(gpu.dword(0, DATA), 2);
}

#[test]
fn ring_that_moves_is_read_where_it_is_now() {
    let mut gpu = Gpu::new();
    gpu.execute(&poll_memory(DATA, 3, 1, 1, 0xfff));
    gpu.poke(0, 0x3_0000, &fence(DATA + 4, 1));
    gpu.set(offset::GFX_RB_BASE, 0x300);
    gpu.run();
    assert_eq!(gpu.dword(0, DATA + 4), 1);
    assert_eq!(gpu.engine.stats().dropped, 1);
}

#[test]
fn reset_of_a_queue_as_7_3_does_it() {
    let mut gpu = Gpu::new();
    gpu.execute(&[fence(DATA, 1), poll_memory(DATA + 8, 3, 1, 1, 0xfff)].concat());
    // sdma_v5_2_stop_queue
    let rb_cntl = gpu.get(offset::GFX_RB_CNTL);
    gpu.set(offset::GFX_RB_CNTL, rb_cntl & !1);
    gpu.set(offset::GFX_IB_CNTL, 0);
    gpu.set(offset::FREEZE, 1 << 4);
    assert_eq!(gpu.get(offset::FREEZE), 0x30, "frozen at once");
    gpu.set(offset::F32_CNTL, 1);
    gpu.run();
    // sdma_v5_2_soft_reset_engine
    gpu.registers.soft_reset();
    gpu.engine.reset();
    // sdma_v5_2_restore_queue
    gpu.set(offset::FREEZE, 0);
    gpu.resume(gpu.wptr);
    assert_eq!(gpu.execute(&[fence(DATA + 4, 2), trap(0)].concat()), Step::Idle);
    assert_eq!(gpu.dword(0, DATA + 4), 2);
    assert!(
        matches!(
            gpu.events[..],
            [
                EngineEvent::Fence { value: 1, .. },
                EngineEvent::Fence { value: 2, .. },
                EngineEvent::Trap { .. }
            ]
        ),
        "the interrupt is still enabled: {:?}",
        gpu.events
    );
}

#[test]
fn freeze_keeps_what_it_interrupts() {
    let mut gpu = Gpu::new();
    gpu.submit(&[fill(DATA, 0x0101_0101, 0x2000, 0), fence(DATA + 0x4000, 1)].concat());
    gpu.step(&mut Budget {
        packets: 1,
        bytes: 0x1000,
    });
    gpu.set(offset::FREEZE, 1 << 4);
    assert_eq!(gpu.get(offset::FREEZE), 0x10, "inside a packet: not yet frozen");
    assert_eq!(gpu.run(), Step::Idle);
    assert_eq!(gpu.get(offset::FREEZE), 0x30);
    gpu.set(offset::FREEZE, 0);
    assert_eq!(gpu.get(offset::FREEZE), 0);
    gpu.run();
    assert_eq!(gpu.bytes(0, DATA + 0x1fff, 2), [1, 0]);
    assert_eq!(gpu.dword(0, DATA + 0x4000), 1);
    assert_eq!(gpu.engine.stats().dropped, 0);
}

#[test]
fn status_shows_a_transfer_and_the_buffer_it_is_in() {
    let mut gpu = Gpu::new();
    gpu.poke(1, 0x4_0000, &[nop(0), fill(DATA, 1, 0x2000, 0)].concat());
    gpu.submit(&indirect(1, 0x4_0000, 6));
    let step = gpu.step(&mut Budget {
        packets: 10,
        bytes: 0x1000,
    });
    assert_eq!(step, Step::Progress);
    assert_ne!(gpu.get(offset::STATUS_REG) & 0x200, 0, "inside an IB");
    assert_ne!(gpu.get(offset::STATUS1_REG) & 0x3ff, 0x3ff);
    assert_eq!(gpu.get(offset::GFX_IB_SIZE), 6);
    assert_eq!(gpu.get(offset::GFX_IB_OFFSET), 4);
    assert_eq!(gpu.get(offset::STATUS3_REG) >> 16 & 0xf, 1, "VMID");
    gpu.run();
    assert_eq!(gpu.get(offset::STATUS_REG), 0x46de_e557);
    assert_eq!(gpu.get(offset::STATUS1_REG), 0x3ff);
}

#[test]
fn huge_copy_is_done_in_slices() {
    let mut gpu = Gpu::new();
    gpu.submit(&copy(DATA, DATA + 0x8_0000, 512 << 10));
    for step in 0..4 {
        let mut budget = Budget {
            packets: 1,
            bytes: 150 << 10,
        };
        let before = gpu.memory.moved;
        let expected = if step == 3 { Step::Idle } else { Step::Progress };
        assert_eq!(gpu.step(&mut budget), expected);
        assert_eq!(gpu.memory.moved - before, (150 << 10) - budget.bytes);
        let rptr = if step == 3 { gpu.wptr } else { 0 };
        assert_eq!(gpu.written_back(), rptr, "moves only when the packet is over");
    }
}

#[test]
fn nothing_happens_without_a_budget() {
    let mut gpu = Gpu::new();
    gpu.submit(&fence(DATA, 1));
    let mut budget = Budget { packets: 0, bytes: 0 };
    assert_eq!(gpu.step(&mut budget), Step::Progress);
    assert_eq!(gpu.dword(0, DATA), 0);
}

#[test]
fn reset_registers_and_a_new_engine_agree() {
    let mut gpu = Gpu::new();
    gpu.execute(&fence(DATA, 1));
    gpu.registers.reset();
    gpu.engine = Engine::new(super::fake::INVALIDATE);
    gpu.resume(0);
    gpu.execute(&fence(DATA, 2));
    assert_eq!(gpu.dword(0, DATA), 2);
    assert_eq!(gpu.written_back(), 16);
}

#[test]
fn read_pointer_is_written_back_only_where_it_is_wanted() {
    let mut gpu = Gpu::new();
    let rb_cntl = gpu.get(offset::GFX_RB_CNTL);
    gpu.set(offset::GFX_RB_CNTL, rb_cntl & !0x1000);
    gpu.execute(&fence(DATA, 1));
    assert_eq!(gpu.written_back(), 0);
    gpu.set(offset::GFX_RB_CNTL, rb_cntl);
    gpu.set(offset::GFX_RB_RPTR_ADDR_LO, 0x2044); // only 4-byte aligned
    gpu.execute(&fence(DATA, 1));
    assert_eq!(gpu.qword(0, 0x2044), 32);
}

#[test]
fn microcode_upload_advances_its_address() {
    let mut registers = SdmaRegisters::new(NAVI21[1], StartedBy::Driver);
    let mut effects = Effects::default();
    let at = NAVI21[1].hypervisor_base;
    registers.write(at, 0, &mut effects);
    registers.write(at.plus(4), 0x1234, &mut effects);
    registers.write(at.plus(4), 0x5678, &mut effects);
    assert_eq!(registers.read(at), 2);
}

#[test]
fn a_ring_is_never_read_beyond_itself() {
    let mut gpu = Gpu::new();
    gpu.registers.ring_doorbell(RING_BYTES * 5 + 16);
    gpu.poke(0, 0x1_0000, &fence(DATA, 1));
    gpu.step(&mut PLENTY.clone());
    assert_eq!(gpu.engine.stats().all_packets(), 1);
    assert_eq!(gpu.dword(0, DATA), 1);
}
