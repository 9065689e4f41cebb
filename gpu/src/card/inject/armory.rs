//! The faults that wait for their moment.

use protocol::state::ArmedView;
use thiserror::Error;

use super::fault::{EngineName, Fault};
use crate::event::Event;

/// Faults that can wait at once.
const MAX_ARMED: usize = 256;
/// Events that can wait to be taken down. They are after each register access and each engine's step.
const MAX_NEWS: usize = 1024;
/// Of a fault that happens again and again the first times are events, and then the 2^n-th.
const TOLD: u64 = 64;

/// A fault, and how often it is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// What.
    pub fault: Fault,
    /// Opportunities that are let pass before.
    pub after: u64,
    /// How often; `None` until it is cleared.
    pub count: Option<u64>,
}

/// A fault that cannot be armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InjectError {
    /// Too many.
    #[error("{MAX_ARMED} faults are armed already, clear some")]
    Full,
    /// The device was started without this engine.
    #[error("this device has no {0}")]
    NoEngine(EngineName),
    /// The function is no virtual one.
    #[error("this function is the part itself, it has no host: start the device with --personality vf")]
    NoHost,
    /// Nothing there that could hang.
    #[error("no queue of {0} is mapped at the moment")]
    NoQueue(EngineName),
}

#[derive(Debug)]
struct Armed {
    id: u64,
    fault: Fault,
    after: u64,
    left: Option<u64>,
    fired: u64,
}

impl Armed {
    fn view(&self) -> ArmedView {
        ArmedView {
            id: self.id,
            fault: self.fault.kind(),
            engine: self.fault.engine(),
            detail: self.fault.to_string(),
            after: self.after,
            left: self.left,
            fired: self.fired,
        }
    }
}

/// The faults that are armed. Plain state: the device asks at each opportunity, and what is answered has happened.
#[derive(Debug, Default)]
pub struct Armory {
    armed: Vec<Armed>,
    next_id: u64,
    news: Vec<Event>,
}

impl Armory {
    /// Whether nothing can go wrong: the one question in the way of a device at work.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.armed.is_empty()
    }

    /// Arms a fault; gives its number.
    ///
    /// # Errors
    /// [`InjectError::Full`].
    pub fn arm(&mut self, order: Order) -> Result<u64, InjectError> {
        if self.armed.len() >= MAX_ARMED {
            return Err(InjectError::Full);
        }
        let id = self.register(&order.fault);
        if order.count == Some(0) {
            self.tell_cleared(id, &order.fault);
            return Ok(id);
        }
        self.armed.push(Armed {
            id,
            fault: order.fault,
            after: order.after,
            left: order.count,
            fired: 0,
        });
        Ok(id)
    }

    /// Takes down a fault that happens at the moment of the request; gives its number.
    pub fn strike(&mut self, fault: &Fault, detail: String) -> u64 {
        let id = self.register(fault);
        self.tell(Event::FaultFired {
            id,
            fault: fault.kind(),
            engine: fault.engine(),
            detail,
        });
        self.tell_cleared(id, fault);
        id
    }

    fn register(&mut self, fault: &Fault) -> u64 {
        let id = self.next_id;
        self.next_id = self.next_id.saturating_add(1);
        self.tell(Event::FaultArmed {
            id,
            fault: fault.kind(),
            engine: fault.engine(),
            detail: fault.to_string(),
        });
        id
    }

    /// Disarms one fault or all of them; gives how many there were.
    pub fn clear(&mut self, id: Option<u64>) -> usize {
        let gone = |armed: &mut Armed| id.is_none_or(|id| id == armed.id);
        let cleared: Vec<Armed> = self.armed.extract_if(.., gone).collect();
        for armed in &cleared {
            self.tell_cleared(armed.id, &armed.fault);
        }
        cleared.len()
    }

    /// Those that are armed.
    pub fn list(&self) -> Vec<ArmedView> {
        self.armed.iter().map(Armed::view).collect()
    }
    /// Whether such a fault is armed, without that anything happens.
    pub(in crate::card) fn any(&self, which: impl Fn(&Fault) -> bool) -> bool {
        self.armed.iter().any(|armed| which(&armed.fault))
    }

    /// An opportunity: gives what goes wrong, if something does.
    ///
    /// The fault that was armed first, fits, and has let enough opportunities pass happens; those behind it in the list are not asked.
    pub(super) fn fire<T>(
        &mut self,
        fits: impl Fn(&Fault) -> Option<T>,
        detail: impl FnOnce() -> String,
    ) -> Option<T> {
        self.fire_among(1, fits, detail).map(|(_, result)| result)
    }

    /// The same for several opportunities in a row, of which at most one is taken: gives which.
    pub(super) fn fire_among<T>(
        &mut self,
        opportunities: u64,
        fits: impl Fn(&Fault) -> Option<T>,
        detail: impl FnOnce() -> String,
    ) -> Option<(u64, T)> {
        let mut hit = None;
        for (index, armed) in self.armed.iter_mut().enumerate() {
            let Some(result) = fits(&armed.fault) else {
                continue;
            };
            if armed.after >= opportunities {
                armed.after -= opportunities;
                continue;
            }
            hit = Some((index, std::mem::take(&mut armed.after), result));
            break;
        }
        let (index, which, result) = hit?;
        self.fired(index, detail);
        Some((which, result))
    }

    fn fired(&mut self, index: usize, detail: impl FnOnce() -> String) {
        let Some(armed) = self.armed.get_mut(index) else {
            return;
        };
        armed.fired = armed.fired.saturating_add(1);
        armed.left = armed.left.map(|left| left.saturating_sub(1));
        let Armed {
            id,
            fault,
            left,
            fired,
            ..
        } = *armed;
        if fired <= TOLD || fired.is_power_of_two() || left == Some(0) {
            self.tell(Event::FaultFired {
                id,
                fault: fault.kind(),
                engine: fault.engine(),
                detail: format!("time {fired}: {}", detail()),
            });
        }
        if left == Some(0) {
            self.armed.remove(index);
            self.tell_cleared(id, &fault);
        }
    }

    fn tell_cleared(&mut self, id: u64, fault: &Fault) {
        self.tell(Event::FaultCleared {
            id,
            fault: fault.kind(),
        });
    }

    fn tell(&mut self, event: Event) {
        if self.news.len() < MAX_NEWS {
            log::info!(target: "amdgpu::inject", "{event:?}");
            self.news.push(event);
        }
    }

    /// What has happened since the last call, for the journal.
    pub fn take_news(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.news)
    }
}
