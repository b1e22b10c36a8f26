//! Where a gateway's routes come from: files, or the objects that the operator has rendered into a cluster.
//!
//! ```text
//!   files ──read──▶ texts ──splittoken_api──▶ routes, verdicts ──▶ FeedState ──watch::Sender──▶ the gateway
//!                                                  │
//!                                   anything wrong ┘ the last good set stays, with the error beside it
//! ```
//!
//! This room does the I/O that `splittoken-api` must not do, and decides nothing itself: what is a good route is
//! said there. It does not know how routes are served.

mod cluster;
mod error;
mod file_feed;
mod files;
mod stamp;
mod state;
mod watcher;

pub use cluster::ClusterFeed;
pub use error::FeedError;
pub use file_feed::{FeedOptions, FileFeed, Loaded};
pub use files::{MAX_FILE_BYTES, read_files};
pub use state::{FeedState, RejectedRoute};
