//! Control messages: what guest and host tell each other about ports (virtio 1.2, 5.3.6.2).

use thiserror::Error;

/// The id of a message that is about no port, `VIRTIO_CONSOLE_BAD_ID`.
pub const NO_PORT: u32 = u32::MAX;
/// Bytes of a message without its name.
const HEADER: usize = 8;

const DEVICE_READY: u16 = 0;
const DEVICE_ADD: u16 = 1;
const PORT_READY: u16 = 3;
const CONSOLE_PORT: u16 = 4;
const PORT_OPEN: u16 = 6;
const PORT_NAME: u16 = 7;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// From the guest: its driver is there, or gave up.
    DeviceReady {
        /// Whether it is there.
        ready: bool,
    },
    /// From the host: there is this port.
    PortAdd {
        /// Which.
        port: u32,
    },
    /// From the guest: it knows the port, or cannot use it.
    PortReady {
        /// Which.
        port: u32,
        /// Whether it can use it.
        ready: bool,
    },
    /// From the host: the port is a console.
    ConsolePort {
        /// Which.
        port: u32,
    },
    /// From either side: somebody has the port open there, or nobody any more.
    PortOpen {
        /// Which.
        port: u32,
        /// Whether somebody has.
        open: bool,
    },
    /// From the host: what the port is called.
    PortName {
        /// Which.
        port: u32,
        /// Its name.
        name: String,
    },
}

/// Bytes that are no message that a guest sends.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WrongMessage {
    /// Too few.
    #[error("{0} bytes are too few for a control message")]
    Short(usize),
    /// Nothing that a guest says.
    #[error("a guest does not send control messages of kind {0}")]
    Kind(u16),
}

impl Message {
    /// Reads what a guest sent. What follows the header is left alone.
    ///
    /// # Errors
    /// [`WrongMessage`] if no guest would send it.
    pub fn from_guest(bytes: &[u8]) -> Result<Self, WrongMessage> {
        let [a, b, c, d, e, f, g, h, ..] = *bytes else {
            return Err(WrongMessage::Short(bytes.len()));
        };
        let port = u32::from_le_bytes([a, b, c, d]);
        let value = u16::from_le_bytes([g, h]);
        Ok(match u16::from_le_bytes([e, f]) {
            DEVICE_READY => Self::DeviceReady { ready: value == 1 },
            PORT_READY => Self::PortReady {
                port,
                ready: value == 1,
            },
            PORT_OPEN => Self::PortOpen {
                port,
                open: value == 1,
            },
            kind => return Err(WrongMessage::Kind(kind)),
        })
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let (port, kind, value, name) = match self {
            Self::DeviceReady { ready } => (NO_PORT, DEVICE_READY, u16::from(*ready), ""),
            Self::PortAdd { port } => (*port, DEVICE_ADD, 1, ""),
            Self::PortReady { port, ready } => (*port, PORT_READY, u16::from(*ready), ""),
            Self::ConsolePort { port } => (*port, CONSOLE_PORT, 1, ""),
            Self::PortOpen { port, open } => (*port, PORT_OPEN, u16::from(*open), ""),
            Self::PortName { port, name } => (*port, PORT_NAME, 1, name.as_str()),
        };
        let mut bytes = Vec::with_capacity(HEADER + name.len());
        bytes.extend_from_slice(&port.to_le_bytes());
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&value.to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_guest_says_is_understood() {
        for message in [
            Message::DeviceReady { ready: true },
            Message::DeviceReady { ready: false },
            Message::PortReady { port: 2, ready: true },
            Message::PortOpen { port: 1, open: true },
            Message::PortOpen { port: 1, open: false },
        ] {
            assert_eq!(Message::from_guest(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn a_name_follows_its_header() {
        let name = Message::PortName {
            port: 1,
            name: "ab".into(),
        };
        assert_eq!(name.encode(), [1, 0, 0, 0, 7, 0, 1, 0, b'a', b'b']);
    }

    #[test]
    fn what_only_a_host_says_is_refused() {
        let add = Message::PortAdd { port: 0 }.encode();
        assert_eq!(Message::from_guest(&add), Err(WrongMessage::Kind(1)));
        assert_eq!(Message::from_guest(&add[..7]), Err(WrongMessage::Short(7)));
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..32)) {
            let _ = Message::from_guest(&bytes);
        }
    }
}
