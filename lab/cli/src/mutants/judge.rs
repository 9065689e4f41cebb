//! What became of a mutant in a scenario.

use regex::Regex;
use scenario::outcome::{Outcome, Verdict};

use super::file::Mutant;

/// The answer for a mutant and one scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The scenario failed, and its words point to the mutant.
    Killed,
    /// The scenario failed for another reason.
    Elsewhere,
    /// The scenario noticed nothing, or took it for a bug that it knows.
    Survived,
    /// It survived, as the file says that it does.
    Open,
    /// It survived, and the file has the proof that it cannot be noticed.
    Equivalent,
    /// The scenario noticed what the file says that none does.
    Unexpected,
    /// No answer: the scenario does not apply, or it fails without the mutant as well.
    Unknown,
}

impl Fate {
    /// The word for it in tables.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Elsewhere => "OTHER REASON",
            Self::Survived => "SURVIVED",
            Self::Open => "open",
            Self::Equivalent => "equivalent",
            Self::Unexpected => "KILLED AFTER ALL",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// Whether the suite may pass with it.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Killed | Self::Open | Self::Equivalent)
    }
}

/// That of a mutant which ran nowhere.
pub const fn without_run(mutant: &Mutant) -> Fate {
    match (&mutant.equivalent, &mutant.open) {
        (Some(_), _) => Fate::Equivalent,
        (_, Some(_)) => Fate::Open,
        _ => Fate::Unknown,
    }
}

/// Judges a run with the mutant by that of the same scenario without one.
pub fn fate(mutant: &Mutant, baseline: Option<&Verdict>, outcome: &Outcome) -> Fate {
    let clean = matches!(baseline, Some(Verdict::Pass | Verdict::DriverBug { .. }));
    let points = mutant
        .reason
        .as_deref()
        .and_then(|reason| Regex::new(reason).ok())
        .is_some_and(|reason| outcome.reasons.iter().any(|line| reason.is_match(line)));
    match (&outcome.verdict, mutant.survives()) {
        _ if !clean => Fate::Unknown,
        (Verdict::NotApplicable { .. }, _) => Fate::Unknown,
        (Verdict::Pass | Verdict::DriverBug { .. }, true) => without_run(mutant),
        (Verdict::Pass | Verdict::DriverBug { .. }, false) => Fate::Survived,
        (Verdict::Fail, true) => Fate::Unexpected,
        // A guest that died at once has no verdict, but it may have said why.
        (Verdict::Fail | Verdict::Unknown, false) if points => Fate::Killed,
        (Verdict::Fail, false) => Fate::Elsewhere,
        (Verdict::Unknown, _) => Fate::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutant(rest: &str) -> Mutant {
        let head =
            "name = \"m\"\nabout = \"x\"\nfile = \"a.c\"\nfunction = \"f\"\nbefore = \"x\"\nskip = true\n";
        crate::mutants::file::read("x", &format!("[[mutant]]\n{head}{rest}"))
            .unwrap()
            .remove(0)
    }

    fn outcome(verdict: Verdict, reason: &str) -> Outcome {
        Outcome {
            verdict,
            reasons: vec!["another".to_owned(), reason.to_owned()],
            ..Outcome::new()
        }
    }

    fn bug() -> Verdict {
        Verdict::DriverBug {
            finding: "0001".to_owned(),
        }
    }

    const PLAIN: &str = "scenarios = [\"s\"]\nreason = 'fault at 0x\\d'";

    #[test]
    fn only_a_failure_with_the_right_words_kills() {
        let mutant = mutant(PLAIN);
        let fate = |verdict, reason: &str| fate(&mutant, Some(&Verdict::Pass), &outcome(verdict, reason));
        assert_eq!(fate(Verdict::Fail, "a fault at 0x1"), Fate::Killed);
        assert_eq!(fate(Verdict::Unknown, "a fault at 0x1"), Fate::Killed);
        assert_eq!(fate(Verdict::Fail, "a timeout"), Fate::Elsewhere);
        assert_eq!(fate(Verdict::Unknown, "no guest"), Fate::Unknown);
        assert_eq!(fate(Verdict::Pass, ""), Fate::Survived);
    }

    #[test]
    fn what_hides_behind_a_known_bug_has_survived() {
        let mutant = mutant(PLAIN);
        let hidden = outcome(bug(), "a fault at 0x1");
        assert_eq!(fate(&mutant, Some(&bug()), &hidden), Fate::Survived);
        let seen = outcome(Verdict::Fail, "a fault at 0x1");
        assert_eq!(fate(&mutant, Some(&bug()), &seen), Fate::Killed);
    }

    #[test]
    fn a_scenario_that_fails_without_the_mutant_says_nothing() {
        let failed = outcome(Verdict::Fail, "a fault at 0x1");
        for baseline in [None, Some(&Verdict::Fail), Some(&Verdict::Unknown)] {
            assert_eq!(fate(&mutant(PLAIN), baseline, &failed), Fate::Unknown);
        }
    }

    #[test]
    fn a_known_survivor_that_is_noticed_is_news() {
        let open = mutant("open = \"no TLB is modelled\"\nscenarios = [\"s\"]");
        let fate = |verdict| fate(&open, Some(&Verdict::Pass), &outcome(verdict, ""));
        assert_eq!(fate(Verdict::Pass), Fate::Open);
        assert_eq!(fate(Verdict::Fail), Fate::Unexpected);
        assert!(!Fate::Unexpected.is_good());
        assert_eq!(without_run(&mutant("equivalent = \"proof\"")), Fate::Equivalent);
    }
}
