//! A certificate request says who made it; that is the server's to say.

use serde_json::{Value, json};

use super::{Admission, Attributes, Operation};
use crate::status::Failure;

const FIELDS: [&str; 4] = ["username", "uid", "groups", "extra"];

/// See the module.
#[derive(Debug)]
pub struct SigningRequest;

impl Admission for SigningRequest {
    fn mutate(&self, request: &Attributes<'_>, object: &mut Value) -> Result<(), Failure> {
        let (group, plural) = ("certificates.k8s.io", "certificatesigningrequests");
        let user = request.user;
        if request.is(Operation::Create, group, plural) {
            let Some(spec) = object["spec"].as_object_mut() else { return Ok(()) };
            FIELDS.iter().for_each(|field| {
                spec.remove(*field);
            });
            spec.insert("username".into(), json!(user.name));
            spec.insert("groups".into(), json!(user.groups));
            if !user.uid.is_empty() {
                spec.insert("uid".into(), json!(user.uid));
            }
            if !user.extra.is_empty() {
                spec.insert("extra".into(), json!(user.extra));
            }
        }
        if let (true, Some(old)) = (request.is(Operation::Update, group, plural), request.old) {
            // What was asked for stays as it was asked.
            object["spec"] = old["spec"].clone();
        }
        Ok(())
    }
}
