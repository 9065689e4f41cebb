//! The PCI function as a front end drives it.

use super::*;
use gpu::asic::NAVI21;
use gpu::{Loss, LossMode, POISON};

const VRAM: u64 = 256 << 20;
const MM_INDEX: u64 = 0x0;
const RCC_CONFIG_MEMSIZE: u64 = 0x378c;
const C2PMSG_35: u64 = 0x5818c;
const C2PMSG_36: u64 = 0x58190;
const C2PMSG_82: u64 = 0x58a48;
const COMMAND: u64 = 0x4;
const COMMAND_MASTER: u16 = 0x4;
/// Device Control of the PCIe capability; bit 15 is Initiate Function Level Reset.
const DEVICE_CONTROL: u64 = 0x64 + 8;

fn function() -> GpuFunction {
    GpuFunction::new(&NAVI21, VRAM, 2).unwrap()
}

fn register(function: &mut GpuFunction, offset: u64) -> u32 {
    let mut data = [0; 4];
    function
        .read(Region::Bar(REGISTER_BAR), offset, &mut data)
        .unwrap();
    u32::from_le_bytes(data)
}

fn set_register(function: &mut GpuFunction, offset: u64, value: u32) {
    function
        .write(Region::Bar(REGISTER_BAR), offset, &value.to_le_bytes())
        .unwrap();
}

fn vram(function: &mut GpuFunction, offset: u64) -> u32 {
    let mut data = [0; 4];
    function.read(Region::Bar(VRAM_BAR), offset, &mut data).unwrap();
    u32::from_le_bytes(data)
}

#[test]
fn a_register_is_one_dword_and_two_of_them_are_one_qword() {
    let mut function = function();
    assert_eq!(register(&mut function, RCC_CONFIG_MEMSIZE), 256);
    function
        .write(
            Region::Bar(REGISTER_BAR),
            C2PMSG_36 - 4,
            &[0, 0, 0, 0, 7, 0, 0, 0],
        )
        .unwrap();
    let mut both = [0; 8];
    function
        .read(Region::Bar(REGISTER_BAR), C2PMSG_36 - 4, &mut both)
        .unwrap();
    assert_eq!(
        both,
        [0, 0, 0, 0x80, 7, 0, 0, 0],
        "C2PMSG_35 says ready, C2PMSG_36 keeps its value"
    );
    assert_eq!(C2PMSG_36 - 4, C2PMSG_35);
}

#[test]
fn accesses_that_do_not_suit_a_bar_are_refused_and_counted() {
    let mut function = function();
    for (bar, offset, len) in [
        (REGISTER_BAR, 0, 2),
        (REGISTER_BAR, 2, 4),
        (REGISTER_BAR, 0, 16),
        (REGISTER_BAR, REGISTER_BYTES, 4),
        (REGISTER_BAR, REGISTER_BYTES - 4, 8),
        (REGISTER_BAR, u64::MAX - 3, 8),
        (DOORBELL_BAR, 0, 2),
        (DOORBELL_BAR, 2, 4),
        (DOORBELL_BAR, DOORBELL_BYTES - 4, 8),
        (DOORBELL_BAR, u64::MAX - 3, 4),
        (VRAM_BAR, VRAM - 2, 4),
    ] {
        let refused = function.refused();
        let error = function
            .write(Region::Bar(bar), offset, &vec![0; len])
            .unwrap_err();
        assert_ne!(error.errno(), 0, "BAR {bar} {offset:#x} {len}");
        assert_eq!(function.refused(), refused + 1, "BAR {bar} {offset:#x} {len}");
    }
}

#[test]
fn the_rom_is_the_vbios_and_cannot_be_written() {
    let mut function = function();
    function.write(Region::Rom, 0, &[0, 0]).unwrap();
    let mut data = vec![0; 128 << 10];
    function.read(Region::Rom, 0, &mut data).unwrap();
    assert_eq!(data.get(..2), Some(&[0x55, 0xaa][..]));
    assert_eq!(data.last(), Some(&0), "beyond the image there is nothing");
}

#[test]
fn accesses_are_counted_by_region_and_by_block_answered_or_not() {
    const COUNT: fn(u64, u64) -> AccessCount = |reads, writes| AccessCount { reads, writes };
    const MM_DATA: u64 = 0x4;
    const PCIE_INDEX2: u64 = 0x38;
    const UNOWNED: u64 = 0xf_0000;
    let mut function = function();
    assert_eq!(
        function.accesses(),
        Accesses::default(),
        "the device's own start does not count"
    );
    // The window, here on a register of another block: it is the window that was accessed.
    set_register(&mut function, MM_INDEX, u32::try_from(C2PMSG_36).unwrap());
    register(&mut function, MM_DATA);
    set_register(&mut function, PCIE_INDEX2, 0);
    register(&mut function, RCC_CONFIG_MEMSIZE);
    // Two registers by one access.
    let mut both = [0; 8];
    function
        .read(Region::Bar(REGISTER_BAR), C2PMSG_35, &mut both)
        .unwrap();
    set_register(&mut function, UNOWNED, 1);
    function.read(Region::Config, 0, &mut [0; 2]).unwrap();
    function.write(Region::Bar(DOORBELL_BAR), 0, &[0; 8]).unwrap();
    vram(&mut function, 0);
    let expected = Accesses {
        config: COUNT(1, 0),
        rom: COUNT(0, 0),
        vram: COUNT(1, 0),
        doorbells: COUNT(0, 1),
        registers: COUNT(3, 3),
        blocks: protocol::stats::RegisterAccesses {
            mm_window: COUNT(1, 1),
            smn_window: COUNT(0, 1),
            nbio: COUNT(1, 0),
            psp: COUNT(2, 0),
            unmodelled: COUNT(0, 1),
            ..protocol::stats::RegisterAccesses::default()
        },
    };
    assert_eq!(function.accesses(), expected);
    // In D3hot the function does not answer; the access is seen all the same.
    const PM_CONTROL: u64 = 0x54;
    function.write(Region::Config, PM_CONTROL, &[3, 0]).unwrap();
    assert_eq!(register(&mut function, RCC_CONFIG_MEMSIZE), u32::MAX);
    assert_eq!(function.accesses().registers, COUNT(4, 3));
    assert_eq!(function.accesses().blocks, expected.blocks, "it reached no block");
}

#[test]
fn bus_mastering_opens_and_closes_guest_memory() {
    let mut function = function();
    assert!(!function.gpu().memory().guest.bus_master());
    function
        .write(Region::Config, COMMAND, &COMMAND_MASTER.to_le_bytes())
        .unwrap();
    assert!(function.gpu().memory().guest.bus_master());
    function.write(Region::Config, COMMAND, &[0, 0]).unwrap();
    assert!(!function.gpu().memory().guest.bus_master());
}

#[test]
fn a_function_level_reset_clears_registers_and_keeps_vram() {
    let mut function = function();
    set_register(&mut function, MM_INDEX, 0x1234);
    function
        .write(Region::Bar(VRAM_BAR), 0x1000, &[1, 2, 3, 4])
        .unwrap();
    function
        .write(Region::Config, COMMAND, &COMMAND_MASTER.to_le_bytes())
        .unwrap();
    function
        .write(Region::Config, DEVICE_CONTROL, &0x8000_u16.to_le_bytes())
        .unwrap();
    assert_eq!(register(&mut function, MM_INDEX), 0);
    assert_eq!(vram(&mut function, 0x1000), 0x0403_0201);
    assert!(!function.gpu().memory().guest.bus_master());
}

#[test]
fn nothing_of_a_guest_is_left_when_its_front_end_goes() {
    let mut function = function();
    set_register(&mut function, C2PMSG_82, 7);
    function
        .write(Region::Bar(VRAM_BAR), 0x1000, &[1, 2, 3, 4])
        .unwrap();
    function
        .write(Region::Config, COMMAND, &COMMAND_MASTER.to_le_bytes())
        .unwrap();
    function.disconnected();
    assert_eq!(register(&mut function, C2PMSG_82), 0);
    assert_eq!(vram(&mut function, 0x1000), 0);
    assert!(!function.gpu().memory().guest.bus_master() && function.gpu().memory().guest.is_empty());
    let discovery = VRAM - gpu::images::discovery::OFFSET_FROM_TOP;
    assert_eq!(
        vram(&mut function, discovery),
        0x2821_1407,
        "the discovery binary is back"
    );
}

/// Message 0x30 to the SMU: Mode1Reset.
#[test]
fn a_mode1_reset_loses_vram_slice_by_slice_and_says_so_until_it_is_done() {
    const C2PMSG_66: u64 = 0x58a08;
    let mut function = function();
    // Two populated ranges, the first of them larger than one slice.
    let chunk = vec![0xa5; 1 << 20];
    for at in (0..80).chain([200]) {
        function.write(Region::Bar(VRAM_BAR), at << 20, &chunk).unwrap();
    }
    set_register(&mut function, C2PMSG_66, 0x30);
    assert_eq!(
        function.run(),
        Activity::Busy,
        "the reset is carried out outside the access"
    );
    assert_eq!(register(&mut function, RCC_CONFIG_MEMSIZE), u32::MAX);
    let mut turns = 0;
    while function.run() == Activity::Busy {
        turns += 1;
        assert!(turns < 100);
    }
    assert!(turns >= 2, "in {turns} turns");
    assert_eq!(register(&mut function, RCC_CONFIG_MEMSIZE), 256);
    for at in [0, 79 << 20, 200 << 20] {
        assert_eq!(vram(&mut function, at), POISON, "{at:#x}");
    }
    assert_eq!(vram(&mut function, 128 << 20), 0, "never touched");
    assert_eq!(function.gpu().stats().resets.mode1, 1);
    assert!(
        function.gpu().memory().vram.resident().unwrap() < 82 << 20,
        "nor allocated now"
    );
}

#[test]
fn only_msi_vector_0_exists() {
    let mut function = function();
    let vector = || Some(EventFd::new(0).unwrap());
    function.set_irqs(MSI_INDEX, 0, vec![vector()]).unwrap();
    function
        .set_irqs(MSI_INDEX, 0, vec![vector(), vector()])
        .unwrap_err();
    function.set_irqs(MSI_INDEX, 1, vec![vector()]).unwrap_err();
    function.set_irqs(0, 0, vec![vector()]).unwrap_err();
    function.trigger_irqs(MSI_INDEX, 0, 1).unwrap();
    function.trigger_irqs(MSI_INDEX, 0, 2).unwrap_err();
    function.set_irqs(MSI_INDEX, 0, vec![]).unwrap();
    assert_eq!((function.irq_count(MSI_INDEX), function.irq_count(0)), (1, 0));
}

fn run_out(function: &mut GpuFunction) {
    for _ in 0..100 {
        if function.run() != Activity::Busy {
            return;
        }
    }
    panic!("still busy");
}

#[test]
fn contents_can_be_lost_in_part_and_without_a_reset() {
    let mut function = function();
    set_register(&mut function, C2PMSG_82, 7);
    for at in [0_u64, 0x1000, 0x2000] {
        function.write(Region::Bar(VRAM_BAR), at, &[1; 4096]).unwrap();
    }
    function.gpu_mut().lose(Loss {
        mode: LossMode::Poison,
        offset: 0x1000,
        length: 0x1000,
    });
    run_out(&mut function);
    let found = [0xfff_u64 - 3, 0x1000, 0x1ffc, 0x2000].map(|at| vram(&mut function, at));
    assert_eq!(found, [0x0101_0101, POISON, POISON, 0x0101_0101]);
    assert_eq!(register(&mut function, C2PMSG_82), 7, "no reset");
    function.gpu_mut().lose(Loss::whole(LossMode::Zero));
    run_out(&mut function);
    assert_eq!((vram(&mut function, 0), vram(&mut function, 0x1000)), (0, 0));
}

#[test]
fn what_the_next_reset_does_to_vram_can_be_chosen_once() {
    let mut function = function();
    function.write(Region::Bar(VRAM_BAR), 0, &[1; 4096]).unwrap();
    function.gpu_mut().lose_at_next_reset(Loss::whole(LossMode::Keep));
    set_register(&mut function, 0x58a08, 0x30);
    run_out(&mut function);
    assert_eq!(
        (function.gpu().stats().resets.mode1, vram(&mut function, 0)),
        (1, 0x0101_0101)
    );
    function
        .gpu_mut()
        .lose_at_next_reset(Loss::whole(LossMode::Poison));
    function
        .write(Region::Config, DEVICE_CONTROL, &0x8000_u16.to_le_bytes())
        .unwrap();
    run_out(&mut function);
    assert_eq!(
        vram(&mut function, 0),
        POISON,
        "a function level reset keeps by itself"
    );
    function.write(Region::Bar(VRAM_BAR), 0, &[1; 4096]).unwrap();
    function
        .write(Region::Config, DEVICE_CONTROL, &0x8000_u16.to_le_bytes())
        .unwrap();
    run_out(&mut function);
    assert_eq!(vram(&mut function, 0), 0x0101_0101, "and does again");
}

/// The poison as the walker reads it.
#[test]
fn the_poison_reads_as_a_valid_entry_to_nowhere() {
    let word = u64::from(POISON) << 32 | u64::from(POISON);
    let entry = gart::Pte::from_bits(word);
    assert!(entry.valid() && entry.system() && entry.readable() && entry.writeable() && entry.pde_pte());
    assert!(
        entry.address() > 1 << 44,
        "beyond what the driver's DMA mask lets a guest have"
    );
}

#[test]
fn off_the_bus_everything_reads_as_all_ones_and_comes_back_as_it_was() {
    use gpu::{Fault, Order};
    let mut function = function();
    set_register(&mut function, C2PMSG_82, 5);
    let order = Order {
        fault: Fault::OffBus,
        after: 0,
        count: None,
    };
    function.gpu_mut().inject(order).unwrap();
    assert_eq!(register(&mut function, RCC_CONFIG_MEMSIZE), u32::MAX);
    assert_eq!(vram(&mut function, VRAM - 0x1_0000), u32::MAX);
    let mut vendor = [0; 2];
    for region in [Region::Config, Region::Rom] {
        function.read(region, 0, &mut vendor).unwrap();
        assert_eq!(vendor, [0xff; 2]);
    }
    set_register(&mut function, C2PMSG_82, 6);
    function
        .write(Region::Config, COMMAND, &COMMAND_MASTER.to_le_bytes())
        .unwrap();
    function.reset();
    assert_eq!(
        register(&mut function, RCC_CONFIG_MEMSIZE),
        u32::MAX,
        "no reset brings it back"
    );
    function.gpu_mut().clear_faults(None);
    assert_eq!(register(&mut function, RCC_CONFIG_MEMSIZE), 256);
    function.read(Region::Config, COMMAND, &mut vendor).unwrap();
    assert_eq!(vendor, [0; 2], "what was written is lost");
}

#[test]
fn off_the_bus_the_device_keeps_what_it_had() {
    use gpu::{Fault, Order};
    let mut function = function();
    set_register(&mut function, C2PMSG_82, 5);
    let order = Order {
        fault: Fault::OffBus,
        after: 0,
        count: None,
    };
    function.gpu_mut().inject(order).unwrap();
    set_register(&mut function, C2PMSG_82, 6);
    function.gpu_mut().clear_faults(None);
    assert_eq!(register(&mut function, C2PMSG_82), 5);
}

#[test]
fn off_the_bus_contents_are_lost_all_the_same() {
    use gpu::{Fault, Order};
    let mut function = function();
    let order = Order {
        fault: Fault::OffBus,
        after: 0,
        count: None,
    };
    let at = VRAM - 0x1_0000;
    assert_ne!(vram(&mut function, at), POISON, "the discovery binary");
    function.gpu_mut().inject(order).unwrap();
    function.gpu_mut().lose(Loss::whole(LossMode::Poison));
    // Far more turns than so little has slices.
    let turns = (0..1000).take_while(|_| function.run() == Activity::Busy).count();
    assert!(turns < 1000, "it ends");
    function.gpu_mut().clear_faults(None);
    assert_eq!(vram(&mut function, at), POISON);
}
