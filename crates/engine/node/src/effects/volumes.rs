//! Setting up the volumes of a pod, and filling them again when what they show has changed.

use std::{collections::BTreeMap, path::PathBuf};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1 as core;

use super::sources;
use crate::{
    api::PodRef,
    container::{Sources, references},
    context::Context,
    volumes::{
        VolumeError, atomic, directories,
        payload::{Inputs, TokenKey, payload, tokens},
    },
};

/// Makes and fills all volumes; when to do it again because a token grows old, or which volume failed and why.
pub async fn prepare(context: &Context, pod: &core::Pod) -> Result<Option<Timestamp>, (String, VolumeError)> {
    let Some(spec) = &pod.spec else { return Ok(None) };
    let volumes = spec.volumes.clone().unwrap_or_default();
    if volumes.is_empty() {
        return Ok(None);
    }
    let first = || volumes[0].name.clone();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let sources = sources(&context.api, namespace, references(pod)).await;
    let sources = sources.map_err(|error| (first(), VolumeError::Token(error.to_string())))?;
    let (tokens, refresh_at) = request_tokens(context, pod, spec).await.map_err(|error| (first(), error))?;
    let job = Job {
        pod: pod.clone(),
        sources,
        facts: context.facts(&[]),
        tokens,
        pod_dir: context.pod_dir(pod.metadata.uid.as_deref().unwrap_or_default()),
        group: spec.security_context.as_ref().and_then(|own| own.fs_group).and_then(|group| u32::try_from(group).ok()),
        now: context.clock.now(),
    };
    let written = tokio::task::spawn_blocking(move || job.run(&volumes)).await;
    written.expect("writing volumes does not panic")?;
    Ok(refresh_at)
}

type Tokens = (BTreeMap<TokenKey, String>, Option<Timestamp>);

async fn request_tokens(context: &Context, pod: &core::Pod, spec: &core::PodSpec) -> Result<Tokens, VolumeError> {
    let account =
        spec.service_account_name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned());
    let (mut found, mut refresh_at) = (BTreeMap::new(), None::<Timestamp>);
    for key in tokens(spec) {
        let answer = context.api.token(PodRef::of(pod), account.clone(), key.clone()).await;
        let (token, expires) = answer.map_err(|error| VolumeError::Token(error.to_string()))?;
        let now = context.clock.now();
        // A fifth of its life before it ends.
        let left = expires.duration_since(now).max(SignedDuration::ZERO);
        let at = now + left * 4 / 5;
        refresh_at = Some(refresh_at.map_or(at, |earlier| earlier.min(at)));
        found.insert(key, token);
    }
    Ok((found, refresh_at))
}

/// Everything the disk work needs, so that it can be done on a thread of its own.
struct Job {
    pod: core::Pod,
    sources: Sources,
    facts: crate::container::downward::Facts,
    tokens: BTreeMap<TokenKey, String>,
    pod_dir: PathBuf,
    group: Option<u32>,
    now: Timestamp,
}

impl Job {
    fn run(&self, volumes: &[core::Volume]) -> Result<(), (String, VolumeError)> {
        volumes.iter().try_for_each(|volume| self.one(volume).map_err(|error| (volume.name.clone(), error)))
    }

    fn one(&self, volume: &core::Volume) -> Result<(), VolumeError> {
        if let Some(kind) = directories::unsupported(volume) {
            return Err(VolumeError::Unsupported(kind));
        }
        if let Some(source) = &volume.host_path {
            return directories::prepare_host_path(source);
        }
        let directory = directories::directory(&self.pod_dir, volume);
        if let Some(source) = &volume.empty_dir {
            return directories::make_empty(&directory, source, self.group);
        }
        let inputs = Inputs { pod: &self.pod, sources: &self.sources, facts: &self.facts, tokens: &self.tokens };
        match payload(volume, &inputs)? {
            Some(files) => atomic::write(&directory, &files, self.group, self.now).map(drop),
            None => Ok(()),
        }
    }
}
