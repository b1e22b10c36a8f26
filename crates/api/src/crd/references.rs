use super::{BackendRef, CaCertificateRef, CaCertificateSource, Issuer, SplitTokenRouteSpec};
use crate::object::ObjectName;

impl SplitTokenRouteSpec {
    /// The Secrets and `ConfigMap`s that it refers to, those of its own issuer included. They lie in its `namespace`.
    pub(crate) fn references(&self, namespace: &str) -> Vec<ObjectName> {
        let issuer = self.issuer.iter().flat_map(|issuer| issuer.references(namespace));
        let backends = self.rules.iter().flat_map(|rule| &rule.backend_refs);
        let backends = backends.flat_map(|backend| backend.references(namespace));
        issuer.chain(backends).collect()
    }
}

impl BackendRef {
    fn references(&self, namespace: &str) -> Vec<ObjectName> {
        let Some(tls) = &self.tls else {
            return Vec::new();
        };
        let client = tls.client_certificate_ref.as_ref();
        let client = client.map(|reference| ObjectName::new("Secret", namespace, &reference.name));
        let authorities = tls.ca_certificate_refs.iter();
        let authorities = authorities.map(|reference| reference.object(namespace));
        client.into_iter().chain(authorities).collect()
    }
}

impl Issuer {
    /// The Secrets and `ConfigMap`s that it refers to. They lie beside the object that defines it, in `namespace`.
    pub(crate) fn references(&self, namespace: &str) -> Vec<ObjectName> {
        let hmac = self.hmac_secret_ref.as_ref();
        let hmac = hmac.map(|reference| ObjectName::new("Secret", namespace, &reference.name));
        let client = self
            .tls
            .as_ref()
            .and_then(|tls| tls.client_certificate_ref.as_ref());
        let client = client.map(|reference| ObjectName::new("Secret", namespace, &reference.name));
        let authorities = self.tls.as_ref().map_or(&[][..], |tls| &tls.ca_certificate_refs);
        let authorities = authorities.iter().map(|reference| reference.object(namespace));
        hmac.into_iter().chain(client).chain(authorities).collect()
    }
}

impl CaCertificateRef {
    /// What it names, in the namespace of the object that names it.
    pub(crate) fn object(&self, namespace: &str) -> ObjectName {
        let kind = match self.kind {
            CaCertificateSource::ConfigMap => "ConfigMap",
            CaCertificateSource::Secret => "Secret",
        };
        ObjectName::new(kind, namespace, &self.name)
    }
}
