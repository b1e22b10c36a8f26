use std::{
    error::Error,
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::watch::Sender;
use tracing::{info, warn};

use crate::{
    error::FeedError,
    file_feed::{FileFeed, Loaded, Source},
    stamp::Stamp,
    state::FeedState,
};

/// Why poll, when the kernel could tell: its notices follow inodes and not names, so a swapped link, a renamed
/// file and a remounted folder each end them in silence; they do not cross network file systems; and they can
/// overflow. Looking at a few files four times a second costs next to nothing and cannot go deaf.
const POLL: Duration = Duration::from_millis(250);

/// A file that is being rewritten in place is empty for a moment, and an empty file is a good one without
/// routes. So a change counts once two looks agree, but no later than this: an edit takes effect within a second.
const PATIENCE: Duration = Duration::from_millis(600);

/// A change within one tick of the file system's clock leaves the stamp as it was. For so long after a change the
/// text itself is compared; the coarsest clock in use (FAT) ticks every two seconds.
const UNSETTLED: Duration = Duration::from_secs(3);

/// Starts the thread that watches `feed`.
pub(crate) fn start(feed: FileFeed, source: Source, sender: Sender<Arc<FeedState>>) -> io::Result<()> {
    let watcher = Watcher {
        feed,
        source,
        sender,
        unstable: None,
        changed: Instant::now(),
    };
    thread::Builder::new()
        .name("file-feed".to_owned())
        .spawn(move || watcher.run())
        .map(drop)
}

struct Watcher {
    feed: FileFeed,
    /// What was read last, good or not.
    source: Source,
    sender: Sender<Arc<FeedState>>,
    /// A look that differs from the source's, and since when the look has not been the source's.
    unstable: Option<(Stamp, Instant)>,
    /// When something was read last that had changed.
    changed: Instant,
}

impl Watcher {
    fn run(mut self) {
        while !self.sender.is_closed() {
            thread::sleep(POLL);
            if self.is_due() {
                self.reload();
            }
        }
    }

    /// Whether it is time to read the files again.
    fn is_due(&mut self) -> bool {
        let look = Stamp::take(&self.feed.paths);
        if look == self.source.stamp {
            self.unstable = None;
            return self.changed.elapsed() < UNSETTLED;
        }
        let since = match &self.unstable {
            Some((last, _)) if *last == look => return true,
            Some((_, since)) => *since,
            None => Instant::now(),
        };
        self.unstable = Some((look, since));
        since.elapsed() >= PATIENCE
    }

    fn reload(&mut self) {
        self.unstable = None;
        let source = match self.feed.read() {
            Ok(source) => source,
            Err(error) => {
                // Looked at again at once, for the file may be back: a failure to read leaves no stamp.
                self.source = Source::default();
                return self.refuse(error);
            }
        };
        if source.texts == self.source.texts && !self.failed_to_read() {
            self.source.stamp = source.stamp;
            return;
        }
        self.source = source.clone();
        self.changed = Instant::now();
        match self.feed.compile(source) {
            Ok(loaded) => self.accept(loaded),
            Err(error) => self.refuse(error),
        }
    }

    fn failed_to_read(&self) -> bool {
        let state = self.sender.borrow();
        state
            .last_error
            .as_ref()
            .is_some_and(|error| !matches!(**error, FeedError::Invalid(_)))
    }

    fn accept(&self, loaded: Loaded) {
        let generation = self.sender.borrow().generation + 1;
        info!(
            generation,
            routes = loaded.routes.len(),
            "routes loaded from files"
        );
        for finding in &loaded.report.findings {
            warn!(%finding, "a route is served with a warning");
        }
        self.sender.send_replace(Arc::new(FeedState {
            routes: Arc::new(loaded.routes),
            verdicts: Arc::new(loaded.verdicts),
            generation,
            last_error: None,
            rejected: Arc::default(),
        }));
    }

    /// Keeps the last good set. The same error is not reported twice in a row. Whoever serves the set logs it.
    fn refuse(&self, error: FeedError) {
        let state = FeedState::clone(&self.sender.borrow());
        let is_same = |last: &Arc<FeedError>| chain(last) == chain(&error);
        if state.last_error.as_ref().is_some_and(is_same) {
            return;
        }
        self.sender.send_replace(Arc::new(FeedState {
            last_error: Some(Arc::new(error)),
            ..state
        }));
    }
}

/// An error with its causes: a file that is gone and one that may not be read differ in these alone.
fn chain(error: &FeedError) -> Vec<String> {
    std::iter::successors(Some(error as &dyn Error), |error| (*error).source())
        .map(ToString::to_string)
        .collect()
}
