//! Decoding.

use proptest::prelude::*;

use super::packets::*;
use crate::{Incomplete, MAX_DWORDS, Packet, PacketKind, Retries, decode};

fn samples() -> Vec<(Vec<u32>, PacketKind)> {
    vec![
        (nop(0), PacketKind::Nop),
        (copy(1, 2, 3), PacketKind::CopyLinear),
        (write(4, &[5]), PacketKind::WriteLinear),
        (indirect(3, 0x40, 8), PacketKind::Indirect),
        (fence(8, 1), PacketKind::Fence),
        (trap(1), PacketKind::Trap),
        (poll_memory(4, 3, 1, 1, 0xfff), PacketKind::PollRegMem),
        (vm_invalidation(6, 1, 1), PacketKind::VmInvalidation),
        (cond_exe(4, 1), PacketKind::CondExe),
        (atomic(0x4f, 8, 1, 0, false), PacketKind::Atomic),
        (fill(8, 1, 4, 2), PacketKind::ConstFill),
        (pte_pde(8, 1, 2, 3, 4), PacketKind::PtePde),
        (timestamp(2, 8), PacketKind::Timestamp),
        (srbm_write(0x10, 1, 0xf), PacketKind::SrbmWrite),
        (gcr_req(), PacketKind::GcrReq),
    ]
}

#[test]
fn every_packet_is_as_long_as_the_driver_makes_it() {
    for (dwords, kind) in samples() {
        let packet = decode(&dwords).unwrap();
        assert_eq!(packet.kind(), kind);
        let length = (packet.dwords() + packet.payload_dwords()) as usize;
        assert_eq!(length, dwords.len(), "{}", kind.name());
    }
}

#[test]
fn every_packet_says_how_many_dwords_it_lacks() {
    for (dwords, kind) in samples() {
        let needed = decode(&dwords).unwrap().dwords();
        for have in 1..needed {
            let error = decode(&dwords[..have as usize]).unwrap_err();
            assert_eq!(error, Incomplete { needed }, "{} with {have}", kind.name());
        }
    }
    assert_eq!(decode(&[]), Err(Incomplete { needed: 1 }));
}

#[test]
fn counts_have_their_full_width() {
    let Ok(Packet::CopyLinear(copy)) = decode(&[1, 0x3fff_ffff, 0, 0, 0, 0, 0]) else {
        panic!()
    };
    assert_eq!(copy.bytes, 1 << 30);
    let Ok(Packet::ConstFill(fill)) = decode(&[11, 0, 0, 0, u32::MAX]) else {
        panic!()
    };
    assert_eq!(fill.bytes, 1 << 30);
    let Ok(Packet::WriteLinear(write)) = decode(&[2, 0, 0, u32::MAX]) else {
        panic!()
    };
    assert_eq!(write.dwords, 1 << 20);
    let Ok(Packet::PtePde(ptes)) = decode(&[12, 0, 0, 0, 0, 0, 0, 0, 0, u32::MAX]) else {
        panic!()
    };
    assert_eq!(ptes.entries, 1 << 19);
}

#[test]
fn retry_count_fff_is_forever() {
    for (count, expected) in [
        (0, Retries::Times(0)),
        (0xffe, Retries::Times(0xffe)),
        (0xfff, Retries::Forever),
    ] {
        let Ok(Packet::PollRegMem(poll)) = decode(&poll_memory(0, 3, 0, 0, count)) else {
            panic!()
        };
        assert_eq!(poll.retries, expected);
    }
}

#[test]
fn forms_that_are_not_modelled_are_unknown() {
    let headers = [
        1 | 1 << 8,   // tiled copy
        1 | 4 << 8,   // linear sub-window copy
        1 | 1 << 27,  // broadcast
        2 | 1 << 8,   // tiled write
        7,            // SEM
        8 | 1 << 8,   // POLL_REG_WRITE_MEM
        10 | 1 << 25, // a float atomic
        11 | 1 << 8,  // DATA_FILL_MULTI
        12 | 1 << 8,  // PTEPDE_COPY
        13 | 3 << 8,
        15, // PRE_EXE
        16, // GPUVM_INV
        32, // DUMMY_TRAP
        0xff,
    ];
    for header in headers {
        let mut dwords = [0; MAX_DWORDS];
        dwords[0] = header;
        assert_eq!(decode(&dwords), Ok(Packet::Unknown { header }), "{header:#x}");
    }
}

proptest! {
    #[test]
    fn any_dwords_decode_to_something_within_bounds(dwords in prop::collection::vec(any::<u32>(), 0..12)) {
        match decode(&dwords) {
            Ok(packet) => prop_assert!(packet.dwords() as usize <= dwords.len().min(MAX_DWORDS)),
            Err(Incomplete { needed }) => {
                prop_assert!(needed as usize > dwords.len());
                prop_assert!(needed as usize <= MAX_DWORDS);
            }
        }
    }
}
