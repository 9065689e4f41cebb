//! Memory of the process that is unmapped while the GPU has a mapping of it.
//!
//! A buffer of the process's memory (USERPTR) follows what becomes of that memory: when it is unmapped, its pages go back to the kernel, and
//! the driver has to take the GPU's mapping away as well. A submission that names the buffer gives the driver an occasion to look again;
//! one that does not name it has none, and finds whatever the page tables hold.

use std::time::Instant;

use super::set::{Client, Placed};
use super::{FIRST_ADDRESS, GIB, PAGE, length};
use crate::drm::sdma::Commands;
use crate::drm::{Buffer, Domain};
use crate::json::Object;
use crate::marker;

/// Pages of the process's memory, a power of two.
const PAGES: usize = 1024;
/// Where the GPU has them.
const ADDRESS: u64 = FIRST_ADDRESS + 24 * GIB;
/// Largest packet of a copy.
const CHUNK: u32 = 1 << 22;

impl Client<'_> {
    /// Has the engine copy from memory that was unmapped after it was mapped for the GPU, without naming it. What comes must be neither what was
    /// there, nor what others have written to its pages since.
    pub(super) fn stale(&mut self) -> Result<(), String> {
        let started = Instant::now();
        let mut user = Placed::at(
            "memory of the process",
            Buffer::scattered(self.device, PAGES)?,
            ADDRESS,
        )?;
        let size = user.buffer.size();
        let plain = Placed::at(
            "plain memory",
            Buffer::new(self.device, Domain::Gtt, size)?,
            ADDRESS + GIB,
        )?;
        let data = self.pattern.bytes(length(size)?);
        user.buffer.write(0, &data)?;
        self.fetch(&user, &plain, true)?;
        if plain.buffer.read_all()? != data {
            return Err("a copy of memory that is there is wrong".to_owned());
        }

        let page = self.pattern.bytes(length(PAGE)?);
        let others = page.repeat(PAGES);
        user.buffer.replace_memory(&others)?;
        let before = self.pattern.bytes(length(size)?);
        plain.buffer.write(0, &before)?;
        let refused = self.fetch(&user, &plain, false).err();
        let after = plain.buffer.read_all()?;
        let same = |wanted: &[u8]| {
            let pages = after.chunks(page.len()).zip(wanted.chunks(page.len()));
            pages.filter(|(got, wanted)| got == wanted).count()
        };
        let (unmapped, reused) = (same(&data), same(&others));
        plain.unmap()?;
        user.unmap()?;
        marker::note(
            "stale",
            &Object::new()
                .text("name", &self.name)
                .number("pages", u64::try_from(PAGES).unwrap_or(0))
                .number("unmapped", u64::try_from(unmapped).unwrap_or(0))
                .number("reused", u64::try_from(reused).unwrap_or(0))
                .text("error", refused.as_deref().unwrap_or_default())
                .number("ms", marker::milliseconds(started)),
        );
        if unmapped + reused > 0 {
            return Err(format!(
                "the engine read {unmapped} of {PAGES} pages that had been unmapped, and {reused} that had been given to others"
            ));
        }
        Ok(())
    }

    /// Copies all of `source`, which the submission names or not.
    fn fetch(&self, source: &Placed<'_>, target: &Placed<'_>, named: bool) -> Result<(), String> {
        let mut commands = Commands::new();
        commands.copy(source.address, target.address, source.buffer.size(), CHUNK);
        if named {
            self.submit(commands, &[source, target])
        } else {
            self.submit(commands, &[target])
        }
    }
}
