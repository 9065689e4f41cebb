//! One console out of two: the serial port up to the guest's word that it goes on at the guest port, and the guest port from there on.
//!
//! The kernel prints the same on both until the guest switches the serial port off. It says so in its log before, so that the line
//! is in both, and writes a last line to the serial port afterwards. What the serial port says later comes from the next boot.

use protocol::guest::console::{Line, Marker};

/// The last words at the serial port.
const OVER: &str = "@lab-serial-over";
/// A line that is longer is no word of the guest's.
const LONGEST: usize = 4096;

/// Where bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The serial port.
    Serial,
    /// The guest port.
    Port,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Serial {
    /// It has the console.
    Passing,
    /// It says what the other says too.
    Doubled,
    /// It has nothing to say any more.
    Over,
}

/// Puts both together.
#[derive(Debug)]
pub struct Splice {
    serial: Serial,
    /// The guest port has come to the guest's word.
    port_ready: bool,
    /// What it said after that, while the serial port has not come there.
    held: Vec<u8>,
    serial_line: Vec<u8>,
    port_line: Vec<u8>,
}

impl Default for Splice {
    fn default() -> Self {
        Self {
            serial: Serial::Passing,
            port_ready: false,
            held: Vec::new(),
            serial_line: Vec::new(),
            port_line: Vec::new(),
        }
    }
}

impl Splice {
    /// Where the guest listens.
    pub const fn active(&self) -> Source {
        match (self.serial, self.port_ready) {
            (Serial::Passing, _) | (_, false) => Source::Serial,
            _ => Source::Port,
        }
    }

    /// Whether the next byte of the serial port begins another boot: what the guest port still has comes before it.
    pub fn is_over(&self) -> bool {
        self.serial == Serial::Over
    }

    /// Takes bytes in, and gives those that are the console's next.
    pub fn take(&mut self, source: Source, bytes: &[u8]) -> Vec<u8> {
        let mut console = Vec::new();
        for &byte in bytes {
            match source {
                Source::Serial => self.take_serial(byte, &mut console),
                Source::Port => self.take_port(byte, &mut console),
            }
        }
        console
    }

    fn take_serial(&mut self, byte: u8, console: &mut Vec<u8>) {
        if self.serial == Serial::Over {
            *self = Self::default();
        }
        if self.serial == Serial::Passing {
            console.push(byte);
        }
        let Some(line) = whole_line(&mut self.serial_line, byte) else {
            return;
        };
        match self.serial {
            Serial::Passing if is_word(&line) => {
                self.serial = Serial::Doubled;
                console.append(&mut self.held);
            }
            Serial::Doubled if line.contains(OVER) => self.serial = Serial::Over,
            _ => {}
        }
    }

    fn take_port(&mut self, byte: u8, console: &mut Vec<u8>) {
        if self.port_ready {
            match self.serial {
                Serial::Passing => self.held.push(byte),
                _ => console.push(byte),
            }
        } else if let Some(line) = whole_line(&mut self.port_line, byte) {
            self.port_ready = is_word(&line);
        }
    }
}

/// The line that this byte ends.
fn whole_line(line: &mut Vec<u8>, byte: u8) -> Option<String> {
    if byte != b'\n' {
        if line.len() < LONGEST {
            line.push(byte);
        }
        return None;
    }
    let text = String::from_utf8_lossy(line).into_owned();
    line.clear();
    Some(text)
}

fn is_word(line: &str) -> bool {
    line.contains("@lab {") && matches!(Line::parse(line).marker(), Some(Marker::Console { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: &str = "[    2.0] @lab {\"ev\":\"console\",\"to\":\"hvc0\"}\r\n";
    const SERIAL: [&str; 3] = [
        "BIOS\r\n[    1.0] one\r\n",
        WORD,
        "[    2.1] doubled\r\n@lab-serial-over\n",
    ];
    const PORT: [&str; 2] = [
        "ut\r\n[    1.0] one\r\n",
        "[    2.1] doubled\r\n[    3.0] later\r\n",
    ];
    const WANTED: &str = "BIOS\r\n[    1.0] one\r\n[    2.0] @lab {\"ev\":\"console\",\"to\":\"hvc0\"}\r\n[    2.1] doubled\r\n[    3.0] later\r\n";

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    #[test]
    fn every_line_is_there_once_and_in_order_whoever_is_faster() {
        let serial = SERIAL.concat();
        let port = [PORT[0], WORD, PORT[1]].concat();
        for serial_first in 0..=serial.len() {
            for port_first in [0, 5, port.len() - 5, port.len()] {
                let mut splice = Splice::default();
                let mut console = splice.take(Source::Serial, &serial.as_bytes()[..serial_first]);
                console.extend(splice.take(Source::Port, &port.as_bytes()[..port_first]));
                console.extend(splice.take(Source::Serial, &serial.as_bytes()[serial_first..]));
                console.extend(splice.take(Source::Port, &port.as_bytes()[port_first..]));
                assert_eq!(text(&console), WANTED, "{serial_first} {port_first}");
                assert_eq!(splice.active(), Source::Port);
            }
        }
    }

    #[test]
    fn without_the_guests_word_the_serial_port_is_the_console() {
        let mut splice = Splice::default();
        assert_eq!(splice.take(Source::Port, b"[    1.0] one\r\n"), b"");
        assert_eq!(splice.take(Source::Serial, b"# "), b"# ");
        assert_eq!(splice.active(), Source::Serial);
        let own = b"echo '@lab console'\n";
        assert_eq!(splice.take(Source::Serial, own), own);
        assert_eq!(splice.active(), Source::Serial);
    }

    #[test]
    fn the_next_boot_begins_at_the_serial_port_and_switches_again() {
        let mut splice = Splice::default();
        for _ in 0..3 {
            let mut console = splice.take(Source::Serial, SERIAL.concat().as_bytes());
            console.extend(splice.take(Source::Port, [PORT[0], WORD, PORT[1]].concat().as_bytes()));
            assert_eq!(text(&console), WANTED);
            assert!(splice.is_over());
            // The end of a line that the machine's end has cut off.
            splice.take(Source::Port, b"[    4.0] reboot: Rest");
        }
    }
}
