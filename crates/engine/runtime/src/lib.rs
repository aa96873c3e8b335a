//! Images on disk, containers, cgroups.
//!
//! [`Runtime`] is the only handle: cheap to clone. Containers outlive it: each has a shim (this binary, executed again as
//! `EXE __shim …`), and `Runtime::open` finds them again.
//!
//! ```text
//! ROOT/images/layers/HEX      unpacked layers by diff id        ROOT/containers/ID/spec.json   what it was asked to be
//! ROOT/images/configs/HEX     image configurations              ROOT/containers/ID/state.json  pid, start time
//! ROOT/images/records/HEX     reference -> image                ROOT/containers/ID/exit.json   how it ended
//! ROOT/sandboxes/ID/{ipc,uts,pid}  namespaces, bind-mounted     ROOT/containers/ID/upper       what it wrote
//! ```
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! # let (options, spec): (coracle_runtime::Options, coracle_runtime::ContainerSpec) = todo!();
//! let runtime = coracle_runtime::Runtime::open(options).await?;
//! let mut ends = runtime.events();
//! let started = runtime.start(spec).await?;
//! let probe = runtime.exec_capture(&started.id, &["/healthy".into()], std::time::Duration::from_secs(1), 10 << 10).await?;
//! let end = ends.recv().await?;
//! runtime.remove(&end.id).await?;
//! # Ok(())
//! # }
//! ```
mod attach;
mod build_step;
mod cgroup;
mod containers;
mod exec;
mod files;
mod images;
mod launch;
mod reference;
pub mod registry;
mod rooted;
mod runtime;
mod sandbox;
mod shim;
mod spec;
mod stats;
mod streams;
mod wire;

pub use build_step::{BuildStep, BuildStepError};
pub use cgroup::CgroupError;
pub use containers::{ContainerStatus, Event, Exit, State};
pub use exec::{ExecError, ExecOutput, ExecSpec};
pub use images::{
    Collected, Image, ImageConfig, ImageError, Images, LayerError, Progress, PullCredentials, PullError, PullOptions,
    UserError,
};
pub use reference::{Digest, Reference, ReferenceError};
pub use runtime::{Error, Options, Runtime};
pub use sandbox::{Sandbox, SandboxSpec};
pub use shim::main as shim_main;
pub use spec::{
    Capabilities, ContainerSpec, LogSpec, Mount, MountKind, Namespace, Namespaces, ProcessSpec, Propagation, Resources,
    Rlimit, Seccomp, User,
};
pub use stats::Stats;
pub use streams::{Input, Output, ProcessStreams, TerminalSize};
