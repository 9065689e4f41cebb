//! The register blocks of a part, each named once: its type, its title, who counts its accesses, when it has power, what resets it.
//!
//! All that goes through every block (who owns a register, reading and writing it, resets, doorbells, documentation) comes from the table in
//! this file. What one block alone has (the windows of the bus interface, faults on command) is in the fabric.

use gart::{Hub, HubEffect};
use mmio::{Effects, RegOffset, RegisterBlock, RegisterFile};
use protocol::stats::{AccessCount, RegisterAccesses};
use sdma_engine::{SdmaEffect, SdmaRegisters};

use crate::blocks::ih::{IhEffect, InterruptHandler};
use crate::blocks::mailbox::{Mailbox, MailboxEffect};
use crate::blocks::nbio::Nbio;
use crate::blocks::plain::Plain;
use crate::blocks::psp::{Psp, PspEffect};
use crate::blocks::smn::Smn;
use crate::blocks::smu::{Smu, SmuEffect};
use cp_engine::{GfxEffect, GfxRegisters};

/// When a block has power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PowerDomain {
    /// As long as the card has: it answers in BACO.
    Always,
    /// Not in BACO.
    Chip,
}

/// What a block is reset with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResetDomain {
    /// Graphics, its hub and its engines.
    Graphics,
    /// What else has its power from the chip and belongs to a function.
    Function,
    /// The bus interface of a function, which BACO keeps.
    Interface,
    /// The chip's, which a function's reset keeps: the host has it.
    Network,
    /// Resets of the whole part only.
    Management,
}

/// How far a reset goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// MODE2.
    Graphics,
    /// Chip off (BACO).
    Chip,
    /// A virtual function.
    Function,
    /// All of it.
    Whole,
}

impl Scope {
    /// All, with the names of the resets that go so far.
    #[cfg(test)]
    const ALL: [(Self, &str); 4] = [
        (Self::Graphics, "`mode2`"),
        (Self::Chip, "`baco-enter`"),
        (Self::Function, "`vf-flr`"),
        (Self::Whole, "all others of the ASIC"),
    ];

    /// Whether it resets what is in a domain.
    pub(super) const fn covers(self, domain: ResetDomain) -> bool {
        match self {
            Self::Graphics => matches!(domain, ResetDomain::Graphics),
            Self::Chip => matches!(
                domain,
                ResetDomain::Graphics | ResetDomain::Function | ResetDomain::Network
            ),
            Self::Function => matches!(
                domain,
                ResetDomain::Graphics | ResetDomain::Function | ResetDomain::Interface
            ),
            Self::Whole => true,
        }
    }
}

/// What register writes asked for, in the order in which they did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    Ih(IhEffect),
    Hub(HubEffect),
    Psp(PspEffect),
    Smu(SmuEffect),
    Mailbox(MailboxEffect),
    Gfx(GfxEffect),
    Sdma(usize, SdmaEffect),
}

macro_rules! effects {
    ($($effect:ident => $variant:ident,)*) => {
        $(impl From<$effect> for Effect {
            fn from(effect: $effect) -> Self {
                Self::$variant(effect)
            }
        })*
    };
}
effects! {
    IhEffect => Ih,
    HubEffect => Hub,
    PspEffect => Psp,
    SmuEffect => Smu,
    MailboxEffect => Mailbox,
    GfxEffect => Gfx,
}

/// Of blocks that ask for nothing.
impl From<std::convert::Infallible> for Effect {
    fn from(effect: std::convert::Infallible) -> Self {
        match effect {}
    }
}

/// All instances of a block.
trait Member {
    /// Register files in the register BAR, with the instance that has them.
    fn bar_files(&self) -> Vec<(usize, &RegisterFile)>;

    /// Register files in the system management network.
    fn smn_files(&self) -> Vec<&RegisterFile> {
        Vec::new()
    }

    fn read(&mut self, instance: usize, offset: RegOffset) -> u32;

    fn write(&mut self, instance: usize, offset: RegOffset, value: u32, effects: &mut Effects<Effect>);

    fn reset(&mut self);

    /// A doorbell was written. Whether it is the block's.
    fn doorbell(&mut self, _index: u32, _value: u64, _effects: &mut Effects<Effect>) -> bool {
        false
    }
}

/// Writes a register of one block and files its effects under the device's.
#[inline]
fn forward<B: RegisterBlock>(
    block: &mut B,
    offset: RegOffset,
    value: u32,
    effects: &mut Effects<Effect>,
    wrap: impl Fn(B::Effect) -> Effect,
) {
    let mut own = Effects::default();
    block.write(offset, value, &mut own);
    effects.absorb(own, wrap);
}

/// Blocks that exist once.
macro_rules! single {
    ($($block:ty $({ $($more:tt)* })?;)*) => {
        $(impl Member for $block {
            fn bar_files(&self) -> Vec<(usize, &RegisterFile)> {
                self.files().into_iter().map(|file| (0, file)).collect()
            }

            #[inline]
            fn read(&mut self, _instance: usize, offset: RegOffset) -> u32 {
                RegisterBlock::read(self, offset)
            }

            #[inline]
            fn write(&mut self, _: usize, offset: RegOffset, value: u32, effects: &mut Effects<Effect>) {
                forward(self, offset, value, effects, Effect::from);
            }

            fn reset(&mut self) {
                RegisterBlock::reset(self);
            }

            $($($more)*)?
        })*
    };
}
single! {
    Nbio;
    Mailbox;
    Plain;
    InterruptHandler {
        /// The read pointer's.
        fn doorbell(&mut self, index: u32, value: u64, effects: &mut Effects<Effect>) -> bool {
            let is_own = self.doorbell_index() == Some(index);
            if is_own {
                let mut own = Effects::default();
                self.set_rptr((value & 0xffff_ffff) as u32, &mut own);
                effects.absorb(own, Effect::Ih);
            }
            is_own
        }
    };
    Psp;
    Smu;
    Hub;
    GfxRegisters;
}

impl Member for Vec<SdmaRegisters> {
    fn bar_files(&self) -> Vec<(usize, &RegisterFile)> {
        let instances = self.iter().enumerate();
        instances
            .flat_map(|(index, registers)| registers.files().into_iter().map(move |file| (index, file)))
            .collect()
    }

    #[inline]
    fn read(&mut self, instance: usize, offset: RegOffset) -> u32 {
        self.get_mut(instance)
            .map_or(0, |registers| registers.read(offset))
    }

    #[inline]
    fn write(&mut self, instance: usize, offset: RegOffset, value: u32, effects: &mut Effects<Effect>) {
        if let Some(registers) = self.get_mut(instance) {
            forward(registers, offset, value, effects, |effect| {
                Effect::Sdma(instance, effect)
            });
        }
    }

    fn reset(&mut self) {
        self.iter_mut().for_each(RegisterBlock::reset);
    }

    /// A write pointer's.
    fn doorbell(&mut self, index: u32, value: u64, effects: &mut Effects<Effect>) -> bool {
        let rung = self
            .iter_mut()
            .enumerate()
            .find(|(_, registers)| registers.doorbell_index() == Some(index));
        rung.is_some_and(|(instance, registers)| {
            registers.ring_doorbell(value);
            effects.push(Effect::Sdma(instance, SdmaEffect::Kick));
            true
        })
    }
}

/// Not in the register BAR: the bus interface has a window on it.
impl Member for Smn {
    fn bar_files(&self) -> Vec<(usize, &RegisterFile)> {
        Vec::new()
    }

    fn smn_files(&self) -> Vec<&RegisterFile> {
        vec![self.file()]
    }

    fn read(&mut self, _instance: usize, _offset: RegOffset) -> u32 {
        0
    }

    fn write(&mut self, _instance: usize, _offset: RegOffset, _value: u32, _effects: &mut Effects<Effect>) {}

    fn reset(&mut self) {
        Self::reset(self);
    }
}

macro_rules! blocks {
    ($($field:ident: $kind:ident($block:ty), $title:literal, counted as $counter:ident, $power:ident, $reset:ident;)*) => {
        /// Which block.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum BlockKind {
            $($kind,)*
        }

        impl BlockKind {
            /// All, in the order of the table.
            pub(super) const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// What the block is.
            pub(super) const fn title(self) -> &'static str {
                match self {
                    $(Self::$kind => $title,)*
                }
            }

            /// When it has power.
            #[inline]
            pub(super) const fn power(self) -> PowerDomain {
                match self {
                    $(Self::$kind => PowerDomain::$power,)*
                }
            }

            /// What it is reset with.
            pub(super) const fn reset_domain(self) -> ResetDomain {
                match self {
                    $(Self::$kind => ResetDomain::$reset,)*
                }
            }

            /// Where accesses to it are counted.
            #[inline]
            pub(super) const fn counter(self, accesses: &mut RegisterAccesses) -> &mut AccessCount {
                match self {
                    $(Self::$kind => &mut accesses.$counter,)*
                }
            }
        }

        /// The blocks of a part.
        #[derive(Debug)]
        pub(super) struct Blocks {
            $(pub(super) $field: $block,)*
        }

        impl Blocks {
            fn member(&self, kind: BlockKind) -> &dyn Member {
                match kind {
                    $(BlockKind::$kind => &self.$field,)*
                }
            }

            /// Reads a register of a block.
            #[inline]
            pub(super) fn read(&mut self, owner: Owner, offset: RegOffset) -> u32 {
                match owner.kind {
                    $(BlockKind::$kind => Member::read(&mut self.$field, owner.instance, offset),)*
                }
            }

            /// Writes a register of a block.
            #[inline]
            pub(super) fn write(&mut self, owner: Owner, offset: RegOffset, value: u32, effects: &mut Effects<Effect>) {
                match owner.kind {
                    $(BlockKind::$kind => Member::write(&mut self.$field, owner.instance, offset, value, effects),)*
                }
            }

            /// Writes a doorbell. Whether it is a block's.
            pub(super) fn doorbell(&mut self, index: u32, value: u64, effects: &mut Effects<Effect>) -> bool {
                let Self { $($field,)* } = self;
                false $(|| Member::doorbell($field, index, value, effects))*
            }

            /// Every block that a reset covers, back to the state after power-on.
            pub(super) fn reset(&mut self, scope: Scope) {
                let Self { $($field,)* } = self;
                $(if scope.covers(BlockKind::$kind.reset_domain()) {
                    Member::reset($field);
                })*
            }
        }
    };
}
blocks! {
    nbio: Nbio(Nbio), "NBIO: bus interface", counted as nbio, Always, Interface;
    mailbox: Mailbox(Mailbox), "BIF: mailbox of a virtual function", counted as mailbox, Always, Interface;
    plain: Plain(Plain), "ATHUB, HDP, THM, SMUIO", counted as other, Chip, Function;
    ih: Ih(InterruptHandler), "OSSSYS: interrupt handler", counted as ih, Chip, Function;
    psp: Psp(Psp), "MP0: security processor", counted as psp, Chip, Function;
    smu: Smu(Smu), "MP1: system management unit", counted as smu, Always, Management;
    gfxhub: GfxHub(Hub), "GFXHUB: address translation of graphics and SDMA", counted as gfxhub, Chip, Graphics;
    mmhub: MmHub(Hub), "MMHUB: address translation of everything else", counted as mmhub, Chip, Function;
    gfx: Gfx(GfxRegisters), "GC: graphics", counted as gc, Chip, Graphics;
    sdma: Sdma(Vec<SdmaRegisters>), "SDMA", counted as sdma, Chip, Graphics;
    smn: Smn(Smn), "SMN: system management network", counted as smn_window, Chip, Network;
}

/// Who owns a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) kind: BlockKind,
    pub(super) instance: usize,
}

impl Blocks {
    /// Who owns which register of the register BAR.
    pub(super) fn claims(&self) -> Vec<(RegOffset, Owner)> {
        let mut claims = Vec::new();
        for kind in BlockKind::ALL {
            for (instance, file) in self.member(*kind).bar_files() {
                let owner = Owner {
                    kind: *kind,
                    instance,
                };
                claims.extend(file.offsets().map(|offset| (offset, owner)));
            }
        }
        claims
    }

    /// The register files of every block, in the register BAR, or in the network.
    pub(super) fn files(&self, smn: bool) -> impl Iterator<Item = (BlockKind, Vec<&RegisterFile>)> {
        let files = move |kind: &BlockKind| {
            let member = self.member(*kind);
            let files: Vec<_> = if smn {
                member.smn_files()
            } else {
                member.bar_files().into_iter().map(|(_, file)| file).collect()
            };
            (!files.is_empty()).then_some((*kind, files))
        };
        BlockKind::ALL.iter().filter_map(files)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    /// Which resets cover which block, for people.
    fn table() -> String {
        let mut text = String::from("| block | in BACO |");
        for (_, names) in Scope::ALL {
            write!(text, " {names} |").unwrap();
        }
        text.push_str("\n|---|---|---|---|---|---|\n");
        for kind in BlockKind::ALL {
            let answers = match kind.power() {
                PowerDomain::Always => "answers",
                PowerDomain::Chip => "no power",
            };
            write!(text, "| {} | {answers} |", kind.title()).unwrap();
            for (scope, _) in Scope::ALL {
                let covered = if scope.covers(kind.reset_domain()) {
                    "reset"
                } else {
                    "kept"
                };
                write!(text, " {covered} |").unwrap();
            }
            text.push('\n');
        }
        text
    }

    #[test]
    fn the_document_is_what_the_table_says() {
        let path = format!("{}/../docs/resets.md", env!("CARGO_MANIFEST_DIR"));
        let document = std::fs::read_to_string(path).unwrap();
        let table = table();
        assert!(
            document.contains(&table),
            "the table of blocks in docs/resets.md has to be:\n{table}"
        );
    }
}
