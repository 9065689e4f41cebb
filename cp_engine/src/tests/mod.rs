//! Driver stories.

#![expect(
    clippy::cast_possible_truncation,
    reason = "addresses and lengths of the tests are small"
)]

mod faults;
mod recovery;
mod registers;
mod rig;
mod stories;
