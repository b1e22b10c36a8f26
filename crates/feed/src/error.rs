use std::{io, path::PathBuf};

use splittoken_api::{Report, Severity};
use thiserror::Error;

use crate::files::MAX_FILE_BYTES;

/// Why files give no set of routes. Holds no content of theirs.
#[derive(Debug, Error)]
pub enum FeedError {
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Neither a file nor a folder.
    #[error("{} is neither a file nor a folder", path.display())]
    NotAFile {
        /// Which one.
        path: PathBuf,
    },
    /// A file beyond [`MAX_FILE_BYTES`].
    #[error("{} is larger than {MAX_FILE_BYTES} bytes", path.display())]
    TooLarge {
        /// Which one.
        path: PathBuf,
    },
    /// A file that is no text.
    #[error("{} is not UTF-8 (byte {offset})", path.display())]
    NotUtf8 {
        /// Which one.
        path: PathBuf,
        /// The first byte that is not.
        offset: usize,
    },
    /// What the files say cannot be served as it stands.
    #[error("{}", first_finding(.0))]
    Invalid(Report),
    /// Nothing says how the API server is reached.
    #[error("no way to the API server: neither in a pod nor by a kubeconfig")]
    Cluster(#[source] kube::Error),
    /// No thread to watch the files.
    #[error("cannot start a thread to watch the files")]
    Thread(#[source] io::Error),
}

impl FeedError {
    /// A closed set of words for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::NotAFile { .. } => "not_a_file",
            Self::TooLarge { .. } => "too_large",
            Self::NotUtf8 { .. } => "not_utf8",
            Self::Invalid(_) => "invalid",
            Self::Cluster(_) => "cluster",
            Self::Thread(_) => "thread",
        }
    }
}

/// The first thing that is wrong, and how many others are.
fn first_finding(report: &Report) -> String {
    let mut wrong = report
        .findings
        .iter()
        .filter(|finding| finding.severity != Severity::Warning);
    let first = wrong.next().map(ToString::to_string).unwrap_or_default();
    match wrong.count() {
        0 => first,
        more => format!("{first} (and {more} more)"),
    }
}
