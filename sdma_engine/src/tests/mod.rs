//! Driver stories.

mod decode;
mod fake;
mod lifecycle;
mod packets;
mod properties;
mod registers;
mod stories;
mod waiting;
