//! Mutants: defects that are put into the driver, all in one build with a selector, and the scenarios that have to notice them.

pub mod diff;
pub mod file;
pub mod judge;
pub mod place;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use machine::fetch::Cache;
use machine::kbuild::{self, Change, source};
use machine::progress::Progress;
use protocol::personality::Personality;
use scenario::model::Scenario;
use scenario::outcome::Outcome;
use scenario::plan::by_personality;

use self::file::Mutant;
use self::judge::Fate;
use self::place::{Added, SELECTOR};
use crate::options::{Begin, KernelChoice, Options};
use crate::run;
use crate::runner;

/// The kernel whose source the shipped mutants are for.
pub const KERNEL: &str = "lean:trixie";
/// The file that has the selector.
const OF_SELECTOR: &str = "amdgpu/amdgpu_drv.c";
/// The module's parameter.
const PARAMETER: &str = "lab_mutant";
/// The patch in the run's folder.
const PATCH: &str = "mutants.patch";

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// The mutant.
    pub mutant: String,
    /// The scenario; none if it ran nowhere.
    pub scenario: Option<String>,
    /// What became of it.
    pub fate: Fate,
    /// The first reason of the scenario's, or why it survives.
    pub reason: String,
}

/// The patch with all mutants for a driver whose source is below `tree`.
///
/// # Errors
/// If a file cannot be read, or a mutant has no place in it.
pub fn patch(tree: &Path, mutants: &[(usize, Mutant)]) -> Result<String> {
    let mut files: BTreeMap<&str, Vec<&(usize, Mutant)>> = BTreeMap::from([(OF_SELECTOR, Vec::new())]);
    for mutant in mutants {
        files.entry(&mutant.1.file).or_default().push(mutant);
    }
    let mut text = String::from("Subject: mutants for recovery\n\n");
    for (file, mutants) in files {
        let path = tree.join(kbuild::AMD).join(file);
        let source = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let lines: Vec<_> = source.lines().collect();
        let mut added = Vec::new();
        if !mutants.is_empty() {
            let first = lines.iter().position(|line| line.starts_with("#include"));
            added.push(Added {
                at: first.with_context(|| format!("{file} includes nothing"))?,
                line: format!("extern int {SELECTOR};"),
            });
        }
        for (number, mutant) in mutants {
            let place = place::added(mutant, *number, &lines);
            added.push(place.with_context(|| format!("the mutant {:?}", mutant.name))?);
        }
        if file == OF_SELECTOR {
            added.extend(
                [
                    format!("int {SELECTOR};"),
                    format!("module_param_named({PARAMETER}, {SELECTOR}, int, 0644);"),
                ]
                .map(|line| Added {
                    at: lines.len(),
                    line,
                }),
            );
        }
        text.push_str(&diff::unified(&format!("{}/{file}", kbuild::AMD), &lines, &added));
    }
    Ok(text)
}

/// The name of a scenario that runs with a mutant.
fn pair(mutant: &Mutant, scenario: &Scenario) -> String {
    format!("{}+{}", mutant.name, scenario.name)
}

/// The scenarios with their mutants, each in a guest of its own.
fn pairs(mutants: &[(usize, Mutant)], known: &[Scenario]) -> Result<Vec<Scenario>, file::FileError> {
    let mut pairs = Vec::new();
    for (number, mutant) in mutants {
        for scenario in file::scenarios_of(mutant, known)? {
            let mut with = scenario.clone();
            with.name = pair(mutant, scenario);
            with.share_boot = false;
            with.controls.clear();
            let append = format!("{} amdgpu.{PARAMETER}={number}", with.machine.append);
            append.trim().clone_into(&mut with.machine.append);
            pairs.push(with);
        }
    }
    Ok(pairs)
}

/// Builds the driver with all mutants, runs the scenarios that are named without one, and then each mutant with its own.
///
/// # Errors
/// If there is no patch, or no run.
pub fn run(
    request: &runner::Request,
    all: &[(usize, Mutant)],
    chosen: &[(usize, Mutant)],
    cache: &Cache,
    progress: &Progress,
) -> Result<(PathBuf, Vec<Row>)> {
    let known = &request.scenarios;
    let with = pairs(chosen, known)?;
    let mut named: Vec<Scenario> = Vec::new();
    for (_, mutant) in chosen {
        for scenario in file::scenarios_of(mutant, known)? {
            if !named.contains(scenario) {
                named.push(scenario.clone());
            }
        }
    }
    let kernel = request.kernels.first().context("no kernel")?;
    let KernelChoice::Built { source, .. } = kernel else {
        anyhow::bail!("mutants need a kernel that the lab builds, such as --kernel lean:trixie");
    };
    let folder = run::run_folder(request.options.folder.as_deref(), "mutants")?;
    let tree = source::folder(source, cache, progress)?;
    let path = folder.join(PATCH);
    fs::write(&path, patch(&tree, all)?).with_context(|| format!("writing {}", path.display()))?;
    let go = |scenarios: &[Scenario], name: &str, attempts| -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        for (personality, scenarios) in by_personality(scenarios, Personality::BareMetal) {
            let request = runner::Request {
                scenarios,
                attempts,
                options: Options {
                    change: Change {
                        patches: vec![path.clone()],
                        ..request.options.change.clone()
                    },
                    // A checkpoint has the driver loaded already: each mutant would need its own.
                    begin: Begin::Boot,
                    personality,
                    folder: Some(folder.join(format!("{name}-{personality}"))),
                    ..request.options.clone()
                },
                ..request.clone()
            };
            outcomes.extend(runner::run(&request, cache, progress)?.1);
        }
        Ok(outcomes)
    };
    let baseline = go(&named, "baseline", request.attempts)?;
    // Mutants that break a guest take as long as they take: twice would say nothing more.
    let outcomes = go(&with, "mutants", 1)?;
    Ok((folder, rows(chosen, known, &baseline, &outcomes)?))
}

fn rows<'a>(
    mutants: &[(usize, Mutant)],
    known: &[Scenario],
    baseline: &'a [Outcome],
    outcomes: &'a [Outcome],
) -> Result<Vec<Row>, file::FileError> {
    let find = |outcomes: &'a [Outcome], name: &str| outcomes.iter().find(|outcome| outcome.scenario == name);
    let mut rows = Vec::new();
    for (_, mutant) in mutants {
        let why = mutant.equivalent.as_ref().or(mutant.open.as_ref());
        if mutant.scenarios.is_empty() {
            rows.push(Row {
                mutant: mutant.name.clone(),
                scenario: None,
                fate: judge::without_run(mutant),
                reason: why.cloned().unwrap_or_default(),
            });
        }
        for scenario in file::scenarios_of(mutant, known)? {
            let clean = find(baseline, &scenario.name).map(|outcome| &outcome.verdict);
            let outcome = find(outcomes, &pair(mutant, scenario));
            let fate = outcome.map_or(Fate::Unknown, |outcome| judge::fate(mutant, clean, outcome));
            let said = outcome.and_then(|outcome| outcome.reasons.first());
            let reason = match fate {
                Fate::Open | Fate::Equivalent => why,
                _ => said,
            };
            rows.push(Row {
                mutant: mutant.name.clone(),
                scenario: Some(scenario.name.clone()),
                fate,
                reason: reason
                    .and_then(|text| text.lines().next())
                    .unwrap_or_default()
                    .to_owned(),
            });
        }
    }
    Ok(rows)
}

/// The table, and how many there are of each.
pub fn table(rows: &[Row]) -> String {
    let widest = |text: fn(&Row) -> &str| rows.iter().map(|row| text(row).len()).max().unwrap_or(0);
    let scenario = |row: &Row| row.scenario.clone().unwrap_or_else(|| "-".to_owned());
    let of_mutant = widest(|row| &row.mutant);
    let of_scenario = widest(|row| row.scenario.as_deref().unwrap_or("-"));
    let mut text = String::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        *counts.entry(row.fate.word()).or_default() += 1;
        let line = format!(
            "{:<of_mutant$}  {:<of_scenario$}  {:<16}  {}",
            row.mutant,
            scenario(row),
            row.fate.word(),
            row.reason
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    text.push_str(&format!("\n{} rows: {}\n", rows.len(), counts.join(", ")));
    text
}

/// The mutants, for `--list`.
pub fn list(mutants: &[(usize, Mutant)]) -> String {
    let widest = mutants
        .iter()
        .map(|(_, mutant)| mutant.name.len())
        .max()
        .unwrap_or(0);
    mutants
        .iter()
        .map(|(number, mutant)| {
            let fate = match judge::without_run(mutant) {
                Fate::Unknown => mutant.scenarios.join(", "),
                fate => fate.word().to_owned(),
            };
            format!(
                "{number:>3}  {:<widest$}  {} [{fate}]\n",
                mutant.name, mutant.about
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use scenario::catalogue::{Texts, shipped};

    use scenario::outcome::Verdict;

    use super::*;

    fn tree(text: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let amdgpu = folder.path().join(kbuild::AMD).join("amdgpu");
        fs::create_dir_all(&amdgpu).unwrap();
        fs::write(amdgpu.join("amdgpu_drv.c"), "#include <a.h>\n").unwrap();
        fs::write(amdgpu.join("a.c"), text).unwrap();
        folder
    }

    fn mutant(rest: &str) -> Mutant {
        let head = "name = \"m\"\nabout = \"x\"\nfile = \"amdgpu/a.c\"\nfunction = \"f\"\nskip = true\n";
        file::read("x", &format!("[[mutant]]\n{head}{rest}"))
            .unwrap()
            .remove(0)
    }

    #[test]
    fn the_patch_has_the_selector_and_every_mutant() {
        let tree = tree("#include <a.h>\nint f(void)\n{\n\tg();\n\treturn 1;\n}\n");
        let mutants = [(3, mutant("before = \"g();\"\nopen = \"x\""))];
        let text = patch(tree.path(), &mutants).unwrap();
        for line in [
            "+extern int amdgpu_lab_mutant;",
            "+\tif (likely(amdgpu_lab_mutant != 3))",
            "+int amdgpu_lab_mutant;",
            "+module_param_named(lab_mutant, amdgpu_lab_mutant, int, 0644);",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        let missing = [(1, mutant("before = \"h();\"\nopen = \"x\""))];
        let error = format!("{:#}", patch(tree.path(), &missing).unwrap_err());
        assert!(error.contains("\"m\"") && error.contains("a.c"), "{error}");
    }

    #[test]
    fn a_pair_has_its_mutant_on_the_command_line() {
        let known = shipped(Texts::Present).unwrap();
        let mutants = [(
            5,
            mutant("before = \"x\"\nscenarios = [\"mode1-smu\"]\nreason = \"x\""),
        )];
        let pairs = pairs(&mutants, &known).unwrap();
        assert_eq!(pairs[0].name, "m+mode1-smu");
        assert!(pairs[0].machine.append.ends_with("amdgpu.lab_mutant=5"));
        let bad = [(
            5,
            mutant("before = \"x\"\nscenarios = [\"nothing\"]\nreason = \"x\""),
        )];
        self::pairs(&bad, &known).unwrap_err();
    }

    #[test]
    fn rows_are_judged_by_the_same_scenario_without_a_mutant() {
        let known = shipped(Texts::Present).unwrap();
        let mutants = [
            (
                1,
                mutant("before = \"x\"\nscenarios = [\"mode1-smu\", \"mode1-psp\"]\nreason = \"bad\""),
            ),
            (
                2,
                Mutant {
                    name: "n".to_owned(),
                    ..mutant("before = \"x\"\nopen = \"a TLB\"")
                },
            ),
        ];
        let outcome = |name: &str, verdict, reason: &str| Outcome {
            scenario: name.to_owned(),
            verdict,
            reasons: vec![reason.to_owned()],
            ..Outcome::new()
        };
        let baseline = [outcome("mode1-smu", Verdict::Pass, "")];
        let outcomes = [
            outcome("m+mode1-smu", Verdict::Fail, "bad memory"),
            outcome("m+mode1-psp", Verdict::Fail, "bad memory"),
        ];
        let rows = rows(&mutants, &known, &baseline, &outcomes).unwrap();
        let fates: Vec<_> = rows.iter().map(|row| row.fate).collect();
        assert_eq!(fates, [Fate::Killed, Fate::Unknown, Fate::Open]);
        assert!(
            table(&rows).ends_with("3 rows: 1 UNKNOWN, 1 killed, 1 open\n"),
            "{}",
            table(&rows)
        );
    }
}
