use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use splittoken_api::ManifestFile;

use crate::error::FeedError;

/// A file of routes is written by people; what the API server takes as one object is hardly larger.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Reads the files that `paths` stand for: those named, and the `*.yaml`, `*.yml` and `*.json` of folders.
pub fn read_files(paths: &[PathBuf]) -> Result<Vec<ManifestFile>, FeedError> {
    read(&list(paths)?)
}

/// The files that `paths` stand for, in their order: a file is itself, a folder is its `*.yaml`, `*.yml` and
/// `*.json` by name, not its folders. Hidden files are the business of editors and of Kubernetes' volumes.
pub(crate) fn list(paths: &[PathBuf]) -> Result<Vec<PathBuf>, FeedError> {
    let mut files = Vec::new();
    for path in paths {
        if metadata(path)?.is_dir() {
            files.extend(list_folder(path)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn list_folder(folder: &Path) -> Result<Vec<PathBuf>, FeedError> {
    let failed = |source| FeedError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        // A link to a folder, or one to nothing, is found out here.
        if is_manifest(&path) && !fs::metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn is_manifest(path: &Path) -> bool {
    let is_hidden = path
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !is_hidden && matches!(extension, Some("yaml" | "yml" | "json"))
}

/// Reads each of `files`.
pub(crate) fn read(files: &[PathBuf]) -> Result<Vec<ManifestFile>, FeedError> {
    files.iter().map(|path| read_file(path)).collect()
}

fn read_file(path: &Path) -> Result<ManifestFile, FeedError> {
    // Opening a pipe would wait for a writer.
    if !metadata(path)?.is_file() {
        return Err(FeedError::NotAFile {
            path: path.to_owned(),
        });
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|source| failed(path, source))?;
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| failed(path, source))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(FeedError::TooLarge {
            path: path.to_owned(),
        });
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(ManifestFile {
            name: path.display().to_string(),
            text,
        }),
        Err(error) => Err(FeedError::NotUtf8 {
            path: path.to_owned(),
            offset: error.utf8_error().valid_up_to(),
        }),
    }
}

fn metadata(path: &Path) -> Result<fs::Metadata, FeedError> {
    fs::metadata(path).map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: io::Error) -> FeedError {
    FeedError::Read {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let files = list(&[folder.to_owned()]).unwrap();
        files
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn a_folder_is_its_manifests_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "b.yaml",
            "a.yml",
            "c.json",
            "d.txt",
            ".hidden.yaml",
            "e.yaml~",
            "f.YAML",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("g.yaml")).unwrap();
        symlink(folder.path().join("b.yaml"), folder.path().join("h.yaml")).unwrap();
        assert_eq!(names(folder.path()), ["a.yml", "b.yaml", "c.json", "h.yaml"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(
            at("big.yaml"),
            vec![b'#'; usize::try_from(MAX_FILE_BYTES).unwrap() + 1],
        )
        .unwrap();
        fs::write(at("latin.yaml"), b"a: \xe9").unwrap();
        symlink(at("nothing"), at("gone.yaml")).unwrap();
        for (name, reason) in [
            ("big.yaml", "too_large"),
            ("latin.yaml", "not_utf8"),
            ("gone.yaml", "read"),
        ] {
            let error = read(&[at(name)]).unwrap_err();
            assert_eq!(error.reason(), reason);
            assert!(error.to_string().contains(name), "{error}");
        }
        let socket = std::os::unix::net::UnixListener::bind(at("socket.yaml")).unwrap();
        assert_eq!(read(&[at("socket.yaml")]).unwrap_err().reason(), "not_a_file");
        drop(socket);
        fs::write(
            at("largest.yaml"),
            vec![b'#'; usize::try_from(MAX_FILE_BYTES).unwrap()],
        )
        .unwrap();
        assert!(read(&[at("largest.yaml")]).is_ok());
        assert_eq!(list(&[at("missing")]).unwrap_err().reason(), "read");
    }
}
