//! The scenarios there are: the shipped ones by name, the user's own by path.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::diagnostic::{Rejected, did_you_mean};
use super::model::Scenario;
use super::parse::parse;

/// The shipped files, by file name, as they were when this program was built.
const SHIPPED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/scenarios.rs"));
/// Where they come from. With the sources at hand their present text counts, but for an installed lab.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");

/// Why there is no such scenario.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogueError {
    /// No shipped scenario has the name.
    #[error(
        "there is no scenario {name:?}{hint}; `amdgpu-lab list` shows those that there are, and a file of your own is given by its path, for example ./{name}.toml"
    )]
    Unknown {
        /// The name.
        name: String,
        /// One that is near, with a comma before it.
        hint: String,
    },
    /// No scenario has the tag.
    #[error("no scenario has the tag {tag:?}{hint}; there are: {known}")]
    NoTag {
        /// The tag.
        tag: String,
        /// One that is near, with a comma before it.
        hint: String,
        /// All tags.
        known: String,
    },
    /// A file that cannot be read.
    #[error("cannot read the scenario file {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is wrong.
    #[error("the scenario file cannot be used\n{0}")]
    Rejected(Rejected),
}

/// Where the text of the shipped files is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Texts {
    /// From this program: an installed lab has them as they were when it was built.
    BuiltIn,
    /// From the sources, if they are there: an edited file needs no new build.
    Present,
}

/// All shipped scenarios, by name.
pub fn shipped(texts: Texts) -> Result<Vec<Scenario>, CatalogueError> {
    let folder = Path::new(FOLDER);
    if texts == Texts::BuiltIn || !folder.is_dir() {
        return SHIPPED
            .iter()
            .map(|(name, text)| parse(Path::new(name), text).map_err(CatalogueError::Rejected))
            .collect();
    }
    let entries = fs::read_dir(folder).map_err(|source| CatalogueError::File {
        path: folder.to_owned(),
        source,
    })?;
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

/// The scenarios that are named, each once: shipped ones by name, files by path.
pub fn named(names: &[String], texts: Texts) -> Result<Vec<Scenario>, CatalogueError> {
    let mut found: Vec<Scenario> = Vec::new();
    let mut known = None;
    for name in names {
        let scenario = if name.contains('/') || name.ends_with(".toml") {
            read(Path::new(name))?
        } else {
            let known = match &known {
                Some(known) => known,
                None => known.insert(shipped(texts)?),
            };
            let scenario = known.iter().find(|scenario| scenario.name == *name);
            scenario.cloned().ok_or_else(|| CatalogueError::Unknown {
                name: name.clone(),
                hint: hint(name, known.iter().map(|scenario| scenario.name.as_str())),
            })?
        };
        if !found.contains(&scenario) {
            found.push(scenario);
        }
    }
    Ok(found)
}

/// Those with one of the tags; all without any.
pub fn tagged(scenarios: Vec<Scenario>, tags: &[String]) -> Result<Vec<Scenario>, CatalogueError> {
    let known: BTreeSet<&str> = scenarios
        .iter()
        .flat_map(|scenario| scenario.tags.iter().map(String::as_str))
        .collect();
    if let Some(tag) = tags.iter().find(|tag| !known.contains(tag.as_str())) {
        return Err(CatalogueError::NoTag {
            tag: tag.clone(),
            hint: hint(tag, known.iter().copied()),
            known: known.into_iter().collect::<Vec<_>>().join(", "),
        });
    }
    let wanted = |scenario: &Scenario| tags.is_empty() || scenario.tags.iter().any(|tag| tags.contains(tag));
    Ok(scenarios.into_iter().filter(wanted).collect())
}

fn hint<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    did_you_mean(word, known).map_or_else(String::new, |hint| format!(", {hint}"))
}

fn read(path: &Path) -> Result<Scenario, CatalogueError> {
    let text = fs::read_to_string(path).map_err(|source| CatalogueError::File {
        path: path.to_owned(),
        source,
    })?;
    let shown = std::env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok())
        .unwrap_or(path);
    parse(shown, &text).map_err(CatalogueError::Rejected)
}

/// A table of scenarios: name, kernels, tags, title.
pub fn table(scenarios: &[Scenario]) -> String {
    let row = |cells: [&str; 4]| cells.map(str::to_owned);
    let mut rows = vec![row(["NAME", "KERNELS", "TAGS", "TITLE"])];
    rows.extend(scenarios.iter().map(|scenario| {
        let kernels: Vec<_> = scenario
            .applies
            .iter()
            .filter(|rule| rule.reason.is_none())
            .map(|rule| rule.kernels.to_string())
            .collect();
        let kernels = if scenario.applies.is_empty() {
            "all".to_owned()
        } else {
            kernels.join("; ")
        };
        row([
            &scenario.name,
            &kernels,
            &scenario.tags.join(","),
            &scenario.title,
        ])
    }));
    let widths: Vec<_> = (0..4)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<_> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Everything about one scenario for a reader.
pub fn details(scenario: &Scenario) -> String {
    let mut text = format!("{}: {}\n\n", scenario.name, scenario.title);
    for line in scenario.about.lines() {
        text.push_str(&format!("  {line}\n"));
    }
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            text.push_str(&format!("\n{title}\n"));
        }
        for line in lines {
            text.push_str(&format!("  {line}\n"));
        }
    };
    let on = |kernels: &super::kernels::Kernels| match kernels.to_string() {
        kernels if kernels.is_empty() => String::new(),
        kernels => format!("  [{kernels}]"),
    };
    section(
        "parts",
        scenario
            .not_for
            .iter()
            .map(|(asic, reason)| format!("not {asic}: {reason}"))
            .collect(),
    );
    section(
        "kernels",
        scenario
            .applies
            .iter()
            .map(|rule| match &rule.reason {
                None => rule.kernels.to_string(),
                Some(reason) => format!("not {}: {reason}", rule.kernels),
            })
            .collect(),
    );
    section(
        "steps",
        scenario
            .steps
            .iter()
            .zip(1..)
            .map(|(step, number): (_, usize)| format!("{number}. {}{}", step.title(), on(&step.kernels)))
            .collect(),
    );
    section(
        "expects",
        scenario
            .expectations
            .iter()
            .map(|expectation| format!("{}{}", expectation.title(), on(&expectation.kernels)))
            .collect(),
    );
    section(
        "controls",
        scenario
            .controls
            .iter()
            .map(|control| {
                format!(
                    "{}, noticed by {}{}",
                    control.name,
                    control.fails.join(", "),
                    on(&control.kernels)
                )
            })
            .collect(),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::super::model::{CanFail, Expectation};
    use super::*;

    #[test]
    fn every_shipped_file_is_right_and_in_the_program() {
        let scenarios = shipped(Texts::Present).unwrap_or_else(|error| panic!("{error}"));
        let built_in: Vec<_> = SHIPPED
            .iter()
            .map(|(name, text)| parse(Path::new(name), text).unwrap_or_else(|error| panic!("{error}")))
            .collect();
        assert!(!scenarios.is_empty());
        assert_eq!(scenarios, built_in);
    }

    #[test]
    fn shipped_scenarios_say_what_they_are_about_and_can_fail() {
        for scenario in shipped(Texts::Present).unwrap() {
            assert!(!scenario.about.is_empty(), "{}", scenario.name);
            assert!(!scenario.tags.is_empty(), "{}", scenario.name);
            assert!(!scenario.expectations.is_empty(), "{}", scenario.name);
        }
    }

    /// That something is absent holds also where it could not be seen. That it can be seen is shown by a control, here or in another
    /// scenario, or said.
    #[test]
    fn every_negative_expectation_is_known_to_be_able_to_fail() {
        let scenarios = shipped(Texts::Present).unwrap();
        let controlled = |scenario: &Scenario, expectation: &Expectation| {
            let words = [expectation.label.as_deref(), Some(expectation.what.kind())];
            let mut fails = scenario.controls.iter().flat_map(|control| &control.fails);
            fails.any(|word| words.contains(&Some(word)))
        };
        let negative = |scenario: &'_ Scenario| {
            let all = scenario.expectations.iter();
            all.filter(|expectation| expectation.what.is_negative())
                .cloned()
                .collect::<Vec<_>>()
        };
        let mut count = 0;
        for scenario in &scenarios {
            for expectation in negative(scenario) {
                count += 1;
                let name = format!("{}: {}", scenario.name, expectation.title());
                let shown = match &expectation.can_fail {
                    None => controlled(scenario, &expectation),
                    Some(CanFail::Because(_)) => true,
                    Some(CanFail::In(other)) => scenarios
                        .iter()
                        .filter(|scenario| scenario.name == *other)
                        .any(|other| {
                            let same = negative(other).into_iter();
                            let mut same = same.filter(|same| same.what == expectation.what);
                            same.any(|same| controlled(other, &same))
                        }),
                };
                assert!(shown, "{name}: no control makes it fail, and nothing says why");
            }
        }
        assert!(count > 100, "{count}");
    }

    #[test]
    fn an_unknown_name_is_told_with_a_near_one() {
        let name = &shipped(Texts::Present).unwrap()[0].name;
        let error = named(&[format!("{name}x")], Texts::Present)
            .unwrap_err()
            .to_string();
        assert!(error.contains(&format!("did you mean `{name}`?")), "{error}");
        let error = named(&["/no/such.toml".into()], Texts::Present)
            .unwrap_err()
            .to_string();
        assert!(error.contains("/no/such.toml"), "{error}");
    }

    #[test]
    fn a_file_of_the_users_is_given_by_path_and_named_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        fs::write(
            &path,
            "title = \"t\"\ntags = [\"own\"]\nstep = [{ guest = \"info\" }]",
        )
        .unwrap();
        let path = path.display().to_string();
        let found = named(&[path.clone(), path], Texts::Present).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name, "mine");
        assert_eq!(table(&found).lines().last(), Some("mine  all      own   t"));
        assert_eq!(tagged(found.clone(), &["own".into()]).unwrap().len(), 1);
        let error = tagged(found, &["owm".into()]).unwrap_err().to_string();
        assert!(error.contains("did you mean `own`?"), "{error}");
    }
}
