//! How many guests run at the same time: as many as keep the host's processors busy.
//!
//! Many scenarios wait for the driver's own time limits: 10 s for a job on SDMA or graphics, 60 s for one on compute. A guest that waits
//! uses next to nothing of a processor, so another one may begin meanwhile. When both are busy again they share what there is for
//! a while; a scenario that fails because of that is tried again like any other on a busy host.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use machine::host;

/// How often is looked.
const INTERVAL: Duration = Duration::from_millis(100);
/// A guest that was quiet for so long waits for a time limit, and not just for its device.
const QUIET_FOR: Duration = Duration::from_secs(1);
/// The share of a processor, in percent, below which a guest is quiet. One that does nothing takes 1 to 3 under TCG.
const QUIET_PERCENT: u128 = 10;

/// The places for guests.
#[derive(Debug)]
pub struct Slots {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    guests: Vec<Guest>,
    next: u64,
    /// Guests that may be busy at the same time.
    busy: usize,
    /// Guests that may be there at the same time.
    most: usize,
    over: bool,
}

/// A guest that has a place.
#[derive(Debug)]
struct Guest {
    id: u64,
    processes: Vec<u32>,
    /// Time on processors when it was last looked at, and when that was.
    used: Option<(Duration, Instant)>,
    /// Since when it is quiet.
    quiet: Option<Instant>,
}

/// A place. It is free again when this value is dropped.
#[derive(Debug)]
pub struct Slot<'a> {
    slots: &'a Slots,
    id: u64,
}

impl Slots {
    /// Places for so many guests that are busy, and so many in all.
    pub const fn new(busy: usize, most: usize) -> Self {
        Self {
            state: Mutex::new(State {
                guests: Vec::new(),
                next: 0,
                busy,
                most,
                over: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// How many guests may be there at the same time.
    pub fn most(&self) -> usize {
        self.lock().most
    }

    /// Waits for a place.
    pub fn enter(&self) -> Slot<'_> {
        let mut state = self
            .changed
            .wait_while(self.lock(), |state| !state.has_room())
            .unwrap_or_else(PoisonError::into_inner);
        let id = state.next;
        state.next += 1;
        state.guests.push(Guest {
            id,
            processes: Vec::new(),
            used: None,
            quiet: None,
        });
        Slot { slots: self, id }
    }

    /// Looks at the guests until [`Slots::end`]. For a thread of its own.
    pub fn watch(&self) {
        let mut state = self.lock();
        while !state.over {
            let now = Instant::now();
            for guest in &mut state.guests {
                let used = host::time_on_processors(&guest.processes);
                guest.look(used, now);
            }
            if state.has_room() {
                self.changed.notify_all();
            }
            (state, _) = self
                .changed
                .wait_timeout_while(state, INTERVAL, |state| !state.over)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends the watch.
    pub fn end(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self) -> bool {
        let busy = self.guests.iter().filter(|guest| !guest.waits()).count();
        busy < self.busy && self.guests.len() < self.most
    }
}

impl Guest {
    /// Takes how long its threads have been on processors so far.
    fn look(&mut self, used: Duration, now: Instant) {
        let before = self.used.replace((used, now));
        let quiet = before.is_some_and(|(before, then)| {
            let share = used.saturating_sub(before).as_nanos() * 100;
            share < now.saturating_duration_since(then).as_nanos() * QUIET_PERCENT
        });
        // Of a guest that is just being started, and on a host that does not count, nothing is known.
        if quiet && !used.is_zero() {
            self.quiet.get_or_insert(now);
        } else {
            self.quiet = None;
        }
    }

    fn waits(&self) -> bool {
        let looked = self.used.map(|(_, when)| when);
        self.quiet
            .zip(looked)
            .is_some_and(|(since, now)| now.saturating_duration_since(since) >= QUIET_FOR)
    }
}

impl Slot<'_> {
    /// From now on the guest consists of these processes.
    pub fn runs(&self, processes: Vec<u32>) {
        let mut state = self.slots.lock();
        if let Some(guest) = state.guests.iter_mut().find(|guest| guest.id == self.id) {
            *guest = Guest {
                id: self.id,
                processes,
                used: None,
                quiet: None,
            };
        }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.slots.lock().guests.retain(|guest| guest.id != self.id);
        self.slots.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn guest() -> Guest {
        Guest {
            id: 0,
            processes: vec![1],
            used: None,
            quiet: None,
        }
    }

    #[test]
    fn a_guest_waits_when_it_was_quiet_for_a_while() {
        let mut guest = guest();
        let start = Instant::now();
        guest.look(SECOND, start);
        assert!(!guest.waits());
        for tenth in 1..=11 {
            let idle = Duration::from_millis(2) * tenth;
            guest.look(SECOND + idle, start + INTERVAL * tenth);
            assert_eq!(guest.waits(), tenth == 11, "{tenth}");
        }
        // The driver's time limit is over: it resets the GPU.
        guest.look(SECOND + Duration::from_millis(72), start + INTERVAL * 12);
        assert!(!guest.waits());
    }

    #[test]
    fn a_guest_that_is_just_being_started_is_busy() {
        let mut guest = guest();
        let start = Instant::now();
        for tenth in 0..30 {
            guest.look(Duration::ZERO, start + INTERVAL * tenth);
        }
        assert!(!guest.waits());
    }

    #[test]
    fn a_place_is_for_a_busy_guest_and_comes_back() {
        let slots = Slots::new(1, 2);
        let first = slots.enter();
        assert!(!slots.lock().has_room());
        let wait = |id| {
            let mut state = slots.lock();
            let guest = state.guests.iter_mut().find(|guest| guest.id == id).unwrap();
            let now = Instant::now();
            guest.quiet = Some(now);
            guest.used = Some((Duration::ZERO, now + QUIET_FOR));
        };
        wait(first.id);
        let second = slots.enter();
        wait(second.id);
        // Both wait, but no more than two may be there.
        assert!(!slots.lock().has_room());
        drop(first);
        assert!(slots.lock().has_room());
    }
}
