//! Which scenarios run in which boot of a kernel.

use protocol::personality::Personality;

use super::model::{Control, Machine, Scenario, Target};

/// A scenario to run, or one of its controls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Job<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The control.
    pub control: Option<&'a Control>,
}

impl Job<'_> {
    /// As it is shown, and as its folder is called.
    pub fn title(&self) -> String {
        match self.control {
            None => self.scenario.name.clone(),
            Some(control) => format!("{}, control: {}", self.scenario.name, control.name),
        }
    }
}

/// What to run of every scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Controls {
    /// The scenarios alone.
    #[default]
    None,
    /// The scenarios and their controls.
    Also,
    /// The controls alone.
    Only,
}

/// Jobs that run in one boot, in this order.
#[derive(Debug, Clone, PartialEq)]
pub struct Group<'a> {
    /// Their machine.
    pub machine: &'a Machine,
    /// The jobs.
    pub jobs: Vec<Job<'a>>,
}

/// What there is to do for a kernel, and what does not apply to it, with the reason.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan<'a> {
    /// The boots.
    pub groups: Vec<Group<'a>>,
    /// What does not apply.
    pub inapplicable: Vec<(Job<'a>, String)>,
}

/// Plans the boots of one kernel. Scenarios that share a boot come before those that do not; a control never shares one:
/// what it does to the guest is meant to be bad.
pub fn plan<'a>(scenarios: &'a [Scenario], controls: Controls, target: &Target<'_>) -> Plan<'a> {
    let mut plan = Plan::default();
    let mut alone = Vec::new();
    for scenario in scenarios {
        let job = Job {
            scenario,
            control: None,
        };
        if let Some(reason) = scenario.inapplicable(target) {
            plan.inapplicable.push((job, reason));
            continue;
        }
        if controls != Controls::Only {
            add(&mut plan.groups, &mut alone, job);
        }
        if controls != Controls::None {
            let wanted = scenario
                .controls
                .iter()
                .filter(|control| control.kernels.include(target.version));
            alone.extend(wanted.map(|control| Group {
                machine: &scenario.machine,
                jobs: vec![Job {
                    scenario,
                    control: Some(control),
                }],
            }));
        }
    }
    plan.groups.append(&mut alone);
    plan
}

/// Scenarios by what the GPU has to be for them: those that are for `first`, and then those that are for none but another.
pub fn by_personality(scenarios: &[Scenario], first: Personality) -> Vec<(Personality, Vec<Scenario>)> {
    let others = Personality::ALL.into_iter().filter(|other| *other != first);
    let mut left = scenarios.to_vec();
    let mut found = Vec::new();
    for personality in std::iter::once(first).chain(others) {
        let (here, elsewhere) = left
            .into_iter()
            .partition::<Vec<_>, _>(|scenario| scenario.elsewhere(personality).is_none());
        left = elsewhere;
        if !here.is_empty() {
            found.push((personality, here));
        }
    }
    found
}

fn add<'a>(shared: &mut Vec<Group<'a>>, alone: &mut Vec<Group<'a>>, job: Job<'a>) {
    let machine = &job.scenario.machine;
    if !job.scenario.share_boot {
        alone.push(Group {
            machine,
            jobs: vec![job],
        });
    } else if let Some(group) = shared.iter_mut().find(|group| group.machine == machine) {
        group.jobs.push(job);
    } else {
        shared.push(Group {
            machine,
            jobs: vec![job],
        });
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::kernels::Version;
    use super::super::parse::parse;
    use super::*;
    use protocol::asic::Asic;

    const fn on(version: &Version) -> Target<'_> {
        Target {
            version,
            options: None,
            asic: Asic::Navi21,
            personality: Personality::BareMetal,
        }
    }

    fn scenario(name: &str, rest: &str) -> Scenario {
        let text = format!("title = \"t\"\nstep = [{{ guest = \"info\" }}]\n{rest}");
        parse(Path::new(name), &text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn shown(plan: &Plan<'_>) -> Vec<Vec<String>> {
        plan.groups
            .iter()
            .map(|group| group.jobs.iter().map(Job::title).collect())
            .collect()
    }

    #[test]
    fn scenarios_with_equal_machines_share_a_boot_if_they_want_to() {
        let big = "share-boot = true\nmachine = { vram-size = \"2G\" }";
        let scenarios = [
            scenario("alone", ""),
            scenario("a", "share-boot = true"),
            scenario("big", big),
            scenario("b", "share-boot = true"),
            scenario("bigger", big),
        ];
        let plan = plan(&scenarios, Controls::None, &on(&Version::leading("6.1")));
        assert_eq!(
            shown(&plan),
            [vec!["a", "b"], vec!["big", "bigger"], vec!["alone"]]
        );
        assert_eq!(plan.groups[1].machine.vram_size.as_deref(), Some("2G"));
    }

    #[test]
    fn what_does_not_apply_is_told_with_its_reason() {
        let scenarios = [
            scenario(
                "new",
                "[applies]\n\">=6.12\" = true\n\"<6.12\" = \"no such reset\"",
            ),
            scenario("unnamed", "[applies]\n\"7\" = true"),
        ];
        let version = Version::leading("6.1.192");
        let reasons: Vec<_> = plan(&scenarios, Controls::None, &on(&version))
            .inapplicable
            .into_iter()
            .map(|(_, reason)| reason)
            .collect();
        assert_eq!(reasons, ["no such reset", "its [applies] does not name 6.1.192"]);
        assert_eq!(
            shown(&plan(&scenarios, Controls::None, &on(&Version::leading("7.3")))).len(),
            2
        );
    }

    #[test]
    fn a_scenario_is_for_the_part_itself_unless_it_says_something_else() {
        let both = "personality = [\"bare-metal\", \"vf\"]\n";
        let named = |name, personality| {
            let text = format!("title = \"t\"\n{personality}step = [{{ guest = \"info\" }}]");
            parse(Path::new(name), &text).unwrap_or_else(|error| panic!("{error}"))
        };
        let scenarios = [
            named("bare", ""),
            named("vf", "personality = \"vf\"\n"),
            named("both", both),
        ];
        let version = Version::leading("6.12");
        let names = |personality| {
            let plan = plan(
                &scenarios,
                Controls::None,
                &Target {
                    personality,
                    ..on(&version)
                },
            );
            let runs: Vec<_> = shown(&plan).concat();
            (runs, plan.inapplicable.len())
        };
        assert_eq!(
            names(Personality::BareMetal),
            (vec!["bare".to_owned(), "both".to_owned()], 1)
        );
        assert_eq!(
            names(Personality::Vf),
            (vec!["vf".to_owned(), "both".to_owned()], 1)
        );
    }

    #[test]
    fn a_scenario_is_for_every_part_that_it_does_not_name() {
        let scenarios = [
            scenario("a", "[asic]\nnavi12 = \"no such message\""),
            scenario("b", ""),
        ];
        let version = Version::leading("6.12");
        let inapplicable = |asic| {
            plan(&scenarios, Controls::None, &Target { asic, ..on(&version) })
                .inapplicable
                .into_iter()
                .map(|(job, reason)| (job.title(), reason))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            inapplicable(Asic::Navi12),
            [("a".to_owned(), "no such message".to_owned())]
        );
        assert_eq!(inapplicable(Asic::Navi21), []);
    }

    #[test]
    fn a_kernel_without_an_option_that_a_scenario_needs_is_not_for_it() {
        let scenarios = [scenario(
            "svm",
            "needs = [\"CONFIG_HSA_AMD\", \"CONFIG_HSA_AMD_SVM\"]",
        )];
        let version = Version::leading("6.12");
        let reasons = |options: Option<&[&str]>| {
            let options = options.map(|options| options.iter().map(|option| (*option).to_owned()).collect());
            let target = Target {
                options: options.as_ref(),
                ..on(&version)
            };
            let plan = plan(&scenarios, Controls::None, &target);
            plan.inapplicable
                .into_iter()
                .map(|(_, reason)| reason)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            reasons(Some(&["CONFIG_HSA_AMD"])),
            ["the kernel is built without CONFIG_HSA_AMD_SVM"]
        );
        assert!(reasons(Some(&["CONFIG_HSA_AMD", "CONFIG_HSA_AMD_SVM"])).is_empty());
        assert!(reasons(None).is_empty());
    }

    #[test]
    fn a_control_has_a_boot_of_its_own_and_its_kernels() {
        let scenarios = [scenario(
            "a",
            "share-boot = true\n\
             [[control]]\nname = \"x\"\nskip = 1\nfails = \"log\"\n\
             [[control]]\nname = \"y\"\nskip = 1\nfails = \"log\"\nkernels = \"7\"",
        )];
        let planned = |controls, version| shown(&plan(&scenarios, controls, &on(&Version::leading(version))));
        assert_eq!(planned(Controls::None, "7"), [["a"]]);
        assert_eq!(planned(Controls::Also, "6.1"), [["a"], ["a, control: x"]]);
        assert_eq!(
            planned(Controls::Only, "7"),
            [["a, control: x"], ["a, control: y"]]
        );
    }
}
