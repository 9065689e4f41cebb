//! What page tables mapped before contents of VRAM were lost, what they map now, and how they came back.
//!
//! An address space is known by its root table. Just before every reset and every loss, and when somebody asks, each space is walked and
//! what it maps is kept as its *reference*: the state to which later ones are compared. A space that was lost and has not come back keeps
//! the reference that it has, so the reference is always of a good generation.
//!
//! Fidelity: this is an observer. Nothing here changes what the guest sees, but for the host memory that walks of untouched pages take and
//! the time that they take; both are bounded.
//!
//! What it does not do: spaces of the multimedia hub, updates by the CPU (`vm_update_mode`, the GART): a walk sees their outcome, but no
//! packet tells of them.

mod ranges;
mod recovery;
pub(super) mod report;
mod restored;
mod spaces;
mod survey;
mod tables;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use gart::{
    Class, Comparison, Context, Counts, Level, Location, Mappings, PhysicalMemory, Table, VisitedEntry, Vmid,
    VramOffset, WalkBudget, walk_directories,
};

use super::losing::{Loss, LossMode, POISON};
pub use protocol::oracle::{OracleReport, SnapshotReport};
use ranges::Ranges;
pub(super) use recovery::Hit;
use recovery::Recovery;
use restored::Restored;
use spaces::{Reference, Space, SpaceId, Spaces};
pub(super) use survey::{Purpose, Survey};
use tables::{State, TableIndex};

/// What the walk of a new root's directories may do.
const DIRECTORIES: WalkBudget = WalkBudget {
    tables: 1 << 12,
    entries: 1 << 17,
};
/// The poison as an entry.
const POISONED_ENTRY: u64 = (POISON as u64) << 32 | POISON as u64;

/// When a look is taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) generation: u64,
    pub(super) now: Duration,
    /// Contents are being lost.
    pub(super) losing: bool,
}

/// What somebody asks the oracle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// A snapshot.
    Snapshot,
    /// A comparison.
    Comparison,
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::Snapshot`].
    Snapshot(SnapshotReport),
    /// To [`Question::Comparison`].
    Comparison(Box<OracleReport>),
}

/// The number of a question.
pub type Ticket = u64;

/// How a question stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// There is no answer yet.
    Pending,
    /// The answer; it is given once.
    Ready(Answer),
    /// It was not fetched in time, and has to be asked once more.
    Gone,
}

/// Answers that wait to be fetched.
const ANSWERS: usize = 16;

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The observer.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    spaces: Spaces,
    tables: TableIndex,
    recovery: Recovery,
    restored: Restored,
    /// Bytes of VRAM that a loss has poisoned at some time, and no loss zeroed after that.
    poisoned: Ranges,
    /// Entries of the GART's table that packets wrote, rather than the CPU: transfer windows.
    windows: Ranges,
    survey: Option<Survey>,
    /// Contexts that were set while a survey was under way, one for each VMID.
    waiting: BTreeMap<u8, Context>,
    /// The question that is being answered, or will be when nothing else is under way.
    asked: Option<(Ticket, Question)>,
    tickets: Ticket,
    answers: VecDeque<(Ticket, Answer)>,
}

impl Oracle {
    /// A VMID of the graphics hub was pointed at a root.
    pub(super) fn context_set<M: PhysicalMemory>(
        &mut self,
        memory: &M,
        vmid: Vmid,
        context: Context,
        fb_offset: u64,
        generation: u64,
    ) {
        let old_gart = self.spaces.gart().map(|space| space.id);
        let (id, new, gone) = self.spaces.point(vmid, context, fb_offset, generation);
        if let Some(gone) = gone {
            self.tables.forget(gone);
        }
        if !new {
            return;
        }
        let Self { spaces, tables, .. } = self;
        if vmid == Vmid::KERNEL {
            self.windows = Ranges::default();
            if let Some(old) = old_gart {
                spaces.forget(old);
                tables.forget(old);
            }
            return;
        }
        recovery::know(tables, spaces, &Table::root(&context, fb_offset), id);
        walk_directories(
            &context,
            fb_offset,
            memory,
            DIRECTORIES,
            |entry: &VisitedEntry| {
                if let Some(table) = Table::below(entry, context.block_bits) {
                    recovery::know(tables, spaces, &table, id);
                }
            },
        );
    }

    /// A packet wrote entries into the GART's table.
    pub(super) fn window_written(&mut self, at: VramOffset, entries: u64) {
        let Some(Location::Vram(table)) = self.spaces.gart().map(|space| space.root) else {
            return;
        };
        let first = at.get().wrapping_sub(table.get()) >> 3;
        self.windows.insert(first, first.saturating_add(entries));
    }

    /// Contents are about to be lost.
    pub(super) fn lose(&mut self, loss: Loss, vram_size: u64) {
        let end = loss.offset.saturating_add(loss.length).min(vram_size);
        match loss.mode {
            LossMode::Keep => return,
            LossMode::Zero => self.poisoned.remove(loss.offset, end),
            LossMode::Poison => self.poisoned.insert(loss.offset, end),
        }
        self.recovery.lost = true;
        let Self { spaces, tables, .. } = self;
        let mut hit = Vec::new();
        tables.lose(loss.offset, end, |space| {
            if hit.last() != Some(&space) {
                hit.push(space);
            }
        });
        for space in spaces.all_mut() {
            let root_lost =
                matches!(space.root, Location::Vram(root) if (loss.offset..end).contains(&root.get()));
            space.lost |= root_lost || hit.contains(&space.id);
        }
    }

    /// Whether an entry is what a loss left behind.
    pub(super) fn is_poison(&self, at: Location, bits: u64) -> bool {
        bits == POISONED_ENTRY && matches!(at, Location::Vram(at) if self.poisoned.contains(at.get()))
    }

    /// The addresses of the GART that are transfer windows.
    fn window_addresses(&self, gart: &Space) -> Vec<(u64, u64)> {
        let start = gart.context.start_page;
        let address = |entry: u64| start.saturating_add(entry) << 12;
        self.windows
            .as_slice()
            .iter()
            .map(|(first, end)| (address(*first), address(*end)))
            .collect()
    }

    /// Whether a space that was lost is not yet what it was, so that it is nothing to compare with. `counts` compare it with its reference.
    fn is_unrecovered(&self, space: &Space, counts: &Counts, moment: Moment) -> bool {
        // The CPU writes the GART before it points context 0 at it. But work in context 0 is also what a driver tries in vain that does
        // not know of the loss.
        if space.is_gart() {
            let gone = counts.poisoned > 0 || counts.same == 0 && counts.missing > 0;
            return gone || space.used != moment.generation;
        }
        let root = match space.root {
            Location::Vram(at) => self.tables.at(at.get()).map(|known| known.state),
            Location::System(_) => None,
        };
        // What is missing may have been unmapped, or zeroed by the loss.
        let back = matches!(root, Some(State::Copied | State::Rewritten));
        counts.poisoned > 0 || counts.missing > 0 && !back
    }

    /// Whether a survey is under way: engines, and losses, have to wait.
    pub(super) const fn is_surveying(&self) -> bool {
        self.survey.is_some()
    }

    /// Runs that all references but one space's have.
    fn runs_of_others(&self, id: SpaceId) -> usize {
        let others = self.spaces.all().iter().filter(|other| other.id != id);
        others
            .filter_map(|other| other.reference.as_ref())
            .map(|reference| reference.mappings.runs().len())
            .sum()
    }

    /// The generation ends. Nothing has run since a survey that is under way has begun, so that it serves this end as well; but a
    /// comparison has to wait.
    pub(super) fn end_generation(&mut self, moment: Moment, vram_size: u64) {
        match &mut self.survey {
            Some(survey) if survey.purpose != Purpose::Comparison => survey.since = moment.now,
            _ => self.survey = Some(Survey::new(Purpose::Generation, moment, self, vram_size)),
        }
    }

    /// Counts from now on what brings tables back: every space's look was taken.
    pub(super) fn start_over(&mut self, survey: &Survey) {
        self.tables.start_over();
        // Only now: a table that took a lost one's place has just been dropped with that, and is taken up as what it is.
        self.take_up_tables(&survey.taken);
        self.restored = Restored::default();
        self.recovery = Recovery {
            since_us: micros(survey.since),
            // What was lost and did not come back is still lost.
            lost: self.tables.all().any(|known| known.state == State::Lost),
            ..Recovery::default()
        };
    }

    /// Gives what the reference before mapped.
    fn take_reference(&mut self, id: SpaceId, mappings: Mappings, moment: Moment, used: bool) -> Mappings {
        let Some(space) = self.spaces.get_mut(id) else {
            return mappings;
        };
        space.lost = false;
        let before = space.reference.replace(Reference {
            generation: moment.generation,
            us: micros(moment.now),
            vmid: space.vmid,
            used,
            mappings,
        });
        before.map(|before| before.mappings).unwrap_or_default()
    }

    /// Takes up the tables that looks at these spaces have found.
    ///
    /// A space whose process has ended is looked at as well, and its directories name memory that may be another's by now. So a look
    /// takes no table away from the space that has it, and makes no table of another space's root: who has a table is decided by the
    /// packets that link it.
    fn take_up_tables(&mut self, ids: &[SpaceId]) {
        let Self { spaces, tables, .. } = self;
        let users = || spaces.all().iter().filter(|space| !space.is_gart());
        let mut roots: Vec<_> = users().map(|space| (space.root, space.id)).collect();
        roots.sort_unstable();
        for space in ids.iter().filter_map(|id| users().find(|space| space.id == *id)) {
            let found = space
                .reference
                .iter()
                .flat_map(|reference| reference.mappings.tables());
            for table in found {
                let Location::Vram(at) = table.at else { continue };
                let first = roots.partition_point(|(root, _)| *root < table.at);
                let of_root = roots.get(first).filter(|(root, _)| *root == table.at);
                let anothers = of_root.is_some_and(|(_, id)| *id != space.id);
                if !anothers && tables.at(at.get()).is_none() {
                    tables.insert(at.get(), table, space.id);
                }
            }
        }
    }

    /// Begins the look that was asked for.
    pub(super) fn begin(&mut self, moment: Moment, vram_size: u64) {
        let purpose = match self.asked {
            Some((_, Question::Snapshot)) => Purpose::Snapshot,
            Some((_, Question::Comparison)) => Purpose::Comparison,
            None => return,
        };
        self.survey = Some(Survey::new(purpose, moment, self, vram_size));
    }

    /// Takes a survey one turn further; gives it when it is complete.
    pub(super) fn advance<M: PhysicalMemory>(&mut self, memory: &M) -> Option<Survey> {
        let mut survey = self.survey.take()?;
        if survey.advance(self, memory) {
            return Some(survey);
        }
        self.survey = Some(survey);
        None
    }

    /// The number of a new question. `None` while another one is being answered.
    pub(super) fn ask(&mut self, question: Question) -> Option<Ticket> {
        if self.is_asked() {
            return None;
        }
        self.tickets = self.tickets.saturating_add(1);
        self.asked = Some((self.tickets, question));
        Some(self.tickets)
    }

    /// Whether a question waits for its answer.
    pub(super) const fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Answers the question that was asked.
    pub(super) fn reply(&mut self, answer: Answer) {
        if let Some((ticket, _)) = self.asked.take() {
            self.answers.push_back((ticket, answer));
            if self.answers.len() > ANSWERS {
                self.answers.pop_front();
            }
        }
    }

    /// The answer to a question, if it is there.
    pub(super) fn answer(&mut self, ticket: Ticket) -> Outcome {
        let found = self.answers.iter().position(|(known, _)| *known == ticket);
        if let Some((_, answer)) = found.and_then(|index| self.answers.remove(index)) {
            return Outcome::Ready(answer);
        }
        match self.asked {
            Some((known, _)) if known == ticket => Outcome::Pending,
            _ => Outcome::Gone,
        }
    }

    /// A context was set while a survey was under way: it counts when that is over.
    pub(super) fn put_off(&mut self, vmid: Vmid, context: Context) {
        self.waiting.insert(vmid.get(), context);
    }

    /// Contexts that were set while a survey was under way.
    pub(super) fn take_waiting(&mut self) -> impl Iterator<Item = (Vmid, Context)> + use<> {
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        waiting.map(|(vmid, context)| (Vmid::from_field(vmid.into()), context))
    }

    /// There was work in a VMID whose root this is.
    pub(super) fn work(&mut self, vmid: Vmid, root: Location, generation: u64) {
        self.spaces.work(vmid, root, generation);
    }

    fn forget(&mut self, id: SpaceId) {
        self.spaces.forget(id);
        self.tables.forget(id);
    }
}

#[cfg(test)]
mod survey_tests;
#[cfg(test)]
mod tests;
