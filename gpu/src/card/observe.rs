//! What the oracle sees of the GPU, and when it looks.

use gart::{Context, GpuVa, HubId, Vmid, deciding_entry};
use protocol::oracle::SpaceReport;

use super::blocks::Blocks;
use super::fabric::Fabric;
use super::gpu::Gpu;
use super::oracle::{
    Answer, Moment, OracleReport, Outcome, Purpose, Question, SnapshotReport, Survey, Ticket, report,
};
use crate::memory::CardMemory;

impl<M: CardMemory> Gpu<M> {
    /// Everything from now on is of a new generation: engines were stopped, or contents are about to be lost. What page tables map is
    /// kept as it is at this moment: at once, or, if it is much, in as many turns as that takes, for which engines and losses wait.
    pub(super) fn begin_generation(&mut self) {
        self.observe_use();
        let moment = self.moment();
        self.observers
            .oracle
            .end_generation(moment, self.fabric.memory.vram_size());
        self.survey();
        self.observers.journal.begin_generation();
    }

    /// Takes a survey that is under way one turn further, or begins the one that was asked for. Returns whether it is to go on.
    pub(super) fn survey(&mut self) -> bool {
        if !self.observers.oracle.is_surveying() {
            if !self.observers.oracle.is_asked() {
                return false;
            }
            self.observe_use();
            let (moment, size) = (self.moment(), self.fabric.memory.vram_size());
            self.observers.oracle.begin(moment, size);
        }
        let Some(survey) = self.observers.oracle.advance(&self.fabric.memory) else {
            return true;
        };
        self.surveyed(survey);
        // Somebody may have asked meanwhile.
        self.observers.oracle.is_asked()
    }

    fn surveyed(&mut self, mut survey: Survey) {
        match survey.purpose {
            Purpose::Comparison => {
                let report = self.comparison(std::mem::take(&mut survey.reports));
                self.observers.journal.record(report::event(&report));
                self.observers.oracle.reply(Answer::Comparison(Box::new(report)));
            }
            Purpose::Snapshot => {
                self.observers.oracle.start_over(&survey);
                let report = report::snapshot(&self.observers.oracle, survey.moment);
                self.observers.oracle.reply(Answer::Snapshot(report));
            }
            Purpose::Generation => self.observers.oracle.start_over(&survey),
        }
        for (vmid, context) in self.observers.oracle.take_waiting() {
            self.context_set(vmid, context);
        }
    }

    fn comparison(&self, spaces: Vec<SpaceReport>) -> OracleReport {
        report::comparison(
            &self.observers.oracle,
            &self.observers.journal,
            &self.fabric.blocks.gfxhub,
            self.losses.is_under_way(),
            spaces,
        )
    }

    /// Asks for a look at all page tables, which [`run`](Self::run) takes in turns. `None` while another question is being answered.
    pub fn ask_oracle(&mut self, question: Question) -> Option<Ticket> {
        self.observers.oracle.ask(question)
    }

    /// The answer to a question, if it is there.
    pub fn oracle_answer(&mut self, ticket: Ticket) -> Outcome {
        self.observers.oracle.answer(ticket)
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
        self.observers.moment(self.now, self.losses.is_under_way())
    }

    /// Work in a VMID is use of the space that it is pointed at.
    pub(super) fn observe_use(&mut self) {
        let used = std::mem::take(&mut self.fabric.used_vmids);
        let generation = self.observers.journal.generation();
        let hub = &self.fabric.blocks.gfxhub;
        let fb_offset = hub.space().apertures.fb_offset;
        for vmid in Vmid::all().filter(|vmid| used >> vmid.get() & 1 != 0) {
            if let Some(context) = hub.context(vmid) {
                self.observers
                    .oracle
                    .work(vmid, context.root.location(fb_offset), generation);
            }
        }
    }

    pub(super) fn context_set(&mut self, vmid: Vmid, context: Context) {
        if self.observers.oracle.is_surveying() {
            self.observers.oracle.put_off(vmid, context);
            return;
        }
        self.observe_use();
        let generation = self.observers.journal.generation();
        let Fabric { blocks, memory, .. } = &self.fabric;
        let gfxhub = &blocks.gfxhub;
        let fb_offset = gfxhub.space().apertures.fb_offset;
        self.observers
            .oracle
            .context_set(memory, vmid, context, fb_offset, generation);
    }

    /// Keeps what page tables map at this moment, whatever state they are in, as what later ones are compared with. What brought tables
    /// back until now does not count any more.
    pub fn take_snapshot(&mut self) -> SnapshotReport {
        match self.ask_at_once(Question::Snapshot) {
            Some(Answer::Snapshot(report)) => report,
            _ => report::snapshot(&self.observers.oracle, self.moment()),
        }
    }

    /// Compares what page tables map at this moment with what they mapped before.
    pub fn compare_tables(&mut self) -> OracleReport {
        match self.ask_at_once(Question::Comparison) {
            Some(Answer::Comparison(report)) => *report,
            _ => self.comparison(Vec::new()),
        }
    }

    /// Whether a walk for this address ends at what a loss left behind: at an entry that reads as the poison, in memory that was
    /// poisoned.
    pub fn meets_poison(&self, hub: HubId, vmid: Vmid, va: GpuVa) -> bool {
        let Fabric {
            blocks: Blocks { gfxhub, mmhub, .. },
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
            .is_some_and(|(at, bits)| self.observers.oracle.is_poison(at, bits))
    }
}
