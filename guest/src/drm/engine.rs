//! The engines that submissions go to.

use super::{pm4, sdma, uapi};

/// Size of a packet of a copy.
const CHUNK: u32 = 1 << 22;

/// A kind of engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Copy engines.
    Sdma,
    /// The graphics queue of the command processor.
    Gfx,
    /// The compute queues of the command processor.
    Compute,
}

impl Engine {
    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Sdma, Self::Gfx, Self::Compute]
            .into_iter()
            .find(|engine| engine.name() == name)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sdma => "sdma",
            Self::Gfx => "gfx",
            Self::Compute => "compute",
        }
    }

    /// An empty command buffer in its language.
    pub fn commands(self) -> Commands {
        match self {
            Self::Sdma => Commands::Sdma(sdma::Commands::new()),
            Self::Gfx | Self::Compute => Commands::CommandProcessor(pm4::Commands::new()),
        }
    }

    /// `AMDGPU_HW_IP_*`.
    pub(super) const fn number(self) -> u32 {
        match self {
            Self::Sdma => uapi::ENGINE_DMA,
            Self::Gfx => uapi::ENGINE_GFX,
            Self::Compute => uapi::ENGINE_COMPUTE,
        }
    }
}

/// A command buffer for one kind of engine: what all of them can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commands {
    /// For a copy engine.
    Sdma(sdma::Commands),
    /// For the command processor.
    CommandProcessor(pm4::Commands),
}

impl Commands {
    /// Copies bytes.
    pub fn copy(&mut self, source: u64, target: u64, bytes: u64) {
        match self {
            Self::Sdma(commands) => commands.copy(source, target, bytes, CHUNK),
            Self::CommandProcessor(commands) => commands.copy(source, target, bytes),
        }
    }

    /// Waits until a dword of memory has a value.
    pub fn wait_for(&mut self, address: u64, value: u32) {
        match self {
            Self::Sdma(commands) => commands.wait_for(address, value),
            Self::CommandProcessor(commands) => commands.wait_for(address, value),
        }
    }

    /// A packet that does not exist.
    pub fn undefined(&mut self) {
        match self {
            Self::Sdma(commands) => commands.undefined(),
            Self::CommandProcessor(commands) => commands.undefined(),
        }
    }

    /// The finished buffer.
    pub fn finish(self) -> Vec<u8> {
        match self {
            Self::Sdma(commands) => commands.finish(),
            Self::CommandProcessor(commands) => commands.finish(),
        }
    }
}

/// One ring, as the interface counts them. The driver's scheduler chooses which ring of the hardware serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    /// Of which engine.
    pub engine: Engine,
    /// Which of its rings.
    pub number: u32,
}

impl std::fmt::Display for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ring {}", self.engine.name(), self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_have_names() {
        assert_eq!(Engine::parse("gfx"), Some(Engine::Gfx));
        assert_eq!(Engine::parse("vcn"), None);
    }
}
