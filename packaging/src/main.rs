//! Writes man pages and completions into a folder, laid out as under a prefix such as `/usr`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use packaging::{completions, man, programs};

/// Writes man pages and shell completions of all programs.
#[derive(Debug, Parser)]
struct Options {
    /// Folder to write into; what it lacks is made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

fn main() -> Result<()> {
    let folder = Options::parse().folder;
    for program in programs() {
        write(&folder.join(man::path(&program)), &man::page(&program)?)?;
        for shell in completions::SHELLS {
            write(
                &folder.join(completions::path(&program, shell)),
                &completions::script(&program, shell)?,
            )?;
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
