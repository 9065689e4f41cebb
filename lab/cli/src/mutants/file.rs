//! Mutants as files have them: `lab/mutants/AREA.toml`.

use regex::Regex;
use scenario::model::Scenario;
use toml::de::{DeTable, DeValue};

/// The shipped files, by name.
pub const SHIPPED: &[(&str, &str)] = &[
    ("vm", include_str!("../../../mutants/vm.toml")),
    ("device", include_str!("../../../mutants/device.toml")),
    ("jobs", include_str!("../../../mutants/jobs.toml")),
    ("rings", include_str!("../../../mutants/rings.toml")),
    ("gmc", include_str!("../../../mutants/gmc.toml")),
    ("vf", include_str!("../../../mutants/vf.toml")),
];

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It is no TOML.
    #[error("lab/mutants/{file}.toml cannot be used:\n{source}")]
    Toml {
        /// Which.
        file: String,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// It has something other than mutants.
    #[error("lab/mutants/{file}.toml has something other than [[mutant]]")]
    Other {
        /// Which.
        file: String,
    },
    /// A mutant contradicts itself.
    #[error("the mutant {mutant:?} {what}")]
    Wrong {
        /// Its name.
        mutant: String,
        /// What is wrong.
        what: String,
    },
    /// No mutant has a name.
    #[error("there is no mutant {name:?}: amdgpu-lab mutants --list has them")]
    Unknown {
        /// The name.
        name: String,
    },
}

/// A defect for the driver, and who has to notice it.
#[derive(Debug, Clone, Default)]
pub struct Mutant {
    /// Its name.
    pub name: String,
    /// What the driver does wrong with it.
    pub about: String,
    /// The file, below `drivers/gpu/drm/amd`.
    pub file: String,
    /// The function.
    pub function: String,
    /// The line that it is put before contains this; the statement that begins there with `skip`.
    pub before: Option<String>,
    /// The line that it is put behind contains this.
    pub after: Option<String>,
    /// Which of the lines that contain it, from one.
    pub nth: usize,
    /// What is executed there.
    pub insert: Option<String>,
    /// The statement that begins there is not executed.
    pub skip: bool,
    /// The scenarios that have to notice it, each of them. For one that is `open`: those that might.
    pub scenarios: Vec<String>,
    /// One of the reasons of each FAIL has to match this regular expression.
    pub reason: Option<String>,
    /// Why no scenario can ever notice it.
    pub equivalent: Option<String>,
    /// Why no scenario notices it today, and what it would take.
    pub open: Option<String>,
}

impl Mutant {
    /// Reads one; gives what is wrong with a key otherwise.
    fn of(table: &DeTable<'_>) -> Result<Self, (String, String)> {
        let mut mutant = Self {
            nth: 1,
            ..Self::default()
        };
        for (key, value) in table {
            let key = key.get_ref().as_ref();
            let value = value.get_ref();
            let text = || value.as_str().map(str::to_owned);
            let read = match key {
                "name" => text().map(|text| mutant.name = text),
                "about" => text().map(|text| mutant.about = text),
                "file" => text().map(|text| mutant.file = text),
                "function" => text().map(|text| mutant.function = text),
                "before" => text().map(|text| mutant.before = Some(text)),
                "after" => text().map(|text| mutant.after = Some(text)),
                "insert" => text().map(|text| mutant.insert = Some(text)),
                "reason" => text().map(|text| mutant.reason = Some(text)),
                "equivalent" => text().map(|text| mutant.equivalent = Some(text)),
                "open" => text().map(|text| mutant.open = Some(text)),
                "skip" => value.as_bool().map(|skip| mutant.skip = skip),
                "nth" => positive(value).map(|nth| mutant.nth = nth),
                "scenarios" => texts(value).map(|texts| mutant.scenarios = texts),
                _ => None,
            };
            if read.is_none() {
                let name = table.get("name").and_then(|name| name.get_ref().as_str());
                let what = format!("has a key that is unknown, or of another kind: {key:?}");
                return Err((name.unwrap_or_default().to_owned(), what));
            }
        }
        Ok(mutant)
    }

    /// What is wrong with it, if anything.
    fn contradiction(&self) -> Option<String> {
        let survives = self.equivalent.is_some() || self.open.is_some();
        let what = match (&self.before, &self.after) {
            _ if [&self.name, &self.about, &self.file, &self.function].contains(&&String::new()) => {
                "needs `name`, `about`, `file` and `function`"
            }
            (Some(_), Some(_)) | (None, None) => "needs either `before` or `after`",
            (None, Some(_)) if self.skip => "skips the statement that begins `before` which line?",
            _ if self.insert.is_some() == self.skip => "needs either `insert` or `skip = true`",
            _ if self.equivalent.is_some() && self.open.is_some() => "cannot be both `equivalent` and `open`",
            _ if !survives && self.scenarios.is_empty() => {
                "needs `scenarios` that notice it, or `open` or `equivalent` with the reason why none does"
            }
            _ if !survives && self.reason.is_none() => "needs the `reason` that scenarios have to give",
            _ => {
                let error = Regex::new(self.reason.as_deref()?).err()?;
                return Some(format!("has a `reason` that is no regular expression: {error}"));
            }
        };
        Some(what.to_owned())
    }

    /// Whether it is known to survive.
    pub const fn survives(&self) -> bool {
        self.equivalent.is_some() || self.open.is_some()
    }
}

/// Reads one file.
///
/// # Errors
/// [`FileError`] for what is no file of mutants, and for a mutant that contradicts itself.
pub fn read(file: &str, text: &str) -> Result<Vec<Mutant>, FileError> {
    let table = DeTable::parse(text).map_err(|source| FileError::Toml {
        file: file.to_owned(),
        source: Box::new(source),
    })?;
    let other = || FileError::Other {
        file: file.to_owned(),
    };
    let mut mutants = Vec::new();
    for (key, value) in table.get_ref() {
        let list = value.get_ref().as_array().filter(|_| key.get_ref() == "mutant");
        for item in list.ok_or_else(other)? {
            let read = Mutant::of(item.get_ref().as_table().ok_or_else(other)?);
            let mutant = read.map_err(|(mutant, what)| FileError::Wrong { mutant, what })?;
            if let Some(what) = mutant.contradiction() {
                return Err(FileError::Wrong {
                    mutant: mutant.name,
                    what,
                });
            }
            mutants.push(mutant);
        }
    }
    Ok(mutants)
}

fn positive(value: &DeValue<'_>) -> Option<usize> {
    let number = value.as_integer().filter(|number| number.radix() == 10)?;
    number.as_str().parse().ok().filter(|number| *number > 0)
}

fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    let items = value.as_array()?.iter();
    items
        .map(|item| item.get_ref().as_str().map(str::to_owned))
        .collect()
}

/// All shipped mutants. The number of each is its place, from one: what the selector in the driver is set to.
///
/// # Errors
/// [`FileError`], also for a name that two have.
pub fn shipped() -> Result<Vec<(usize, Mutant)>, FileError> {
    let mut all: Vec<(usize, Mutant)> = Vec::new();
    for (file, text) in SHIPPED {
        for mutant in read(file, text)? {
            if all.iter().any(|(_, other)| other.name == mutant.name) {
                return Err(FileError::Wrong {
                    mutant: mutant.name,
                    what: "is there twice".to_owned(),
                });
            }
            all.push((all.len() + 1, mutant));
        }
    }
    Ok(all)
}

/// Those that are named, or whose scenarios are; all without names.
///
/// # Errors
/// [`FileError::Unknown`] for a name that none has.
pub fn named(mut all: Vec<(usize, Mutant)>, names: &[String]) -> Result<Vec<(usize, Mutant)>, FileError> {
    if let Some(name) = names
        .iter()
        .find(|name| !all.iter().any(|(_, mutant)| mutant.name == **name))
    {
        return Err(FileError::Unknown { name: name.clone() });
    }
    all.retain(|(_, mutant)| names.is_empty() || names.contains(&mutant.name));
    Ok(all)
}

/// The scenarios of a mutant.
///
/// # Errors
/// [`FileError::Wrong`] for one that does not exist.
pub fn scenarios_of<'s>(mutant: &Mutant, known: &'s [Scenario]) -> Result<Vec<&'s Scenario>, FileError> {
    let find = |name: &String| {
        known
            .iter()
            .find(|scenario| scenario.name == *name)
            .ok_or_else(|| FileError::Wrong {
                mutant: mutant.name.clone(),
                what: format!("names a scenario that does not exist: {name:?}"),
            })
    };
    mutant.scenarios.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use scenario::catalogue::{Texts, shipped as scenarios};

    use super::*;

    const GOOD: &str = "[[mutant]]\nname = \"a\"\nabout = \"x\"\nfile = \"amdgpu/a.c\"\nfunction = \"f\"\n\
                        before = \"x;\"\nskip = true\n";

    fn refusal(rest: &str) -> String {
        read("x", &format!("{GOOD}{rest}")).unwrap_err().to_string()
    }

    #[test]
    fn every_shipped_mutant_names_scenarios_that_exist() {
        let known = scenarios(Texts::Present).unwrap();
        for (_, mutant) in shipped().unwrap() {
            scenarios_of(&mutant, &known).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    #[test]
    fn a_mutant_is_killed_by_scenarios_or_says_why_not() {
        assert!(refusal("").contains("needs `scenarios`"));
        assert!(refusal("scenarios = [\"a\"]").contains("`reason`"));
        assert!(refusal("scenarios = [\"a\"]\nreason = \"(\"").contains("regular expression"));
        assert!(refusal("open = \"a\"\nequivalent = \"b\"").contains("both"));
        for good in [
            "scenarios = [\"a\"]\nreason = \"b\"",
            "open = \"a TLB\"",
            "equivalent = \"proof\"",
        ] {
            assert_eq!(read("x", &format!("{GOOD}{good}")).unwrap().len(), 1, "{good}");
        }
    }

    #[test]
    fn a_mutant_has_one_place_and_one_thing_to_do() {
        assert!(refusal("after = \"y;\"\nopen = \"a\"").contains("either `before`"));
        assert!(refusal("insert = \"y;\"\nopen = \"a\"").contains("either `insert`"));
        assert!(refusal("colour = 1").contains("colour"));
    }

    #[test]
    fn names_choose_and_keep_the_numbers() {
        let all = shipped().unwrap();
        let (number, last) = all.last().cloned().unwrap();
        let names = [last.name];
        let chosen = named(all.clone(), &names).unwrap();
        assert_eq!(
            chosen.iter().map(|(number, _)| *number).collect::<Vec<_>>(),
            [number]
        );
        named(all, &["no-such".to_owned()]).unwrap_err();
    }
}
