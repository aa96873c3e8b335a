//! TokenReview: whom a token stands for.

use serde_json::{Value, json};

use super::user_info;
use crate::{status::Failure, verbs::Call};

/// Fills in the status.
pub async fn review(call: &Call<'_>, review: &mut Value) -> Result<(), Failure> {
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
    let authenticator = &call.server.authenticator;
    let audiences = if asked.is_empty() { authenticator.own_audiences.clone() } else { asked };
    // The token itself is not repeated.
    review["spec"] = json!({});
    review["status"] = match authenticator.token(&token, &audiences).await {
        Ok(Some((user, common))) => {
            json!({"authenticated": true, "user": user_info(&user), "audiences": common})
        }
        Ok(None) => json!({"user": {}}),
        Err(why) => json!({"user": {}, "error": why}),
    };
    Ok(())
}
