use splittoken_routing::{Backend, BackendProtocol, UnusableBackend};
use url::Url;

use super::CompileOptions;
use crate::{
    crd::{self, BackendRef},
    services::{ServiceAddress, ServiceFault},
    verdict::{Problem, Reason},
};

/// Resolves one backend of a route in `namespace`. A problem that leaves the rest of the route in order makes
/// the backend unusable: its share is answered with an error, never by somebody else's backend.
pub(super) fn compile(
    backend: &BackendRef,
    namespace: &str,
    field: &str,
    options: &CompileOptions<'_>,
    problems: &mut Vec<Problem>,
) -> Backend {
    let found = match &backend.url {
        Some(url) => from_url(url, field, options),
        None => from_service(backend, namespace, field, options),
    };
    let found = found.map_err(|problem| {
        let reason = problem.reason.name().to_owned();
        problems.push(problem);
        UnusableBackend { reason }
    });
    let is_h2c = found.as_ref().is_ok_and(|found| found.is_h2c);
    Backend {
        address: found.map(|found| found.address),
        weight: u32::try_from(backend.weight).unwrap_or(0),
        protocol: protocol(backend.protocol, is_h2c),
    }
}

fn protocol(wanted: crd::BackendProtocol, is_h2c: bool) -> BackendProtocol {
    match wanted {
        crd::BackendProtocol::Http2 => BackendProtocol::Http2,
        crd::BackendProtocol::Auto if is_h2c => BackendProtocol::Http2,
        crd::BackendProtocol::Http1 | crd::BackendProtocol::Auto => BackendProtocol::Http1,
    }
}

fn from_url(url: &str, field: &str, options: &CompileOptions<'_>) -> Result<ServiceAddress, Problem> {
    let field = format!("{field}.url");
    if !options.installation.url_backends {
        let message = "this installation does not allow backends by URL";
        return Err(Problem::new(field, Reason::UnsupportedValue, message));
    }
    let parsed = Url::parse(url).map_err(|_| Problem::new(&field, Reason::Invalid, "is no URL"))?;
    if parsed.scheme() != "http" {
        let message = "only http for now: TLS to backends follows";
        return Err(Problem::new(field, Reason::UnsupportedValue, message));
    }
    let (Some(host), Some(port)) = (parsed.host_str(), parsed.port_or_known_default()) else {
        return Err(Problem::new(field, Reason::Invalid, "names no host"));
    };
    if port == 0 {
        return Err(Problem::new(field, Reason::Invalid, "0 is no port"));
    }
    let reach = options.installation.reach();
    reach
        .check_url(&parsed)
        .map_err(|forbidden| Problem::new(&field, Reason::UnsupportedValue, forbidden.to_string()))?;
    Ok(ServiceAddress {
        address: format!("{host}:{port}"),
        is_h2c: false,
    })
}

fn from_service(
    backend: &BackendRef,
    route_namespace: &str,
    field: &str,
    options: &CompileOptions<'_>,
) -> Result<ServiceAddress, Problem> {
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
    let address = options.services.address(namespace, name, port, selectorless);
    address.map_err(|fault| service_problem(fault, &format!("Service {namespace}/{name}"), port, field))
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
