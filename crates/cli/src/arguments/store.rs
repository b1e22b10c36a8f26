//! Where records lie.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct StoreArguments {
    /// Where records lie: memory, redis://[user@]host[:port][/db] or rediss://… for TLS.
    #[arg(
        id = "store",
        long = "store",
        env = "SPLITTOKEN_STORE",
        value_name = "URL",
        default_value = "memory",
        hide_env_values = true
    )]
    pub(crate) url: String,

    /// PEM file with the only certificates to trust for rediss://, read again at each connect [default: those of the machine]
    #[arg(
        id = "store_ca",
        long = "store-ca",
        env = "SPLITTOKEN_STORE_CA",
        value_name = "FILE"
    )]
    pub(crate) ca: Option<PathBuf>,

    /// PEM file with a client certificate for rediss:// and its chain, read again at each connect.
    #[arg(
        id = "store_client_certificate",
        long = "store-client-certificate",
        env = "SPLITTOKEN_STORE_CLIENT_CERTIFICATE",
        value_name = "FILE",
        requires = "store_client_key"
    )]
    pub(crate) client_certificate: Option<PathBuf>,

    /// PEM file with the key of that certificate.
    #[arg(
        id = "store_client_key",
        long = "store-client-key",
        env = "SPLITTOKEN_STORE_CLIENT_KEY",
        value_name = "FILE",
        requires = "store_client_certificate"
    )]
    pub(crate) client_key: Option<PathBuf>,

    /// File with the store's password, read again at each connect, so that it can be changed.
    #[arg(
        id = "store_password_file",
        long = "store-password-file",
        env = "SPLITTOKEN_STORE_PASSWORD_FILE",
        value_name = "FILE"
    )]
    pub(crate) password_file: Option<PathBuf>,
}

impl StoreArguments {
    /// The default: the memory of this process.
    pub(crate) fn memory() -> Self {
        Self {
            url: "memory".to_owned(),
            ca: None,
            client_certificate: None,
            client_key: None,
            password_file: None,
        }
    }
}
