use std::{fs, os::unix::fs::MetadataExt, path::PathBuf};

use crate::files;

/// How files look from outside. Two equal stamps mean that nothing was written in between, unless it was within
/// one tick of the file system's clock.
///
/// Links are followed: a Kubernetes volume is swapped by turning one link, and what it points to has another
/// inode. The change time is there because `mtime` can be set back (`cp -p`, `tar`), and length and inode because
/// some file systems count time in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp(Vec<(PathBuf, Option<Look>)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// How the files of `paths` look now. A path that cannot be read looks like nothing.
    pub(crate) fn take(paths: &[PathBuf]) -> Self {
        let files = files::list(paths).unwrap_or_default();
        Self(files.into_iter().map(|path| (path.clone(), look(path))).collect())
    }
}

fn look(path: PathBuf) -> Option<Look> {
    let metadata = fs::metadata(path).ok()?;
    Some(Look {
        device: metadata.dev(),
        inode: metadata.ino(),
        length: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}
