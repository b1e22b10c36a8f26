//! The provider against scripted servers on real sockets.

#[cfg(test)]
mod discovery;
#[cfg(test)]
mod kept;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod reach;
#[cfg(test)]
mod revoke;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod token_call;
