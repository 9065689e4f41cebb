#![doc = include_str!("../README.md")]

pub mod completions;
pub mod man;

use clap::{Command, CommandFactory};
use device::args::Args;
use lab::cli::Cli;

/// A program that is packaged.
#[derive(Debug)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// Its command line.
    pub command: Command,
    /// What its man page says that its command line does not: sections in the macros of man(7).
    pub sections: &'static str,
}

/// The programs that a user starts.
pub fn programs() -> [Program; 2] {
    [
        Program {
            name: "vhost-device-amdgpu",
            command: Args::command(),
            sections: include_str!("../man/vhost-device-amdgpu.man"),
        },
        Program {
            name: "amdgpu-lab",
            command: Cli::command(),
            sections: include_str!("../man/amdgpu-lab.man"),
        },
    ]
}
