//! The page about one boot.
//!
//! What has to be read is in the page itself, in order, for every browser, screen reader and printer; the scripts draw the
//! time line and the log from the data behind it.

use std::fmt::Write as _;

use scenario::outcome::{Outcome, Verdict};

use super::super::timeline::{Story, Timeline, milliseconds_text};
use super::super::{matrix, table};
use super::{badge, document, embed, escape, slug};
use crate::date::utc;

const SCRIPTS: [&str; 4] = [
    include_str!("scale.js"),
    include_str!("timeline.js"),
    include_str!("log.js"),
    include_str!("page.js"),
];

/// The page about a boot and the scenarios that ran in it.
pub fn page(outcomes: &[Outcome], timeline: &Timeline) -> serde_json::Result<String> {
    let kernel = outcomes.first().map_or("", matrix::kernel);
    let heading = match outcomes {
        [] => "A run without outcome".to_owned(),
        [one] => one.title.clone(),
        several => format!("{} scenarios in one boot", several.len()),
    };
    let mut body = String::new();
    header(&mut body, &heading, kernel, outcomes, timeline);
    line(&mut body, timeline);
    scenarios(&mut body, outcomes, timeline);
    log(&mut body);
    footer(&mut body, timeline);
    let _ = writeln!(
        body,
        "<script type=\"application/json\" id=\"data\">{}</script>",
        embed(timeline)?
    );
    for script in SCRIPTS {
        let _ = writeln!(body, "<script>\n{script}</script>");
    }
    Ok(document(&format!("{heading}, Linux {kernel}"), &body))
}

fn header(body: &mut String, heading: &str, kernel: &str, outcomes: &[Outcome], timeline: &Timeline) {
    let worst = outcomes
        .iter()
        .max_by_key(|outcome| matrix::weight(&outcome.verdict));
    let verdict = worst.map_or_else(String::new, |outcome| badge(&outcome.verdict));
    let suite = outcomes.first().map_or("", |outcome| outcome.suite.as_str());
    let mut meta = vec![format!("Linux {kernel}")];
    if let Some(outcome) = outcomes.first()
        && !outcome.version.is_empty()
        && !kernel.starts_with(&outcome.version)
    {
        meta.push(format!("version {}", outcome.version));
    }
    if !suite.is_empty() && suite != kernel {
        meta.push(suite.to_owned());
    }
    if let [outcome] = outcomes {
        meta.push(matrix::name(&outcome.scenario, outcome.control.as_deref()));
    } else {
        meta.push(matrix::counts(outcomes));
    }
    if let Some(outcome) = outcomes.last() {
        meta.push(format!("driver: {}", outcome.driver.text()));
    }
    let seconds: f64 = outcomes.iter().map(|outcome| outcome.seconds).sum();
    meta.push(table::duration(seconds));
    meta.push(utc(timeline.start_unix_us).replace('T', " ").replace('Z', " UTC"));
    let meta: Vec<_> = meta
        .iter()
        .map(|fact| format!("<li>{}</li>", escape(fact)))
        .collect();
    let _ = write!(
        body,
        "<header>\n<p class=\"verdict\">{verdict}</p>\n<h1>{}</h1>\n<ul class=\"meta\">{}</ul>\n\
         <p class=\"sentence\">{}</p>\n",
        escape(heading),
        meta.concat(),
        escape(&timeline.story.sentence)
    );
    if let [outcome] = outcomes {
        reasons(body, outcome);
    }
    facts(body, &timeline.story);
    body.push_str("</header>\n<main>\n");
}

fn facts(body: &mut String, story: &Story) {
    if story.facts.is_empty() {
        return;
    }
    body.push_str("<dl class=\"facts\">\n");
    for fact in &story.facts {
        let _ = writeln!(
            body,
            "<div><dt>{}</dt><dd class=\"{}\">{}</dd></div>",
            escape(fact.name),
            fact.class,
            escape(&fact.value)
        );
    }
    body.push_str("</dl>\n");
}

fn reasons(body: &mut String, outcome: &Outcome) {
    let reasons = matrix::reasons(outcome);
    if reasons.is_empty() {
        return;
    }
    let _ = writeln!(body, "<ul class=\"reasons {}\">", super::class(&outcome.verdict));
    for reason in reasons {
        let _ = writeln!(body, "<li>{}</li>", escape(&reason));
    }
    body.push_str("</ul>\n");
}

/// What was done and what was expected. With one scenario that stands open, with several each opens by itself.
fn scenarios(body: &mut String, outcomes: &[Outcome], timeline: &Timeline) {
    let single = outcomes.len() == 1;
    body.push_str("<section class=\"scenarios\" aria-label=\"Scenarios\">\n");
    for (index, outcome) in outcomes.iter().enumerate() {
        let id = slug(&outcome.scenario, outcome.control.as_deref());
        if single {
            let _ = writeln!(body, "<div class=\"scenario\" id=\"{id}\">");
        } else {
            let open = match outcome.verdict {
                Verdict::Pass | Verdict::NotApplicable { .. } => "",
                Verdict::Fail | Verdict::Unknown | Verdict::DriverBug { .. } => " open",
            };
            let _ = writeln!(
                body,
                "<details class=\"scenario\" id=\"{id}\"{open}><summary>{} <strong>{}</strong> \
                 <span class=\"about\">{}</span> <span class=\"time\">{}</span></summary>",
                badge(&outcome.verdict),
                escape(&matrix::name(&outcome.scenario, outcome.control.as_deref())),
                escape(&outcome.title),
                table::duration(outcome.seconds)
            );
            reasons(body, outcome);
            if let Some(story) = timeline.stories.get(index) {
                let _ = writeln!(body, "<p class=\"sentence\">{}</p>", escape(&story.sentence));
                facts(body, story);
            }
        }
        body.push_str("<div class=\"columns\">\n");
        expectations(body, outcome);
        steps(body, outcome);
        body.push_str("</div>\n");
        body.push_str(if single { "</div>\n" } else { "</details>\n" });
    }
    body.push_str("</section>\n");
}

fn expectations(body: &mut String, outcome: &Outcome) {
    if outcome.expectations.is_empty() {
        return;
    }
    let held = outcome.expectations.iter().filter(|checked| checked.ok).count();
    let _ = writeln!(
        body,
        "<table class=\"checks\"><caption>Expectations: {held} of {} hold</caption>\n\
         <thead><tr><th scope=\"col\">expected</th><th scope=\"col\">found</th></tr></thead><tbody>",
        outcome.expectations.len()
    );
    for checked in &outcome.expectations {
        let (class, word) = if checked.ok {
            ("ok", "holds")
        } else {
            ("not", "does not hold")
        };
        let _ = writeln!(
            body,
            "<tr class=\"{class}\"><td><span class=\"mark\" role=\"img\" aria-label=\"{word}\"></span>{}</td><td>{}</td></tr>",
            escape(&checked.text),
            escape(&checked.found)
        );
    }
    body.push_str("</tbody></table>\n");
}

fn steps(body: &mut String, outcome: &Outcome) {
    if outcome.steps.is_empty() {
        return;
    }
    body.push_str(
        "<table class=\"steps\"><caption>Steps</caption>\n<thead><tr><th scope=\"col\">step</th>\
         <th scope=\"col\" class=\"number\">took</th></tr></thead><tbody>\n",
    );
    for step in &outcome.steps {
        let failure = step
            .failure
            .as_ref()
            .map(|failure| format!("<br><span class=\"failure\">{}</span>", escape(failure)))
            .unwrap_or_default();
        let _ = writeln!(
            body,
            "<tr><td>{}{failure}</td><td class=\"number\">{}</td></tr>",
            escape(&step.title),
            milliseconds_text(step.seconds * 1000.0)
        );
    }
    body.push_str("</tbody></table>\n");
}

/// The room for the time line, and the same as text.
fn line(body: &mut String, timeline: &Timeline) {
    /// More moments than this are no overview; the log has them all.
    const MOST: usize = 60;

    body.push_str(
        "<section class=\"line\" aria-labelledby=\"line-title\">\n<h2 id=\"line-title\">Time line</h2>\n\
         <noscript><p>The time line and the log are drawn by a script. The moments below are without.</p></noscript>\n\
         <div id=\"timeline\"></div>\n",
    );
    if !timeline.moments.is_empty() {
        let _ = writeln!(
            body,
            "<details class=\"moments\"><summary>The time line in words ({} moments)</summary>\n<table>\
             <thead><tr><th scope=\"col\" class=\"number\">at</th><th scope=\"col\" class=\"number\">after</th>\
             <th scope=\"col\">what</th></tr></thead><tbody>",
            timeline.moments.len()
        );
        let mut before: Option<f64> = None;
        for moment in timeline.moments.iter().take(MOST) {
            let after = before.map_or(String::new(), |before| {
                format!("+{}", milliseconds_text(moment.at - before))
            });
            before = Some(moment.at);
            let _ = writeln!(
                body,
                "<tr class=\"{}\"><td class=\"number\"><a href=\"#log\" data-log=\"{}\">{:.3} s</a></td>\
                 <td class=\"number\">{after}</td><td>{}</td></tr>",
                moment.class,
                moment.log,
                moment.at / 1000.0,
                escape(&moment.what)
            );
        }
        body.push_str("</tbody></table>\n");
        if timeline.moments.len() > MOST {
            let _ = writeln!(
                body,
                "<p>{} more are in the log below.</p>",
                timeline.moments.len() - MOST
            );
        }
        body.push_str("</details>\n");
    }
    body.push_str("</section>\n");
}

fn log(body: &mut String) {
    body.push_str(
        "<section class=\"log\" aria-labelledby=\"log-title\" id=\"log\">\n<h2 id=\"log-title\">Log</h2>\n\
         <div id=\"log-view\"></div>\n</section>\n</main>\n",
    );
}

fn footer(body: &mut String, timeline: &Timeline) {
    body.push_str("<footer>\n");
    for gap in &timeline.gaps {
        let _ = writeln!(body, "<p class=\"gap\">{}</p>", escape(gap));
    }
    body.push_str(
        "<p>Beside this file: <a href=\"console.log\">console.log</a>, <a href=\"console.jsonl\">console.jsonl</a>, \
         <a href=\"events.jsonl\">events.jsonl</a>, <a href=\"daemon.log\">daemon.log</a>, \
         <a href=\"outcome.json\">outcome.json</a>. Times of the console are the kernel's own, put on the host's clock by the \
         lines that came fastest; the device's are the host's.</p>\n</footer>\n",
    );
}
