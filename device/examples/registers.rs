//! Prints the list of a part's registers as Markdown: `registers [NAME]`, the usual part without a name.

use std::io::Write;

use anyhow::Context;
use gpu::asic::ASICS;
use gpu::registers_doc;

fn main() -> anyhow::Result<()> {
    let name = std::env::args().nth(1);
    let wanted = ASICS
        .into_iter()
        .find(|asic| name.as_deref().is_none_or(|name| name == asic.name));
    let asic = wanted.context("no such part")?;
    let text = registers_doc::markdown(asic)?;
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
