//! Lifecycle hooks: postStart and preStop, by exec, httpGet or sleep.

use std::{net::IpAddr, time::Duration};

use k8s_openapi::api::core::v1 as core;

use crate::{context::Context, probe::Outcome, probe::http};

/// A postStart hook may take as long as it likes, up to this.
pub const POST_START_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// Runs a hook for at most `limit`.
pub async fn run(
    context: &Context,
    handler: &core::LifecycleHandler,
    container: &core::Container,
    id: &str,
    ips: &[IpAddr],
    limit: Duration,
) -> Result<(), String> {
    if let Some(sleep) = &handler.sleep {
        let wanted = Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or_default());
        tokio::time::sleep(wanted.min(limit)).await;
        return Ok(());
    }
    if let Some(exec) = &handler.exec {
        let args = exec.command.clone().unwrap_or_default();
        let captured = context.runtime.capture(id, args, limit).await.map_err(|error| error.to_string())?;
        return match captured.code {
            0 => Ok(()),
            code => Err(format!("exited with {code}: {}", String::from_utf8_lossy(&captured.output))),
        };
    }
    if let Some(action) = &handler.http_get {
        let ip = ips.first().map(ToString::to_string).unwrap_or_default();
        let target = http::Target::of(action, container, &ip)?;
        return match http::probe(target, limit).await {
            Outcome::Success | Outcome::Warning(_) => Ok(()),
            Outcome::Failure(error) | Outcome::Errored(error) => Err(error),
        };
    }
    Err("invalid handler: it says nothing to do".to_owned())
}
