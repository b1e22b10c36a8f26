//! What a split token is: the pure heart of the project.
//!
//! A JWT is cut at its last dot. The signature goes to the client and is the token from then on
//! ([`Opaque`]); the header and the claims are sealed ([`seal`]) under keys that only the signature and the
//! [`Keyring`] together give ([`derive_keys`]).
//!
//! ```text
//!   JWT ──Jws::parse──▶ Jws ──verify──▶ Claims            header.payload ──seal──▶ record
//!                        └── opaque() ──▶ Opaque ──derive_keys──▶ LookupId, keys ──▲
//! ```
//!
//! This room knows nothing of HTTP, Redis, Kubernetes, clocks or sockets: no async, no I/O, and the time is
//! always an argument. Types that hold token text have no `Display` and a `Debug` that redacts.

mod algorithm;
mod base64url;
mod claims;
mod derive;
mod json;
mod jwk;
mod jws;
mod key_set_record;
mod keyring;
mod leak;
mod opaque;
mod realm;
mod record;
mod response;
mod secret;
mod verify;

pub use algorithm::{Algorithm, Family, UnknownAlgorithm};
pub use claims::{Claims, ClaimsError};
pub use derive::{Keys, LookupId, derive_keys};
pub use json::{JsonError, parse_object};
pub use jwk::{Key, KeySet, KeySetError, MAX_JWKS_BYTES, MAX_JWKS_KEYS};
pub use jws::{Jws, JwsError, MAX_JWT_BYTES};
pub use key_set_record::{key_set_id, open_key_set, seal_key_set};
pub use keyring::{Keyring, KeyringError};
pub use leak::{contains_jwt, json_contains_jwt};
pub use opaque::{Opaque, OpaqueError};
pub use realm::{Realm, Use};
pub use record::{
    Live, Meta, RecordError, RecordKind, SealedRecord, Stored, open, open_tombstone, record_kind, seal,
    tombstone,
};
pub use response::{
    MemberPolicy, NonJwtPolicy, ResponseError, ResponsePolicy, TokenResponse, error_response_is_safe,
};
pub use secret::SecretBytes;
pub use verify::{Policy, Verifier, VerifyError, check_claims, verify};
