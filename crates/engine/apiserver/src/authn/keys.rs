//! The public half of the token key, where OpenID Connect looks for it.

use http::StatusCode;
use serde_json::json;

use crate::{
    request::Request,
    response::{self, Answer},
    server::Server,
    status::Failure,
};

/// `/openid/v1/jwks` and `/.well-known/openid-configuration`.
pub fn answer(server: &Server, request: &Request) -> Result<Answer, Failure> {
    let document = match request.info.path.trim_matches('/') {
        "openid/v1/jwks" => server.signer.key_set(),
        ".well-known/openid-configuration" => json!({
            "issuer": server.signer.issuer(),
            "jwks_uri": format!("{}/openid/v1/jwks", server.signer.issuer()),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }),
        _ => return Ok(crate::serve::not_found()),
    };
    Ok(response::value(StatusCode::OK, request.accept, &document))
}
