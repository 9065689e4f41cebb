//! Pages: what is escaped, and whether a browser shows them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use scenario::outcome::Outcome;

use super::*;
use crate::fixture;
use crate::timeline::{Evidence, Timeline};

/// Text that ends everything it can: elements, attributes, scripts, comments.
const HOSTILE: &str =
    "</script><script>alert(1)</script><!-- \"' & <img src=x onerror=alert(2)> ]]> \u{2028} \u{1b}[0m";

fn mode1() -> (Vec<Outcome>, Timeline) {
    let outcomes = fixture::mode1_outcomes();
    let timeline = Timeline::new(&Evidence::read(&fixture::mode1()).unwrap(), &outcomes);
    (outcomes, timeline)
}

/// A page in which every text is hostile.
fn hostile() -> String {
    let mut outcomes = fixture::mode1_outcomes();
    let mut evidence = Evidence::read(&fixture::mode1()).unwrap();
    for line in &mut evidence.console {
        line.text.push_str(HOSTILE);
    }
    for event in &mut evidence.events {
        event.fields.insert("detail".into(), HOSTILE.into());
    }
    let outcome = &mut outcomes[0];
    for text in [
        &mut outcome.scenario,
        &mut outcome.title,
        &mut outcome.kernel,
        &mut outcome.suite,
        &mut outcome.steps[0].title,
    ] {
        text.push_str(HOSTILE);
    }
    for checked in &mut outcome.expectations {
        checked.text.push_str(HOSTILE);
        checked.found.push_str(HOSTILE);
    }
    outcome.reasons = vec![HOSTILE.to_owned()];
    outcome.steps[0].failure = Some(HOSTILE.to_owned());
    outcome.verdict = Verdict::DriverBug {
        finding: HOSTILE.to_owned(),
    };
    let timeline = Timeline::new(&evidence, &outcomes);
    page(&outcomes, &timeline).unwrap()
}

#[test]
fn nothing_in_the_evidence_becomes_markup() {
    let (outcomes, timeline) = mode1();
    let plain = page(&outcomes, &timeline).unwrap();
    let page = hostile();
    for tag in ["<script", "</script", "<!--", "<img"] {
        assert_eq!(page.matches(tag).count(), plain.matches(tag).count(), "{tag}");
    }
    let index = index(
        &[Outcome {
            scenario: HOSTILE.to_owned(),
            kernel: HOSTILE.to_owned(),
            folder: HOSTILE.into(),
            ..fixture::outcomes().remove(3)
        }],
        Path::new("/runs"),
    );
    for tag in ["<script", "</script", "<!--", "<img"] {
        assert_eq!(index.matches(tag).count(), 0, "{tag}");
    }
}

#[test]
fn the_embedded_data_is_still_the_data() {
    let text = embed(&HOSTILE).unwrap();
    assert!(!text.contains('<') && !text.contains('\u{2028}'), "{text}");
    assert_eq!(serde_json::from_str::<String>(&text).unwrap(), HOSTILE);
}

#[test]
fn a_page_loads_nothing() {
    let (outcomes, timeline) = mode1();
    let page = page(&outcomes, &timeline).unwrap();
    for word in [
        "src=",
        "@import",
        "url(http",
        "fetch(",
        "XMLHttpRequest",
        "import(",
    ] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn the_index_links_to_each_scenario_of_each_boot() {
    let index = index(&fixture::outcomes(), Path::new("/runs"));
    assert!(
        index.contains("href=\"6.1/mode1%20poison/report.html#mode1-poison\""),
        "{index}"
    );
    assert!(index.contains("href=\"6.1/control/report.html#mode1-poison-control-copies-that-lie\""));
    assert!(index.contains("<small>no shadow copies since 6.12</small>"));
}

#[test]
fn the_index_counts_scenarios_for_another_kind_of_gpu_below_its_table() {
    let index = index(&fixture::with_others(), Path::new("/runs"));
    assert!(
        index.contains("</table></div>\n<p>2 scenarios are for a virtual function: --personality vf</p>\n"),
        "{index}"
    );
    assert!(!index.contains("vf-flr"));
}

#[test]
fn several_scenarios_of_one_boot_each_have_their_place() {
    let mut outcomes = fixture::mode1_outcomes();
    let mut second = outcomes[0].clone();
    second.scenario = "second".into();
    second.verdict = Verdict::Fail;
    second.began_unix_us += 12_000_000;
    second.oracle = None;
    outcomes.push(second);
    let timeline = Timeline::new(&Evidence::read(&fixture::mode1()).unwrap(), &outcomes);
    let page = page(&outcomes, &timeline).unwrap();
    assert!(page.contains("<details class=\"scenario\" id=\"mode1-poison\">"));
    assert!(page.contains("<details class=\"scenario\" id=\"second\" open>"));
    assert!(page.contains("<p class=\"verdict\"><span class=\"badge fail\">FAIL</span></p>"));
    assert_eq!(
        timeline.story.sentence,
        "2 scenarios ran one after the other in one boot: 1 pass, 1 fail. second failed."
    );
    // The reset was before the second one began.
    let sentences: Vec<_> = timeline
        .stories
        .iter()
        .map(|story| story.sentence.split('.').next().unwrap())
        .collect();
    assert_eq!(
        sentences,
        [
            "The GPU went through a MODE1 reset by the SMU, 41 MiB of VRAM were poisoned and the driver recovered in 913 ms",
            "Nothing was reset and nothing was lost",
        ]
    );
    let views: Vec<_> = timeline.views.iter().map(|view| view.outcome).collect();
    assert_eq!(views, [None, Some(0), Some(1), None]);
}

/// Notes errors from before the first script of a page.
const WATCH: &str = "<script>window.seen = []; addEventListener(\"error\", (e) => seen.push(e.message));\n\
    addEventListener(\"securitypolicyviolation\", (e) => seen.push(e.violatedDirective));\n\
    addEventListener(\"unhandledrejection\", (e) => seen.push(String(e.reason)));</script>";

/// Uses a page as a person would, and writes down what came of it.
const USE: &str = r##"<script>
const chart = document.querySelector("#timeline svg"), told = {};
const key = (target, name) => target.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
const frame = () => new Promise((done) => setTimeout(done, 50));
(async () => {
  await frame();
  told.shapes = chart.querySelectorAll(".hit").length > 20;
  const width = () => view.to - view.from;
  const before = width();
  key(chart, "+"); told.zoomed = width() < before;
  const from = view.from;
  key(chart, "ArrowRight"); told.moved = view.from > from;
  key(chart, "Home"); told.whole = width() === data.end;
  key(chart, "n"); key(chart, "n"); key(chart, "Enter");
  await frame();
  told.chosen = view.chosen >= 0 && document.querySelectorAll(".row.chosen").length === 1;
  told.detail = document.querySelector(".whole").textContent.includes(data.log[view.chosen][3].slice(0, 20));
  document.querySelector("#timeline button").click();
  await frame();
  const hit = chart.querySelector("rect.f-hardware, rect.f-reset").getBoundingClientRect();
  const at = { clientX: hit.x + hit.width / 2, clientY: hit.y + hit.height / 2, bubbles: true, button: 0 };
  chart.dispatchEvent(new PointerEvent("pointermove", at));
  told.tip = !document.querySelector(".tip").hidden && document.querySelector(".tip").textContent.length > 5;
  chart.dispatchEvent(new PointerEvent("pointerdown", at));
  chart.dispatchEvent(new PointerEvent("pointerup", at));
  await frame();
  told.jumped = /reset/i.test(data.log[view.chosen][3]);
  const wheel = width();
  chart.dispatchEvent(new WheelEvent("wheel", { deltaY: -100, ctrlKey: true, clientX: at.clientX, clientY: at.clientY, cancelable: true }));
  told.wheel = width() < wheel;
  const search = document.querySelector("input[type=search]");
  search.value = "/mode1|MODE1/"; search.dispatchEvent(new Event("input"));
  await new Promise((done) => setTimeout(done, 300));
  const rows = [...document.querySelectorAll(".row .what")];
  told.filtered = rows.length > 0 && rows.every((row) => /mode1/i.test(row.textContent));
  const end = document.createElement("div");
  end.id = "told";
  end.textContent = JSON.stringify({ ...told, errors: seen, ready: document.documentElement.dataset.ready });
  document.body.append(end);
})();
</script>"##;

/// A browser, if there is one.
fn browser() -> Option<&'static str> {
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|program| {
            Command::new(program)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
}

/// What a page told when it was used in a browser; none without one.
fn used(page: &str) -> Option<serde_json::Value> {
    let Some(browser) = browser() else {
        eprintln!("SKIPPED: no chromium here, so no page was looked at (apt-get install chromium)");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    let page = page.replacen("<head>", &format!("<head>{WATCH}"), 1).replacen(
        "</body>",
        &format!("{USE}</body>"),
        1,
    );
    fs::write(&file, page).unwrap();
    let output = Command::new(browser)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .args([
            "--window-size=1200,1600",
            "--virtual-time-budget=10000",
            "--timeout=60000",
        ])
        .arg(format!(
            "--user-data-dir={}",
            folder.path().join("profile").display()
        ))
        .arg(format!("file://{}", file.display()))
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = dom
        .split_once("<div id=\"told\">")
        .and_then(|(_, rest)| rest.split_once("</div>"))
        .unwrap_or_else(|| panic!("the page did not come to its end:\n{dom}"))
        .0;
    Some(
        serde_json::from_str(
            &told
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&amp;", "&"),
        )
        .unwrap(),
    )
}

fn assert_works(told: &serde_json::Value) {
    assert_eq!(told["errors"], serde_json::json!([]), "{told}");
    assert_eq!(told["ready"], "yes", "{told}");
    let broken: Vec<_> = told
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, value)| **value == serde_json::Value::Bool(false))
        .collect();
    assert!(broken.is_empty(), "{broken:?} in {told}");
}

#[test]
fn a_browser_shows_the_page_and_it_can_be_used() {
    let (outcomes, timeline) = mode1();
    if let Some(told) = used(&page(&outcomes, &timeline).unwrap()) {
        assert_works(&told);
    }
}

#[test]
fn a_browser_shows_a_hostile_log_as_text() {
    if let Some(told) = used(&hostile()) {
        assert_works(&told);
    }
}

#[test]
fn a_browser_tells_of_a_broken_script() {
    let (outcomes, timeline) = mode1();
    let page = page(&outcomes, &timeline).unwrap();
    let broken = page.replacen("dataset.ready = \"yes\"", "dataset.ready = nobody.knows", 1);
    assert_ne!(page, broken);
    if let Some(told) = used(&broken) {
        assert_eq!(told["errors"].as_array().map(Vec::len), Some(1), "{told}");
    }
}
