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
    Class, Comparison, Context, Counts, GpuVa, HubId, Level, Location, Mappings, PhysicalMemory, Table,
    VisitedEntry, Vmid, VramOffset, WalkBudget, deciding_entry, walk_directories,
};

use super::Gpu;
use super::fabric::Fabric;
use super::loss::{Loss, LossMode, POISON};
pub use protocol::oracle::{OracleReport, SnapshotReport};
use ranges::Ranges;
pub(super) use recovery::Hit;
use recovery::Recovery;
use restored::Restored;
use spaces::{Reference, Space, SpaceId, Spaces};
use survey::{Purpose, Survey};
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
struct Moment {
    generation: u64,
    now: Duration,
    /// Contents are being lost.
    losing: bool,
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
    fn is_poison(&self, at: Location, bits: u64) -> bool {
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
    fn end_generation(&mut self, moment: Moment, vram_size: u64) {
        match &mut self.survey {
            Some(survey) if survey.purpose != Purpose::Comparison => survey.since = moment.now,
            _ => self.survey = Some(Survey::new(Purpose::Generation, moment, self, vram_size)),
        }
    }

    /// Counts from now on what brings tables back: every space's look was taken.
    fn start_over(&mut self, survey: &Survey) {
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

    fn forget(&mut self, id: SpaceId) {
        self.spaces.forget(id);
        self.tables.forget(id);
    }
}

impl Gpu {
    /// Everything from now on is of a new generation: engines were stopped, or contents are about to be lost. What page tables map is
    /// kept as it is at this moment: at once, or, if it is much, in as many turns as that takes, for which engines and losses wait.
    pub(super) fn begin_generation(&mut self) {
        self.observe_use();
        let moment = self.moment();
        self.oracle.end_generation(moment, self.fabric.memory.vram.size());
        self.survey();
        self.journal.begin_generation();
    }

    /// Takes a survey that is under way one turn further, or begins the one that was asked for. Returns whether it is to go on.
    pub(super) fn survey(&mut self) -> bool {
        if self.oracle.survey.is_none() {
            let Some((_, question)) = self.oracle.asked else {
                return false;
            };
            self.observe_use();
            let purpose = match question {
                Question::Snapshot => Purpose::Snapshot,
                Question::Comparison => Purpose::Comparison,
            };
            let (moment, size) = (self.moment(), self.fabric.memory.vram.size());
            self.oracle.survey = Some(Survey::new(purpose, moment, &self.oracle, size));
        }
        let Some(mut survey) = self.oracle.survey.take() else {
            return false;
        };
        if !survey.advance(&mut self.oracle, &self.fabric.memory) {
            self.oracle.survey = Some(survey);
            return true;
        }
        self.surveyed(survey);
        // Somebody may have asked meanwhile.
        self.oracle.asked.is_some()
    }

    fn surveyed(&mut self, mut survey: Survey) {
        let answer = match survey.purpose {
            Purpose::Comparison => {
                let report = report::comparison(self, std::mem::take(&mut survey.reports));
                self.journal.record(report::event(&report));
                Some(Answer::Comparison(Box::new(report)))
            }
            Purpose::Snapshot => {
                self.oracle.start_over(&survey);
                let report = report::snapshot(&self.oracle, survey.moment);
                Some(Answer::Snapshot(report))
            }
            Purpose::Generation => {
                self.oracle.start_over(&survey);
                None
            }
        };
        if let Some(answer) = answer
            && let Some((ticket, _)) = self.oracle.asked.take()
        {
            self.oracle.answers.push_back((ticket, answer));
            if self.oracle.answers.len() > ANSWERS {
                self.oracle.answers.pop_front();
            }
        }
        for (vmid, context) in std::mem::take(&mut self.oracle.waiting) {
            self.context_set(Vmid::from_field(vmid.into()), context);
        }
    }

    /// Asks for a look at all page tables, which [`run`](Self::run) takes in turns. `None` while another question is being answered.
    pub fn ask_oracle(&mut self, question: Question) -> Option<Ticket> {
        if self.oracle.asked.is_some() {
            return None;
        }
        self.oracle.tickets = self.oracle.tickets.saturating_add(1);
        let ticket = self.oracle.tickets;
        self.oracle.asked = Some((ticket, question));
        Some(ticket)
    }

    /// The answer to a question, if it is there.
    pub fn oracle_answer(&mut self, ticket: Ticket) -> Outcome {
        let answers = &mut self.oracle.answers;
        let found = answers.iter().position(|(known, _)| *known == ticket);
        if let Some((_, answer)) = found.and_then(|index| answers.remove(index)) {
            return Outcome::Ready(answer);
        }
        match self.oracle.asked {
            Some((known, _)) if known == ticket => Outcome::Pending,
            _ => Outcome::Gone,
        }
    }

    /// Asks, and takes all turns at once.
    fn ask_at_once(&mut self, question: Question) -> Option<Answer> {
        while self.survey() {}
        let ticket = self.ask_oracle(question)?;
        while self.survey() {}
        match self.oracle_answer(ticket) {
            Outcome::Ready(answer) => Some(answer),
            Outcome::Pending | Outcome::Gone => None,
        }
    }

    const fn moment(&self) -> Moment {
        Moment {
            generation: self.journal.generation(),
            now: self.now,
            losing: self.losing.is_some(),
        }
    }

    /// Work in a VMID is use of the space that it is pointed at.
    pub(super) fn observe_use(&mut self) {
        let used = std::mem::take(&mut self.fabric.used_vmids);
        let generation = self.journal.generation();
        let hub = &self.fabric.gfxhub;
        let fb_offset = hub.space().apertures.fb_offset;
        for vmid in Vmid::all().filter(|vmid| used >> vmid.get() & 1 != 0) {
            if let Some(context) = hub.context(vmid) {
                self.oracle
                    .spaces
                    .work(vmid, context.root.location(fb_offset), generation);
            }
        }
    }

    pub(super) fn context_set(&mut self, vmid: Vmid, context: Context) {
        if self.oracle.is_surveying() {
            self.oracle.waiting.insert(vmid.get(), context);
            return;
        }
        self.observe_use();
        let generation = self.journal.generation();
        let Fabric { gfxhub, memory, .. } = &self.fabric;
        let fb_offset = gfxhub.space().apertures.fb_offset;
        self.oracle
            .context_set(memory, vmid, context, fb_offset, generation);
    }

    /// Keeps what page tables map at this moment, whatever state they are in, as what later ones are compared with. What brought tables
    /// back until now does not count any more.
    pub fn take_snapshot(&mut self) -> SnapshotReport {
        match self.ask_at_once(Question::Snapshot) {
            Some(Answer::Snapshot(report)) => report,
            _ => report::snapshot(&self.oracle, self.moment()),
        }
    }

    /// Compares what page tables map at this moment with what they mapped before.
    pub fn compare_tables(&mut self) -> OracleReport {
        match self.ask_at_once(Question::Comparison) {
            Some(Answer::Comparison(report)) => *report,
            _ => report::comparison(self, Vec::new()),
        }
    }

    /// Whether a walk for this address ends at what a loss left behind: at an entry that reads as the poison, in memory that was
    /// poisoned.
    pub fn meets_poison(&self, hub: HubId, vmid: Vmid, va: GpuVa) -> bool {
        let Fabric {
            gfxhub,
            mmhub,
            memory,
            ..
        } = &self.fabric;
        let hub = match hub {
            HubId::Gfx => gfxhub,
            HubId::Mm => mmhub,
        };
        let fb_offset = hub.space().apertures.fb_offset;
        hub.context(vmid)
            .and_then(|context| deciding_entry(context, fb_offset, memory, va))
            .is_some_and(|(at, bits)| self.oracle.is_poison(at, bits))
    }
}

#[cfg(test)]
mod survey_tests;
#[cfg(test)]
mod tests;
