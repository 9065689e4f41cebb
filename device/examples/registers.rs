//! Prints `docs/registers.md`.

use std::io::Write;

use device::asic::NAVI21;
use device::registers_doc;

fn main() -> anyhow::Result<()> {
    let text = registers_doc::markdown(&NAVI21)?;
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}
