//! A Dockerfile's RUN steps, run in containers of this machine's runtime.

use std::{fs::File, path::Path, sync::Arc};

use coracle_build::{BaseLayer, RunOutcome, RunStep, Sandbox, SandboxError};
use coracle_registry::Store;
use coracle_runtime::{BuildStep, BuildStepError, Resources, Runtime};
use futures::future::BoxFuture;

/// What a shell says of a command that was ended by a signal: this, and the signal's number.
const SIGNAL_CODES: i32 = 128;

/// Runs steps on top of layers whose blobs are in `store`.
pub struct RunSteps {
    pub runtime: Runtime,
    pub store: Store,
}

impl Sandbox for RunSteps {
    fn run(&self, step: RunStep) -> BoxFuture<'_, Result<RunOutcome, SandboxError>> {
        Box::pin(async move {
            let mut layers = Vec::new();
            for layer in &step.layers {
                layers.push(self.unpack(layer).await?);
            }
            let output = Arc::clone(&step.output);
            let build_step = BuildStep {
                layers,
                upper: step.upper,
                work: step.work,
                args: step.argv,
                env: step.env,
                cwd: step.cwd,
                user: step.user,
                network: None,
                mounts: Vec::new(),
                resources: Resources::default(),
                timeout: step.timeout,
            };
            match self.runtime.run_build_step(build_step, move |line| output(line)).await {
                Ok(code) if code > SIGNAL_CODES => Ok(RunOutcome::Killed(code - SIGNAL_CODES)),
                Ok(code) => Ok(RunOutcome::Exited(code)),
                Err(BuildStepError::TimedOut(_)) => Ok(RunOutcome::TimedOut),
                Err(error) => Err(SandboxError(error.to_string())),
            }
        })
    }
}

impl RunSteps {
    /// The layer's diff id, once it is unpacked.
    async fn unpack(&self, layer: &BaseLayer) -> Result<String, SandboxError> {
        let diff_id = layer.diff_id.to_string();
        let failed = |error: &dyn std::fmt::Display| SandboxError(format!("layer {diff_id}: {error}"));
        let known: coracle_runtime::Digest = diff_id.parse().map_err(|error| failed(&error))?;
        if !self.runtime.images().has_layer(&known) {
            let blob = open(&self.store.blob_path(&layer.digest)).map_err(|error| failed(&error))?;
            self.runtime.images().unpack_layer(&known, blob).await.map_err(|error| failed(&error))?;
        }
        Ok(diff_id)
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    File::open(path)
}
