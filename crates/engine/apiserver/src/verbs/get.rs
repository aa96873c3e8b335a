//! GET of one object: the stored bytes.

use http::StatusCode;

use super::{Call, list};
use crate::{response::Answer, status::Failure};

/// Answers with the object the path names.
pub async fn get(call: &Call<'_>) -> Result<Answer, Failure> {
    let wanted = call.request.query.number::<u64>("resourceVersion")?;
    list::wait_for_revision(call.server, wanted.unwrap_or(0)).await?;
    call.show_record(StatusCode::OK, &*call.record()?).await
}
