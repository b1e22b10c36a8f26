use splittoken_api::Installation;

/// How an operator runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The installation: routes and issuers of other classes are left alone.
    pub class: String,
    /// The release's own namespace: of the rendered objects, the gateway pods and the Lease. `None` is the pod's own.
    pub namespace: Option<String>,
    /// What the platform team allows.
    pub installation: Installation,
    /// Picks the gateway pods of this installation: `app.kubernetes.io/component=gateway,…`.
    pub gateway_selector: String,
    /// Where a gateway pod's admin server listens.
    pub gateway_admin_port: u16,
    /// A `ConfigMap` in the own namespace that owns everything the operator makes, so that it goes with the release.
    pub anchor: Option<String>,
    /// The Secret with the keyring of the gateways, which is made if there is none; `None` leaves it to others.
    pub keyring_secret: Option<String>,
    /// Whether the keyring stays when the release goes: the sessions in a store that outlives it need it.
    pub keep_keyring: bool,
    /// The Secret of the installation's own store, if it has one; made if there is none.
    pub store_secret: Option<StoreSecret>,
    /// Who this process is, for the Lease: the pod's name.
    pub identity: String,
}

/// How the gateways are known to the installation's own store.
#[derive(Clone, Debug)]
pub struct StoreSecret {
    /// The Secret with the `password`, and with `users.acl` for the store.
    pub name: String,
    /// The gateways' user.
    pub user: String,
    /// What it may do, as `ACL SETUSER` takes it.
    pub rules: String,
}
