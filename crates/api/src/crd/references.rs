use super::{CaCertificateSource, Issuer};
use crate::object::ObjectName;

impl Issuer {
    /// The Secrets and `ConfigMap`s that it refers to. They lie beside the object that defines it, in `namespace`.
    pub(crate) fn references(&self, namespace: &str) -> Vec<ObjectName> {
        let hmac = self.hmac_secret_ref.as_ref();
        let hmac = hmac.map(|reference| ObjectName::new("Secret", namespace, &reference.name));
        let tls = self.tls.as_ref().map_or(&[][..], |tls| &tls.ca_certificate_refs);
        let tls = tls.iter().map(|reference| {
            let kind = match reference.kind {
                CaCertificateSource::ConfigMap => "ConfigMap",
                CaCertificateSource::Secret => "Secret",
            };
            ObjectName::new(kind, namespace, &reference.name)
        });
        hmac.into_iter().chain(tls).collect()
    }
}
