//! What is different on a Navi12, as its driver sees it. Offsets are those of `gc_10_1_0_offset.h` and `mp_11_0_offset.h` (Linux 6.1), in
//! bytes, and message numbers those of `smu_v11_0_ppsmc.h`; written down again here, as in `driver::regs`.

use gpu::asic::NAVI12;
use gpu::images;
use gpu::{Fault, GpuConfig, LossMode};
use mmio::RegOffset;
use tests::driver::regs::{mp, nbio};
use tests::driver::{Kernel, discovery, vbios};
use tests::guest::{Failure, FakeGuest, expect};

const fn at(byte: u32) -> RegOffset {
    RegOffset::from_byte(byte)
}

const SCRATCH_REG0: RegOffset = at(0x30100);
const SCRATCH_REG1: RegOffset = at(0x30104);
const SCRATCH_REG2: RegOffset = at(0x30108);
const RLC_CSIB_ADDR_LO: RegOffset = at(0x3b288);
const RLC_SPARE_INT: RegOffset = at(0x3b330);
const CP_ME_CNTL: RegOffset = at(0x86d8);
/// What a GC 10.3 part has in place of RLC_SPARE_INT.
const RLC_SPARE_INT_0: RegOffset = at(0x3b294);
/// AMDGPU_RLCG_GC_WRITE_LEGACY and the bits of an address, which are gone when the access has been made.
const WRITE_LEGACY: u32 = 0x8 << 28;
const ADDRESS: u32 = 0xf_ffff;

fn bare_metal() -> Result<FakeGuest, Failure> {
    FakeGuest::with(GpuConfig::bare_metal(&NAVI12, 2))
}

/// `psp_v11_0_bootloader_load_sos`, as far as the secure OS shows a sign of life.
fn load_sos(guest: &mut FakeGuest) -> Result<(), Failure> {
    guest.write(mp::MP0_C2PMSG_35, 0x2_0000);
    expect("no sign of life yet", guest.read(mp::MP0_C2PMSG_81), 0_u32)?;
    assert_ne!(guest.read(mp::MP0_C2PMSG_81), 0);
    Ok(())
}

fn smu_send(guest: &mut FakeGuest, message: u32) -> u32 {
    guest.write(mp::MP1_C2PMSG_90, 0);
    guest.write(mp::MP1_C2PMSG_82, 0);
    guest.write(mp::MP1_C2PMSG_66, message);
    guest.read(mp::MP1_C2PMSG_90)
}

fn settle(guest: &mut FakeGuest) -> Result<(), Failure> {
    for _ in 0..100 {
        guest.step()?;
    }
    Ok(())
}

/// The versions that select `gfx_v10_0.c`, `sdma_v5_0.c` and the others, on every kernel.
#[test]
fn the_discovery_binary_tells_of_the_part_and_its_engines() -> Result<(), Failure> {
    for kernel in Kernel::ALL {
        let found = discovery::read(&mut bare_metal()?, kernel)?;
        let version = |hw_id| found.ip(hw_id).map(|ip| ip.version);
        assert_eq!(version(11), Some((10, 1, 2)));
        assert_eq!((version(42), version(43)), (Some((5, 0, 5)), Some((5, 0, 5))));
        assert_eq!(found.sdma_instances(), 2);
        assert_eq!((version(255), version(1)), (Some((11, 0, 9)), Some((11, 0, 9))));
        // The version of video for which there is no block; nobody looks at what is fused off.
        assert_eq!(version(12), Some((2, 0, 3)));
        assert_eq!(found.harvested, []);
        assert!(!found.gc.contains(&0));
    }
    Ok(())
}

#[test]
fn the_vbios_can_be_parsed_and_leads_to_the_firmwares_power_play_table() -> Result<(), Failure> {
    for personality in NAVI12.personalities() {
        let found = vbios::parse(&images::vbios::build(&NAVI12, personality))?;
        assert_ne!(found.pptable_id, 0);
    }
    Ok(())
}

/// `gfx_v10_0_check_grbm_cam_remapping`.
#[test]
fn the_cam_leads_to_where_this_generation_has_the_register() -> Result<(), Failure> {
    let mut guest = bare_metal()?;
    guest.write(at(0x30900), 0xdead_beef);
    assert_eq!(guest.read(at(0x88c8)), 0xdead_beef);
    assert_eq!(guest.read(at(0x8884)), 0, "GC 10.3's place is nobody's");
    Ok(())
}

#[test]
fn mode1_comes_from_the_psp_and_never_from_the_smu() -> Result<(), Failure> {
    let mut guest = bare_metal()?;
    load_sos(&mut guest)?;
    // Mode1Reset and DriverMode2Reset of MP1 11.0.7: the one is something else here, the other beyond the interface.
    expect("an ordinary message", smu_send(&mut guest, 0x30), 1_u32)?;
    expect("an unknown message", smu_send(&mut guest, 0x5d), 0xfe_u32)?;
    settle(&mut guest)?;
    let resets = guest.gpu().stats().resets;
    assert_eq!((resets.mode1, resets.mode2), (0, 0));

    guest.write(mp::MP0_C2PMSG_64, 0x7_0000);
    settle(&mut guest)?;
    let stats = guest.gpu().stats();
    assert_eq!((stats.resets.mode1, stats.resets.mode1_psp), (1, 1));
    assert_eq!(stats.psp_commands.get("MODE1_RESET"), Some(&1));
    assert_eq!(guest.read(mp::MP0_C2PMSG_81), 0, "the secure OS is gone");
    assert_ne!(guest.read(nbio::RCC_CONFIG_MEMSIZE), u32::MAX);
    Ok(())
}

/// A reset that the device only pretends is counted where it was asked for.
#[test]
fn a_mode1_that_does_not_take_place_was_asked_for_all_the_same() -> Result<(), Failure> {
    let mut guest = bare_metal()?;
    load_sos(&mut guest)?;
    let lies = Fault::ResetFail {
        how: gpu::ResetFailure::Lies,
    };
    let order = gpu::Order {
        fault: lies,
        after: 0,
        count: Some(1),
    };
    guest
        .gpu()
        .inject(order)
        .map_err(|_| Failure::Invalid("the fault cannot be armed"))?;
    guest.write(mp::MP0_C2PMSG_64, 0x7_0000);
    settle(&mut guest)?;
    let stats = guest.gpu().stats();
    assert_eq!(stats.resets.mode1, 0);
    assert_eq!(stats.psp_commands.get("MODE1_RESET"), Some(&1));
    Ok(())
}

#[test]
fn baco_has_this_firmwares_numbers() -> Result<(), Failure> {
    const ENTER_BACO: u32 = 0x18;
    const EXIT_BACO: u32 = 0x19;
    let mut guest = bare_metal()?;
    smu_send(&mut guest, ENTER_BACO);
    settle(&mut guest)?;
    assert_eq!(guest.read(CP_ME_CNTL), u32::MAX, "graphics is without power");
    smu_send(&mut guest, EXIT_BACO);
    settle(&mut guest)?;
    guest.poll("result of ExitBaco", mp::MP1_C2PMSG_90, u32::MAX, 1)?;
    assert_ne!(guest.read(CP_ME_CNTL), u32::MAX);
    assert_eq!(guest.gpu().stats().resets.baco, 1);
    Ok(())
}

/// `amdgpu_virt_rlcg_reg_rw`: what `gfx_v10_0_init_csb` and `gfx_v10_0_cp_gfx_enable` do on a virtual function of this part.
#[test]
fn the_rlc_writes_for_a_virtual_function_when_its_spare_interrupt_is_rung() -> Result<(), Failure> {
    let mut guest = FakeGuest::with(GpuConfig::virtual_function(&NAVI12, 2))?;
    for (index, (target, value)) in [(RLC_CSIB_ADDR_LO, 0x1234_5600), (CP_ME_CNTL, 0)]
        .into_iter()
        .enumerate()
    {
        guest.write(SCRATCH_REG0, value);
        guest.write(SCRATCH_REG1, target.dword() | WRITE_LEGACY);
        guest.write(RLC_SPARE_INT_0, 1);
        assert_eq!(
            guest.read(SCRATCH_REG1) & ADDRESS,
            target.dword(),
            "GC 10.3's trigger is none"
        );
        guest.write(RLC_SPARE_INT, 1);
        assert_eq!(guest.read(SCRATCH_REG1) & ADDRESS, 0, "the driver polls for that");
        assert_eq!(guest.read(target), value);
        let sriov = guest.gpu().stats().sriov;
        assert_eq!(sriov.map(|sriov| sriov.rlcg), Some(index as u64 + 1));
    }
    // The older form of a write selects nothing: the driver has done that itself.
    assert_eq!(guest.read(SCRATCH_REG2), 0);
    Ok(())
}

#[test]
fn a_mode1_loses_vram() -> Result<(), Failure> {
    let mut guest = bare_metal()?;
    load_sos(&mut guest)?;
    guest.write(mp::MP0_C2PMSG_64, 0x7_0000);
    settle(&mut guest)?;
    let losses = guest.gpu().state().last_loss;
    assert!(losses.is_some_and(|loss| loss.mode == LossMode::Poison));
    Ok(())
}
