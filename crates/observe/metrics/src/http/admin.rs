//! Deleting and copying, where that is allowed.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use coracle_promql::parser;
use http::StatusCode;
use serde_json::json;

use super::{
    Server,
    answer::{ApiError, success_json},
    params::{MAX_MS, MIN_MS, Params},
};

impl Server {
    fn admin(&self) -> Result<(), ApiError> {
        match self.0.settings.admin {
            true => Ok(()),
            false => Err(ApiError::Unavailable("admin APIs disabled".to_owned())),
        }
    }

    /// Runs what may take long, without the limit queries have.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let server = self.clone();
        match tokio::task::spawn_blocking(move || work(&server)).await {
            Ok(result) => result,
            Err(error) => Err(ApiError::Internal(error.to_string())),
        }
    }
}

pub(super) async fn delete_series(State(server): State<Server>, params: Params) -> Result<Response, ApiError> {
    server.admin()?;
    let sets: Vec<_> = params
        .all("match[]")
        .map(|text| parser::parse_selector(text).map_err(|error| ApiError::parameter("match[]", error)))
        .collect::<Result<_, _>>()?;
    if sets.is_empty() {
        return Err(ApiError::BadData("no match[] parameter provided".to_owned()));
    }
    let (start_ms, end_ms) = (params.time("start", MIN_MS)?, params.time("end", MAX_MS)?);
    server.work(move |server| Ok(server.0.store.delete(&sets, start_ms, end_ms)?)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn clean_tombstones(State(server): State<Server>) -> Result<Response, ApiError> {
    server.admin()?;
    server.work(|server| Ok(server.0.store.clean_deleted()?)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn snapshot(State(server): State<Server>, params: Params) -> Result<Response, ApiError> {
    server.admin()?;
    let skip_head = match params.get("skip_head") {
        "" | "0" | "f" | "F" | "false" | "False" | "FALSE" => false,
        "1" | "t" | "T" | "true" | "True" | "TRUE" => true,
        other => {
            let why = format!("unable to parse boolean: strconv.ParseBool: parsing {other:?}: invalid syntax");
            return Err(ApiError::parameter("skip_head", why));
        }
    };
    let now_ms = server.0.store.now_ms();
    let name = jiff::Timestamp::from_millisecond(now_ms)
        .map_or_else(|_| now_ms.to_string(), |now| format!("{}-{now_ms:x}", now.strftime("%Y%m%dT%H%M%SZ")));
    let directory = std::path::Path::new(&server.0.store.place()).join("snapshots").join(&name);
    server.work(move |server| Ok(server.0.store.snapshot(&directory, !skip_head)?)).await?;
    Ok(success_json(&params.headers, &json!({"name": name})))
}
