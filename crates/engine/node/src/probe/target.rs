//! Who is asked and how: a probe or hook made concrete for one container.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1 as core;

use super::{Outcome, dial, grpc, http, port};
use crate::doors::{ExecFailure, PodRuntime};

/// A question to a container.
#[derive(Debug, Clone)]
pub enum Question {
    Http(http::Target),
    Tcp { host: String, port: u16 },
    Grpc { host: String, port: u16, service: String },
    Exec { args: Vec<String> },
}

impl Question {
    /// The question of a probe; `pod_ip` is where the container listens.
    pub fn of_probe(probe: &core::Probe, container: &core::Container, pod_ip: &str) -> Result<Self, String> {
        if let Some(exec) = &probe.exec {
            return Ok(Self::Exec { args: exec.command.clone().unwrap_or_default() });
        }
        if let Some(action) = &probe.http_get {
            return http::Target::of(action, container, pod_ip).map(Self::Http);
        }
        if let Some(action) = &probe.tcp_socket {
            let host = action.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| pod_ip.to_owned());
            return Ok(Self::Tcp { host, port: port(&action.port, container)? });
        }
        if let Some(action) = &probe.grpc {
            let port = u16::try_from(action.port).map_err(|_| format!("invalid port number: {}", action.port))?;
            let service = action.service.clone().unwrap_or_default();
            return Ok(Self::Grpc { host: pod_ip.to_owned(), port, service });
        }
        Err("missing probe handler".to_owned())
    }

    /// Asks it.
    pub async fn ask(&self, runtime: &Arc<dyn PodRuntime>, id: &str, timeout: Duration) -> Outcome {
        match self {
            Self::Http(target) => http::probe(target.clone(), timeout).await,
            Self::Tcp { host, port } => match dial(host, *port, timeout).await {
                Ok(_) => Outcome::Success,
                Err(error) => Outcome::Failure(error),
            },
            Self::Grpc { host, port, service } => grpc::probe(host, *port, service, timeout).await,
            Self::Exec { args } => exec(runtime, id, args, timeout).await,
        }
    }
}

async fn exec(runtime: &Arc<dyn PodRuntime>, id: &str, args: &[String], timeout: Duration) -> Outcome {
    match runtime.capture(id, args.to_vec(), timeout).await {
        Ok(captured) if captured.code == 0 => Outcome::Success,
        Ok(captured) => Outcome::Failure(String::from_utf8_lossy(&captured.output).into_owned()),
        Err(ExecFailure::Timeout(after)) => {
            Outcome::Failure(format!("command timed out: {:?} timed out after {after:?}", args.join(" ")))
        }
        Err(error) => Outcome::Errored(error.to_string()),
    }
}
