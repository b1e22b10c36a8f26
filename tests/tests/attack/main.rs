//! Attacks, class by class: what a hostile client sends, as raw bytes and raw frames, and what hostile upstreams and
//! providers answer.
//!
//! Each case is judged by the answer, by what the upstream received (nothing, or exactly what is expected), and by a
//! good request afterwards on a connection of its own. `docs/security.md` lists the classes.

mod framing;
mod heads;
mod pipelines;
