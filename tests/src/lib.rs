//! The real parts that the gateway is tested with, each behind a small blocking API.
//!
//! One module is one part: a Redis, an OpenID provider from npm, Keycloak, an upstream that records raw bytes, a
//! provider that lies, client libraries of other languages, a browser, and the gateway itself as the built binary.
//! Every part runs on loopback, on a free port, in a folder of its own, and dies with the value that stands for it,
//! or with the test process, however that ends.
//!
//! This room knows nothing of the gateway's code: it speaks HTTP, RESP and the command line, as users do. A part
//! that is missing is an error that says to run `tests/setup`; nothing is skipped. Keys, secrets and certificates are
//! made at run time. It is blocking on purpose, so that a test reads from top to bottom.

pub mod answers;
pub mod apiserver;
pub mod browser;
pub mod caller;
pub mod certs;
pub mod clients;
pub mod cluster;
pub mod collector;
pub mod cpu;
pub mod demo;
pub mod folder;
pub mod frames;
pub mod gate;
pub mod gateway;
pub mod h2spec;
pub mod hand;
pub mod helm;
pub mod hostile;
pub mod http;
pub mod http2;
pub mod http2_upstream;
pub mod installation;
pub mod jwt;
pub mod keycloak;
pub mod kube;
pub mod kubectl;
pub mod kubelet;
pub mod link;
pub mod load;
pub mod markdown;
pub mod marks;
pub mod mint;
pub mod nginx;
pub mod oidc;
pub mod parts;
pub mod paths;
pub mod ports;
pub mod process;
pub mod raw;
pub mod redis;
pub mod restored;
pub mod route;
pub mod scene;
pub mod secret;
pub mod shell;
pub mod shop;
pub mod sockets;
pub mod stand;
pub mod tls;
pub mod traffic;
pub mod upstream;
pub mod wait;
pub mod websocket;
pub mod wire;
pub mod wrk;
pub mod wycheproof;
