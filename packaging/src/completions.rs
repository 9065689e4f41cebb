//! Shell completions.

use std::io;
use std::path::PathBuf;

use clap_complete::Shell;

use crate::Program;

/// The shells that get them.
pub const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// Where a shell looks for the completions of a program, under a prefix such as `/usr`.
pub fn path(program: &Program, shell: Shell) -> PathBuf {
    let name = program.name;
    match shell {
        Shell::Zsh => format!("share/zsh/vendor-completions/_{name}"),
        Shell::Fish => format!("share/fish/vendor_completions.d/{name}.fish"),
        _ => format!("share/bash-completion/completions/{name}"),
    }
    .into()
}

/// The completions of a program.
///
/// # Errors
/// If what was made is no text, which would be a fault of its maker.
pub fn script(program: &Program, shell: Shell) -> io::Result<String> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program.command.clone(), program.name, &mut script);
    let script = String::from_utf8(script).map_err(io::Error::other)?;
    Ok(match shell {
        Shell::Bash => consistent(program.name, &script),
        _ => script,
    })
}

/// clap_complete 4.6 (clap issue 6421) has two names for a command of a program with a dash in its own name: in the script for bash it arrives at one and
/// branches by the other, so that nothing would be completed after the command.
fn consistent(program: &str, script: &str) -> String {
    let branch = format!("{}__subcmd__", program.replace('-', "__subcmd__"));
    let arrived = format!("{}__subcmd__", program.replace('-', "__"));
    script.replace(&branch, &arrived)
}
