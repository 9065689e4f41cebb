//! Names of engines and hubs, and how addresses are written.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

/// A number that is written as hexadecimal text: an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hex(pub u64);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Hex {
    fn schema_name() -> Cow<'static, str> {
        "Hex".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^0x[0-9a-f]+$" })
    }
}

/// An address translation hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Hub {
    /// Of graphics and SDMA.
    Gfxhub,
    /// Of everything else.
    Mmhub,
}

/// Something that executes packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineName {
    /// An SDMA engine.
    Sdma(usize),
    /// A graphics queue.
    Gfx,
    /// A compute queue.
    Compute,
    /// The kernel interface queue.
    Kiq,
}

impl EngineName {
    /// What may be said.
    pub const EXPECTED: &str = "sdma0 to sdma3, gfx, compute or kiq";
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Sdma(0),
        Self::Sdma(1),
        Self::Sdma(2),
        Self::Sdma(3),
        Self::Gfx,
        Self::Compute,
        Self::Kiq,
    ];

    /// From a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.to_string() == name)
    }
}

impl fmt::Display for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sdma(index) => write!(f, "sdma{index}"),
            Self::Gfx => f.write_str("gfx"),
            Self::Compute => f.write_str("compute"),
            Self::Kiq => f.write_str("kiq"),
        }
    }
}

impl Serialize for EngineName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for EngineName {
    fn schema_name() -> Cow<'static, str> {
        "EngineName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names = Self::ALL.map(|engine| engine.to_string());
        json_schema!({ "type": "string", "enum": names })
    }
}
