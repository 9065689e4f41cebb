//! Sends everything back that a guest writes into a port: what a guest gets has to be what it sent.
//!
//! `echo PORT-SOCKET [SOCKET...]`: the first is for vhost-user, and has the ports of the daemon; at the others, plain sockets do the same
//! for ports of QEMU's own (`virtserialport`, `virtconsole`), to compare with. `lab/examples/` has the guest's side.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use guest_port::{GuestPort, Item, PortHandle, PortSpec, Received};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let path = arguments.next().ok_or("expected the path of a socket")?;
    let _ = std::fs::remove_file(&path);
    let names = ["console", "amdgpu.control", "amdgpu.trace"];
    let specs = names.iter().enumerate().map(|(number, name)| PortSpec {
        name: (*name).to_owned(),
        console: number == 0,
        keeps_unread: false,
    });
    let port = GuestPort::serve(UnixListener::bind(&path)?, specs.collect())?;
    let echoes: Vec<_> = (0..names.len())
        .filter_map(|number| port.port(number))
        .map(|handle| thread::spawn(move || echo(&handle)))
        .collect();
    for path in arguments {
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        thread::spawn(move || listener.incoming().flatten().for_each(echo_plain));
    }
    for echo in echoes {
        let _ = echo.join();
    }
    Ok(())
}

fn echo_plain(mut stream: UnixStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(buffer.get(..count).unwrap_or_default()).is_err() {
            return;
        }
    }
}

fn echo(port: &PortHandle) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match port.receive(&mut buffer, Duration::from_secs(60)) {
            Received::Item(Item::Bytes(count)) => {
                let mut rest = buffer.get(..count).unwrap_or_default();
                while !rest.is_empty() && port.session().is_some() {
                    let sent = port.send(None, rest, Duration::from_secs(1)).unwrap_or(0);
                    rest = rest.get(sent..).unwrap_or_default();
                }
            }
            Received::Item(_) | Received::Nothing => {}
            Received::Ended => return,
        }
    }
}
