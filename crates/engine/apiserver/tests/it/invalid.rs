//! Objects that are not in order, of every kind that people write, held against what kube-apiserver 1.35.4 says of them.
//! Where this server answers otherwise is written down beside the recorded answers, so that it is seen when that changes.

use coracle_apiserver::{Server, User};
use expect_test::expect_file;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tower::ServiceExt;

use crate::support::server;

#[derive(Deserialize)]
struct Recorded {
    kind: String,
    path: String,
    /// One that is in order.
    object: Value,
    /// What is changed in it, the status of the answer, and its message where it is a refusal.
    cases: Vec<(Map<String, Value>, u16, String)>,
}

async fn post(server: &Server, path: &str, object: &Value) -> (u16, String) {
    let request = Request::post(path).header("content-type", "application/json");
    let request = request.body(Full::<bytes::Bytes>::from(object.to_string())).unwrap();
    let answer = server.client_service(User::engine()).oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    (status, body["message"].as_str().filter(|_| status >= 400).unwrap_or_default().to_owned())
}

/// Puts a value at a dotted path; `<none>` takes away what is there.
fn set(object: &mut Value, path: &str, value: &Value) {
    let (step, rest) = path.split_once('.').map_or((path, None), |(step, rest)| (step, Some(rest)));
    if let Value::Array(items) = object {
        let item = &mut items[step.parse::<usize>().unwrap()];
        return match rest {
            Some(rest) => set(item, rest, value),
            None => *item = value.clone(),
        };
    }
    if object.is_null() {
        *object = json!({});
    }
    let members = object.as_object_mut().unwrap();
    match rest {
        Some(rest) => set(members.entry(step).or_insert(Value::Null), rest, value),
        None if *value == "<none>" => {
            members.remove(step);
        }
        None => {
            members.insert(step.to_owned(), value.clone());
        }
    }
}

#[tokio::test]
async fn what_is_not_in_order_is_refused_as_upstream_refuses_it() {
    let server = server().await;
    post(&server, "/api/v1/namespaces", &json!({"metadata": {"name": "inv"}})).await;
    let account = json!({"metadata": {"name": "default"}});
    post(&server, "/api/v1/namespaces/inv/serviceaccounts", &account).await;
    let recorded: Vec<Recorded> = serde_json::from_str(include_str!("recorded/invalid.json")).unwrap();
    let (mut total, mut same, mut differences) = (0, 0, String::new());
    for Recorded { kind, path, object, cases } in recorded {
        for (changes, status, message) in cases {
            let mut object = object.clone();
            changes.iter().for_each(|(path, value)| set(&mut object, path, value));
            if object["metadata"].get("name").is_none() {
                set(&mut object, "metadata.name", &json!("x"));
            }
            let ours = post(&server, &format!("{path}?dryRun=All"), &object).await;
            total += 1;
            if ours == (status, message.clone()) || (ours.0 < 300 && status < 300) {
                same += 1;
                continue;
            }
            let changes: String = Value::Object(changes).to_string().chars().take(120).collect();
            differences +=
                &format!("{kind} {changes}\n  upstream {status} {message}\n  here     {} {}\n", ours.0, ours.1);
        }
    }
    expect_file!["recorded/invalid_differences.txt"]
        .assert_eq(&format!("{same} of {total} answers are the same.\n\n{differences}"));
}
