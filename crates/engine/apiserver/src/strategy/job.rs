//! Jobs: a selector of their own, by uid, so that no job takes another's pods.

use serde_json::{Value, json};

use super::{Hold, Strategy};
use crate::{object, server::Inner, status::Failure};

/// See the module.
#[derive(Debug)]
pub struct JobStrategy;

impl Strategy for JobStrategy {
    fn prepare_create(&self, _: &Inner, object: &mut Value) -> Result<Hold, Failure> {
        if object["spec"]["manualSelector"] != json!(true) {
            select_by_uid(object);
        }
        Ok(None)
    }

    fn orphans_by_default(&self) -> bool {
        true
    }
}

fn select_by_uid(job: &mut Value) {
    let (uid, name) = (object::meta_text(job, "uid").to_owned(), object::name(job).to_owned());
    let metadata = object::metadata_mut(&mut job["spec"]["template"]);
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    // The short names are what older clients select by.
    for prefix in ["", "batch.kubernetes.io/"] {
        labels[format!("{prefix}controller-uid")] = json!(uid);
        labels[format!("{prefix}job-name")] = json!(name);
    }
    job["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"] = json!(uid);
}
