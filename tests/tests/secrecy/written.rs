//! Everything that was written, by its source.

use std::sync::{Mutex, PoisonError};

use splittoken_tests::marks::Marks;

/// That much of a line says where a secret came from.
const SHOWN: usize = 300;

/// What was written, in pieces.
#[derive(Debug, Default)]
pub(super) struct Written(Mutex<Vec<(String, Vec<u8>)>>);

impl Written {
    pub(super) fn add(&self, source: &str, bytes: impl AsRef<[u8]>) {
        let mut pieces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pieces.push((source.to_owned(), bytes.as_ref().to_vec()));
    }

    /// How much there is, and what of `marks` stands in it: source, kinds, and the first line that shows one.
    pub(super) fn search(&self, marks: &Marks) -> (usize, Vec<String>) {
        let pieces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let size = pieces.iter().map(|(_, bytes)| bytes.len()).sum();
        let findings = pieces.iter().filter_map(|(source, bytes)| {
            let found = marks.found_in(bytes);
            (!found.is_empty()).then(|| format!("{source}: {found:?}: {}", line_with(marks, bytes)))
        });
        (size, findings.collect())
    }
}

fn line_with(marks: &Marks, bytes: &[u8]) -> String {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let line = lines.find(|line| !marks.found_in(line).is_empty());
    text_of(line.unwrap_or_default()).chars().take(SHOWN).collect()
}

pub(super) fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
