use std::collections::BTreeMap;

use splittoken_routing::{Backend, BackendProtocol, BackendTls, ClientCertificate, UnusableBackend};
use url::{Host, Url};

use super::{CompileOptions, certificates::Certificates, client_certificate};
use crate::{
    crd::{self, BackendRef, BackendTlsMode},
    resources::Resources,
    services::{ServiceAddress, ServiceFault},
    verdict::{Problem, Reason},
};

/// Resolves the backends of one route and collects what is to be said about them, and what they need.
pub(super) struct Backends<'a> {
    resources: &'a Resources,
    options: &'a CompileOptions<'a>,
    /// That of the route.
    namespace: &'a str,
    pub(super) problems: Vec<Problem>,
    pub(super) client_certificates: BTreeMap<String, ClientCertificate>,
}

/// Where a backend is.
struct Place {
    address: String,
    /// What its certificate is for, unless the route says otherwise.
    name: String,
    is_h2c: bool,
    is_https: bool,
}

impl<'a> Backends<'a> {
    pub(super) fn new(resources: &'a Resources, options: &'a CompileOptions<'a>, namespace: &'a str) -> Self {
        Self {
            resources,
            options,
            namespace,
            problems: Vec::new(),
            client_certificates: BTreeMap::new(),
        }
    }

    /// The compiled form of a backend. A problem that leaves the rest of the route in order makes the backend
    /// unusable: its share is answered with an error, never by somebody else's backend.
    pub(super) fn compile(&mut self, backend: &BackendRef, field: &str) -> Backend {
        let weight = u32::try_from(backend.weight).unwrap_or(0);
        let (address, protocol, tls) = match self.resolve(backend, field) {
            Ok((place, None)) => {
                let protocol = plain_protocol(backend.protocol, place.is_h2c);
                (Ok(place.address), protocol, None)
            }
            Ok((_, Some(tls))) => (Err(unusable("TLS")), tls_protocol(backend.protocol), Some(tls)),
            Err(problem) => {
                let unusable = unusable(problem.reason.name());
                self.problems.push(problem);
                (Err(unusable), BackendProtocol::default(), None)
            }
        };
        Backend {
            address,
            weight,
            protocol,
            tls,
        }
    }

    fn resolve(&mut self, backend: &BackendRef, field: &str) -> Result<(Place, Option<BackendTls>), Problem> {
        let place = match &backend.url {
            Some(url) => from_url(url, field, self.options),
            None => from_service(backend, self.namespace, field, self.options),
        }?;
        let tls = self.tls(backend, &place, field)?;
        Ok((place, tls))
    }

    /// How TLS is spoken with a backend, if it is.
    fn tls(
        &mut self,
        backend: &BackendRef,
        place: &Place,
        field: &str,
    ) -> Result<Option<BackendTls>, Problem> {
        let given = backend.tls.as_ref();
        let is_spoken = given.map_or(place.is_https, |tls| tls.mode != BackendTlsMode::Disabled);
        if !is_spoken {
            return Ok(None);
        }
        let refs = given.map_or(&[][..], |tls| &tls.ca_certificate_refs);
        let mut authorities = Certificates::default();
        for (index, reference) in refs.iter().enumerate() {
            let field = format!("{field}.tls.caCertificateRefs[{index}]");
            authorities.add_from(self.resources, self.namespace, reference, &field)?;
        }
        let reference = given.and_then(|tls| tls.client_certificate_ref.as_ref());
        if let Some(reference) = reference {
            let field = format!("{field}.tls.clientCertificateRef");
            let found = client_certificate::read(self.resources, self.namespace, &reference.name, &field)?;
            self.client_certificates.insert(reference.name.clone(), found);
        }
        let server_name = given.and_then(|tls| tls.server_name.as_ref());
        Ok(Some(BackendTls {
            address: place.address.clone(),
            server_name: server_name.unwrap_or(&place.name).clone(),
            ca_certificates: authorities.into_texts(),
            client_certificate: reference.map(|reference| reference.name.clone()),
        }))
    }
}

fn unusable(reason: &str) -> UnusableBackend {
    UnusableBackend {
        reason: reason.to_owned(),
    }
}

fn plain_protocol(wanted: crd::BackendProtocol, is_h2c: bool) -> BackendProtocol {
    match wanted {
        crd::BackendProtocol::Http2 => BackendProtocol::Http2,
        crd::BackendProtocol::Auto if is_h2c => BackendProtocol::Http2,
        crd::BackendProtocol::Http1 | crd::BackendProtocol::Auto => BackendProtocol::Http1,
    }
}

fn tls_protocol(wanted: crd::BackendProtocol) -> BackendProtocol {
    match wanted {
        crd::BackendProtocol::Auto => BackendProtocol::Negotiated,
        crd::BackendProtocol::Http1 => BackendProtocol::Http1,
        crd::BackendProtocol::Http2 => BackendProtocol::Http2,
    }
}

fn from_url(url: &str, field: &str, options: &CompileOptions<'_>) -> Result<Place, Problem> {
    let field = format!("{field}.url");
    if !options.installation.url_backends {
        let message = "this installation does not allow backends by URL";
        return Err(Problem::new(field, Reason::UnsupportedValue, message));
    }
    let parsed = Url::parse(url).map_err(|_| Problem::new(&field, Reason::Invalid, "is no URL"))?;
    let (Some(host), Some(port)) = (parsed.host(), parsed.port_or_known_default()) else {
        return Err(Problem::new(field, Reason::Invalid, "names no host"));
    };
    if port == 0 {
        return Err(Problem::new(field, Reason::Invalid, "0 is no port"));
    }
    let reach = options.installation.reach();
    reach
        .check_url(&parsed)
        .map_err(|forbidden| Problem::new(&field, Reason::UnsupportedValue, forbidden.to_string()))?;
    Ok(Place {
        address: format!("{host}:{port}"),
        name: match host {
            // Its brackets belong to the URL.
            Host::Ipv6(ip) => ip.to_string(),
            host => host.to_string(),
        },
        is_h2c: false,
        is_https: parsed.scheme() == "https",
    })
}

fn from_service(
    backend: &BackendRef,
    route_namespace: &str,
    field: &str,
    options: &CompileOptions<'_>,
) -> Result<Place, Problem> {
    let name = backend.name.as_deref().unwrap_or_default();
    let namespace = backend.namespace.as_deref().unwrap_or(route_namespace);
    if namespace != route_namespace && !options.grants.allow(route_namespace, namespace, name) {
        let message =
            format!("Service {namespace}/{name} belongs to another namespace, which has not granted it");
        return Err(Problem::unresolved(
            format!("{field}.namespace"),
            Reason::RefNotPermitted,
            message,
        ));
    }
    let port = backend
        .port
        .and_then(|port| u16::try_from(port).ok())
        .unwrap_or(0);
    let selectorless = options.installation.selectorless_services;
    let found = options.services.address(namespace, name, port, selectorless);
    let ServiceAddress { address, is_h2c } =
        found.map_err(|fault| service_problem(fault, &format!("Service {namespace}/{name}"), port, field))?;
    Ok(Place {
        address,
        name: format!("{name}.{namespace}.svc"),
        is_h2c,
        is_https: false,
    })
}

fn service_problem(fault: ServiceFault, service: &str, port: u16, field: &str) -> Problem {
    let at = |part: &str| format!("{field}.{part}");
    let unsupported = |message: String| Problem::new(at("name"), Reason::RefNotPermitted, message);
    match fault {
        ServiceFault::Unknown => {
            let message = format!("{service} with port {port} is not known here");
            Problem::unresolved(at("name"), Reason::BackendNotFound, message)
        }
        ServiceFault::NoPort => Problem::new(
            at("port"),
            Reason::BackendNotFound,
            format!("{service} has no TCP port {port}"),
        ),
        ServiceFault::NoAddress => Problem::new(
            at("name"),
            Reason::BackendNotFound,
            format!("{service} has no address yet"),
        ),
        ServiceFault::ExternalName => unsupported(format!(
            "{service} is an ExternalName, which could lead anywhere; use backendRefs[].url where that is allowed"
        )),
        ServiceFault::NoSelector => unsupported(format!(
            "{service} has no selector, and this installation allows only Services with one"
        )),
    }
}
