//! Where a gateway's routes come from: files that somebody writes, or a cluster that an operator renders into.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use aws_lc_rs::rand;
use splittoken_feed::{ClusterFeed, FeedOptions, FeedState, FileFeed};
use splittoken_gateway::Config;
use splittoken_routing::RouteTable;
use splittoken_runtime::joined;
use tokio::{sync::watch, task::spawn_blocking};

use crate::arguments::{InstallationArguments, SourceArguments};

/// One of the two, not asked yet.
pub(super) enum Source {
    Files(FileFeed),
    Cluster(ClusterFeed),
}

/// What is known before anything is served, and the channel of what follows.
pub(super) struct First {
    pub(super) states: watch::Receiver<Arc<FeedState>>,
    pub(super) config: Config,
    /// Of the set that `config` holds; 0 if it holds none.
    pub(super) generation: u64,
    /// To be logged once the gateway has started.
    pub(super) warnings: Vec<String>,
}

impl Source {
    pub(super) fn of(arguments: SourceArguments) -> anyhow::Result<Self> {
        let InstallationArguments { class, namespace } = arguments.installation;
        if arguments.kubernetes {
            return Ok(Self::Cluster(ClusterFeed {
                namespace,
                class,
                keep: arguments.state_dir,
            }));
        }
        Ok(Self::Files(files(arguments.routes, class)?))
    }

    /// Files must be good at a start. A cluster may be away: what was kept is served, or nobody until it is back.
    pub(super) async fn first(self) -> anyhow::Result<First> {
        match self {
            Self::Files(feed) => joined(spawn_blocking(move || load(feed)).await),
            Self::Cluster(feed) => Ok(First {
                states: feed.watch().await.context("--kubernetes")?,
                config: Config::default(),
                generation: 0,
                warnings: Vec::new(),
            }),
        }
    }
}

fn files(paths: Vec<PathBuf>, class: String) -> anyhow::Result<FileFeed> {
    // Nobody compares the revisions of two processes that read files, so each may have its own key.
    let mut revision_key = [0; 32];
    rand::fill(&mut revision_key).context("the system's random generator failed")?;
    let options = FeedOptions {
        // What is of another class is somebody else's, and may be in the way.
        class: Some(class),
        revision_key,
    };
    Ok(FileFeed::new(paths, options))
}

/// Large sets take a while.
fn load(feed: FileFeed) -> anyhow::Result<First> {
    let first = feed.load().context("--routes")?;
    let mut warnings: Vec<String> = first.report.findings.iter().map(ToString::to_string).collect();
    if first.routes.is_empty() {
        warnings.push("no route in --routes: every request gets 404 until there is one".to_owned());
    }
    Ok(First {
        warnings,
        config: Config {
            table: Some(Arc::new(RouteTable::build(&first.routes).context("--routes")?)),
            ..Config::default()
        },
        // A feed counts its sets from 1.
        generation: 1,
        states: feed.watch(first).context("--routes")?,
    })
}
