//! Which kernels something is about: `"6.1"`, `">=6.12"`, `">=6.12, <6.12.117"`, or a list of these.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::relation::Relation;

/// A kernel's version, as far as its numbers go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    numbers: Vec<u64>,
}

impl Version {
    /// Whether it is this one or a later one, as far as that names numbers.
    pub fn is_at_least(&self, text: &str) -> bool {
        self.compare(&Self::leading(text)) != Ordering::Less
    }

    /// The numbers at the start of a release or of a version: `6.12.117`, `6.1.0-56-amd64`, `6.13-rc2`.
    pub fn leading(text: &str) -> Self {
        let digits = text
            .split(|c: char| !(c.is_ascii_digit() || c == '.'))
            .next()
            .unwrap_or_default();
        Self {
            numbers: digits
                .split('.')
                .map_while(|number| number.parse().ok())
                .collect(),
        }
    }

    /// Compares as many numbers as `other` names; ours that are not there count as 0.
    fn compare(&self, other: &Self) -> Ordering {
        let ours = self.numbers.iter().copied().chain(std::iter::repeat(0));
        ours.take(other.numbers.len()).cmp(other.numbers.iter().copied())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.numbers.iter().map(u64::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

/// A set of kernels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kernels {
    /// Any of these; within one, all. Empty means every kernel.
    any: Vec<Vec<(Relation, Version)>>,
}

impl Kernels {
    /// Those of both.
    pub fn or(mut self, other: Self) -> Self {
        self.any.extend(other.any);
        self
    }

    /// Whether a kernel is among them.
    pub fn include(&self, version: &Version) -> bool {
        self.any.is_empty()
            || self.any.iter().any(|all| {
                all.iter().all(|(relation, other)| {
                    let order = version.compare(other);
                    relation.holds(order)
                })
            })
    }
}

impl fmt::Display for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sets: Vec<_> = self
            .any
            .iter()
            .map(|all| {
                let parts: Vec<_> = all
                    .iter()
                    .map(|(relation, version)| format!("{}{version}", relation.sign()))
                    .collect();
                parts.join(", ")
            })
            .collect();
        f.write_str(&sets.join(" or "))
    }
}

/// What is no set of kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoKernels;

impl NoKernels {
    /// What is one.
    pub const EXPECTED: &'static str =
        "expected versions such as \"6.1\", \">=6.12\" or \">=6.12, <6.12.117\"";
}

impl FromStr for Kernels {
    type Err = NoKernels;

    fn from_str(text: &str) -> Result<Self, NoKernels> {
        let one = |part: &str| {
            let part = part.trim();
            let (relation, number) = Relation::split(part).unwrap_or((Relation::Is, part));
            let number = number.trim();
            let version = Version::leading(number);
            if version.numbers.is_empty() || version.to_string() != number {
                return Err(NoKernels);
            }
            Ok((relation, version))
        };
        let all = text.split(',').map(one).collect::<Result<_, _>>()?;
        Ok(Self { any: vec![all] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn includes(kernels: &str, version: &str) -> bool {
        kernels
            .parse::<Kernels>()
            .unwrap()
            .include(&Version::leading(version))
    }

    #[test]
    fn a_version_stands_for_all_that_begin_with_it() {
        for (kernels, version, wanted) in [
            ("6.1", "6.1.0-56-amd64", true),
            ("6.1", "6.12.117", false),
            ("6", "6.12.117", true),
            ("6.12.117", "6.12", false),
            ("!=6.12", "6.12.9", false),
            (">=6.12", "6.12-rc1", true),
            (">=6.12", "6.1.192", false),
            (">6.12", "6.12.117", false),
            (">6.12", "6.13", true),
            ("<=6.12", "6.12.117", true),
            ("<6.12", "6.12.0", false),
            (">=6.12, <6.12.117", "6.12.116", true),
            (">=6.12, <6.12.117", "6.12.117", false),
            (">=6.12, <6.12.117", "7.3.4+deb13-amd64", false),
        ] {
            assert_eq!(includes(kernels, version), wanted, "{kernels:?} {version}");
        }
    }

    #[test]
    fn several_sets_are_one_and_none_is_all() {
        let kernels = "6.1".parse::<Kernels>().unwrap().or("7.3".parse().unwrap());
        assert!(kernels.include(&Version::leading("7.3.4")));
        assert!(!kernels.include(&Version::leading("6.12.1")));
        assert!(Kernels::default().include(&Version::leading("4.4")));
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "six", ">=", "6.x", "6.1 6.2", "~6.1", "6..1", "6.1,"] {
            assert_eq!(text.parse::<Kernels>(), Err(NoKernels), "{text:?}");
        }
    }
}
