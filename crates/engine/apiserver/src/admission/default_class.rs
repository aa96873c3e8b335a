//! Volume claims and ingresses that name no class get the one that is marked as the default, where there is one.

use serde_json::{Value, json};

use super::{Admission, Attributes, Operation};
use crate::{object, status::Failure};

/// See the module.
#[derive(Debug)]
pub struct DefaultClass;

impl Admission for DefaultClass {
    fn mutate(&self, request: &Attributes<'_>, object: &mut Value) -> Result<(), Failure> {
        let (field, prefix, mark) = if request.is(Operation::Create, "", "persistentvolumeclaims") {
            ("storageClassName", "/storage.k8s.io/storageclasses/", "storageclass.kubernetes.io/is-default-class")
        } else if request.is(Operation::Create, "networking.k8s.io", "ingresses") {
            ("ingressClassName", "/networking.k8s.io/ingressclasses/", "ingressclass.kubernetes.io/is-default-class")
        } else {
            return Ok(());
        };
        let annotations = &object["metadata"]["annotations"];
        let old_style = annotations
            .get("kubernetes.io/ingress.class")
            .or(annotations.get("volume.beta.kubernetes.io/storage-class"));
        if !object["spec"][field].is_null() || old_style.is_some() {
            return Ok(());
        }
        if let Some(name) = default_class(request, prefix, mark)? {
            object["spec"][field] = json!(name);
        }
        Ok(())
    }
}

/// The newest of those marked.
fn default_class(request: &Attributes<'_>, prefix: &str, mark: &str) -> Result<Option<String>, Failure> {
    let snapshot = request.server.store.snapshot();
    let mut best: Option<(String, String)> = None;
    for record in snapshot.list(prefix) {
        let class = object::decode(record)?;
        let made = object::meta_text(&class, "creationTimestamp").to_owned();
        let marked = class["metadata"]["annotations"][mark] == "true";
        if marked && best.as_ref().is_none_or(|(newest, _)| made > *newest) {
            best = Some((made, object::name(&class).to_owned()));
        }
    }
    Ok(best.map(|(_, name)| name))
}
