//! TokenRequest: a token for a service account, bound to a pod, a secret or a node where asked.

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::body;
use crate::{
    admission::{self, Operation, check_token},
    authn::service_account::{Bound, Claims, KubernetesClaims},
    names, object,
    request::query::WriteOptions,
    response::Answer,
    status::{Cause, Failure, GroupResource},
    verbs::Call,
};

const DEFAULT_SECONDS: i64 = 3600;
const SHORTEST_SECONDS: i64 = 600;
const LONGEST_SECONDS: i64 = 1 << 32;

/// Makes a token for the account the path names.
pub async fn request(call: &Call<'_>) -> Result<Answer, Failure> {
    let dry_run = WriteOptions::parse(&call.request.query)?.dry_run;
    let attributes = call.attributes(Operation::Create, &call.request.info.name, None, dry_run);
    let mut review = body(call, &attributes)?;
    fill_spec(&mut review["spec"]);
    review["status"] = json!({"token": "", "expirationTimestamp": null});
    admission::mutate(&attributes, &mut review).await?;
    let account = object::decode(&*call.record()?)?;
    check_name(call, &review)?;
    let seconds = review["spec"]["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
    check_duration(call, seconds)?;
    let signer = &call.server.signer;
    let mut audiences: Vec<String> = review["spec"]["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    if audiences.is_empty() {
        audiences.push(signer.issuer().to_owned());
    }
    review["spec"]["audiences"] = json!(audiences);
    review["metadata"] = json!({
        "name": call.request.info.name, "namespace": call.request.info.namespace,
        "uid": account["metadata"]["uid"], "creationTimestamp": object::time(call.server.clock.now()),
    });
    admission::validate(&attributes, &review).await?;
    let namespace = call.request.info.namespace.as_str();
    let now = call.server.clock.now().as_second();
    let mut kubernetes = KubernetesClaims {
        namespace: namespace.to_owned(),
        serviceaccount: bound(&account),
        pod: None,
        secret: None,
        node: None,
    };
    let pod = bind(call, &review["spec"]["boundObjectRef"], &mut kubernetes)?;
    check_token(&call.request.user, &call.request.info.name, pod.as_ref())?;
    let claims = Claims {
        aud: audiences.clone(),
        exp: now + seconds,
        iat: now,
        iss: signer.issuer().to_owned(),
        jti: names::uid(),
        kubernetes,
        nbf: now,
        sub: format!("system:serviceaccount:{namespace}:{}", call.request.info.name),
    };
    let token = signer.sign(&claims).map_err(Failure::internal)?;
    let ends = Timestamp::from_second(claims.exp).map_err(Failure::internal)?;
    review["status"] = json!({"token": token, "expirationTimestamp": object::time(ends)});
    call.show(StatusCode::CREATED, object::encode_plain(&review).into())
}

/// What clients left out, and those who are asked want to see.
fn fill_spec(spec: &mut Value) {
    for field in ["audiences", "boundObjectRef"] {
        if spec[field].is_null() {
            spec[field] = Value::Null;
        }
    }
    if spec["expirationSeconds"].is_null() {
        spec["expirationSeconds"] = json!(DEFAULT_SECONDS);
    }
}

fn check_name(call: &Call<'_>, review: &Value) -> Result<(), Failure> {
    let (given, account) = (object::name(review), call.request.info.name.as_str());
    if given.is_empty() || given == account {
        return Ok(());
    }
    let cause =
        Cause::invalid("metadata.name", format!("{given:?}"), "must match the service account name if specified");
    Err(Failure::invalid("authentication.k8s.io", "TokenRequest", account, vec![cause]))
}

fn check_duration(call: &Call<'_>, seconds: i64) -> Result<(), Failure> {
    let wrong = |detail: &str| {
        let cause = Cause::invalid("spec.expirationSeconds", seconds, detail);
        Err(Failure::invalid("authentication.k8s.io", "TokenRequest", &call.request.info.name, vec![cause]))
    };
    match seconds {
        ..SHORTEST_SECONDS => wrong("may not specify a duration less than 10 minutes"),
        _ if seconds > LONGEST_SECONDS => wrong("may not specify a duration larger than 2^32 seconds"),
        _ => Ok(()),
    }
}

fn bound(object: &Value) -> Bound {
    Bound { name: object::name(object).to_owned(), uid: object::meta_text(object, "uid").to_owned() }
}

/// Binds a token to what it names; the pod, where it is one.
fn bind(call: &Call<'_>, reference: &Value, claims: &mut KubernetesClaims) -> Result<Option<Value>, Failure> {
    if !reference.is_object() {
        return Ok(None);
    }
    let kind = reference["kind"].as_str().unwrap_or_default();
    let name = reference["name"].as_str().unwrap_or_default();
    let namespace = &call.request.info.namespace;
    let resource = match kind {
        "Pod" => "pods",
        "Secret" => "secrets",
        "Node" => "nodes",
        other => {
            return Err(Failure::bad_request(format!(
                "cannot bind token for serviceaccount to object of kind {other:?}"
            )));
        }
    };
    let within = if kind == "Node" { String::new() } else { format!("{namespace}/") };
    let record = call.server.store.get(&format!("/core/{resource}/{within}{name}"));
    let record = record.ok_or_else(|| Failure::not_found(GroupResource { group: "", resource }, name))?;
    let target = object::decode(&record)?;
    let uid = reference["uid"].as_str().unwrap_or_default();
    if !uid.is_empty() && uid != record.uid() {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Failure::conflict(GroupResource { group: "", resource }, name, &why));
    }
    match kind {
        "Secret" => {
            claims.secret = Some(bound(&target));
            return Ok(None);
        }
        "Node" => {
            claims.node = Some(bound(&target));
            return Ok(None);
        }
        _ => {}
    }
    if target["spec"]["serviceAccountName"] != call.request.info.name.as_str() {
        return Err(Failure::bad_request(format!(
            "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
            call.request.info.name
        )));
    }
    let node = target["spec"]["nodeName"].as_str().filter(|node| !node.is_empty());
    claims.node = node.map(|node| {
        let uid = call.server.store.get(&format!("/core/nodes/{node}")).map(|record| record.uid().to_owned());
        Bound { name: node.to_owned(), uid: uid.unwrap_or_default() }
    });
    claims.pod = Some(bound(&target));
    Ok(Some(target))
}
