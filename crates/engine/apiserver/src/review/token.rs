//! TokenReview: whom a token stands for.

use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value, json};

use super::user_info;
use crate::{authn::service_account, status::Failure, verbs::Call};

/// Fills in the status.
pub fn review(call: &Call<'_>, review: &mut Value) -> Result<(), Failure> {
    let token = review["spec"]["token"].as_str().unwrap_or_default().to_owned();
    if token.is_empty() {
        return Err(Failure::bad_request("token is required for TokenReview in authentication"));
    }
    let asked: Vec<String> = review["spec"]["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let accounts = &call.server.service_accounts;
    let audiences = if asked.is_empty() { accounts.own_audience() } else { asked };
    // The token itself is not repeated.
    review["spec"] = json!({});
    review["status"] = match accounts.check(&token, &audiences) {
        Ok((claims, common)) => {
            json!({"authenticated": true, "user": user_info(&service_account::user(&claims)), "audiences": common})
        }
        Err(why) => other_token(call, &token).unwrap_or_else(|| json!({"user": {}, "error": why})),
    };
    Ok(())
}

fn other_token(call: &Call<'_>, token: &str) -> Option<Value> {
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).ok()?);
    let user = call.server.authenticator.authenticate(&headers, None).ok()??;
    Some(
        json!({"authenticated": true, "user": user_info(&user), "audiences": call.server.service_accounts.own_audience()}),
    )
}
