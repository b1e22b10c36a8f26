//! One listener for all workers (or two, with TLS): each socket goes to the worker with the fewest connections.
//!
//! Not a `SO_REUSEPORT` group: a second process could join it unnoticed, closing one listener resets what waits in
//! its queue, and a few busy connections could all land on one core.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use splittoken_runtime::{Drain, DrainPhase};
use tokio::{
    net::{TcpListener, TcpSocket},
    time::sleep,
};

use crate::{
    connection::Entrance,
    worker::{Accepted, Handle, Shared},
};

/// Connections that may wait to be accepted; the system's own limit may be lower.
const BACKLOG: u32 = 4096;

/// How long to wait when the system has no descriptors left.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// A socket on which connections come, and how they begin.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    entrance: Entrance,
}

impl Listener {
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn accepted(&self, (stream, address): (std::net::TcpStream, SocketAddr)) -> Accepted {
        Accepted {
            stream,
            address,
            entrance: self.entrance.clone(),
        }
    }
}

/// Opens a listener. A port in use is an error, even one that is only being left.
pub(crate) fn listen(address: SocketAddr, entrance: Entrance) -> io::Result<Listener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Lets a restarted gateway take its port while old connections linger; does not let two listen at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let socket = socket.listen(BACKLOG)?;
    Ok(Listener { socket, entrance })
}

/// Accepts until the process closes.
pub(crate) async fn accept(listener: Listener, door: &Door<'_>, mut drain: Drain) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.socket.accept() => accepted,
            () = drain.reached(DrainPhase::Closing) => return accept_waiting(listener, door),
        };
        match accepted.and_then(|(stream, address)| Ok((stream.into_std()?, address))) {
            Ok(accepted) => door.admit(listener.accepted(accepted)),
            Err(error) if is_connections_own(&error) => {
                tracing::debug!(%error, "a connection was gone at once");
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                sleep(EXHAUSTED).await;
            }
        }
    }
}

/// Takes what the system has connected already: closing the listener would reset it.
///
/// It is asked directly: the runtime may not have heard of the newest yet.
fn accept_waiting(listener: Listener, door: &Door<'_>) {
    let entrance = listener.entrance;
    let Ok(socket) = listener.socket.into_std() else {
        return;
    };
    for _ in 0..BACKLOG {
        let accepted = socket.accept().and_then(|(stream, address)| {
            stream.set_nonblocking(true)?;
            Ok(Accepted {
                stream,
                address,
                entrance: entrance.clone(),
            })
        });
        match accepted {
            Ok(accepted) => door.admit(accepted),
            Err(error) if is_connections_own(&error) => {}
            // Nobody waits.
            Err(_) => return,
        }
    }
}

/// What lets connections in.
#[derive(Debug)]
pub(crate) struct Door<'d> {
    workers: &'d [Handle],
    shared: &'d Shared,
    /// Whether the newest connection found no room.
    is_full: AtomicBool,
}

impl<'d> Door<'d> {
    pub(crate) fn new(workers: &'d [Handle], shared: &'d Shared) -> Self {
        Self {
            workers,
            shared,
            is_full: AtomicBool::new(false),
        }
    }

    /// Hands a connection to the worker that has fewest, or closes it where there are as many as may be: whoever balances
    /// the load hears of it at once and can go elsewhere.
    fn admit(&self, accepted: Accepted) {
        let loads = self.workers.iter().map(|worker| worker.load.load(Relaxed));
        let open = loads.sum::<usize>() + self.shared.metrics.open_tunnels();
        let (limit, metrics) = (self.shared.settings.limits.connections, &self.shared.metrics);
        let is_full = open >= limit;
        if self.is_full.swap(is_full, Relaxed) != is_full && is_full {
            tracing::warn!(
                limit,
                "there are as many connections as may be; new ones are closed"
            );
        }
        if is_full {
            return metrics.unopened("connections");
        }
        let Some(idlest) = self.workers.iter().min_by_key(|worker| worker.load.load(Relaxed)) else {
            return;
        };
        idlest.load.fetch_add(1, Relaxed);
        if idlest.sockets.send(accepted).is_err() {
            tracing::error!("a worker has ended");
        }
    }
}

fn is_connections_own(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}
