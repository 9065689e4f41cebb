//! Users' address spaces: tables written by packets, jobs in VMIDs, faults.

#![expect(
    clippy::cast_possible_truncation,
    reason = "every size and seed here is small, or meant to be cut"
)]

mod common;

use common::everywhere;
use gart::GpuVa;
use tests::driver::gmc::{self, pte};
use tests::driver::packet::{pm4, sdma as packet};
use tests::driver::regs::GFXHUB;
use tests::driver::vm::Vm;
use tests::driver::{Domain, Driver};
use tests::guest::{Buffer, Failure, Interrupt, PAGE, expect};

type Story = Result<(), String>;

const IB_VA: u64 = 0x10_0000;
const VRAM_VA: u64 = 0x7f12_3450_0000;
const GTT_VA: u64 = 0x20_0000_0000;
const HUGE_PAGE: u64 = 2 << 20;

/// An address space with its indirect buffer mapped.
fn user(driver: &mut Driver, vmid: u32, pasid: u32) -> Result<(Vm, Buffer), Failure> {
    let mut vm = driver.new_vm(vmid, pasid)?;
    let ib = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
    driver.map(&mut vm, IB_VA, &ib)?;
    Ok((vm, ib))
}

fn pattern(size: u64, seed: u64) -> Vec<u8> {
    (0..size)
        .map(|byte| (byte.wrapping_mul(0x9e37_79b9) >> 13) as u8 ^ seed as u8)
        .collect()
}

#[test]
fn a_user_job_copies_vram_to_system_memory_and_back() -> Story {
    // 600 pages: more than one page table, an odd start in the first, so PTEPDE, WRITE_LINEAR and COPY_LINEAR are all at work.
    const SIZE: u64 = 600 * PAGE;
    everywhere(|driver| {
        let (mut vm, ib) = user(driver, 1, 0x8001)?;
        let vram = driver.allocate(Domain::Vram, SIZE, PAGE)?;
        let gtt = driver.allocate(Domain::Gtt, SIZE, PAGE)?;
        let back = driver.allocate(Domain::Vram, SIZE, PAGE)?;
        let back_va = VRAM_VA + 0x4000_0000;
        driver.map(&mut vm, VRAM_VA, &vram)?;
        driver.map(&mut vm, GTT_VA, &gtt)?;
        driver.map(&mut vm, back_va, &back)?;
        let data = pattern(SIZE, 3);
        driver.guest.write_bytes(&vram, 0, &data)?;

        let last = driver.sdma.len() - 1;
        let copy = |from, to| packet::copy(GpuVa::new(from), GpuVa::new(to), SIZE as u32);
        driver.run_user(last, &vm, (&ib, IB_VA), &copy(VRAM_VA, GTT_VA))?;
        assert!(
            driver.guest.read_bytes(&gtt, 0, SIZE as usize)? == data,
            "system memory differs"
        );
        driver.run_user(0, &vm, (&ib, IB_VA), &copy(GTT_VA, back_va))?;
        assert!(
            driver.guest.read_bytes(&back, 0, SIZE as usize)? == data,
            "VRAM differs"
        );
        expect("no fault", driver.guest.read(GFXHUB.fault_status), 0_u32)
    })
}

#[test]
fn a_directory_entry_can_be_a_page_of_2_mib() -> Story {
    everywhere(|driver| {
        let (mut vm, ib) = user(driver, 4, 1)?;
        let vram = driver.allocate(Domain::Vram, 2 * HUGE_PAGE, HUGE_PAGE)?;
        let va = 0x40_0000_0000;
        driver.map(&mut vm, va, &vram)?;
        // The last dword of the second page: an offset computed with the wrong page size lands elsewhere.
        let at = 2 * HUGE_PAGE - 4;
        driver.run_user(
            0,
            &vm,
            (&ib, IB_VA),
            &packet::write(GpuVa::new(va + at), &[0xfeed]),
        )?;
        expect("written", driver.guest.load(&vram, at)?, 0xfeed_u32)?;
        expect("no fault", driver.guest.read(GFXHUB.fault_status), 0_u32)
    })
}

#[test]
fn the_same_address_is_different_memory_in_two_address_spaces() -> Story {
    everywhere(|driver| {
        let mut buffers = Vec::new();
        for vmid in [1, 15] {
            let (mut vm, ib) = user(driver, vmid, vmid)?;
            let buffer = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
            driver.map(&mut vm, GTT_VA, &buffer)?;
            buffers.push((vm, ib, buffer));
        }
        for (value, (vm, ib, _)) in (100..).zip(&buffers) {
            driver.run_user(0, vm, (ib, IB_VA), &packet::write(GpuVa::new(GTT_VA), &[value]))?;
        }
        for (value, (_, _, buffer)) in (100_u32..).zip(&buffers) {
            expect("own memory", driver.guest.load(buffer, 0)?, value)?;
        }
        Ok(())
    })
}

#[test]
fn a_compute_job_runs_in_its_address_space() -> Story {
    everywhere(|driver| {
        let (mut vm, ib) = user(driver, 7, 70)?;
        let gtt = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
        let vram = driver.allocate(Domain::Vram, PAGE, PAGE)?;
        driver.map(&mut vm, GTT_VA, &gtt)?;
        driver.map(&mut vm, VRAM_VA, &vram)?;
        let mut packets = pm4::write_memory(GpuVa::new(GTT_VA + 8), 0x7a11_c0de).to_vec();
        packets.extend(pm4::copy_memory(
            GpuVa::new(GTT_VA + 8),
            GpuVa::new(VRAM_VA + 0x40),
        ));
        driver.guest.write_dwords(&ib, 0, &packets)?;
        for index in [0, 7] {
            driver.guest.store(&vram, 0x40, 0)?;
            let (queue, guest) = driver.compute(index)?;
            queue.run_job(guest, Some(vm.job()), GpuVa::new(IB_VA), packets.len() as u32)?;
            expect("copied", guest.load(&vram, 0x40)?, 0x7a11_c0de_u32)?;
        }
        Ok(())
    })
}

#[test]
fn a_table_is_what_its_packets_say() -> Story {
    // Compared in memory: a walk that is wrong in the same way as the packets would hide both from a job.
    everywhere(|driver| {
        let (mut vm, _) = user(driver, 1, 1)?;
        let gtt = driver.allocate(Domain::Gtt, 4 * PAGE, PAGE)?;
        let va = 5 << 39;
        driver.map(&mut vm, va, &gtt)?;
        let mut table = vm.root().clone();
        for slot in [5, 0, 0] {
            let entry = driver.guest.read_bytes(&table, slot * 8, 8)?;
            let entry = u64::from_le_bytes(entry.try_into().map_err(|_| Failure::Invalid("short read"))?);
            expect("flags of a directory entry", entry & 0xfff, pte::VALID)?;
            table = Buffer::in_vram(gart::VramOffset::new(entry & !0xfff), GpuVa::default(), PAGE);
        }
        for (page, slot) in gtt.pages().iter().zip(0..) {
            let entry = driver.guest.read_bytes(&table, slot * 8, 8)?;
            expect(
                "entry",
                u64::from_le_bytes(entry.try_into().map_err(|_| Failure::Invalid("short read"))?),
                page.get() | pte::SYSTEM_PAGE,
            )?;
        }
        // The rest was cleared: the table's memory held valid-looking garbage before.
        assert_eq!(driver.guest.read_bytes(&table, 32, 4064)?, [0; 4064]);
        Ok(())
    })
}

/// The faults that have been reported since `mark`.
fn faults(driver: &Driver, mark: usize) -> Vec<Interrupt> {
    const UTCL2: u8 = 0x1b;
    let new = driver.guest.interrupts().get(mark..).unwrap_or_default();
    new.iter()
        .filter(|interrupt| (interrupt.client, interrupt.source) == (UTCL2, 0))
        .copied()
        .collect()
}

/// A write to `va`, which faults, and then one that does not: returns the fault after everything that has to hold around it.
fn fault_at(
    driver: &mut Driver,
    vm: &Vm,
    ib: &Buffer,
    va: u64,
    marker: (&Buffer, u64),
) -> Result<Interrupt, Failure> {
    let mark = driver.guest.interrupts().len();
    let (buffer, marker_va) = marker;
    driver.guest.store(buffer, 0, 0)?;
    let mut packets = packet::write(GpuVa::new(va), &[0xbad]);
    packets.extend(packet::write(GpuVa::new(marker_va), &[0x600d]));
    driver.run_user(0, vm, (ib, IB_VA), &packets)?;
    expect("the engine went on", driver.guest.load(buffer, 0)?, 0x600d_u32)?;
    // What happened first is told first: the fault, and then the fence that was signalled behind it.
    const SDMA_TRAP: u8 = 224;
    let new = driver.guest.interrupts().get(mark..).unwrap_or_default();
    let told = |source: u8| new.iter().position(|interrupt| interrupt.source == source);
    if told(0).is_none() || told(0) > told(SDMA_TRAP) {
        return Err(Failure::Invalid(
            "the fence was told before the fault in front of it",
        ));
    }
    faults(driver, mark)
        .first()
        .copied()
        .ok_or(Failure::Invalid("no fault was reported"))
}

#[test]
fn a_fault_names_its_address_its_context_and_its_process_and_the_engine_goes_on() -> Story {
    const PASID: u32 = 0x8042;
    // Bits 47:44 are not 0: they travel in the second data dword.
    const UNMAPPED: u64 = 0x7654_3210_f000;
    everywhere(|driver| {
        let (mut vm, ib) = user(driver, 2, PASID)?;
        let marker = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
        driver.map(&mut vm, GTT_VA, &marker)?;
        let fault = fault_at(driver, &vm, &ib, UNMAPPED, (&marker, GTT_VA))?;
        expect("VMID", fault.vmid, 2_u8)?;
        expect("PASID", fault.pasid, PASID as u16)?;
        expect("hub", u32::from(fault.mm_hub), 0_u32)?;
        let [page, high, ..] = fault.data;
        let address = u64::from(page) << 12 | u64::from(high & 0xf) << 44;
        expect("address", address, UNMAPPED)?;
        expect("not a retry fault", high & 0x80, 0_u32)?;

        let status = driver.guest.read(GFXHUB.fault_status);
        expect("VMID in STATUS", status >> 20 & 0xf, 2_u32)?;
        expect("RW in STATUS", status >> 18 & 1, 1_u32)?;
        expect(
            "address in ADDR",
            gmc::read_pair(&mut driver.guest, GFXHUB.fault_addr_lo),
            UNMAPPED >> 12,
        )?;
        // As gmc_v10_0_process_interrupt ends.
        driver.guest.modify(GFXHUB.fault_cntl, 0, 1);
        driver.guest.modify(GFXHUB.fault_cntl, 1, 0);
        expect(
            "STATUS after the clear",
            driver.guest.read(GFXHUB.fault_status),
            0_u32,
        )?;
        let (engine, guest) = driver.engine(0)?;
        engine.test_ib(guest)
    })
}

#[test]
fn a_page_that_was_taken_out_faults_after_the_next_flush() -> Story {
    everywhere(|driver| {
        let (mut vm, ib) = user(driver, 3, 9)?;
        let marker = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
        let buffer = driver.allocate(Domain::Vram, 4 * PAGE, PAGE)?;
        driver.map(&mut vm, GTT_VA, &marker)?;
        driver.map(&mut vm, VRAM_VA, &buffer)?;
        let job = packet::write(GpuVa::new(VRAM_VA + PAGE), &[1]);
        driver.run_user(0, &vm, (&ib, IB_VA), &job)?;
        expect("mapped", driver.guest.load(&buffer, PAGE)?, 1_u32)?;
        driver.unmap(&mut vm, VRAM_VA + PAGE, 1)?;
        let fault = fault_at(driver, &vm, &ib, VRAM_VA + PAGE, (&marker, GTT_VA))?;
        expect(
            "page",
            u64::from(fault.data[0]) << 12,
            (VRAM_VA + PAGE) & 0xfff_ffff_ffff,
        )?;
        expect("memory untouched", driver.guest.load(&buffer, PAGE)?, 1_u32)
    })
}

#[test]
fn a_fault_that_nobody_enabled_raises_no_interrupt() -> Story {
    // Context 5's interrupt enables are cleared: its faults show in STATUS alone.
    everywhere(|driver| {
        let (mut vm, ib) = user(driver, 5, 5)?;
        let marker = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
        driver.map(&mut vm, GTT_VA, &marker)?;
        let cntl = tests::driver::regs::element(GFXHUB.context_cntl, 5, 4);
        driver.guest.modify(cntl, 0x2a_aa00, 0);
        let fault = fault_at(driver, &vm, &ib, 0x5000_0000, (&marker, GTT_VA));
        assert_eq!(fault.ok(), None, "an interrupt came all the same");
        expect(
            "VMID in STATUS",
            driver.guest.read(GFXHUB.fault_status) >> 20 & 0xf,
            5_u32,
        )
    })
}
