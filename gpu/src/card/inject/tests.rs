//! When faults happen, and how often.

use std::time::Duration;

use gart::GpuVa;
use sdma_engine::Verdict;

use super::packets::Facts;
use super::*;
use crate::event::Event;
use cp_engine::{QueueAhead, QueueVerdict};

const SDMA0: EngineName = EngineName::Sdma(0);

fn order(fault: Fault, after: u64, count: Option<u64>) -> Order {
    Order { fault, after, count }
}

fn armory(orders: &[Order]) -> Armory {
    let mut armory = Armory::default();
    for order in orders {
        armory.arm(*order).unwrap();
    }
    armory
}

/// A packet that is nothing special.
fn plain(engine: EngineName) -> Facts {
    Facts {
        engine,
        delayed: false,
        enters: false,
        entries: 0,
        uploads: false,
        fills: false,
        to: GpuVa::new(0x1000),
    }
}

fn update(entries: u64) -> Facts {
    Facts {
        entries,
        ..plain(SDMA0)
    }
}

fn upload() -> Facts {
    Facts {
        uploads: true,
        ..plain(SDMA0)
    }
}

fn hang(engine: EngineName, when: HangWhen, nth: u64) -> Order {
    order(Fault::Hang { engine, when }, nth - 1, Some(1))
}

fn verdicts(armory: &mut Armory, facts: &Facts, times: usize) -> Vec<Verdict> {
    (0..times).map(|_| armory.packet(facts)).collect()
}

const P: Verdict = Verdict::Proceed;

#[test]
fn an_empty_armory_changes_nothing() {
    let mut armory = armory(&[]);
    assert!(armory.is_empty());
    assert_eq!(armory.packet(&update(5)), P);
    assert_eq!(armory.take_news(), []);
}

#[test]
fn a_hang_happens_once_at_the_nth_packet_of_its_engine() {
    let mut armory = armory(&[hang(SDMA0, HangWhen::Packet, 3)]);
    assert_eq!(
        armory.packet(&plain(EngineName::Sdma(1))),
        P,
        "another engine's do not count"
    );
    assert_eq!(verdicts(&mut armory, &plain(SDMA0), 4), [P, P, Verdict::Hang, P]);
    assert!(armory.is_empty(), "it is used up");
}

#[test]
fn a_hang_in_an_update_counts_updates_that_have_a_middle() {
    let mut armory = armory(&[hang(SDMA0, HangWhen::PageTableUpdate, 2)]);
    assert_eq!(armory.packet(&plain(SDMA0)), P);
    assert_eq!(armory.packet(&upload()), P);
    assert_eq!(
        verdicts(&mut armory, &update(1), 5),
        [P; 5],
        "one entry has no middle"
    );
    assert_eq!(armory.packet(&update(8)), P);
    assert_eq!(armory.packet(&update(7)), Verdict::HangAfter(24));
    assert_eq!(armory.packet(&update(8)), P);
}

#[test]
fn a_hang_at_a_command_buffer_lets_other_packets_pass() {
    let mut armory = armory(&[hang(SDMA0, HangWhen::CommandBuffer, 2)]);
    let indirect = Facts {
        enters: true,
        ..plain(SDMA0)
    };
    assert_eq!(verdicts(&mut armory, &plain(SDMA0), 3), [P; 3]);
    assert_eq!(armory.packet(&indirect), P, "the first of two");
    assert_eq!(verdicts(&mut armory, &plain(SDMA0), 3), [P; 3]);
    assert_eq!(armory.packet(&indirect), Verdict::Hang);
    armory
        .arm(hang(EngineName::Gfx, HangWhen::CommandBuffer, 1))
        .unwrap();
    let enters = QueueAhead {
        enters: true,
        ..QueueAhead::default()
    };
    let queue = |armory: &mut Armory, ahead| armory.queue(EngineName::Gfx, ahead);
    assert_eq!(queue(&mut armory, QueueAhead::default()), QueueVerdict::Proceed);
    assert_eq!(queue(&mut armory, enters), QueueVerdict::Hang);
}

#[test]
fn a_queue_hangs_by_the_name_of_its_engine() {
    let mut armory = armory(&[hang(EngineName::Gfx, HangWhen::Packet, 1)]);
    assert_eq!(
        armory.queue(EngineName::Compute, QueueAhead::default()),
        QueueVerdict::Proceed
    );
    assert_eq!(
        armory.queue(EngineName::Kiq, QueueAhead::default()),
        QueueVerdict::Proceed
    );
    assert_eq!(
        armory.queue(EngineName::Gfx, QueueAhead::default()),
        QueueVerdict::Hang
    );
    assert_eq!(
        armory.queue(EngineName::Gfx, QueueAhead::default()),
        QueueVerdict::Proceed
    );
}

#[test]
fn drops_hit_what_they_name_and_nothing_else() {
    let mut armory = armory(&[order(Fault::DropPte, 0, None)]);
    assert_eq!(verdicts(&mut armory, &update(1), 2), [Verdict::Skip; 2]);
    assert_eq!(armory.packet(&upload()), P);
    armory.clear(None);
    armory.arm(order(Fault::DropCopy, 1, Some(2))).unwrap();
    assert_eq!(armory.packet(&update(1)), P);
    assert_eq!(
        verdicts(&mut armory, &upload(), 4),
        [P, Verdict::Skip, Verdict::Skip, P]
    );
    armory.arm(order(Fault::DropFill, 0, Some(1))).unwrap();
    assert_eq!(armory.packet(&upload()), P);
    let fill = Facts {
        fills: true,
        ..plain(SDMA0)
    };
    assert_eq!(verdicts(&mut armory, &fill, 2), [Verdict::Skip, P]);
}

#[test]
fn a_corruption_counts_entries_and_not_packets() {
    let xor = 0x40;
    let mut armory = armory(&[order(Fault::CorruptPte { xor }, 10, Some(2))]);
    assert_eq!(verdicts(&mut armory, &update(4), 2), [P, P]);
    assert_eq!(armory.packet(&update(4)), Verdict::Corrupt { entry: 2, xor });
    assert_eq!(armory.packet(&update(4)), Verdict::Corrupt { entry: 0, xor });
    assert_eq!(armory.packet(&update(4)), P);
}

#[test]
fn a_slow_engine_delays_each_packet_once_and_hangs_as_well() {
    let delay = Duration::from_millis(2);
    let engine = SDMA0;
    let mut armory = armory(&[
        order(Fault::Slow { engine, delay }, 0, None),
        hang(SDMA0, HangWhen::Packet, 2),
    ]);
    let again = Facts {
        delayed: true,
        ..plain(SDMA0)
    };
    assert_eq!(armory.packet(&plain(SDMA0)), Verdict::Delay(delay));
    assert_eq!(
        armory.packet(&again),
        P,
        "asked for the second time it counts for the first"
    );
    assert_eq!(armory.packet(&plain(SDMA0)), Verdict::Delay(delay));
    assert_eq!(armory.packet(&again), Verdict::Hang);
    armory.clear(None);
    let engine = EngineName::Compute;
    armory.arm(order(Fault::Slow { engine, delay }, 0, None)).unwrap();
    assert_eq!(
        armory.queue(engine, QueueAhead::default()),
        QueueVerdict::Delay(200_000)
    );
}

#[test]
fn the_first_that_fits_happens_and_the_others_wait() {
    let mut armory = armory(&[
        order(Fault::DropPte, 0, Some(1)),
        order(Fault::DropPte, 0, Some(1)),
    ]);
    assert_eq!(
        verdicts(&mut armory, &update(1), 3),
        [Verdict::Skip, Verdict::Skip, P]
    );
}

#[test]
fn what_is_cleared_does_not_happen() {
    let mut armory = armory(&[order(Fault::DropPte, 0, None), order(Fault::DropCopy, 0, None)]);
    assert_eq!(armory.clear(Some(7)), 0);
    assert_eq!(armory.clear(Some(0)), 1);
    assert_eq!(armory.packet(&update(1)), P);
    assert_eq!(armory.packet(&upload()), Verdict::Skip);
    assert_eq!(armory.clear(None), 1);
    assert_eq!(armory.packet(&upload()), P);
}

#[test]
fn the_list_tells_what_is_left() {
    let mut armory = armory(&[
        hang(SDMA0, HangWhen::Packet, 3),
        order(Fault::DropPte, 0, Some(5)),
    ]);
    armory.packet(&update(3));
    let list = serde_json::to_value(armory.list()).unwrap();
    assert_eq!(
        list,
        serde_json::json!([
            {"id": 0, "fault": "hang", "engine": "sdma0", "detail": "in front of a packet",
             "after": 1, "left": 1, "fired": 0},
            {"id": 1, "fault": "drop-pte", "detail": "updates into VRAM are passed over",
             "after": 0, "left": 4, "fired": 1},
        ])
    );
}

#[test]
fn arming_happening_and_disarming_are_told_in_order() {
    let mut armory = armory(&[order(Fault::DropPte, 0, Some(1))]);
    armory.packet(&update(3));
    let kinds: Vec<_> = armory
        .take_news()
        .into_iter()
        .map(|event| match event {
            Event::FaultArmed { id, .. } => ("armed", id),
            Event::FaultFired { id, detail, .. } => {
                assert_eq!(detail, "time 1: 3 entries at 0x1000");
                ("fired", id)
            }
            Event::FaultCleared { id, .. } => ("cleared", id),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, [("armed", 0), ("fired", 0), ("cleared", 0)]);
}

#[test]
fn the_list_and_the_news_are_bounded() {
    let mut armory = Armory::default();
    let armed = (0..10_000)
        .filter(|_| {
            armory
                .arm(order(Fault::DropPte, u64::MAX, Some(u64::MAX)))
                .is_ok()
        })
        .count();
    assert_eq!(armed, 256);
    assert_eq!(armory.arm(order(Fault::DropPte, 0, None)), Err(InjectError::Full));
    armory.clear(None);
    armory.arm(order(Fault::DropPte, 0, None)).unwrap();
    for _ in 0..100_000 {
        armory.packet(&update(u64::MAX));
    }
    assert!(armory.take_news().len() <= 1024);
    assert_eq!(armory.list()[0].fired, 100_000);
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let mut armory = armory(&[
        order(Fault::CorruptPte { xor: u64::MAX }, u64::MAX, Some(u64::MAX)),
        order(Fault::DropPte, u64::MAX, Some(u64::MAX)),
    ]);
    assert_eq!(armory.packet(&update(u64::MAX)), P);
    assert_eq!(
        armory.packet(&update(1)),
        Verdict::Corrupt {
            entry: 0,
            xor: u64::MAX
        }
    );
}
