//! What the kernel's log says about the driver: rules that can fail.

use protocol::guest::console::Line;
use serde::Serialize;

/// Words of a kernel that is in trouble, anywhere in a line. `BUG:` has also what KASAN and KFENCE find, soft lockups and what must not sleep
/// (mm/kasan/report.c, mm/kfence/report.c, kernel/watchdog.c, kernel/sched/core.c), `WARNING:` what lockdep finds (kernel/locking/lockdep.c).
const TROUBLE: [&str; 15] = [
    // lib/bug.c, kernel/panic.c, lib/dump_stack.c, arch/x86/kernel/dumpstack.c
    "------------[ cut here ]------------",
    "WARNING:",
    "BUG:",
    "Call Trace:",
    "general protection fault",
    "Oops:",
    "Kernel panic",
    // kernel/hung_task.c, `check_hung_task`
    "blocked for more than",
    // kernel/rcu/tree_stall.h: `print_cpu_stall`, `print_other_cpu_stall`, `rcu_check_gp_kthread_starvation`; tree_exp.h
    "self-detected stall on CPU",
    "detected stalls on CPUs/tasks",
    "detected expedited stalls on CPUs/tasks",
    "kthread starved for",
    // lib/ubsan.c, `ubsan_prologue`
    "UBSAN: ",
    // kernel/locking/lockdep.c, `assign_lock_key`
    "INFO: trying to register non-static key",
    // lib/refcount.c, `refcount_warn_saturate`
    "refcount_t: ",
];
/// What a line begins with in which SLUB says what is wrong with a cache: `BUG kmalloc-64 (Not tainted): ...` (mm/slub.c, `slab_bug`).
const SLUB: &str = "BUG ";
/// Words of a kernel that goes no further, or whose memory is not what it should be: what follows it in the log follows from it.
const FATAL: [&str; 5] = [
    "BUG: ",
    "BUG kmalloc-",
    "general protection fault",
    "Oops:",
    "Kernel panic",
];
/// Those of them that say only that more lines follow.
const DECORATION: [&str; 2] = ["[ cut here ]", "Call Trace:"];
/// The driver's last line of a probe (amdgpu's entry into drivers/gpu/drm/drm_drv.c, `drm_dev_register`).
const PROBED: &str = "Initialized amdgpu";
/// The driver's first line of a probe (amdgpu_device.c, `amdgpu_device_init`).
const PROBING: &str = "initializing kernel modesetting";
/// A translation that failed (gmc_v10_0.c, `gmc_v10_0_process_interrupt`).
const PAGE_FAULT: &str = "page fault";
/// A hang or what is done about one (amdgpu_job.c, `amdgpu_job_timedout`; amdgpu_device.c, `amdgpu_device_gpu_recover`).
const RECOVERY: [&str; 3] = ["timeout, signaled seq", "GPU reset begin", "ring reset"];
/// A lost interrupt (amdgpu_fence.c, `amdgpu_fence_fallback`).
const FALLBACK: &str = "Fence fallback timer expired";

/// What a log has to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expectations {
    /// How often the driver has to have come up.
    pub probes: usize,
    /// Whether the GPU was made to be reset.
    pub resets: bool,
    /// Lines with one of these parts are no findings, whatever else they say.
    pub tolerated: Vec<String>,
    /// The same for lines between the beginning and the end of a probe.
    pub tolerated_in_probe: Option<&'static str>,
}

/// Something that speaks against the driver or the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// The line, or what is missing.
    pub detail: String,
}

impl Finding {
    /// Whether everything else that is wrong may follow from it.
    pub fn is_fatal(&self) -> bool {
        self.rule == Rule::NoKernelTrouble && FATAL.iter().any(|words| self.detail.contains(words))
    }
}

/// What a log is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The driver came up as often as it was asked to.
    Probed,
    /// The graphics drivers report no `*ERROR*`.
    NoDriverError,
    /// The kernel has no warning, no trace, no bug.
    NoKernelTrouble,
    /// No interrupt was lost.
    NoFenceFallback,
    /// No access of the GPU failed.
    NoPageFault,
    /// Nothing hung and nothing was reset, unless that was the point.
    NoRecovery,
}

impl Rule {
    /// What it means that it is broken.
    pub const fn broken(self) -> &'static str {
        match self {
            Self::Probed => "the driver did not come up as often as it should",
            Self::NoDriverError => "the driver reported an error",
            Self::NoKernelTrouble => "the kernel warned",
            Self::NoFenceFallback => "the interrupt of a fence was lost",
            Self::NoPageFault => "the GPU had a page fault",
            Self::NoRecovery => "the GPU hung or was reset, and nobody had asked for that",
        }
    }
}

/// The findings for a reader: rule by rule, the first few of each; first the rule that a kernel broke which went no further.
pub fn reasons(findings: &[Finding]) -> Vec<String> {
    /// More of one kind do not make a report clearer; the log has them all.
    const MOST: usize = 3;
    let mut rules: Vec<(bool, Rule)> = findings
        .iter()
        .map(|finding| {
            (
                !findings
                    .iter()
                    .any(|other| other.rule == finding.rule && other.is_fatal()),
                finding.rule,
            )
        })
        .collect();
    rules.sort_unstable();
    rules.dedup();
    let mut reasons = Vec::new();
    for (_, rule) in rules {
        let all = || findings.iter().filter(|finding| finding.rule == rule);
        let telling =
            || all().filter(|finding| !DECORATION.iter().any(|words| finding.detail.contains(words)));
        let (shown, count): (Vec<_>, _) = match telling().count() {
            0 => (all().collect(), all().count()),
            count => (telling().collect(), count),
        };
        let mut shown: Vec<&Finding> = shown;
        shown.sort_by_key(|finding| !finding.is_fatal());
        shown.truncate(MOST);
        let told = shown
            .iter()
            .map(|finding| format!("{}: {}", rule.broken(), finding.detail));
        reasons.extend(told);
        if count > MOST {
            reasons.push(format!("{}: {} more like these", rule.broken(), count - MOST));
        }
    }
    reasons
}

/// Judges a log. An empty list means that nothing speaks against it.
pub fn judge(log: &[Line], expected: &Expectations) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut probing = false;
    for line in log.iter().filter(|line| line.marker().is_none()) {
        let text = line.text.as_str();
        probing = (probing || text.contains(PROBING)) && !text.contains(PROBED);
        if expected.tolerated.iter().any(|part| text.contains(part.as_str())) {
            continue;
        }
        if probing
            && expected
                .tolerated_in_probe
                .is_some_and(|part| text.contains(part))
        {
            continue;
        }
        let rule = if text.contains("*ERROR*") {
            Rule::NoDriverError
        } else if text.contains(FALLBACK) {
            Rule::NoFenceFallback
        } else if text.contains("amdgpu") && text.contains(PAGE_FAULT) {
            Rule::NoPageFault
        } else if !expected.resets && RECOVERY.iter().any(|words| text.contains(words)) {
            Rule::NoRecovery
        } else if TROUBLE.iter().any(|words| text.contains(words)) || text.starts_with(SLUB) {
            Rule::NoKernelTrouble
        } else {
            continue;
        };
        findings.push(Finding {
            rule,
            detail: text.to_owned(),
        });
    }
    let probes = log.iter().filter(|line| line.text.contains(PROBED)).count();
    if probes != expected.probes {
        findings.push(Finding {
            rule: Rule::Probed,
            detail: format!(
                "\"{PROBED}\" is in the log {probes} times, not {}",
                expected.probes
            ),
        });
    }
    findings
}

/// What speaks first against the log of a guest that has not met the GPU, if anything does.
pub fn objection(log: &[Line]) -> Option<String> {
    let findings = judge(log, &Expectations::default());
    reasons(&findings).into_iter().next()
}

/// How long each probe took, in seconds of the kernel's clock.
pub fn probe_times(log: &[Line]) -> Vec<f64> {
    let mut times = Vec::new();
    let mut began = None;
    for line in log {
        if line.text.contains(PROBING) {
            began = line.time;
        } else if line.text.contains(PROBED)
            && let (Some(from), Some(to)) = (began.take(), line.time)
        {
            times.push(to - from);
        }
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[    4.000000] [drm] initializing kernel modesetting (SIENNA_CICHLID 0x1002:0x73BF)\n\
                        [    4.900000] [drm] Initialized amdgpu 3.49.0 20150101 for 0000:01:00.0 on minor 0\n";

    fn log(text: &str) -> Vec<Line> {
        text.lines().map(Line::parse).collect()
    }

    fn once() -> Expectations {
        Expectations {
            probes: 1,
            resets: false,
            tolerated: vec![],
            tolerated_in_probe: None,
        }
    }

    fn rules(text: &str) -> Vec<Rule> {
        judge(&log(text), &once())
            .into_iter()
            .map(|finding| finding.rule)
            .collect()
    }

    #[test]
    fn a_clean_probe_passes() {
        assert_eq!(rules(GOOD), []);
    }

    #[test]
    fn a_driver_that_never_came_up_fails() {
        let text = "[    4.0] [drm] initializing kernel modesetting (SIENNA_CICHLID)";
        assert_eq!(rules(text), [Rule::Probed]);
    }

    #[test]
    fn a_second_probe_that_nobody_asked_for_fails() {
        assert_eq!(rules(&GOOD.repeat(2)), [Rule::Probed]);
    }

    #[test]
    fn an_error_line_fails() {
        let text = format!(
            "{GOOD}[    5.0] [drm:amdgpu_ring_test_helper [amdgpu]] *ERROR* ring gfx test failed (-110)"
        );
        assert_eq!(rules(&text), [Rule::NoDriverError]);
    }

    #[test]
    fn traces_and_warnings_fail() {
        for line in [
            "------------[ cut here ]------------",
            "WARNING: CPU: 0 PID: 1 at kernel/x.c:1 f+0x1/0x2",
            "BUG: kernel NULL pointer dereference, address: 0",
            "Call Trace:",
            "Oops: 0000 [#1] PREEMPT SMP",
        ] {
            assert_eq!(
                rules(&format!("{GOOD}[    5.0] {line}")),
                [Rule::NoKernelTrouble],
                "{line}"
            );
        }
    }

    #[test]
    fn what_debugging_kernels_find_fails() {
        for line in [
            "INFO: task kworker/0:1:12 blocked for more than 120 seconds.",
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 0-... } 21 jiffies s: 61 root: 0x1/.",
            "rcu: rcu_preempt kthread starved for 5250 jiffies! g1 f0x0 RCU_GP_WAIT_FQS(5) ->state=0x0 ->cpu=0",
            "UBSAN: array-index-out-of-bounds in drivers/gpu/drm/amd/amdgpu/amdgpu_ring.c:1:2",
            "BUG: KASAN: slab-use-after-free in amdgpu_job_free_cb+0x1/0x2 [amdgpu]",
            "BUG: KFENCE: out-of-bounds read in amdgpu_ring_commit+0x1/0x2 [amdgpu]",
            "WARNING: possible circular locking dependency detected",
            "WARNING: possible recursive locking detected",
            "WARNING: suspicious RCU usage",
            "WARNING: inconsistent lock state",
            "INFO: trying to register non-static key.",
            "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:1",
            "BUG kmalloc-64 (Not tainted): Object already free",
            "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [kworker/0:1:12]",
            "refcount_t: underflow; use-after-free.",
        ] {
            let found = rules(&format!("{GOOD}[    5.0] {line}"));
            assert_eq!(found, [Rule::NoKernelTrouble], "{line}");
        }
        // Neither the boot's own words about these, nor words that only have such letters.
        for line in [
            "rcu: RCU calculated value of scheduler-enlistment delay is 25 jiffies.",
            "DEBUG for a driver",
            "Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar",
        ] {
            assert_eq!(rules(&format!("{GOOD}[    5.0] {line}")), [], "{line}");
        }
    }

    #[test]
    fn a_kernel_that_went_no_further_comes_first() {
        let finding = |rule, detail: &str| Finding {
            rule,
            detail: detail.to_owned(),
        };
        let error = finding(Rule::NoDriverError, "*ERROR* ring sdma0 test failed");
        let oops = finding(
            Rule::NoKernelTrouble,
            "BUG: kernel NULL pointer dereference, address: 0",
        );
        let warning = finding(Rule::NoKernelTrouble, "WARNING: CPU: 0 PID: 1 at x.c:1");
        let told = reasons(&[error.clone(), oops.clone()]);
        assert!(
            told[0].contains("NULL pointer") && told[1].contains("sdma0"),
            "{told:?}"
        );
        let told = reasons(&[error, warning]);
        assert!(told[0].contains("sdma0"), "{told:?}");
        assert!(oops.is_fatal());
    }

    #[test]
    fn a_lost_interrupt_fails() {
        let text =
            format!("{GOOD}[    5.0] amdgpu 0000:01:00.0: amdgpu: Fence fallback timer expired on ring kiq");
        assert_eq!(rules(&text), [Rule::NoFenceFallback]);
    }

    #[test]
    fn a_page_fault_fails() {
        let text = format!(
            "{GOOD}[    5.0] amdgpu 0000:01:00.0: amdgpu: [gfxhub] page fault (src_id:0 ring:0 vmid:1)"
        );
        assert_eq!(rules(&text), [Rule::NoPageFault]);
    }

    #[test]
    fn a_hang_fails_unless_it_was_asked_for() {
        let text = format!(
            "{GOOD}[    5.0] amdgpu 0000:01:00.0: ring sdma1 timeout, signaled seq=7, emitted seq=9\n\
             [    5.1] amdgpu 0000:01:00.0: amdgpu: GPU reset begin!"
        );
        assert_eq!(rules(&text), [Rule::NoRecovery, Rule::NoRecovery]);
        let asked = Expectations {
            resets: true,
            ..once()
        };
        assert_eq!(judge(&log(&text), &asked), []);
    }

    #[test]
    fn what_is_tolerated_in_a_probe_fails_after_it() {
        let line = "[    5.0] [drm] Fence fallback timer expired on ring sdma0\n";
        let expected = Expectations {
            tolerated_in_probe: Some("Fence fallback timer expired on ring sdma0"),
            ..once()
        };
        let (begin, end) = GOOD.split_once('\n').unwrap();
        let within = format!("{begin}\n{line}{end}");
        assert_eq!(judge(&log(&within), &expected), []);
        assert_eq!(judge(&log(&within), &once()).len(), 1);
        assert_eq!(judge(&log(&format!("{GOOD}\n{line}")), &expected).len(), 1);
    }

    #[test]
    fn what_is_tolerated_does_not_fail() {
        let text = format!("{GOOD}[    5.0] [drm] *ERROR* ring sdma0 timeout");
        let expected = Expectations {
            probes: 1,
            resets: false,
            tolerated: vec!["ring sdma0 timeout".into()],
            tolerated_in_probe: None,
        };
        assert_eq!(judge(&log(&text), &expected), []);
    }

    #[test]
    fn reasons_are_the_telling_lines_and_not_too_many() {
        let trace = "[    5.0] ------------[ cut here ]------------\n\
                     [    5.0] WARNING: CPU: 0 PID: 1 at x.c:1 f+0x1/0x2\n\
                     [    5.0] Call Trace:\n";
        let text = format!("{GOOD}{}[    5.0] amdgpu: *ERROR* no firmware", trace.repeat(5));
        let reasons = reasons(&judge(&log(&text), &once()));
        let warned = "the kernel warned: WARNING: CPU: 0 PID: 1 at x.c:1 f+0x1/0x2";
        assert_eq!(
            reasons,
            [
                "the driver reported an error: amdgpu: *ERROR* no firmware",
                warned,
                warned,
                warned,
                "the kernel warned: 2 more like these"
            ]
        );
    }

    #[test]
    fn a_trace_without_a_reason_is_still_told() {
        let reasons = reasons(&judge(&log(&format!("{GOOD}[    5.0] Call Trace:")), &once()));
        assert_eq!(reasons, ["the kernel warned: Call Trace:"]);
    }

    #[test]
    fn our_own_markers_are_not_judged() {
        let text =
            format!("{GOOD}[    5.0] @lab {{\"ev\":\"note\",\"about\":\"file\",\"line\":\"*ERROR*\"}}");
        assert_eq!(rules(&text), []);
    }

    #[test]
    fn the_time_of_every_probe_is_taken_from_the_kernels_clock() {
        let times = probe_times(&log(GOOD));
        assert!(
            matches!(times.as_slice(), [time] if (time - 0.9).abs() < 1e-6),
            "{times:?}"
        );
    }
}
