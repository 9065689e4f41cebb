//! The order that a guest relies on: data, fence, interrupt entry, its write pointer, interrupt. And who may block whom.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use common::everywhere;
use gart::Location;
use tests::driver::packet::sdma as packet;
use tests::driver::{Domain, Driver, Kernel};
use tests::guest::{Buffer, CpuMemory, Failure, Interrupt, PAGE, expect};

type Story = Result<(), String>;

#[test]
fn a_fence_is_in_memory_before_its_interrupt_is_raised() -> Story {
    // Sdma::wait and Queue::run_job look at the fence in the moment in which the interrupt has been taken.
    everywhere(|driver| {
        for _ in 0..5 {
            driver.gfx.test_ibs(&mut driver.guest)?;
            for engine in &mut driver.sdma {
                engine.test_ib(&mut driver.guest)?;
            }
        }
        Ok(())
    })
}

/// Where another CPU looks.
struct Places {
    ring: Buffer,
    data: Location,
    fence: Location,
    wptr: Location,
}

/// What another CPU has seen out of order, if anything. Looks at the last thing first: what it depends on must be there already.
fn watch(memory: &CpuMemory, places: &Places, base: u32, done: &AtomicBool) -> Result<(), Failure> {
    let mut looks = 0_u64;
    while !done.load(Ordering::Acquire) || looks == 0 {
        let wptr = memory.load(places.wptr)?;
        // The ring was empty memory, and never wraps here: an entry that is there has a client in its first byte.
        if memory.load(places.ring.at(u64::from(wptr - Interrupt::BYTES))?)? == 0 {
            return Err(Failure::Invalid(
                "the write pointer has passed an entry that is not there",
            ));
        }
        let entries = wptr / Interrupt::BYTES - base;
        let fence = memory.load(places.fence)?;
        let data = memory.load(places.data)?;
        if entries > fence || fence > data {
            return Err(Failure::Mismatch {
                what: "order",
                expected: u64::from(entries),
                found: u64::from(fence),
            });
        }
        looks += 1;
    }
    Ok(())
}

#[test]
fn another_cpu_never_sees_a_consequence_before_its_cause() -> Result<(), Failure> {
    // Job n writes n as data, n as fence, and raises one entry. A device that moves the write pointer before the entry or the
    // fence, or writes the fence before the data, is caught by the second thread within some of the jobs.
    const JOBS: u32 = 2000;
    let mut driver = Driver::bring_up(Kernel::V7_3, 1)?;
    let target = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
    // Fences are numbered on from the bring-up's: begin where they stand, with as many entries in the ring.
    let first = driver.engine(0)?.0.ring.seq;
    let entries = driver.ih.wptr().load(&driver.guest)? / Interrupt::BYTES;
    let base = entries
        .checked_sub(first)
        .ok_or(Failure::Invalid("fewer entries than jobs in a bring-up"))?;
    driver.guest.store(&target, 0, first)?;
    let place = |(buffer, offset): (Buffer, u64)| buffer.at(offset);
    let fence = driver.engine(0)?.0.ring.fence.place();
    let places = Places {
        ring: driver.ih.ring().clone(),
        data: target.at(0)?,
        fence: place(fence)?,
        wptr: place(driver.ih.wptr().place())?,
    };
    let done = AtomicBool::new(false);
    let memory = driver.guest.memory();

    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&memory, &places, base, &done));
        let mut jobs = || -> Result<(), Failure> {
            for job in first + 1..=first + JOBS {
                let (engine, guest) = driver.engine(0)?;
                let before = guest.messages();
                engine.run(guest, &packet::write(target.mc(), &[job]))?;
                expect("messages for one trap", guest.messages() - before, 1_u64)?;
            }
            Ok(())
        };
        let worked = jobs();
        done.store(true, Ordering::Release);
        worked?;
        watcher
            .join()
            .map_err(|_| Failure::Host("the watching thread has died"))?
    })
}

#[test]
fn an_interrupt_means_that_the_write_pointer_has_moved() -> Story {
    everywhere(|driver| {
        driver.guest.mask_interrupts(true);
        let (wptr, ring) = (driver.ih.wptr().clone(), driver.ih.ring().clone());
        let at = wptr.load(&driver.guest)?;
        let before = driver.guest.messages();
        let (engine, guest) = driver.engine(0)?;
        let length = engine.load_ib(guest, &[])?;
        let ib = engine.ib().mc();
        let seq = engine.submit(guest, None, ib, length)?;
        guest.run_until("message", |guest| Ok(guest.messages() > before))?;
        expect("write pointer", wptr.load(guest)?, at + Interrupt::BYTES)?;
        expect(
            "client and source of the entry",
            guest.load(&ring, u64::from(at))? & 0xffff,
            224_u32 << 8 | 8,
        )?;
        expect("fence", engine.ring.fence.load(guest)?, seq)
    })
}

#[test]
fn the_next_interrupt_comes_when_the_read_pointer_has_been_written() -> Story {
    // With RPTR_REARM: one message for any number of entries until the driver has read, then another if more are waiting.
    everywhere(|driver| {
        driver.guest.mask_interrupts(true);
        let before = driver.guest.messages();
        let entries = driver.guest.interrupts().len();
        for _ in 0..3 {
            let (engine, guest) = driver.engine(0)?;
            let length = engine.load_ib(guest, &[])?;
            let ib = engine.ib().mc();
            let seq = engine.submit(guest, None, ib, length)?;
            engine.ring.fence.clone().wait_for(guest, "fence", seq)?;
        }
        expect(
            "messages while the driver sleeps",
            driver.guest.messages() - before,
            1_u64,
        )?;
        driver.guest.mask_interrupts(false);
        driver
            .guest
            .run_until("entries", |guest| Ok(guest.interrupts().len() == entries + 3))?;
        let (engine, guest) = driver.engine(0)?;
        engine.test_ib(guest)
    })
}

#[test]
fn timestamps_of_interrupts_follow_the_clock() -> Story {
    everywhere(|driver| {
        let mut last = 0;
        for _ in 0..5 {
            let (engine, guest) = driver.engine(0)?;
            guest.pass(std::time::Duration::from_millis(1));
            let interrupt = engine.run(guest, &[])?;
            // 100 MHz: a millisecond is 100 000 ticks.
            assert!(
                interrupt.timestamp >= last + 100_000,
                "{last} then {}",
                interrupt.timestamp
            );
            last = interrupt.timestamp;
        }
        Ok(())
    })
}

#[test]
fn a_poll_that_blocks_one_engine_leaves_all_others_working() -> Story {
    everywhere(|driver| {
        let flag = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
        let mark = driver.guest.interrupts().len();
        let (engine, guest) = driver.engine(0)?;
        let length = engine.load_ib(guest, &packet::wait_memory(flag.mc(), 1))?;
        let ib = engine.ib().mc();
        let seq = engine.submit(guest, None, ib, length)?;
        // Longer than any driver's timeout.
        for _ in 0..50 {
            guest.pass(std::time::Duration::from_secs(1));
            guest.step()?;
        }
        expect("still waiting", engine.ring.fence.load(guest)?, seq - 1)?;
        for other in 1..driver.sdma.len() {
            let (engine, guest) = driver.engine(other)?;
            engine.test_ib(guest)?;
        }
        driver.gfx.test_ibs(&mut driver.guest)?;
        // It was a wait, not a hang: memory changes and the job ends.
        driver.guest.store(&flag, 0, 1)?;
        let (engine, guest) = driver.engine(0)?;
        engine.wait(guest, mark, seq)?;
        engine.test_ib(guest)
    })
}

#[test]
fn the_engines_wait_for_each_other_through_memory() -> Story {
    // SDMA0 waits for what a compute queue writes: neither may keep the other from its turn.
    everywhere(|driver| {
        let flag = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
        let mark = driver.guest.interrupts().len();
        let (engine, guest) = driver.engine(0)?;
        let length = engine.load_ib(guest, &packet::wait_memory(flag.mc(), 0x60))?;
        let ib = engine.ib().mc();
        let seq = engine.submit(guest, None, ib, length)?;
        let (queue, guest) = driver.compute(2)?;
        queue
            .ring
            .write(guest, &tests::driver::packet::pm4::write_memory(flag.mc(), 0x60))?;
        queue.commit(guest)?;
        let (engine, guest) = driver.engine(0)?;
        engine.wait(guest, mark, seq).map(|_| ())
    })
}
