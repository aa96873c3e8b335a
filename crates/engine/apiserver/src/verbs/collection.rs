//! DELETE of a collection: each object it selects, as if asked for one by one.

use futures::future::join_all;
use http::StatusCode;
use serde_json::json;

use super::{
    Call, all_served_values,
    delete::{DeleteOptions, delete_object},
    list::{Selection, select},
};
use crate::{
    request::query::ListOptions,
    response::{self, Answer},
    status::Failure,
};

/// Deletions under way at once; the store makes them durable together.
const AT_ONCE: usize = 64;

/// Deletes what the request selects.
pub async fn delete_collection(call: &Call<'_>) -> Result<Answer, Failure> {
    let options = DeleteOptions::parse(call)?;
    let list_options = ListOptions::parse(&call.request.query, false)?;
    let selection = Selection::parse(call, &list_options)?;
    let page = select(call, &list_options, &selection).await?;
    for keys in page.records.chunks(AT_ONCE) {
        let deletions = keys.iter().map(|record| delete_object(call, record.key(), &options));
        for outcome in join_all(deletions).await {
            match outcome {
                // Somebody else was first.
                Err(failure) if failure.code == 404 => {}
                Err(failure) => return Err(failure),
                Ok(_) => {}
            }
        }
    }
    let items = all_served_values(call.resource, &page.records).await?;
    let list = json!({
        "kind": call.resource.kind.list_kind, "apiVersion": call.resource.api_version,
        "metadata": {"resourceVersion": page.revision.to_string()}, "items": items,
    });
    Ok(response::value(StatusCode::OK, call.request.accept, &list))
}
