use std::{path::PathBuf, sync::Arc};

use splittoken_api::{ManifestFile, Report, Verdict, gather};
use splittoken_routing::CompiledRoute;
use tokio::sync::watch;

use crate::{error::FeedError, files, stamp::Stamp, state::FeedState, watcher};

/// How files are read.
#[derive(Clone)]
pub struct FeedOptions {
    /// The class to serve; objects of others are left alone. `None` serves all.
    pub class: Option<String>,
    /// Keys the revisions, see `splittoken_api::CompileOptions`.
    pub revision_key: [u8; 32],
}

/// Files and folders that hold custom resources.
pub struct FileFeed {
    pub(crate) paths: Vec<PathBuf>,
    options: FeedOptions,
}

/// A good set of routes.
#[derive(Debug)]
pub struct Loaded {
    /// Oldest first.
    pub routes: Vec<CompiledRoute>,
    /// One for each route and issuer of the class.
    pub verdicts: Vec<Verdict>,
    /// Warnings, with their files.
    pub report: Report,
    pub(crate) source: Source,
}

/// What was read, to see later whether it is still there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    pub(crate) stamp: Stamp,
    pub(crate) texts: Vec<ManifestFile>,
}

impl FileFeed {
    /// A feed of `paths`, each a file or a folder. Nothing is read yet.
    pub fn new(paths: Vec<PathBuf>, options: FeedOptions) -> Self {
        Self { paths, options }
    }

    /// Reads and compiles all files.
    ///
    /// All or nothing: anything in them that cannot be served in full is an error, be it somebody else's route.
    /// In a cluster each object has a status to say so; a file has only this.
    pub fn load(&self) -> Result<Loaded, FeedError> {
        self.compile(self.read()?)
    }

    /// Watches the files from now on, in a thread of its own that ends when nobody listens any more.
    ///
    /// An edit arrives within a second. One that is no good leaves the routes as they were and sets
    /// `last_error`.
    pub fn watch(self, first: Loaded) -> Result<watch::Receiver<Arc<FeedState>>, FeedError> {
        let state = FeedState {
            routes: Arc::new(first.routes),
            verdicts: Arc::new(first.verdicts),
            generation: 1,
            last_error: None,
            rejected: Arc::default(),
        };
        let (sender, receiver) = watch::channel(Arc::new(state));
        watcher::start(self, first.source, sender).map_err(FeedError::Thread)?;
        Ok(receiver)
    }

    /// Reads the files. The stamp is taken before: what is written meanwhile makes another one.
    pub(crate) fn read(&self) -> Result<Source, FeedError> {
        let stamp = Stamp::take(&self.paths);
        let texts = files::read(&files::list(&self.paths)?)?;
        Ok(Source { stamp, texts })
    }

    pub(crate) fn compile(&self, source: Source) -> Result<Loaded, FeedError> {
        let FeedOptions { class, revision_key } = &self.options;
        let (compiled, report) = gather(&source.texts).compile(class.as_deref(), revision_key);
        if report.fails(true) {
            return Err(FeedError::Invalid(report));
        }
        Ok(Loaded {
            routes: compiled.routes,
            verdicts: compiled.verdicts,
            report,
            source,
        })
    }
}
