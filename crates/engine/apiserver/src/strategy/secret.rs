//! Secrets: what is written as text is kept as data.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Hold, Strategy};
use crate::{server::Inner, status::Failure};

/// See the module.
#[derive(Debug)]
pub struct SecretStrategy;

impl Strategy for SecretStrategy {
    fn prepare_create(&self, _: &Inner, object: &mut Value) -> Result<Hold, Failure> {
        encode_text(object);
        Ok(None)
    }

    fn prepare_update(&self, _: &Inner, new: &mut Value, _: &Value) -> Result<Hold, Failure> {
        encode_text(new);
        Ok(None)
    }
}

/// `stringData` is for writing only: it wins over `data`, and is gone.
fn encode_text(secret: &mut Value) {
    let Some(texts) = secret.as_object_mut().and_then(|secret| secret.remove("stringData")) else { return };
    for (key, text) in texts.as_object().into_iter().flatten() {
        if !secret["data"].is_object() {
            secret["data"] = json!({});
        }
        secret["data"][key] = json!(STANDARD.encode(text.as_str().unwrap_or_default()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_data() {
        let mut secret = json!({"data": {"a": "b2xk", "b": "Yg=="}, "stringData": {"a": "new"}});
        encode_text(&mut secret);
        assert_eq!(secret, json!({"data": {"a": "bmV3", "b": "Yg=="}}));
    }
}
