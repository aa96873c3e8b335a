//! `/containerLogs/{namespace}/{pod}/{container}`.

use std::io;

use http::StatusCode;
use jiff::SignedDuration;

use super::{Answer, Refusal, Server, container, query::Query, streamed};
use crate::{
    logs::{Options, follow},
    pod::{
        state::{Container, PodState, Run},
        worker::Handle,
    },
};

/// Streams a container's log.
pub fn serve(server: &Server, pod: &Handle, name: &str, query: &str) -> Answer {
    let state = pod.state.borrow().clone();
    let container = container(&state, name)?;
    let options = options(&Query::parse(query), server)?;
    let attempt = attempt(&state, container, options.previous)?;
    let path = server.context.log_path(state.uid(), name, attempt);
    let (mut states, name) = (pod.state.clone(), name.to_owned());
    let ended = async move {
        let runs = |state: &std::sync::Arc<PodState>| {
            let container = state.container(&name);
            container
                .and_then(Container::instance)
                .is_some_and(|instance| instance.id.ends_with(&format!("_{attempt}")))
        };
        // An error means that the pod's task has ended, and its containers with it.
        let _ = states.wait_for(|state| !runs(state)).await;
    };
    match follow::stream(path, options, ended) {
        Ok(pieces) => Ok(streamed(pieces)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Refusal::not_found(format!("the log of container {:?} is gone", container.name)))
        }
        Err(error) => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

fn options(query: &Query, server: &Server) -> Result<Options, Refusal> {
    let natural = |name: &str| -> Result<Option<usize>, Refusal> {
        let number = query.number(name).map_err(Refusal::bad)?;
        // A negative number of lines is all of them.
        Ok(number.and_then(|number| usize::try_from(number).ok()))
    };
    let since_seconds = query.number("sinceSeconds").map_err(Refusal::bad)?;
    let since_time = match query.get("sinceTime").filter(|text| !text.is_empty()) {
        Some(text) => Some(text.parse().map_err(|_| Refusal::bad(format!("invalid sinceTime: {text:?}")))?),
        None => None,
    };
    let since = since_seconds.map(|seconds| server.context.clock.now() - SignedDuration::from_secs(seconds));
    Ok(Options {
        follow: query.is("follow"),
        previous: query.is("previous"),
        timestamps: query.is("timestamps"),
        tail_lines: natural("tailLines")?,
        since: since.or(since_time),
        limit_bytes: natural("limitBytes")?,
        stream: query.get("stream").filter(|stream| *stream == "Stdout" || *stream == "Stderr").map(str::to_lowercase),
    })
}

/// Which run's log is meant.
fn attempt(state: &PodState, container: &Container, previous: bool) -> Result<u32, Refusal> {
    let name = &container.name;
    let latest = container.next_attempt.checked_sub(1);
    if previous {
        // While it waits for its next run the last one is the previous one, as its status shows it.
        let found = if matches!(container.run, Run::Waiting(_)) {
            latest
        } else {
            latest.and_then(|latest| latest.checked_sub(1))
        };
        return found.ok_or_else(|| {
            Refusal::bad(format!("previous terminated container \"{name}\" in pod \"{}\" not found", state.name()))
        });
    }
    latest.ok_or_else(|| {
        let reason = match &container.run {
            Run::Waiting(Some(waiting)) => waiting.reason,
            _ if state.initialized() => "ContainerCreating",
            _ => "PodInitializing",
        };
        let detail = match reason {
            "ErrImagePull" | "ImagePullBackOff" => "trying and failing to pull image".to_owned(),
            other => other.to_owned(),
        };
        Refusal::bad(format!("container \"{name}\" in pod \"{}\" is waiting to start: {detail}", state.name()))
    })
}
