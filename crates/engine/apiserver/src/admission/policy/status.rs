//! What a ValidatingAdmissionPolicy's status says: whether its expressions fit the types they will see.

use std::{collections::BTreeSet, time::Duration};

use coracle_cel::{Declaration, Type, schema::declare_type};
use coracle_store::{Change, Expect, Record};
use serde_json::{Value, json};

use super::{
    params::ParamKind,
    parse::variables,
    scope::{Extras, ObjectTypes},
};
use crate::{object, registry::Served, server::Server};

const PREFIX: &str = "/admissionregistration.k8s.io/validatingadmissionpolicies/";
const RETRY: Duration = Duration::from_millis(200);
/// More types of a rule are not looked at.
const MOST_TYPES: usize = 10;

/// Follows policies, and writes their status.
pub fn start(server: &Server) {
    let server = server.clone();
    coracle_tasks::spawn("policy-type-checks", async move {
        loop {
            let seen = server.store.revision();
            let unfinished = check_all(&server).await;
            let Ok(mut watcher) = server.store.watch(PREFIX, seen) else {
                if server.shutdown.is_cancelled() {
                    return;
                }
                tokio::time::sleep(RETRY).await;
                continue;
            };
            tokio::select! {
                () = server.shutdown.cancelled() => return,
                _ = watcher.next() => {}
                () = tokio::time::sleep(RETRY), if unfinished => {}
            }
        }
    });
}

/// Writes the statuses that are not of the present generation; whether some could not be written.
async fn check_all(server: &Server) -> bool {
    let snapshot = server.store.snapshot();
    let records: Vec<_> = snapshot.list(PREFIX).cloned().collect();
    let mut unfinished = false;
    for record in records {
        unfinished |= !check(server, &record).await;
    }
    unfinished
}

async fn check(server: &Server, record: &Record) -> bool {
    let Ok(mut policy) = object::decode(record) else { return true };
    let generation = policy["metadata"]["generation"].as_i64().unwrap_or(0);
    if policy["status"]["observedGeneration"].as_i64() == Some(generation) {
        return true;
    }
    let warnings = warnings(&policy["spec"], &server.registry.served());
    let mut checked = json!({});
    if !warnings.is_empty() {
        checked["expressionWarnings"] = warnings.into();
    }
    if !policy["status"].is_object() {
        policy["status"] = json!({});
    }
    policy["status"]["observedGeneration"] = json!(generation);
    policy["status"]["typeChecking"] = checked;
    let meta = object::meta(&policy, &[]);
    let change = Change::put(record.key(), Expect::Revision(record.revision()), meta, object::encode(&policy));
    // A conflict means a newer version, which is looked at next.
    server.store.commit(vec![change]).await.is_ok()
}

/// `expressionWarnings`.
fn warnings(spec: &Value, served: &Served) -> Vec<Value> {
    let kinds = kinds(&spec["matchConstraints"], served);
    let params = ParamKind::parse(&spec["paramKind"]);
    let params_type = params.as_ref().and_then(|kind| {
        let (group, version) = kind.api_version.split_once('/').unwrap_or(("", &kind.api_version));
        Some(declare_type(served.find_kind(group, version, &kind.kind)?.kind.schema.root()))
    });
    let extras = Extras { params: params.is_some(), authorizer: true, mutations: false };
    let mut out = Vec::new();
    for (index, validation) in spec["validations"].as_array().into_iter().flatten().enumerate() {
        for field in ["expression", "messageExpression"] {
            let text = validation[field].as_str().unwrap_or_default();
            if text.is_empty() {
                continue;
            }
            let found: Vec<String> = kinds
                .iter()
                .filter_map(|(shown, object)| {
                    let types = ObjectTypes {
                        object: object.clone(),
                        params: params_type.clone().unwrap_or(Declaration::of(Type::Dyn)),
                    };
                    let (environment, _, problem) = variables(spec, extras, &types);
                    let compiled = environment.compile(text).err();
                    let problem = compiled.map(|error| format!("compilation failed: {error}")).or(problem)?;
                    Some(format!("{shown}: {problem}\n"))
                })
                .collect();
            if !found.is_empty() {
                let field = format!("spec.validations[{index}].{field}");
                out.push(json!({"fieldRef": field, "warning": found.join("\n")}));
            }
        }
    }
    out
}

/// The types that the rules name, without those that name everything.
fn kinds(matching: &Value, served: &Served) -> Vec<(String, Declaration)> {
    let mut found: BTreeSet<(String, String, String)> = BTreeSet::new();
    for rule in matching["resourceRules"].as_array().into_iter().flatten() {
        let list = |field: &str| -> Vec<&str> {
            let all: Vec<&str> = rule[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if all.contains(&"*") { Vec::new() } else { all }
        };
        let resources = list("resources");
        let (groups, versions) = (list("apiGroups"), list("apiVersions"));
        for resource in resources.iter().filter(|resource| !resource.contains('/') && !resource.contains('*')) {
            for (group, version) in groups.iter().flat_map(|group| versions.iter().map(move |v| (*group, *v))) {
                if let Some(known) = served.find(group, version, resource) {
                    found.insert((group.to_owned(), version.to_owned(), known.kind.kind.to_string()));
                }
            }
        }
    }
    found
        .into_iter()
        .take(MOST_TYPES)
        .filter_map(|(group, version, kind)| {
            let known = served.find_kind(&group, &version, &kind)?;
            Some((format!("{group}/{version}, Kind={kind}"), declare_type(known.kind.schema.root())))
        })
        .collect()
}
