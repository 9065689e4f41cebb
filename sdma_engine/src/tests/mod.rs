//! Driver stories.
#![expect(clippy::cast_possible_truncation, reason = "test values are small")]

mod decode;
mod fake;
mod gate;
mod lifecycle;
mod packets;
mod properties;
mod registers;
mod stories;
mod waiting;
