//! The kinds of objects that are looked at, all in their raw form: one that is malformed must not stop a watch.

use kube::core::{ApiResource, GroupVersionKind};

/// What a watched object is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Route,
    Issuer,
    Service,
    /// Gateway API's; its CRD may not be there.
    Grant,
    Namespace,
    Pod,
    /// A `ConfigMap` that this operator rendered.
    Config,
    /// A Secret that this operator rendered.
    Secret,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Route,
        Self::Issuer,
        Self::Service,
        Self::Grant,
        Self::Namespace,
        Self::Pod,
        Self::Config,
        Self::Secret,
    ];

    /// Group, version, kind and plural.
    fn names(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Route => (
                "splittoken.dev",
                "v1alpha1",
                "SplitTokenRoute",
                "splittokenroutes",
            ),
            Self::Issuer => (
                "splittoken.dev",
                "v1alpha1",
                "SplitTokenIssuer",
                "splittokenissuers",
            ),
            Self::Service => ("", "v1", "Service", "services"),
            Self::Grant => (
                "gateway.networking.k8s.io",
                "v1beta1",
                "ReferenceGrant",
                "referencegrants",
            ),
            Self::Namespace => ("", "v1", "Namespace", "namespaces"),
            Self::Pod => ("", "v1", "Pod", "pods"),
            Self::Config => ("", "v1", "ConfigMap", "configmaps"),
            Self::Secret => ("", "v1", "Secret", "secrets"),
        }
    }

    /// For `kubectl` and RBAC: `splittokenroutes.splittoken.dev`.
    pub(crate) fn resource(self) -> String {
        match self.names() {
            ("", _, _, plural) => plural.to_owned(),
            (group, _, _, plural) => format!("{plural}.{group}"),
        }
    }

    /// `apiVersion` and `kind`, which items of a list do not repeat.
    pub(crate) fn type_meta(self) -> (String, &'static str) {
        let resource = self.api_resource();
        (resource.api_version, self.names().2)
    }

    pub(crate) fn api_resource(self) -> ApiResource {
        let (group, version, kind, plural) = self.names();
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }

    /// Whether an operator can do without.
    pub(crate) fn is_optional(self) -> bool {
        self == Self::Grant
    }

    /// Whether only those of the release's own namespace are looked at.
    pub(crate) fn is_own(self) -> bool {
        matches!(self, Self::Pod | Self::Config | Self::Secret)
    }
}
