//! What runs in pods, on a cluster: the user's, or the tests' own.
//!
//! One binary, so that all of it shares one cluster. Each test has namespaces of its own.

mod smoke;
