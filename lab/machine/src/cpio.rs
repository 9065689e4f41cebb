//! A writer of "newc" cpio archives, the format of an initramfs.
//!
//! Format: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel. Every archive is the same for the
//! same input: times are zero and inode numbers count up.

use std::io::{self, Write};

const MAGIC: &[u8] = b"070701";
const TRAILER: &str = "TRAILER!!!";

const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_CHARACTER_DEVICE: u32 = 0o020_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_SYMLINK: u32 = 0o120_000;

/// Writes one archive. Several archives may follow each other in one initramfs.
#[derive(Debug)]
pub struct CpioWriter<W> {
    output: W,
    next_inode: u32,
    directories: std::collections::BTreeSet<String>,
}

struct Entry<'a> {
    name: &'a str,
    mode: u32,
    device: (u32, u32),
    data: &'a [u8],
}

impl<W: Write> CpioWriter<W> {
    /// Starts an archive.
    pub const fn new(output: W) -> Self {
        Self {
            output,
            next_inode: 1,
            directories: std::collections::BTreeSet::new(),
        }
    }

    /// Adds a directory and, before it, those above it. Asking twice for the same one is fine.
    pub fn directory(&mut self, path: &str) -> io::Result<()> {
        let mut prefix = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            if !prefix.is_empty() {
                prefix.push('/');
            }
            prefix.push_str(part);
            if self.directories.insert(prefix.clone()) {
                let name = prefix.clone();
                self.entry(&Entry {
                    name: &name,
                    mode: TYPE_DIRECTORY | 0o755,
                    device: (0, 0),
                    data: &[],
                })?;
            }
        }
        Ok(())
    }

    /// Adds a regular file with these permission bits, and the directories above it.
    pub fn file(&mut self, path: &str, permissions: u32, data: &[u8]) -> io::Result<()> {
        self.leaf(path, TYPE_FILE | permissions, (0, 0), data)
    }

    /// Adds a symbolic link, and the directories above it.
    pub fn symlink(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.leaf(path, TYPE_SYMLINK | 0o777, (0, 0), target.as_bytes())
    }

    /// Adds a character device node, and the directories above it.
    pub fn character_device(
        &mut self,
        path: &str,
        permissions: u32,
        major: u32,
        minor: u32,
    ) -> io::Result<()> {
        self.leaf(path, TYPE_CHARACTER_DEVICE | permissions, (major, minor), &[])
    }

    /// Ends the archive and gives the output back.
    pub fn finish(mut self) -> io::Result<W> {
        self.next_inode = 0;
        self.entry(&Entry {
            name: TRAILER,
            mode: 0,
            device: (0, 0),
            data: &[],
        })?;
        Ok(self.output)
    }

    fn leaf(&mut self, path: &str, mode: u32, device: (u32, u32), data: &[u8]) -> io::Result<()> {
        let path = path.trim_matches('/');
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent)?;
        }
        self.entry(&Entry {
            name: path,
            mode,
            device,
            data,
        })
    }

    fn entry(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let size = u32::try_from(entry.data.len()).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{}: too large for an initramfs", entry.name),
            )
        })?;
        let name_size = u32::try_from(entry.name.len() + 1)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "name too long for an initramfs"))?;
        let (major, minor) = entry.device;
        let fields = [
            self.next_inode,
            entry.mode,
            0, // owner
            0, // group
            1, // links
            0, // time
            size,
            0, // device of the file itself
            0,
            major,
            minor,
            name_size,
            0, // checksum, unused in this variant
        ];
        self.next_inode = self.next_inode.wrapping_add(1);
        self.output.write_all(MAGIC)?;
        for field in fields {
            write!(self.output, "{field:08x}")?;
        }
        self.output.write_all(entry.name.as_bytes())?;
        self.output.write_all(&[0])?;
        self.pad(MAGIC.len() + fields.len() * 8 + entry.name.len() + 1)?;
        self.output.write_all(entry.data)?;
        self.pad(entry.data.len())
    }

    fn pad(&mut self, written: usize) -> io::Result<()> {
        let padding = [0; 3];
        self.output
            .write_all(padding.get(..(4 - written % 4) % 4).unwrap_or(&[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(archive: &[u8], at: usize, index: usize) -> u32 {
        let start = at + 6 + index * 8;
        u32::from_str_radix(std::str::from_utf8(&archive[start..start + 8]).unwrap(), 16).unwrap()
    }

    #[test]
    fn a_file_is_written_with_its_directories_padded_and_with_a_trailer() {
        let mut writer = CpioWriter::new(Vec::new());
        writer.file("/a/b", 0o755, b"hello").unwrap();
        let archive = writer.finish().unwrap();

        // Directory "a": 110 bytes of header and "a\0", already a multiple of four.
        assert_eq!(&archive[..6], MAGIC);
        assert_eq!(field(&archive, 0, 1), TYPE_DIRECTORY | 0o755);
        assert_eq!(&archive[110..112], b"a\0");
        // File "a/b": name and data both need padding.
        assert_eq!(field(&archive, 112, 1), TYPE_FILE | 0o755);
        assert_eq!(field(&archive, 112, 6), 5);
        assert_eq!(field(&archive, 112, 11), 4);
        assert_eq!(&archive[222..226], b"a/b\0");
        assert_eq!(&archive[228..236], b"hello\0\0\0");
        assert!(archive.ends_with(b"TRAILER!!!\0\0\0\0"));
        assert_eq!(archive.len() % 4, 0);
    }

    #[test]
    fn a_directory_is_written_once() {
        let mut writer = CpioWriter::new(Vec::new());
        writer.directory("dev").unwrap();
        writer.character_device("dev/console", 0o600, 5, 1).unwrap();
        let archive = writer.finish().unwrap();
        assert_eq!(archive.windows(4).filter(|w| w == b"dev\0").count(), 1);
    }

    #[test]
    fn a_device_node_carries_its_numbers() {
        let mut writer = CpioWriter::new(Vec::new());
        writer.character_device("console", 0o600, 5, 1).unwrap();
        let archive = writer.finish().unwrap();
        assert_eq!(field(&archive, 0, 1), TYPE_CHARACTER_DEVICE | 0o600);
        assert_eq!((field(&archive, 0, 9), field(&archive, 0, 10)), (5, 1));
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let build = || {
            let mut writer = CpioWriter::new(Vec::new());
            writer.symlink("x", "y").unwrap();
            writer.finish().unwrap()
        };
        assert_eq!(build(), build());
    }
}
