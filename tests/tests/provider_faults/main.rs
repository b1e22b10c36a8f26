//! A provider that changes its keys, names keys that nobody knows, is slow, down, or lies, while clients count what
//! they get.
//!
//! What was measured is printed (`cargo test -- --nocapture`).

mod rotation;
mod storms;
