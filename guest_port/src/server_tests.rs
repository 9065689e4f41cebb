//! The device on its socket, with a front end of the `vhost` crate.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Instant;

use vhost::vhost_user::VhostUserFrontend;
use vhost::vhost_user::message::VhostUserConfigFlags;
use vhost::{VhostBackend, VringConfigData};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use super::*;
use crate::console::serve_console;
use crate::handle::Received;
use crate::stream::Item;
use crate::testing::front_end::{file_memory, region};
use crate::testing::{MEMORY, SIZE, Vm};

const PATIENCE: Duration = Duration::from_secs(10);
const PORTS: usize = 2;

struct Door {
    folder: tempfile::TempDir,
    port: GuestPort,
}

impl Door {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("port.sock")).unwrap();
        let spec = |name: &str, console, keeps_unread| PortSpec {
            name: name.to_owned(),
            console,
            keeps_unread,
        };
        let specs = vec![spec("console", true, false), spec("control", false, true)];
        let port = GuestPort::serve(listener, specs).unwrap();
        Self { folder, port }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("port.sock")
    }
}

fn receive(handle: &PortHandle) -> Vec<u8> {
    let mut buffer = [0; 4096];
    loop {
        match handle.receive(&mut buffer, PATIENCE) {
            Received::Item(Item::Bytes(count)) => return buffer[..count].to_vec(),
            Received::Item(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn bytes_go_both_ways_and_a_driver_is_called() {
    let door = Door::new();
    let control = door.port.port(1).unwrap();
    let mut vm = Vm::connect(&door.path(), PORTS);
    let flags = VhostUserConfigFlags::empty();
    let (_, configuration) = vm.front_end.get_config(0, 12, flags, &[0; 12]).unwrap();
    assert_eq!(configuration, [0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    vm.bring_up();
    vm.write(5, b"state\n");
    assert_eq!(receive(&control), b"state\n");
    vm.back(5);
    vm.drivers[4].post(&vm.memory, 64);
    vm.kick(4);
    assert_eq!(control.send(control.session(), b"ok\n", PATIENCE), Some(3));
    assert_eq!(vm.back(4), b"ok\n");
    let deadline = Instant::now() + PATIENCE;
    while vm.calls[4].read().is_err() {
        assert!(Instant::now() < deadline, "the guest was not called");
    }
}

#[test]
fn a_machine_that_stops_and_goes_on_keeps_its_ports() {
    let door = Door::new();
    let console = door.port.port(0).unwrap();
    let mut vm = Vm::connect(&door.path(), PORTS);
    vm.bring_up();
    vm.write(1, b"before");
    assert_eq!(receive(&console), b"before");
    let bases: Vec<_> = (0..6)
        .map(|index| vm.front_end.get_vring_base(index).unwrap())
        .collect();
    assert_eq!(bases[1], 1);
    for (index, base) in bases.into_iter().enumerate() {
        vm.start(index, u16::try_from(base).unwrap());
    }
    vm.write(1, b"after");
    assert_eq!(receive(&console), b"after");
    assert!(console.session().is_some());
}

#[test]
fn memory_may_change_under_traffic() {
    let door = Door::new();
    let console = door.port.port(0).unwrap();
    let mut vm = Vm::connect(&door.path(), PORTS);
    vm.bring_up();
    let reader = thread::spawn(move || {
        let mut received = 0;
        while received < 200 * 100 {
            received += receive(&console).len();
        }
    });
    let (other, file) = file_memory();
    let both = |vm: &Vm| {
        let own = vm.memory.iter().next().unwrap();
        let own_file = own.file_offset().unwrap().file();
        let mut regions = vec![region(&vm.memory, own_file)];
        let mut second = region(&other, &file);
        second.guest_phys_addr = MEMORY;
        regions.push(second);
        regions
    };
    for number in 0..200 {
        vm.write(1, &[1; 100]);
        if number % 10 == 0 {
            let regions = both(&vm);
            let count = 1 + (number / 10) % 2;
            vm.front_end.set_mem_table(&regions[..count]).unwrap();
        }
        vm.back(1);
    }
    reader.join().unwrap();
}

#[test]
fn a_front_end_that_vanishes_leaves_the_door_to_the_next_and_nothing_is_leaked() {
    let door = Door::new();
    let console = door.port.port(0).unwrap();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut before = 0;
    for round in 0..100 {
        let mut vm = Vm::connect(&door.path(), PORTS);
        vm.bring_up();
        vm.write(1, b"hello");
        assert_eq!(receive(&console), b"hello");
        match round % 3 {
            0 => {}
            // In the middle of a message.
            1 => {
                let raw = vm.front_end.as_raw_fd();
                let fd = rustix::io::dup(unsafe_borrow(raw)).unwrap();
                UnixStream::from(fd).write_all(&[1, 2, 3]).unwrap();
            }
            // With work in the rings.
            _ => vm.write(1, &[9; 100]),
        }
        drop(vm);
        let deadline = Instant::now() + PATIENCE;
        while console.session().is_some() {
            assert!(Instant::now() < deadline, "the front end is still there");
            thread::sleep(Duration::from_millis(1));
        }
        drain(&console);
        if round == 10 {
            thread::sleep(Duration::from_millis(200));
            before = descriptors();
        }
    }
    thread::sleep(Duration::from_millis(200));
    // Other tests of this process have their own.
    let after = descriptors();
    assert!(after <= before + 60, "{before} descriptors became {after}");
}

#[expect(unsafe_code, reason = "the library gives its descriptor as a number only")]
fn unsafe_borrow<'a>(fd: RawFd) -> std::os::fd::BorrowedFd<'a> {
    // SAFETY: the front end is alive while this is used.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) }
}

fn drain(handle: &PortHandle) {
    let mut buffer = [0; 4096];
    while let Received::Item(_) = handle.receive(&mut buffer, Duration::ZERO) {}
}

#[test]
fn a_front_end_that_talks_nonsense_is_sent_away() {
    let door = Door::new();
    for nonsense in [
        vec![0u8; 12],
        vec![0xff; 500],
        // SET_VRING_NUM for a ring that is not there.
        [8u32, 1, 8, 99, 16]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect(),
        // SET_MEM_TABLE with eight regions and no descriptor.
        [5u32, 1, 8, 8, 0]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect(),
    ] {
        let mut stream = UnixStream::connect(door.path()).unwrap();
        let _ = stream.write_all(&nonsense);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let mut vm = Vm::connect(&door.path(), PORTS);
    vm.bring_up();
}

#[test]
fn a_front_end_with_rings_outside_of_its_memory_harms_nobody() {
    let door = Door::new();
    let vm = Vm::connect(&door.path(), PORTS);
    let host = vm.memory.iter().next().unwrap().as_ptr() as u64;
    for offset in [MEMORY - 16, MEMORY, u64::MAX - host - 15] {
        let addresses = VringConfigData {
            queue_max_size: SIZE,
            queue_size: SIZE,
            flags: 0,
            desc_table_addr: host.wrapping_add(offset) & !15,
            used_ring_addr: host.wrapping_add(offset) & !15,
            avail_ring_addr: host.wrapping_add(offset) & !15,
            log_addr: None,
        };
        let _ = vm.front_end.set_vring_addr(1, &addresses);
        vm.kick(1);
    }
    drop(vm);
    let mut next = Vm::connect(&door.path(), PORTS);
    next.bring_up();
}

#[test]
fn a_console_client_gets_what_was_printed_before_it_came_and_may_type() {
    let door = Door::new();
    let path = door.folder.path().join("console.sock");
    let listener = UnixListener::bind(&path).unwrap();
    serve_console(listener, door.port.port(0).unwrap()).unwrap();
    let mut vm = Vm::connect(&door.path(), PORTS);
    vm.bring_up();
    vm.write(1, b"early ");
    vm.back(1);
    let mut client = UnixStream::connect(&path).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    vm.write(1, b"late");
    let mut printed = [0; 10];
    client.read_exact(&mut printed).unwrap();
    assert_eq!(&printed, b"early late");
    vm.drivers[0].post(&vm.memory, 64);
    vm.kick(0);
    client.write_all(b"typed").unwrap();
    assert_eq!(vm.back(0), b"typed");
    // The next client takes over.
    let mut second = UnixStream::connect(&path).unwrap();
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(client.read(&mut printed).unwrap(), 0);
    vm.write(1, b"again");
    let mut printed = [0; 5];
    second.read_exact(&mut printed).unwrap();
    assert_eq!(&printed, b"again");
}

#[test]
fn a_door_that_closes_takes_its_front_end_along() {
    let door = Door::new();
    let mut vm = Vm::connect(&door.path(), PORTS);
    vm.bring_up();
    let handle = door.port.port(0).unwrap();
    let Door { folder, port } = door;
    drop(port);
    assert!(handle.ended());
    vm.front_end.get_queue_num().unwrap_err();
    drop(folder);
}
