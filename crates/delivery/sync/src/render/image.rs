//! The image built from the repository takes the place of the one manifests call by the app's name.

use serde_json::Value;

/// Whether any container of the object runs the image called `app`.
pub(super) fn is_used(object: &Value, app: &str) -> bool {
    match object {
        Value::Object(fields) => fields.iter().any(|(key, value)| match (key.as_str(), value) {
            ("containers" | "initContainers", Value::Array(items)) => {
                items.iter().any(|item| item["image"].as_str().is_some_and(|image| means(image, app)))
            }
            (_, value) => is_used(value, app),
        }),
        Value::Array(items) => items.iter().any(|item| is_used(item, app)),
        _ => false,
    }
}

pub(super) fn replace(object: &mut Value, app: &str, reference: &str) {
    match object {
        Value::Object(fields) => {
            for (key, value) in fields.iter_mut() {
                match (key.as_str(), value) {
                    ("containers" | "initContainers", Value::Array(items)) => {
                        for image in items.iter_mut().filter_map(|item| item.get_mut("image")) {
                            if image.as_str().is_some_and(|image| means(image, app)) {
                                *image = Value::String(reference.to_owned());
                            }
                        }
                    }
                    (_, value) => replace(value, app, reference),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, app, reference)),
        _ => {}
    }
}

/// `hello`, `hello:anything` and `hello@sha256:...` mean the app `hello`; a name with a registry or a path does not.
fn means(image: &str, app: &str) -> bool {
    image.strip_prefix(app).is_some_and(|rest| rest.is_empty() || (rest.starts_with([':', '@']) && !rest.contains('/')))
}

/// All images the object's containers run.
pub(crate) fn images(object: &Value, found: &mut Vec<String>) {
    match object {
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("containers" | "initContainers", Value::Array(items)) => {
                        found.extend(items.iter().filter_map(|item| item["image"].as_str().map(str::to_owned)));
                    }
                    (_, value) => images(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| images(item, found)),
        _ => {}
    }
}
