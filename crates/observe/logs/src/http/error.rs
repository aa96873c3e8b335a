//! Errors as Loki gives them: a status and a line of plain text.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use coracle_logql::EvalError;

use crate::error::{PushError, ReadError};

/// What went wrong with a request.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    message: String,
}

impl Failure {
    pub(super) fn bad_request(message: impl ToString) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.to_string() }
    }

    pub(super) fn internal(message: impl ToString) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, message: message.to_string() }
    }

    pub(super) fn new(status: StatusCode, message: impl ToString) -> Self {
        Self { status, message: message.to_string() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let headers =
            [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
        (self.status, headers, self.message).into_response()
    }
}

impl From<PushError> for Failure {
    fn from(error: PushError) -> Self {
        let status = match &error {
            PushError::Invalid(_) => StatusCode::BAD_REQUEST,
            PushError::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            PushError::Disk(_) => StatusCode::INSUFFICIENT_STORAGE,
            PushError::Closed => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self { status, message: error.to_string() }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::internal(error)
    }
}

impl From<EvalError<ReadError>> for Failure {
    fn from(error: EvalError<ReadError>) -> Self {
        match error {
            EvalError::Source(error) => error.into(),
            EvalError::Compute(message) => Self::internal(message),
            error => Self::bad_request(error),
        }
    }
}
