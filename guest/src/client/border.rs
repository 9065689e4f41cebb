//! Scattered pages on both sides of the border of a page table.
//!
//! The driver writes each table's part of a mapping in one update, and both into one job as long as it has room (amdgpu_vm_sdma.c,
//! `amdgpu_vm_sdma_update`). The number of pages below the border so decides how much room is left for those above it.

use std::time::Instant;

use super::set::{Client, Outcome, Placed};
use super::{FIRST_ADDRESS, GIB, PAGE, length};
use crate::drm::sdma::Commands;
use crate::drm::{Buffer, Domain};
use crate::json::Object;
use crate::marker;

/// Pages of the process's memory, a power of two.
const PAGES: usize = 256;
/// Pages above the border.
const ABOVE: u64 = 32;
/// The border: of a page table, and of no other level's.
const BORDER: u64 = FIRST_ADDRESS + 16 * GIB + (6 << 20);
/// Largest packet of a copy.
const CHUNK: u32 = 1 << 22;

impl Client<'_> {
    /// For every number of pages below the border: maps, has the engine copy there and back, compares, unmaps.
    pub(super) fn border(&mut self, first: u32, last: u32) -> Result<(), String> {
        let (started, before) = (Instant::now(), self.totals);
        let user = Buffer::scattered(self.device, PAGES)?;
        let plain = Placed::at(
            "plain memory",
            Buffer::new(self.device, Domain::Gtt, user.size())?,
            BORDER + GIB,
        )?;
        let mut user = Placed {
            name: "pages at a border",
            buffer: user,
            address: BORDER,
        };
        for below in u64::from(first)..=u64::from(last) {
            user.address = BORDER - below * PAGE;
            let bytes = (below + ABOVE) * PAGE;
            user.buffer.map_part(user.address, 0, bytes)?;
            let there = self.one_copy(&plain, &user, bytes);
            let back = there.and_then(|()| self.one_copy(&user, &plain, bytes));
            back.map_err(|error| format!("{below} pages below the border: {error}"))?;
            user.buffer.unmap_part(user.address, 0, bytes)?;
        }
        plain.unmap()?;
        marker::note(
            "border",
            &Object::new()
                .text("name", &self.name)
                .number("first", first.into())
                .number("last", last.into())
                .number("operations", self.totals.operations - before.operations)
                .number("bytes_checked", self.totals.bytes - before.bytes)
                .number("ms", marker::milliseconds(started)),
        );
        Ok(())
    }

    /// Copies the first `bytes` of one buffer to the beginning of another, and compares.
    fn one_copy(&mut self, source: &Placed<'_>, target: &Placed<'_>, bytes: u64) -> Result<(), String> {
        let data = self.pattern.bytes(length(source.buffer.size())?);
        let before = self.pattern.bytes(length(target.buffer.size())?);
        source.buffer.write(0, &data)?;
        target.buffer.write(0, &before)?;
        let mut commands = Commands::new();
        commands.copy(source.address, target.address, bytes, CHUNK);
        let started = Instant::now();
        self.submit(commands, &[source, target])?;
        let payload = data.get(..length(bytes)?).unwrap_or_default();
        Outcome {
            operation: "copy",
            source: source.name,
            target,
            before,
            offset: 0,
            payload,
            started,
        }
        .check(&mut self.totals)
    }
}
