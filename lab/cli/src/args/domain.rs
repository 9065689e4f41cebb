//! The GPU in a domain of libvirt's.
//!
//! libvirt has no element for a device over vfio-user; it hands on what `<qemu:commandline>` holds. A domain is edited as text, so that
//! everything else in it stays as it was.

use std::ops::Range;

use machine::attach;
use quick_xml::escape::partial_escape;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// What `qemu:` stands for.
const NAMESPACE: &str = "xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'";
/// The guest's memory where the device process can map it.
const MEMORY: [&str; 2] = ["<source type='memfd'/>", "<access mode='shared'/>"];

/// Why a domain cannot have the GPU.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DomainError {
    /// No XML.
    #[error("not XML as `virsh dumpxml` prints it, at byte {position}: {what}")]
    Xml {
        /// Where.
        position: usize,
        /// What is wrong.
        what: String,
    },
    /// No domain.
    #[error("no element <domain> in it; give what `virsh dumpxml --inactive NAME` prints")]
    NoDomain,
    /// The wrong machine.
    #[error(
        "the domain's machine is {machine}, but the GPU needs the PCI Express of a q35: machine='q35' in <os><type>"
    )]
    NoPcie {
        /// The machine type.
        machine: String,
    },
    /// It has the GPU.
    #[error(
        "the domain has the GPU already (an argument with \"id\":\"{}\"); remove the arguments of earlier in <qemu:commandline> first",
        attach::GPU
    )]
    AlreadyThere,
    /// A NUMA cell that is not shared.
    #[error(
        "a NUMA cell of the domain has memAccess='private', but the device process has to map the guest's memory: make it memAccess='shared'"
    )]
    PrivateCell,
}

/// What a domain needs, within a `<domain>` so that it is XML.
pub fn fragment(devices: &[String]) -> String {
    format!(
        "<domain {NAMESPACE}>\n{}{}</domain>\n",
        memory(),
        command_line(devices)
    )
}

/// The domain with the GPU.
pub fn extended(xml: &str, devices: &[String]) -> Result<String, DomainError> {
    let mut survey = Survey::default();
    let mut reader = Reader::from_str(xml);
    loop {
        let begin = position(reader.buffer_position());
        let event = reader.read_event().map_err(|error| DomainError::Xml {
            position: position(reader.error_position()),
            what: error.to_string(),
        })?;
        let place = begin..position(reader.buffer_position());
        match event {
            Event::Start(element) => survey.open(&element, &place)?,
            Event::Empty(element) => {
                survey.open(&element, &place)?;
                survey.close_empty(xml, place, devices);
            }
            Event::End(_) => survey.close(xml, place, devices),
            Event::Eof => break,
            _ => {}
        }
    }
    if let Some((name, begin)) = survey.open.last() {
        return Err(DomainError::Xml {
            position: *begin,
            what: format!("<{name}> is not closed"),
        });
    }
    if !survey.has_domain {
        return Err(DomainError::NoDomain);
    }
    Ok(edited(xml, survey.edits))
}

fn position(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

fn edited(xml: &str, mut edits: Vec<(Range<usize>, String)>) -> String {
    let mut text = xml.to_owned();
    edits.sort_by_key(|(place, _)| place.start);
    for (place, new) in edits.into_iter().rev() {
        text.replace_range(place, &new);
    }
    text
}

/// What was seen of a domain, and what is to be changed in it.
#[derive(Debug, Default)]
struct Survey {
    /// Names of the elements that are open, and where each begins.
    open: Vec<(String, usize)>,
    has_domain: bool,
    has_memory: bool,
    has_command_line: bool,
    /// Stretches of the text, and what comes in their places.
    edits: Vec<(Range<usize>, String)>,
}

impl Survey {
    fn open(&mut self, element: &BytesStart<'_>, place: &Range<usize>) -> Result<(), DomainError> {
        let value = |name: &str| attribute(element, name, place.start);
        let name = String::from_utf8_lossy(element.name().as_ref().as_ref()).into_owned();
        self.open.push((name, place.start));
        match self.names().as_slice() {
            ["domain"] => {
                self.has_domain = true;
                if value("xmlns:qemu")?.is_none() {
                    let at = place.start + "<domain".len();
                    self.edits.push((at..at, format!(" {NAMESPACE}")));
                }
            }
            ["domain", "os", "type"] => {
                let machine = value("machine")?;
                if !machine.as_deref().is_some_and(|machine| machine.contains("q35")) {
                    let machine = machine.unwrap_or_else(|| "libvirt's default".to_owned());
                    return Err(DomainError::NoPcie { machine });
                }
            }
            ["domain", "cpu", "numa", "cell"] if value("memAccess")?.as_deref() == Some("private") => {
                return Err(DomainError::PrivateCell);
            }
            ["domain", "memoryBacking"] => self.has_memory = true,
            ["domain", "qemu:commandline"] => self.has_command_line = true,
            ["domain", "qemu:commandline", "qemu:arg"] => {
                let ours = format!("\"id\":\"{}\"", attach::GPU);
                if value("value")?.is_some_and(|value| value.contains(&ours)) {
                    return Err(DomainError::AlreadyThere);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// An element without content: there is none to add to.
    fn close_empty(&mut self, xml: &str, place: Range<usize>, devices: &[String]) {
        match self.names().as_slice() {
            ["domain"] => self.has_domain = false,
            ["domain", "memoryBacking"] => self.edits.push((place, memory().trim().to_owned())),
            ["domain", "memoryBacking", "source" | "access"] => self.remove(xml, place),
            ["domain", "qemu:commandline"] => {
                self.edits.push((place, command_line(devices).trim().to_owned()));
            }
            _ => {}
        }
        self.open.pop();
    }

    fn close(&mut self, xml: &str, place: Range<usize>, devices: &[String]) {
        let at = place.start;
        // Lines are added before the one that the closing tag is on.
        let line = xml
            .get(..at)
            .map_or(at, |before| before.trim_end_matches([' ', '\t']).len());
        match self.names().as_slice() {
            ["domain"] => {
                let mut missing = String::new();
                if !self.has_memory {
                    missing += &memory();
                }
                if !self.has_command_line {
                    missing += &command_line(devices);
                }
                self.edits.push((line..line, missing));
            }
            ["domain", "memoryBacking"] => self.edits.push((line..line, memory_lines())),
            ["domain", "memoryBacking", "source" | "access"] => {
                let begin = self.open.last().map_or(at, |(_, begin)| *begin);
                self.remove(xml, begin..place.end);
            }
            ["domain", "qemu:commandline"] => self.edits.push((line..line, argument_lines(devices))),
            _ => {}
        }
        self.open.pop();
    }

    /// Takes an element out, with the line that it stands on if nothing comes before it there.
    fn remove(&mut self, xml: &str, place: Range<usize>) {
        let begin = xml
            .get(..place.start)
            .map_or(place.start, |before| before.trim_end().len());
        self.edits.push((begin..place.end, String::new()));
    }

    fn names(&self) -> Vec<&str> {
        self.open.iter().map(|(name, _)| name.as_str()).collect()
    }
}

fn attribute(element: &BytesStart<'_>, name: &str, at: usize) -> Result<Option<String>, DomainError> {
    let broken = |what: String| DomainError::Xml { position: at, what };
    let attribute = element
        .try_get_attribute(name)
        .map_err(|error| broken(error.to_string()))?;
    attribute
        .map(|attribute| {
            attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map(Into::into)
        })
        .transpose()
        .map_err(|error| broken(error.to_string()))
}

fn memory() -> String {
    format!("  <memoryBacking>\n{}  </memoryBacking>\n", memory_lines())
}

fn memory_lines() -> String {
    MEMORY.iter().map(|element| format!("    {element}\n")).collect()
}

fn command_line(devices: &[String]) -> String {
    format!(
        "  <qemu:commandline>\n{}  </qemu:commandline>\n",
        argument_lines(devices)
    )
}

fn argument_lines(devices: &[String]) -> String {
    let line = |word: &String| format!("    <qemu:arg value={}/>\n", quoted(word));
    devices.iter().map(line).collect()
}

/// A value between apostrophes, so that the JSON in it can be read.
fn quoted(value: &str) -> String {
    format!("'{}'", partial_escape(value).replace('\'', "&apos;"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices() -> Vec<String> {
        attach::gpu_arguments("/a b/it's, & <c>/g.sock")
    }

    /// The names and attributes of all elements, in order, and those of `qemu:arg` unescaped. Fails if it is not well-formed.
    fn elements(xml: &str) -> Vec<String> {
        let mut reader = Reader::from_str(xml);
        let (mut found, mut depth) = (Vec::new(), 0);
        loop {
            let event = reader.read_event().unwrap();
            let element = match &event {
                Event::Start(element) | Event::Empty(element) => element,
                Event::End(_) => {
                    depth -= 1;
                    continue;
                }
                Event::Eof => break,
                _ => continue,
            };
            depth += i32::from(matches!(event, Event::Start(_)));
            let name = String::from_utf8_lossy(element.name().as_ref().as_ref()).into_owned();
            let attributes: Vec<_> = element
                .attributes()
                .map(|attribute| {
                    attribute
                        .unwrap()
                        .normalized_value(XmlVersion::Implicit1_0)
                        .unwrap()
                        .into_owned()
                })
                .collect();
            found.push(
                std::iter::once(name)
                    .chain(attributes)
                    .collect::<Vec<_>>()
                    .join("|"),
            );
        }
        assert_eq!(depth, 0, "{xml}");
        found
    }

    fn arguments(xml: &str) -> Vec<String> {
        let elements = elements(xml);
        let values = elements
            .iter()
            .filter_map(|element| element.strip_prefix("qemu:arg|"));
        values.map(str::to_owned).collect()
    }

    const DOMAIN: &str = "<domain type='kvm'>\n  <name>vm</name>\n  <os>\n    <type arch='x86_64' machine='pc-q35-10.0'>hvm</type>\n  \
                          </os>\n</domain>\n";

    #[test]
    fn a_fragment_is_well_formed_and_holds_the_arguments() {
        let text = fragment(&devices());
        assert_eq!(arguments(&text), devices());
        let elements = elements(&text);
        assert_eq!(elements[0], "domain|http://libvirt.org/schemas/domain/qemu/1.0");
        assert_eq!(elements[1..4], ["memoryBacking", "source|memfd", "access|shared"]);
        assert!(
            text.contains("{\"bus\":\"pcie.0\""),
            "JSON stays readable: {text}"
        );
    }

    #[test]
    fn a_domain_keeps_everything_and_gets_what_it_lacks() {
        let text = extended(DOMAIN, &devices()).unwrap();
        let added = fragment(&devices());
        let (open, inner) = added.split_once('\n').unwrap();
        let expected = DOMAIN
            .replace("<domain type", &open.replace('>', " type"))
            .replace("</domain>\n", inner);
        assert_eq!(text, expected);
        assert_eq!(arguments(&text), devices());
    }

    #[test]
    fn what_a_domain_has_already_is_added_to() {
        let own = "  <memoryBacking>\n    <hugepages/>\n    <source type='file'/>\n    <access mode='private'></access>\n  </memoryBacking>\n  \
                   <qemu:commandline>\n    <qemu:arg value='-s'/>\n  </qemu:commandline>\n</domain>";
        let domain = DOMAIN
            .replace("</domain>", own)
            .replace("<domain ", &format!("<domain {NAMESPACE} "));
        let text = extended(&domain, &devices()).unwrap();
        let found = elements(&text);
        let memory = found
            .iter()
            .position(|element| element == "memoryBacking")
            .unwrap();
        assert_eq!(
            found[memory..memory + 5],
            [
                "memoryBacking",
                "hugepages",
                "source|memfd",
                "access|shared",
                "qemu:commandline"
            ]
        );
        assert_eq!(arguments(&text), [vec!["-s".to_owned()], devices()].concat());
        assert_eq!(text.matches("xmlns:qemu").count(), 1);
        let error = extended(&text, &devices()).unwrap_err();
        assert!(matches!(error, DomainError::AlreadyThere), "{error}");
    }

    #[test]
    fn empty_elements_are_filled() {
        let domain = DOMAIN.replace("</domain>", "<memoryBacking/><qemu:commandline/></domain>");
        let text = extended(&domain, &devices()).unwrap();
        assert_eq!(arguments(&text), devices());
        assert!(elements(&text).contains(&"source|memfd".to_owned()), "{text}");
        assert_eq!(text.matches("<memoryBacking").count(), 1);
    }

    #[test]
    fn a_domain_that_cannot_have_the_gpu_says_why() {
        let error = |xml: &str| extended(xml, &devices()).unwrap_err().to_string();
        let told = error(&DOMAIN.replace("pc-q35-10.0", "pc-i440fx-10.0"));
        assert!(told.contains("pc-i440fx-10.0") && told.contains("q35"), "{told}");
        let told = error(&DOMAIN.replace(" machine='pc-q35-10.0'", ""));
        assert!(told.contains("libvirt's default"), "{told}");
        let cell = "<cpu><numa><cell id='0' memory='1' memAccess='private'/></numa></cpu></domain>";
        let told = error(&DOMAIN.replace("</domain>", cell));
        assert!(told.contains("memAccess='shared'"), "{told}");
        for other in ["", "<network/>", "<domain/>", "error: failed to get domain 'x'"] {
            let told = error(other);
            assert!(told.contains("virsh dumpxml"), "{other}: {told}");
        }
        for broken in [
            "<domain>",
            "<domain></network>",
            "<domain><os><type machine=></os></domain>",
        ] {
            let told = error(broken);
            assert!(told.contains("not XML"), "{broken}: {told}");
        }
    }
}
