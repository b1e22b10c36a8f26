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
    /// A `ConfigMap` in the own namespace that owns everything rendered, so that it goes with the release.
    pub anchor: Option<String>,
    /// The Secret with the keyring of the gateways, which is made if there is none; `None` leaves it to others.
    pub keyring_secret: Option<String>,
    /// Who this process is, for the Lease: the pod's name.
    pub identity: String,
}
