//! A pod's priority, from the class it names or the default one.

use serde_json::{Value, json};

use super::{Admission, Attributes, Operation};
use crate::{object, status::Failure};

const CLASSES: &str = "/scheduling.k8s.io/priorityclasses/";

/// See the module.
#[derive(Debug)]
pub struct Priority;

impl Admission for Priority {
    fn mutate(&self, request: &Attributes<'_>, object: &mut Value) -> Result<(), Failure> {
        if !request.is(Operation::Create, "", "pods") {
            return Ok(());
        }
        let named = object["spec"]["priorityClassName"].as_str().unwrap_or_default().to_owned();
        let class = match named.as_str() {
            "" => default_class(request)?,
            name => {
                let record = request.server.store.get(&format!("{CLASSES}{name}"));
                let record =
                    record.ok_or_else(|| request.forbidden(&format!("no PriorityClass with name {name} was found")))?;
                Some(object::decode(&record)?)
            }
        };
        let value = class.as_ref().and_then(|class| class["value"].as_i64()).unwrap_or(0);
        let given = object["spec"].get("priority").filter(|priority| !priority.is_null()).cloned();
        if given.as_ref().is_some_and(|given| given != &json!(value)) {
            return Err(request.forbidden(&format!(
                "the integer value of priority ({}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name",
                given.unwrap_or_default()
            )));
        }
        let spec = &mut object["spec"];
        if let (true, Some(class)) = (named.is_empty(), &class) {
            spec["priorityClassName"] = class["metadata"]["name"].clone();
        }
        spec["priority"] = json!(value);
        let policy =
            class.as_ref().and_then(|class| class["preemptionPolicy"].as_str()).unwrap_or("PreemptLowerPriority");
        if spec["preemptionPolicy"].is_null() {
            spec["preemptionPolicy"] = json!(policy);
        }
        Ok(())
    }
}

/// The class marked `globalDefault`; of several, the one with the lowest value, as upstream has it.
fn default_class(request: &Attributes<'_>) -> Result<Option<Value>, Failure> {
    let snapshot = request.server.store.snapshot();
    let mut found: Option<Value> = None;
    for record in snapshot.list(CLASSES) {
        let class = object::decode(record)?;
        let lower = found.as_ref().is_none_or(|best| class["value"].as_i64() < best["value"].as_i64());
        if class["globalDefault"] == json!(true) && lower {
            found = Some(class);
        }
    }
    Ok(found)
}
