//! What a value may be, read at run time out of the description of its type.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::names::Names;

/// Where a description says which names a number has: `#[schemars(extend("x-names" = "errno"))]`.
const NAMES: &str = "x-names";

/// The fields of an object by name.
pub type Fields = BTreeMap<String, Field>;

/// A field of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Field {
    /// What its value may be.
    pub shape: Shape,
    /// It is always there.
    pub required: bool,
    /// What it is, for people; empty if that is not said.
    pub about: String,
}

/// What a value may be: one or more of these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// A number.
    pub number: bool,
    /// The numbers have these names.
    pub names: Option<&'static Names>,
    /// True or false.
    pub flag: bool,
    /// Nothing.
    pub null: bool,
    /// A text: any, or one that matches a regular expression.
    pub text: Option<Option<String>>,
    /// One of these words.
    pub words: BTreeSet<String>,
    /// A list of such values.
    pub items: Option<Box<Shape>>,
    /// An object with these fields.
    pub fields: Fields,
    /// An object whose names are numbers, with such values.
    pub numbered: Option<Box<Shape>>,
}

/// A way into a value that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoWay {
    /// Which word of the way, counted from 0.
    pub word: usize,
    /// What could stand there; nothing if the way goes too far.
    pub known: Vec<String>,
    /// The way goes on here with the number of a member.
    pub numbered: bool,
}

impl Shape {
    /// That of a type, as it is written.
    pub fn of<T: JsonSchema>() -> Self {
        let settings = SchemaSettings::draft2020_12()
            .with(|settings| settings.inline_subschemas = true)
            .for_serialize();
        let schema = settings.into_generator().into_root_schema_for::<T>();
        schema.as_object().map(Self::read).unwrap_or_default()
    }

    /// The variants of an enumeration with a tag, by the tag's value. Fields that stand beside the enumeration are in each.
    pub fn variants<T: JsonSchema>(tag: &str) -> BTreeMap<String, Fields> {
        let settings = SchemaSettings::draft2020_12()
            .with(|settings| settings.inline_subschemas = true)
            .for_serialize();
        let schema = settings.into_generator().into_root_schema_for::<T>();
        let mut found = BTreeMap::new();
        let Some(schema) = schema.as_object() else {
            return found;
        };
        let beside = Self::properties(schema);
        for variant in alternatives(schema) {
            let mut fields = Self::read(variant).fields;
            let Some(tag) = fields.get(tag) else { continue };
            let names = tag.shape.words.clone();
            fields.extend(beside.clone());
            for name in names {
                let mut fields = fields.clone();
                // Variants of an enumeration inside of this one have the same name: their fields come together.
                if let Some(other) = found.remove(&name) {
                    fields = together(fields, other);
                }
                found.insert(name, fields);
            }
        }
        found
    }

    fn properties(schema: &Map<String, Value>) -> Fields {
        let required: BTreeSet<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let properties = schema.get("properties").and_then(Value::as_object);
        properties
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| {
                let field = Field {
                    shape: Self::read(value.as_object()?),
                    required: required.contains(name.as_str()),
                    about: value
                        .get("description")
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned(),
                };
                Some((name.clone(), field))
            })
            .collect()
    }

    fn read(schema: &Map<String, Value>) -> Self {
        let mut shape = Self::default();
        let words = schema.get("enum").and_then(Value::as_array);
        let word = schema.get("const").and_then(Value::as_str);
        let words = words.into_iter().flatten().filter_map(Value::as_str).chain(word);
        shape.words.extend(words.map(str::to_owned));
        let types: Vec<&str> = match schema.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        shape.names = schema.get(NAMES).and_then(Value::as_str).and_then(Names::called);
        for kind in types {
            match kind {
                "integer" | "number" => shape.number = true,
                "boolean" => shape.flag = true,
                "null" => shape.null = true,
                "string" if shape.words.is_empty() => {
                    let pattern = schema.get("pattern").and_then(Value::as_str);
                    shape.text = Some(pattern.map(str::to_owned));
                }
                "array" => {
                    let mut items = Self::default();
                    let tuple = schema.get("prefixItems").and_then(Value::as_array);
                    for item in tuple.into_iter().flatten().chain(schema.get("items")) {
                        items.join(item.as_object().map(Self::read).unwrap_or_default());
                    }
                    shape.items = Some(Box::new(items));
                }
                _ => {}
            }
        }
        shape.fields = Self::properties(schema);
        let numbered = schema.get("patternProperties").and_then(Value::as_object);
        for value in numbered
            .into_iter()
            .flat_map(Map::values)
            .filter_map(Value::as_object)
        {
            shape.numbered = Some(Box::new(Self::read(value)));
        }
        let mut one_of = None;
        for other in alternatives(schema) {
            let other = Self::read(other);
            match &mut one_of {
                None => one_of = Some(other),
                Some(sum) => sum.join(other),
            }
        }
        for all in schema
            .get("allOf")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let part = all.as_object().map(Self::read).unwrap_or_default();
            shape.add(part);
        }
        if let Some(sum) = one_of {
            shape.add(sum);
        }
        shape
    }

    /// Either the one or the other.
    #[must_use]
    pub fn either(mut self, other: Self) -> Self {
        self.join(other);
        self
    }

    /// Either the one or the other: a field that not both have is not always there.
    fn join(&mut self, other: Self) {
        let objects = !self.fields.is_empty() && !other.fields.is_empty();
        let mine = std::mem::take(&mut self.fields);
        let mut other = other;
        let theirs = std::mem::take(&mut other.fields);
        self.add(other);
        self.fields = if objects {
            together(mine, theirs)
        } else {
            mine.into_iter().chain(theirs).collect()
        };
    }

    /// What both say, side by side.
    fn add(&mut self, other: Self) {
        let Self {
            number,
            names,
            flag,
            null,
            text,
            words,
            items,
            fields,
            numbered,
        } = other;
        self.number |= number;
        self.names = self.names.or(names);
        self.flag |= flag;
        self.null |= null;
        self.text = self.text.take().or(text);
        self.words.extend(words);
        self.items = self.items.take().or(items);
        self.numbered = self.numbered.take().or(numbered);
        self.fields.extend(fields);
    }

    /// What a way leads to: names and numbers of members with dots between them, `*` for any member.
    ///
    /// # Errors
    /// [`NoWay`] with the first word that leads nowhere.
    pub fn at(&self, path: &str) -> Result<Vec<&Self>, NoWay> {
        let mut here = vec![self];
        for (word, name) in path.split('.').enumerate() {
            let next: Vec<&Self> = here.iter().flat_map(|shape| shape.members(name)).collect();
            if next.is_empty() {
                return Err(NoWay {
                    word,
                    known: here
                        .iter()
                        .flat_map(|shape| shape.fields.keys().cloned())
                        .collect(),
                    numbered: here
                        .iter()
                        .any(|shape| shape.items.is_some() || shape.numbered.is_some()),
                });
            }
            here = next;
        }
        Ok(here)
    }

    /// Whether a value is such, to every member.
    ///
    /// # Errors
    /// The first way that is not described, or whose value is not what is described.
    pub fn describes(&self, value: &Value) -> Result<(), String> {
        let inside = |name: &str, result: Result<(), String>| result.map_err(|way| format!("{name}.{way}"));
        match value {
            Value::Null if self.null => Ok(()),
            Value::Bool(_) if self.flag => Ok(()),
            Value::Number(_) if self.number => Ok(()),
            Value::String(text) if self.text.is_some() || self.words.contains(text) => Ok(()),
            Value::Array(members) => match &self.items {
                Some(items) => members
                    .iter()
                    .enumerate()
                    .try_for_each(|(index, member)| inside(&index.to_string(), items.describes(member))),
                None => Err(format!(": {value}")),
            },
            Value::Object(members) => {
                if let Some((missing, _)) = self
                    .fields
                    .iter()
                    .find(|(name, field)| field.required && !members.contains_key(*name))
                {
                    return Err(format!("{missing}: missing"));
                }
                members
                    .iter()
                    .try_for_each(|(name, member)| match self.members(name).first() {
                        Some(shape) => inside(name, shape.describes(member)),
                        None => Err(format!("{name}: not described")),
                    })
            }
            _ => Err(format!(": {value}")),
        }
    }

    fn members(&self, name: &str) -> Vec<&Self> {
        let number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        let lists = [&self.items, &self.numbered].into_iter().flatten();
        match name {
            "*" => lists
                .map(Box::as_ref)
                .chain(self.fields.values().map(|field| &field.shape))
                .collect(),
            _ if number => lists.map(Box::as_ref).collect(),
            _ => self
                .fields
                .get(name)
                .map(|field| &field.shape)
                .into_iter()
                .collect(),
        }
    }
}

fn alternatives(schema: &Map<String, Value>) -> impl Iterator<Item = &Map<String, Value>> {
    ["oneOf", "anyOf"]
        .into_iter()
        .filter_map(|key| schema.get(key)?.as_array())
        .flatten()
        .filter_map(Value::as_object)
}

fn together(mine: Fields, mut theirs: Fields) -> Fields {
    let mut sum = Fields::new();
    for (name, mut field) in mine {
        match theirs.remove(&name) {
            Some(other) => {
                field.required &= other.required;
                field.shape.join(other.shape);
            }
            None => field.required = false,
        }
        sum.insert(name, field);
    }
    for (name, mut field) in theirs {
        field.required = false;
        sum.insert(name, field);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Record;
    use crate::fault::FaultRequest;
    use crate::oracle::OracleReport;
    use crate::request::Request;
    use crate::state::FunctionState;
    use crate::stats::StatsAnswer;

    #[test]
    fn events_have_their_fields_and_those_of_every_record() {
        let events = Shape::variants::<Record>("event");
        let begin = events.get("reset-begin").unwrap();
        let names: Vec<_> = begin.keys().map(String::as_str).collect();
        assert_eq!(names, ["event", "generation", "kind", "seq", "target", "us"]);
        assert!(begin["kind"].shape.words.contains("mode1-smu"));
        assert!(begin["kind"].required && !begin["target"].required);
        assert!(begin["us"].shape.number && begin["target"].shape.text.is_some());
        assert!(events["fence"]["engine"].shape.words.contains("sdma3"));
        assert!(events["page-table-update"]["vmid"].shape.null);
    }

    #[test]
    fn requests_and_faults_have_their_fields() {
        let requests = Shape::variants::<Request>("request");
        assert_eq!(requests.len(), 12);
        assert!(requests["hang"]["engine"].required && !requests["hang"]["when"].required);
        assert!(requests["fault"].contains_key("delay_us"));
        let faults = Shape::variants::<FaultRequest>("kind");
        let names: Vec<_> = faults["slow"].keys().map(String::as_str).collect();
        assert_eq!(names, ["after", "count", "delay_us", "engine", "kind"]);
        assert!(faults["slow"]["engine"].required && !faults["slow"]["count"].required);
        assert!(!faults["off-bus"].contains_key("count"));
        let xor = &faults["corrupt-pte"]["xor"].shape;
        assert!(xor.number && xor.text.is_some());
    }

    #[test]
    fn numbers_have_the_names_that_they_are_said_to_have() {
        let events = Shape::variants::<Record>("event");
        let of = |field: &str| events["interrupt"][field].shape.names.unwrap().called;
        assert_eq!(
            (of("client"), of("source")),
            ("interrupt-client", "interrupt-source")
        );
        let faults = Shape::variants::<FaultRequest>("kind");
        let source = &faults["drop-interrupts"]["source"].shape;
        assert_eq!(source.names.unwrap().called, "interrupt-source");
        assert!(source.number);
    }

    #[test]
    fn ways_lead_through_names_numbers_and_stars() {
        let stats = Shape::of::<StatsAnswer>();
        for path in [
            "resets.mode1",
            "resets.*",
            "sdma.*.faults",
            "sdma.0.packets.FENCE",
            "smu_messages.48",
            "smu_messages.Mode1Reset",
            "psp_commands.PROG_REG",
            "sriov.messages.READY_TO_RESET",
            "process.private",
            "accesses.blocks.gc.reads",
        ] {
            let found = stats.at(path).unwrap_or_else(|no| panic!("{path}: {no:?}"));
            assert!(
                !found.is_empty() && found.iter().all(|shape| shape.number),
                "{path}"
            );
        }
        let wrong = stats.at("resets.mode9").unwrap_err();
        assert_eq!(wrong.word, 1);
        assert!(wrong.known.contains(&"mode1".to_owned()));
        assert!(stats.at("sdma.faults").unwrap_err().numbered);
        assert_eq!(stats.at("faults.x").unwrap_err().known, [""; 0]);
        let state = Shape::of::<FunctionState>();
        assert!(state.at("engines.0.doing").unwrap()[0].words.contains("waiting"));
        assert!(state.at("sriov.vf2pf.valid").unwrap()[0].flag);
        let oracle = Shape::of::<OracleReport>();
        assert!(oracle.at("spaces.0.tables.lost").unwrap()[0].number);
        assert!(oracle.at("recovery.by").unwrap()[0].words.contains("rewritten"));
    }
}
