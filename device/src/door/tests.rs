//! The door as a whole; what goes through it is tested in `guest_port` and in guests.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use super::*;
use crate::transport::vfio_user::{Listener, Options, Server};

#[test]
fn both_sockets_are_there_until_the_door_goes() {
    let folder = tempfile::tempdir().unwrap();
    let listener = Listener::bind(&folder.path().join("gpu.sock")).unwrap();
    let server = Server::<GpuFunction>::new(listener, Options::default()).unwrap();
    let (port, console) = (folder.path().join("port.sock"), folder.path().join("guest.sock"));
    let socket = PortSocket::Path(port.clone());
    let seat = listen(&socket).unwrap();
    let door = Door::serve(seat, Some(&console), GuestControl::Faults, &server.mailbox()).unwrap();
    UnixStream::connect(&console).unwrap();
    assert!(listen(&socket).unwrap_err().to_string().contains("in use"));
    // A front end is there, and says nothing.
    let _front_end = UnixStream::connect(&port).unwrap();
    drop(door);
    assert!(!port.exists() && !console.exists());
}

#[test]
fn a_socket_that_was_passed_on_is_served_and_its_file_left() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("port.sock");
    let server = Server::<GpuFunction>::new(
        Listener::bind(&folder.path().join("gpu.sock")).unwrap(),
        Options::default(),
    )
    .unwrap();
    let passed = UnixListener::bind(&port).unwrap();
    let seat = listen(&PortSocket::Descriptor(passed.as_raw_fd())).unwrap();
    let door = Door::serve(seat, None, GuestControl::Off, &server.mailbox()).unwrap();
    drop(passed);
    // GET_FEATURES, and the answer to it: its request, version 1 and "reply", eight bytes.
    let mut front_end = UnixStream::connect(&port).unwrap();
    front_end
        .write_all(&[1_u32, 1, 0].map(u32::to_le_bytes).concat())
        .unwrap();
    let mut answer = [0; 20];
    front_end.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..12], [1_u32, 5, 8].map(u32::to_le_bytes).concat());
    drop(door);
    assert!(port.exists());
}
