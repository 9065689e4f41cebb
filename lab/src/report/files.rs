//! The reports as files: a page in every boot's folder, and the matrix in that of the run.

use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::timeline::{Evidence, Timeline};
use super::{html, junit, ktap, table};
use crate::scenario::outcome::{OF_BOOT, OF_RUN, Outcome};

/// The page about a boot, in its folder.
pub const PAGE: &str = "report.html";

/// Writes the page about a boot into its folder, from the evidence that is there.
pub fn write_page(folder: &Path, outcomes: &[Outcome]) -> io::Result<()> {
    let timeline = Timeline::new(&Evidence::read(folder)?, outcomes);
    fs::write(folder.join(PAGE), html::page(outcomes, &timeline)?)
}

/// Writes everything about a run into its folder: `index.html`, `matrix.md`, `junit.xml`, `results.ktap`, and a page for each
/// boot that left a folder.
pub fn write_run(folder: &Path, outcomes: &[Outcome]) -> io::Result<()> {
    fs::write(folder.join("matrix.md"), table::markdown(outcomes))?;
    fs::write(folder.join("junit.xml"), junit::xml(outcomes)?)?;
    fs::write(folder.join("results.ktap"), ktap::text(outcomes))?;
    fs::write(folder.join("index.html"), html::index(outcomes, folder))?;
    let mut boots: Vec<&Path> = outcomes.iter().map(|outcome| outcome.folder.as_path()).collect();
    boots.sort_unstable();
    boots.dedup();
    for boot in boots.into_iter().filter(|boot| boot.is_dir()) {
        let of_boot: Vec<Outcome> = outcomes
            .iter()
            .filter(|outcome| outcome.folder == boot)
            .cloned()
            .collect();
        write_page(boot, &of_boot)?;
    }
    Ok(())
}

/// Writes the reports of a folder anew from what a run left there, and gives its outcomes.
pub fn rewrite(folder: &Path) -> io::Result<Vec<Outcome>> {
    if let Some(outcomes) = read::<Vec<Outcome>>(&folder.join(OF_RUN))? {
        write_run(folder, &outcomes)?;
        return Ok(outcomes);
    }
    let outcomes = match read::<Vec<Outcome>>(&folder.join(OF_BOOT))? {
        Some(outcomes) => outcomes,
        None => match read::<Single>(&folder.join("report.json"))? {
            Some(single) => vec![single.outcome(folder)],
            None => {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    format!(
                        "{} holds none of {OF_RUN}, {OF_BOOT} and report.json: it is no run's folder",
                        folder.display()
                    ),
                ));
            }
        },
    };
    write_page(folder, &outcomes)?;
    Ok(outcomes)
}

/// What the page needs of `report.json`, the report of a run that is no scenario.
#[derive(Debug, Deserialize)]
struct Single {
    verdict: super::Verdict,
    reasons: Vec<String>,
    kernel: String,
    steps: Vec<super::StepReport>,
    seconds: f64,
}

impl Single {
    fn outcome(self, folder: &Path) -> Outcome {
        super::Report {
            verdict: self.verdict,
            reasons: self.reasons,
            kernel: self.kernel,
            steps: self.steps,
            seconds: self.seconds,
            ..super::Report::new()
        }
        .outcome(folder)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display())))
}
