//! The door as a whole; what goes through it is tested in `guest_port` and in guests.

use std::os::unix::net::UnixStream;

use super::*;
use crate::transport::vfio_user::{Listener, Options, Server};

#[test]
fn both_sockets_are_there_until_the_door_goes() {
    let folder = tempfile::tempdir().unwrap();
    let listener = Listener::bind(&folder.path().join("gpu.sock")).unwrap();
    let server = Server::<GpuFunction>::new(listener, Options::default()).unwrap();
    let (port, console) = (folder.path().join("port.sock"), folder.path().join("guest.sock"));
    let door = Door::serve(&port, Some(&console), GuestControl::Faults, &server.mailbox()).unwrap();
    UnixStream::connect(&console).unwrap();
    let again = Door::serve(&port, None, GuestControl::Faults, &server.mailbox());
    assert!(again.unwrap_err().to_string().contains("in use"));
    // A front end is there, and says nothing.
    let _front_end = UnixStream::connect(&port).unwrap();
    drop(door);
    assert!(!port.exists() && !console.exists());
}
