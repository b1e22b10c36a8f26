//! Names of the objects that carry routes to the gateways: what the operator writes and the feed reads. Their content is
//! `splittoken_routing::wire`'s.

/// The label that says which installation an object was rendered for.
pub const CLASS_LABEL: &str = "splittoken.dev/class";
/// The label of rendered routes; its value is [`PART_ROUTE`].
pub const PART_LABEL: &str = "splittoken.dev/part";
/// See [`PART_LABEL`].
pub const PART_ROUTE: &str = "route";
/// The entry of the `ConfigMap` that holds a route.
pub const CONFIG_ENTRY: &str = "route.json";
/// The entry of the Secret of the same name that holds a route's secrets.
pub const SECRETS_ENTRY: &str = "secrets.json";
