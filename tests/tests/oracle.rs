//! The device says what page tables mapped before a loss and what they map after it, and which packets brought them back.

use gart::GpuVa;
use gpu::{By, Loss, LossMode, OracleReport, SpaceReport};
use tests::driver::packet::sdma as packet;
use tests::driver::vm::Vm;
use tests::driver::{Domain, Driver, Kernel, ResetMethod};
use tests::guest::{Buffer, Failure, PAGE, hi, lo};

const VA: u64 = 0x1_0000_0000;
/// Pages of the buffer in RAM, in two page tables.
const GTT_PAGES: u64 = 40;
const GTT_VA: u64 = VA + 500 * PAGE;
/// Leaf entries of the space that `Story` sets up: the command buffer, pages in RAM, pages in VRAM, and 2 MiB of VRAM as one entry.
const ENTRIES: u64 = 1 + GTT_PAGES + 16 + 1;

/// A device with one user, who has done some work.
struct Story {
    driver: Driver,
    vm: Vm,
    ib: Buffer,
    target: Buffer,
    /// What else it maps: 16 pages, and 2 MiB, of VRAM.
    in_vram: [Buffer; 2],
    /// Every table with a copy of it in RAM, which is kept up to date as 6.1 does.
    shadows: Vec<(Buffer, Buffer)>,
}

impl Story {
    fn new() -> Result<Self, Failure> {
        let mut driver = Driver::bring_up(Kernel::V6_1, 1)?;
        let vm = driver.new_vm(3, 1)?;
        let ib = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
        let target = driver.allocate(Domain::Gtt, GTT_PAGES * PAGE, PAGE)?;
        let small = driver.allocate(Domain::Vram, 16 * PAGE, PAGE)?;
        let large = driver.allocate(Domain::Vram, 512 * PAGE, 512 * PAGE)?;
        let mut story = Self {
            driver,
            vm,
            ib,
            target,
            in_vram: [small, large],
            shadows: Vec::new(),
        };
        story.begin()?;
        Ok(story)
    }

    /// The user maps everything and does some work.
    fn begin(&mut self) -> Outcome {
        let [small, large] = &self.in_vram;
        for (va, buffer) in [
            (VA, &self.ib),
            (GTT_VA, &self.target),
            (VA + (1 << 30), small),
            (VA + (2 << 30), large),
        ] {
            self.driver.map(&mut self.vm, va, buffer)?;
        }
        self.work()?;
        self.shadows.clear();
        for table in self.vm.tables() {
            let shadow = self.driver.allocate(Domain::Gtt, PAGE, PAGE)?;
            let contents = self.driver.guest.read_bytes(&table, 0, 4096)?;
            self.driver.guest.write_bytes(&shadow, 0, &contents)?;
            self.shadows.push((table, shadow));
        }
        Ok(())
    }

    /// The user's process ends, and another one begins. The driver writes nothing into the tables of the first, and makes the root of
    /// the second in this memory.
    fn succeed(&mut self, vmid: u32, root: Buffer) -> Outcome {
        self.vm = self.driver.new_vm_in(root, vmid, 2)?;
        self.begin()
    }

    /// A job in the user's address space.
    fn work(&mut self) -> Result<(), Failure> {
        let Self {
            driver,
            vm,
            ib,
            target,
            ..
        } = self;
        driver.run_user(0, vm, (ib, VA), &packet::write(GpuVa::new(GTT_VA), &[7]))?;
        assert_eq!(driver.guest.load(target, 0)?, 7);
        Ok(())
    }

    fn compare(&mut self) -> OracleReport {
        self.driver.guest.gpu().compare_tables()
    }

    /// The user's address space in a comparison: there is one.
    fn user(report: &OracleReport) -> Result<&SpaceReport, Failure> {
        let mut users = report.spaces.iter().filter(|space| space.kind == "user");
        match (users.next(), users.next()) {
            (Some(user), None) => Ok(user),
            _ => Err(Failure::Invalid("not one user's space")),
        }
    }

    /// The space of the present user in a comparison.
    fn present<'a>(&self, report: &'a OracleReport) -> Result<&'a SpaceReport, Failure> {
        let root = self.vm.root().at(0)?.to_string();
        let mut spaces = report.spaces.iter();
        let present = spaces.find(|space| space.kind == "user" && space.root == root);
        present.ok_or(Failure::Invalid("the user's space is not known"))
    }

    /// VRAM with the tables in it is lost, and the rest is not.
    fn lose_tables(&mut self, mode: LossMode) -> Result<(), Failure> {
        for (table, _) in self.shadows.clone() {
            let gart::Location::Vram(at) = table.at(0)? else {
                return Err(Failure::Invalid("a table outside of VRAM"));
            };
            // Each is a loss of its own, so that the reference has to survive those behind the first.
            self.driver.guest.gpu().lose(Loss {
                mode,
                offset: at.get(),
                length: PAGE,
            });
            self.driver.guest.run_until_idle()?;
        }
        Ok(())
    }

    fn run(&mut self, packets: &[u32]) -> Result<(), Failure> {
        let (engine, guest) = self.driver.engine(0)?;
        for packets in packets.chunks(700) {
            engine.run(guest, packets)?;
        }
        Ok(())
    }

    /// `amdgpu_bo_restore_shadow` for all tables but some.
    fn copy_back(&mut self, all_but: usize) -> Result<(), Failure> {
        let shadows = self.shadows.clone();
        for (table, shadow) in shadows.iter().skip(all_but) {
            self.run(&packet::copy(shadow.mc(), table.mc(), 4096))?;
        }
        Ok(())
    }

    /// Writes every entry that was something again, one by one; what was nothing stays as it is.
    fn rewrite(&mut self) -> Result<u64, Failure> {
        let mut written = 0;
        for (table, shadow) in self.shadows.clone() {
            let contents = self.driver.guest.read_bytes(&shadow, 0, 4096)?;
            let mut packets = Vec::new();
            for (index, entry) in contents.as_chunks::<8>().0.iter().enumerate() {
                let entry = u64::from_le_bytes(*entry);
                if entry != 0 {
                    let at = table.mc().plus(8 * index as u64);
                    packets.extend(packet::write(at, &[lo(entry), hi(entry)]));
                    written += 1;
                }
            }
            // Six dwords each; a chunk must not cut one.
            for packets in packets.chunks(600) {
                self.run(packets)?;
            }
        }
        Ok(written)
    }
}

fn counts(space: &SpaceReport) -> [u64; 6] {
    let counts = space.counts;
    [
        counts.same,
        counts.missing,
        counts.different,
        counts.poisoned,
        counts.poisoned_unmapped,
        counts.added,
    ]
}

type Outcome = Result<(), Failure>;

#[test]
fn without_a_loss_everything_is_the_same() -> Outcome {
    let mut story = Story::new()?;
    story.driver.guest.gpu().take_snapshot();
    let report = story.compare();
    let user = Story::user(&report)?;
    assert_eq!(counts(user), [ENTRIES, 0, 0, 0, 0, 0]);
    assert_eq!(user.before.entries, ENTRIES);
    assert_eq!(
        (user.vmid_before, user.vmid_now, user.in_use, user.used_before),
        (Some(3), Some(3), true, true)
    );
    assert_eq!(report.recovery.by, By::None);
    assert!(user.examples.is_empty());
    Ok(())
}

#[test]
fn poison_is_told_from_what_is_missing() -> Outcome {
    for (mode, expected) in [
        (LossMode::Poison, [0, 0, 0, ENTRIES, 511, 0]),
        (LossMode::Zero, [0, ENTRIES, 0, 0, 0, 0]),
    ] {
        let mut story = Story::new()?;
        story.lose_tables(mode)?;
        let report = story.compare();
        assert_eq!(counts(Story::user(&report)?), expected, "{mode:?}");
        assert_eq!(report.recovery.by, By::None);
    }
    Ok(())
}

#[test]
fn copies_of_shadows_are_recognised_and_bring_everything_back() -> Outcome {
    let mut story = Story::new()?;
    story
        .driver
        .guest
        .gpu()
        .lose_at_next_reset(Loss::whole(LossMode::Poison));
    reset(&mut story.driver)?;
    story.copy_back(0)?;
    let report = story.compare();
    let user = Story::user(&report)?;
    assert_eq!(counts(user), [ENTRIES, 0, 0, 0, 0, 0]);
    assert!(!user.in_use && user.used_before, "no job yet");
    let tables = story.shadows.len() as u64;
    let recovery = report.recovery;
    assert_eq!(recovery.by, By::ShadowCopies);
    assert_eq!(
        (
            recovery.shadow_copies.packets,
            recovery.shadow_copies.tables,
            recovery.shadow_copies.bytes
        ),
        (tables, tables, 4096 * tables)
    );
    assert!(recovery.since_us < recovery.first_us.unwrap_or(0) && recovery.first_us < recovery.last_us);
    story.work()?;
    assert!(Story::user(&story.compare())?.in_use);
    Ok(())
}

#[test]
fn a_table_that_was_not_copied_back_is_poisoned() -> Outcome {
    let mut story = Story::new()?;
    story.lose_tables(LossMode::Poison)?;
    // The root comes first.
    story.copy_back(1)?;
    assert_eq!(counts(Story::user(&story.compare())?), [0, 0, 0, ENTRIES, 511, 0]);
    story.copy_back(0)?;
    assert_eq!(counts(Story::user(&story.compare())?), [ENTRIES, 0, 0, 0, 0, 0]);
    Ok(())
}

#[test]
fn entries_that_are_written_again_are_recognised_and_the_rest_stays_poisoned() -> Outcome {
    let mut story = Story::new()?;
    story.lose_tables(LossMode::Poison)?;
    let written = story.rewrite()?;
    let report = story.compare();
    let user = Story::user(&report)?;
    let tables = story.shadows.len() as u64;
    assert_eq!(
        counts(user),
        [ENTRIES, 0, 0, 0, 512 * tables - written, 0],
        "unused entries are still the loss's"
    );
    let recovery = report.recovery;
    assert_eq!(recovery.by, By::Rewritten);
    assert_eq!(
        (
            recovery.rewritten.packets,
            recovery.rewritten.entries,
            recovery.rewritten.tables
        ),
        (written, written, tables)
    );
    assert_eq!((user.tables.rewritten, user.tables.lost), (tables, 0));
    Ok(())
}

/// The table entry of one page of the buffer in RAM.
fn entry_of(story: &Story, page: u64) -> Result<(Buffer, u64), Failure> {
    let pages = story.target.pages().iter().zip(0..);
    let mut pages = pages.filter_map(|(at, number)| (number == page).then_some(at));
    let wanted = pages.next().ok_or(Failure::Invalid("no such page"))?;
    for (table, shadow) in &story.shadows {
        let contents = story.driver.guest.read_bytes(shadow, 0, 4096)?;
        for (index, entry) in (0..).zip(contents.as_chunks::<8>().0) {
            if u64::from_le_bytes(*entry) & 0xffff_ffff_f000 == wanted.get() {
                return Ok((table.clone(), index));
            }
        }
    }
    Err(Failure::Invalid("the page is mapped"))
}

#[test]
fn one_entry_that_is_wrong_missing_or_poisoned_is_found() -> Outcome {
    let va = format!("{:#x}", GTT_VA + 20 * PAGE);
    for (value, class, expected) in [
        (0, "missing", [ENTRIES - 1, 1, 0, 0, 0, 0]),
        (0x1_2345_6073, "different", [ENTRIES - 1, 0, 1, 0, 0, 0]),
        (0xfbfb_fbfb_fbfb_fbfb, "poisoned", [ENTRIES - 1, 0, 0, 1, 0, 0]),
    ] {
        let mut story = Story::new()?;
        story.lose_tables(LossMode::Poison)?;
        story.copy_back(0)?;
        let (table, index) = entry_of(&story, 20)?;
        story.run(&packet::write(
            table.mc().plus(8 * index),
            &[lo(value), hi(value)],
        ))?;
        let report = story.compare();
        let user = Story::user(&report)?;
        assert_eq!(counts(user), expected, "{class}");
        let [example] = user.examples.as_slice() else {
            panic!("{class}: {:?}", user.examples)
        };
        assert_eq!((example.class, &example.va, example.entries), (class, &va, 1));
        assert_eq!(example.after.is_none(), class == "missing");
    }
    Ok(())
}

#[test]
fn what_reads_like_poison_where_nothing_was_poisoned_is_a_mapping() -> Outcome {
    let mut story = Story::new()?;
    story.driver.guest.gpu().take_snapshot();
    let (table, index) = entry_of(&story, 20)?;
    let value = 0xfbfb_fbfb_fbfb_fbfb;
    story.run(&packet::write(
        table.mc().plus(8 * index),
        &[lo(value), hi(value)],
    ))?;
    assert_eq!(
        counts(Story::user(&story.compare())?),
        [ENTRIES - 1, 0, 1, 0, 0, 0]
    );
    Ok(())
}

#[test]
fn what_is_mapped_since_is_added_and_no_recovery() -> Outcome {
    let mut story = Story::new()?;
    story.lose_tables(LossMode::Poison)?;
    story.copy_back(0)?;
    let more = story.driver.allocate(Domain::Gtt, 3 * PAGE, PAGE)?;
    story.driver.map(&mut story.vm, VA + 8 * PAGE, &more)?;
    let report = story.compare();
    assert_eq!(counts(Story::user(&report)?), [ENTRIES, 0, 0, 0, 0, 3]);
    assert_eq!(report.recovery.by, By::ShadowCopies);
    assert_eq!(report.recovery.rewritten.packets, 0);
    Ok(())
}

#[test]
fn a_second_loss_before_the_recovery_keeps_the_reference() -> Outcome {
    let mut story = Story::new()?;
    reset(&mut story.driver)?;
    let half = story.shadows.len() / 2;
    story.copy_back(half)?;
    let first = Story::user(&story.compare())?.before.generation;
    reset(&mut story.driver)?;
    let report = story.compare();
    assert_eq!(Story::user(&report)?.before.generation, first);
    assert_eq!(Story::user(&report)?.before.entries, ENTRIES);
    story.copy_back(0)?;
    assert_eq!(counts(Story::user(&story.compare())?), [ENTRIES, 0, 0, 0, 0, 0]);
    story.work()?;
    // Now it is good again, and a third loss takes a new one.
    reset(&mut story.driver)?;
    assert!(Story::user(&story.compare())?.before.generation > first);
    Ok(())
}

#[test]
fn a_space_is_found_again_under_another_vmid() -> Outcome {
    let mut story = Story::new()?;
    reset(&mut story.driver)?;
    story.copy_back(0)?;
    story.vm.assign(5);
    story.work()?;
    let report = story.compare();
    let user = Story::user(&report)?;
    assert_eq!(
        (user.vmid_before, user.vmid_now, user.in_use),
        (Some(3), Some(5), true)
    );
    assert_eq!(counts(user), [ENTRIES, 0, 0, 0, 0, 0]);
    Ok(())
}

#[test]
fn a_hundred_losses_take_no_more_memory_than_one() -> Outcome {
    let mut story = Story::new()?;
    let sizes = |story: &mut Story| {
        let report = story.driver.guest.gpu().take_snapshot();
        (report.spaces, report.runs, report.tables, report.entries)
    };
    let first = sizes(&mut story);
    for _ in 0..100 {
        story.driver.guest.gpu().lose(Loss {
            mode: LossMode::Poison,
            offset: match story.vm.root().at(0)? {
                gart::Location::Vram(at) => at.get(),
                gart::Location::System(_) => 0,
            },
            length: PAGE,
        });
        story.driver.guest.run_until_idle()?;
        story.copy_back(0)?;
        story.work()?;
    }
    assert_eq!(counts(Story::user(&story.compare())?), [ENTRIES, 0, 0, 0, 0, 0]);
    assert_eq!(sizes(&mut story), first);
    Ok(())
}

#[test]
fn a_reset_that_keeps_vram_is_no_recovery() -> Outcome {
    let mut story = Story::new()?;
    story.driver.mode2_reset()?;
    story.driver.late_init()?;
    let more = story.driver.allocate(Domain::Gtt, PAGE, PAGE)?;
    story.driver.map(&mut story.vm, VA + 8 * PAGE, &more)?;
    let report = story.compare();
    assert_eq!(counts(Story::user(&report)?), [ENTRIES, 0, 0, 0, 0, 1]);
    assert_eq!((report.recovery.by, report.recovery.lost), (By::None, false));
    // 6.1 restores its shadows after every reset.
    story.copy_back(0)?;
    assert_eq!(story.compare().recovery.by, By::ShadowCopies);
    Ok(())
}

#[test]
fn the_gart_comes_back_by_the_cpu_and_its_windows_do_not() -> Outcome {
    let mut story = Story::new()?;
    reset(&mut story.driver)?;
    let report = story.compare();
    let gart = report
        .spaces
        .iter()
        .find(|space| space.kind == "gart")
        .expect("the GART");
    let counts = counts(gart);
    assert!(counts[0] > 100, "{counts:?}");
    assert_eq!(counts[1..4], [0, 0, 0], "{:?}", gart.examples);
    let windows = gart.windows.expect("windows");
    // `fill_transfer_window` has written them again.
    assert_eq!((windows.same, windows.poisoned), (16, 0));
    Ok(())
}

/// What the present user had mapped is lost and written again, and that is seen.
fn comes_back(story: &mut Story) -> Outcome {
    reset(&mut story.driver)?;
    let written = story.rewrite()?;
    story.work()?;
    let report = story.compare();
    let user = story.present(&report)?;
    let tables = story.shadows.len() as u64;
    let poison = 512 * tables - written;
    assert_eq!(counts(user), [ENTRIES, 0, 0, 0, poison, 0], "{report:#?}");
    assert!(user.in_use && user.used_before);
    assert_eq!((user.tables.rewritten, user.tables.lost), (tables, 0));
    let recovery = report.recovery;
    assert_eq!(recovery.by, By::Rewritten);
    assert_eq!(
        (recovery.rewritten.packets, recovery.rewritten.tables),
        (written, tables)
    );
    Ok(())
}

/// 7.x takes the VMID that was used last (`amdgpu_vmid_grab_idle`), and all take the memory that was freed last: to the registers, the
/// second process is the first.
#[test]
fn a_space_that_has_the_root_and_the_vmid_of_an_ended_one_is_another() -> Outcome {
    let mut story = Story::new()?;
    let root = story.vm.root().clone();
    story.succeed(3, root)?;
    assert_eq!(story.vm.job().vmid, 3);
    comes_back(&mut story)
}

/// Directories of an ended process still name memory that has become another's root, or another's table.
#[test]
fn an_ended_space_takes_nothing_from_one_that_lives() -> Outcome {
    for root in 1..4 {
        let mut story = Story::new()?;
        let [(old, _), ..] = story.shadows.as_slice() else {
            panic!("there are tables")
        };
        let old = old.clone();
        let (memory, _) = story.shadows[root].clone();
        story.succeed(4, memory)?;
        comes_back(&mut story)?;
        // Nor does a look that somebody asks for.
        story.driver.guest.gpu().take_snapshot();
        comes_back(&mut story)?;
        let report = story.compare();
        let old = old.at(0)?.to_string();
        assert!(
            report
                .spaces
                .iter()
                .any(|space| space.root == old && !space.in_use)
        );
    }
    Ok(())
}

/// A table that is made where a lost one was is lost with the next loss like any other.
#[test]
fn a_table_in_the_place_of_a_lost_one_is_a_table() -> Outcome {
    let mut story = Story::new()?;
    reset(&mut story.driver)?;
    let (memory, _) = story.shadows[1].clone();
    story.succeed(4, memory)?;
    assert_eq!(story.compare().recovery.by, By::None);
    comes_back(&mut story)?;
    // Made in the place of one that came back, it is no recovery either.
    let packets = story.compare().recovery.rewritten.packets;
    let (memory, _) = story.shadows[1].clone();
    story.succeed(5, memory)?;
    assert_eq!(story.compare().recovery.rewritten.packets, packets);
    comes_back(&mut story)
}

#[test]
fn after_a_snapshot_what_came_back_before_it_does_not_count() -> Outcome {
    let mut story = Story::new()?;
    reset(&mut story.driver)?;
    story.copy_back(1)?;
    story.driver.guest.gpu().take_snapshot();
    let report = story.compare();
    let tables = story.shadows.len() as u64;
    let user = story.present(&report)?.tables;
    assert_eq!((user.kept, user.copied, user.lost), (tables - 1, 0, 1));
    assert_eq!((report.recovery.by, report.recovery.lost), (By::None, true));
    story.copy_back(0)?;
    story.work()?;
    assert_eq!(story.compare().recovery.by, By::ShadowCopies);
    story.driver.guest.gpu().take_snapshot();
    let report = story.compare();
    assert_eq!(counts(story.present(&report)?), [ENTRIES, 0, 0, 0, 0, 0]);
    assert_eq!((report.recovery.by, report.recovery.lost), (By::None, false));
    comes_back(&mut story)
}

/// The time of the packet that made all spaces in use whole, and that of the last packet that counted.
fn whole(report: &OracleReport) -> (Option<u64>, Option<u64>) {
    (report.recovery.whole_us, report.recovery.last_us)
}

#[test]
fn the_packet_that_brought_the_last_entry_back_is_dated() -> Outcome {
    let mut story = Story::new()?;
    assert_eq!(whole(&story.compare()), (None, None));
    reset(&mut story.driver)?;
    story.copy_back(1)?;
    // Without its root it reaches nothing; but it is in use.
    story.work()?;
    let report = story.compare();
    assert!(Story::user(&report)?.in_use);
    assert_eq!(report.recovery.whole_us, None, "it is not whole");
    story.copy_back(0)?;
    let report = story.compare();
    // The root is copied first; what came again afterwards had come before.
    let (at, last) = whole(&report);
    assert!(
        report.recovery.first_us < at && at < last,
        "{:?}",
        report.recovery
    );
    assert_eq!(Story::user(&report)?.whole_us, at);
    assert!(Story::user(&report)?.lost);
    // What is mapped since, and written again as it was, is nothing that was lost.
    let more = story.driver.allocate(Domain::Gtt, 3 * PAGE, PAGE)?;
    story.driver.map(&mut story.vm, VA + 8 * PAGE, &more)?;
    let target = story.target.clone();
    story.driver.map(&mut story.vm, GTT_VA, &target)?;
    assert_eq!(story.compare().recovery.whole_us, at);
    Ok(())
}

#[test]
fn entries_that_are_written_again_are_dated_one_by_one() -> Outcome {
    let mut story = Story::new()?;
    reset(&mut story.driver)?;
    story.rewrite()?;
    let report = story.compare();
    let (at, last) = (Story::user(&report)?.whole_us, report.recovery.last_us);
    assert!(at.is_some() && at == last, "{:?}", report.recovery);
    assert_eq!(report.recovery.whole_us, None, "nothing works in it yet");
    story.work()?;
    assert_eq!(story.compare().recovery.whole_us, at);
    // Into a table that came back, so it counts as rewritten; but it was not lost.
    let more = story.driver.allocate(Domain::Gtt, 3 * PAGE, PAGE)?;
    story.driver.map(&mut story.vm, VA + 8 * PAGE, &more)?;
    let (still, later) = whole(&story.compare());
    assert!(still == at && later > at, "{still:?} {later:?}");
    // One is taken away, and comes back at last.
    story.driver.unmap(&mut story.vm, GTT_VA, 1)?;
    let report = story.compare();
    assert_eq!(report.recovery.whole_us, None);
    assert_eq!(Story::user(&report)?.whole_us, None);
    let target = story.target.clone();
    story.driver.map(&mut story.vm, GTT_VA, &target)?;
    assert!(story.compare().recovery.whole_us > at);
    Ok(())
}

#[test]
fn what_nobody_lost_and_what_the_cpu_wrote_has_no_date() -> Outcome {
    let mut story = Story::new()?;
    story.driver.guest.gpu().take_snapshot();
    assert_eq!(story.compare().recovery.whole_us, None);
    reset(&mut story.driver)?;
    for (table, shadow) in story.shadows.clone() {
        let contents = story.driver.guest.read_bytes(&shadow, 0, 4096)?;
        story.driver.guest.write_bytes(&table, 0, &contents)?;
    }
    story.work()?;
    let report = story.compare();
    assert_eq!(counts(Story::user(&report)?), [ENTRIES, 0, 0, 0, 0, 0]);
    assert_eq!(report.recovery.whole_us, None);
    Ok(())
}

/// A driver that does not know of a loss uses a ring before it resets.
#[test]
fn work_through_a_lost_gart_does_not_make_it_the_reference() -> Outcome {
    for mode in [LossMode::Poison, LossMode::Zero] {
        let mut story = Story::new()?;
        story.driver.guest.gpu().lose(Loss::whole(mode));
        story.driver.guest.run_until_idle()?;
        let faults = story.driver.guest.gpu().stats().faults;
        story
            .run(&packet::copy(
                story.shadows[0].1.mc(),
                story.shadows[0].0.mc(),
                4096,
            ))
            .expect_err("the ring is out of reach");
        assert!(story.driver.guest.gpu().stats().faults > faults);
        reset(&mut story.driver)?;
        let report = story.compare();
        let mut spaces = report.spaces.iter();
        let gart = spaces.find(|space| space.kind == "gart").expect("the GART");
        assert!(gart.before.entries > 100, "{mode:?}: {:?}", gart.before);
        let counts = counts(gart);
        assert!(counts[0] > 100, "{mode:?}: {counts:?}");
        assert_eq!(counts[1..4], [0, 0, 0], "{mode:?}: {:?}", gart.examples);
    }
    Ok(())
}

#[test]
fn an_address_that_meets_the_poison_is_told() -> Outcome {
    let mut story = Story::new()?;
    let vmid = gart::Vmid::from_field(3);
    let va = GpuVa::new(GTT_VA);
    assert!(!story.driver.guest.gpu().meets_poison(gart::HubId::Gfx, vmid, va));
    assert!(
        !story
            .driver
            .guest
            .gpu()
            .meets_poison(gart::HubId::Gfx, vmid, GpuVa::new(0))
    );
    story.lose_tables(LossMode::Poison)?;
    assert!(story.driver.guest.gpu().meets_poison(gart::HubId::Gfx, vmid, va));
    story.copy_back(0)?;
    assert!(!story.driver.guest.gpu().meets_poison(gart::HubId::Gfx, vmid, va));
    Ok(())
}

/// MODE1, and all that the driver does after it but for user's page tables.
fn reset(driver: &mut Driver) -> Outcome {
    driver.mode1_reset(ResetMethod::Mode1Smu)?;
    driver.common_hw_init();
    driver.gmc_hw_init()?;
    driver.ih_hw_init()?;
    driver.psp_hw_init()?;
    driver.smu_hw_init()?;
    driver.gfx_hw_init()?;
    driver.sdma_hw_init()?;
    driver.late_init()
}
