//! The matrix as JUnit XML, in the form that Jenkins' xUnit plugin has a schema for (junit-10.xsd) and that other CI systems read too.
//!
//! A suite is a kernel, a case is a scenario. What JUnit has no word for is told by the nearest one: UNKNOWN is an
//! `error`; a known driver bug is `skipped`, since it must neither turn a build red nor count as a pass.

use std::fmt::Write as _;
use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use scenario::outcome::{Outcome, Verdict};

use super::{matrix, timeline};
use crate::date;

/// The outcomes in JUnit XML.
pub fn xml(outcomes: &[Outcome]) -> io::Result<String> {
    let mut kernels: Vec<&str> = Vec::new();
    for outcome in outcomes {
        let kernel = matrix::kernel(outcome);
        if !kernels.contains(&kernel) {
            kernels.push(kernel);
        }
    }
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let all: Vec<_> = outcomes.iter().collect();
    let mut root = BytesStart::new("testsuites");
    attribute(&mut root, "name", "amdgpu-lab");
    for (name, value) in tallies(&all).into_iter().filter(|(name, _)| *name != "skipped") {
        attribute(&mut root, name, &value);
    }
    writer.write_event(Event::Start(root))?;
    for kernel in kernels {
        let cases: Vec<_> = outcomes
            .iter()
            .filter(|outcome| matrix::kernel(outcome) == kernel)
            .collect();
        suite(&mut writer, kernel, &cases)?;
    }
    writer.write_event(Event::End(BytesEnd::new("testsuites")))?;
    let mut xml = String::from_utf8(writer.into_inner()).map_err(io::Error::other)?;
    xml.push('\n');
    Ok(xml)
}

fn suite(writer: &mut Writer<Vec<u8>>, kernel: &str, cases: &[&Outcome]) -> io::Result<()> {
    let mut start = BytesStart::new("testsuite");
    attribute(&mut start, "name", kernel);
    for (name, value) in tallies(cases) {
        attribute(&mut start, name, &value);
    }
    if let Some(began) = cases
        .iter()
        .map(|case| case.began_unix_us)
        .filter(|began| *began > 0)
        .min()
    {
        attribute(&mut start, "timestamp", &date::utc(began));
    }
    writer.write_event(Event::Start(start))?;
    properties(writer, cases)?;
    for case in cases {
        self::case(writer, kernel, case)?;
    }
    writer.write_event(Event::End(BytesEnd::new("testsuite")))
}

/// The times that were measured, by the case's name: a case has no properties of its own in the schema.
fn properties(writer: &mut Writer<Vec<u8>>, cases: &[&Outcome]) -> io::Result<()> {
    let measured: Vec<_> = cases
        .iter()
        .flat_map(|case| case.times().map(|time| (*case, time)))
        .filter_map(|(case, time)| Some((case, time.key, time.ms?)))
        .collect();
    if measured.is_empty() {
        return Ok(());
    }
    writer.write_event(Event::Start(BytesStart::new("properties")))?;
    for (case, key, ms) in measured {
        let mut property = BytesStart::new("property");
        let name = matrix::name(&case.scenario, case.control.as_deref());
        attribute(&mut property, "name", &format!("{name}: {key}"));
        attribute(&mut property, "value", &format!("{ms:.3}"));
        writer.write_event(Event::Empty(property))?;
    }
    writer.write_event(Event::End(BytesEnd::new("properties")))
}

fn case(writer: &mut Writer<Vec<u8>>, kernel: &str, outcome: &Outcome) -> io::Result<()> {
    let mut start = BytesStart::new("testcase");
    attribute(
        &mut start,
        "name",
        &matrix::name(&outcome.scenario, outcome.control.as_deref()),
    );
    // A dot would split it into packages; releases are full of them.
    attribute(
        &mut start,
        "classname",
        &format!("amdgpu.{}", kernel.replace('.', "_")),
    );
    attribute(&mut start, "time", &format!("{:.3}", outcome.seconds));
    writer.write_event(Event::Start(start))?;
    let told = match &outcome.verdict {
        Verdict::Pass => None,
        Verdict::Fail => Some(("failure", None)),
        Verdict::Unknown => Some(("error", None)),
        Verdict::NotApplicable { reason } => Some(("skipped", Some(reason.clone()))),
        Verdict::DriverBug { finding } => Some(("skipped", Some(format!("known driver bug: {finding}")))),
    };
    if let Some((element, message)) = told {
        let message = message
            .or_else(|| outcome.reasons.first().cloned())
            .unwrap_or_default();
        let mut start = BytesStart::new(element);
        attribute(&mut start, "type", matrix::word(&outcome.verdict));
        attribute(&mut start, "message", message.lines().next().unwrap_or_default());
        writer.write_event(Event::Start(start))?;
        text(writer, &outcome.reasons.join("\n"))?;
        writer.write_event(Event::End(BytesEnd::new(element)))?;
    }
    writer.write_event(Event::Start(BytesStart::new("system-out")))?;
    text(writer, &evidence(outcome))?;
    writer.write_event(Event::End(BytesEnd::new("system-out")))?;
    writer.write_event(Event::End(BytesEnd::new("testcase")))
}

/// What a reader of the CI's page wants to know before looking into the folder.
fn evidence(outcome: &Outcome) -> String {
    let mut text = format!("{}\n", outcome.title);
    for line in matrix::tries(outcome) {
        text.push_str(&format!("{line}\n"));
    }
    for step in &outcome.steps {
        let failure = step
            .failure
            .as_ref()
            .map(|failure| format!("  FAILED: {failure}"))
            .unwrap_or_default();
        let _ = writeln!(text, "{:>8.1} s  {}{failure}", step.seconds, step.title);
    }
    for checked in &outcome.expectations {
        let mark = if checked.ok { "ok    " } else { "NOT OK" };
        let _ = writeln!(text, "{mark}  {} (found: {})", checked.text, checked.found);
    }
    if let Some(recovery) = &outcome.recovery {
        let _ = writeln!(text, "page tables came back by: {recovery}");
    }
    for time in outcome.times() {
        if let Some(ms) = time.ms {
            let _ = writeln!(text, "{}: {}", time.label, timeline::milliseconds_text(ms));
        }
    }
    if !outcome.folder.as_os_str().is_empty() {
        let _ = writeln!(text, "logs in {}", outcome.folder.display());
    }
    text
}

fn tallies(cases: &[&Outcome]) -> Vec<(&'static str, String)> {
    let count = |wanted: fn(&Verdict) -> bool| {
        cases
            .iter()
            .filter(|case| wanted(&case.verdict))
            .count()
            .to_string()
    };
    let seconds: f64 = cases.iter().map(|case| case.seconds).sum();
    vec![
        ("tests", cases.len().to_string()),
        ("failures", count(|cell| matches!(cell, Verdict::Fail))),
        ("errors", count(|cell| matches!(cell, Verdict::Unknown))),
        (
            "skipped",
            count(|cell| matches!(cell, Verdict::NotApplicable { .. } | Verdict::DriverBug { .. })),
        ),
        ("time", format!("{seconds:.3}")),
    ]
}

fn attribute(start: &mut BytesStart<'_>, name: &str, value: &str) {
    start.push_attribute((name, allowed(value).as_str()));
}

fn text(writer: &mut Writer<Vec<u8>>, text: &str) -> io::Result<()> {
    writer.write_event(Event::Text(BytesText::new(&allowed(text))))
}

/// XML 1.0 has no way at all to write most control characters, and a kernel's log may hold any.
fn allowed(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\t' | '\n' | '\r' => character,
            character if character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}') => '\u{fffd}',
            character => character,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use quick_xml::{Reader, XmlVersion};

    use super::super::fixture;
    use super::*;

    type Element = (String, Vec<(String, String)>, String);

    /// The elements in order, with their attributes and texts, as a reader of XML sees them.
    fn read(xml: &str) -> Vec<Element> {
        let mut reader = Reader::from_str(xml);
        let mut found: Vec<Element> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        loop {
            let event = reader.read_event().unwrap();
            let stands_alone = matches!(event, Event::Empty(_));
            match event {
                Event::Start(start) | Event::Empty(start) => {
                    let attributes = start
                        .attributes()
                        .map(|attribute| {
                            let attribute = attribute.unwrap();
                            let value = attribute
                                .normalized_value(XmlVersion::Implicit1_0)
                                .unwrap()
                                .into_owned();
                            (attribute.key.as_ref().to_owned(), value)
                        })
                        .collect();
                    let name = start.name().as_ref().to_owned();
                    if !stands_alone {
                        open.push(found.len());
                    }
                    found.push((name, attributes, String::new()));
                }
                Event::Text(text) => {
                    if let Some(index) = open.last() {
                        found[*index].2.push_str(&text);
                    }
                }
                Event::GeneralRef(reference) => {
                    let character = quick_xml::escape::unescape(&format!("&{};", &*reference))
                        .unwrap()
                        .into_owned();
                    found[*open.last().unwrap()].2.push_str(&character);
                }
                Event::End(_) => {
                    open.pop();
                }
                Event::Eof => {
                    assert!(open.is_empty());
                    return found;
                }
                Event::Decl(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn attribute_of<'a>(attributes: &'a [(String, String)], name: &str) -> &'a str {
        &attributes.iter().find(|(known, _)| known == name).unwrap().1
    }

    #[test]
    fn a_suite_is_a_kernel_and_counts_its_cases() {
        let found = read(&xml(&fixture::outcomes()).unwrap());
        let suites: Vec<_> = found
            .iter()
            .filter(|(name, _, _)| name == "testsuite")
            .map(|(_, attributes, _)| {
                ["name", "tests", "failures", "errors", "skipped", "time"]
                    .map(|name| attribute_of(attributes, name).to_owned())
            })
            .collect();
        assert_eq!(
            suites,
            [
                ["6.1.0-56-amd64", "3", "0", "0", "1", "24.800"],
                ["6.12.117+deb13-amd64", "3", "1", "1", "1", "20.000"],
            ]
        );
    }

    #[test]
    fn what_a_log_says_arrives_as_it_was_and_what_xml_cannot_say_is_replaced() {
        let found = read(&xml(&fixture::outcomes()).unwrap());
        let (_, attributes, text) = found.iter().find(|(name, _, _)| name == "failure").unwrap();
        assert_eq!(
            attribute_of(attributes, "message"),
            "page tables: 3 entries are missing"
        );
        assert!(
            text.contains("<b>*ERROR*</b> ]]> & \u{fffd}[31m \"x\"\nsecond line # SKIP"),
            "{text:?}"
        );
    }

    #[test]
    fn times_are_properties_of_the_suite() {
        let mut outcomes = fixture::outcomes();
        outcomes[0].loss_to_tables_ms = Some(812.4);
        outcomes[3].loss_to_verified_ms = Some(1000.0);
        let found = read(&xml(&outcomes).unwrap());
        let told: Vec<_> = found
            .iter()
            .filter(|(name, _, _)| ["testsuite", "property"].contains(&name.as_str()))
            .map(|(name, attributes, _)| match name.as_str() {
                "property" => {
                    let [name, value] = ["name", "value"].map(|name| attribute_of(attributes, name));
                    format!("{name} = {value}")
                }
                _ => attribute_of(attributes, "name").to_owned(),
            })
            .collect();
        assert_eq!(
            told,
            [
                "6.1.0-56-amd64",
                "mode1-poison: loss_to_tables_ms = 812.400",
                "6.12.117+deb13-amd64",
                "mode1-poison: loss_to_verified_ms = 1000.000",
            ]
        );
        let (_, _, text) = found.iter().find(|(name, _, _)| name == "system-out").unwrap();
        assert!(text.contains("loss to tables: 812 ms"), "{text}");
    }

    #[test]
    fn the_cases_tell_why_they_were_skipped_or_not_known() {
        let found = read(&xml(&fixture::outcomes()).unwrap());
        let told: Vec<_> = found
            .iter()
            .filter(|(name, _, _)| ["skipped", "error"].contains(&name.as_str()))
            .map(|(name, attributes, _)| (name.as_str(), attribute_of(attributes, "message")))
            .collect();
        assert_eq!(
            told,
            [
                (
                    "skipped",
                    "known driver bug: docs/findings/0001-zero-entry-copy.md"
                ),
                ("skipped", "no shadow copies since 6.12"),
                ("error", "the guest did not start"),
            ]
        );
    }

    /// The parts of Jenkins' schema (junit-10.xsd) that this form comes near: which element may hold which, and with what.
    #[test]
    fn elements_and_attributes_are_those_of_the_schema() {
        const SCHEMA: [(&str, &[&str], &[&str]); 9] = [
            (
                "testsuites",
                &[],
                &["name", "time", "tests", "failures", "errors"],
            ),
            (
                "testsuite",
                &["name", "tests", "failures", "errors"],
                &["time", "skipped", "timestamp"],
            ),
            ("testcase", &["name"], &["time", "classname"]),
            ("failure", &[], &["type", "message"]),
            ("error", &[], &["type", "message"]),
            ("skipped", &[], &["type", "message"]),
            ("system-out", &[], &[]),
            ("properties", &[], &[]),
            ("property", &["name", "value"], &[]),
        ];
        let mut outcomes = fixture::outcomes();
        outcomes[0].loss_to_tables_ms = Some(812.4);
        let found = read(&xml(&outcomes).unwrap());
        assert!(found.iter().any(|(name, _, _)| name == "property"));
        for (name, attributes, _) in found {
            let (_, required, optional) = SCHEMA
                .iter()
                .find(|(known, _, _)| *known == name)
                .unwrap_or_else(|| panic!("<{name}> is not in the schema"));
            let names: Vec<&str> = attributes.iter().map(|(name, _)| name.as_str()).collect();
            assert!(
                required.iter().all(|wanted| names.contains(wanted)),
                "{name}: {names:?}"
            );
            assert!(
                names
                    .iter()
                    .all(|name| required.contains(name) || optional.contains(name)),
                "{name}: {names:?}"
            );
        }
    }
}
