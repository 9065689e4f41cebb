//! The program `amdgpu-lab`.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use lab::cli::{
    AttachArgs, BisectArgs, Cli, Command, FetchArgs, FindingsArgs, KernelArgs, MutantsArgs, ReportArgs,
    ReportFormat, RunArgs,
};
use lab::options::{KernelChoice, Options};
use lab::watch::Watched;
use lab::{args, bisect, findings, mutants, runner};
use machine::fetch::Cache;
use machine::interrupt;
use machine::kbuild::{Builder, Change, Source};
use machine::parts;
use machine::progress::Progress;
use machine::qemu::Qemu;
use report::{compute, files, junit, ktap, table, text};
use scenario::model::Scenario;
use scenario::outcome::{Outcome, Overall, Verdict};
use scenario::plan::{Controls, by_personality};
use scenario::{catalogue, outcome, steps};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match perform(&cli) {
        Ok(verdict) => ExitCode::from(verdict.exit_status()),
        Err(_) if interrupt::requested() => {
            eprintln!("amdgpu-lab: interrupted");
            ExitCode::from(Overall::Unknown.exit_status())
        }
        Err(error) => {
            eprintln!("amdgpu-lab: {error:#}");
            ExitCode::from(Overall::Unknown.exit_status())
        }
    }
}

fn perform(cli: &Cli) -> Result<Overall> {
    interrupt::install().context("installing the signal handlers")?;
    let progress = Progress::stderr();
    let cache = |refresh| {
        Cache::open(
            cli.cache.as_deref(),
            cli.sources.sources(refresh),
            progress.clone(),
        )
    };
    match &cli.command {
        Command::Fetch(arguments) => fetch(arguments, &cache(arguments.refresh)?),
        Command::List(arguments) => {
            print!("{}", list(&arguments.names, &arguments.tag)?);
            Ok(Overall::Pass)
        }
        Command::Kernel(arguments) => kernel(arguments, &cache(false)?, &progress),
        Command::Bisect(arguments) => bisect(arguments, &cache(false)?),
        Command::Findings(arguments) => show_findings(arguments, &cache(false)?, &progress),
        Command::Mutants(arguments) => run_mutants(arguments, || cache(false), &progress),
        Command::Watch(arguments) => watch(arguments, || cache(false), &progress),
        Command::Run(arguments) => run_scenarios(arguments, || cache(false), &progress),
        Command::Report(arguments) => report(arguments),
        Command::Args(arguments) => print_arguments(arguments),
    }
}

/// Standard output holds what is pasted and nothing else.
fn print_arguments(arguments: &AttachArgs) -> Result<Overall> {
    let domain = arguments.domain.as_deref().map(read_text).transpose()?;
    let answer = args::answer(&arguments.request(domain))?;
    print!("{}", answer.text);
    let args::Answer { daemon, pinned, .. } = &answer;
    eprintln!("amdgpu-lab: start the device process first:\n    {daemon}");
    let processor = args::PROCESSOR;
    eprintln!(
        "register accesses are fastest where a guest with one processor and the device process share one of the host's, here number {processor}:\n    \
         taskset -c {processor} {daemon}\n    {pinned}"
    );
    Ok(Overall::Pass)
}

/// The text of a file, or of standard input if it is called "-".
fn read_text(path: &Path) -> Result<String> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    text.with_context(|| format!("reading the domain {}", path.display()))
}

fn list(names: &[String], tags: &[String]) -> Result<String> {
    if names.is_empty() {
        return Ok(catalogue::table(&catalogue::tagged(
            catalogue::shipped(texts())?,
            tags,
        )?));
    }
    let scenarios = catalogue::tagged(catalogue::named(names, texts())?, tags)?;
    Ok(scenarios
        .iter()
        .map(catalogue::details)
        .collect::<Vec<_>>()
        .join("\n"))
}

/// The scenarios of a command line.
fn scenarios_of(arguments: &RunArgs) -> Result<Vec<Scenario>> {
    Ok(if !arguments.wants_scenarios() {
        vec![arguments.scenario_of_steps()?]
    } else if arguments.scenarios.is_empty() {
        catalogue::tagged(catalogue::shipped(texts())?, &arguments.tag)?
    } else {
        catalogue::named(&arguments.scenarios, texts())?
    })
}

/// The files are read before anything is fetched: what is wrong with them is told at once.
fn run_scenarios(
    arguments: &RunArgs,
    cache: impl FnOnce() -> Result<Cache, machine::fetch::FetchError>,
    progress: &Progress,
) -> Result<Overall> {
    let request = runner::Request {
        scenarios: scenarios_of(arguments)?,
        kernels: arguments.kernels()?,
        controls: arguments.controls,
        jobs: arguments.jobs,
        attempts: arguments.attempts,
        options: arguments.options()?,
    };
    let (folder, outcomes) = runner::run(&request, &cache()?, progress)?;
    println!();
    let mut logs = folder.as_path();
    match outcomes.as_slice() {
        [outcome] => {
            let text = if arguments.wants_scenarios() {
                outcome.text()
            } else {
                text::full(outcome)
            };
            print!("{}", coloured(&outcome.verdict, text));
            if outcome.folder.is_dir() {
                logs = &outcome.folder;
            }
        }
        outcomes => print!("{}", table::text(outcomes, colours())),
    }
    println!("\n{:<12}{}", "logs", logs.display());
    if !arguments.wants_scenarios() {
        let file = folder.join(steps::NAME).with_extension("toml");
        std::fs::write(&file, arguments.text_of_steps())
            .with_context(|| format!("writing {}", file.display()))?;
        println!("{:<12}{}", "scenario", file.display());
    }
    println!("{:<12}{}", "pages", folder.join(files::INDEX).display());
    Ok(outcome::overall(&outcomes))
}

/// The text with its first word in colour on a terminal (<https://no-color.org>).
fn coloured(verdict: &Verdict, text: String) -> String {
    if !colours() {
        return text;
    }
    let colour = match verdict {
        Verdict::Pass => 32,
        Verdict::Fail => 31,
        Verdict::Unknown | Verdict::NotApplicable { .. } | Verdict::DriverBug { .. } => 33,
    };
    match text.split_once(' ') {
        Some((word, rest)) => format!("\x1b[1;{colour}m{word}\x1b[0m {rest}"),
        None => text,
    }
}

/// Whether standard output takes colour and the user wants it (<https://no-color.org>).
fn colours() -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !plain && std::io::stdout().is_terminal()
}

fn bisect(arguments: &BisectArgs, cache: &Cache) -> Result<Overall> {
    // What cannot be read would make every commit one to skip, after hours of building them.
    scenarios_of(&run_options(&[], &arguments.arguments)?)?;
    let request = bisect::Request {
        tree: arguments.tree.clone(),
        good: arguments.good.clone(),
        bad: arguments.bad.clone(),
        config: arguments.config,
        arguments: arguments.arguments.clone(),
    };
    Ok(if bisect::run(&request, cache.folder())? {
        Overall::Pass
    } else {
        Overall::Unknown
    })
}

/// Options of `run` that stand behind another subcommand's, after some of its own.
fn run_options(own: &[&str], options: &[OsString]) -> Result<RunArgs> {
    let line = ["amdgpu-lab", "run"].iter().chain(own).map(OsString::from);
    let line = line.chain(options.iter().cloned());
    let Command::Run(given) = Cli::try_parse_from(line)?.command else {
        anyhow::bail!("only options of `run` stand behind those of this subcommand");
    };
    Ok(*given)
}

/// Runs the scenarios of each finding that has a patch, without it and with it.
fn show_findings(arguments: &FindingsArgs, cache: &Cache, progress: &Progress) -> Result<Overall> {
    let folder = machine::cargo::workspace().join("docs/findings");
    let given = run_options(&["--all"], &arguments.options)?;
    let scenarios = catalogue::shipped(texts())?;
    let proofs = findings::proofs(&folder, &scenarios, &arguments.numbers)?;
    anyhow::ensure!(
        !proofs.is_empty(),
        "none of these findings has a patch in {}",
        folder.display()
    );
    let mut lines = Vec::new();
    let mut verdict = Overall::Pass;
    for proof in &proofs {
        let mut seen = Vec::new();
        for (personality, here) in by_personality(&proof.scenarios, given.gpu.personality()) {
            let run = |patches: Vec<PathBuf>| -> Result<Vec<Outcome>> {
                let request = runner::Request {
                    scenarios: here.clone(),
                    kernels: vec![KernelChoice::Suite(proof.suite)],
                    controls: Controls::None,
                    jobs: given.jobs,
                    attempts: given.attempts,
                    options: Options {
                        change: Change {
                            patches,
                            ..Change::default()
                        },
                        personality,
                        ..given.options()?
                    },
                };
                Ok(runner::run(&request, cache, progress)?.1)
            };
            let before = run(Vec::new())?;
            let after = run(vec![proof.patch.clone()])?;
            for scenario in &here {
                let shown = findings::Shown::of(proof, &scenario.name, &before, &after);
                lines.push(shown.line(proof, &scenario.name));
                seen.push(shown);
            }
        }
        if !findings::proven(&seen) {
            verdict = Overall::Fail;
        }
    }
    println!();
    for line in lines {
        println!("{line}");
    }
    Ok(verdict)
}

/// Runs each mutant with the scenarios that have to notice it.
fn run_mutants(
    arguments: &MutantsArgs,
    cache: impl FnOnce() -> Result<Cache, machine::fetch::FetchError>,
    progress: &Progress,
) -> Result<Overall> {
    let all = mutants::file::shipped()?;
    let chosen = mutants::file::named(all.clone(), &arguments.names)?;
    if arguments.list {
        print!("{}", mutants::list(&chosen));
        return Ok(Overall::Pass);
    }
    let given = run_options(&["--all", "--kernel", mutants::KERNEL], &arguments.options)?;
    let request = runner::Request {
        scenarios: catalogue::shipped(texts())?,
        kernels: given.kernels()?,
        controls: Controls::None,
        jobs: given.jobs,
        attempts: given.attempts,
        options: given.options()?,
    };
    let (folder, rows) = mutants::run(&request, &all, &chosen, &cache()?, progress)?;
    print!("\n{}", mutants::table(&rows));
    println!("\n{:<12}{}", "logs", folder.display());
    Ok(if rows.iter().all(|row| row.fate.is_good()) {
        Overall::Pass
    } else {
        Overall::Fail
    })
}

/// Runs at once, and then after each change, until the user ends it. The verdict is the last one.
fn watch(
    arguments: &RunArgs,
    cache: impl Fn() -> Result<Cache, machine::fetch::FetchError>,
    progress: &Progress,
) -> Result<Overall> {
    let sources = arguments.sources()?;
    anyhow::ensure!(
        !sources.is_empty(),
        "there is nothing to watch: give a tree with --driver-src DIR or --kernel lean:DIR, or patches with --patch"
    );
    anyhow::ensure!(
        arguments.wants_scenarios(),
        "watch runs scenarios: give a name, --tag or --all (`amdgpu-lab list` has them)"
    );
    let mut watched = Watched::new(sources);
    loop {
        // Code that does not compile is no reason to end.
        let verdict = run_scenarios(arguments, &cache, progress).unwrap_or_else(|error| {
            eprintln!("amdgpu-lab: {error:#}");
            Overall::Unknown
        });
        println!("\nwatching {} sources; Ctrl-C ends it", watched.count());
        let Some(changed) = watched.wait() else {
            return Ok(verdict);
        };
        for path in &changed {
            println!("changed  {}", path.display());
        }
    }
}

fn kernel(arguments: &KernelArgs, cache: &Cache, progress: &Progress) -> Result<Overall> {
    let change = Change {
        patches: arguments.patch.clone(),
        ..Change::default()
    };
    let source = Source::parse(&arguments.source);
    let built = Builder::new(cache, progress).kernel(arguments.config, &source, &change)?;
    for (name, path) in [("image", &built.what.image), ("modules", &built.what.modules)] {
        println!("{name:<12}{}", path.display());
    }
    Ok(Overall::Pass)
}

fn report(arguments: &ReportArgs) -> Result<Overall> {
    let mut outcomes = Vec::new();
    for folder in &arguments.folders {
        outcomes.extend(files::rewrite(folder)?);
    }
    let text = match arguments.format {
        ReportFormat::Table => table::text(&outcomes, colours()),
        ReportFormat::Markdown => table::markdown(&outcomes),
        ReportFormat::Junit => junit::xml(&outcomes)?,
        ReportFormat::Ktap => ktap::text(&outcomes),
        ReportFormat::Compute => compute::markdown(&outcomes),
    };
    print!("{text}");
    Ok(outcome::overall(&outcomes))
}

fn fetch(arguments: &FetchArgs, cache: &Cache) -> Result<Overall> {
    for suite in &arguments.kernel {
        let kernel = cache.kernel(*suite)?;
        println!(
            "{:<18}{}  {}",
            suite.name(),
            kernel.release,
            kernel.image.display()
        );
    }
    println!("{:<18}{}", "firmware", cache.firmware()?.display());
    println!("{:<18}{}", "shell", cache.busybox()?.display());
    if let Some(root) = arguments.root {
        println!("{:<18}{}", "root", cache.root(root)?.image.display());
    }
    let qemu = Qemu::find(None, cache)?;
    println!("{:<18}{}", "qemu", qemu.version);
    Ok(Overall::Pass)
}

/// An installed lab has its scenarios in it; another one has the sources.
fn texts() -> catalogue::Texts {
    if parts::installed() {
        catalogue::Texts::BuiltIn
    } else {
        catalogue::Texts::Present
    }
}
