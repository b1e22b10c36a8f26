use splittoken_routing::{
    Authentication, Authorization, ClaimEncoding, ClaimOperator, ClaimRequirement, ClaimToHeader,
    HeaderMatch, HeaderSet, PathMatch, RequestHeaders, RouteMatch, Rule, Timeouts,
};

use super::{backends::Backends, rule_field};
use crate::crd::{self, PathMatchType};

/// The compiled form of rule number `index`. Only its backends can be a problem.
pub(super) fn compile(rule: &crd::Rule, index: usize, backends: &mut Backends<'_>) -> Rule {
    let backends = rule.backend_refs.iter().enumerate().map(|(i, backend)| {
        let field = rule_field(index, &format!(".backendRefs[{i}]"));
        backends.compile(backend, &field)
    });
    Rule {
        name: rule.name.clone(),
        backends: backends.collect(),
        matches: rule.matches.iter().map(compile_match).collect(),
        authentication: match rule.authentication {
            crd::Authentication::Required => Authentication::Required,
            crd::Authentication::Optional => Authentication::Optional,
            crd::Authentication::Disabled => Authentication::Disabled,
        },
        authorization: rule.authorization.as_ref().map(authorization),
        claims_to_headers: rule.claims_to_headers.iter().map(claim_to_header).collect(),
        replace_prefix: rule
            .path_rewrite
            .as_ref()
            .map(|rewrite| rewrite.replace_prefix_match.clone()),
        request_headers: rule
            .request_headers
            .as_ref()
            .map(request_headers)
            .unwrap_or_default(),
        timeouts: Timeouts {
            request: rule.timeouts.request.limit(),
            backend_request: rule.timeouts.backend_request.limit(),
            connect: rule.timeouts.connect.limit(),
            idle: rule.timeouts.idle.limit(),
        },
        max_retries: u32::try_from(rule.retries.max_retries).unwrap_or(0),
        websocket: rule.upgrades.contains(&crd::Upgrade::WebSocket),
    }
}

fn compile_match(from: &crd::RuleMatch) -> RouteMatch {
    let path = from.path.value.clone();
    RouteMatch {
        path: match from.path.kind {
            PathMatchType::PathPrefix => PathMatch::Prefix(path),
            PathMatchType::Exact => PathMatch::Exact(path),
        },
        methods: from
            .methods
            .iter()
            .map(|method| method.name().to_owned())
            .collect(),
        headers: from
            .headers
            .iter()
            .map(|header| HeaderMatch {
                name: header.name.to_ascii_lowercase(),
                value: header.value.clone(),
            })
            .collect(),
    }
}

fn authorization(from: &crd::Authorization) -> Authorization {
    let claim = |from: &crd::ClaimRequirement| ClaimRequirement {
        name: from.name.clone(),
        operator: match from.operator {
            crd::ClaimOperator::In => ClaimOperator::In,
            crd::ClaimOperator::NotIn => ClaimOperator::NotIn,
            crd::ClaimOperator::Exists => ClaimOperator::Exists,
            crd::ClaimOperator::DoesNotExist => ClaimOperator::DoesNotExist,
        },
        values: from.values.clone(),
    };
    Authorization {
        audiences: from.audiences.clone(),
        scopes: from.scopes.clone(),
        any_scopes: from.any_scopes.clone(),
        claims: from.claims.iter().map(claim).collect(),
        client_ids: from.client_ids.clone(),
    }
}

fn claim_to_header(from: &crd::ClaimToHeader) -> ClaimToHeader {
    ClaimToHeader {
        claim: from.claim.clone(),
        header: from.header.to_ascii_lowercase(),
        encoding: match from.encoding {
            crd::ClaimEncoding::CommaSeparated => ClaimEncoding::CommaSeparated,
            crd::ClaimEncoding::Json => ClaimEncoding::Json,
        },
    }
}

fn request_headers(from: &crd::RequestHeaders) -> RequestHeaders {
    let set = |from: &crd::HeaderSet| HeaderSet {
        name: from.name.to_ascii_lowercase(),
        value: from.value.clone(),
    };
    RequestHeaders {
        set: from.set.iter().map(set).collect(),
        remove: from.remove.iter().map(|name| name.to_ascii_lowercase()).collect(),
    }
}
