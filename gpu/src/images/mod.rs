//! Images that a board's firmware leaves for the driver, built here and never copied from a card.

pub mod discovery;
pub mod vbios;

/// A byte image under construction: little-endian fields at fixed offsets.
#[derive(Debug, Clone)]
struct Image(Vec<u8>);

impl Image {
    fn new(size: usize) -> Self {
        Self(vec![0; size])
    }

    /// Puts bytes at `offset`; the image grows if they lie beyond its end.
    fn put(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if end > self.0.len() {
            self.0.resize(end, 0);
        }
        if let Some(slot) = self.0.get_mut(offset..end) {
            slot.copy_from_slice(bytes);
        }
    }

    fn put_u8(&mut self, offset: usize, value: u8) {
        self.put(offset, &[value]);
    }

    fn put_u16(&mut self, offset: usize, value: u16) {
        self.put(offset, &value.to_le_bytes());
    }

    fn put_u32(&mut self, offset: usize, value: u32) {
        self.put(offset, &value.to_le_bytes());
    }

    /// Rounds the length up to a multiple of `align` with zeros.
    fn pad_to(&mut self, align: usize) {
        self.0.resize(self.0.len().next_multiple_of(align), 0);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    /// Sum of all bytes from `from` to `to`, as 16 bits.
    fn byte_sum(&self, from: usize, to: usize) -> u16 {
        self.0
            .get(from..to)
            .unwrap_or_default()
            .iter()
            .fold(0, |sum: u16, byte| sum.wrapping_add(u16::from(*byte)))
    }
}

/// Offsets and sizes in these images are 16 bits wide; the builders' tests keep every image far below that.
fn as_u16(size: usize) -> u16 {
    u16::try_from(size).unwrap_or(u16::MAX)
}

/// Counts of a byte, likewise.
fn as_u8(size: usize) -> u8 {
    u8::try_from(size).unwrap_or(u8::MAX)
}
