//! Whether contents survive a move out of VRAM and back.

use std::time::Instant;

use super::set::{Client, Placed};
use super::{PAGE, length};
use crate::drm::sdma::Commands;
use crate::json::Object;
use crate::marker;
use crate::pattern::{Pattern, compare};
use crate::recovery;

/// More than the driver has queues that take moves in turn, so that each of them gets one.
const ROUNDS: u64 = 2;

impl Client<'_> {
    /// Fills the buffers in VRAM, has the driver move them away, compares; fills them anew where they are, so that what their old places hold
    /// is not right by chance, submits something that names them, which brings them back, and compares again. All by the processor, so that only
    /// the moves can lose anything.
    pub(super) fn evict(&mut self) -> Result<(), String> {
        let started = Instant::now();
        let mut bytes = 0;
        for round in 0..ROUNDS {
            let after = self.fill_all()?;
            recovery::evict()?;
            bytes += self.unchanged(round, "out of VRAM")?;
            self.pattern = after;
            let after = self.fill_all()?;
            self.bring_back()?;
            bytes += self.unchanged(round, "back into VRAM")?;
            self.pattern = after;
        }
        marker::note(
            "evicted",
            &Object::new()
                .text("name", &self.name)
                .number("bytes_checked", bytes)
                .number("ms", marker::milliseconds(started)),
        );
        Ok(())
    }

    /// Fills the buffers from the client's stream, and gives the stream behind that. The client's own stays, for the comparison.
    fn fill_all(&self) -> Result<Pattern, String> {
        let mut pattern = self.pattern.clone();
        for target in self.in_vram() {
            let data = pattern.bytes(length(target.buffer.size())?);
            target.buffer.write(0, &data)?;
        }
        Ok(pattern)
    }

    /// Compares with what [`Self::fill_all`] wrote. Tells how many bytes that were.
    fn unchanged(&self, round: u64, moved: &str) -> Result<u64, String> {
        let mut pattern = self.pattern.clone();
        let mut bytes = 0;
        for target in self.in_vram() {
            let expected = pattern.bytes(length(target.buffer.size())?);
            let found = target.buffer.read_all()?;
            if let Some((at, wanted, got, count)) = compare(&expected, &found) {
                return Err(format!(
                    "{} was moved {moved} (round {round}) and is not what it was: {count} of {} bytes, the first at {at:#x}: {got:#04x} \
                     instead of {wanted:#04x}",
                    target.name,
                    expected.len()
                ));
            }
            bytes += target.buffer.size();
        }
        Ok(bytes)
    }

    /// A copy within a buffer in the system's memory, in a submission that names those in VRAM as well.
    fn bring_back(&self) -> Result<(), String> {
        let source = self.in_system();
        let mut commands = Commands::new();
        commands.copy(source.address, source.address + PAGE, PAGE, 1 << 20);
        let [first, second, third] = self.in_vram();
        self.submit(commands, &[source, first, second, third])
    }

    const fn in_vram(&self) -> [&Placed<'_>; 3] {
        [&self.small_vram, &self.large_vram, &self.other_vram]
    }

    const fn in_system(&self) -> &Placed<'_> {
        &self.small_gtt
    }
}
