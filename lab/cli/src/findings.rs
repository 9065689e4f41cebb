//! Findings that are proven: the scenario shows the bug on the distribution's driver, and passes with the patch beside the finding's page.
//!
//! Patches are `docs/findings/NNNN-name.SERIES.patch`, for the page `NNNN-name.md` and the kernels of that series.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use machine::fetch::Suite;
use scenario::kernels::Version;
use scenario::model::Scenario;
use scenario::outcome::{Outcome, Verdict};

/// A patch, and what it has to mend.
#[derive(Debug, Clone)]
pub struct Proof {
    /// The page's file name without its ending.
    pub finding: String,
    /// The kernel.
    pub suite: Suite,
    /// The patch.
    pub patch: PathBuf,
    /// The scenarios that name the page for this kernel.
    pub scenarios: Vec<Scenario>,
}

/// Why there is nothing to prove.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindingsError {
    /// The folder.
    #[error("cannot read the findings in {}: they are in the project's sources, in docs/findings", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A name that says nothing.
    #[error("{} is named neither for a page nor for a kernel: expected NNNN-name.SERIES.patch with a series of {}", path.display(), series())]
    Name {
        /// The patch.
        path: PathBuf,
    },
    /// No scenario.
    #[error("no scenario names {page} for Linux {series} as a known bug, so that nothing shows whether {} mends it", path.display())]
    Unshown {
        /// The patch.
        path: PathBuf,
        /// The page.
        page: String,
        /// The kernel.
        series: &'static str,
    },
}

/// The kernels that patches can be for.
const SERIES: [(&str, Suite); 3] = [
    ("6.1", Suite::Bookworm),
    ("6.12", Suite::Trixie),
    ("7.3", Suite::TrixieBackports),
];

fn series() -> String {
    SERIES.map(|(series, _)| series).join(", ")
}

/// The proofs of a folder; only those of some findings, if any are named by number.
///
/// # Errors
/// [`FindingsError`] for a patch that belongs to no page, no kernel, or no scenario.
pub fn proofs(folder: &Path, scenarios: &[Scenario], wanted: &[u32]) -> Result<Vec<Proof>, FindingsError> {
    let failed = |source| FindingsError::Folder {
        folder: folder.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|kind| kind == "patch") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut proofs = Vec::new();
    for path in paths {
        let (finding, series, suite) =
            parts(&path).ok_or_else(|| FindingsError::Name { path: path.clone() })?;
        let number = finding.split('-').next().and_then(|number| number.parse().ok());
        if !wanted.is_empty() && !number.is_some_and(|number: u32| wanted.contains(&number)) {
            continue;
        }
        let page = format!("docs/findings/{finding}.md");
        let kernel = Version::leading(series);
        let shows = |scenario: &&Scenario| {
            let mut bugs = scenario.known_bugs.iter();
            bugs.any(|bug| bug.finding == page && bug.kernels.include(&kernel))
        };
        let shown: Vec<_> = scenarios.iter().filter(shows).cloned().collect();
        if shown.is_empty() {
            return Err(FindingsError::Unshown { path, page, series });
        }
        proofs.push(Proof {
            finding,
            suite,
            patch: path,
            scenarios: shown,
        });
    }
    Ok(proofs)
}

/// `0027-name.6.1.patch`: the page, the series, and the kernel.
fn parts(path: &Path) -> Option<(String, &'static str, Suite)> {
    let name = path.file_name()?.to_str()?.strip_suffix(".patch")?;
    let (page, rest) = name.split_once('.')?;
    let (series, suite) = SERIES.into_iter().find(|(series, _)| *series == rest)?;
    Some((page.to_owned(), series, suite))
}

/// What came of a proof for one scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The bug was seen on the distribution's driver.
    pub bug: bool,
    /// The scenario passes with the patch.
    pub mended: bool,
    /// It passes without it as well: some bugs show by chance only.
    pub by_chance: bool,
}

/// Whether what was seen of all scenarios of a finding proves it: one shows the bug, all pass with the patch, and those that do not show it pass without.
pub fn proven(seen: &[Shown]) -> bool {
    seen.iter().any(|shown| shown.bug)
        && seen
            .iter()
            .all(|shown| shown.mended && (shown.bug || shown.by_chance))
}

impl Shown {
    /// Of the outcomes without and with the patch.
    pub fn of(proof: &Proof, scenario: &str, before: &[Outcome], after: &[Outcome]) -> Self {
        let page = format!("docs/findings/{}.md", proof.finding);
        let find = |outcomes: &[Outcome], wanted: &dyn Fn(&Verdict) -> bool| {
            let mut of_scenario = outcomes.iter().filter(|outcome| outcome.scenario == scenario);
            of_scenario.any(|outcome| wanted(&outcome.verdict))
        };
        Self {
            bug: find(
                before,
                &|cell| matches!(cell, Verdict::DriverBug { finding } if *finding == page),
            ),
            mended: find(after, &|cell| *cell == Verdict::Pass),
            by_chance: find(before, &|cell| *cell == Verdict::Pass),
        }
    }

    /// A line of the table.
    pub fn line(self, proof: &Proof, scenario: &str) -> String {
        let bug = match (self.bug, self.by_chance) {
            (true, _) => "bug shown",
            (false, true) => "not this time",
            (false, false) => "BUG NOT SHOWN",
        };
        let mended = if self.mended {
            "patched: pass"
        } else {
            "PATCHED: NO PASS"
        };
        format!(
            "{:<44} {:<17} {scenario:<24} {bug:<14} {mended}",
            proof.finding,
            proof.suite.name()
        )
    }
}

#[cfg(test)]
mod tests {
    use scenario::catalogue;

    use super::*;

    #[test]
    fn a_patch_is_named_for_its_page_and_its_kernel() {
        let parts = |name: &str| parts(Path::new(name)).map(|(page, series, _)| (page, series));
        assert_eq!(
            parts("/d/0027-reset-event.6.1.patch"),
            Some(("0027-reset-event".to_owned(), "6.1"))
        );
        assert_eq!(parts("0029-x.6.12.patch"), Some(("0029-x".to_owned(), "6.12")));
        assert_eq!(parts("0029-x.6.13.patch"), None);
        assert_eq!(parts("0029-x.patch"), None);
    }

    #[test]
    fn every_patch_has_a_scenario_that_shows_what_it_mends() {
        let scenarios = catalogue::shipped(catalogue::Texts::Present).unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/findings");
        let all = proofs(&folder, &scenarios, &[]).unwrap();
        assert!(!all.is_empty());
        for proof in &all {
            let page = folder.join(format!("{}.md", proof.finding));
            assert!(page.is_file(), "{}", page.display());
        }
        let one = proofs(&folder, &scenarios, &[29]).unwrap();
        assert!(one.iter().all(|proof| proof.finding.starts_with("0029-")) && !one.is_empty());
    }

    #[test]
    fn a_patch_that_nothing_shows_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("0099-x.6.1.patch"), "").unwrap();
        let error = proofs(folder.path(), &[], &[]).unwrap_err().to_string();
        assert!(error.contains("0099-x"), "{error}");
    }

    #[test]
    fn a_bug_that_is_not_shown_proves_nothing() {
        let proof = Proof {
            finding: "0027-x".into(),
            suite: Suite::Bookworm,
            patch: PathBuf::new(),
            scenarios: Vec::new(),
        };
        let outcome = |verdict| Outcome {
            scenario: "a".into(),
            verdict,
            ..Outcome::new()
        };
        let bug = |page: &str| {
            outcome(Verdict::DriverBug {
                finding: format!("docs/findings/{page}.md"),
            })
        };
        let pass = [outcome(Verdict::Pass)];
        let of = |before: Outcome, after: &[Outcome]| Shown::of(&proof, "a", &[before], after);
        assert_eq!(
            of(bug("0027-x"), &pass),
            Shown {
                bug: true,
                mended: true,
                by_chance: false
            }
        );
        assert!(!of(bug("0028-y"), &pass).bug);
        assert!(!of(bug("0027-x"), &[outcome(Verdict::Fail)]).mended);
        assert!(!Shown::of(&proof, "b", &[bug("0027-x")], &pass).mended);
    }

    #[test]
    fn a_scenario_that_shows_a_bug_by_chance_needs_another_that_shows_it() {
        let shown = |bug, mended, by_chance| Shown {
            bug,
            mended,
            by_chance,
        };
        let (always, by_chance) = (shown(true, true, false), shown(false, true, true));
        assert!(proven(&[always, by_chance]));
        assert!(!proven(&[by_chance]));
        assert!(!proven(&[always, shown(true, false, false)]));
        assert!(!proven(&[always, shown(false, true, false)]));
    }
}
