//! The interrupt handler as `navi10_ih.c` drives it.

#![expect(clippy::cast_possible_truncation, reason = "the tests' addresses are small")]

use super::*;
use crate::testing::FlatMemory;

const RING: u64 = 0x1_0000;
const WPTR_SHADOW: u64 = 0x8000;

struct Driver {
    ih: InterruptHandler,
    memory: FlatMemory,
    effects: Effects<IhEffect>,
}

impl Driver {
    /// `navi10_ih_irq_init` with a ring of `1 << log2_dwords` dwords.
    fn enable(log2_dwords: u32) -> Self {
        let mut driver = Self {
            ih: InterruptHandler::new(&[0]),
            memory: FlatMemory::new(0x2_0000),
            effects: Effects::default(),
        };
        driver.write(IH_RB_BASE, (RING >> 8) as u32);
        driver.write(IH_RB_WPTR_ADDR_LO, WPTR_SHADOW as u32);
        driver.write(IH_RB_WPTR, 0);
        driver.write(IH_RB_RPTR, 0);
        driver.write(IH_DOORBELL_RPTR, 0x2f0 | 1 << 28);
        driver.write(
            IH_RB_CNTL,
            RB_ENABLE | log2_dwords << 1 | WPTR_WRITEBACK_ENABLE | ENABLE_INTR | RPTR_REARM,
        );
        driver
    }

    fn write(&mut self, offset: RegOffset, value: u32) {
        self.ih.write(offset, value, &mut self.effects);
    }

    fn raise(&mut self, source: u8) -> bool {
        let entry = IvEntry {
            client: 8,
            source,
            data: [7, 0, 0, 0],
            ..IvEntry::default()
        };
        self.ih.raise(&entry, 0x1234_5678_9abc, &mut self.memory)
    }
}

#[test]
fn the_table_has_no_defects_and_resets() {
    assert_eq!(RegisterFile::table_defects(ROWS), Vec::<String>::new());
    let mut driver = Driver::enable(16);
    driver.ih.reset();
    for register in InterruptHandler::new(&[0]).file.registers() {
        assert_eq!(
            driver.ih.read(register.offset),
            register.spec.reset,
            "{}",
            register.name
        );
    }
}

#[test]
fn an_entry_lands_in_the_ring_before_the_write_pointer_and_asks_for_an_interrupt() {
    let mut driver = Driver::enable(16);
    assert!(driver.raise(224));
    assert_eq!(driver.memory.u32(RING), 8 | 224 << 8);
    assert_eq!(driver.memory.u32(RING + 4), 0x5678_9abc);
    assert_eq!(driver.memory.u32(RING + 8), 0x1234);
    assert_eq!(driver.memory.u32(RING + 16), 7);
    assert_eq!(driver.memory.u32(WPTR_SHADOW), 32);
    assert_eq!(driver.memory.order(), [RING, WPTR_SHADOW]);
}

#[test]
fn with_rearm_the_next_interrupt_waits_for_the_read_pointer() {
    let mut driver = Driver::enable(16);
    assert!(driver.raise(1));
    assert!(!driver.raise(2), "not re-armed yet");
    driver.ih.set_rptr(32, &mut driver.effects);
    assert_eq!(
        driver.effects.take(),
        [IhEffect::Interrupt],
        "one entry is still waiting"
    );
    driver.ih.set_rptr(64, &mut driver.effects);
    assert!(driver.effects.is_empty(), "the ring is empty");
    assert!(driver.raise(3), "armed again");
}

#[test]
fn the_ring_wraps_and_reports_an_overflow_until_it_is_cleared() {
    let mut driver = Driver::enable(4); // 16 dwords: two entries
    driver.raise(1);
    driver.raise(2);
    assert_eq!(driver.memory.u32(WPTR_SHADOW), RB_OVERFLOW);
    assert_eq!(driver.ih.stats().overflows, 1);
    let cntl = driver.ih.read(IH_RB_CNTL);
    driver.write(IH_RB_CNTL, cntl | WPTR_OVERFLOW_CLEAR);
    assert_eq!(driver.ih.read(IH_RB_WPTR), 0);
}

#[test]
fn a_disabled_ring_takes_nothing() {
    let mut driver = Driver::enable(16);
    driver.write(IH_RB_CNTL, 0);
    assert!(!driver.raise(1));
    assert_eq!(driver.ih.stats().dropped, 1);
    assert_eq!(driver.memory.u32(WPTR_SHADOW), 0);
}

#[test]
fn a_ring_in_no_memory_is_counted_and_survives() {
    let mut driver = Driver::enable(16);
    driver.write(IH_RB_BASE, u32::MAX);
    driver.raise(1);
    assert_eq!(driver.ih.stats().faults, 1);
}

#[test]
fn pasids_come_from_the_table_of_the_hub() {
    let mut driver = Driver::enable(16);
    driver.write(IH_VMID_LUT.plus(4 * 3), 0x8001);
    driver.write(IH_VMID_LUT_MM.plus(4 * 3), 0x8002);
    assert_eq!(driver.ih.pasid(Vmid::from_field(3), false), 0x8001);
    assert_eq!(driver.ih.pasid(Vmid::from_field(3), true), 0x8002);
}
