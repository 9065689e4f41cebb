#![doc = include_str!("../README.md")]

mod answer;
mod device;
mod gpu;
mod plan;
mod server;

use std::io::{self, BufRead, Write};

fn main() -> io::Result<()> {
    let mut server = server::Server::default();
    let (input, mut output) = (io::stdin().lock(), io::stdout().lock());
    for line in input.lines() {
        let answer = server.perform(line?.trim());
        output.write_all(answer.lines().as_bytes())?;
        output.flush()?;
        if server.ended() {
            break;
        }
    }
    Ok(())
}
