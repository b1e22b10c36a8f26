//! What runs in pods, on a cluster: the user's, or the tests' own.
//!
//! One binary, so that all of it shares one cluster. Each test has namespaces of its own; the release is had by one at a
//! time.

mod anchor;
mod beside;
mod examples;
mod external_redis;
mod faults;
mod keyring;
mod pages;
mod rolling;
mod routes;
mod shop;
mod smoke;
mod tenants;
mod tls;
mod uninstall;
