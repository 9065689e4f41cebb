//! The reports as files: a page in every boot's folder, and the matrix in that of the run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use scenario::outcome::{OF_BOOT, OF_RUN, Outcome};
use serde::de::DeserializeOwned;

use super::timeline::{Evidence, Timeline};
use super::{html, junit, ktap, table};

/// The page about a boot, in its folder.
pub const PAGE: &str = "report.html";

/// The page about a run of scenarios, in its folder.
pub const INDEX: &str = "index.html";

/// Writes the page about a boot into its folder, from the evidence that is there.
pub fn write_page(folder: &Path, outcomes: &[Outcome]) -> io::Result<()> {
    let timeline = Timeline::new(&Evidence::read(folder)?, outcomes);
    fs::write(folder.join(PAGE), html::page(outcomes, &timeline)?)
}

/// Writes what there is to say about a whole run into its folder: `index.html`, `matrix.md`, `junit.xml`, `results.ktap`.
pub fn write_matrix(folder: &Path, outcomes: &[Outcome]) -> io::Result<()> {
    fs::write(folder.join("matrix.md"), table::markdown(outcomes))?;
    fs::write(folder.join("junit.xml"), junit::xml(outcomes)?)?;
    fs::write(folder.join("results.ktap"), ktap::text(outcomes))?;
    fs::write(folder.join(INDEX), html::index(outcomes, folder))
}

/// Writes a page into the folder of each boot.
pub fn write_pages(outcomes: &[Outcome]) -> io::Result<()> {
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
    if let Some(mut outcomes) = read::<Vec<Outcome>>(&folder.join(OF_RUN))? {
        for outcome in &mut outcomes {
            outcome.folder = moved(folder, &outcome.folder);
        }
        write_matrix(folder, &outcomes)?;
        write_pages(&outcomes)?;
        return Ok(outcomes);
    }
    let outcomes = match read::<Vec<Outcome>>(&folder.join(OF_BOOT))? {
        Some(outcomes) => outcomes,
        None => {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!(
                    "{} holds neither {OF_RUN} nor {OF_BOOT}: it is no run's folder",
                    folder.display()
                ),
            ));
        }
    };
    write_page(folder, &outcomes)?;
    Ok(outcomes)
}

/// Where a boot's folder is now that the run's folder is here: a CI system collects runs, and people copy them.
fn moved(run: &Path, boot: &Path) -> PathBuf {
    let names: Vec<_> = boot.iter().collect();
    (0..names.len())
        .filter_map(|skipped| names.get(skipped..))
        .map(|rest| run.join(rest.iter().collect::<PathBuf>()))
        .find(|candidate| candidate.starts_with(run) && candidate.is_dir())
        .unwrap_or_else(|| boot.to_owned())
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

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    /// A run's folder as the lab leaves it, with one boot.
    fn run() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let boot = folder.path().join("6.1.0/01 mode1");
        fs::create_dir_all(&boot).unwrap();
        for name in ["console.jsonl", "events.jsonl"] {
            fs::copy(fixture::mode1().join(name), boot.join(name)).unwrap();
        }
        let mut outcomes = fixture::mode1_outcomes();
        outcomes[0].folder = PathBuf::from("/elsewhere/runs/1/6.1.0/01 mode1");
        fs::write(folder.path().join(OF_RUN), serde_json::to_vec(&outcomes).unwrap()).unwrap();
        folder
    }

    #[test]
    fn a_run_that_was_moved_is_reported_where_it_is() {
        let folder = run();
        let outcomes = rewrite(folder.path()).unwrap();
        assert_eq!(outcomes[0].folder, folder.path().join("6.1.0/01 mode1"));
        for name in [
            "matrix.md",
            "junit.xml",
            "results.ktap",
            "6.1.0/01 mode1/report.html",
        ] {
            assert!(folder.path().join(name).is_file(), "{name}");
        }
        let index = fs::read_to_string(folder.path().join(INDEX)).unwrap();
        assert!(
            index.contains("href=\"6.1.0/01%20mode1/report.html#mode1-poison\""),
            "{index}"
        );
    }

    #[test]
    fn a_folder_without_a_run_is_refused_with_what_was_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let error = rewrite(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("outcomes.json") && error.contains("outcome.json"),
            "{error}"
        );
    }
}
